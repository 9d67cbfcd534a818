"""Diffusion as an upscaler: a generator draws one of the sharp pictures that a coarse one allows."""

from __future__ import annotations

import torch

from rs_course.superres.baselines import bicubic


class DiffusionUpscaler:
    """``[N, 3, h, w]`` → ``[N, 3, scale·h, scale·w]`` by a generator of :mod:`rs_course.checkpoints`.

    With a ControlNet for super-resolution the generator sees the coarse picture at every step (Khanna et al.
    2024, arXiv 2312.03606, section 3.2). Without one it only starts from it: SDEdit (Meng et al., ICLR 2022)
    noises the bicubic enlargement by ``strength`` and denoises it.

    Args:
        generator: From ``checkpoints.load(name, controlnet=...)``.
        scale: Enlargement; a ControlNet was trained for one (the mini for 4).
        gsd: Metres per pixel of the sharp picture, for generators that read metadata; ``None`` says nothing.
        strength: Without a ControlNet, the share of the steps that is run.
        guidance: 1 draws from the plain model: there is no text to push towards.
        steps, sampler: As in ``Checkpoint.sample``; ``None`` takes the checkpoint's own.
        seed: Image i of a call depends on (seed, i) alone, so give ``upscale`` the whole set as one batch.
    """

    def __init__(
        self,
        generator,
        *,
        scale=4,
        gsd=None,
        strength=0.3,
        guidance=1.0,
        steps=None,
        sampler: str | None = None,
        seed: int = 0,
    ):
        self.generator, self.scale, self.gsd, self.strength = generator, scale, gsd, strength
        self.settings = {"guidance": guidance, "steps": steps, "sampler": sampler, "seed": seed}

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Draw one picture for each.

        Raises:
            TypeError, ValueError: As ``Checkpoint.sample``, in one sentence.
        """
        size = tuple(self.scale * side for side in images.shape[-2:])
        options = {"size": size, **self.settings}
        if self.gsd is not None:
            options["metadata"] = {"gsd": self.gsd}
        if self.generator.controlnet is None:
            options |= {"image": bicubic(images, self.scale), "strength": self.strength}
        else:
            options["image"] = images
            if self.gsd is not None:
                options["cond_metadata"] = {"gsd": self.scale * self.gsd}
        return self.generator.sample([""] * len(images), **options).to(images)
