"""SDEdit: edit an image by adding noise up to some level and denoising from there (Meng et al. 2022).

Little noise keeps the layout and repaints texture; much noise forgets the image. ``strength`` is the share
of the plan that is run: 0 returns the image, 1 starts from (almost) pure noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from rs_course import seeds
from rs_course.diffusion.process import Denoise, add_noise
from rs_course.diffusion.samplers import Step, ddim
from rs_course.diffusion.schedules import Schedule
from rs_course.diffusion.timesteps import leading


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
