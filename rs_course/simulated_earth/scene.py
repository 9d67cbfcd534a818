"""The public face: a scene, and batches of tiles."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from numbers import Integral, Real

import numpy as np

from .atmosphere import draw_air, season
from .captions import describe, observe
from .deterministic import RandomStream
from .place import CLASSES, Place, draw_place
from .render import Rendering, render
from .view import ROAD

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
    date=None,
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
    date=None,
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
