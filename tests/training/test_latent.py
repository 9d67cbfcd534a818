"""What the latent minis' trainings share, on networks small enough for seconds; the student of few steps."""

import itertools
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from checkpoints.tiny import write_checkpoint
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from rs_course import checkpoints, seeds, simulated_earth
from rs_course.alignment.atoms import NAMES, LandcoverReader
from rs_course.checkpoints.prompts import normalize_metadata
from rs_course.diffusion.process import denoiser
from rs_course.diffusion.samplers import ddim, dpmpp_2m, final
from rs_course.training import (
    diffusionsat,
    landcover,
    latent,
    layouts,
    sides,
    text2earth,
    training_sets,
)
from rs_course.training_loop import Budget

SMALL = {**text2earth.UNET, "block_out_channels": (16, 16, 16), "attention_head_dim": 2}
SMALL |= {"norm_num_groups": 4, "cross_attention_dim": 8}


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 3, "up_block_types": ("UpDecoderBlock2D",) * 3}
    widths = {"block_out_channels": (8, 8, 8), "norm_num_groups": 4, "layers_per_block": 1}
    return AutoencoderKL(**blocks, **widths, latent_channels=4).eval()


@pytest.fixture(scope="module")
def tiles():
    drawn = [simulated_earth.scene(label, 3) for label in simulated_earth.CLASSES]
    return training_sets.Tiles(
        np.stack([s.image for s in drawn]),
        np.arange(10),
        [s.captions for s in drawn],
        [s.metadata for s in drawn],
    )


def words(sentences):
    """Stands for the tokenizer: numbers that tell sentences apart."""
    return torch.tensor([[min(len(s), 99)] * 77 for s in sentences])


def tower():
    """A text tower with one narrow layer."""
    torch.manual_seed(1)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    return CLIPTextModel(CLIPTextConfig(vocab_size=100, eos_token_id=2, **sizes))


def test_views_are_the_encoded_turns_of_the_tile(vae, tiles):
    encoded = latent.encode(vae, tiles.images[:2], views=latent.VIEWS)
    assert encoded.shape == (2, 4, 4, 16, 16) and encoded.dtype == torch.float16
    turned = np.ascontiguousarray(np.rot90(tiles.images[:2, :, ::-1], 1, (1, 2)))
    # bfloat16 convolutions round by the memory layout of their input
    torch.testing.assert_close(latent.encode(vae, turned)[:, 0], encoded[:, 3], rtol=0.02, atol=0.02)
    assert not torch.allclose(encoded[:, 0], encoded[:, 3], rtol=0.02, atol=0.02)


def test_a_batch_is_a_function_of_seed_and_step(vae, tiles):
    sources = [(1.0, tiles, latent.encode(vae, tiles.images)[:, 0])]
    batches = text2earth.batches(sources, words, 0, batch_size=4)
    several = batches(0)
    next(several), next(several)
    for a, b in zip(next(several), next(batches(2)), strict=True):
        assert torch.equal(a, b)


def test_a_training_goes_on_from_the_weights_of_a_checkpoint(tmp_path):
    torch.manual_seed(0)
    trained = UNet2DConditionModel(**SMALL)
    trained.save_pretrained(tmp_path / "unet")
    unet = UNet2DConditionModel(**SMALL)
    latent.begin_from(unet, tmp_path)
    for ours, theirs in zip(unet.parameters(), trained.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    other = UNet2DConditionModel(**{**SMALL, "in_channels": 9})
    with pytest.raises(ValueError, match="other layers"):
        latent.begin_from(other, tmp_path)


def test_attention_that_a_checkpoint_lacks_begins_silent(tmp_path):
    torch.manual_seed(0)
    old = {**SMALL, "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")}
    old["up_block_types"] = ("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")
    trained = UNet2DConditionModel(**old).eval()
    trained.save_pretrained(tmp_path / "unet")
    grown = latent.with_plain_attention(UNet2DConditionModel(**SMALL)).eval()
    latent.begin_from(grown, tmp_path)
    given = torch.randn(2, 4, 16, 16), torch.tensor([7, 900]), torch.randn(2, 77, 8)
    with torch.no_grad():
        ours, theirs = (net(*given, class_labels=torch.ones(2)).sample for net in (grown, trained))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="cannot begin silent"):
        latent.begin_from(UNet2DConditionModel(**{**SMALL, "layers_per_block": 2}), tmp_path)


def test_sentences_are_mirrored_with_their_tile(tiles):
    said = "Trees on the left; the sun stands low in the south-east. The town is bright."
    turned = "Trees on the right; the sun stands low in the south-west. The town is bright."
    assert sides.turned(said, 1) == turned and sides.turned(turned, 1) == said
    both = training_sets.with_mirror_images(tiles)
    assert np.array_equal(both.images[10], tiles.images[0, :, ::-1]) and both.labels[13] == 3
    assert both.captions[12] == [sides.turned(sentence, 1) for sentence in tiles.captions[2]]


