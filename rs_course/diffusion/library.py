"""diffusers' own sampling loop around one of our denoisers, to compare the two side by side."""

from __future__ import annotations

import torch

from rs_course.diffusion.process import Denoise


@torch.no_grad()
def sample(scheduler, denoise: Denoise, xt: torch.Tensor, steps: int) -> torch.Tensor:
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
