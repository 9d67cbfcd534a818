"""What steers a sampler: classifier-free guidance, and an image to start from.

    output = uncond + scale · (cond − uncond)                       one network, asked twice

``scale`` is the convention of diffusers and of the published checkpoints: 0 ignores the condition, 1 is the
plain conditional model, more exaggerates it. Ho & Salimans (2022, equation 6)
write (1 + w) cond − w uncond, so their w is ``scale − 1``.

SDEdit edits an image by adding noise up to some level and denoising from there (Meng et al. 2022). Little
noise keeps the layout and repaints texture; much noise forgets the image. ``strength`` is the share of the
plan that is run: 0 returns the image, 1 starts from (almost) pure noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from rs_course import seeds
from rs_course.diffusion.process import Denoise, add_noise
from rs_course.diffusion.samplers import Step, ddim
from rs_course.diffusion.schedules import Schedule, leading


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
):
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
