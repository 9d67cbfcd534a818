"""The sampling engine: independence of the batch, samplers, guidance, editing, memory, clear errors."""

import warnings

import numpy as np
import pytest
import torch
from checkpoints.tiny import FAMILIES, write_checkpoint, write_controlnet, write_crsdiff
from diffusers import (
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
)

from rs_course import checkpoints, sampling, seeds
from rs_course.sampling import engine
from rs_course.sampling.samplers import CRSDiffScheduler, make_sampler, step

PLACE = {"lon": 8.4, "lat": 49.0, "gsd": 10.0, "cloud_cover": 0.1, "year": 2020, "month": 7, "day": 1}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny")
    return {family: write_checkpoint(root / family, family) for family in FAMILIES}


@pytest.fixture(scope="module")
def loaded(folders):
    return {family: checkpoints.load(folder) for family, folder in folders.items()}


@pytest.fixture(scope="module")
def generator(loaded):
    return loaded["diffusionsat"]


def relative(a, b) -> float:
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.mark.parametrize("sampler", [None, *sampling.SAMPLERS])
def test_an_image_does_not_depend_on_its_batch(generator, sampler):
    """Images 0..63 at batch sizes 64, 7 and 1, and image 63 made alone."""
    prompts = [f"field {i}" for i in range(64)]
    metadata = [{**PLACE, "month": i % 12 + 1} for i in range(64)]
    ask = {"sampler": sampler, "steps": 2, "seed": 3, "output": "latent"}
    reference = generator.sample(prompts, metadata=metadata, batch_size=64, **ask)
    assert relative(generator.sample(prompts, metadata=metadata, batch_size=7, **ask), reference) < 1e-4
    ones = generator.sample(prompts[:3], metadata=metadata[:3], batch_size=1, **ask)
    assert relative(ones, reference[:3]) < 1e-4
    alone = generator.sample(prompts[63], metadata=metadata[63], start=63, **ask)
    assert relative(alone, reference[63:]) < 1e-4
    assert relative(reference[1:2], reference[:1]) > 0.1


@pytest.mark.parametrize(
    ("stochastic", "plain"),
    [
        ({"sampler": "ddim", "eta": 1.0}, {"sampler": "ddim"}),
        ({"sampler": "sde-dpmsolver++"}, {"sampler": "dpmsolver++"}),
    ],
)
def test_noise_of_a_stochastic_sampler_is_the_image_s_own(generator, stochastic, plain):
    ask = {"steps": 3, "output": "latent"}
    both = generator.sample(["a", "b"], **ask, **stochastic)
    assert relative(generator.sample("b", start=1, **ask, **stochastic), both[1:]) < 1e-4
    assert relative(generator.sample(["a", "b"], **ask, **plain), both) > 0.01


def test_a_schedule_that_says_nothing_of_clipping_does_not_clip_latents():
    base = DPMSolverMultistepScheduler(prediction_type="v_prediction")
    for name in ("ddim", "ddpm"):
        scheduler, _ = make_sampler(base, name, 0.0, {})
        assert scheduler.config.clip_sample is False
    stated = DDPMScheduler(clip_sample=True)
    assert make_sampler(stated, "ddim", 0.0, {})[0].config.clip_sample is True


