"""Every sampler takes the same steps as the library's scheduler of the same name."""

import importlib

import diffusers
import pytest
import torch

from rs_course import seeds
from rs_course.diffusion import flow, process, samplers, schedules

STEPS = (1, 2, 7, 25, 50, 100)
X_T = seeds.noise((3, 2, 4, 4), seed=0, dtype=torch.float64)


SCHEDULE = schedules.linear()


def network(prediction_type):
    """A smooth function that denoises roughly as for standard normal data: samples keep their size."""

    def model(xt, t):
        a, s = SCHEDULE.coefficients(t, xt)
        v = 0.3 * torch.sin(3 * xt)
        return {"v": v, "eps": s * xt + a * v, "x0": a * xt - s * v}[prediction_type]

    return model


class InDouble:
    """A module (torch, numpy) whose float32 is float64."""

    def __init__(self, module):
        self._module, self.float32 = module, module.float64

    def __getattr__(self, name):
        return getattr(self._module, name)


@pytest.fixture(autouse=True)
def in_double(monkeypatch):
    """Run diffusers' own code in double precision: on its way it casts to float32."""
    for name in (
        "ddim",
        "ddpm",
        "euler_discrete",
        "heun_discrete",
        "dpmsolver_multistep",
        "flow_match_euler_discrete",
    ):
        module = importlib.import_module(f"diffusers.schedulers.scheduling_{name}")
        for library in ("torch", "np"):
            if hasattr(module, library):
                monkeypatch.setattr(module, library, InDouble(getattr(module, library)))


def ours(sampler, prediction_type="eps", **options):
    denoise = process.denoiser(network(prediction_type), SCHEDULE, prediction_type=prediction_type)
    return [step.xt for step in sampler(denoise, X_T, SCHEDULE, **options)]


def theirs(scheduler, prediction_type="eps", *, ve=False, **options):
    """All samples of the scheduler's own loop, variance preserving; ``ve``: it keeps x / √ᾱ instead."""
    model, trajectory = network(prediction_type), []
    x = X_T * (scheduler.sigmas[0].double() ** 2 + 1) ** 0.5 if ve else X_T
    for k, t in enumerate(scheduler.timesteps):
        if "variance_noise" in options:
            options["variance_noise"] = seeds.noise_like(X_T, seed=0, stream=k + 1)
        output = model(scheduler.scale_model_input(x, t).double(), t)
        x = scheduler.step(output, t, x, **options).prev_sample
        trajectory.append(x / ((scheduler.sigmas[k + 1].double() ** 2 + 1) ** 0.5 if ve else 1))
    return trajectory


def assert_equal(a, b, tolerance=1e-9):
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert (x - y).abs().max() < tolerance


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize(
    ("prediction_type", "theirs_called"), [("eps", "epsilon"), ("v", "v_prediction"), ("x0", "sample")]
)
@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_ddim(steps, prediction_type, theirs_called, eta):
    scheduler = diffusers.DDIMScheduler(clip_sample=False, prediction_type=theirs_called)
    scheduler.set_timesteps(steps)
    assert_equal(
        ours(samplers.ddim, prediction_type, steps=steps, eta=eta),
        theirs(scheduler, prediction_type, eta=eta, variance_noise=None),
    )


@pytest.mark.parametrize("steps", [4, 20, 50])
@pytest.mark.parametrize(
    ("config", "plan"),
    [
        (
            {"steps_offset": 1, "set_alpha_to_one": False},
            lambda k: schedules.leading(1000, k, offset=1, final=0),
        ),
        ({"timestep_spacing": "trailing"}, lambda k: schedules.trailing(1000, k)),
    ],
)
def test_ddim_in_other_spacings(steps, config, plan):
    scheduler = diffusers.DDIMScheduler(clip_sample=False, **config)
    scheduler.final_alpha_cumprod = (
        scheduler.alphas_cumprod[0] if "steps_offset" in config else torch.tensor(1.0)
    )
    scheduler.set_timesteps(steps)
    assert scheduler.timesteps.tolist() == plan(steps)[:-1]
    assert_equal(ours(samplers.ddim, timesteps=plan(steps)), theirs(scheduler))


