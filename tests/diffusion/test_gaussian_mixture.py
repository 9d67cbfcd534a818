"""The exact mixture, and what exactness allows to measure: endpoints and orders of the samplers."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import ndtr

from rs_course import seeds
from rs_course.diffusion import flow, guidance, samplers, schedules
from rs_course.diffusion.gaussian_mixture import GaussianMixture

SCHEDULE = schedules.linear()
RING = GaussianMixture.ring()


def points(count, seed=0, dim=2):
    return seeds.noise((count, dim), seed=seed, dtype=torch.float64)


def test_score_is_the_gradient_of_the_density():
    x = points(20).requires_grad_()
    for a, s in [(1.0, 0.0), (0.8, 0.6), (0.01, 0.9999)]:
        (gradient,) = torch.autograd.grad(RING.log_prob(x, a, s).sum(), x)
        torch.testing.assert_close(RING.score(x, a, s), gradient)


def test_density_integrates_to_one_and_matches_its_samples():
    grid = torch.linspace(-4, 4, 401, dtype=torch.float64)
    x = torch.cartesian_prod(grid, grid)
    density = RING.log_prob(x, 0.9, 0.3).exp()
    assert density.sum().item() * (grid[1] - grid[0]).item() ** 2 == pytest.approx(1, abs=1e-6)
    samples, labels = RING.sample(4000, seed=3)
    assert torch.bincount(labels).float().std() < 40
    first = samples[labels == 0]
    torch.testing.assert_close(first.mean(0), RING.means[0], atol=0.06, rtol=0)
    torch.testing.assert_close(first.T.cov(), RING.covariances[0], atol=0.02, rtol=0)
    assert torch.equal(RING.sample(10, seed=3, start=90)[0], samples[90:100])


def test_posterior_mean_is_tweedie():
    x, a, s = points(10), 0.6, 0.8
    torch.testing.assert_close(RING.posterior_mean(x, a, s), (x + s**2 * RING.score(x, a, s)) / a)
    mean = torch.einsum("k,kd->d", RING.weights, RING.means)
    torch.testing.assert_close(RING.posterior_mean(x, 0.0, 1.0), mean.expand(10, 2))


SINGLE = GaussianMixture(
    torch.ones(1, dtype=torch.float64),
    torch.tensor([[0.5, -1.0]], dtype=torch.float64),
    torch.tensor([[[0.5, 0.2], [0.2, 0.3]]], dtype=torch.float64),
)


def flow_of_one_gaussian(xt, t, s):
    """The probability-flow ODE of one Gaussian in closed form: each principal axis is rescaled."""
    (bar_t, bar_s), mean = SCHEDULE.at(torch.tensor([t, s])), SINGLE.means[0]
    values, axes = torch.linalg.eigh(SINGLE.covariances[0])
    scale = ((bar_s * values + 1 - bar_s) / (bar_t * values + 1 - bar_t)).sqrt()
    return bar_s.sqrt() * mean + ((xt - bar_t.sqrt() * mean) @ axes * scale) @ axes.T


# (sampler, order of its error in the number of steps): the definition of what it is worth.
ORDERS = [("ddim", 1), ("euler", 1), ("heun", 2), ("dpmsolver++", 2)]


@pytest.mark.parametrize(("name", "order"), ORDERS)
def test_order_of_convergence_on_one_gaussian(name, order):
    """From t = 900 to t = 100, where every level is regular, the error falls as steps^-order."""
    xt, errors, counts = points(64), [], [40, 80, 160, 320]
    for steps in counts:
        plan = np.linspace(900, 100, steps + 1).tolist()
        end = samplers.final(samplers.SAMPLERS[name](SINGLE.denoiser(SCHEDULE), xt, SCHEDULE, timesteps=plan))
        errors.append((end - flow_of_one_gaussian(xt, 900, 100)).square().mean().sqrt().item())
    slope = np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert slope == pytest.approx(-order, abs=0.15)


@pytest.mark.parametrize(("name", "order"), ORDERS)
def test_samplers_follow_the_flow_of_the_mixture(name, order):
    """In the plane the flow of the mixture has no formula: a solver with tolerance 1e-11 stands in."""

    def slope(sigma, x):
        x = torch.from_numpy(x).reshape(-1, 2)
        scale = 1 / math.sqrt(1 + sigma**2)  # x / √ᾱ and σ, back to variance preserving
        score = RING.score(x * scale, scale, sigma * scale)
        return (-sigma * scale * score).reshape(-1).numpy()

    xt, (bar_t, bar_s) = points(16), SCHEDULE.at(torch.tensor([999, 20]))
    sigma_t, sigma_s = ((1 - bar_t) / bar_t).sqrt(), ((1 - bar_s) / bar_s).sqrt()
    exact = solve_ivp(
        slope, (sigma_t, sigma_s), (xt / bar_t.sqrt()).reshape(-1).numpy(), "DOP853", rtol=1e-11, atol=1e-11
    )
    want = bar_s.sqrt() * torch.from_numpy(exact.y[:, -1]).reshape(-1, 2)
    errors = []
    for steps in (100, 400):
        plan = np.linspace(999, 20, steps + 1).tolist()
        end = samplers.final(samplers.SAMPLERS[name](RING.denoiser(SCHEDULE), xt, SCHEDULE, timesteps=plan))
        errors.append((end - want).square().mean().sqrt().item())
    assert errors[1] < 0.1
    assert errors[0] / errors[1] > 0.6 * 4**order


def test_in_one_dimension_the_flow_keeps_quantiles():
    """The ODE moves no point past another, so the end of a path is F_data⁻¹(F_T(x_T)): exact, and global."""
    weights, means, variances = [0.3, 0.7], [-1.0, 1.5], [0.04, 0.25]
    tensor = lambda v: torch.tensor(v, dtype=torch.float64)  # noqa: E731
    mixture = GaussianMixture(tensor(weights), tensor(means)[:, None], tensor(variances)[:, None, None])

    def cdf(x, bar):
        parts = zip(weights, means, variances, strict=True)
        return sum(w * ndtr((x - bar**0.5 * m) / (bar * v + 1 - bar) ** 0.5) for w, m, v in parts)

    xt = points(12, dim=1)
    end = samplers.final(samplers.heun(mixture.denoiser(SCHEDULE), xt, SCHEDULE, steps=400))
    bar = SCHEDULE.alpha_bar[-1].item()
    levels = [cdf(x.item(), bar) for x in xt]
    want = [brentq(lambda x, p=p: cdf(x, 1.0) - p, -10, 10) for p in levels]
    torch.testing.assert_close(end[:, 0], tensor(want), atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ddpm", {"steps": 200}),
        ("ddim", {"steps": 200, "eta": 1.0}),
        ("ddim", {"steps": 100}),
        ("euler", {"steps": 100}),
        ("heun", {"steps": 50}),
        ("dpmsolver++", {"timesteps": schedules.linspace(1000, 40)}),
    ],
)
def test_samples_have_the_distribution_of_the_data(name, options):
    sampler = samplers.SAMPLERS[name]
    x = samplers.final(sampler(RING.denoiser(SCHEDULE), points(1200), SCHEDULE, **options))
    # If x ~ q then the mean of log q(x) is −entropy; a direct draw gives its value and spread.
    direct = RING.log_prob(RING.sample(1200, seed=9)[0])
    spread = direct.std().item() / 1200**0.5
    assert abs(RING.log_prob(x).mean() - direct.mean()).item() < 6 * spread + 0.05
    counts = torch.bincount(RING.responsibilities(x).argmax(1), minlength=6)
    assert (counts - 200).abs().max() < 5 * math.sqrt(200)


def test_flow_matching_with_the_exact_velocity():
    def velocity(x, sigma):
        x0 = RING.posterior_mean(x, 1 - sigma, sigma)
        return (x - x0) / sigma

    x = samplers.final(flow.euler(velocity, points(2000), flow.levels(100)))
    direct = RING.log_prob(RING.sample(2000, seed=9)[0]).mean()
    assert abs(RING.log_prob(x).mean() - direct) < 0.15
    x0, eps = points(5), points(5, seed=1)
    torch.testing.assert_close(
        flow.interpolate(x0, eps, torch.linspace(0, 1, 5))[[0, 4]], torch.stack([x0[0], eps[4]])
    )
    torch.testing.assert_close(
        flow.velocity(x0, eps), (flow.interpolate(x0, eps, 0.75) - flow.interpolate(x0, eps, 0.25)) * 2
    )


def test_guidance_sharpens_a_class():
    """scale 1 is the class itself; more pulls the samples away from the other classes."""

    def model(xt, t, labels):
        a, s = SCHEDULE.coefficients(t, xt)
        a, s = a[0].item(), s[0].item()
        eps = torch.empty_like(xt)
        for k in labels.unique().tolist():
            part = RING if k == 6 else RING.component(k)
            eps[labels == k] = -s * part.score(xt[labels == k], a, s)
        return eps

    from rs_course.diffusion.process import denoiser

    labels = torch.full((400,), 2)
    inside = []
    for scale in (0.0, 1.0, 3.0):
        ask = guidance.guided(model, labels, 6, scale)
        x = samplers.final(samplers.ddim(denoiser(ask, SCHEDULE), points(400), SCHEDULE, steps=60))
        inside.append(RING.responsibilities(x)[:, 2].mean().item())
    assert inside[0] == pytest.approx(1 / 6, abs=0.08)
    assert inside[1] > 0.97
    assert inside[2] >= inside[1]


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match="covariances"):
        GaussianMixture(torch.ones(2) / 2, torch.zeros(2, 2), torch.eye(2))
    with pytest.raises(ValueError, match="sum to 1"):
        GaussianMixture(torch.ones(2), torch.zeros(2, 2), torch.eye(2).repeat(2, 1, 1))


def test_plans_start_high_and_end_clean():
    assert schedules.leading(1000, 4) == [750, 500, 250, 0, -1]
    assert schedules.leading(1000, 4, offset=1, final=0) == [751, 501, 251, 1, 0]
    assert schedules.trailing(1000, 4) == [999, 749, 499, 249, -1]
    assert schedules.linspace(1000, 4) == [999, 666, 333, 0, -1]
    assert schedules.open_linspace(1000, 4) == [999, 749, 500, 250, -1]
