"""The latents of a run: where their noise comes from, and what a picture and a mask change in them.

The noise is usually that of ``rs_course.seeds``: image i draws from generators of its own. A
``torch.Generator`` instead repeats a run of the published pipelines, which draw everything for the whole
batch from one generator, in a fixed order.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from rs_course import seeds


class PerImage:
    """Noise as a function of (seed, image, step)."""

    def __init__(self, seed: int):
        seeds.generator(seed, 0)  # says at once what is wrong with a seed
        self.seed = seed

    def initial(self, shape, start: int) -> torch.Tensor:
        """x_T of images ``start``, ``start + 1``, ..."""
        return seeds.noise(shape, seed=self.seed, start=start)

    def step(self, shape, start: int, k: int) -> torch.Tensor:
        """What a stochastic sampler adds at its k-th step, k from 0."""
        return seeds.noise(shape, seed=self.seed, start=start, stream=k + 1)

    def generators(self, count: int, start: int) -> list[torch.Generator]:
        """For a scheduler that draws by itself: a generator for each image, which lasts for all its steps."""
        drawn = (seeds.generator(self.seed, start + i, stream=1).integers(2**32) for i in range(count))
        return [torch.Generator().manual_seed(int(one)) for one in drawn]

    def encode(self, distribution) -> torch.Tensor:
        """Latents of a picture: the posterior's mode, so that a picture always has the same latents."""
        return distribution.mode()


class OneGenerator:
    """All draws from one ``torch.Generator``, in the order of the published pipelines."""

    def __init__(self, generator: torch.Generator):
        self.generator = generator

    def initial(self, shape, start: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.generator, device=self.generator.device)

    def step(self, shape, start: int, k: int) -> torch.Tensor:
        return self.initial(shape, start)

    def generators(self, count: int, start: int) -> torch.Generator:
        return self.generator

    def encode(self, distribution) -> torch.Tensor:
        return distribution.sample(self.generator)


def noise_source(seed):
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
