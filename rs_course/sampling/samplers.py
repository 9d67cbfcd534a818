"""Samplers by name, one step of any of them with noise that belongs to the image, and the latents of a run.

The noise is usually that of ``rs_course.seeds``: image i draws from generators of its own. A
``torch.Generator`` instead repeats a run of the published pipelines, which draw everything for the whole
batch from one generator, in a fixed order.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)

from rs_course import seeds

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

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None):
        """The steps of the class's rule, the noisiest first."""
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
    scheduler: SchedulerMixin,
    prediction: torch.Tensor,
    t: int | torch.Tensor,
    x: torch.Tensor,
    eta: float,
    noise: Any,
    k: int,
    generators: Any = None,
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


class PerImage:
    """Noise as a function of (seed, image, step)."""

    def __init__(self, seed: int):
        seeds.generator(seed, 0)  # says at once what is wrong with a seed
        self.seed = seed

    def initial(self, shape: tuple[int, ...], start: int) -> torch.Tensor:
        """x_T of images ``start``, ``start + 1``, ..."""
        return seeds.noise(shape, seed=self.seed, start=start)

    def step(self, shape: tuple[int, ...], start: int, k: int) -> torch.Tensor:
        """What a stochastic sampler adds at its k-th step, k from 0."""
        return seeds.noise(shape, seed=self.seed, start=start, stream=k + 1)

    def generators(self, count: int, start: int) -> list[torch.Generator]:
        """For a scheduler that draws by itself: a generator for each image, which lasts for all its steps."""
        drawn = (seeds.generator(self.seed, start + i, stream=1).integers(2**32) for i in range(count))
        return [torch.Generator().manual_seed(int(one)) for one in drawn]

    def encode(self, distribution: Any) -> torch.Tensor:
        """Latents of a picture: the posterior's mode, so that a picture always has the same latents."""
        return distribution.mode()


class OneGenerator:
    """All draws from one ``torch.Generator``, in the order of the published pipelines."""

    def __init__(self, generator: torch.Generator):
        self.generator = generator

    def initial(self, shape: tuple[int, ...], start: int) -> torch.Tensor:
        """Noise to start from, of this shape."""
        return torch.randn(shape, generator=self.generator, device=self.generator.device)

    def step(self, shape: tuple[int, ...], start: int, k: int) -> torch.Tensor:
        """Noise of one step, of this shape."""
        return self.initial(shape, start)

    def generators(self, count: int, start: int) -> torch.Generator:
        """What diffusers takes as ``generator=``."""
        return self.generator

    def encode(self, distribution: Any) -> torch.Tensor:
        """A sample of the autoencoder's posterior."""
        return distribution.sample(self.generator)


def noise_source(seed: int | Sequence[int] | torch.Generator):
    """The source for a ``seed``: an integer, a ``torch.Generator``, or an object with the methods above
    (``generators`` only for schedulers that draw by themselves).
    """
    if isinstance(seed, torch.Generator):
        return OneGenerator(seed)
    return seed if hasattr(seed, "initial") else PerImage(seed)


class Edit:
    """Where the loop starts, what the UNet sees beside the latents, and what is put back after a step.

    A UNet with nine channels sees the mask and the masked picture (inpainting); with four, the picture
    outside the mask is put back after every step at the right noise level. Without a mask, strength below 1
    is SDEdit (Meng et al. 2022, arXiv 2108.01073).

    Attributes:
        initial: Latents to start from, ``[B, C, h, w]``.
    """

    def __init__(self, checkpoint, size, source, scheduler, timesteps, *, picture, mask, noise, strength):
        """Prepare a batch.

        Args:
            checkpoint: The generator.
            size: (height, width) in pixels.
            source: Where the noise comes from (:func:`noise_source`).
            scheduler: With its timesteps set.
            timesteps: Those that will be run.
            picture: ``[B, 3, H, W]`` in [0, 1], or ``None``.
            mask: ``[B, 1, H, W]``, 1 repaints, or ``None``.
            noise: A function that gives the unit-variance noise ``[B, C, h, w]``, called once.
            strength: Share of the steps that is run.
        """
        channels = checkpoint.vae.config.latent_channels
        self.vae, self.source = checkpoint.vae, source
        self.scheduler, self.timesteps = scheduler, timesteps
        self.sees_picture = checkpoint.unet.config.in_channels == 2 * channels + 1
        starts_from_picture = picture is not None and (strength < 1 or mask is None)

        # A single generator (OneGenerator) draws in this order: picture, noise, masked picture.
        needed = picture is not None and (starts_from_picture or not self.sees_picture)
        self.picture = self._encode(picture) if needed else None
        self.noise = noise()
        if starts_from_picture:
            first = timesteps[:1].expand(len(self.noise))
            self.initial = scheduler.add_noise(self.picture, self.noise, first)
        else:
            self.initial = self.noise * scheduler.init_noise_sigma
        self.mask = None if mask is None else F.interpolate(mask, size=self.noise.shape[-2:])
        self.extra = self._mask_and_picture(picture, mask, size) if self.sees_picture else None

    def with_picture(self, x: torch.Tensor) -> torch.Tensor:
        """The UNet's input: latents, and for nine channels also mask and masked picture."""
        return x if self.extra is None else torch.cat([x, self.extra], dim=1)

    def keep_outside(self, x: torch.Tensor, index: int) -> torch.Tensor:
        """Put the picture back where the mask is 0, at the noise level that the next step expects."""
        if self.sees_picture or self.mask is None:
            return x
        known = self.picture
        if index + 1 < len(self.timesteps):
            known = self.scheduler.add_noise(known, self.noise, self.timesteps[index + 1].reshape(1))
        return (1 - self.mask) * known + self.mask * x

    def _encode(self, picture: torch.Tensor) -> torch.Tensor:
        posterior = self.vae.encode((picture * 2 - 1).to(next(self.vae.parameters()))).latent_dist
        return self.source.encode(posterior).float() * self.vae.config.scaling_factor

    def _mask_and_picture(self, picture, mask, size) -> torch.Tensor:
        """``[B, 1 + C, h, w]``; what the mask covers is grey. Without a mask everything is to be painted."""
        grey = torch.full((len(self.noise), 3, *size), 0.5, device=self.noise.device)
        if mask is None:
            return torch.cat([torch.ones_like(self.noise[:, :1]), self._encode(grey)], dim=1)
        return torch.cat([self.mask, self._encode(torch.where(mask < 0.5, picture, grey))], dim=1)
