"""What six kinds of disaster do to a simulated scene, painted on its known land cover and ground height.

Each painter takes a :class:`Ground` and changes its pixels; the mask of what it touched is the truth of the
event. They are **stylised**: a flood here is "brown water on low ground", not hydraulics. They serve to teach
a protocol, and nothing about real disasters follows from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter, shift

from rs_course.simulated_earth import LANDCOVER
from rs_course.simulated_earth.deterministic import mix_key, smoothstep
from rs_course.simulated_earth.view import View

WATER, TREES, GRASS, CROP, PERMANENT, SCRUB, BARE, BUILDING, PAVED, ROAD, GARDEN = range(len(LANDCOVER))
VEGETATION = (TREES, GRASS, SCRUB, PERMANENT, CROP, GARDEN)


@dataclass
class Ground:
    """A scene that an event may change.

    Attributes:
        rgb: Digital numbers 0..255, float32 ``[256, 256, 3]``; painters write to it.
        cover: Land-cover ids ``[256, 256]``.
        height: Metres above sea level ``[256, 256]``.
        view: For noise in metres.
        key: 32-bit key of this event's randomness.
    """

    rgb: np.ndarray
    cover: np.ndarray
    height: np.ndarray
    view: View
    key: int

    def noise(self, salt: int, spacing: float) -> np.ndarray:
        """Smooth noise with about unit spread, float32 ``[256, 256]``."""
        return np.array(self.view.noise(mix_key(self.key, salt), spacing))

    def share(self, salt: int) -> float:
        """A number in [0, 1) of this event."""
        return mix_key(self.key, 1000 + salt) / 2**32

    def mix(self, mask: Any, colour: Any, strength: Any = 1.0) -> None:
        """Blend a colour (or a picture) into the pixels by ``strength`` where ``mask`` holds."""
        weight = (np.asarray(mask, np.float32) * np.float32(strength))[..., None]
        self.rgb += (np.asarray(colour, np.float32) - self.rgb) * weight

    def is_one_of(self, *covers) -> np.ndarray:
        """Mask of some land covers."""
        return np.isin(self.cover, covers)


def flood(ground: Ground) -> np.ndarray:
    """Brown water over the lowest third of the land, from the rivers up; roofs stand out of it."""
    land = ground.cover != WATER
    wetness = -ground.height + 0.15 * np.ptp(ground.height) * ground.noise(1, 60.0)
    wetness -= 0.02 * np.ptp(ground.height) * distance_transform_edt(land) / 25
    level = np.quantile(wetness[land] if land.any() else wetness, 0.75 - 0.3 * ground.share(1))
    under = (wetness > level) | ~land
    ripple = 5 * ground.noise(2, 18.0)[..., None]
    ground.mix(under & (ground.cover != BUILDING), np.array([126, 113, 99]) + ripple, 0.88)
    ground.mix(under & (ground.cover == TREES), np.array([70, 84, 72]), 0.35)
    return under


def wildfire(ground: Ground) -> np.ndarray:
    """A burn scar with ragged edge on what can burn, islands that were spared, and a thin plume."""
    shape = ground.noise(1, 420.0) + 0.45 * ground.noise(2, 90.0) + 0.25 * ground.noise(3, 25.0)
    burnable = ground.is_one_of(*VEGETATION, BARE)
    scar = burnable & (shape > np.quantile(shape, 0.55 - 0.3 * ground.share(1)))
    charcoal = np.array([58, 46, 48]) + 9 * ground.noise(4, 12.0)[..., None]
    ground.mix(scar, charcoal, 0.86)
    front = scar & ~binary_dilation(~scar, iterations=3) & (ground.noise(5, 30.0) > 0.9)
    ground.mix(front, np.array([112, 84, 70]), 0.6)
    plume = smoothstep(_blown(ground, scar, reach=70) * (0.6 + 0.3 * ground.noise(6, 70.0)))
    ground.mix(plume, np.array([196, 198, 204]), 0.4)
    return scar


def storm(ground: Ground) -> np.ndarray:
    """Fallen trees and flattened crops in streaks along the wind, roofs gone or under blue sheets, debris."""
    streaks = _streaks(ground, 1)
    path = ground.noise(2, 350.0) > -0.5
    fallen = path & ground.is_one_of(TREES, PERMANENT, SCRUB) & (streaks > 0.1)
    ground.mix(fallen, np.array([150, 134, 112]) + 10 * ground.noise(3, 10.0)[..., None], 0.8)
    lodged = path & ground.is_one_of(CROP, GRASS, GARDEN) & (streaks > 0.35)
    ground.mix(lodged, np.array([172, 158, 124]), 0.5)
    roofs = path & (ground.cover == BUILDING)
    chance = ground.noise(4, 14.0)
    ground.mix(roofs & (chance > 0.5), np.array([74, 116, 190]), 0.85)
    ground.mix(roofs & (chance < -0.6), np.array([92, 84, 82]), 0.8)
    debris = path & ground.is_one_of(PAVED, ROAD, GARDEN) & (ground.noise(5, 9.0) > 1.1)
    ground.mix(debris, np.array([206, 196, 184]), 0.8)
    return fallen | lodged | (roofs & ((chance > 0.5) | (chance < -0.6))) | debris


def earthquake(ground: Ground) -> np.ndarray:
    """One side of a fault is displaced; houses near it are rubble under pale dust, slopes have slid."""
    wind = _wind(ground)
    fault = wind.across + 14 * ground.noise(1, 220.0)
    slip = (10 + 8 * ground.share(2)) * np.sign(ground.share(3) - 0.5)
    moved = shift(ground.rgb, (slip * wind.step[1], slip * wind.step[0], 0), order=1, mode="reflect")
    ground.rgb[fault > 0] = moved[fault > 0]
    crack = np.abs(fault) < 2.2
    ground.mix(crack, np.array([60, 50, 48]), 0.8)
    near = np.exp(-np.abs(fault) / 110)
    ruined = (ground.cover == BUILDING) & (ground.noise(2, 16.0) < 2.2 * near - 0.6)
    rubble = np.array([168, 156, 148]) + 26 * ground.noise(3, 6.0)[..., None]
    ground.mix(binary_dilation(ruined, iterations=2), rubble, 0.85)
    slopes = np.hypot(*np.gradient(ground.height, ground.view.step))
    slides = (slopes > np.quantile(slopes, 0.9)) & (slopes > 0.15) & (ground.noise(4, 40.0) > 0)
    ground.mix(slides, np.array([188, 164, 144]), 0.8)
    ground.mix(near > 0.35, np.array([196, 186, 178]), 0.16)
    return crack | ruined | slides | (fault > 0)


def volcano(ground: Ground) -> np.ndarray:
    """Grey ash that thins out downwind, and dark lava with glowing edges running down the slope."""
    downwind = (_wind(ground).along / 360 + 0.5).clip(0, 1)
    ash = smoothstep(0.75 + 0.35 * ground.noise(1, 160.0) - 0.5 * downwind)
    ash *= np.where(ground.cover == WATER, np.float32(0.25), np.float32(1))
    ground.mix(ash, np.array([118, 114, 116]) + 5 * ground.noise(2, 20.0)[..., None], 0.82)
    centre = _downhill(ground)
    width = 9 + 5 * ground.noise(3, 80.0)
    flow = centre < width
    ground.mix(flow, np.array([44, 38, 40]) + 6 * ground.noise(4, 10.0)[..., None], 0.95)
    ground.mix(flow & (centre < 0.35 * width) & (ground.noise(5, 24.0) > -0.1), np.array([236, 92, 40]), 0.9)
    return flow | (ash > 0.3)


def tsunami(ground: Ground) -> np.ndarray:
    """A coast stripped to wet sand and mud up to a debris line; what stood near the sea is gone."""
    land = ground.cover != WATER
    distance = distance_transform_edt(land) + 9 * ground.noise(1, 60.0)
    reach = 45 + 55 * ground.share(1)
    swept = land & (distance < reach)
    sand = np.array([176, 158, 140]) + 9 * ground.noise(2, 25.0)[..., None]
    ground.mix(swept, sand, 0.82)
    pools = swept & (ground.noise(3, 40.0) > 0.7)
    ground.mix(pools, np.array([104, 104, 100]), 0.8)
    line = land & (np.abs(distance - reach) < 4) & (ground.noise(4, 12.0) > -0.4)
    ground.mix(line, np.array([92, 76, 66]), 0.75)
    murky = ~land & (distance_transform_edt(~land) < 40)
    ground.mix(murky, np.array([112, 110, 104]), 0.55)
    return swept | line | murky


DISASTERS = {f.__name__: f for f in (earthquake, flood, storm, tsunami, volcano, wildfire)}


@dataclass(frozen=True)
class Wind:
    """A direction of an event: unit step (columns, rows), and every pixel's distance along and across it."""

    step: tuple[float, float]
    along: np.ndarray
    across: np.ndarray


