"""Enlarge images with any upscaler: whole or in tiles, on the upscaler's device, in its precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn

from rs_course.validation import image_batch


@torch.no_grad()
def upscale(
    images: torch.Tensor,
    network: nn.Module | Callable[[torch.Tensor], torch.Tensor],
    *,
    tile: int | None = None,
    batch: int = 8,
) -> torch.Tensor:
    """Enlarge a batch and clamp the result, as it would be shown or measured.

    Args:
        images: Float ``[N, 3, h, w]`` in [0, 1] (or one ``[3, h, w]``).
        network: From :func:`rs_course.superres.load`, or any function from low to high resolution. A
            network's own device and number type are used; ``load("mini-dscf").to("cuda", torch.bfloat16)``
            enlarges in bfloat16.
        tile: Cut the images into squares of this many low-resolution pixels, each with a margin as wide as
            the network sees, so that the result equals the whole image's. Needed when the memory is small.
        batch: Images, or tiles, enlarged at once.

    Returns:
        ``[N, 3, scale·h, scale·w]`` in [0, 1], on the device and in the number type of ``images``.

    Raises:
        TypeError, ValueError: Images that are not a batch in [0, 1]; a tile below 1; or tiles for a
            network that sees the whole image (EFDN), where they would change the result.
    """
    images = image_batch(images)
    run = _runner(network, images)
    if tile is None:
        return _join([run(part) for part in images.split(batch)])
    halo, scale = getattr(network, "halo", None), getattr(network, "scale", None)
    if halo is None:
        raise ValueError(
            f"{type(network).__name__} pools over the whole image, so that tiles would change its result: "
            "leave tile=None."
        )
    if tile < 1:
        raise ValueError(f"tile={tile}: give a side of at least 1 low-resolution pixel.")
    height, width = images.shape[-2:]
    out = images.new_empty(*images.shape[:2], height * scale, width * scale)
    for rows, columns in _tiles(height, width, tile):
        # The image's own border is no margin: there the network pads with zeros, as it does for the whole
        # image.
        top, left = max(rows.start - halo, 0), max(columns.start - halo, 0)
        part = images[..., top : rows.stop + halo, left : columns.stop + halo]
        enlarged = _join([run(p) for p in part.split(batch)])
        inner = [
            slice((s.start - first) * scale, (s.stop - first) * scale)
            for s, first in ((rows, top), (columns, left))
        ]
        target = [slice(s.start * scale, s.stop * scale) for s in (rows, columns)]
        out[..., target[0], target[1]] = enlarged[..., inner[0], inner[1]]
    return out


def _runner(network, images: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """``network`` on its own device and number type, back on the images', clamped."""
    if not isinstance(network, nn.Module) or (parameter := next(network.parameters(), None)) is None:
        return lambda part: network(part).to(images).clamp(0, 1)

    def run(part):
        # Channels last is a third faster on a CPU and differs by rounding only (2e-6 on photographs).
        part = part.to(parameter).contiguous(memory_format=torch.channels_last)
        return network(part).to(images).clamp_(0, 1)

    return run


def _join(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _tiles(height: int, width: int, tile: int) -> Iterator[tuple[slice, slice]]:
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            yield slice(top, min(top + tile, height)), slice(left, min(left + tile, width))
