"""What can be said truly about a rendering: measured on its maps."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation
from scipy.ndimage import label as components

from .place import Place
from .season import Season
from .view import BUILDING, CROP, GARDEN, GRASS, LANDCOVER, PAVED, ROAD, SIZE, WATER

_NAMES = {number: name for name, (number, _) in LANDCOVER.items()}
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
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


def extent(mask: np.ndarray) -> str:
    """As :func:`position`, but "everywhere" for what is spread over most of the nine fields."""
    rows = np.array_split(mask, 3)
    fields = [np.count_nonzero(part) for row in rows for part in np.array_split(row, 3, axis=1)]
    return "everywhere" if min(sorted(fields)[2:]) * 27 > sum(fields) else position(mask)


def sides(mask: np.ndarray) -> list[str]:
    """The sides of the tile that a mask touches with at least three pixels, clockwise from the left."""
    edges = {"left": mask[:, 0], "top": mask[0], "right": mask[:, -1], "bottom": mask[-1]}
    return [name for name, edge in edges.items() if np.count_nonzero(edge) >= 3]


def _parts(mask: np.ndarray, least: int) -> list[np.ndarray]:
    """Masks (half resolution) of the connected parts with at least ``least`` full pixels, left to right."""
    small = mask.reshape(SIZE // 2, 2, SIZE // 2, 2).any((1, 3))
    numbered, count = components(small, structure=np.ones((3, 3)))
    parts = [numbered == part for part in range(1, count + 1)]
    parts = [part for part in parts if 4 * np.count_nonzero(part) >= least]
    return sorted(parts, key=lambda part: int(np.nonzero(part)[1].sum()) // np.count_nonzero(part))


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
    step = metadata["gsd"] / 4
    return {
        "label": place.label, "season": when.name, "month": MONTHS[when.date.month - 1],
        "snow": rendering.snow > 0.15, "cloud_cover": metadata["cloud_cover"],
        "clouds_at": position(rendering.clouds), "sun": _sun(when), "shares": shares,
        "positions": {name: extent(cover == LANDCOVER[name][0]) for name in shares},
        "villages": _villages(marks["village"], cover, step), "ponds": _ponds(place, cover, step),
        "bridges": [position(part) for part in _parts(marks["river"] & (cover == ROAD), 12)],
        "river": _river(place, marks["river"], cover), "motorway": _course(marks["motorway"]),
        "fields": _vigour(rendering, cover),
        "relief": float(np.round(rendering.elevation.max() - rendering.elevation.min(), 1))
    }  # fmt: skip


def _villages(mask: np.ndarray, cover: np.ndarray, step: float) -> list[str]:
    """Villages with houses that stand in open country, not as part of a town."""
    built = np.isin(cover, (BUILDING, GARDEN, PAVED))[::2, ::2]
    houses = (cover == BUILDING)[::2, ::2]
    found = []
    for part in _parts(mask, max(24, int(1200 / step**2))):
        around = binary_dilation(part, iterations=4) & ~part
        if (houses & part).any() and np.count_nonzero(built & around) < 0.2 * np.count_nonzero(around):
            found.append(position(part))
    return found


def _river(place: Place, mask: np.ndarray, cover: np.ndarray) -> dict | None:
    """Course of the river, and the main land cover of each bank where it parts the tile in two."""
    course = _course(mask)
    if course is None:
        return None
    banks = []
    for part in _parts(~mask, SIZE * SIZE // 20):
        counts = np.bincount(cover[::2, ::2][part], minlength=len(LANDCOVER))
        counts[WATER] = 0
        banks.append((position(part), _NAMES[int(counts.argmax())]))
    apart = len(banks) == 2 and banks[0][0] != banks[1][0]
    return {**course, "meanders": place.river.curve.loops is not None, "banks": banks if apart else []}


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


def _course(mask: np.ndarray) -> dict | None:
    """Where a river or a motorway runs; ``None`` if hardly any of it is in sight."""
    if np.count_nonzero(mask) < 150:
        return None
    return {"sides": sides(mask), "position": position(mask)}


def _vigour(rendering, cover: np.ndarray) -> str | None:
    """Whether the visible farmland looks green: green reflectance above red on most of it."""
    farmland = ((cover == CROP) | (cover == GRASS)) & ~rendering.clouds
    count = np.count_nonzero(farmland)
    if count < 0.1 * SIZE * SIZE:
        return None
    red, green = (rendering.image_hr[..., k][farmland].astype(np.int32) for k in (0, 1))
    share = np.count_nonzero(green > red + 12) / count
    return "green" if share > 0.65 else "bare" if share < 0.3 else "mixed"
