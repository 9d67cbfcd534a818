"""Scenes with maps, their views and what is said about these; what is asked while a generator learns."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from rs_course import checkpoints
from rs_course.alignment.atoms import NAMES
from rs_course.training import diffusionsat, latent, layouts, places, sides
from rs_course.training_loop import STATE

SMALL = {**diffusionsat.UNET, "block_out_channels": (16, 16, 16), "attention_head_dim": 2}
SMALL |= {"norm_num_groups": 4, "cross_attention_dim": 8}


@pytest.fixture
def scenes(layout_scenes):
    return layout_scenes


def test_maps_say_what_share_of_each_field_is_covered():
    classes = np.zeros((64, 64), int)
    classes[:, 32:] = 3
    classes[:4, 60:62] = 5
    maps = layouts.shares(classes)
    assert maps.shape == (len(NAMES), 16, 16) and maps.dtype == np.uint8
    assert (maps[0, :, :8] == 255).all() and (maps[3, 1:, 8:] == 255).all()
    assert maps[5, 0, 15] == 128 and maps[3, 0, 15] == 128


@pytest.mark.parametrize(
    ("sentence", "views"),
    [
        (
            "Water covers most of the tile, with trees on the left and grass at the top.",
            [
                "Water covers most of the tile, with trees on the right and grass at the top.",
                "Water covers most of the tile, with trees at the bottom and grass on the left.",
                "Water covers most of the tile, with trees at the top and grass on the left.",
            ],
        ),
        (
            "A river runs from the left edge to the bottom edge.",
            [
                "A river runs from the right edge to the bottom edge.",
                "A river runs from the right edge to the bottom edge.",
                "A river runs from the top edge to the right edge.",
            ],
        ),
        (
            "There are two villages, in the top right and in the centre.",
            [
                "There are two villages, in the top left and in the centre.",
                "There are two villages, in the top left and in the centre.",
                "There are two villages, in the bottom left and in the centre.",
            ],
        ),
        (
            "The sun stands high in the south-east.",
            [
                "The sun stands high in the south-west.",
                "The sun stands high in the north-east.",
                "The sun stands high in the south-east.",
            ],
        ),
    ],
)
def test_a_sentence_stays_true_in_every_view(sentence, views):
    assert [sides.turned(sentence, view) for view in range(4)] == [sentence, *views]


def test_views_of_maps_are_those_of_the_latents_and_of_the_sentences(scenes):
    """What a turned sentence names lies, on average, on the side that it names."""
    maps = layouts.turned_maps(torch.from_numpy(scenes.maps))
    assert torch.equal(maps[:, 3], torch.from_numpy(scenes.maps).flip(3).rot90(1, (2, 3)))
    away = []
    sentences, draw = layouts.Sentences(scenes.tiles), np.random.default_rng(0)
    numbers = list(places.NAMED)
    grid = torch.arange(16) - 7.5
    for _ in range(200):
        i, view, sentence = sentences.placed(draw)
        for what, cover in (("water", "water"), ("trees", "forest"), ("cropland", "agriculture")):
            fields = places.named(sentence)[numbers.index(what)]
            if fields.sum() != 1 or maps[i, view, NAMES.index(cover)].sum() < 255:
                continue
            share = maps[i, view, NAMES.index(cover)].float()
            share /= share.sum()
            row, column = (fields == 1).nonzero()[0].tolist()
            away += [(row - 1, float(share.sum(1) @ grid)), (column - 1, float(share.sum(0) @ grid))]
    for side in (-1, 1):
        there = [where for place, where in away if place == side]
        assert len(there) > 10 and side * np.mean(there) > 1


def test_every_kind_of_sentence_is_told_apart(scenes):
    said = {
        "Grass takes up most of the tile, next to scrub at the bottom.": "cover",
        "A highway cuts from the top edge to the bottom edge.": "course",
        "The river parts trees at the bottom from grass at the top.": "banks",
        "There is one village, in the bottom left.": "count",
        "Clouds cover about 20 percent of the tile, mostly at the top.": None,
        "The sky is clear.": None,
    }
    assert {sentence: layouts.kind_of(sentence) for sentence in said} == said
    sentences, draw = layouts.Sentences(scenes.tiles), np.random.default_rng(0)
    assert all(layouts.kind_of(sentences.placed(draw)[2]) for _ in range(50))
    prompts = [sentences.mixed(draw)[2] for _ in range(400)]
    alone = sum(prompt.startswith("a satellite image") and ". " not in prompt for prompt in prompts) / 400
    assert abs(alone - layouts.CLASS_ALONE) < 0.08


@pytest.mark.parametrize(
    ("sentence", "there"),
    [
        ("Trees cover most of the tile, with water on the left.", {("water", 1, 0)}),
        (
            "Grass fills a part of it, with orchards and vineyards in the top right and roads in the centre.",
            {("permanent crops", 0, 2), ("roads", 1, 1)},
        ),
        ("There are two villages, on the left and in the top right.", {("village", 1, 0), ("village", 0, 2)}),
        ("A highway runs from the left edge to the bottom edge.", {("motorway", 1, 0), ("motorway", 2, 1)}),
        ("A river runs through the middle of the tile past green fields.", {("river", 1, 1)}),
        (
            "The river parts gardens on the left from scrub on the right.",
            {("gardens", 1, 0), ("scrub", 1, 2)},
        ),
        ("Clouds cover about 20 percent of the tile, mostly at the top.", {("clouds", 0, 1)}),
        ("The sky is clear.", set()),
    ],
)
def test_what_a_sentence_places_where(sentence, there):
    found = places.named(sentence)
    names, own = list(places.NAMED), found[: len(places.NAMED)]
    somewhere = own * (own.sum((1, 2), keepdim=True) < 9)
    assert {(names[k], row, column) for k, row, column in somewhere.nonzero().tolist()} == there


@pytest.mark.parametrize(
    ("sentence", "everywhere"),
    [
        ("A satellite image of pasture in July.", {"July"}),
        ("It is winter and there is no snow.", {"winter"}),
        ("The picture was taken in May, without snow.", {"May"}),
        ("The land is white with snow.", {"snow"}),
        ("No cloud hides the ground.", {"clear sky"}),
        ("Clouds cover about 20 percent of the tile, mostly at the top.", {"some clouds"}),
        ("Clouds hide almost the whole tile.", {"overcast"}),
        ("Trees take up most of the tile, with water on the left.", {"trees", "most"}),
        ("Cropland fills nearly all of the tile.", {"cropland", "nearly all"}),
        ("Grass covers about half of the tile.", {"about half"}),
        ("Water fills a part of the tile.", {"a part"}),
    ],
)
def test_what_is_said_about_the_whole_tile_lies_in_every_field(sentence, everywhere):
    found = places.named(sentence).sum((1, 2)) == 9
    assert {places.STATEMENTS[k] for k in found.nonzero().flatten().tolist()} == everywhere


def test_fields_on_a_finer_grid_keep_their_shares():
    fields = torch.zeros(1, 1, 3, 3)
    fields[0, 0, 0, 2] = 1
    for side in (4, 8, 16):
        fine = places.on_grid(fields, side)
        assert fine.shape == (1, 1, side, side)
        assert fine[0, 0, 0, -1] == 1 and fine.mean() == pytest.approx(1 / 9)


def test_questions_do_not_change_the_answer_and_teach_all_that_they_watch():
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**SMALL)
    asked = places.Places(unet)
    x, t, states = torch.randn(2, 4, 16, 16), torch.tensor([999, 500]), torch.randn(2, 77, 8)
    maps = torch.rand(2, len(NAMES), 16, 16).softmax(1)
    said = torch.stack([places.named("Trees on the left."), places.named("")])
    answered, terms = asked.asked(lambda: unet(x, t, states).sample, maps, said)
    torch.testing.assert_close(answered, unet(x, t, states).sample)
    assert set(terms) == {"where", "named", "cover"}
    assert not any(module._forward_hooks for module in unet.modules())
    sum(terms.values()).backward()
    for block in (unet.down_blocks[0], unet.mid_block, unet.up_blocks[2]):
        attention = block.attentions[-1].transformer_blocks[0].attn2
        assert attention.to_q.weight.grad.abs().sum() > 0 and attention.to_v.weight.grad.abs().sum() > 0


def test_a_question_can_be_learnt():
    """Positions are told apart after some steps, although nothing but the border tells them."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**SMALL)
    asked = places.Places(unet)
    optimizer = torch.optim.AdamW([*unet.parameters(), *asked.parameters()], lr=3e-3)
    states, said = torch.zeros(4, 77, 8), torch.zeros(4, len(places.STATEMENTS), 3, 3)
    maps = torch.full((4, len(NAMES), 16, 16), 1 / len(NAMES))
    losses = []
    for step in range(60):
        x = torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(step))
        _, terms = asked.asked(lambda x=x: unet(x, 999, states).sample, maps, said)
        optimizer.zero_grad()
        terms["where"].backward()
        optimizer.step()
        losses.append(terms["where"].item())
    assert losses[-1] < 0.6 * losses[0]


