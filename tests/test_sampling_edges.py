"""Promises at their edges: schedulers that draw by themselves, all trained steps, NaN, NumPy's numbers."""

import json

import diffusers
import numpy as np
import pytest
import torch
from checkpoints.tiny import SCHEDULER, write_checkpoint

from rs_course import checkpoints, generation
from rs_course.sampling.samplers import SAMPLERS, make_sampler, plan, step

STOCHASTIC = [
    "EulerAncestralDiscreteScheduler",
    "DDPMScheduler",
    "LCMScheduler",
    "TCDScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "SASolverScheduler",
]
if diffusers.utils.is_torchsde_available():
    STOCHASTIC.append("DPMSolverSDEScheduler")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("edges") / "generator", "stable-diffusion")


@pytest.fixture
def with_scheduler(folder):
    """Load the generator with a scheduler of its own."""
    files = folder / "scheduler" / "scheduler_config.json", folder / "model_index.json"
    before = [file.read_text() for file in files]

    def load(name, **config):
        files[0].write_text(json.dumps({**SCHEDULER, "_class_name": name, **config}))
        files[1].write_text(json.dumps({"scheduler": ["diffusers", name]}))
        return checkpoints.load(folder)

    yield load
    for file, text in zip(files, before, strict=True):
        file.write_text(text)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_an_image_depends_on_seed_and_number_whatever_the_scheduler_draws(with_scheduler, name):
    model = with_scheduler(name)
    ask = {"steps": 3, "guidance": 1, "seed": 3, "output": "latent"}
    prompts = ["a river", "a lake", "a field"]
    reference = model.sample(prompts, **ask)
    torch.manual_seed(17)  # no global state takes part
    assert torch.equal(model.sample(prompts, **ask), reference)
    for changed in (
        model.sample(prompts, batch_size=2, **ask),
        torch.cat([model.sample(text, start=i, **ask) for i, text in enumerate(prompts)]),
    ):
        assert (changed - reference).abs().max() < 1e-4 * reference.abs().max()
    other = model.sample(prompts, **{**ask, "seed": 4})
    assert (other - reference).abs().max() > 0.1 * reference.abs().max()


def test_a_single_generator_is_handed_to_the_scheduler(with_scheduler):
    """As the published pipelines do, which draw everything from one generator."""
    model = with_scheduler("EulerAncestralDiscreteScheduler")
    made = [model.sample("a", steps=2, guidance=1, seed=torch.Generator().manual_seed(5)) for _ in range(2)]
    assert torch.equal(*made)


def run(base, name, steps):
    """Latents of a chain whose predictions are half its own input."""
    scheduler, eta = make_sampler(base, name, 0.0, {})
    generator = torch.Generator().manual_seed(0)

    def noise(k):
        return torch.randn(1, 4, 2, 2, generator=generator)

    x = noise(0) * scheduler.init_noise_sigma
    times = plan(scheduler, steps)
    for k, t in enumerate(times):
        x = step(scheduler, scheduler.scale_model_input(x, t) * 0.5, t, x, eta, noise, k)
    return x, times


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("schedule", ["scaled_linear", "squaredcos_cap_v2"])
def test_one_step_and_as_many_as_were_trained(name, spacing, schedule):
    """Every number of steps works, or is refused in a sentence. (50 trained steps stand for 1,000.)"""
    config = {**SCHEDULER, "timestep_spacing": spacing, "beta_schedule": schedule, "num_train_timesteps": 50}
    for flags in (
        {},
        {"use_karras_sigmas": True},
        {"use_exponential_sigmas": True},
        {"use_beta_sigmas": True},
    ):
        base = diffusers.DDIMScheduler.from_config({**config, **flags})
        for steps in (1, 2, 49, 50):
            try:
                x, times = run(base, name, steps)
            except ValueError as error:
                assert "take fewer" in str(error) and steps > 2
                continue
            assert x.isfinite().all() and times.min() >= 0 and times.max() < 50


@pytest.mark.parametrize(("name", "steps"), [("PNDMScheduler", 1), ("LCMScheduler", 1000)])
def test_a_number_of_steps_that_a_scheduler_does_not_take(with_scheduler, name, steps):
    with pytest.raises(ValueError, match=rf"steps is {steps}, which the scheduler {name} does not take: try"):
        with_scheduler(name, skip_prk_steps=False).sample("a", steps=steps)


@pytest.mark.parametrize(
    "name",
    ["FlowMatchEulerDiscreteScheduler", "UNet2DModel", "VQDiffusionScheduler", "RePaintScheduler",
     "DDPMWuerstchenScheduler", "ScoreSdeVeScheduler", "KarrasVeScheduler"],
)  # fmt: skip
def test_a_scheduler_of_another_kind_of_model(with_scheduler, name):
    with pytest.raises(ValueError, match=f"names the scheduler {name}, which is none for denoising latents"):
        with_scheduler(name)


def test_all_thousand_steps_of_ddim(folder):
    """With steps_offset 1 the published rule would name step 1,000, which was not trained."""
    scheduler, _ = make_sampler(checkpoints.load(folder).scheduler, "ddim", 0.0, {})
    assert plan(scheduler, 1000).tolist() == list(range(999, -1, -1))
    assert plan(make_sampler(scheduler, "ddim", 0.0, {})[0], 4).shape == (4,)


def test_nan_is_an_error_and_no_black_tile(folder, tmp_path):
    model = checkpoints.load(folder)
    for part, said in ((model.vae.decoder.conv_in, "VAE"), (model.unet.conv_out, "UNet")):
        kept = part.weight.clone()
        part.weight.fill_(float("nan"))
        with pytest.raises(ValueError, match=f"The {said} gave NaN or infinity instead of an image"):
            model.sample("a", steps=1)
        part.weight.copy_(kept)
    with pytest.raises(ValueError, match="latents contains NaN"):
        model.sample("a", steps=1, latents=torch.full((1, 4, 8, 8), float("nan")))
    assert model.sample("a", steps=1).isfinite().all()


def test_numbers_of_numpy(folder, tmp_path):
    model = checkpoints.load(folder)
    expected = model.sample("a", steps=2, size=16, batch_size=1)
    made = model.sample("a", steps=np.int64(2), size=np.int64(16), batch_size=np.int64(1))
    assert torch.equal(made, expected)
    ask = {"checkpoint": str(folder), "out": tmp_path / "out", "steps": 1, "size": [16, 16]}
    assert len(generation.generate(["a"], per_prompt=np.int64(2), **ask)) == 2


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("guidance_scale", "diffusers' guidance_scale is guidance here"),
        ("stepz", r"help\(Checkpoint.sample\)"),
    ],
)
def test_an_argument_by_another_name_leads_to_ours(folder, name, told):
    with pytest.raises(TypeError, match=rf"sample\(\) has no argument '{name}': {told}"):
        checkpoints.load(folder).sample("a river", **{name: 3})
