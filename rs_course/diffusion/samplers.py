"""Samplers: from noise to data. Each is a generator that yields after every step, so any step can be drawn.

    for step in ddim(denoise, x_T, schedule, steps=20):
        show(step.x0)                       # what the model thinks the image is
    image = step.xt                         # after the last step: the sample
    image = final(ddim(denoise, x_T, schedule, steps=20))

One signature for all: ``sampler(denoise, xt, schedule, steps, *, timesteps=None, ...)``. ``denoise(xt, t)``
answers (x0, eps); see ``rs_course.diffusion.process``. ``xt`` is variance preserving everywhere (x_t =
√ᾱ x_0 + √(1−ᾱ) ε). ``timesteps`` is a plan of K + 1 levels (see ``rs_course.diffusion.schedules``) and
replaces ``steps``; the default is the spacing that diffusers uses for the same sampler. The k-th noise of a
stochastic sampler for image i is a function of (seed, i, k); row j of the batch is image ``start + j``.

What steers a sampler: classifier-free guidance, and an image to start from.

    output = uncond + scale · (cond − uncond)                       one network, asked twice

``scale`` is the convention of diffusers and of the published checkpoints: 0 ignores the condition, 1 is the
plain conditional model, more exaggerates it. Ho & Salimans (2022, equation 6)
write (1 + w) cond − w uncond, so their w is ``scale − 1``.

SDEdit edits an image by adding noise up to some level and denoising from there (Meng et al. 2022). Little
noise keeps the layout and repaints texture; much noise forgets the image. ``strength`` is the share of the
plan that is run: 0 returns the image, 1 starts from (almost) pure noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch

from rs_course import seeds
from rs_course.deprecation import old_names
from rs_course.diffusion.process import Denoise, add_noise, posterior
from rs_course.diffusion.schedules import Schedule, leading, linspace, open_linspace

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

__getattr__ = old_names(__name__, {"sample": "library_sample"})


class Step(NamedTuple):
    """State after one step: the level reached, the sample there, and the clean image predicted on the way."""

    t: float
    xt: torch.Tensor
    x0: torch.Tensor


def _plan(timesteps, usual, schedule: Schedule, steps: int) -> list[float]:
    """The levels that were given (a list, an array, a tensor), or the usual ones."""
    if timesteps is None:
        return usual(len(schedule), steps)
    levels = [t.item() if hasattr(t, "item") else t for t in timesteps]
    if len(levels) < 2 or any(after >= before for before, after in pairwise(levels)):
        raise ValueError("timesteps are two levels or more, each below the one before.")
    return levels


def final(steps: Iterator[Step]) -> torch.Tensor:
    """Run a sampler to its end and return the sample."""
    for step in steps:  # noqa: B007 (only the last one counts)
        pass
    return step.xt


@torch.no_grad()
def ddpm(
    denoise: Denoise, xt: torch.Tensor, schedule: Schedule, steps: int = 1000, *,
    timesteps: Sequence[float] | None = None, variance: str = "small", seed: int = 0, start: int = 0,
) -> Iterator[Step]:  # fmt: skip
    """Ancestral sampling: Algorithm 2 of Ho et al. 2020, x_{t−1} = μ̃(x_t, x_0) + σ_t z.

    Args:
        variance: σ_t² is β̃_t (``"small"``) or β_t (``"large"``): the two choices of the paper's section 3.2.

    Raises:
        ValueError: Another ``variance``.
    """
    if variance not in ("small", "large"):
        raise ValueError(f"variance is {variance!r}; choose 'small' (β̃_t) or 'large' (β_t).")
    for k, (t, s) in enumerate(pairwise(_plan(timesteps, leading, schedule, steps)), 1):
        x0, _ = denoise(xt, t)
        xt, beta_tilde = posterior(x0, xt, t, s, schedule)
        if beta_tilde > 0:  # the last step, to the clean image, adds no noise
            beta = 1 - (schedule.at(t) / schedule.at(s)).item()
            sigma = math.sqrt(beta_tilde if variance == "small" else beta)
            xt = xt + sigma * seeds.noise_like(xt, seed=seed, start=start, stream=k)
        yield Step(s, xt, x0)


@torch.no_grad()
def ddim(
    denoise: Denoise, xt: torch.Tensor, schedule: Schedule, steps: int = 50, *,
    timesteps: Sequence[float] | None = None, eta: float = 0.0, seed: int = 0, start: int = 0,
) -> Iterator[Step]:  # fmt: skip
    """Song et al. 2021 (DDIM), equation 12: go to x_0, then back to level s along the same ε.

    Args:
        eta: 0 is deterministic; 1 has the variance of DDPM.
    """
    for k, (t, s) in enumerate(pairwise(_plan(timesteps, leading, schedule, steps)), 1):
        bar_t, bar_s = schedule.at(t).item(), schedule.at(s).item()
        x0, eps = denoise(xt, t)
        sigma = eta * math.sqrt((1 - bar_s) / (1 - bar_t) * (1 - bar_t / bar_s))
        xt = math.sqrt(bar_s) * x0 + math.sqrt(1 - bar_s - sigma**2) * eps
        if sigma > 0:
            xt = xt + sigma * seeds.noise_like(xt, seed=seed, start=start, stream=k)
        yield Step(s, xt, x0)


@torch.no_grad()
def euler(
    denoise: Denoise, xt: torch.Tensor, schedule: Schedule, steps: int = 50, *,
    timesteps: Sequence[float] | None = None,
) -> Iterator[Step]:  # fmt: skip
    """Euler's method for the probability-flow ODE dx/dσ = ε(x, σ), with x = x_t / √ᾱ_t (Karras et al. 2022,
    eq. 1).

    In these variables Euler's step *is* the DDIM step; only the default spacing differs.
    """
    for t, s in pairwise(_plan(timesteps, linspace, schedule, steps)):
        (scale_t, sigma_t), (scale_s, sigma_s) = _ve(schedule, t), _ve(schedule, s)
        x0, eps = denoise(xt, t)
        xt = (xt * scale_t + (sigma_s - sigma_t) * eps) / scale_s
        yield Step(s, xt, x0)


@torch.no_grad()
def heun(
    denoise: Denoise, xt: torch.Tensor, schedule: Schedule, steps: int = 25, *,
    timesteps: Sequence[float] | None = None,
) -> Iterator[Step]:  # fmt: skip
    """Heun's second-order method (Karras et al. 2022, Algorithm 1): Euler, then again with the mean of both
    slopes.

    Two evaluations per step, one in the step that ends at σ = 0: 2K − 1 in all.
    """
    for t, s in pairwise(_plan(timesteps, linspace, schedule, steps)):
        (scale_t, sigma_t), (scale_s, sigma_s) = _ve(schedule, t), _ve(schedule, s)
        x0, slope = denoise(xt, t)
        x = xt * scale_t
        xt = (x + (sigma_s - sigma_t) * slope) / scale_s
        if sigma_s > 0:
            _, slope_there = denoise(xt, s)
            xt = (x + (sigma_s - sigma_t) * (slope + slope_there) / 2) / scale_s
        yield Step(s, xt, x0)


@torch.no_grad()
def dpmpp_2m(
    denoise: Denoise, xt: torch.Tensor, schedule: Schedule, steps: int = 20, *,
    timesteps: Sequence[float] | None = None, lower_order_final: bool = True,
) -> Iterator[Step]:  # fmt: skip
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, Algorithm 2): second order at one evaluation per
    step.

    It extrapolates the predicted x_0 from the last two steps, in λ = log(√ᾱ / √(1 − ᾱ)).

    Args:
        lower_order_final: With fewer than 15 steps make the last one first order, as diffusers does. A last
            step to the clean image (λ = ∞) always is.
    """
    plan = _plan(timesteps, open_linspace, schedule, steps)
    x0_before, h_before = None, 1.0
    for t, s in pairwise(plan):
        (a_t, s_t), (a_s, s_s) = _vp(schedule, t), _vp(schedule, s)
        x0, _ = denoise(xt, t)
        h = _log_ratio(a_s, s_s) - _log_ratio(a_t, s_t)
        first_order = (
            x0_before is None or math.isinf(h) or (s == plan[-1] and lower_order_final and len(plan) <= 15)
        )
        # The value of x_0 in the middle of the step, by the line through the last two predictions.
        middle = x0 if first_order else x0 + h / (2 * h_before) * (x0 - x0_before)
        xt = s_s / s_t * xt - a_s * math.expm1(-h) * middle
        x0_before, h_before = x0, h
        yield Step(s, xt, x0)


