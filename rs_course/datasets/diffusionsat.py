"""Captions, metadata and condition pictures as DiffusionSat was trained on them, from the data sets' files.

>>> fmow_caption("amusement_park", "AUS")
'a fmow satellite image of a amusement park in Australia'

*Captions* are word for word: articles and spaces are reproduced as they are ("a airport", two spaces after
"houses"), because the model knows no others. Training leaves out each piece of a sentence with probability
``drop``, drawn by ``rng.random()``; the default keeps all, as one prompts the model.

*Metadata* are dicts with physical units, as ``Checkpoint.sample(metadata=...)`` takes them; a field that the
data set does not know is missing. ``gsd`` is that of the resized picture: native gsd × shorter side of
``size`` (height and width of the stored image) / ``resolution`` (side of the generated image in pixels).
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

FMOW_CATEGORIES = (
    "airport", "airport_hangar", "airport_terminal", "amusement_park", "aquaculture",
    "archaeological_site", "barn", "border_checkpoint", "burial_site", "car_dealership",
    "construction_site", "crop_field", "dam", "debris_or_rubble", "educational_institution",
    "electric_substation", "factory_or_powerplant", "fire_station", "flooded_road", "fountain",
    "gas_station", "golf_course", "ground_transportation_station", "helipad", "hospital",
    "impoverished_settlement", "interchange", "lake_or_pond", "lighthouse", "military_facility",
    "multi-unit_residential", "nuclear_powerplant", "office_building", "oil_or_gas_facility", "park",
    "parking_lot_or_garage", "place_of_worship", "police_station", "port", "prison", "race_track",
    "railway_bridge", "recreational_facility", "road_bridge", "runway", "shipyard", "shopping_mall",
    "single-unit_residential", "smokestack", "solar_farm", "space_facility", "stadium", "storage_tank",
    "surface_mine", "swimming_pool", "toll_booth", "tower", "tunnel_opening", "waste_disposal",
    "water_treatment_facility", "wind_farm", "zoo",
)  # fmt: skip


@cache
def countries() -> dict[str, str]:
    """ISO 3166 codes, of three and two letters, to names; "NA" is missing, as in the training table."""
    with (Path(__file__).parent / "countries.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    short = {row["alpha2"]: row["name"] for row in rows if row["alpha2"] != "NA"}
    return short | {row["alpha3"]: row["name"] for row in rows}


def _caption(dataset: str, *pieces: str, drop: float, rng: Any) -> str:
    name, *kept = (piece if not drop or rng.random() > drop else "" for piece in (f" {dataset}", *pieces))
    return f"a{name} satellite image{''.join(kept)}"


def fmow_caption(category: str | int, country_code: str, *, drop: float = 0.0, rng: Any = None) -> str:
    """Functional Map of the World.

    Args:
        category: One of :data:`FMOW_CATEGORIES`, or its number.
        country_code: ISO 3166 code; an unknown one is written as it is.
        drop: 0.1 in training.
        rng: What ``drop`` draws from.
    """
    name = FMOW_CATEGORIES[category] if isinstance(category, int) else category
    what, where = f" of a {name.replace('_', ' ')}", f" in {countries().get(country_code, country_code)}"
    return _caption("fmow", what, where, drop=drop, rng=rng)


def texas_caption(year_built: float, acres: float, *, drop: float = 0.0, rng: Any = None) -> str:
    """Texas housing: the year in which a house was built and the size of its parcel."""
    pieces = (" of houses ", f" built in {int(year_built)}", f" covering {acres} acres")
    return _caption("satlas", *pieces, drop=drop, rng=rng)


def xbd_caption(disaster_type: str, *, after: bool, drop: float = 0.0, rng: Any = None) -> str:
    """xBD: a place before or after a disaster (``"fire"``, ``"flooding"``, ...)."""
    when = f" {'after' if after else 'before'} being affected by a {disaster_type} natural disaster"
    return _caption("fmow", when, drop=drop, rng=rng)


def spacenet_caption(
    city: str, *, buildings: int | None = None, area: float | None = None, roads: float | None = None
) -> str:
    """SpaceNet: ``buildings`` with their ``area`` in m², or the length of the ``roads`` in metres."""
    if buildings is not None:
        what = f"{buildings} buildings covering an area of {round(area or 0, 3)} squared meters"
    else:
        what = f"roads of length {roads} meters" if roads else "no roads"
    return f"a spacenet satellite image of {what} in {city}"


def satlas_caption(items: str, *, drop: float = 0.0, rng: Any = None) -> str:
    """Satlas: what can be seen, as counts, positions or percentages."""
    return f"{_caption('satlas', drop=drop, rng=rng)} of {items}"


def append_metadata(caption: str, offset_metadata: Sequence[float]) -> str:
    """The baseline without numbers for the model: the metadata behind the caption, in words.

    ``offset_metadata`` is longitude + 180, latitude + 90, gsd, cloud cover, year - 1980, month, day; no date
    is written where all three of its numbers are 0.
    """
    lon, lat, gsd, _, year, month, day = (float(value) for value in offset_metadata)
    date = f"The date is {year}, {month}, {day}" if any((year, month, day)) else ""
    return f"{caption} at a resolution of {round(gsd, 5)}. The longitude, latitude is {lon}, {lat}. {date}"


# City: longitude, latitude, date of the images where the label files hold no shapes to take them from.
SPACENET_CITIES = {
    "vegas": (-115.176468, 36.188110, (2015, 10, 22)),
    "paris": (2.349014, 48.864716, (2016, 2, 29)),
    "shanghai": (121.469170, 31.224361, (2015, 6, 6)),
    "khartoum": (32.522854, 15.508457, (2015, 4, 13)),
    "moscow": (37.618423, 55.751244, (2018, 2, 13)),
    "mumbai": (72.877426, 19.076090, (2018, 1, 6)),
    "rio": (-43.196388, -22.908333, None),
    "rotterdam": (4.462456, 51.926517, (2019, 8, 31)),
}


def _fields(place, gsd: float, cloud_cover: float, date) -> dict[str, float]:
    where = dict(zip(("lon", "lat"), place or (), strict=False))
    when = dict(zip(("year", "month", "day"), date or (), strict=False))
    return {**where, "gsd": gsd, "cloud_cover": cloud_cover, **when}


def _date(timestamp: str) -> tuple[int, int, int]:
    return int(timestamp[:4]), int(timestamp[5:7]), int(timestamp[8:10])


def _resized(gsd: float, size, resolution: int) -> float:
    return gsd * min(size) / resolution


def centroid(wkt: str) -> tuple[float, float]:
    """Centroid of a polygon's outer ring, written as well-known text.

    Raises:
        ValueError: Not a polygon.
    """
    match = re.match(r"\s*POLYGON\s*Z?\s*\(\(([^()]*)\)", wkt)
    if not match:
        raise ValueError(f"{wkt[:40]!r} is not a POLYGON in well-known text.")
    points = [tuple(float(number) for number in point.split()[:2]) for point in match[1].split(",")]
    # Relative to the first corner: a building is a millionth of its coordinates.
    x0, y0 = points[0]
    ring = [(x - x0, y - y0) for x, y in points]
    area = cx = cy = 0.0
    for (x1, y1), (x2, y2) in zip(ring, ring[1:] + ring[:1], strict=True):
        cross = x1 * y2 - x2 * y1
        area, cx, cy = area + cross, cx + (x1 + x2) * cross, cy + (y1 + y2) * cross
    return x0 + cx / (3 * area), y0 + cy / (3 * area)


def fmow_location(rows: Iterable[dict], img_filename: str, category: str) -> tuple[float, float]:
    """Longitude and latitude of an fMoW image from the table of its footprints.

    Args:
        rows: Dicts with category, location_id, image_id and polygon (``csv.DictReader`` of the table).
        img_filename: E.g. ``"airport_204_1_rgb.jpg"``: location and image are its last two numbers.
        category: The image's category.

    Raises:
        ValueError: Not exactly one row, or a place that does not exist.
    """
    stem = re.sub(r"(_rgb|_ms)?\.(jpg|tif)$", "", img_filename)
    location, image = (int(part) for part in stem.split("_")[-2:])
    wanted = (category, location, image)
    found = [
        row for row in rows if (row["category"], int(row["location_id"]), int(row["image_id"])) == wanted
    ]
    if len(found) != 1:
        raise ValueError(
            f"{len(found)} rows describe image {image} of {category} {location}; there should be one."
        )
    lon, lat = centroid(found[0]["polygon"])
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise ValueError(f"{img_filename} lies at {lon}, {lat}, which is no place on Earth.")
    return lon, lat


def fmow_metadata(
    metadata: dict, location: tuple[float, float], size: tuple[int, int], resolution: int
) -> dict[str, float]:
    """fMoW, from the image's ``metadata.json`` and its (lon, lat), e.g. of :func:`fmow_location`."""
    gsd = _resized(metadata["gsd"], size, resolution)
    return _fields(location, gsd, metadata["cloud_cover"] / 100, _date(metadata["timestamp"]))


