"""A scene, and batches of tiles: from a place and a date to pixels. The land is painted, lit, and looked at
through the air and the sensor.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from numbers import Integral, Real
from typing import Any

import numpy as np

from .atmosphere import Air, Season, clouds_over, draw_air, expose, season, through
from .captions import describe, observe
from .deterministic import RandomStream, mix_key, smoothstep
from .lines import paint_river, paint_road
from .nature import cast_shadow, elevation, illumination
from .place import CLASSES, Place, Spot, draw_place, paint_land
from .view import BARE, ROAD, WATER, Layer, View, surface

_MONTHS = {1: 0.15, 2: 0.3, 3: 2, 4: 5, 5: 8, 6: 9, 7: 9, 8: 9, 9: 7, 10: 3.5, 11: 0.6, 12: 0.1}


@dataclass(frozen=True, eq=False)
class Scene:
    """One simulated satellite scene with its whole truth.

    Attributes:
        label: Class name, one of :data:`CLASSES`.
        seed: Seed of the place.
        image: uint8 ``[64, 64, 3]`` at ``gsd`` metres per pixel, as the sensor sees it.
        image_hr: uint8 ``[256, 256, 3]`` at ``gsd / 4``, before point spread and noise.
        landcover: uint8 ``[256, 256]``, ids of :data:`LANDCOVER`.
        roads: bool ``[256, 256]``, paved roads and streets, bridges included.
        elevation: float32 ``[256, 256]``, metres.
        clouds: bool ``[256, 256]``; its mean is the cloud cover.
        captions: At least five true sentences.
        facts: What the captions were made from.
        metadata: ``lon``, ``lat``, ``gsd``, ``cloud_cover`` (fraction), ``year``, ``month``, ``day``.
    """

    label: str
    seed: int
    image: np.ndarray
    image_hr: np.ndarray
    landcover: np.ndarray
    roads: np.ndarray
    elevation: np.ndarray
    clouds: np.ndarray
    captions: list[str]
    facts: dict
    metadata: dict

    def __repr__(self) -> str:
        m = self.metadata
        date = f"{m['year']}-{m['month']:02d}-{m['day']:02d}"
        return f"Scene({self.label!r}, seed={self.seed}, {date}, gsd={m['gsd']:g})"


def scene(
    label: str,
    seed: int,
    *,
    date: Any = None,
    cloud_cover: float | None = None,
    gsd: float = 10.0,
    lon: float | None = None,
    lat: float | None = None,
) -> Scene:
    """Render a scene of a class.

    The place, what lies where, depends on ``(label, seed)`` alone. Date, cloud cover and position are drawn
    from ``(label, seed)`` too where they are not given; giving one changes nothing else about the place.

    Args:
        label: One of :data:`CLASSES`.
        seed: A non-negative integer.
        date: ``datetime.date``, ``"YYYY-MM-DD"`` or ``(year, month, day)``.
        cloud_cover: Fraction of the tile under cloud, 0 to 1.
        gsd: Metres per pixel of ``image``, 2 to 60; larger shows more of the place around the same centre.
        lon, lat: Degrees; the latitude sets sun, season and snow.

    Returns:
        A :class:`Scene`.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: An argument is out of range; the sentence says which values are possible.
    """
    place, rendering, when, metadata = _render(label, seed, date, cloud_cover, gsd, lon, lat)
    facts = observe(place, rendering, when, metadata)
    return Scene(
        label=label, seed=int(seed), image=rendering.image, image_hr=rendering.image_hr,
        landcover=rendering.landcover, roads=rendering.landcover == ROAD, elevation=rendering.elevation,
        clouds=rendering.clouds, captions=describe(facts, label, int(seed)), facts=facts, metadata=metadata
    )  # fmt: skip


def tiles(
    labels: str | Iterable[str],
    seeds: Iterable[int],
    *,
    date: Any = None,
    cloud_cover: float | None = None,
    gsd: float = 10.0,
) -> np.ndarray:
    """The ``image`` of many scenes, without the maps' descriptions.

    Args:
        labels: One class for all, or one per seed.
        seeds: Seeds of the places.
        date, cloud_cover, gsd: As for :func:`scene`, the same for all tiles.

    Returns:
        uint8 ``[N, 64, 64, 3]``, byte for byte ``scene(label, seed, ...).image``.
    """
    seeds = list(seeds)
    labels = [labels] * len(seeds) if isinstance(labels, str) else list(labels)
    if len(labels) != len(seeds):
        raise ValueError(
            f"{len(labels)} labels for {len(seeds)} seeds; give one label for all, or one per seed."
        )
    out = np.empty((len(seeds), 64, 64, 3), np.uint8)
    for row, label, seed in zip(out, labels, seeds, strict=True):
        row[:] = _render(label, seed, date, cloud_cover, gsd, None, None)[1].image
    return out


@lru_cache(maxsize=16)
def _place(label: str, seed: int) -> Place:
    return draw_place(label, seed)


def _render(label, seed, date, cloud_cover, gsd, lon, lat) -> tuple[Place, Rendering, object, dict]:
    if not isinstance(label, str) or label not in CLASSES:
        raise ValueError(f"Unknown label {label!r}; the classes are {', '.join(CLASSES)}.")
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise TypeError(f"seed must be an integer, not {type(seed).__name__}.")
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed is {seed}; it must be between 0 and 2**64 - 1.")
    gsd = _number("gsd", gsd, 2, 60, "metres per pixel")
    place, air = _place(label, int(seed)), draw_air(RandomStream(CLASSES.index(label), int(seed), "air"))
    lat = place.lat if lat is None else _number("lat", lat, -90, 90, "degrees")
    lon = place.lon if lon is None else _number("lon", lon, -180, 180, "degrees")
    cloud_cover = (
        air.cloud if cloud_cover is None else _number("cloud_cover", cloud_cover, 0, 1, "a fraction")
    )
    day = _draw_date(place) if date is None else _parse_date(date)
    when = season(day, lat, place.dryness, place.chill)
    metadata = {
        "lon": lon, "lat": lat, "gsd": gsd, "cloud_cover": cloud_cover,
        "year": day.year, "month": day.month, "day": day.day,
    }  # fmt: skip
    return place, render(place, air, when, cloud_cover, gsd), when, metadata


def _number(name: str, value, low: float, high: float, unit: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}.")
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}; it must be between {low} and {high} ({unit}).")
    return float(value)


def _draw_date(place: Place) -> datetime.date:
    """A date in the growing season more often than not, as cloud-free archives have them."""
    rng = RandomStream(CLASSES.index(place.label), place.seed, "date")
    month = rng.pick(_MONTHS)
    if place.lat < 0:
        month = (month + 5) % 12 + 1
    return datetime.date(rng.integer(2016, 2024), month, rng.integer(1, 28))


def _parse_date(date) -> datetime.date:
    if isinstance(date, datetime.datetime):
        return date.date()
    if isinstance(date, datetime.date):
        return date
    try:
        if isinstance(date, str):
            return datetime.date.fromisoformat(date)
        year, month, day = (int(part) for part in date)
        return datetime.date(year, month, day)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"date {date!r} is not a calendar date ({error}); "
            'give a datetime.date, "YYYY-MM-DD" or (year, month, day).'
        ) from None


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