SAMPLERS = {"ddpm": ddpm, "ddim": ddim, "euler": euler, "heun": heun, "dpmsolver++": dpmpp_2m}


def evaluations(sampler: str, steps: int) -> int:
    """Network evaluations (NFE) that a sampler of ``SAMPLERS`` makes in so many steps to the clean image."""
    return 2 * steps - 1 if sampler == "heun" else steps


def _vp(schedule: Schedule, t: float) -> tuple[float, float]:
    """√ᾱ and √(1 − ᾱ)."""
    bar = schedule.at(t).item()
    return math.sqrt(bar), math.sqrt(1 - bar)


def _ve(schedule: Schedule, t: float) -> tuple[float, float]:
    """1/√ᾱ and σ = √((1 − ᾱ)/ᾱ)."""
    bar = schedule.at(t).item()
    if bar == 0:
        raise ValueError(
            "Euler and Heun step in σ, which is infinite at zero terminal SNR: use ddim or dpmsolver++."
        )
    return 1 / math.sqrt(bar), math.sqrt((1 - bar) / bar)


def _log_ratio(a: float, s: float) -> float:
    if s == 0:
        return math.inf
    return math.log(a / s) if a > 0 else -math.inf


@torch.no_grad()
def library_sample(scheduler: SchedulerMixin, denoise: Denoise, xt: torch.Tensor, steps: int) -> torch.Tensor:
    """Sample with a diffusers scheduler whose model predicts ε.

    Args:
        scheduler: For instance ``diffusers.DDIMScheduler(clip_sample=False)``.
        denoise: ``(xt, t) -> (x0, eps)``, made with the scheduler's own noise schedule.
        xt: Noise ``[N, ...]``, variance preserving as everywhere in this package.
        steps: Number of steps.
    """
    scheduler.set_timesteps(steps)
    # Euler and Heun keep x / √ᾱ, and say so by a noise level far above 1.
    scale = (scheduler.sigmas[0].double() ** 2 + 1).sqrt() if scheduler.init_noise_sigma > 1 else 1.0
    x = xt * scale
    for t in scheduler.timesteps:
        _, eps = denoise(scheduler.scale_model_input(x, t).to(xt.dtype), t.item())
        x = scheduler.step(eps, t, x).prev_sample
    return x


