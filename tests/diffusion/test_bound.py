import diffusers
import pytest
import torch

from rs_course import seeds
from rs_course.diffusion import bound, library, samplers, schedules
from rs_course.diffusion.gaussian_mixture import GaussianMixture

SCHEDULE, RING = schedules.linear(), GaussianMixture.ring()


def test_the_bound_lies_above_minus_log_p_and_tightens():
    x, _ = RING.sample(3000, seed=1)
    gaps = []
    for T in (10, 40):
        schedule = schedules.cosine(T)
        per_point = bound.variational_bound(RING.denoiser(schedule), x, schedule)
        gaps.append((per_point.mean() + RING.log_prob(x).mean()).item())
    assert 0 < gaps[1] < gaps[0] < 0.8


def test_a_worse_denoiser_has_a_higher_bound():
    x, _ = RING.sample(300, seed=1)
    schedule = schedules.cosine(20)
    exact = RING.denoiser(schedule)

    def worse(xt, t):
        return 0.95 * exact(xt, t)[0], None

    bounds = [bound.variational_bound(denoise, x, schedule).mean() for denoise in (exact, worse)]
    assert bounds[1] > bounds[0] + 0.1


def test_first_term_is_the_distance_of_the_last_step_from_noise():
    """With one step of β = 0.5 the bound is −log N(x_0) of the reverse step plus one KL divergence."""
    schedule = schedules.Schedule.from_betas(torch.tensor([0.5]))
    x = torch.tensor([[1.0]], dtype=torch.float64)
    got = bound.variational_bound(lambda xt, t: (x, None), x, schedule)
    kl = 0.5 * (0.5 + 0.5 * 1.0 - 1 - torch.log(torch.tensor(0.5)))
    reconstruction = 0.5 * torch.log(torch.tensor(2 * torch.pi * 0.5))
    assert got.item() == pytest.approx((kl + reconstruction).item())


@pytest.mark.parametrize(
    ("scheduler", "sampler"),
    [
        (diffusers.DDIMScheduler(clip_sample=False), samplers.ddim),
        (diffusers.EulerDiscreteScheduler(), samplers.euler),
        (diffusers.HeunDiscreteScheduler(beta_start=1e-4, beta_end=0.02), samplers.heun),
        (diffusers.DPMSolverMultistepScheduler(), samplers.dpmpp_2m),
    ],
)
def test_the_librarys_loop_ends_where_ours_does(scheduler, sampler):
    x = seeds.noise((20, 2), seed=0, dtype=torch.float64)
    exact = RING.denoiser(SCHEDULE)
    theirs = library.sample(scheduler, exact, x, 25)
    torch.testing.assert_close(
        theirs.double(), samplers.final(sampler(exact, x, SCHEDULE, 25)), atol=1e-4, rtol=0
    )
