"""Samplers by name, and one step of any of them with noise that belongs to the image."""

from __future__ import annotations

import copy
import inspect

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)

# DDPM is DDIM with eta = 1 (Song et al. 2021, arXiv 2010.02502, section 4.1), down to the clean image.
SAMPLERS = {
    "ddim": (DDIMScheduler, {}),
    "ddpm": (DDIMScheduler, {"set_alpha_to_one": True}),
    "euler": (EulerDiscreteScheduler, {}),
    "dpmsolver++": (DPMSolverMultistepScheduler, {}),
    "sde-dpmsolver++": (DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}),
    "unipc": (UniPCMultistepScheduler, {}),
}


class CRSDiffScheduler(DDIMScheduler):
    """DDIM with the step rule of CRS-Diff (that of latent-diffusion): every ``1000 // S``-th step, from 1 on.

    S = 6 therefore takes 7 steps. Where the rule would name a step beyond the last trained one (S = 3, 9, 27,
    ...), which the published code cannot run, the steps start at 0 instead of 1.
    """

    def set_timesteps(self, num_inference_steps: int, device=None):
        total = self.config.num_train_timesteps
        stride = total // num_inference_steps
        steps = torch.arange(0, total, stride)
        offset = 1 if steps[-1] + 1 < total else 0
        self.num_inference_steps = num_inference_steps
        self.timesteps = (steps + offset).flip(0).to(device)


def make_sampler(
    base: SchedulerMixin, name: str | None, eta: float, options: dict
) -> tuple[SchedulerMixin, float]:
    """A fresh scheduler, and the eta it runs with.

    Args:
        base: The checkpoint's own scheduler; its noise schedule is kept.
        name: One of :data:`SAMPLERS`, or ``None`` for ``base`` itself.
        eta: Share of DDPM's noise that DDIM adds back, 0..1.
        options: Settings of the family, by sampler.

    Raises:
        ValueError: Unknown sampler, or eta with one that adds no noise.
    """
    if name is None:
        scheduler = copy.deepcopy(base)
    elif name not in SAMPLERS:
        raise ValueError(f"There is no sampler {name!r}; choose one of {', '.join(SAMPLERS)}, or None.")
    else:
        kind, own = SAMPLERS[name]
        if kind is DDIMScheduler and isinstance(base, DDIMScheduler):
            kind = type(base)  # CRS-Diff keeps its step rule
        if "clip_sample" not in base.config:
            own = {**own, "clip_sample": False}  # diffusers' default is for pixels; latents have no range
        scheduler = kind.from_config(base.config, **options.get(name, {}), **own)
    if name == "ddpm":
        eta = 1.0
    if not 0 <= eta <= 1:
        raise ValueError(f"eta is {eta}; it is the share of DDPM's noise, 0..1.")
    if eta and not isinstance(scheduler, DDIMScheduler):
        raise ValueError(
            f"eta adds noise to DDIM steps; {type(scheduler).__name__} takes none: use sampler='ddim'."
        )
    return scheduler, eta


def plan(scheduler: SchedulerMixin, steps: int) -> torch.Tensor:
    """Set a scheduler's timesteps and return them, on the CPU.

    Where the rule of a scheduler names a step beyond the last trained one (as many steps as were trained, and
    an offset), the steps start at 0 instead.

    Raises:
        ValueError: So many steps that two of them fall together, or a number that the scheduler does not
            take.
    """
    # The times stay on the CPU, where a scheduler keeps its tables: on a GPU, every look at one would wait
    # for the step before.
    try:
        scheduler.set_timesteps(steps, device="cpu")
    except (ValueError, IndexError) as error:  # PNDM below 4, distilled models' beyond those they were taught
        reason = str(error).split("\n")[0]
        raise ValueError(
            f"steps is {steps}, which the scheduler {type(scheduler).__name__} does not take: try 4 to 50, "
            f"or name another sampler, such as sampler='ddim' ({reason})."
        ) from None
    if scheduler.timesteps.max() >= scheduler.config.num_train_timesteps and scheduler.config.get(
        "steps_offset"
    ):
        scheduler.register_to_config(steps_offset=0)
        scheduler.set_timesteps(steps, device="cpu")
    sigmas = getattr(scheduler, "sigmas", None)
    if scheduler.order == 1 and sigmas is not None and (sigmas[1:] == sigmas[:-1]).any():
        raise ValueError(
            f"steps is {steps}, so many that two of {type(scheduler).__name__} fall together: take fewer."
        )
    if hasattr(scheduler, "set_begin_index"):
        # Else it looks for the first time in its table, and takes the second place where two are equal, as
        # Karras' spacing of a cosine schedule rounds them.
        scheduler.set_begin_index(0)
    return scheduler.timesteps


def step(
    scheduler: SchedulerMixin, prediction, t, x, eta: float, noise, k: int, generators=None
) -> torch.Tensor:
    """Step k, from ``x`` at time ``t``.

    Args:
        scheduler: With its timesteps set.
        prediction: The UNet's output.
        t: Time.
        x: Latents.
        eta: Of DDIM.
        noise: ``noise(k)`` gives the images' own noise where the sampler takes some.
        k: Number of the step.
        generators: The images' own generators, for a sampler that draws by itself (Euler ancestral, DDPM,
            LCM, TCD, …).
    """
    if isinstance(scheduler, DDIMScheduler):
        own = noise(k) if eta else None
        return scheduler.step(prediction, t, x, eta=eta, variance_noise=own, return_dict=False)[0]
    # DPM-Solver++ takes noise in its SDE form alone; drawing it would cost a tenth of a small UNet's step.
    takes = inspect.signature(scheduler.step).parameters
    if "variance_noise" in takes and scheduler.config.get("algorithm_type", "sde").startswith("sde"):
        return scheduler.step(prediction, t, x, variance_noise=noise(k), return_dict=False)[0]
    if hasattr(scheduler, "noise_sampler"):  # of DPM-Solver SDE: one Brownian path for the whole batch
        scheduler.noise_sampler = lambda *sigmas: noise(k).to(prediction)
    own = {"generator": generators} if "generator" in takes else {}
    return scheduler.step(prediction, t, x, **own, return_dict=False)[0]
