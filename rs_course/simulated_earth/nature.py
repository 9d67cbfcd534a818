"""The shape of the land and how the sun falls on it; and land that nobody sows: forest, scrub, open water."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from .atmosphere import Season
from .deterministic import RandomStream, mix_key, smoothstep
from .view import BARE, GRASS, SCRUB, SOILS, TREES, WATER, WATERS, Layer, View, surface


@dataclass(frozen=True)
class Relief:
    """Fractal relief: height above ``base`` in metres; ``ridged`` folds valleys sharp."""

    key: int
    base: float
    height: float
    scale: float
    rough: float
    ridged: bool


HEIGHTS = {"flat": (0.5, 4), "rolling": (5, 18), "hilly": (20, 70), "mountain": (70, 210), "gullied": (9, 34)}


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


@dataclass(frozen=True)
class Wild:
    """Wild land of one place; each number is a share or a strength in [0, 1] unless said otherwise."""

    key: int
    kind: str  # "forest", "scrub" or "water"
    base: np.ndarray  # reflectance [2, 3]: dark and light end of the mixture
    evergreen: float
    patch: float  # strength of large patches
    grain: float  # strength of fine texture
    clearing: float
    tracks: float
    scale: float  # metres
    dots: float
    veined: bool = False


def draw_forest(rng: RandomStream) -> Wild:
    """Closed forest: nearly uniform, dark, sometimes with clearings and tracks."""
    light = rng.uniform(0.0, 1.0)
    light *= light
    green = rng.uniform(-3, 3)
    dark = surface(31 + 9 * light, 52 + 13 * light + green, 66 + 10 * light - green)
    pale = surface(37 + 13 * light, 60 + 22 * light + green, 73 + 12 * light - green)
    return Wild(
        key=rng.key(), kind="forest", base=np.stack([dark, pale]), evergreen=rng.uniform(0.1, 1),
        patch=rng.uniform(0.1, 0.8), grain=rng.uniform(0.1, 0.3),
        clearing=rng.uniform(0.2, 1) if rng.chance(0.35) else 0.0,
        tracks=rng.uniform(0.3, 1) if rng.chance(0.35) else 0.0, scale=rng.uniform(90, 320), dots=0.0
    )  # fmt: skip


def draw_scrub(rng: RandomStream, dryness: float) -> Wild:
    """Herbaceous vegetation: soil showing through grass and shrubs, tracks, gullies."""
    kind = rng.pick({"heath": 1.0, "steppe": 0.5 + dryness, "garrigue": 0.3 + dryness, "meadow": 0.8})
    dark, pale = {
        "heath": ((62, 76, 84), (100, 96, 98)),
        "steppe": ((104, 98, 100), (176, 152, 142)),
        "garrigue": ((56, 72, 80), (168, 142, 132)),
        "meadow": ((54, 82, 82), (98, 106, 100)),
    }[kind]
    shade = rng.uniform(0.65, 1.3)
    soil = surface(*SOILS[rng.pick({"pale": 1, "brown": 1, "red": 0.6, "white": 0.5})][0])
    pale = surface(*pale) * shade * 0.75 + soil * 0.25
    return Wild(
        key=rng.key(), kind="scrub", base=np.stack([surface(*dark) * shade, pale]), evergreen=0.5,
        patch=rng.uniform(0.2, 0.9), grain=rng.uniform(0.2, 0.7),
        clearing=rng.uniform(0.2, 1) if rng.chance(0.4) else 0.0,
        tracks=rng.uniform(0.3, 1) if rng.chance(0.4) else 0.0, scale=rng.uniform(70, 280),
        dots=rng.uniform(0.2, 0.9) if rng.chance(0.2) else 0.0, veined=rng.chance(0.5)
    )  # fmt: skip


def draw_water(rng: RandomStream, weights: dict) -> Wild:
    """Open water of one of the :data:`view.WATERS`."""
    deep, shallow = WATERS[rng.pick(weights)]
    mixed = rng.uniform(0, 0.5)
    deep, shallow = surface(*deep), surface(*shallow)
    return Wild(
        key=rng.key(), kind="water", base=np.stack([deep * (1 - mixed) + shallow * mixed, shallow]),
        evergreen=0.0, patch=rng.uniform(0.2, 1) if rng.chance(0.5) else rng.uniform(0.06, 0.25),
        grain=rng.uniform(0.0, 0.03), clearing=0.0, tracks=0.0, scale=rng.uniform(350, 900), dots=0.0
    )  # fmt: skip


def paint_forest(view: View, wild: Wild, when: Season) -> Layer:
    """Crowns, stands of different age, clearings and forest tracks."""
    stand = view.noise(mix_key(wild.key, 1), wild.scale)
    crown = view.noise(mix_key(wild.key, 2), 8.0)
    mixture = np.clip(stand * np.float32(0.25 * wild.patch) + np.float32(0.4), 0, 1)
    bare_twigs = surface(66, 72, 80)
    leaf = wild.evergreen + (1 - wild.evergreen) * when.leaf
    dark, pale = (end * leaf + bare_twigs * (1 - leaf) for end in wild.base)
    texture = crown * np.float32(wild.grain) + view.noise(mix_key(wild.key, 3), 34.0) * np.float32(
        wild.grain * 0.3
    )
    texture += np.float32(1)
    layer = view.blank((0, 0, 0), TREES)
    for plane, low, high in zip(layer.rgb, dark, pale, strict=True):
        np.multiply(mixture * np.float32(high - low) + np.float32(low), texture, out=plane)
    np.maximum(layer.rgb, np.float32(0.001), out=layer.rgb)
    np.maximum(crown * np.float32(1.5) + np.float32(14), 0, out=layer.height)
    if wild.clearing:
        open_ground = view.noise(mix_key(wild.key, 4), wild.scale * 0.5) > np.float32(
            3.1 - 1.1 * wild.clearing
        )
        tone = surface(62, 92, 84) * when.green + surface(112, 106, 104) * (1 - when.green)
        layer.put(open_ground, [plane_texture(texture, c) for c in tone], GRASS)
    if wild.tracks:
        layer.put(_tracks(view, wild.key, 420.0, 3.0), surface(104, 106, 106), BARE)
    return layer


def plane_texture(texture: np.ndarray, value: float) -> np.ndarray:
    """One plane of a material with multiplicative texture."""
    return texture * np.float32(value)


def _tracks(view: View, key: int, wavelength: float, width: float) -> np.ndarray:
    """Winding tracks: the zero line of a smooth field, ``width`` metres wide."""
    n = view.noise(mix_key(key, 5), wavelength)
    n = n + view.noise(mix_key(key, 6), wavelength / 5) * np.float32(0.12)
    gx, gy = gradient(n, view.step)
    return np.abs(n) < np.sqrt(gx * gx + gy * gy) * np.float32(width / 2)


def gradient(z: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Central differences towards east and north (row 0 is the northern edge)."""
    gx, gy = np.empty_like(z), np.empty_like(z)
    half, one = np.float32(0.5 / step), np.float32(1 / step)
    np.subtract(z[:, 2:], z[:, :-2], out=gx[:, 1:-1])
    gx[:, 1:-1] *= half
    gx[:, 0], gx[:, -1] = (z[:, 1] - z[:, 0]) * one, (z[:, -1] - z[:, -2]) * one
    np.subtract(z[:-2], z[2:], out=gy[1:-1])
    gy[1:-1] *= half
    gy[0], gy[-1] = (z[0] - z[1]) * one, (z[-2] - z[-1]) * one
    return gx, gy