def test_text_and_level_are_dropped_together(tiles):
    ids, levels = text2earth.conditions(["14_GOOGLE_LEVEL_a river"] * 400, words, np.random.default_rng(0))
    dropped = levels == 0
    assert torch.equal(ids[:, 0] == 0, dropped)
    assert levels[~dropped].eq(14).all()
    assert 0.05 < dropped.float().mean() < 0.16


def test_metadata_is_normalised_as_published_and_dropped_field_by_field(vae, tiles):
    maps = np.zeros((10, len(NAMES), 16, 16), np.uint8)
    encoded = latent.encode(vae, tiles.images, views=latent.VIEWS)
    batch = next(diffusionsat.batches(layouts.Sentences(tiles), maps, encoded, words, 0, batch_size=400)(0))
    known = torch.stack([normalize_metadata(**row) for row in tiles.metadata])
    metadata = batch[2]
    rows = (metadata[:, None] == known).float()  # equal to which scene's field
    assert ((rows.amax(1) == 1) | (metadata == 0)).all()
    nothing = (batch[1][:, 0] == 0)[:, None]
    assert (metadata[nothing.squeeze()] == 0).all()
    kept = metadata[(metadata != 0).any(1)]
    assert 0.05 < (kept[:, 0] == 0).float().mean() < 0.16


def test_an_interrupted_training_goes_on_where_it_stopped(tmp_path, vae, tiles):
    sources = [(1.0, tiles, latent.encode(vae, tiles.images)[:, 0])]

    def network():
        torch.manual_seed(0)
        return text2earth.Denoiser(UNet2DConditionModel(**SMALL), tower())

    batches = text2earth.batches(sources, words, 0, batch_size=2)

    def interrupted(first):
        yield from itertools.islice(batches(first), 4 - first)
        raise KeyboardInterrupt

    def save(network, out):
        shared = {"vae": tmp_path / "vae", "text_encoder": tmp_path / "clip"}
        latent.save_pipeline(out, network.unet, text2earth.PIPELINE, shared, network.texts.tower)

    def draw(out):
        assert (out / "model_index.json").exists()  # the checkpoint is there before it draws
        return torch.rand(4, 3, 8, 8), [("shown", "simulated"), ("drawn", "generated")]

    def fit(folder, batches):
        options = {"recipe": replace(latent.RECIPE, log_every=3), "sample_grid": draw}
        return latent.fit(tmp_path / folder, network(), batches, save, budget=Budget(steps=6), **options)

    whole = fit("whole", batches)
    with pytest.raises(KeyboardInterrupt):
        fit("parts", interrupted)
    for a, b in zip(whole.parameters(), fit("parts", batches).parameters(), strict=True):
        assert torch.equal(a, b)
    index = json.loads((tmp_path / "whole" / "model_index.json").read_text())
    assert index["_shared_parts"] == {"vae": "../vae"}  # the text tower has learnt, and is its own
    learnt = CLIPTextModel.from_pretrained(latent.own_tower(tmp_path / "whole"))
    assert not all(torch.equal(a, b) for a, b in zip(learnt.parameters(), tower().parameters(), strict=True))
    assert [file.name for file in sorted((tmp_path / "parts" / "samples").iterdir())] == [
        "000003.png", "000006.png",
    ]  # fmt: skip


def test_parts_that_do_not_lie_beside_a_checkpoint_are_copied_into_it(tmp_path):
    shipped = write_checkpoint(tmp_path / "course" / "tiny", "text2earth")
    out = tmp_path / "runs" / "mine"
    shutil.copytree(shipped / "unet", out / "unet")
    folders = {part: shipped / part for part in ("vae", "tokenizer", "text_encoder")}
    kinds = text2earth.PIPELINE, latent.SCHEDULER, ["diffusers", "UNet2DConditionModel"]
    for _ in range(2):  # also where they lie there already
        latent.write_index(out, *kinds, folders)
        assert checkpoints.load(out).family == "text2earth"
    beside = tmp_path / "course" / "mine"
    shutil.copytree(shipped / "unet", beside / "unet")
    latent.write_index(beside, *kinds, folders)
    assert not (beside / "vae").exists() and checkpoints.load(beside).family == "text2earth"


def test_pure_noise_hides_the_mean_colour():
    """At the last step the mean of 256 latent pixels of unit spread is weaker than its noise."""
    assert latent.schedule().snr[-1] * 256 < 0.1


def test_the_schedule_is_the_one_the_sampler_is_told():
    from diffusers import DPMSolverMultistepScheduler

    sampler = DPMSolverMultistepScheduler.from_config(latent.SCHEDULER)
    torch.testing.assert_close(
        sampler.alphas_cumprod.double(), latent.schedule().alpha_bar, rtol=1e-4, atol=1e-7
    )


def test_masks_cover_everything_or_a_part():
    draw = np.random.default_rng(0)
    shares = np.array([text2earth.random_mask(64, draw).mean() for _ in range(200)])
    assert 0.1 < (shares == 1).mean() < 0.35
    assert (shares > 0).all() and 0.2 < np.median(shares) < 0.9


