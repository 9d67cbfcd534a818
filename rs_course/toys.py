"""Five families of generative models on one map of islands: small enough to train while one watches.

world = toys.islands()
model = toys.Flow()
for step, loss in toys.fit(model, world, steps=800, seed=0): ...
toys.judge(model, world, seed=0)            # islands found, points at sea, distance to the truth, nfe

GAN, VAE, normalising flow, autoregression and diffusion stand here for points ``[N, 2]`` in the plane, in
their plainest form. Every family has ``param_groups()`` (parameters and the loss that they minimise: one
pair, or two for the GAN), ``sample(count, generator)``, ``log_likelihood(x, generator)`` (``None`` without
one; a lower bound for VAE and diffusion) and ``nfe``: how often the network runs, one run after the other,
for one sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, tee

import torch
from torch import nn
from torch.nn import functional

from rs_course import diffusion
from rs_course.diffusion import GaussianMixture
from rs_course.training_loop import Budget, Recipe, cosine_decay, optimize

__all__ = [
    "FAMILIES", "GAN", "VAE", "Autoregressive", "Diffusion", "Flow", "Verdict", "fit", "islands", "judge",
]  # fmt: skip


def mlp(inputs: int, outputs: int, width: int = 64) -> nn.Sequential:
    """Three hidden layers: about the same size for every family, so that the idea makes the difference."""
    sizes = [inputs, width, width, width]
    hidden = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.SiLU())]
    return nn.Sequential(*hidden, nn.Linear(width, outputs))


def _normal_log_prob(x, mean, log_variance):
    """log N(x; mean, exp(log_variance)), summed over the last axis."""
    return -0.5 * ((x - mean) ** 2 / log_variance.exp() + log_variance + math.log(2 * math.pi)).sum(-1)


class Family(nn.Module):
    """What the five have in common: all parameters minimise ``loss``, unless a family says otherwise."""

    nfe = 1

    def param_groups(self):
        """``[(parameters, loss)]``: what each optimizer minimises."""
        return [(self.parameters(), self.loss)]


class GAN(Family):
    """Goodfellow et al. 2014, with the non-saturating loss: a generator against a discriminator."""

    def __init__(self):
        super().__init__()
        self.generator, self.discriminator = mlp(2, 2), mlp(2, 1)

    def param_groups(self):
        """``[(parameters, loss)]``: what each optimizer minimises."""
        rival = (self.discriminator.parameters(), self.discriminator_loss)
        return [rival, (self.generator.parameters(), self.generator_loss)]

    def discriminator_loss(self, x: torch.Tensor, generator: torch.Generator):
        """Loss of telling true points ``x [N, 2]`` from generated ones."""
        fake = self.discriminator(self.sample(len(x), generator).detach())
        return functional.softplus(-self.discriminator(x)).mean() + functional.softplus(fake).mean()

    def generator_loss(self, x: torch.Tensor, generator: torch.Generator):
        """Loss of being told apart, the non-saturating one."""
        return functional.softplus(-self.discriminator(self.sample(len(x), generator))).mean()

    def sample(self, count: int, generator: torch.Generator):
        """``count`` generated points ``[N, 2]``."""
        return self.generator(torch.randn(count, 2, generator=generator))

    def log_likelihood(self, x: torch.Tensor, generator: torch.Generator):
        """``None``: a GAN cannot say how likely a point is."""
        return None


class VAE(Family):
    """Kingma & Welling 2014: encode, add noise, decode; the bound L = E[log p(x|z)] − KL(q(z|x) ‖ p(z))."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = mlp(2, 4), mlp(2, 2)
        # A decoder that starts too vague learns to ignore z: the collapse of the posterior.
        self.log_variance = nn.Parameter(torch.full((2,), -2.4))

    def weights(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """log p(x, z) − log q(z | x) for one z per x: its mean is the bound."""
        mean, log_variance = self.encoder(x).chunk(2, dim=-1)
        z = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=generator)
        zero = torch.zeros(2)
        joint = _normal_log_prob(x, self.decoder(z), self.log_variance) + _normal_log_prob(z, zero, zero)
        return joint - _normal_log_prob(z, mean, log_variance)

    def loss(self, x: torch.Tensor, generator: torch.Generator):
        """Mean loss of true points ``x [N, 2]``."""
        return -self.weights(x, generator).mean()

    def sample(self, count: int, generator: torch.Generator):
        """``count`` generated points ``[N, 2]``."""
        centre = self.decoder(torch.randn(count, 2, generator=generator))
        return centre + (self.log_variance / 2).exp() * torch.randn(count, 2, generator=generator)

    def log_likelihood(self, x: torch.Tensor, generator: torch.Generator):
        """The importance-weighted bound of Burda et al. 2016, equation 8, with 100 draws."""
        draws = torch.stack([self.weights(x, generator) for _ in range(100)])
        return draws.logsumexp(0) - math.log(100)