def texas_metadata(key: str, metadata: dict, size: tuple[int, int], resolution: int) -> dict[str, float]:
    """Texas housing; ``key`` names the picture, e.g. ``"tif.sentinel-2016.npy"``."""
    gsd = _resized(10.0 if "sentinel" in key else 1.0, size, resolution)
    date = (2016, 9, 11) if "2016" in key else (2018, 11, 20)
    return _fields((metadata["parcel.lon"], metadata["parcel.lat"]), gsd, 0.0, date)


def xbd_metadata(metadata: dict, other: dict, size: tuple[int, int], resolution: int) -> dict[str, float]:
    """xBD; the place is the first building's, of this date or of the ``other``; without any it is unknown."""
    buildings = metadata["features"]["lng_lat"] or other["features"]["lng_lat"]
    place = centroid(buildings[0]["wkt"]) if buildings else None
    own = metadata["metadata"]
    return _fields(place, _resized(own["gsd"], size, resolution), 0.0, _date(own["capture_date"]))


def spacenet_metadata(
    city: str, geojson: dict | None, size: tuple[int, int], resolution: int
) -> dict[str, float]:
    """SpaceNet; the place is the middle of the labels' bounds, or the city's where there are no labels.

    Raises:
        ValueError: A city that SpaceNet does not have.
    """
    city = city.lower()
    if city not in SPACENET_CITIES:
        raise ValueError(f"SpaceNet has no city {city!r}; its cities are {', '.join(SPACENET_CITIES)}.")
    lon, lat, date = SPACENET_CITIES[city]
    corners = [
        point for feature in (geojson or {}).get("features", []) for point in _points(feature["geometry"])
    ]
    if corners:
        xs, ys = zip(*corners, strict=True)
        lon, lat = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
        if city == "rotterdam":
            lon, lat = from_utm(lon, lat, zone=31)
    gsd = _resized(0.5 if city in ("rio", "rotterdam") else 0.3, size, resolution)
    return _fields((lon, lat), gsd, 0.0, date)


