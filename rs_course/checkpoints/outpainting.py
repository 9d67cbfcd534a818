"""Scenes of any size: a window slides over a canvas, and each window is painted where it is still empty.

As the authors of Text2Earth propose for their inpainting model: the prompt, and with it the resolution level,
stays the same, so that the whole scene has one scale.
"""

from __future__ import annotations

import torch


def outpaint(
    checkpoint, prompt: str, size, *, image=None, window=None, overlap: float = 0.5, seed: int = 0, **sampling
) -> torch.Tensor:
    """Paint a scene larger than the model's own pictures.

    Args:
        checkpoint: An inpainting model, or any model that edits pictures.
        prompt: What the scene shows, with its level.
        size: (height, width) of the scene in pixels.
        image: A picture ``[3, h, w]`` in [0, 1] (or PIL) to go on from, in the upper left corner.
        window: (height, width) of a window; ``None`` is the model's own size.
        overlap: Share of a window that it has in common with the one before, 0..1 exclusive.
        seed: The k-th window is image k of this seed.
        sampling: Further arguments of ``Checkpoint.sample``.

    Returns:
        float32 ``[1, 3, height, width]`` in [0, 1].

    Raises:
        ValueError: A scene smaller than a window or not a multiple of the latent grid, or no overlap.
    """
    from .images import images

    height, width = window or checkpoint.default_size
    unit = checkpoint.vae_factor
    if not 0 < overlap < 1:
        raise ValueError(
            f"overlap is {overlap}; windows must share more than 0 and less than 1 of their side."
        )
    if any(side % unit for side in size) or size[0] < height or size[1] < width:
        raise ValueError(
            f"size is {tuple(size)}; a scene is at least {height}×{width}, its sides multiples of {unit}."
        )
    canvas, empty = torch.full((1, 3, *size), 0.5), torch.ones(1, 1, *size)
    if image is not None:
        start = images(image)[..., : size[0], : size[1]]
        canvas[..., : start.shape[-2], : start.shape[-1]] = start
        empty[..., : start.shape[-2], : start.shape[-1]] = 0
    tops, lefts = (offsets(*sides, overlap, unit) for sides in zip(size, (height, width), strict=True))
    for k, (top, left) in enumerate((top, left) for top in tops for left in lefts):
        view = (..., slice(top, top + height), slice(left, left + width))
        hole = empty[view]
        if not hole.any():
            continue
        known = {} if hole.all() else {"image": canvas[view], "mask": hole}
        place = {"size": (height, width), "seed": seed, "start": k}
        painted = checkpoint.sample(prompt, **place, **known, **sampling)
        canvas[view] = torch.where(hole > 0, painted, canvas[view])
        empty[view] = 0
    return canvas


def offsets(length: int, window: int, overlap: float, unit: int) -> list[int]:
    """Where windows start so that neighbours share at least ``overlap`` and the last ends at ``length``."""
    stride = max(int(window * (1 - overlap)) // unit * unit, unit)
    return [*range(0, length - window, stride), length - window]