class Flow(Family):
    """RealNVP (Dinh et al. 2017): invertible layers, each of which moves one coordinate by the other."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(mlp(1, 2, width=32) for _ in range(8))

    def log_likelihood(self, x: torch.Tensor, generator: torch.Generator | None = None):
        """Exact: the density of the normal point that x comes from, times the change of volume."""
        log_volume = 0.0
        for i, layer in reversed(list(enumerate(self.layers))):
            keep, move = x[:, i % 2 : i % 2 + 1], x[:, 1 - i % 2 : 2 - i % 2]
            log_scale, shift = self._affine(layer, keep)
            move = (move - shift) * (-log_scale).exp()
            log_volume = log_volume - log_scale[:, 0]
            x = torch.cat([keep, move] if i % 2 == 0 else [move, keep], dim=1)
        return _normal_log_prob(x, torch.zeros(2), torch.zeros(2)) + log_volume

    def loss(self, x: torch.Tensor, generator: torch.Generator):
        """Mean loss of true points ``x [N, 2]``."""
        return -self.log_likelihood(x).mean()

    def sample(self, count: int, generator: torch.Generator):
        """``count`` generated points ``[N, 2]``."""
        x = torch.randn(count, 2, generator=generator)
        for i, layer in enumerate(self.layers):
            keep, move = x[:, i % 2 : i % 2 + 1], x[:, 1 - i % 2 : 2 - i % 2]
            log_scale, shift = self._affine(layer, keep)
            move = move * log_scale.exp() + shift
            x = torch.cat([keep, move] if i % 2 == 0 else [move, keep], dim=1)
        return x

    @staticmethod
    def _affine(layer, keep):
        log_scale, shift = layer(keep).chunk(2, dim=1)
        # Bounded, or one layer can overflow early in training.
        return 2 * torch.tanh(log_scale / 2), shift


class Autoregressive(Family):
    """p(x₁) p(x₂ | x₁): one coordinate after the other, each a histogram (as PixelRNN, van den Oord 2016)."""

    nfe = 2
    bins, limit = 128, 2.2

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.zeros(self.bins))
        self.second = mlp(16, self.bins)

    def conditional(self, x1: torch.Tensor):
        """Logits of the bins of x₂; sines of many frequencies let a smooth network see fine steps of x₁."""
        angle = x1[:, None] * (torch.pi / self.limit) * torch.arange(1, 9)
        return self.second(torch.cat([angle.sin(), angle.cos()], dim=1))

    def log_likelihood(self, x: torch.Tensor, generator: torch.Generator | None = None):
        """Exact: the mass of the two bins, divided by their area. Outside the map it is (almost) zero."""
        inside = ((x + self.limit) / (2 * self.limit) * self.bins).floor().long()
        bin1, bin2 = inside.clamp(0, self.bins - 1).unbind(1)
        log_mass = self.first.log_softmax(0)[bin1]
        log_mass = log_mass + self.conditional(x[:, 0]).log_softmax(1).gather(1, bin2[:, None])[:, 0]
        return log_mass - 2 * math.log(2 * self.limit / self.bins)

    def loss(self, x: torch.Tensor, generator: torch.Generator):
        """Mean loss of true points ``x [N, 2]``."""
        return -self.log_likelihood(x).mean()

    def sample(self, count: int, generator: torch.Generator):
        """``count`` generated points ``[N, 2]``."""
        x1 = self._within(self.first.softmax(0).expand(count, -1), generator)
        return torch.stack([x1, self._within(self.conditional(x1).softmax(1), generator)], dim=1)

    def _within(self, probabilities, generator):
        chosen = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
        place = chosen + torch.rand(len(chosen), generator=generator)
        return place / self.bins * 2 * self.limit - self.limit


class Diffusion(Family):
    """DDPM (Ho et al. 2020): learn to remove noise, then start from noise; notebook 01 takes it apart."""

    nfe = 50

    def __init__(self):
        super().__init__()
        self.schedule = diffusion.cosine(100)
        self.network = mlp(2 + 16, 2)

    def forward(self, xt: torch.Tensor, t: torch.Tensor):
        """Predicted noise ε of ``[N, 2]`` at steps t ``[N]``."""
        angle = t[:, None] / len(self.schedule) * torch.pi * torch.arange(1, 9)
        return self.network(torch.cat([xt, angle.sin(), angle.cos()], dim=1).to(xt.dtype))

    def loss(self, x: torch.Tensor, generator: torch.Generator):
        """L_simple, equation 14."""
        t = torch.randint(len(self.schedule), (len(x),), generator=generator)
        eps = torch.randn(x.shape, generator=generator)
        return functional.mse_loss(self(diffusion.add_noise(x, eps, t, self.schedule), t), eps)

    def sample(self, count: int, generator: torch.Generator):
        """``count`` generated points ``[N, 2]``."""
        noise = torch.randn(count, 2, generator=generator)
        denoise = diffusion.denoiser(self, self.schedule, clip=2.2)
        return diffusion.final(diffusion.ddim(denoise, noise, self.schedule, steps=self.nfe))

    def log_likelihood(self, x: torch.Tensor, generator: torch.Generator):
        """The variational bound −(L_T + Σ L_{t−1} + L_0), equation 5, with σ_t² = β_t: ``[N]`` nats.

        Each L_{t−1} is the KL divergence of two Gaussians, q(x_{t−1} | x_t, x_0) with variance β̃_t and the
        model's with variance β_t; one noise per point and step estimates its mean.
        """
        schedule, T = self.schedule, len(self.schedule)
        denoise = diffusion.denoiser(self, schedule, clip=2.2)
        a, s = schedule.coefficients(T - 1, x)
        nats = -0.5 * (a**2 * x**2 + s**2 - 1 - 2 * s.log()).sum(-1)
        for t in range(1, T):
            xt = diffusion.add_noise(x, torch.randn(x.shape, generator=generator), t, schedule)
            truth, variance = diffusion.posterior(x, xt, t, t - 1, schedule)
            own = diffusion.posterior(denoise(xt, t)[0], xt, t, t - 1, schedule)[0]
            beta = schedule.beta[t].item()
            spread = variance / beta - 1 - math.log(variance / beta)
            nats = nats - 0.5 * (((truth - own) ** 2 / beta) + spread).sum(-1)
        a, s = schedule.coefficients(0, x)
        guess = denoise(a * x + s * torch.randn(x.shape, generator=generator), 0)[0]
        return nats + _normal_log_prob(x, guess, torch.zeros(2) + 2 * (s / a).log())


FAMILIES = {"GAN": GAN, "VAE": VAE, "Flow": Flow, "Autoregressive": Autoregressive, "Diffusion": Diffusion}

SPREAD = 0.12
# From a common island to a rare one, like common and rare classes of land cover.
WEIGHTS = (0.28, 0.22, 0.2, 0.16, 0.1, 0.04)


def islands() -> GaussianMixture:
    """Six islands on a circle of radius 1.5, each a round Gaussian of standard deviation 0.12."""
    count = len(WEIGHTS)
    angle = 2 * math.pi * torch.arange(count, dtype=torch.float64) / count
    centres = 1.5 * torch.stack([angle.cos(), angle.sin()], dim=-1)
    covariances = SPREAD**2 * torch.eye(2, dtype=torch.float64).expand(count, 2, 2)
    return GaussianMixture(torch.tensor(WEIGHTS, dtype=torch.float64), centres, covariances)


def fit(
    model: torch.nn.Module, world: GaussianMixture, *, steps: int, seed: int = 0, batch_size: int = 256
) -> Iterator[tuple[int, float]]:
    """Train a family on 4,096 points of the world; yields ``(step, loss)`` after each step.

    The learning rate falls from 4e-3 to 0 along a cosine. A GAN's two networks take turns; the yielded loss
    is that of the last one.

    Args:
        model: A family of :data:`FAMILIES`, trained in place.
        world: Where the points come from.
        steps: Optimiser steps.
        seed: Of the points, the batches and the training noise.
        batch_size: Points per step.
    """
    points = world.sample(4096, seed=seed)[0].float()
    generator = torch.Generator().manual_seed(seed)
    draws = (points[torch.randint(4096, (batch_size,), generator=generator)] for _ in range(steps))
    groups = model.param_groups()
    runs = []
    for (parameters, loss), batches in zip(groups, tee(draws, len(groups)), strict=True):
        optimizer = torch.optim.Adam(parameters, lr=4e-3, betas=(0.5, 0.99))
        scheduler = Recipe(lr=4e-3, decay=cosine_decay(0), warmup=1).scheduler(optimizer, Budget(steps=steps))

        def of_batch(x, _, loss=loss):
            return loss(x, generator)

        runs.append(optimize(model, batches, of_batch, optimizer, scheduler=scheduler))
    for *_, progress in zip(*runs, strict=True):
        yield progress.step, progress.loss


@dataclass(frozen=True)
class Verdict:
    """How well a trained model knows the world.

    Attributes:
        found: Islands that get at least a quarter of their true share of the samples.
        at_sea: Share of samples farther than four standard deviations from every centre (truth: 0.03 %).
        divergence: KL(world ‖ model) in nats per point, from 2,000 fresh points; an upper bound where the
            family only has a bound of its likelihood; ``None`` where it has no likelihood.
        nfe: Evaluations of the network that one sample needs, one after the other.
    """

    found: int
    at_sea: float
    divergence: float | None
    nfe: int


@torch.no_grad()
def judge(model: torch.nn.Module, world: GaussianMixture, *, seed: int = 0, count: int = 5000) -> Verdict:
    """Sample from a trained model and compare with the known truth."""
    generator = torch.Generator().manual_seed(seed)
    samples = model.sample(count, generator).double()
    distance, nearest = torch.cdist(samples, world.means).min(dim=1)
    near = distance < 4 * SPREAD
    share = torch.bincount(nearest[near], minlength=len(world.weights)) / count
    fresh = world.sample(2000, seed=seed + 1_000_000)[0]
    own = model.log_likelihood(fresh.float(), generator)
    return Verdict(
        found=int((share >= world.weights / 4).sum()),
        at_sea=float(1 - near.double().mean()),
        divergence=None if own is None else float(world.log_prob(fresh).mean() - own.mean()),
        nfe=model.nfe,
    )