def test_initial_noise_is_that_of_the_seed(generator):
    x = seeds.noise((2, 4, 8, 8), seed=5)
    by_seed = generator.sample(["a", "b"], seed=5, steps=2, output="latent")
    assert torch.equal(by_seed, generator.sample(["a", "b"], latents=x, steps=2, output="latent"))


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_equals_plain_diffusers(folders, loaded, guidance):
    """Stable Diffusion's own pipeline from the same folder."""
    pipeline = StableDiffusionPipeline(
        **{
            part: getattr(loaded["stable-diffusion"], part)
            for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
        },
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    x = seeds.noise((2, 4, 8, 8), seed=1)
    options = {"num_inference_steps": 4, "guidance_scale": guidance, "height": 16, "width": 16}
    want = pipeline(
        ["river", "lake"], negative_prompt=["sea"] * 2, latents=x, output_type="pt", **options
    ).images
    got = loaded["stable-diffusion"].sample(
        ["river", "lake"], negative_prompt="sea", latents=x, steps=4, guidance=guidance, size=(16, 16)
    )
    assert (got - want).abs().max() < 1e-4


def test_editing_a_picture_equals_plain_diffusers(loaded):
    """SDEdit with the official order of random draws."""
    generator = loaded["stable-diffusion"]
    pipeline = StableDiffusionImg2ImgPipeline(
        **{
            part: getattr(generator, part)
            for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
        },
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    draws = lambda: torch.Generator().manual_seed(2)  # noqa: E731
    # The pipeline draws the posterior sample before the noise, as the engine does for a torch.Generator.
    want = pipeline(
        "river",
        picture,
        strength=0.5,
        num_inference_steps=6,
        guidance_scale=3.0,
        generator=draws(),
        output_type="pt",
    )
    got = generator.sample("river", image=picture, strength=0.5, steps=6, guidance=3.0, seed=draws())
    assert (got - want.images).abs().max() < 1e-4


def test_ddpm_equals_the_ancestral_sampler_of_diffusers(generator, monkeypatch):
    """Given the same noise, eta = 1 is DDPM with the small posterior variance."""
    reference = DDPMScheduler.from_config(
        generator.scheduler.config, timestep_spacing="leading", variance_type="fixed_small"
    )
    ours, eta = make_sampler(generator.scheduler, "ddpm", 0.0, {})
    reference.set_timesteps(10)
    ours.set_timesteps(10)
    assert reference.timesteps.tolist() == ours.timesteps.tolist()
    x = y = seeds.noise((1, 4, 8, 8), seed=0)
    for k, t in enumerate(ours.timesteps):
        noise, prediction = seeds.noise(x.shape, seed=0, stream=k + 1), seeds.noise(x.shape, seed=9, stream=k)
        monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *a, n=noise, **k: n)
        x = step(ours, prediction, t, x, eta, lambda k, n=noise: n, k)
        y = reference.step(prediction, t, y).prev_sample
        assert relative(x, y) < 1e-5


def test_guidance_that_is_part_of_the_weights_cannot_be_added(generator, monkeypatch):
    monkeypatch.setitem(generator.settings, "distilled_guidance", 2.0)
    generator.sample("a", steps=1, guidance=1.0)
    with pytest.raises(ValueError, match=r"guidance 3 cannot be added: .* guidance 2 distilled .* teacher"):
        generator.sample("a", steps=1, guidance=3.0)


def test_guidance_one_is_the_conditional_model_alone(generator):
    calls = []
    hook = generator.unet.register_forward_hook(lambda module, args, out: calls.append(len(args[0])))
    generator.sample("a", steps=2, guidance=1.0)
    generator.sample("a", steps=2, guidance=3.0)
    hook.remove()
    assert calls == [1, 1, 2, 2]


def test_guidance_interval_saves_calls_and_is_guidance_inside(generator):
    calls = []
    hook = generator.unet.register_forward_hook(lambda module, args, out: calls.append(len(args[0])))
    partly = generator.sample("a", steps=10, guidance=4.0, guidance_interval=(0.2, 0.6), output="latent")
    hook.remove()
    assert calls == [1] * 4 + [2] * 4 + [1] * 2  # t = 901, 801, ... : guided from 600 down to 200
    whole = generator.sample("a", steps=10, guidance=4.0, guidance_interval=(0, 1), output="latent")
    assert torch.equal(whole, generator.sample("a", steps=10, guidance=4.0, output="latent"))
    assert relative(partly, whole) > 1e-3


def test_negative_prompts_act_only_under_guidance(generator):
    ask = {"steps": 2, "output": "latent"}
    plain, away = generator.sample("a", **ask), generator.sample("a", negative_prompt="clouds", **ask)
    assert relative(away, plain) > 1e-4
    assert torch.equal(
        generator.sample("a", guidance=1, **ask),
        generator.sample("a", negative_prompt="clouds", guidance=1, **ask),
    )


def test_one_row_serves_all_images(generator):
    """Several images of one prompt; one metadata for several prompts, with guidance and without."""
    for guidance in (1.0, 5.0):
        ask = {"steps": 2, "guidance": guidance, "output": "latent"}
        shared = generator.sample(["a", "b"], metadata=PLACE, **ask)
        assert torch.equal(shared, generator.sample(["a", "b"], metadata=[PLACE, PLACE], **ask))
    rows = [{**PLACE, "month": month} for month in (1, 4, 7)]
    assert generator.sample("a", metadata=rows, steps=1).shape == (3, 3, 16, 16)
    assert generator.sample("a", latents=torch.randn(5, 4, 8, 8), steps=1).shape == (5, 3, 16, 16)


def test_unknown_metadata_is_zeros(generator):
    ask = {"steps": 2, "output": "latent"}
    assert torch.equal(generator.sample("a", **ask), generator.sample("a", metadata=torch.zeros(7), **ask))
    assert torch.equal(generator.sample("a", **ask), generator.sample("a", metadata={}, **ask))
    stated = generator.sample("a", metadata=PLACE, **ask)
    rows = checkpoints.normalize_metadata(**PLACE)
    assert torch.equal(stated, generator.sample("a", metadata=rows, **ask))
    assert torch.equal(stated, generator.sample("a", metadata=rows[None].numpy(), **ask))
    assert relative(stated, generator.sample("a", **ask)) > 1e-3


def test_level_in_prompt_or_gsd_in_metadata(loaded):
    generator = loaded["text2earth"]
    ask = {"steps": 2, "output": "latent"}
    by_token = generator.sample("14_GOOGLE_LEVEL_a lake", **ask)
    assert torch.equal(by_token, generator.sample("a lake", metadata={"gsd": 8.0, "lon": 3}, **ask))
    assert torch.equal(by_token, generator.sample("14_GOOGLE_LEVEL_a lake", metadata={"gsd": 1.0}, **ask))
    assert relative(generator.sample("a lake", **ask), by_token) > 1e-4
    months = generator.sample(["a lake", "14_GOOGLE_LEVEL_a lake"], metadata=[{"gsd": 8.0}, None], **ask)
    assert relative(months[:1], by_token) < 1e-4
    with pytest.raises(ValueError, match="metadata has 3 rows for 2 prompts"):
        generator.sample(["a", "b"], metadata=[{}] * 3)
    with pytest.raises(TypeError, match="takes a level, not seven numbers"):
        generator.sample("a", metadata=torch.zeros(7))
    with pytest.raises(ValueError, match="not a whole number"):
        generator.sample("0.5_GOOGLE_LEVEL_a lake")


def test_what_the_mask_keeps_stays(loaded):
    """Latent blending puts the picture back outside the mask; its latents come out unchanged."""
    generator = loaded["text2earth"]
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 16:] = 1
    latents = generator.sample("a lake", image=picture, mask=mask, steps=3, output="latent")
    vae = generator.vae
    with torch.no_grad():
        known = vae.encode(picture * 2 - 1).latent_dist.mode() * vae.config.scaling_factor
    assert torch.allclose(latents[..., :8], known[..., :8], atol=1e-6)
    assert relative(latents[..., 8:], known[..., 8:]) > 0.1


