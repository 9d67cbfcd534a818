"""What a network has to beat: nearest pixel, bicubic, and a small regression network trained in half a
minute.

Every upscaler here and elsewhere in the course is a function ``[N, 3, h, w]`` → ``[N, 3, scale·h,
scale·w]``, so a diffusion model's sampler takes its place in the same tables.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from rs_course.superres.inputs import network_input
from rs_course.superres.resize import imresize


def nearest(images: torch.Tensor, scale: int = 4) -> torch.Tensor:
    """Repeat every pixel ``scale`` times in both directions."""
    return F.interpolate(images, scale_factor=scale, mode="nearest")


def bicubic(images: torch.Tensor, scale: int = 4) -> torch.Tensor:
    """MATLAB's bicubic enlargement, every table's baseline; clamped, as a stored image is."""
    return imresize(images, scale).clamp(0, 1)


class ESPCN(nn.Module):
    """A small regression network: sub-pixel convolution (Shi et al., CVPR 2016) on top of a bicubic
    enlargement.

    It learns only the difference to bicubic, so it starts as bicubic (the last layer begins at zero) and
    half a minute of training on a CPU already helps. With the default width it has 20,304 parameters.

    Args:
        channels: Width of the two hidden layers.
        scale: Enlargement.
    """

    min_side = 1
    halo = 4  # low-resolution pixels: 2 + 1 + 1 of the convolutions; bicubic alone would need 2

    def __init__(self, channels: int = 32, *, scale: int = 4):
        super().__init__()
        self.scale = scale
        self.features = nn.Sequential(
            nn.Conv2d(3, channels, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
        )
        last = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)
        self.upsampler = nn.Sequential(last, nn.PixelShuffle(scale))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = network_input(images, self)
        return imresize(images, self.scale) + self.upsampler(self.features(images))