def test_batches_are_functions_of_the_step_and_go_together(scenes):
    encoded = torch.randn(40, latent.VIEWS, 4, 16, 16).half()
    said = []

    def words(sentences):
        said.append(sentences)
        return torch.tensor([[len(sentence)] * 77 for sentence in sentences])

    sentences = layouts.Sentences(scenes.tiles)
    stream = diffusionsat.batches(sentences, scenes.maps, encoded, words, 3, batch_size=8)
    several = [made for made, _ in zip(stream(0), range(3), strict=False)]
    for one, other in zip(several[2], next(stream(2)), strict=True):
        assert torch.equal(one, other)
    x0, ids, metadata, maps, fields = several[0]
    assert x0.shape == (8, 4, 16, 16) and ids.shape == (8, 77) and metadata.shape == (8, 7)
    torch.testing.assert_close(maps.sum(1), torch.ones(8, 16, 16), atol=0.02, rtol=0)
    assert torch.equal(fields, torch.stack([places.named(sentence) for sentence in said[0]]))


def test_text_goes_without_metadata_but_not_metadata_without_text(scenes):
    encoded = torch.randn(40, latent.VIEWS, 4, 16, 16).half()
    sentences = layouts.Sentences(scenes.tiles)

    def lengths(said):
        return torch.tensor([[len(sentence)] for sentence in said])

    batch = next(diffusionsat.batches(sentences, scenes.maps, encoded, lengths, 0, 400)(0))
    silent, unknown = batch[1][:, 0] == 0, (batch[2] == 0).all(1)
    assert unknown[silent].all()
    assert abs(unknown[~silent].float().mean() - diffusionsat.DROP_METADATA) < 0.08