def _points(geometry: dict):
    def flat(coordinates):
        if coordinates and isinstance(coordinates[0], int | float):
            yield tuple(coordinates[:2])
        else:
            for part in coordinates:
                yield from flat(part)

    yield from flat((geometry or {}).get("coordinates") or [])


def from_utm(easting: float, northing: float, zone: int) -> tuple[float, float]:
    """Longitude and latitude of a point in a northern UTM zone (Krüger's series to third order, WGS 84)."""
    n = 1 / (2 * 298.257223563 - 1)
    radius = 6378137 / (1 + n) * (1 + n**2 / 4 + n**4 / 64)
    xi, eta = northing / (0.9996 * radius), (easting - 500_000) / (0.9996 * radius)
    beta = (n / 2 - 2 * n**2 / 3 + 37 * n**3 / 96, n**2 / 48 + n**3 / 15, 17 * n**3 / 480)
    delta = (2 * n - 2 * n**2 / 3 - 2 * n**3, 7 * n**2 / 3 - 8 * n**3 / 5, 56 * n**3 / 15)
    x = xi - sum(b * math.sin(2 * j * xi) * math.cosh(2 * j * eta) for j, b in enumerate(beta, 1))
    y = eta - sum(b * math.cos(2 * j * xi) * math.sinh(2 * j * eta) for j, b in enumerate(beta, 1))
    chi = math.asin(math.sin(x) / math.cosh(y))
    lat = chi + sum(d * math.sin(2 * j * chi) for j, d in enumerate(delta, 1))
    lon = math.radians(6 * zone - 183) + math.atan2(math.sinh(y), math.cos(x))
    return math.degrees(lon), math.degrees(lat)


