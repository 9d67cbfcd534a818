"""Test images as another day, sensor or place would show them: the same classes, graded by strength.

Synthetic training data should help most where test and training differ (Fan et al. 2024, arXiv 2312.04567).
Each shift takes uint8 tiles ``[N, H, W, 3]`` and a strength from 0 (nothing) to 1, and returns uint8 tiles;
what is random in tile i depends on i alone.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_VEIL, _CLOUD = np.array([190, 200, 220]), 240


def haze(images, strength: float):
    """Scattered light over everything, bluish: x·(1 − a) + veil·a, a up to 0.6."""
    return _bytes(images + 0.6 * strength * (_VEIL - images.astype(float)))


def cloud(images, strength: float):
    """White clouds with soft edges over up to 0.6 of each tile."""
    if not strength:
        return images
    fields = np.stack([np.random.default_rng(i).normal(size=tile.shape[:2]) for i, tile in enumerate(images)])
    fields = ndimage.gaussian_filter(fields, (0, 6, 6), mode="wrap")
    edge = np.quantile(fields, 1 - 0.6 * strength, axis=(1, 2), keepdims=True)
    opacity = np.clip(0.5 + (fields - edge) / (0.5 * fields.std((1, 2), keepdims=True)), 0, 1)[..., None]
    return _bytes(images + opacity * (_CLOUD - images.astype(float)))


def season(images, strength: float):
    """Green turns to dry brown where there is green: red rises, green falls by what it exceeds red."""
    x = images.astype(float)
    green = strength * np.maximum(x[..., 1] - x[..., 0], 0)
    x[..., 0] += 1.2 * green
    x[..., 1] -= 0.4 * green
    return _bytes(x)


def sensor(images, strength: float):
    """A blunter optic (a Gaussian of up to 1.2 pixels), another calibration of each band, and noise."""
    from rs_course.alignment import corruptions

    gain = 1 + strength * np.array([0.15, -0.05, 0.1])
    return corruptions.noise(_bytes(corruptions.blur(images, 1.2 * strength) * gain), 0.03 * strength)


def rotation(images, strength: float):
    """Turned by up to 45 degrees, which is none of the square's symmetries; mirrored at the border."""
    turned = ndimage.rotate(images, 45 * strength, axes=(2, 1), reshape=False, order=1, mode="reflect")
    return _bytes(turned)


def scale(images, strength: float):
    """The middle at up to twice the resolution: 10 m to 5 m per pixel."""
    height, width = images.shape[1:3]
    h, w = round(height / (1 + strength)), round(width / (1 + strength))
    top, left = (height - h) // 2, (width - w) // 2
    middle = images[:, top : top + h, left : left + w].astype(float)
    return _bytes(
        ndimage.zoom(middle, (1, height / h, width / w, 1), order=1, grid_mode=True, mode="nearest")
    )


SHIFTS = {f.__name__: f for f in (haze, cloud, season, sensor, rotation, scale)}
STRENGTHS = (0.5, 1.0)


def shifted(images, names=tuple(SHIFTS), strengths=STRENGTHS):
    """``(name with strength, images)`` of every shift in turn: ``"haze 0.5"``, ``"haze 1"``, …"""
    for name in names:
        for strength in strengths:
            yield f"{name} {strength:g}", SHIFTS[name](np.asarray(images), strength)


def _bytes(x) -> np.ndarray:
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)
