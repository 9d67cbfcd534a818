"""The variational bound, term by term: what training minimises, before L_simple drops its weights."""

from __future__ import annotations

import math

import torch

from rs_course import seeds
from rs_course.diffusion.process import Denoise, add_noise, posterior
from rs_course.diffusion.schedules import Schedule


@torch.no_grad()
def variational_bound(
    denoise: Denoise, x0: torch.Tensor, schedule: Schedule, *, seed: int = 0
) -> torch.Tensor:
    """Upper bound of −log p(x_0) in nats, one noise draw per step (Ho et al. 2020, equation 5).

    L_T + Σ L_{t−1} + L_0. The reverse step p(x_{t−1} | x_t) has the posterior's mean with the predicted in
    place of the true x_0, and variance σ_t² = β_t.

    Args:
        denoise: ``(xt, t) -> (x0, eps)``.
        x0: Data ``[N, ...]``.
        schedule: Noise schedule.
        seed: Of the noise.

    Returns:
        One estimate per point, ``[N]``; their mean bounds E[−log p(x_0)] from above.
    """
    dimensions = x0[0].numel()
    bar = schedule.alpha_bar[-1].item()
    bound = (bar * x0.flatten(1).square().sum(1) - dimensions * (bar + math.log1p(-bar))) / 2  # L_T
    for t, beta in enumerate(schedule.beta.tolist()):
        xt = add_noise(x0, seeds.noise_like(x0, seed=seed, stream=t), t, schedule)
        mean, variance = posterior(x0, xt, t, t - 1, schedule)
        guess, _ = posterior(denoise(xt, t)[0], xt, t, t - 1, schedule)
        # The first is −log of a density at x_0 itself, L_0; the others are divergences, L_{t−1}.
        constant = math.log(2 * math.pi * beta) if t == 0 else math.log(beta / variance) + variance / beta - 1
        bound = bound + (mean - guess).flatten(1).square().sum(1) / (2 * beta) + dimensions * constant / 2
    return bound
