"""The toy families' likelihoods against integrals and closed forms, and training that learns."""

import math

import pytest
import torch

from rs_course import diffusion, toys


def _mass(log_likelihood, limit, count=400):
    """Integral of a density over a square, by midpoints."""
    edge = (torch.arange(count) + 0.5) / count * 2 * limit - limit
    grid = torch.cartesian_prod(edge, edge)
    with torch.no_grad():
        return float(log_likelihood(grid).exp().sum() * (2 * limit / count) ** 2)


def test_the_flow_has_a_density_that_integrates_to_one():
    torch.manual_seed(0)
    assert _mass(toys.Flow().log_likelihood, limit=8) == pytest.approx(1, abs=1e-3)


def test_the_flow_runs_backwards():
    torch.manual_seed(0)
    flow, generator = toys.Flow(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        x = flow.sample(100, generator)
        # The density of a sample is that of the normal point it was made from, divided by the change of area.
        z = torch.randn(100, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    jacobian = torch.autograd.functional.jacobian(lambda z: _push(flow, z), z[:5])
    area = torch.stack([jacobian[i, :, i].det().abs().log() for i in range(5)])
    expected = -0.5 * (z[:5] ** 2).sum(1) - math.log(2 * math.pi) - area
    torch.testing.assert_close(flow.log_likelihood(x[:5]), expected, atol=1e-4, rtol=1e-4)


def _push(flow, z):
    """The flow's sampling pass, on given normal points."""
    for i, layer in enumerate(flow.layers):
        keep, move = z[:, i % 2 : i % 2 + 1], z[:, 1 - i % 2 : 2 - i % 2]
        log_scale, shift = flow._affine(layer, keep)
        move = move * log_scale.exp() + shift
        z = torch.cat([keep, move] if i % 2 == 0 else [move, keep], dim=1)
    return z


def test_autoregression_has_a_density_that_integrates_to_one_and_samples_it():
    torch.manual_seed(0)
    model = toys.Autoregressive()
    torch.nn.init.normal_(model.first)
    # As many grid points as bins, so that the sum over midpoints is the integral.
    assert _mass(model.log_likelihood, model.limit, model.bins) == pytest.approx(1, abs=1e-4)
    with torch.no_grad():
        x = model.sample(20_000, torch.Generator().manual_seed(0))
    found = torch.histc(x[:, 0], model.bins, -model.limit, model.limit) / len(x)
    torch.testing.assert_close(found, model.first.softmax(0).detach(), atol=4e-3, rtol=0)


def test_the_vae_bound_is_exact_where_the_posterior_is():
    """Linear decoder W z with noise s²: p(x) = N(0, W Wᵀ + s² I), and the posterior is a known Gaussian."""
    model = toys.VAE()
    scale, s = torch.tensor([2.0, 0.5]), 0.3
    model.log_variance.data.fill_(2 * math.log(s))
    object.__setattr__(model, "decoder", lambda z: z * scale)
    precision = 1 + scale**2 / s**2
    log_variance = -precision.log()
    object.__setattr__(
        model,
        "encoder",
        lambda x: torch.cat([x * scale / s**2 / precision, log_variance.expand_as(x)], dim=1),
    )
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    exact = torch.distributions.Normal(0, (scale**2 + s**2).sqrt()).log_prob(x).sum(1)
    got = model.log_likelihood(x, torch.Generator().manual_seed(1))
    torch.testing.assert_close(got.detach(), exact, atol=1e-3, rtol=1e-4)


@pytest.mark.slow
def test_the_diffusion_bound_closes_for_the_exact_denoiser_and_many_steps():
    world = toys.islands()

    class Exact(toys.Diffusion):
        def forward(self, xt, t):
            return world.denoiser(self.schedule)(xt, float(t[0]))[1]

    verdicts = []
    for T in (100, 1000):
        model = Exact()
        model.schedule = diffusion.cosine(T)
        verdicts.append(toys.judge(model, world, count=500))
    assert 0.1 < verdicts[0].divergence < 0.3
    assert abs(verdicts[1].divergence) < 0.06
    assert verdicts[1].found == 6
    assert verdicts[1].at_sea < 0.01


@pytest.mark.parametrize("name", ["VAE", "Flow", "Autoregressive", "Diffusion"])
def test_training_brings_a_family_closer_to_the_world(name):
    world = toys.islands()
    torch.manual_seed(0)
    model = toys.FAMILIES[name]()
    before = toys.judge(model, world, count=500).divergence
    losses = [loss for _, loss in toys.fit(model, world, steps=100)]
    assert toys.judge(model, world, count=500).divergence < before - 0.1
    assert sum(losses[-20:]) < sum(losses[:20])


def test_the_gan_has_two_networks_and_no_likelihood():
    world = toys.islands()
    torch.manual_seed(0)
    model = toys.GAN()
    before = [p.clone() for p in model.parameters()]
    list(toys.fit(model, world, steps=2))
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert toys.judge(model, world, count=100).divergence is None


def test_training_is_a_function_of_the_seed():
    world = toys.islands()

    def losses(seed):
        torch.manual_seed(0)
        return [loss for _, loss in toys.fit(toys.VAE(), world, steps=5, seed=seed)]

    assert losses(0) == losses(0) != losses(1)


def test_the_truth_itself_gets_the_best_verdict():
    class Truth:
        nfe = 1

        def sample(self, count, generator):
            return toys.islands().sample(count, seed=5)[0].float()

        def log_likelihood(self, x, generator):
            return toys.islands().log_prob(x.double())

    verdict = toys.judge(Truth(), toys.islands())
    assert verdict.found == 6
    assert verdict.at_sea < 0.002
    assert abs(verdict.divergence) < 1e-6
