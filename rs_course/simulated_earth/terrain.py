"""The shape of the land and how the sun falls on it."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from .deterministic import RandomStream, mix_key
from .nature import gradient
from .season import Season
from .view import View


@dataclass(frozen=True)
class Relief:
    """Fractal relief: height above ``base`` in metres; ``ridged`` folds valleys sharp."""

    key: int
    base: float
    height: float
    scale: float
    rough: float
    ridged: bool


HEIGHTS = {
    "flat": (0.5, 4),
    "rolling": (5, 18),
    "hilly": (20, 70),
    "mountain": (70, 210),
    "gullied": (9, 34),
}


def draw_relief(rng: RandomStream, style: str) -> Relief:
    """Draw relief of a style, one of :data:`HEIGHTS`."""
    low, high = HEIGHTS[style]
    ridged = style == "gullied" or (style in ("hilly", "mountain") and rng.chance(0.5))
    base = rng.uniform(5, 300) if style != "mountain" else rng.uniform(300, 1600)
    return Relief(
        key=rng.key(),
        base=base,
        height=rng.uniform(low, high),
        scale=rng.uniform(110, 260) if style == "gullied" else rng.uniform(350, 900),
        rough=rng.uniform(0.3, 0.5),
        ridged=ridged,
    )


def elevation(view: View, relief: Relief) -> np.ndarray:
    """Height of the bare ground in metres, float32 ``[h, w]``."""
    total = np.zeros(view.shape, np.float32)
    scale, weight = relief.scale, 1.0
    for octave in range(4 if relief.height > 4 else 2):
        n = view.noise(mix_key(relief.key, octave), scale)
        total += (np.abs(n) * np.float32(1.6) if relief.ridged and octave else n) * np.float32(weight)
        scale, weight = scale / 2.3, weight * relief.rough
    return total * np.float32(relief.height / 2) + np.float32(relief.base)


def illumination(z: np.ndarray, step: float, when: Season) -> np.ndarray:
    """Irradiance on the slope relative to level ground, with a fifth of it diffuse; float32."""
    gx, gy = gradient(z, step)
    east, north, up = when.sun
    facing = np.float32(1) - (gx * np.float32(east / up) + gy * np.float32(north / up))
    facing /= np.sqrt(gx * gx + gy * gy + np.float32(1))
    return np.clip(facing, 0, np.float32(2.2)) * np.float32(0.8) + np.float32(0.2)


def cast_shadow(height: np.ndarray, step: float, when: Season, tallest: float = 16.0) -> np.ndarray:
    """Mask of pixels in the shadow of objects, by marching towards the sun in pixel steps."""
    east, north, up = when.sun
    flat = sqrt(east * east + north * north)
    rise = up / flat  # metres gained per metre towards the sun
    length = tallest / rise / step
    count = min(20, max(1, int(length + 0.5)))
    shadow = np.zeros(height.shape, bool)
    rows, cols = height.shape
    for k in range(1, count + 1):
        reach = length * k / count if length > count else k
        dx, dy = round(east / flat * reach), round(-north / flat * reach)
        if dx == dy == 0:
            continue
        need = np.float32(rise * step * reach)
        here = (slice(max(0, -dy), rows - max(0, dy)), slice(max(0, -dx), cols - max(0, dx)))
        there = (slice(max(0, dy), rows - max(0, -dy)), slice(max(0, dx), cols - max(0, -dx)))
        shadow[here] |= height[there] > height[here] + need
    return shadow
