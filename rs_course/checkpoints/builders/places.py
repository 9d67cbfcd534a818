"""Metadata of DiffusionSat's training sets: where, when and how finely, from each data set's own files.

Every function returns a dict with physical units, as ``Checkpoint.sample(metadata=...)`` takes it; a field
that the data set does not know is missing. ``gsd`` is that of the resized picture: native gsd × shorter side
/ target resolution.
"""

from __future__ import annotations

import math
import re

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


def _fields(lon, lat, gsd, cloud_cover, date) -> dict[str, float]:
    place = {} if lon is None else {"lon": lon, "lat": lat}
    when = {} if date is None else dict(zip(("year", "month", "day"), date, strict=True))
    return {**place, "gsd": gsd, "cloud_cover": cloud_cover, **when}


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


def fmow_location(rows, img_filename: str, category: str) -> tuple[float, float]:
    """Longitude and latitude of an fMoW image from the table of its footprints.

    Args:
        rows: Dicts with category, location_id, image_id and polygon (``csv.DictReader`` of the published
            table).
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


def fmow_metadata(metadata: dict, location, size, resolution: int) -> dict[str, float]:
    """Functional Map of the World.

    Args:
        metadata: Content of the image's ``metadata.json``.
        location: (lon, lat), e.g. from :func:`fmow_location`.
        size: (height, width) of the stored image.
        resolution: Side of the generated image in pixels.
    """
    gsd = _resized(metadata["gsd"], size, resolution)
    return _fields(*location, gsd, metadata["cloud_cover"] / 100, _date(metadata["timestamp"]))


def texas_metadata(key: str, metadata: dict, size, resolution: int) -> dict[str, float]:
    """Texas housing; ``key`` names the picture, e.g. ``"tif.sentinel-2016.npy"``."""
    gsd = _resized(10.0 if "sentinel" in key else 1.0, size, resolution)
    date = (2016, 9, 11) if "2016" in key else (2018, 11, 20)
    return _fields(metadata["parcel.lon"], metadata["parcel.lat"], gsd, 0.0, date)


def xbd_metadata(metadata: dict, other: dict, size, resolution: int) -> dict[str, float]:
    """xBD; the place is the first building's, of this date or of the ``other``; without buildings it is
    unknown.
    """
    buildings = metadata["features"]["lng_lat"] or other["features"]["lng_lat"]
    place = centroid(buildings[0]["wkt"]) if buildings else (None, None)
    own = metadata["metadata"]
    return _fields(*place, _resized(own["gsd"], size, resolution), 0.0, _date(own["capture_date"]))


def spacenet_metadata(city: str, geojson: dict | None, size, resolution: int) -> dict[str, float]:
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
    return _fields(lon, lat, gsd, 0.0, date)


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
    size,
    resolution: int,
    scale_factor: float = 1.0,
    *,
    as_trained=True,
) -> dict[str, float]:
    """Satlas.

    Args:
        tile: Column and row of the picture's tile in the web map at zoom 17.
        image_name: Ends in the date, e.g. ``"naip_2020-11-30"``.
        size: (height, width) of the stored image.
        resolution: Side of the generated image in pixels.
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
    return _fields(lon, lat, gsd, 0.0, _date(image_name.split("_")[-1]))
