import pytest
import torch

from rs_course import seeds
from rs_course.diffusion import samplers, schedules, timesteps
from rs_course.diffusion.gaussian_mixture import GaussianMixture

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
    plan = timesteps.trailing(1000, 30)
    a = samplers.final(samplers.euler(DENOISE, X_T, SCHEDULE, timesteps=plan))
    b = samplers.final(samplers.ddim(DENOISE, X_T, SCHEDULE, timesteps=plan))
    torch.testing.assert_close(a, b)


def test_pure_noise_at_the_last_step():
    schedule = schedules.zero_terminal_snr(schedules.linear())
    denoise, plan = RING.denoiser(schedule), timesteps.trailing(1000, 50)
    for sampler in (samplers.ddpm, samplers.ddim, samplers.dpmpp_2m):
        assert samplers.final(sampler(denoise, X_T, schedule, timesteps=plan)).isfinite().all()
    for sampler in (samplers.euler, samplers.heun):
        with pytest.raises(ValueError, match="infinite at zero terminal SNR"):
            samplers.final(sampler(denoise, X_T, schedule, timesteps=plan))
    with pytest.raises(ValueError, match="give sigma_max"):
        timesteps.karras(schedule, 10)


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
