"""The forward process, what a network may predict, and the variational bound."""

import diffusers
import pytest
import torch

from rs_course import seeds
from rs_course.diffusion import process, samplers, schedules
from rs_course.diffusion.gaussian_mixture import GaussianMixture

SCHEDULE = schedules.linear()
X0 = seeds.noise((4, 3, 8, 8), seed=0, dtype=torch.float64)
EPS = seeds.noise((4, 3, 8, 8), seed=1, dtype=torch.float64)


def test_closed_form_equals_a_thousand_small_steps():
    x, moments = X0, torch.zeros(1000, dtype=torch.float64)
    noise = torch.zeros_like(X0)
    for t in range(600):
        z = seeds.noise_like(X0, seed=2, stream=t + 1)
        x = SCHEDULE.alpha[t].sqrt() * x + SCHEDULE.beta[t].sqrt() * z
        noise = SCHEDULE.alpha[t].sqrt() * noise + SCHEDULE.beta[t].sqrt() * z
        moments[t] = noise.var()
    eps = noise / (1 - SCHEDULE.alpha_bar[599]).sqrt()  # the one noise that stands for all 600
    torch.testing.assert_close(process.add_noise(X0, eps, 599, SCHEDULE), x)
    assert abs(eps.var() - 1) < 0.1


@pytest.mark.parametrize("prediction_type", ["eps", "x0", "v"])
@pytest.mark.parametrize("t", [0, 3, 500, 999, torch.tensor([0, 10, 500, 999])])
def test_every_prediction_gives_both(prediction_type, t):
    xt = process.add_noise(X0, EPS, t, SCHEDULE)
    output = process.target(X0, EPS, t, SCHEDULE, prediction_type)
    x0, eps = process.split(output, xt, t, SCHEDULE, prediction_type)
    torch.testing.assert_close(x0, X0)
    torch.testing.assert_close(eps, EPS)


def test_v_is_the_derivative_along_the_angle():
    schedule, t = SCHEDULE, 400
    a, s = schedule.coefficients(t, X0)
    angle = torch.atan2(s, a)
    h = 1e-6
    turned = (torch.cos(angle + h) * X0 + torch.sin(angle + h) * EPS - (a * X0 + s * EPS)) / h
    torch.testing.assert_close(process.target(X0, EPS, t, schedule, "v"), turned, atol=1e-5, rtol=1e-5)


def test_zero_snr_needs_v_or_x0():
    schedule = schedules.zero_terminal_snr(SCHEDULE)
    v = process.target(X0, EPS, 999, schedule, "v")
    torch.testing.assert_close(process.split(v, EPS, 999, schedule, "v")[0], X0)
    with pytest.raises(ValueError, match="zero terminal SNR"):
        process.split(EPS, EPS, 999, schedule, "eps")


def test_posterior_is_bayes_rule():
    """q(x_s|x_t,x_0) ∝ q(x_t|x_s) q(x_s|x_0), as a product of two Gaussians in x_s."""
    for t, s in [(1, 0), (500, 499), (999, 750), (20, 0)]:
        bar_t, bar_s = SCHEDULE.alpha_bar[t], SCHEDULE.alpha_bar[s]
        alpha = bar_t / bar_s
        precision = alpha / (1 - alpha) + 1 / (1 - bar_s)
        xt = process.add_noise(X0, EPS, t, SCHEDULE)
        mean = (alpha.sqrt() * xt / (1 - alpha) + bar_s.sqrt() * X0 / (1 - bar_s)) / precision
        got, variance = process.posterior(X0, xt, t, s, SCHEDULE)
        torch.testing.assert_close(got, mean)
        assert variance == pytest.approx(1 / precision.item())
    mean, variance = process.posterior(X0, EPS, 0, -1, SCHEDULE)
    assert torch.equal(mean, X0)
    assert variance == 0


