"""What a network has to beat: nearest pixel, bicubic, and a small regression network trained in half a
minute.

Every upscaler here and elsewhere in the course is a function ``[N, 3, h, w]`` → ``[N, 3, scale·h,
scale·w]``, so a diffusion model's sampler takes its place in the same tables.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from rs_course.seeds import noise
from rs_course.superres.inference import upscale
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


class DrawnTexture:
    """Add a random draw of what another upscaler misses: the simplest sampler, beside the regressors' means.

    The residuals (truth minus estimate) of training images give a mean power spectrum; a draw has that
    spectrum and random phases (Galerne, Gousseau & Morel, IEEE TIP 20(1), 2011), one phase for all three
    channels, so that colours stay together. It knows how rough the missing detail is, not where it
    belongs. Whatever is drawn independently of the truth with the residual's own spectrum doubles the
    squared error: 3.01 dB, the price of a perfect sampler, too.

    Args:
        upscaler: Function or network that makes the estimate.
        low, high: Training pairs ``[N, 3, h, w]`` and ``[N, 3, H, W]`` with square images.
        seed: Image i's draw depends on (seed, i) alone.
    """

    def __init__(self, upscaler, low: torch.Tensor, high: torch.Tensor, *, seed: int = 0):
        self.upscaler, self.seed = upscaler, seed
        residual = high - upscale(low, upscaler)
        self.amplitude = torch.fft.rfft2(residual).abs().square().mean(0).sqrt()

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        estimate = upscale(images, self.upscaler)
        if estimate.shape[-2:] != (side := 2 * (self.amplitude.shape[-1] - 1), side):
            raise ValueError(
                f"the texture was measured on {side}×{side} pixels, not {list(estimate.shape[-2:])}."
            )
        grain = noise((len(images), 1, side, side), seed=self.seed)
        phase = torch.fft.rfft2(grain)
        return estimate + torch.fft.irfft2(self.amplitude * phase / phase.abs(), s=(side, side))