@pytest.mark.parametrize("collection", ["eurosat", "simulated"])
def test_samples_show_every_class(tmp_path, collection):
    drawn, rows = latent.of_classes(collection)(write_checkpoint(tmp_path / "tiny", "text2earth"))
    assert len(drawn) == 10 and rows == [("each class", "generated")]


@pytest.mark.slow
def test_samples_of_the_inpainting_twin_stand_below_what_it_was_shown(tmp_path, tiles):
    drawn, rows = text2earth.repainted(tiles)(write_checkpoint(tmp_path / "tiny", "text2earth-inpainting"))
    whole, without, generated = drawn.chunk(3)
    assert [kind for _, kind in rows] == ["simulated", "simulated", "generated"]
    assert torch.equal(whole[0] * 255, torch.from_numpy(tiles.images[0]).permute(2, 0, 1).float())
    assert (without[..., 16:-16, 16:-16] == 0).all() and (generated[..., 16:-16, 16:-16] > 0).any()


def test_real_captions_name_the_class_and_never_the_level():
    for label in range(10):
        assert all("LEVEL" not in caption for caption in training_sets.real_captions(label))
    assert "river" in training_sets.real_captions(8)[0]


def test_scenes_under_many_conditions_are_drawn_by_number():
    drawn = [training_sets.conditions(k, 1) for k in range(300)]
    assert drawn[5] == training_sets.conditions(5, 1) != training_sets.conditions(5, 2)
    for field, share in (("date", 0.5), ("cloud_cover", 0.5), ("lat", 0.5), ("gsd", 0.75)):
        assert share - 0.1 < np.mean([field in one for one in drawn]) < share + 0.1
    assert {one["gsd"] for one in drawn if "gsd" in one} == set(training_sets.SCALES)
    assert all(-60 <= one["lat"] <= 66 for one in drawn if "lat" in one)


def teacher(x, t, shift):
    """v of a model that knows its data: one point per condition, so that v is exact at every level."""
    a, s = latent.schedule().coefficients(t.cpu(), x)
    point = shift.view(-1, 1, 1, 1).expand_as(x)
    return a * (x - a * point) / s - s * point


def unconditional(shift):
    return (torch.zeros_like(shift),)


def test_levels_are_those_of_the_scheduler():
    scheduler = DDIMScheduler.from_config(text2earth.FAST_SCHEDULER)
    scheduler.set_timesteps(text2earth.FAST_STEPS)
    assert [*scheduler.timesteps.tolist(), -1] == text2earth.levels(text2earth.FAST_STEPS)


@pytest.mark.parametrize("t", [0, 300, 600, 999])
def test_the_answer_leads_to_where_the_teacher_walks(t):
    schedule, guidance = latent.schedule(), 2.0
    targets = text2earth.targets_of(teacher, unconditional, schedule, walk=64, guidance=guidance)
    x0, eps, shift = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8), torch.tensor([0.5, -1.0, 2.0])
    xt, at, answer = targets(x0, eps, torch.full((3,), t), shift)
    plan = text2earth.levels(4)
    k = plan.index(int(at[0]))
    student = denoiser(lambda x, _: answer, schedule, prediction_type="v")
    landed = final(ddim(student, xt, schedule, timesteps=plan[k : k + 2]))

    def guided(x, at):
        cond, uncond = teacher(x, at, shift), teacher(x, at, torch.zeros(3))
        return uncond + guidance * (cond - uncond)

    path = torch.linspace(plan[k], plan[k + 1], 65).round().int().tolist()
    walked = final(dpmpp_2m(denoiser(guided, schedule, prediction_type="v"), xt, schedule, timesteps=path))
    torch.testing.assert_close(landed, walked, rtol=1e-3, atol=1e-3)


def test_the_reader_of_land_cover_follows_one_cycle_of_the_learning_rate():
    images = np.random.default_rng(0).integers(256, size=(3, 64, 64, 3)).astype(np.uint8)
    truth = np.random.default_rng(1).integers(7, size=(3, 64, 64))
    options = {"seed": 4, "batch_size": 2, "fast": False}
    ours = landcover.fit(images, truth, {"road": 3.0}, steps=4, **options)
    with seeds.initial_weights(4):
        theirs = LandcoverReader()
    optimizer = torch.optim.AdamW(theirs.parameters(), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=4)
    weight = torch.tensor([3.0 if name == "road" else 1.0 for name in NAMES])
    for step in range(4):
        draw = np.random.default_rng([4, step])
        chosen, turns = draw.integers(3, size=2), int(draw.integers(4))
        x = (torch.from_numpy(images[chosen]).permute(0, 3, 1, 2) / 255).rot90(turns, (2, 3))
        y = torch.from_numpy(truth[chosen]).rot90(turns, (1, 2))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(theirs(x), y, weight).backward()
        optimizer.step(), schedule.step()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