def test_denoiser_clips_and_keeps_the_pair_consistent():
    xt = process.add_noise(3 * X0, EPS, 300, SCHEDULE)
    denoise = process.denoiser(lambda x, t: EPS, SCHEDULE, clip=1.0)
    x0, eps = denoise(xt, 300)
    assert x0.abs().max() == 1
    torch.testing.assert_close(process.add_noise(x0, eps, 300, SCHEDULE), xt)


def test_float32_and_unknown_prediction():
    assert process.add_noise(X0.float(), EPS.float(), 5, SCHEDULE).dtype == torch.float32
    with pytest.raises(ValueError, match="prediction_type is 'epsilon'; choose one of 'eps'"):
        process.target(X0, EPS, 5, SCHEDULE, "epsilon")


SCHEDULE, RING = schedules.linear(), GaussianMixture.ring()


def test_the_bound_lies_above_minus_log_p_and_tightens():
    x, _ = RING.sample(3000, seed=1)
    gaps = []
    for T in (10, 40):
        schedule = schedules.cosine(T)
        per_point = process.variational_bound(RING.denoiser(schedule), x, schedule)
        gaps.append((per_point.mean() + RING.log_prob(x).mean()).item())
    assert 0 < gaps[1] < gaps[0] < 0.8


def test_a_worse_denoiser_has_a_higher_bound():
    x, _ = RING.sample(300, seed=1)
    schedule = schedules.cosine(20)
    exact = RING.denoiser(schedule)

    def worse(xt, t):
        return 0.95 * exact(xt, t)[0], None

    bounds = [process.variational_bound(denoise, x, schedule).mean() for denoise in (exact, worse)]
    assert bounds[1] > bounds[0] + 0.1


def test_first_term_is_the_distance_of_the_last_step_from_noise():
    """With one step of β = 0.5 the bound is −log N(x_0) of the reverse step plus one KL divergence."""
    schedule = schedules.Schedule.from_betas(torch.tensor([0.5]))
    x = torch.tensor([[1.0]], dtype=torch.float64)
    got = process.variational_bound(lambda xt, t: (x, None), x, schedule)
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
    theirs = samplers.library_sample(scheduler, exact, x, 25)
    torch.testing.assert_close(
        theirs.double(), samplers.final(sampler(exact, x, SCHEDULE, 25)), atol=1e-4, rtol=0
    )


def test_a_model_may_ask_for_more_than_the_noise():
    schedule, x0 = schedules.cosine(), torch.randn(4, 1, 8, 8)
    layer = torch.nn.Conv2d(1, 1, 1)
    batch = (x0,)
    plain = process.denoising_loss(lambda x, t: layer(x), schedule, seed=3)(batch, 0)
    further = {"places": torch.tensor(2.0)}
    asked = process.denoising_loss(lambda x, t: (layer(x), further), schedule, seed=3, share=0.5)(batch, 0)
    assert set(asked) == {"total", "noise", "places"}
    torch.testing.assert_close(asked["noise"], plain)
    torch.testing.assert_close(asked["total"], 0.5 * plain + 2)


def test_errors_of_means_count_beside_those_of_pixels():
    """A constant error is the same in both; one that changes its sign from pixel to pixel has no mean."""
    schedule, x0 = schedules.cosine(), torch.zeros(4, 1, 8, 8)
    signs = (-1.0) ** torch.arange(8).expand(8, 8)
    for wrong, mean in ((torch.ones(8, 8), 1.0), (signs, 0.0)):

        def model(x, t, wrong=wrong):
            return wrong.expand_as(x)

        given = {"targets": lambda x0, eps, t: (x0, t, torch.zeros_like(x0)), "coarse": (4, 3.0)}
        terms = process.denoising_loss(model, schedule, **given)((x0,), 0)
        assert terms["noise"] == pytest.approx(1)
        assert terms["coarse"] == pytest.approx(3 * mean)
        assert terms["total"] == pytest.approx(1 + 3 * mean)
