"""What can be said truly about a rendering: measured on its maps."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import label as components

from .place import Place
from .season import Season
from .view import BUILDING, CROP, GRASS, LANDCOVER, ROAD, SIZE, TREES, WATER

_NAMES = {number: name for name, (number, _) in LANDCOVER.items()}
_ROWS, _COLUMNS = ("top", "", "bottom"), ("left", "", "right")


def position(mask: np.ndarray) -> str:
    """Where the pixels of a mask are centred: "top left", "left", "centre", ... (nine fields of the tile)."""
    rows, cols = np.nonzero(mask)
    if len(rows) == 0:
        return ""
    height, width = mask.shape
    row = min(2, int(rows.sum()) * 3 // (len(rows) * height))
    col = min(2, int(cols.sum()) * 3 // (len(cols) * width))
    return f"{_ROWS[row]} {_COLUMNS[col]}".strip() or "centre"


def sides(mask: np.ndarray) -> list[str]:
    """The sides of the tile that a mask touches with at least three pixels, clockwise from the left."""
    edges = {"left": mask[:, 0], "top": mask[0], "right": mask[:, -1], "bottom": mask[-1]}
    return [name for name, edge in edges.items() if np.count_nonzero(edge) >= 3]


def _objects(mask: np.ndarray, least: int) -> list[str]:
    """Positions of the connected parts of a mask that have at least ``least`` pixels, left to right."""
    small = mask.reshape(SIZE // 2, 2, SIZE // 2, 2).any((1, 3))
    parts, count = components(small, structure=np.ones((3, 3)))
    found = []
    for part in range(1, count + 1):
        here = parts == part
        if 4 * np.count_nonzero(here) >= least:
            found.append((int(np.nonzero(here)[1].sum()) // np.count_nonzero(here), position(here)))
    return [where for _, where in sorted(found)]


def observe(place: Place, rendering, when: Season, metadata: dict) -> dict:
    """Facts of a scene.

    Returns:
        ``season``, ``month``, ``snow`` (bool), ``cloud_cover``, ``clouds_at``, ``sun`` (words);
        ``shares`` (land cover to percent, largest first), ``positions`` (land cover to where it is);
        ``villages``, ``ponds``, ``bridges`` (positions, left to right); ``river``, ``motorway`` (dict or
        ``None``); ``fields`` ("green", "bare", "mixed" or ``None``); ``relief`` in metres.
    """
    cover, marks = rendering.landcover, rendering.marks
    counts = np.bincount(cover.ravel(), minlength=len(LANDCOVER))
    order = sorted((int(-n), _NAMES[i]) for i, n in enumerate(counts) if n >= 0.005 * SIZE * SIZE)
    shares = {name: round(-100 * n / SIZE**2) for n, name in order}
    positions = {name: position(cover == LANDCOVER[name][0]) for name in shares}
    step = metadata["gsd"] / 4
    homes = marks["village"] & (cover == BUILDING)
    villages = _objects(marks["village"], max(24, int(1200 / step**2))) if homes.any() else []
    bridge = marks["river"] & (cover == ROAD)
    return {
        "label": place.label,
        "season": when.name,
        "month": when.date.strftime("%B"),
        "snow": rendering.snow > 0.15,
        "cloud_cover": metadata["cloud_cover"],
        "clouds_at": position(rendering.clouds),
        "sun": _sun(when),
        "shares": shares,
        "positions": positions,
        "villages": villages,
        "ponds": _ponds(place, cover, step),
        "bridges": _objects(bridge, 12),
        "river": _course(marks["river"], place.river and place.river.curve.loops is not None, cover),
        "motorway": _course(marks["motorway"], False, cover) and {
            "sides": sides(marks["motorway"]),
            "position": position(marks["motorway"]),
            "junction": next((r.junction for r in place.roads if r.motorway and r.junction != "none"), "none")
            if metadata["gsd"] >= 8
            else "none",
        },
        "fields": _vigour(rendering, cover),
        "relief": float(np.round(rendering.elevation.max() - rendering.elevation.min(), 1)),
    }  # fmt: skip


def _sun(when: Season) -> str:
    east, north, up = when.sun
    height = "high" if up > 0.75 else "low" if up < 0.45 else "at middle height"
    return f"{height} in the {'north' if north > 0 else 'south'}-{'east' if east > 0 else 'west'}"


def _ponds(place: Place, cover: np.ndarray, step: float) -> list[str]:
    found = []
    half = (SIZE - 1) / 2
    grid = np.arange(SIZE) - half
    for spot in sorted((s for s in place.spots if s.kind == "pond"), key=lambda s: s.x):
        dx, dy = grid[None] * step - spot.x, -grid[:, None] * step - spot.y
        disc = dx * dx + dy * dy < spot.radius * spot.radius / 4
        if np.count_nonzero(disc) * step * step > 0.15 * spot.radius**2 and (cover[disc] == WATER).all():
            found.append(position(disc))
    return found


def _course(mask: np.ndarray, meandering: bool, cover: np.ndarray) -> dict | None:
    """Where a river or a motorway runs, and what lies on its two sides."""
    if np.count_nonzero(mask) < 150:
        return None
    return {"sides": sides(mask), "position": position(mask), "meanders": bool(meandering)}


def _vigour(rendering, cover: np.ndarray) -> str | None:
    """Whether the visible farmland looks green: green reflectance above red on most of it."""
    farmland = ((cover == CROP) | (cover == GRASS)) & ~rendering.clouds
    count = np.count_nonzero(farmland)
    if count < 0.1 * SIZE * SIZE:
        return None
    red, green = (rendering.image_hr[..., k][farmland].astype(np.int32) for k in (0, 1))
    share = np.count_nonzero(green > red + 12) / count
    return "green" if share > 0.65 else "bare" if share < 0.3 else "mixed"


def wooded(facts: dict) -> bool:
    """Whether trees matter in the scene."""
    return facts["shares"].get(_NAMES[TREES], 0) >= 5