def test_a_tower_learns_what_is_placed_where_and_goes_on(scenes, tmp_path):
    class Words(torch.nn.Module):
        """A tower without attention: every word its own state."""

        def __init__(self):
            super().__init__()
            self.states = torch.nn.Embedding(200, 16)

        def forward(self, ids):
            return self.states(ids)

    known = {}

    def words(sentences):
        rows = [[known.setdefault(word, len(known) % 200) for word in s.split()][:24] for s in sentences]
        return torch.tensor([row + [0] * (24 - len(row)) for row in rows])

    torch.manual_seed(0)
    texts, sentences = Words(), layouts.Sentences(scenes.tiles)
    fields, options = places.Fields(16), {"batch_size": 8, "out": tmp_path}
    places.teach(texts, fields, sentences, words, steps=3, **options)
    before = texts.states.weight.clone()
    places.teach(texts, fields, sentences, words, steps=3, **options)  # it has been taught
    assert torch.equal(texts.states.weight, before)
    places.teach(texts, fields, sentences, words, steps=5, **options)
    assert not torch.equal(texts.states.weight, before)
    assert fields(texts(words(["Trees on the left."]))).shape == (1, len(places.STATEMENTS), 3, 3)


def test_a_generator_has_lessons_learns_and_recalls_and_is_a_checkpoint_of_the_published_layout(
    scenes, tmp_path, monkeypatch
):
    monkeypatch.setattr(diffusionsat, "layouts", lambda count, workers: scenes)
    monkeypatch.setattr(diffusionsat, "LESSON_STEPS", 1)
    monkeypatch.setattr(diffusionsat, "teach", partial(places.teach, steps=1))
    options = {"batch_size": 4, "start": "mini-diffusionsat", "sample_grid": None}
    diffusionsat.train(tmp_path, minutes=0.001, **options)
    kept = {folder.name for folder in tmp_path.iterdir() if (folder / STATE).exists()}
    assert kept == {"text", "places", "learnt"}
    logs = [json.loads((tmp_path / name / "log.jsonl").read_text()) for name in ("places", "learnt")]
    assert all({"noise", "where", "named", "cover", "text"} <= log.keys() for log in logs)
    assert logs[0]["loss"] < logs[1]["loss"]  # the noise hardly counts in the lesson
    generator = checkpoints.load(tmp_path)
    assert generator.family == "diffusionsat"
    assert (
        generator.unet.state_dict().keys() == checkpoints.load("mini-diffusionsat").unet.state_dict().keys()
    )