def paint_scrub(view: View, wild: Wild, when: Season) -> Layer:
    """A fractal mixture of vegetation and soil, with shrubs, bare gullies and tracks."""
    large = view.noise(mix_key(wild.key, 1), wild.scale)
    medium = view.noise(mix_key(wild.key, 2), 42.0)
    if wild.veined:  # folding the noise draws it out into rills
        medium = np.float32(1.3) - np.abs(medium) * np.float32(2.0)
        large = np.float32(1.0) - np.abs(large) * np.float32(1.5)
    fine = view.noise(mix_key(wild.key, 3), 12.0)
    mixture = large * np.float32(0.35 * wild.patch) + medium * np.float32(0.4 * wild.grain)
    mixture += fine * np.float32(0.45 * wild.grain)
    mixture += np.float32(0.62 - 0.35 * when.green)
    np.clip(mixture, 0, 1, out=mixture)
    dark, pale = wild.base
    dark = dark * (0.6 + 0.4 * when.green) + surface(84, 84, 88) * (0.4 - 0.4 * when.green)
    layer = view.blank((0, 0, 0), SCRUB)
    for plane, low, high in zip(layer.rgb, dark, pale, strict=True):
        np.multiply(mixture, np.float32(high - low), out=plane)
        plane += np.float32(low)
    if wild.clearing:
        ridge = np.abs(view.noise(mix_key(wild.key, 7), wild.scale * 1.3)) + fine * np.float32(0.05)
        bare = ridge < np.float32(0.05 + 0.09 * wild.clearing)
        layer.put(bare, layer.blend(pale * 1.3, 0.65), BARE)
    if wild.dots:
        shrubs = view.noise(mix_key(wild.key, 8), 9.0) > np.float32(2.4 - 1.3 * wild.dots)
        layer.put(shrubs, surface(50, 66, 74), TREES, 3.0)
    if wild.tracks:
        layer.put(_tracks(view, wild.key, 640.0, 6.0), np.minimum(pale * 1.5, np.float32(0.3)), BARE)
    return layer


def paint_water(view: View, wild: Wild, when: Season) -> Layer:
    """Water with plumes of sediment stretched along one direction and a breath of wind."""
    plume = view.noise(mix_key(wild.key, 1), wild.scale * 1.6)
    eddy = view.noise(mix_key(wild.key, 2), wild.scale * 0.35)
    share = smoothstep((plume + eddy * np.float32(0.12)) * np.float32(0.3) + np.float32(0.5)) * np.float32(
        wild.patch
    )
    texture = view.noise(mix_key(wild.key, 3), 25.0) * np.float32(wild.grain) + np.float32(1)
    layer = view.blank((0, 0, 0), WATER)
    deep, shallow = wild.base
    for plane, low, high in zip(layer.rgb, deep, shallow, strict=True):
        np.multiply(share * np.float32(high - low) + np.float32(low), texture, out=plane)
    return layer