def satlas_metadata(
    tile: tuple[float, float],
    image_name: str,
    size: tuple[int, int],
    resolution: int,
    scale_factor: float = 1.0,
    *,
    as_trained: bool = True,
) -> dict[str, float]:
    """Satlas.

    Args:
        tile: Column and row of the picture's tile in the web map at zoom 17.
        image_name: Ends in the date, e.g. ``"naip_2020-11-30"``.
        size, resolution: See the module's text.
        scale_factor: By which the picture was already enlarged.
        as_trained: The published training code divides the tile's numbers by ``resolution``, so that every
            picture lies near 180° west and 85° north. The model learnt these places; ``False`` gives the true
            one.
    """
    divisor = resolution if as_trained else 1
    column, row = (number / divisor for number in tile)
    lon = column / 2**17 * 360 - 180
    lat = math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * row / 2**17))))
    gsd = _resized(1.0, size, resolution) / max(scale_factor, 0.01)
    return _fields((lon, lat), gsd, 0.0, _date(image_name.split("_")[-1]))


# fMoW-Sentinel's bands and their statistics over the training set (Cong et al. 2022, SatMAE, arXiv
# 2207.08051).
BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
MEAN = (
    1370.19151926, 1184.3824625, 1120.77120066, 1136.26026392, 1263.73947144, 1645.40315151, 1846.87040806,
    1762.59530783, 1972.62420416, 582.72633433, 14.77112979, 1732.16362238, 1247.91870117,
)  # fmt: skip
STD = (
    633.15169573, 650.2842772, 712.12507725, 965.23119807, 948.9819932, 1108.06650639, 1258.36394548,
    1233.1492281, 1364.38688993, 472.37967789, 14.3114637, 1310.36996126, 1087.6020813,
)  # fmt: skip
# RGB first; the three atmospheric bands (B1, B9, B10) are dropped.
CONDITION = tuple(
    BANDS.index(band) for band in ("B4", "B3", "B2", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
)


def stretch(values: np.ndarray) -> np.ndarray:
    """Digital numbers ``[..., 13]`` to uint8: each band's mean ± two standard deviations become 0..255."""
    mean, std = np.array(MEAN), np.array(STD)
    return np.clip((values - (mean - 2 * std)) / (4 * std) * 255, 0, 255).astype(np.uint8)


def sentinel_condition(values: np.ndarray, resolution: int | None = 256) -> torch.Tensor:
    """A condition picture from a Sentinel-2 tile.

    Args:
        values: Digital numbers ``[H, W, 13]`` in the order of :data:`BANDS`.
        resolution: Side of the result (half the generated image's); ``None`` keeps the size.

    Returns:
        Float tensor ``[1, 10, resolution, resolution]`` in [0, 1]: B4 B3 B2 B5 B6 B7 B8 B8A B11 B12.

    Raises:
        ValueError: Not thirteen bands.
    """
    import torch
    import torch.nn.functional as F

    values = np.asarray(values)
    if values.ndim != 3 or values.shape[2] != len(BANDS):
        raise ValueError(f"A Sentinel-2 tile is [H, W, 13] ({', '.join(BANDS)}), not {list(values.shape)}.")
    bands = torch.from_numpy(stretch(values)[..., list(CONDITION)]).float().movedim(-1, 0)[None] / 255
    if resolution is None:
        return bands
    height, width = bands.shape[-2:]
    scale = resolution / min(height, width)
    size = (max(resolution, round(height * scale)), max(resolution, round(width * scale)))
    bands = F.interpolate(bands, size=size, mode="bilinear", antialias=True, align_corners=False)
    top, left = ((side - resolution) // 2 for side in bands.shape[-2:])
    return bands[..., top : top + resolution, left : left + resolution]


def percentile_stretch(values: np.ndarray, low: float = 2, high: float = 98) -> np.ndarray:
    """16-bit pictures ``[H, W, C]`` to [0, 1]: each channel's percentiles ``low`` and ``high`` become 0 and
    1.
    """
    values = np.asarray(values, dtype=np.float64)
    bottom, top = np.percentile(values, [low, high], axis=(0, 1))
    return np.clip((values - bottom) / (top - bottom + 1e-5), 0, 1)
