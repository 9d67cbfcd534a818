"""Noise schedules, and the samplers' exact cases."""

import diffusers
import pytest
import torch

from rs_course import seeds
from rs_course.diffusion import samplers, schedules
from rs_course.diffusion.gaussian_mixture import GaussianMixture
from rs_course.diffusion.schedules import Schedule


@pytest.mark.parametrize(
    ("ours", "config"),
    [
        (schedules.linear(), {}),
        (schedules.linear(50), {"num_train_timesteps": 50}),
        (
            schedules.scaled_linear(),
            {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        ),
        (schedules.cosine(), {"beta_schedule": "squaredcos_cap_v2"}),
        (schedules.zero_terminal_snr(schedules.linear()), {"rescale_betas_zero_snr": True}),
    ],
)
def test_equal_to_diffusers(ours, config):
    theirs = diffusers.DDIMScheduler(**config)
    # diffusers multiplies a thousand float32 numbers.
    torch.testing.assert_close(ours.alpha_bar, theirs.alphas_cumprod.double(), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(ours.beta[:-1], theirs.betas[:-1].double(), rtol=1e-4, atol=2e-6)


def test_relations_between_the_columns():
    s = schedules.scaled_linear()
    torch.testing.assert_close(s.alpha.cumprod(0), s.alpha_bar)
    torch.testing.assert_close(1 / s.sigma**2, s.snr)
    assert len(s) == 1000
    assert s.alpha_bar.dtype == torch.float64


def test_zero_terminal_snr_keeps_the_first_level():
    before, after = schedules.linear(), schedules.zero_terminal_snr(schedules.linear())
    assert after.alpha_bar[-1] == 0
    assert after.alpha_bar[0] == before.alpha_bar[0]
    assert after.beta[-1] == 1


def test_at_whole_real_and_clean_steps():
    s = schedules.zero_terminal_snr(schedules.linear())
    assert s.at(-1) == 1
    assert s.at(999) == 0
    t = torch.tensor([[0, 5], [998, 999]])
    assert torch.equal(s.at(t), s.alpha_bar[t])
    bar = s.at(5.25)
    torch.testing.assert_close(((1 - bar) / bar).sqrt(), 0.75 * s.sigma[5] + 0.25 * s.sigma[6])
    assert s.alpha_bar[0] < s.at(-0.5) < 1


def test_coefficients_follow_the_tensor():
    x = torch.zeros(3, 2, 4, 4, dtype=torch.bfloat16)
    a, s = schedules.linear().coefficients(torch.tensor([0, 500, 999]), x)
    assert a.shape == s.shape == (3, 1, 1, 1)
    assert a.dtype == torch.bfloat16
    assert schedules.linear().coefficients(7, x)[0].shape == (1, 1, 1, 1)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="outside the schedule"):
        schedules.linear().at(1000)
    with pytest.raises(ValueError, match="fall from"):
        Schedule(torch.tensor([0.5, 0.9]))


SCHEDULE, RING = schedules.linear(), GaussianMixture.ring()
DENOISE = RING.denoiser(SCHEDULE)
X_T = seeds.noise((6, 2), seed=0, dtype=torch.float64)


@pytest.mark.parametrize("name", list(samplers.SAMPLERS))
def test_image_does_not_depend_on_its_batch(name):
    sampler = samplers.SAMPLERS[name]
    stochastic = name == "ddpm"
    whole = samplers.final(sampler(DENOISE, X_T, SCHEDULE, 20, **({"seed": 5} if stochastic else {})))
    part = samplers.final(
        sampler(DENOISE, X_T[4:], SCHEDULE, 20, **({"seed": 5, "start": 4} if stochastic else {}))
    )
    torch.testing.assert_close(part, whole[4:])


@pytest.mark.parametrize("name", list(samplers.SAMPLERS))
def test_evaluations_are_counted(name):
    calls = []

    def counted(xt, t):
        calls.append(t)
        return DENOISE(xt, t)

    steps = list(samplers.SAMPLERS[name](counted, X_T, SCHEDULE, 12))
    assert len(steps) == 12
    assert len(calls) == samplers.evaluations(name, 12)
    assert steps[-1].t == -1
    torch.testing.assert_close(steps[-1].xt, steps[-1].x0, atol=0.2, rtol=0)


def test_euler_is_ddim_in_other_variables():
    plan = schedules.trailing(1000, 30)
    a = samplers.final(samplers.euler(DENOISE, X_T, SCHEDULE, timesteps=plan))
    b = samplers.final(samplers.ddim(DENOISE, X_T, SCHEDULE, timesteps=plan))
    torch.testing.assert_close(a, b)


def test_pure_noise_at_the_last_step():
    schedule = schedules.zero_terminal_snr(schedules.linear())
    denoise, plan = RING.denoiser(schedule), schedules.trailing(1000, 50)
    for sampler in (samplers.ddpm, samplers.ddim, samplers.dpmpp_2m):
        assert samplers.final(sampler(denoise, X_T, schedule, timesteps=plan)).isfinite().all()
    for sampler in (samplers.euler, samplers.heun):
        with pytest.raises(ValueError, match="infinite at zero terminal SNR"):
            samplers.final(sampler(denoise, X_T, schedule, timesteps=plan))
    with pytest.raises(ValueError, match="give sigma_max"):
        schedules.karras(schedule, 10)


def test_unknown_variance_is_named():
    with pytest.raises(ValueError, match="choose 'small'"):
        samplers.final(samplers.ddpm(DENOISE, X_T, SCHEDULE, 5, variance="tiny"))


@pytest.mark.parametrize("steps", [0, 1001])
def test_impossible_number_of_steps_is_named(steps):
    with pytest.raises(ValueError, match=f"steps is {steps}"):
        samplers.final(samplers.ddim(DENOISE, X_T, SCHEDULE, steps))


def test_timesteps_may_be_any_sequence():
    import numpy as np

    schedule, start = schedules.linear(), torch.randn(2, 3)
    plan = [999, 500, 0, -1]
    for sampler in (samplers.ddim, samplers.euler):
        given = (plan, tuple(plan), np.array(plan), torch.tensor(plan))
        made = [
            samplers.final(sampler(lambda xt, t: (0.5 * xt, xt), start, schedule, timesteps=one))
            for one in given
        ]
        assert all(torch.equal(one, made[0]) for one in made)


@pytest.mark.parametrize("levels", [[], [5], [1, 5, 9], [9, 9, 0]])
def test_levels_that_do_not_fall_are_refused(levels):
    schedule = schedules.linear(10)
    with pytest.raises(ValueError, match="two levels or more, each below"):
        next(samplers.ddim(lambda x, t: (x, x), torch.zeros(1, 2), schedule, timesteps=levels))