def test_inpainting_model_also_paints_from_nothing(loaded):
    assert loaded["text2earth-inpainting"].sample("a lake", steps=2).shape == (1, 3, 16, 16)


def test_small_strength_stays_close_to_the_picture(generator):
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        z = generator.vae.encode(picture * 2 - 1).latent_dist.mode() * generator.vae.config.scaling_factor
    distance = [
        (generator.sample("a", image=picture, strength=s, steps=50, guidance=1, output="latent") - z)
        .norm()
        .item()
        for s in (0.02, 0.3, 0.9)
    ]
    assert distance[0] < distance[1] < distance[2]


def test_guess_mode_with_guidance(folders, tmp_path):
    """The ControlNet speaks to the conditional half alone, its residuals growing towards the middle."""
    net = write_controlnet(tmp_path / "net")
    generator = checkpoints.load(folders["diffusionsat"], controlnet=net)
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    seen = []
    hook = generator.unet.register_forward_hook(
        lambda module, args, kwargs, out: seen.append(kwargs["mid_block_additional_residual"]),
        with_kwargs=True,
    )
    generator.sample("a", image=picture, steps=1, guidance=3.0, guess_mode=True, size=(16, 16))
    hook.remove()
    without, told = seen[0]
    assert without.abs().max() == 0 < told.abs().max()


