"""Text2Earth's enhancement network: RRDBNet (Wang et al. 2018, ESRGAN, arXiv 1809.00219) in Real-ESRGAN's
form.

It doubles the size of a generated picture and takes its noise away:

>>> enhancer = load_enhancer("best_PSNR_iter_22000_new.pth")  # doctest: +SKIP
>>> sharp = enhancer.enhance(images)  # [N, 3, 256, 256] -> [N, 3, 512, 512]  # doctest: +SKIP
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from .weights import filled, read_state_dict


class DenseBlock(nn.Module):
    """Five convolutions, each seeing all before it; a fifth of the result is added to the input."""

    def __init__(self, width: int, growth: int):
        super().__init__()
        for k in range(1, 5):
            self.add_module(f"conv{k}", nn.Conv2d(width + (k - 1) * growth, growth, 3, padding=1))
        self.conv5 = nn.Conv2d(width + 4 * growth, width, 3, padding=1)

    def forward(self, x):
        seen = [x]
        for k in range(1, 5):
            seen.append(F.leaky_relu(getattr(self, f"conv{k}")(torch.cat(seen, 1)), 0.2))
        return x + 0.2 * self.conv5(torch.cat(seen, 1))


class ResidualDenseBlocks(nn.Module):
    """Three dense blocks; a fifth of their result is added to the input."""

    def __init__(self, width: int, growth: int):
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(width, growth) for _ in range(3))

    def forward(self, x):
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
        from rs_course.validation import image_batch

        images = image_batch(images)
        if any(side % self.fold for side in images.shape[-2:]):
            raise ValueError(
                f"images are {images.shape[-2]}×{images.shape[-1]}; sides must be multiples of {self.fold}."
            )
        weight = self.conv_last.weight
        parts = [self(part.to(weight)).clamp(0, 1) for part in images.split(batch_size)]
        return torch.cat(parts).to(images)


def load_enhancer(file: str | Path, *, device=None) -> RRDBNet:
    """The network of a BasicSR weight file (``params_ema`` or ``params``); its sizes are read off the
    weights.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not such a network.
    """
    from .load import read_device

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
