"""What a network has to beat, and what draws instead: nearest pixel, bicubic, a small regression network that
is trained in half a minute, a texture drawn on top.

Every upscaler here and elsewhere in the course is a function ``[N, 3, h, w]`` → ``[N, 3, scale·h,
scale·w]``, so that all take their places in the same tables.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from rs_course.seeds import noise
from rs_course.superres.degradation import imresize
from rs_course.superres.loading import upscale
from rs_course.superres.networks import network_input


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
    half a minute of training on a CPU already helps. With the default width it has 25,552 parameters.

    Args:
        channels: Width of the two hidden layers.
    """

    min_side = 1
    scale = 4
    halo = 4  # low-resolution pixels: 2 + 1 + 1 of the convolutions; bicubic alone would need 2

    def __init__(self, channels: int = 32):
        super().__init__()
        first, second = nn.Conv2d(3, channels, 5, padding=2), nn.Conv2d(channels, channels, 3, padding=1)
        self.features = nn.Sequential(first, nn.ReLU(), second, nn.ReLU())
        last = nn.Conv2d(channels, 3 * self.scale**2, 3, padding=1)
        self.upsampler = nn.Sequential(last, nn.PixelShuffle(self.scale))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = network_input(images, self)
        return imresize(images, self.scale) + self.upsampler(self.features(images))


class DrawnTexture:
    """Add a random draw of what another upscaler misses: the simplest sampler, beside the regressors' means.

    The residuals (truth minus estimate) of training images, divided by how busy the estimate is at that
    place, give a mean power spectrum. A draw has that spectrum and random phases (Galerne, Gousseau &
    Morel, IEEE TIP 20(1), 2011), one phase for all three channels, so that colours stay together, and is
    multiplied by how busy the new estimate is. It knows how rough the missing detail is, not where its
    edges lie. A draw with exactly the residual's variance, and independent of the truth, doubles the
    squared error: 3.01 dB, the price of a perfect sampler, too.

    Args:
        upscaler: Function or network that makes the estimate.
        low, high: Training pairs ``[N, 3, h, w]`` and ``[N, 3, H, W]`` with square images.
        seed: Image i's draw depends on (seed, i) alone.
    """

    def __init__(self, upscaler, low: torch.Tensor, high: torch.Tensor, *, seed: int = 0):
        self.upscaler, self.seed = upscaler, seed
        estimate = upscale(low, upscaler)
        residual = (high - estimate) / self.busyness(estimate)
        # A geometric mean: an arithmetic one would be the spectrum of the few worst images. For Gaussian
        # textures its square is exp(-γ) times the mean power, with Euler's γ.
        typical = torch.fft.rfft2(residual).abs().clamp(min=1e-9).log().mean(0).exp()
        self.amplitude = typical * math.exp(0.5772156649 / 2)

    @staticmethod
    def busyness(images: torch.Tensor) -> torch.Tensor:
        """Local root mean square of the grey image's neighbour differences, ``[N, 1, H, W]``."""
        grey = F.pad(images.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
        across = grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2]
        down = grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1]
        power = F.avg_pool2d(across**2 + down**2, 9, stride=1, padding=4, count_include_pad=False)
        return power.sqrt().clamp(min=0.1 / 255)  # a tenth of an 8-bit step, for flat places

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        estimate = upscale(images, self.upscaler)
        if estimate.shape[-2:] != (side := 2 * (self.amplitude.shape[-1] - 1), side):
            raise ValueError(
                f"the texture was measured on {side}×{side} pixels, not {list(estimate.shape[-2:])}."
            )
        phase = torch.fft.rfft2(noise((len(images), 1, side, side), seed=self.seed))
        texture = torch.fft.irfft2(self.amplitude * phase / phase.abs(), s=(side, side))
        return estimate + self.busyness(estimate) * texture