def test_in_guess_mode_guidance_strengthens_the_maps_of_crsdiff(tmp_path):
    generator = checkpoints.load(write_crsdiff(tmp_path / "crsdiff"))
    road = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def prediction(prompt, **arguments):
        steps = sampling.trajectory(generator, prompt, steps=2, seed=1, size=(16, 16), **arguments)
        return next(steps).prediction

    told = prediction("a", guidance=1, conditions={"road": road})
    without, drawn = (prediction("", guidance=1, conditions=c) for c in ({}, {"road": road}))
    for guess_mode, other in ((True, without), (False, drawn)):
        guided = prediction("a", guidance=3, conditions={"road": road}, guess_mode=guess_mode)
        torch.testing.assert_close(guided, other + 3 * (told - other), atol=1e-4, rtol=1e-4)
    assert (without - drawn).abs().max() > 1e-3


def test_steps_of_crsdiff():
    """Every ``1000 // S``-th step: 6 asks for 7; where the published rule overruns, it starts at 0."""
    scheduler = CRSDiffScheduler()
    expected = {4: [751, 501, 251, 1], 6: [997, 831, 665, 499, 333, 167, 1], 3: [999, 666, 333, 0]}
    for steps, times in expected.items():
        scheduler.set_timesteps(steps)
        assert scheduler.timesteps.tolist() == times
    for steps in range(1, 1001):
        scheduler.set_timesteps(steps)
        assert scheduler.timesteps[0] < 1000


