"""What steers a sampler: guidance, and an image to start from."""

import pytest
import torch

from rs_course import seeds
from rs_course.diffusion import samplers, schedules
from rs_course.diffusion.gaussian_mixture import GaussianMixture
from rs_course.diffusion.samplers import drop_condition, guide, guided, sdedit

NULL = 5


def model(xt, t, labels):
    return xt + 10 * labels[:, None] + t[:, None]


def test_scale_counts_as_in_diffusers():
    cond, uncond = torch.tensor([3.0]), torch.tensor([1.0])
    assert guide(cond, uncond, 0) == uncond
    assert guide(cond, uncond, 1) == cond
    w = 6.5
    assert torch.equal(guide(cond, uncond, 1 + w), (1 + w) * cond - w * uncond)


def test_one_call_asks_for_both():
    calls = []

    def counted(xt, t, labels):
        calls.append(len(xt))
        return model(xt, t, labels)

    x, t, labels = torch.zeros(2, 1), torch.full((2,), 7), torch.tensor([1, 2])
    got = guided(counted, labels, NULL, 3.0)(x, t)
    want = model(x, t, torch.tensor([NULL, NULL])) * (1 - 3) + 3 * model(x, t, labels)
    assert torch.equal(got, want)
    assert torch.equal(guided(counted, labels, NULL, 1.0)(x, t), model(x, t, labels))
    assert torch.equal(guided(counted, labels, NULL, 3.0, interval=(10, 20))(x, t), model(x, t, labels))
    assert torch.equal(guided(counted, labels, NULL, 3.0, interval=(5, 20))(x, t), want)
    assert calls == [4, 2, 2, 4]


def test_vector_conditions_and_dropping():
    condition, null = torch.arange(12.0).reshape(3, 4), torch.zeros(4)
    uniform = torch.tensor([0.05, 0.5, 0.09])
    dropped = drop_condition(condition, null, 0.1, uniform)
    assert torch.equal(dropped[1], condition[1])
    assert not dropped[[0, 2]].any()
    labels = drop_condition(torch.tensor([1, 2, 3]), NULL, 0.1, uniform)
    assert labels.tolist() == [NULL, 2, NULL]


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
