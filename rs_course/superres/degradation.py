"""How low-resolution images come about: the field's bicubic rule, a sensor model, and 16-bit data.

A network learns to undo the degradation it was trained on. Which one made the test images belongs beside
every score.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from rs_course.seeds import noise_like
from rs_course.superres.resize import imresize
from rs_course.validation import image_batch


def modcrop(images: torch.Tensor, scale: int = 4) -> torch.Tensor:
    """Cut the right and lower border to sides that are multiples of ``scale``; comes before any shrinking."""
    height, width = (side - side % scale for side in images.shape[-2:])
    return images[..., :height, :width]


def round8(images: torch.Tensor) -> torch.Tensor:
    """Clamp to [0, 1] and round to 8-bit steps (half to even), as if stored in a file and read again."""
    return (images.clamp(0, 1) * 255).round() / 255


def bicubic(high: torch.Tensor, scale: int = 4) -> torch.Tensor:
    """Shrink as the benchmarks do: MATLAB ``imresize`` with antialiasing, clamped and rounded to 8 bits.

    Args:
        high: ``[N, 3, H, W]`` in [0, 1]; H and W multiples of ``scale``.
        scale: Whole number, 2 or more.

    Returns:
        ``[N, 3, H/scale, W/scale]``.

    Raises:
        ValueError: A scale that is no whole number above 1, or sides that it does not divide (see
            :func:`modcrop`).
    """
    high = _divisible(high, scale)
    return round8(imresize(high, 1 / scale))


def sensor(
    high: torch.Tensor, scale: int = 4, *, psf: float = 0.5, noise: float = 0.01, seed: int = 0
) -> torch.Tensor:
    """Shrink as an instrument does: point-spread function, one sample per detector, noise, 8 bits.

    The point-spread function is a Gaussian; the optics of a real instrument are specified by their modulation
    transfer at the Nyquist frequency, which for a Gaussian of ``psf`` low-resolution pixels is
    exp(-(π·psf)² / 2): 0.29 at 0.5.

    Args:
        high: ``[N, 3, H, W]`` in [0, 1]; H and W multiples of ``scale``.
        scale: Whole number, 2 or more.
        psf: Standard deviation of the Gaussian in low-resolution pixels.
        noise: Standard deviation of additive noise, on the [0, 1] scale; image i's noise depends on (seed,
            i) alone.
        seed: Of the noise.

    Returns:
        ``[N, 3, H/scale, W/scale]``.

    Raises:
        ValueError: As for :func:`bicubic`, or a negative ``psf`` or ``noise``.
    """
    high = _divisible(high, scale)
    if psf <= 0 or noise < 0:
        raise ValueError(f"psf={psf} must be positive and noise={noise} not negative.")
    margin = max(0, math.ceil(3 * psf * scale - scale / 2))
    taps = scale + 2 * margin
    # A low-resolution pixel is centred on its scale × scale block, so the window is too.
    offset = torch.arange(taps, dtype=high.dtype, device=high.device) - (taps - 1) / 2
    weight = torch.exp(-(offset**2) / (2 * (psf * scale) ** 2))
    weight = (weight / weight.sum()).view(1, 1, 1, -1).expand(high.shape[1], 1, 1, -1)
    padded = F.pad(high, (margin,) * 4, mode="replicate")
    low = F.conv2d(padded, weight, stride=(1, scale), groups=high.shape[1])
    low = F.conv2d(low, weight.transpose(2, 3), stride=(scale, 1), groups=high.shape[1])
    return round8(low + noise * noise_like(low, seed=seed))


def _divisible(high: torch.Tensor, scale: int) -> torch.Tensor:
    high = image_batch(high, "high")
    if not isinstance(scale, int) or scale < 2:
        raise ValueError(f"scale={scale!r}: the enlargement is a whole number, 2 or more.")
    height, width = high.shape[-2:]
    if height % scale or width % scale or 0 in (height, width):
        raise ValueError(
            f"{height}×{width} pixels do not divide by {scale}: cut them first with "
            f"degradation.modcrop(images, {scale})."
        )
    return high


@dataclass(frozen=True)
class Stretch:
    """The linear map between sensor numbers and the network's [0, 1], kept so that it can be stated and
    undone.

    A network for 8-bit photographs sees 16-bit reflectance (value / 10,000 in Sentinel-2 products) only
    through such a stretch. Scores on stretched images depend on it: report it with them.

    Attributes:
        low: Sensor numbers that become 0, one per band.
        high: Sensor numbers that become 1, one per band.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def from_percentiles(cls, raw, lower: float = 1.0, upper: float = 99.0) -> Stretch:
        """Choose the limits of each band from its own values ``[H, W, bands]`` (NumPy, any number type)."""
        import numpy as np

        low, high = np.percentile(np.asarray(raw, dtype=np.float64), [lower, upper], axis=(0, 1))
        return cls(tuple(map(float, low)), tuple(map(float, high)))

    def __post_init__(self):
        if len(self.low) != len(self.high) or not all(
            b > a for a, b in zip(self.low, self.high, strict=False)
        ):
            raise ValueError(
                f"a stretch needs low < high for every band, not {self.low} and {self.high} (is a band "
                "constant?)."
            )

    def apply(self, raw) -> torch.Tensor:
        """``[H, W, bands]`` sensor numbers → float32 ``[1, bands, H, W]``, clipped to [0, 1].

        Raises:
            ValueError: Not three axes, or another number of bands than the stretch has limits.
        """
        import numpy as np

        raw = np.asarray(raw)
        if raw.ndim != 3 or raw.shape[2] != len(self.low):
            raise ValueError(
                f"the image has shape {list(raw.shape)}; this stretch takes [H, W, {len(self.low)}]: "
                "choose the bands first."
            )
        low, high = (torch.tensor(v, dtype=torch.float64).view(1, -1, 1, 1) for v in (self.low, self.high))
        image = torch.from_numpy(raw.astype(np.float64)).permute(2, 0, 1)[None]
        return ((image - low) / (high - low)).clamp(0, 1).float()

    def undo(self, images: torch.Tensor):
        """Float ``[1, bands, H, W]`` → float64 array ``[H, W, bands]`` in sensor numbers, not rounded."""
        low, high = (torch.tensor(v, dtype=torch.float64).view(-1, 1, 1) for v in (self.low, self.high))
        return (images[0].detach().cpu().double() * (high - low) + low).permute(1, 2, 0).numpy()
