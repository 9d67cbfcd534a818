"""What Text2Earth has beside its generator: the enhancement network, and scenes of any size.

The network is RRDBNet (Wang et al. 2018, ESRGAN, arXiv 1809.00219) in Real-ESRGAN's form. It doubles the
size of a generated picture and takes its noise away:

>>> enhancer = load_enhancer("best_PSNR_iter_22000_new.pth")  # doctest: +SKIP
>>> sharp = enhancer.enhance(images)  # [N, 3, 256, 256] -> [N, 3, 512, 512]  # doctest: +SKIP

A scene: a window slides over a canvas, and each window is painted where it is still empty. As the authors
propose for their inpainting model, the prompt, and with it the resolution level, stays the same, so that the
whole scene has one scale.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from .images import Pictures, image_batch, images
from .loading import read_device
from .weights import filled, read_state_dict

if TYPE_CHECKING:
    from rs_course.checkpoints.checkpoint import Checkpoint


class DenseBlock(nn.Module):
    """Five convolutions, each seeing all before it; a fifth of the result is added to the input."""

    def __init__(self, width: int, growth: int):
        super().__init__()
        for k in range(1, 5):
            self.add_module(f"conv{k}", nn.Conv2d(width + (k - 1) * growth, growth, 3, padding=1))
        self.conv5 = nn.Conv2d(width + 4 * growth, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = [x]
        for k in range(1, 5):
            seen.append(F.leaky_relu(getattr(self, f"conv{k}")(torch.cat(seen, 1)), 0.2))
        return x + 0.2 * self.conv5(torch.cat(seen, 1))


class ResidualDenseBlocks(nn.Module):
    """Three dense blocks; a fifth of their result is added to the input."""

    def __init__(self, width: int, growth: int):
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(width, growth) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.2 * self.rdb3(self.rdb2(self.rdb1(x)))


class RRDBNet(nn.Module):
    """Pictures ``[N, 3, H, W]`` in [0, 1] to ``[N, 3, scale·H, scale·W]``, not clipped.

    Args:
        scale: 1, 2 or 4. Below 4 the input is folded into channels first, so that H and W must be multiples
            of 4 / scale.
        width: Channels of the body.
        blocks: Number of residual-in-residual dense blocks.
        growth: Channels that a dense convolution adds.
    """

    def __init__(self, scale: int = 2, width: int = 64, blocks: int = 23, growth: int = 32):
        super().__init__()
        self.fold = 4 // scale

        def conv(channels, out=width):
            return nn.Conv2d(channels, out, 3, padding=1)

        self.conv_first = conv(3 * self.fold**2)
        self.body = nn.Sequential(*(ResidualDenseBlocks(width, growth) for _ in range(blocks)))
        self.conv_body, self.conv_up1, self.conv_up2, self.conv_hr = (conv(width) for _ in range(4))
        self.conv_last = conv(width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv_first(F.pixel_unshuffle(x, self.fold))
        x = x + self.conv_body(self.body(x))
        for up in (self.conv_up1, self.conv_up2):
            x = F.leaky_relu(up(F.interpolate(x, scale_factor=2)), 0.2)
        return self.conv_last(F.leaky_relu(self.conv_hr(x), 0.2))

    @torch.no_grad()
    def enhance(self, images: torch.Tensor, batch_size: int = 16) -> torch.Tensor:
        """Pictures ``[N, 3, H, W]`` in [0, 1], enlarged and clipped to [0, 1], on the input's device."""
        images = image_batch(images)
        if any(side % self.fold for side in images.shape[-2:]):
            raise ValueError(
                f"images are {images.shape[-2]}×{images.shape[-1]}; sides must be multiples of {self.fold}."
            )
        weight = self.conv_last.weight
        parts = [self(part.to(weight)).clamp(0, 1) for part in images.split(batch_size)]
        return torch.cat(parts).to(images)


def load_enhancer(file: str | Path, *, device: torch.device | str | None = None) -> RRDBNet:
    """The network of a BasicSR weight file (``params_ema`` or ``params``); its sizes are read off the
    weights.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not such a network.
    """
    state = read_state_dict(file)
    blocks = {int(match[1]) for key in state if (match := re.match(r"body\.(\d+)\.", key))}
    first, dense = state.get("conv_first.weight"), state.get("body.0.rdb1.conv1.weight")
    if first is None or dense is None:
        raise ValueError(f"{file} is no RRDBNet: it has no conv_first.weight and body.0.rdb1.conv1.weight.")
    scale = {3: 4, 12: 2, 48: 1}.get(first.shape[1], 0)
    if not scale:
        raise ValueError(f"{file} takes {first.shape[1]} channels; an RRDBNet takes 3, 12 or 48.")
    sizes = (scale, first.shape[0], len(blocks), dense.shape[0])
    return filled(lambda: RRDBNet(*sizes), state, file).to(read_device(device))


def outpaint(
    checkpoint: Checkpoint,
    prompt: str,
    size: tuple[int, int],
    *,
    image: Pictures | None = None,
    window: tuple[int, int] | None = None,
    overlap: float = 0.5,
    seed: int = 0,
    **sampling,
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
        known: dict[str, Any] = {} if hole.all() else {"image": canvas[view], "mask": hole}
        painted = checkpoint.sample(prompt, size=(height, width), seed=seed, start=k, **known, **sampling)
        canvas[view] = torch.where(hole > 0, painted, canvas[view])
        empty[view] = 0
    return canvas


def offsets(length: int, window: int, overlap: float, unit: int) -> list[int]:
    """Where windows start so that neighbours share at least ``overlap`` and the last ends at ``length``."""
    stride = max(int(window * (1 - overlap)) // unit * unit, unit)
    return [*range(0, length - window, stride), length - window]
