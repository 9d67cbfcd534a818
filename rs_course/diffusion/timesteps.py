"""Which steps a sampler visits: the spacing conventions, made explicit.

A plan is a list of K + 1 falling values of t: K evaluations, and the level where the sample ends. That last
value is −1, the clean image (``set_alpha_to_one=True``, ``final_sigmas_type="zero"`` in diffusers), or 0,
the least noisy step of training (``set_alpha_to_one=False``, ``"sigma_min"``). For T = 1000 and 4 steps:

    leading    750  500  250    0   −1    DDIM and DDPM in diffusers; never visits the noisiest step
    leading+1  751  501  251    1    0    Stable Diffusion (steps_offset=1, set_alpha_to_one=False)
    trailing   999  749  499  249   −1    starts at the noisiest step, as zero terminal SNR needs
    linspace   999  666  333    0   −1    Euler and Heun in diffusers; t may be a real number
    open       999  749  500  250   −1    DPM-Solver++ in diffusers: linspace without its last step, rounded

(The first three are compared in Lin et al. 2024, table 2.)
"""

from __future__ import annotations

import math

import numpy as np


def leading(T: int, steps: int, *, offset: int = 0, final: int = -1) -> list[int]:
    """Multiples of T // steps, plus ``offset``."""
    _check(T, steps)
    return [*(np.arange(steps)[::-1] * (T // steps) + offset).tolist(), final]


def trailing(T: int, steps: int, *, final: int = -1) -> list[int]:
    """T, T − T/steps, … rounded, minus one."""
    _check(T, steps)
    # arange, not linspace: the halves round as in diffusers.
    return [*(np.round(np.arange(T, 0, -T / steps)).astype(int)[:steps] - 1).tolist(), final]


def linspace(T: int, steps: int, *, final: int = -1) -> list[float]:
    """Evenly from T − 1 to 0; not rounded."""
    _check(T, steps)
    return [*np.linspace(0, T - 1, steps)[::-1].tolist(), final]


def open_linspace(T: int, steps: int, *, final: int = -1) -> list[int]:
    """Evenly from T − 1 towards 0, which is left out; rounded."""
    _check(T, steps)
    return [*np.linspace(0, T - 1, steps + 1).round().astype(int)[:0:-1].tolist(), final]


def karras(
    schedule, steps: int, *, rho: float = 7.0, sigma_max: float = math.inf, final: int = -1
) -> list[float]:
    """Even in σ^(1/ρ) (Karras et al. 2022, equation 5), from ``sigma_max`` or the largest σ there is."""
    _check(len(schedule), steps)
    sigma = schedule.sigma.numpy()
    largest = min(sigma[-1], sigma_max)
    if not np.isfinite(largest):
        raise ValueError(
            "The schedule ends in pure noise (σ is infinite): use trailing(), or give sigma_max."
        )
    chosen = np.linspace(largest ** (1 / rho), sigma[0] ** (1 / rho), steps) ** rho
    return [*np.interp(chosen, sigma, np.arange(len(sigma))).tolist(), final]


def _check(T: int, steps: int) -> None:
    if not 1 <= steps <= T:
        raise ValueError(f"steps is {steps}; it must lie between 1 and the schedule's {T}.")
