import pytest
import torch

from rs_course import seeds
from rs_course.diffusion import samplers, schedules
from rs_course.diffusion.gaussian_mixture import GaussianMixture
from rs_course.diffusion.sdedit import sdedit

SCHEDULE, RING = schedules.linear(), GaussianMixture.ring()
DENOISE = RING.denoiser(SCHEDULE)


def edit(x, strength, **options):
    return samplers.final(sdedit(DENOISE, x, SCHEDULE, steps=40, strength=strength, **options))


def test_more_noise_forgets_more():
    x, labels = RING.sample(300, seed=1)
    kept = []
    for strength in (0.1, 0.4, 0.7, 1.0):
        edited = edit(x, strength)
        kept.append((RING.responsibilities(edited).argmax(1) == labels).double().mean().item())
    assert kept[0] > 0.95
    assert kept == sorted(kept, reverse=True)
    assert kept[-1] < 0.35
    assert torch.equal(edit(x, 0.0), x)


def test_number_of_steps_and_first_level():
    x, _ = RING.sample(2)
    steps = list(sdedit(DENOISE, x, SCHEDULE, steps=40, strength=0.5))
    assert len(steps) == 1 + 20
    assert steps[0].t == 19 * 25
    a, s = SCHEDULE.coefficients(steps[0].t, x)
    torch.testing.assert_close(steps[0].xt, a * x + s * seeds.noise_like(x, seed=0))


@pytest.mark.parametrize("name", list(samplers.SAMPLERS))
def test_every_sampler_and_any_batch(name):
    x, _ = RING.sample(6, seed=2)
    whole = edit(x, 0.6, sampler=samplers.SAMPLERS[name], seed=3)
    part = edit(x[4:], 0.6, sampler=samplers.SAMPLERS[name], seed=3, start=4)
    torch.testing.assert_close(part, whole[4:])
    assert whole.isfinite().all()


def test_strength_out_of_range_is_named():
    with pytest.raises(ValueError, match=r"strength is 1\.5"):
        edit(torch.zeros(1, 2, dtype=torch.float64), 1.5)