def guide(cond: torch.Tensor, uncond: torch.Tensor, scale: float) -> torch.Tensor:
    """The guidance line; it is the same for ε, x0, v and the score, because all are affine in each other."""
    return uncond + scale * (cond - uncond)


def guided(
    model: Callable,
    condition: torch.Tensor,
    null: int,
    scale: float,
    *,
    interval: tuple[float, float] | None = None,
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """A model ``(xt, t)`` that answers with guidance, from a conditional model ``(xt, t, condition)``.

    Args:
        model: Trained with its condition sometimes replaced by ``null``.
        condition: One per image ``[N, ...]``.
        null: The value (or row) of ``condition`` that means "no condition".
        scale: Guidance scale.
        interval: Guide only at steps t in [low, high] (Kynkäänniemi et al. 2024); elsewhere one evaluation
            suffices.
    """

    def ask(xt, t):
        inside = interval is None or interval[0] <= t[0] <= interval[1]
        if scale == 1 or not inside:
            return model(xt, t, condition)
        nothing = torch.as_tensor(null).to(condition).expand_as(condition)
        both = model(torch.cat([xt, xt]), torch.cat([t, t]), torch.cat([condition, nothing]))
        return guide(*both.chunk(2), scale)

    return ask


def drop_condition(
    condition: torch.Tensor, null: int, probability: float, uniform: torch.Tensor
) -> torch.Tensor:
    """Replace the condition by ``null`` where ``uniform < probability`` (Ho & Salimans 2022, Algorithm 1).

    Args:
        condition: ``[N, ...]``.
        null: The value (or row) that means "no condition".
        probability: Of dropping; 0.1 to 0.2 is usual.
        uniform: N numbers drawn uniformly from [0, 1).
    """
    drop = torch.as_tensor(uniform).to(condition.device) < probability
    drop = drop.reshape(-1, *[1] * (condition.ndim - 1))
    return torch.where(drop, torch.as_tensor(null).to(condition), condition)


def sdedit(
    denoise: Denoise,
    image: torch.Tensor,
    schedule: Schedule,
    steps: int = 50,
    *,
    strength: float = 0.5,
    sampler: Callable[..., Iterator[Step]] = ddim,
    seed: int = 0,
    start: int = 0,
    **options,
) -> Iterator[Step]:
    """Yield the noised image, then each step of the sampler.

    Args:
        denoise: ``(xt, t) -> (x0, eps)``.
        image: ``[N, ...]`` in the model's range.
        schedule: Noise schedule.
        steps: Of the whole plan; int(steps · strength) of them run, as in diffusers' image-to-image
            pipelines.
        strength: In [0, 1].
        sampler: Any sampler of ``rs_course.diffusion.samplers``.
        seed: Of the noise.
        start: Index of the first image, for the noise.
        **options: Passed to the sampler.

    Raises:
        ValueError: ``strength`` outside [0, 1].
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is {strength}; it must lie between 0 (keep the image) and 1 (forget it).")
    plan = leading(len(schedule), steps)[steps - int(steps * strength) :]
    if len(plan) == 1:
        yield Step(-1, image, image)
        return
    xt = add_noise(image, seeds.noise_like(image, seed=seed, start=start), plan[0], schedule)
    yield Step(plan[0], xt, image)
    if sampler.__name__ in ("ddpm", "ddim"):
        options |= {"seed": seed, "start": start}
    yield from sampler(denoise, xt, schedule, timesteps=plan, **options)
