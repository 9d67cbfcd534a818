"""The toy world, how a model learns it, and what it is judged by."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import tee

import torch

from rs_course.diffusion import GaussianMixture
from rs_course.training_loop import Budget, Recipe, cosine_decay, optimize

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
    model, world: GaussianMixture, *, steps: int, seed: int = 0, batch_size: int = 256
) -> Iterator[tuple[int, float]]:
    """Train a family on 4,096 points of the world; yields ``(step, loss)`` after each step.

    The learning rate falls from 4e-3 to 0 along a cosine. A GAN's two networks take turns; the yielded loss
    is that of the last one.

    Args:
        model: A family of :mod:`rs_course.toys.families`, trained in place.
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
def judge(model, world: GaussianMixture, *, seed: int = 0, count: int = 5000) -> Verdict:
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
