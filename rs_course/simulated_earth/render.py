"""From a place and a date to pixels: paint the land, light it, look at it through the air and the sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .atmosphere import Air, Season, clouds_over, expose, through
from .deterministic import RandomStream, mix_key, smoothstep
from .lines import paint_river, paint_road
from .nature import cast_shadow, elevation, illumination
from .place import CLASSES, Place, Spot, paint_land
from .view import BARE, WATER, Layer, View, surface


@dataclass(frozen=True)
class Rendering:
    """Pixels and maps of one view of a place; all 256 × 256 but ``image``.

    Attributes:
        marks: Masks of what the land cover does not tell apart: ``village``, ``river`` (also under bridges)
            and ``motorway``.
        snow: How far snow covers the land, 0 to 1.
    """

    image: np.ndarray
    image_hr: np.ndarray
    landcover: np.ndarray
    elevation: np.ndarray
    clouds: np.ndarray
    marks: dict
    snow: float


def render(place: Place, air: Air, when: Season, cloud_cover: float, gsd: float) -> Rendering:
    """Render a place.

    Args:
        place: From :func:`place.draw_place`.
        air: From :func:`atmosphere.draw_air`.
        when: Date, sun and vegetation.
        cloud_cover: Fraction of the tile's pixels under cloud; met exactly up to one pixel of 256 × 256.
        gsd: Metres per pixel of the 64 × 64 image.
    """
    view = View(gsd / 4)
    layer, z, marks = _paint(place, view, when)
    light = illumination(z, view.step, when)
    np.copyto(light, np.float32(1), where=layer.cover == WATER)
    np.copyto(light, np.float32(0.35), where=cast_shadow(layer.height, view.step, when))
    snow = max(0.0, min(1.0, (when.snow - place.snowline) * 3))
    if snow:
        _lay_snow(layer, view, mix_key(place.relief.key, 40), snow)
    clouds = clouds_over(air, view, when, cloud_cover)
    if clouds is not None:
        light *= clouds.light
    image_hr = through(air, layer.rgb, light, clouds)
    rng = RandomStream(CLASSES.index(place.label), place.seed, "sensor")
    return Rendering(
        image=expose(image_hr, air.noise, rng), image_hr=np.ascontiguousarray(image_hr.transpose(1, 2, 0)),
        landcover=layer.cover, elevation=z.astype(np.float32),
        clouds=np.zeros(view.shape, bool) if clouds is None else clouds.mask, marks=marks, snow=snow
    )  # fmt: skip


def _paint(place: Place, view: View, when: Season) -> tuple[Layer, np.ndarray, dict]:
    """Paint land, water, settlements and roads; returns the layer, the ground's height, and the marks."""
    year = when.date.year
    layer = paint_land(view, place.ground, when, year)
    z = elevation(view, place.relief)
    marks = {name: np.zeros(view.shape, bool) for name in ("village", "river", "motorway")}
    for zone in place.zones:
        zone.paint(view, layer, when, year)
    bank = None  # distance to the water in metres
    if place.shore:
        bank = place.shore[0].frame(view)[1]
        _paint_shore(place, view, bank, layer)
    if place.river:
        bank = paint_river(view, place.river, layer)
        marks["river"] = bank < 0
        if (window := view.around(marks["river"])) is not None:
            water = paint_land(window, place.river.water, when, year)
            layer.window(window.rows, window.cols).merge(water, marks["river"][window.rows, window.cols])
    for spot in place.spots:
        _paint_spot(spot, view, when, layer, marks["village"])
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


def _paint_shore(place: Place, view: View, bank: np.ndarray, layer: Layer) -> None:
    """A beach with surf before it, or a rim of pale rock; broken here and there."""
    beach = place.shore[1]
    rim = np.abs(bank) < np.float32(9) if beach else (bank > -2) & (bank < 14)
    rim &= view.noise(mix_key(place.zones[0].land.key, 31), 30.0) > np.float32(-0.5)
    tone = surface(206, 206, 206) if beach else surface(196, 178, 166)
    layer.put(rim & (bank > 0), tone * 0.9, BARE)
    layer.put(rim & (bank <= 0), tone * 0.75, WATER)


def _paint_spot(spot: Spot, view: View, when: Season, layer: Layer, villages: np.ndarray) -> None:
    """A village, farmstead or pond; villages spread with the years and never into water."""
    year = when.date.year
    radius = spot.radius * (1 + 0.012 * (year - 2020) if spot.kind == "village" else 1)
    window = view.box(spot.x, spot.y, radius * 1.6)
    if window is None:
        return
    land = spot.land()
    dx, dy = window.x - np.float32(spot.x), window.y - np.float32(spot.y)
    far = np.sqrt(dx * dx + dy * dy)
    far += window.noise(mix_key(land.key, 30), 45.0) * np.float32(radius * 0.25)
    below = layer.window(window.rows, window.cols)
    mask = (far < np.float32(radius)) & (below.cover != WATER)
    below.merge(paint_land(window, land, when, year), mask)
    if spot.kind == "village":
        villages[window.rows, window.cols] |= mask


# How well snow stays on each land cover, in the order of their ids; it slides off trees and melts on water.
_HOLD = np.array([0, 0.2, 1, 1, 0.8, 0.7, 1, 0.85, 0.7, 0.35, 0.8], np.float32)


def _lay_snow(layer: Layer, view: View, key: int, amount: float) -> None:
    """Thin old snow: pale enough to read as snow, not so bright that the 8-bit stretch hides the land."""
    patchy = smoothstep(view.noise(key, 60.0) * np.float32(0.5) + np.float32(2.5 * amount - 0.5))
    hold = _HOLD.take(layer.cover) * patchy * np.float32(0.92)
    for plane, white in zip(layer.rgb, (0.255, 0.25, 0.24), strict=True):
        plane += (np.float32(white) - plane) * hold