def _wind(ground: Ground) -> Wind:
    angle = 2 * np.pi * ground.share(9)
    east, south = float(np.cos(angle)), float(np.sin(angle))
    rows, columns = np.mgrid[-127.5:128, -127.5:128].astype(np.float32)  # type: ignore[misc]
    return Wind((east, south), columns * east + rows * south, columns * south - rows * east)


def _blown(ground: Ground, source: np.ndarray, *, reach: int) -> np.ndarray:
    """A mask smeared downwind, 0 to 1."""
    column, row = _wind(ground).step
    plume = np.zeros(source.shape, np.float32)
    seen = gaussian_filter(source.astype(np.float32), 4)
    for k in range(5, reach, 8):
        plume += (1 - k / reach) * shift(seen, (k * row, k * column), order=1)
    return gaussian_filter(plume / max(float(plume.max()), 1e-6), 3)


def _streaks(ground: Ground, salt: int) -> np.ndarray:
    """Noise drawn out along the wind."""
    wind, fine = _wind(ground), ground.noise(salt, 10.0)
    rows = np.clip(wind.across + 127.5, 0, 255).astype(int)
    columns = np.clip(0.12 * wind.along + 127.5, 0, 255).astype(int)
    return gaussian_filter(fine[rows, columns], 1)


def _downhill(ground: Ground) -> np.ndarray:
    """Distance in pixels from a line that runs down the smoothed slope from the tile's highest point."""
    z = gaussian_filter(ground.height, 6) - 1e-3 * ground.noise(8, 120.0)
    row, column = (int(place) for place in np.unravel_index(int(z.argmax()), z.shape))
    path = np.ones(z.shape, bool)
    for _ in range(220):
        path[row, column] = False
        window = z[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
        low = [int(place) for place in np.unravel_index(window.argmin(), window.shape)]
        lower = max(row - 2, 0) + low[0], max(column - 2, 0) + low[1]
        if lower == (row, column):
            break
        row, column = lower
    return distance_transform_edt(path)