def test_out_of_memory_halves_the_batch_and_changes_nothing(generator, monkeypatch):
    reference = generator.sample(["a"] * 5, steps=1, output="latent")
    forward = generator.unet.forward

    def fits_two(x, *args, **kwargs):
        if len(x) > 4:  # two images and their unconditional halves
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(x, *args, **kwargs)

    monkeypatch.setattr(generator.unet, "forward", fits_two)
    assert relative(generator.sample(["a"] * 5, steps=1, output="latent"), reference) < 1e-4

    def fits_none(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(generator.unet, "forward", fits_none)
    with pytest.raises(
        RuntimeError, match=r"One image of 16×16 does not fit into the .* GiB that are free on cpu"
    ):
        generator.sample("a", steps=1)


def test_batch_size_follows_the_free_memory(generator, monkeypatch):
    request = sampling.request.read_request(generator, ["a"] * 100, guided=True)
    assert engine.batch_that_fits(generator, request) == 64
    one = engine.bytes_per_image(generator, request)
    monkeypatch.setattr(engine, "free_bytes", lambda device: 6 * one)
    assert engine.batch_that_fits(generator, request) == 3
    monkeypatch.setattr(engine, "free_bytes", lambda device: one)
    assert engine.batch_that_fits(generator, request) == 1
    monkeypatch.setattr(engine, "free_bytes", lambda device: one - 1)
    with pytest.raises(RuntimeError, match="One image of 16×16 does not fit into"):
        generator.sample("a", steps=1)


def test_half_precision_runs_and_is_close(folders, generator):
    half = checkpoints.load(folders["diffusionsat"], dtype="bfloat16")
    assert half.unet.dtype == torch.bfloat16
    a, b = half.sample("a", steps=3), generator.sample("a", steps=3)
    assert a.dtype == torch.float32 and (a - b).abs().mean() < 0.05


@pytest.mark.slow
def test_a_compiled_unet_gives_the_same_images(folders, generator):
    compiled = checkpoints.load(folders["diffusionsat"]).compile(backend="eager")
    ask = {"steps": 2, "metadata": PLACE, "output": "latent"}
    assert relative(compiled.sample("a", **ask), generator.sample("a", **ask)) < 1e-4


def test_described_is_what_is_done(generator):
    """``describe`` names the defaults that ``sample`` fills in, and checks as it does."""
    told = sampling.describe(generator, ["a", "b"], {"month": 7}, steps=2, sampler="ddpm")
    assert told == {
        "sampler": "ddpm",
        "steps": 2,
        "eta": 1.0,
        "guidance": 7.5,
        "guidance_interval": [0.0, 1.0],
        "negative_prompt": "",
        "size": [16, 16],
        "dtype": "float32",
    }
    ask = {name: value for name, value in told.items() if name not in ("dtype", "eta")}
    by_name = generator.sample(["a", "b"], metadata={"month": 7}, **{**ask, "size": (16, 16)})
    assert torch.equal(by_name, generator.sample(["a", "b"], metadata={"month": 7}, steps=2, sampler="ddpm"))
    with pytest.raises(ValueError, match="month is 13"):
        sampling.describe(generator, "a", {"month": 13})


def test_progress_counts_images(generator, capsys):
    generator.sample(["a", "b", "c"], steps=2, batch_size=2, progress=True)
    assert "3/3 images" in capsys.readouterr().err
    told = []
    generator.sample(["a", "b", "c"], steps=2, batch_size=2, progress=told.append)
    assert told == [1.0, 1.0, 0.5, 0.5]


def test_prompt_beyond_77_tokens_warns_what_is_lost(generator):
    with pytest.warns(UserWarning, match=r"reads 77: it does not see 'sea'"):
        generator.sample("a" * 75 + "sea", steps=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generator.sample("a" * 75, steps=1)


@pytest.mark.parametrize("sampler", [None, *sampling.SAMPLERS])
@pytest.mark.parametrize("family", FAMILIES)
def test_one_step_suffices(loaded, family, sampler):
    assert loaded[family].sample("a", steps=1, sampler=sampler, output="latent").isfinite().all()


def test_images_can_be_trained_on(generator):
    images = generator.sample("a", steps=1)
    weight = torch.ones(3, 1, 1, requires_grad=True)
    (images * weight).sum().backward()
    images += 1
    assert weight.grad.isfinite().all() and not images.requires_grad


def test_trajectory_ends_in_the_sample(generator):
    steps = list(sampling.trajectory(generator, "a", steps=3, metadata=PLACE))
    assert [s.index for s in steps] == [0, 1, 2] and steps[0].t > steps[-1].t
    assert torch.equal(steps[-1].latents, generator.sample("a", steps=3, metadata=PLACE, output="latent"))


MISTAKES = {
    "without a ControlNet or maps": {"guess_mode": True},
    "steps is 0": {"steps": 0},
    "steps is 1001": {"steps": 1001},
    "no sampler 'dimm'": {"sampler": "dimm"},
    "eta is 2": {"eta": 2, "sampler": "ddim"},
    "eta adds noise to DDIM": {"eta": 0.5, "sampler": "euler"},
    "strength is 0": {"strength": 0},
    "output is 'pil'": {"output": "pil"},
    r"size is \(15, 16\)": {"size": (15, 16)},
    r"latents has shape \[1, 3, 8, 8\]": {"latents": torch.zeros(1, 3, 8, 8)},
    "latents of 8×8 make images of 16×16": {"latents": torch.zeros(1, 4, 8, 8), "size": (32, 32)},
    "no field 'latt'": {"metadata": {"latt": 3}},
    "lat is 149": {"metadata": {"lat": 149}},
    "must be divided by 100": {"metadata": {"cloud_cover": 40}},
    "month is 13": {"metadata": {"month": 13}},
    "year is 20": {"metadata": {"year": 20}},
    r"metadata has shape \[1, 6\]": {"metadata": torch.zeros(6)},
    "metadata has 2 rows, but prompts has 3": {"prompts": ["a"] * 3, "metadata": [{}, {}]},
    "prompts is empty": {"prompts": []},
    "mask= says where": {"mask": torch.zeros(16, 16)},
    "mask has nothing above 1 of 255": {"mask": np.eye(16, dtype=np.uint8), "image": torch.zeros(3, 16, 16)},
    r"image has values in \[0, 255\]": {"image": torch.tensor([0.0, 255.0]).expand(3, 2, 2)},
    "loaded without controlnet=": {"cond_metadata": PLACE},
    "leave conditions out": {"conditions": {"road": np.zeros((16, 16), dtype=np.uint8)}},
    "seed is -1": {"seed": -1},
    "guidance_interval is": {"guidance_interval": (0.6, 0.2)},
    "batch_size is 0": {"batch_size": 0},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_get_one_sentence(generator, message):
    arguments = {"prompts": "a", **MISTAKES[message]}
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        generator.sample(arguments.pop("prompts"), **arguments)
    assert "\n" not in str(caught.value)


def test_metadata_is_refused_where_it_means_nothing(loaded):
    with pytest.raises(ValueError, match="leave metadata out"):
        loaded["stable-diffusion"].sample("a", metadata=PLACE)
