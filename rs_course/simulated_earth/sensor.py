"""The sensor: point spread, sampling, noise, eight bits."""

from __future__ import annotations

import numpy as np

from .exact import Dice

# Gaussian optics of 0.40 pixel (standard deviation) convolved with the square detector of one pixel, in units
# of 1/256, sampled every quarter pixel. The modulation transfer at the Nyquist frequency is 0.29; the
# specification of Sentinel-2's 10 m bands asks for 0.15 to 0.30.
PSF = np.array([1, 4, 11, 24, 39, 49, 49, 39, 24, 11, 4, 1])


def expose(image_hr: np.ndarray, noise: float, dice: Dice) -> np.ndarray:
    """See a scene through the sensor: every fourth pixel of the blurred scene, with additive noise.

    Sums are integers, hence exact; the border repeats its outermost pixels.

    Args:
        image_hr: uint8 ``[3, 256, 256]``.
        noise: Standard deviation of the noise in digital numbers.
        dice: Stream of the noise.

    Returns:
        uint8 ``[64, 64, 3]``.
    """
    turned = np.ascontiguousarray(_sample(image_hr.astype(np.int32)).swapaxes(1, 2))
    blurred = _sample(turned).swapaxes(1, 2)
    # The sum of four bytes is nearly normal, with mean 510 and standard deviation 147.8.
    bell = dice.bytes(blurred.size * 4).reshape(4, *blurred.shape).sum(0, dtype=np.int32) - 510
    value = blurred.astype(np.float64) / 65536 + bell * (noise / 147.8) + 0.5
    return np.ascontiguousarray(np.clip(np.floor(value), 0, 255).astype(np.uint8).transpose(1, 2, 0))


def _sample(planes: np.ndarray) -> np.ndarray:
    """Point spread and sampling along the rows' direction: int32 ``[3, n, m]`` to ``[3, n / 4, m]``."""
    padded = np.concatenate([planes[:, :1]] * 4 + [planes] + [planes[:, -1:]] * 4, 1)
    rows = planes.shape[1]
    return sum(padded[:, tap : tap + rows : 4] * weight for tap, weight in enumerate(PSF.tolist()))