@pytest.mark.parametrize("steps", (*STEPS, 1000))
@pytest.mark.parametrize("variance", ["small", "large"])
def test_ddpm(steps, variance, monkeypatch):
    scheduler = diffusers.DDPMScheduler(clip_sample=False, variance_type=f"fixed_{variance}")
    scheduler.set_timesteps(steps)
    stream = iter(range(1, steps + 1))
    monkeypatch.setattr(
        "diffusers.schedulers.scheduling_ddpm.randn_tensor",
        lambda *args, **kwargs: seeds.noise_like(X_T, seed=0, stream=next(stream)),
    )
    assert_equal(ours(samplers.ddpm, steps=steps, variance=variance), theirs(scheduler))


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("spacing", ["linspace", "trailing", "leading"])
def test_euler(steps, spacing):
    scheduler = diffusers.EulerDiscreteScheduler(timestep_spacing=spacing)
    scheduler.set_timesteps(steps)
    plan = getattr(schedules, spacing)(1000, steps)
    assert torch.allclose(scheduler.timesteps.double(), torch.tensor(plan[:-1], dtype=torch.float64))
    assert_equal(ours(samplers.euler, timesteps=plan), theirs(scheduler, ve=True))


@pytest.mark.parametrize("steps", STEPS)
def test_heun(steps):
    scheduler = diffusers.HeunDiscreteScheduler(beta_start=0.0001, beta_end=0.02)
    scheduler.set_timesteps(steps)
    trajectory = theirs(scheduler, ve=True)
    assert len(trajectory) == samplers.evaluations("heun", steps)
    # Every second state of theirs is only the Euler guess of a step.
    assert_equal(ours(samplers.heun, steps=steps), [*trajectory[1:-1:2], trajectory[-1]])


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("prediction_type", [("eps", "epsilon"), ("v", "v_prediction")])
def test_dpmpp_2m(steps, prediction_type):
    scheduler = diffusers.DPMSolverMultistepScheduler(prediction_type=prediction_type[1])
    scheduler.set_timesteps(steps)
    assert scheduler.timesteps.tolist() == schedules.open_linspace(1000, steps)[:-1]
    assert_equal(
        ours(samplers.dpmpp_2m, prediction_type[0], steps=steps), theirs(scheduler, prediction_type[0])
    )


@pytest.mark.parametrize("steps", [10, 20])
def test_dpmpp_2m_that_ends_above_zero(steps):
    scheduler = diffusers.DPMSolverMultistepScheduler(final_sigmas_type="sigma_min")
    scheduler.set_timesteps(steps)
    assert_equal(
        ours(samplers.dpmpp_2m, timesteps=schedules.open_linspace(1000, steps, final=0)), theirs(scheduler)
    )


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_matching(steps, shift):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(steps)
    sigmas = flow.levels(steps, shift=shift)
    model = network("v")
    mine = [s.xt for s in flow.euler(lambda x, sigma: model(x, 0) + sigma, X_T, sigmas)]
    x, trajectory = X_T, []
    for t in scheduler.timesteps:
        x = scheduler.step(model(x, 0) + t / 1000, t, x).prev_sample
        trajectory.append(x)
    assert_equal(mine, trajectory)


def test_plans_of_every_length():
    for steps in range(1, 1001, 13):
        ddpm, dpm = (
            diffusers.DDPMScheduler(timestep_spacing="trailing"),
            diffusers.DPMSolverMultistepScheduler(),
        )
        ddpm.set_timesteps(steps)
        # Rounding gives diffusers' arange one step too many at some lengths, at the "step" −1.
        assert schedules.trailing(1000, steps) == [*ddpm.timesteps.tolist()[:steps], -1]
        dpm.set_timesteps(steps)
        assert schedules.open_linspace(1000, steps) == [*dpm.timesteps.tolist(), -1]


def test_karras_levels():
    scheduler = diffusers.EulerDiscreteScheduler(use_karras_sigmas=True)
    scheduler.set_timesteps(12)
    bar = SCHEDULE.at(schedules.karras(SCHEDULE, 12)[:-1])
    assert torch.allclose(((1 - bar) / bar).sqrt(), scheduler.sigmas[:-1].double(), rtol=1e-5)
