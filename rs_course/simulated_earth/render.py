"""From a place and a date to pixels: paint, light, air, sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .exact import Dice, mix_key, smoothstep
from .lines import paint_river, paint_road
from .palette import CLEAR, DN, PATH, surface
from .place import CLASSES, Place, paint_land
from .season import Season
from .terrain import cast_shadow, elevation, illumination
from .view import BARE, SIZE, WATER, Layer, View

# The sensor: Gaussian optics of 0.40 pixel (standard deviation) convolved with the square detector of one pixel, in
# units of 1/256, sampled every quarter pixel. Its modulation transfer at the Nyquist frequency is 0.29; the
# specification of Sentinel-2's 10 m bands asks for 0.15 to 0.30.
PSF = np.array([1, 4, 11, 24, 39, 49, 49, 39, 24, 11, 4, 1])


@dataclass(frozen=True)
class Air:
    """Haze and calibration of one acquisition, drawn from (label, seed)."""

    path: np.ndarray
    transmit: np.ndarray
    noise: float
    cloud: float
    key: int


def draw_air(label: str, seed: int) -> Air:
    """Draw haze, gain and sensor noise; ``cloud`` is the default cloud cover."""
    dice = Dice(CLASSES.index(label), seed, "air")
    aerosol = dice.uniform(0, 0.012) + (dice.uniform(0, 0.02) if dice.chance(0.25) else 0.0)
    path = PATH * np.float32(dice.uniform(0.94, 1.1)) + np.float32(aerosol)
    transmit = CLEAR - np.float32(1.5 * aerosol)
    gain = np.array([dice.uniform(0.94, 1.06) for _ in range(3)], np.float32) * np.float32(
        dice.uniform(0.88, 1.12)
    )
    if dice.chance(0.06):  # thick blue haze, as over a few percent of EuroSAT's tiles
        thick = dice.uniform(0.5, 1.0)
        path = path + np.array([0.020, 0.030, 0.078], np.float32) * np.float32(thick)
        transmit = transmit * np.float32(1 - 0.35 * thick)
    cloud = dice.uniform(0.02, 0.3) if dice.chance(0.08) else 0.0
    return Air(path, transmit * gain, dice.uniform(0.5, 1.2), round(cloud, 3), dice.key())


@dataclass
class Rendering:
    """Pixels and maps of one view of a place; arrays are 256 × 256 except ``image``."""

    image: np.ndarray
    image_hr: np.ndarray
    landcover: np.ndarray
    elevation: np.ndarray
    clouds: np.ndarray
    marks: dict
    snow: float


def _paint(place: Place, view: View, when: Season, year: int):
    """Paint land, water, roads and settlements.

    Returns:
        The layer, the ground's height, and masks of what the land cover does not tell apart: ``village``,
        ``river`` (also under bridges) and ``motorway``.
    """
    layer = paint_land(view, place.ground, when, year)
    z = elevation(view, place.relief)
    marks = {name: np.zeros(view.shape, bool) for name in ("village", "river", "motorway")}
    for zone in place.zones:
        mask = zone.mask(view)
        if mask.any():
            layer.merge(paint_land(view, zone.land, when, year), mask)
    bank = None
    if place.shore:
        bank = -place.shore[0].frame(view)[1]
        surf = (np.abs(bank) < np.float32(9)) if place.shore[1] else (bank > -14) & (bank < 2)
        tone = surface(206, 206, 206) if place.shore[1] else surface(196, 178, 166)
        ragged = surf & (view.noise(mix_key(place.zones[0].land.key, 31), 30.0) > np.float32(-0.5))
        layer.put(ragged & (bank < 0), tone * 0.9, BARE)
        layer.put(ragged & (bank >= 0), tone * 0.75, WATER)
        bank = -bank
    if place.river:
        bank = paint_river(view, place.river, paint_land(view, place.river.water, when, year), layer)
        marks["river"] = bank < 0
    for spot in place.spots:
        _paint_spot(spot, view, when, year, layer, marks["village"])
    for road in place.roads:
        if road.since <= year:
            deck = paint_road(view, road, when, layer)
            if road.motorway:
                marks["motorway"] |= deck
    if bank is not None:  # the land rises from the water's level
        level = np.float32(place.relief.base - place.relief.height)
        z = level + (np.maximum(z - level, 0) + np.float32(1)) * smoothstep(bank * np.float32(1 / 300))
    elif place.label == "SeaLake":
        z = np.full(view.shape, np.float32(0 if place.relief.height < 20 else place.relief.base))
    return layer, z, marks


def _paint_spot(spot, view: View, when: Season, year: int, layer: Layer, villages: np.ndarray) -> None:
    radius = spot.radius * (1 + 0.012 * (year - 2020) if spot.kind == "village" else 1)
    window = view.box(spot.x, spot.y, radius * 1.6)
    if window is None:
        return
    dx, dy = window.x - np.float32(spot.x), window.y - np.float32(spot.y)
    far = np.sqrt(dx * dx + dy * dy) + window.noise(mix_key(spot.land.key, 30), 45.0) * np.float32(
        radius * 0.16
    )
    below = layer.window(window.rows, window.cols)
    mask = (far < np.float32(radius)) & (below.cover != WATER)
    below.merge(paint_land(window, spot.land, when, year), mask)
    if spot.kind == "village":
        villages[window.rows, window.cols] |= mask


def _cloud_field(air: Air, view: View) -> np.ndarray:
    field = view.noise(mix_key(air.key, 1), 520.0) + view.noise(mix_key(air.key, 2), 190.0) * np.float32(0.45)
    return field + view.noise(mix_key(air.key, 3), 60.0) * np.float32(0.16)


def render(place: Place, air: Air, when: Season, cloud_cover: float, gsd: float) -> Rendering:
    """Render a place.

    Args:
        place: From :func:`place.draw_place`.
        air: From :func:`draw_air`.
        when: Date, sun and vegetation.
        cloud_cover: Fraction of the tile's pixels under cloud; met exactly up to one pixel of 256 × 256.
        gsd: Metres per pixel of the 64 × 64 image.
    """
    view = View(gsd / 4)
    layer, z, marks = _paint(place, view, when, when.date.year)
    rgb, cover = layer.rgb, layer.cover
    light = illumination(z, view.step, when)
    np.copyto(light, np.float32(1), where=cover == WATER)
    np.copyto(light, np.float32(0.35), where=cast_shadow(layer.height, view.step, when))
    snow = max(0.0, min(1.0, (when.snow - place.snowline) * 3))
    if snow:
        patchy = smoothstep(
            view.noise(mix_key(place.relief.key, 40), 60.0) * np.float32(0.5) + np.float32(2.5 * snow - 0.5)
        )
        hold = np.array([0, 0.45, 1, 1, 0.9, 0.85, 1, 0.85, 0.7, 0.35, 0.9], np.float32).take(cover) * patchy
        for plane, white in zip(rgb, (0.62, 0.64, 0.66), strict=True):
            plane += (np.float32(white) - plane) * hold
    clouds = np.zeros(view.shape, bool)
    opacity = None
    count = int(cloud_cover * SIZE * SIZE + 0.5)
    if count:
        field = _cloud_field(air, view)
        threshold = np.partition(field.ravel(), SIZE * SIZE - count)[SIZE * SIZE - count]
        clouds = field >= threshold
        opacity = (
            smoothstep((field - threshold) * np.float32(1.1) + np.float32(0.28)) * np.float32(0.96) * clouds
        )
        east, north, up = when.sun
        far = 110 * gsd / up * 0.9  # a cloud base that keeps the shadow near, whatever the scale
        there = View(view.step, offset=(east * far, north * far))
        dark = smoothstep((_cloud_field(air, there) - threshold) * np.float32(1.1) + np.float32(0.28))
        light *= np.float32(1) - np.float32(0.62) * dark
    image_hr = np.empty((3, *view.shape), np.uint8)
    for k in range(3):
        plane = rgb[k] * light
        plane *= np.float32(air.transmit[k] * DN)
        plane += np.float32(air.path[k] * DN)
        if opacity is not None:
            plane += (np.float32((238, 240, 246)[k]) - plane) * opacity
        plane += np.float32(0.5)
        image_hr[k] = np.clip(plane, 0, 255).astype(np.uint8)
    image = expose(image_hr, air.noise, Dice(CLASSES.index(place.label), place.seed, "sensor"))
    return Rendering(
        image,
        np.ascontiguousarray(image_hr.transpose(1, 2, 0)),
        cover,
        z.astype(np.float32),
        clouds,
        marks,
        snow,
    )


def _sampling_matrix() -> np.ndarray:
    """float32 integers [64, 256]: point spread and sampling along one axis, edges repeated."""
    matrix = np.zeros((SIZE // 4, SIZE), np.float32)
    for row in range(SIZE // 4):
        for tap, weight in enumerate(PSF):
            matrix[row, min(max(4 * row - 4 + tap, 0), SIZE - 1)] += weight
    return matrix


_SAMPLING = _sampling_matrix()


def expose(image_hr: np.ndarray, noise: float, dice: Dice) -> np.ndarray:
    """The sensor model: point spread, sampling every fourth pixel, additive noise, 8 bits.

    All products are integers below 2^24, hence exact in float32 on any BLAS.

    Args:
        image_hr: uint8 ``[3, 256, 256]``.
        noise: Standard deviation of the noise in digital numbers.
        dice: Stream of the noise.

    Returns:
        uint8 ``[64, 64, 3]``.
    """
    blurred = _SAMPLING @ image_hr.astype(np.float32) @ _SAMPLING.T
    bell = dice.bytes(blurred.size * 4).reshape(4, *blurred.shape).sum(0, dtype=np.int32) - 510
    value = blurred.astype(np.float64) / 65536 + bell * (noise / 147.8) + 0.5
    return np.ascontiguousarray(np.clip(np.floor(value), 0, 255).astype(np.uint8).transpose(1, 2, 0))
