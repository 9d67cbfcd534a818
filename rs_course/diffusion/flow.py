"""Flow matching: straight lines from data to noise (Lipman et al. 2023; rectified flow, Liu et al. 2023).

    x_σ = (1 − σ) x_0 + σ ε,      dx/dσ = velocity = ε − x_0,      σ from 1 (noise) to 0 (data)

The network predicts the velocity, as in Stable Diffusion 3 (Esser et al. 2024). Nothing else of the story
changes: given x_σ and one of x_0, ε and the velocity, the others follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch

from rs_course.diffusion.samplers import Step


def interpolate(x0: torch.Tensor, eps: torch.Tensor, sigma: float) -> torch.Tensor:
    """x_σ = (1 − σ) x_0 + σ ε, with one σ for all or one per image ``[N]``."""
    sigma = torch.as_tensor(sigma).to(x0).reshape(-1, *[1] * (x0.ndim - 1))
    return (1 - sigma) * x0 + sigma * eps


def velocity(x0: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    """What the network learns: the constant speed along the line, from data to noise."""
    return eps - x0


def levels(steps: int, *, shift: float = 1.0) -> list[float]:
    """σ of K steps and the final 0: evenly from 1 to 1/1000, then shifted (Esser et al. 2024).

    ``shift`` > 1 spends more steps at high noise, as larger images need. As in diffusers' FlowMatchEuler,
    whose smallest level is shifted before *and* after it is spaced.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; it must be at least 1.")

    def shifted(s):
        return shift * s / (1 + (shift - 1) * s)

    even = torch.linspace(1, shifted(1 / 1000), steps, dtype=torch.float64)
    return [*shifted(even).tolist(), 0.0]


@torch.no_grad()
def euler(
    velocity: Callable[[torch.Tensor, float], torch.Tensor], x: torch.Tensor, sigmas: Sequence[float]
) -> Iterator[Step]:
    """Euler's method along dx/dσ = velocity(x, σ); yields after each step."""
    for sigma, after in pairwise(sigmas):
        v = velocity(x, sigma)
        x0 = x - sigma * v
        x = x + (after - sigma) * v
        yield Step(after, x, x0)
