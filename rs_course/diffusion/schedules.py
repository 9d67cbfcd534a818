"""Noise schedules: how fast ᾱ_t falls from (almost) 1 to (almost) 0, and which steps a sampler visits.

Code counts steps t = 0 … T−1, as diffusers does; the paper's step is t + 1. So ``alpha_bar[0]`` is the
paper's ᾱ_1, and the paper's ᾱ_0 = 1, a clean image, is t = −1 here: ``schedule.at(-1) == 1``.

>>> schedule = linear()
>>> schedule.alpha_bar[999]        # almost nothing of the image is left
>>> schedule.snr                   # signal-to-noise ratio ᾱ / (1 − ᾱ), [T]

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
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Schedule:
    """A variance-preserving noise schedule, given by ᾱ_t (float64, ``[T]``, falling)."""

    alpha_bar: torch.Tensor

    def __post_init__(self):
        a = self.alpha_bar
        if a.ndim != 1 or not len(a) or a.min() < 0 or a.max() > 1 or (a.diff() > 0).any():
            raise ValueError("alpha_bar must be a list of numbers that fall from at most 1 to at least 0.")
        object.__setattr__(self, "alpha_bar", a.double())

    @classmethod
    def from_betas(cls, beta: torch.Tensor) -> Schedule:
        """ᾱ_t = ∏_{s≤t} (1 − β_s) (Ho et al. 2020, before equation 4)."""
        return cls((1 - beta.double()).cumprod(0))

    def __len__(self) -> int:
        return len(self.alpha_bar)

    @property
    def alpha(self) -> torch.Tensor:
        """α_t = ᾱ_t / ᾱ_{t−1}, ``[T]``."""
        before = torch.cat([torch.ones(1, dtype=torch.float64), self.alpha_bar[:-1]])
        return self.alpha_bar / before

    @property
    def beta(self) -> torch.Tensor:
        """β_t = 1 − α_t, ``[T]``."""
        return 1 - self.alpha

    @property
    def snr(self) -> torch.Tensor:
        """Signal-to-noise ratio ᾱ_t / (1 − ᾱ_t), ``[T]``."""
        return self.alpha_bar / (1 - self.alpha_bar)

    @property
    def sigma(self) -> torch.Tensor:
        """Noise per unit of signal, √((1 − ᾱ_t) / ᾱ_t): the σ of Karras et al. 2022, ``[T]``."""
        return ((1 - self.alpha_bar) / self.alpha_bar).sqrt()

    def at(self, t: int | torch.Tensor) -> torch.Tensor:
        """ᾱ at any t in [−1, T−1], real numbers included; between steps σ is linear in t, as in diffusers.

        Args:
            t: Number or tensor of any shape; −1 is the clean image.

        Returns:
            float64 tensor of t's shape, on the CPU (some devices have no float64).

        Raises:
            ValueError: t outside [−1, T−1].
        """
        t = torch.as_tensor(t, dtype=torch.float64, device="cpu")
        if t.numel() and (t.min() < -1 or t.max() > len(self) - 1):
            raise ValueError(
                f"t = {t.tolist()} is outside the schedule: steps run from −1 (clean) to {len(self) - 1}."
            )
        levels = torch.cat([torch.ones(1, dtype=torch.float64), self.alpha_bar])
        below = t.floor().long()
        fraction = t - below
        low, high = levels[below + 1], levels[(below + 2).clamp(max=len(self))]
        sigma_low, sigma_high = ((1 - low) / low).sqrt(), ((1 - high) / high).sqrt()
        between = 1 / (1 + (sigma_low + fraction * (sigma_high - sigma_low)) ** 2)
        return torch.where(fraction == 0, low, between)

    def coefficients(self, t: int | torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """√ᾱ_t and √(1 − ᾱ_t), shaped and typed to multiply ``x``.

        Args:
            t: One step for the whole batch, or one per image ``[N]``.
            x: Tensor ``[N, ...]``.

        Returns:
            Two tensors ``[1 or N, 1, ...]`` with the type and device of ``x``.
        """
        alpha_bar = self.at(t).reshape(-1, *[1] * (x.ndim - 1))
        return alpha_bar.sqrt().to(x.dtype).to(x.device), (1 - alpha_bar).sqrt().to(x.dtype).to(x.device)


def linear(T: int = 1000, beta_1: float = 1e-4, beta_T: float = 0.02) -> Schedule:
    """β rises linearly (Ho et al. 2020, section 4)."""
    return Schedule.from_betas(torch.linspace(beta_1, beta_T, T, dtype=torch.float64))


def scaled_linear(T: int = 1000, beta_1: float = 0.00085, beta_T: float = 0.012) -> Schedule:
    """√β rises linearly (Rombach et al. 2022: the schedule of Stable Diffusion, hence of DiffusionSat)."""
    return Schedule.from_betas(torch.linspace(beta_1**0.5, beta_T**0.5, T, dtype=torch.float64) ** 2)


def cosine(T: int = 1000, s: float = 0.008, max_beta: float = 0.999) -> Schedule:
    """ᾱ_t = f(t)/f(0) with f(t) = cos²((t/T + s)/(1 + s) · π/2) (Nichol & Dhariwal 2021, equation 17)."""
    u = torch.arange(T + 1, dtype=torch.float64) / T
    f = torch.cos((u + s) / (1 + s) * math.pi / 2) ** 2
    return Schedule.from_betas((1 - f[1:] / f[:-1]).clamp(max=max_beta))


def zero_terminal_snr(schedule: Schedule) -> Schedule:
    """Shift and scale √ᾱ so that the last step is pure noise (Lin et al. 2024, Algorithm 1).

    With ᾱ_T = 0 the network must predict v or x0: from pure noise, ε says nothing about the image.
    """
    root = schedule.alpha_bar.sqrt()
    return Schedule(((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2)


SCHEDULES = {"linear": linear, "scaled-linear": scaled_linear, "cosine": cosine}


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
    schedule: Schedule, steps: int, *, rho: float = 7.0, sigma_max: float = math.inf, final: int = -1
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
