"""What can be said truly about a rendering, measured on its maps; and sentences made from that alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation
from scipy.ndimage import label as components

from .atmosphere import Season
from .deterministic import RandomStream
from .place import CLASSES, Place
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


def observe(place: Place, rendering: Any, when: Season, metadata: dict) -> dict:
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
        "river": _river(place, marks["river"], cover), "motorway": _direction(marks["motorway"]),
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
    course = _direction(mask)
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


def _direction(mask: np.ndarray) -> dict | None:
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


_SUBJECT = {
    "AnnualCrop": ("annual crops", "fields of annual crops", "cropland"),
    "Forest": ("forest", "a dense forest", "closed woodland"),
    "HerbaceousVegetation": ("herbaceous vegetation", "open scrub and grass", "natural grassland and shrubs"),
    "Highway": ("a motorway", "a highway and its surroundings", "a wide road"),
    "Industrial": ("an industrial area", "factories and warehouses", "industrial buildings"),
    "Pasture": ("pasture", "meadows and pasture", "grazing land"),
    "PermanentCrop": ("permanent crops", "orchards and vineyards", "a patchwork of orchards"),
    "Residential": ("a residential area", "houses and streets", "a town"),
    "River": ("a river", "a river and its banks", "a stretch of river"),
    "SeaLake": ("open water", "a sea or a lake", "a large body of water"),
}
_OUT_OF_SIGHT = {"River": "river", "Highway": "motorway"}
_VIEW = ("A satellite image of", "A Sentinel-2 view of", "An overhead picture of", "A view from orbit of")
_NUMBER = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_COVER = {
    "water": "water", "trees": "trees", "grassland": "grass", "cropland": "cropland",
    "permanent crop": "orchards and vineyards", "scrub": "scrub", "bare ground": "bare ground",
    "building": "buildings", "paved": "paved ground", "road": "roads", "garden": "gardens",
}  # fmt: skip


def place_phrase(position: str) -> str:
    """ "top left" -> "in the top left"; "centre" -> "in the centre"; "left" -> "on the left"."""
    if position == "everywhere":
        return "throughout"
    if position == "centre" or " " in position:
        return f"in the {position}"
    return f"at the {position}" if position in ("top", "bottom") else f"on the {position}"


def counted(positions: list[str], noun: str) -> str:
    """ "two villages, on the left and in the top right"; "two ponds, both in the centre"."""
    where = [place_phrase(p) for p in positions]
    many = len(where)
    number = _NUMBER[many] if many < len(_NUMBER) else str(many)
    if many == 1:
        return f"{number} {noun}, {where[0]}"
    if len(set(where)) == 1:
        return f"{number} {noun}s, {'both' if many == 2 else 'all'} {where[0]}"
    return f"{number} {noun}s, {', '.join(where[:-1])} and {where[-1]}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def describe(facts: dict, label: str, seed: int) -> list[str]:
    """At least five sentences; wording varies with (label, seed), truth comes from ``facts``."""
    rng = RandomStream(CLASSES.index(label), seed, "captions")

    def one_of(*options: str) -> str:
        return options[rng.integer(0, len(options) - 1)]

    subject = one_of(*_SUBJECT[label])
    if label in _OUT_OF_SIGHT and facts[_OUT_OF_SIGHT[label]] is None:
        subject = f"land near a {_OUT_OF_SIGHT[label]}"  # a wide bend or a small gsd can leave it outside
    season = one_of(f"in {facts['season']}", f"in {facts['month']}")
    sentences = [_sentence(f"{one_of(*_VIEW)} {subject} {season}")]
    sentences.append(composition(facts, one_of))
    sentences += _lines(facts, one_of)
    sentences += _counts(facts, one_of)
    sentences.append(_sky(facts, one_of))
    sentences.append(_weather(facts, one_of))
    if facts["relief"] > 40:
        sentences.append(_sentence(f"the ground's height varies by about {facts['relief']:.0f} metres"))
    sentences.append(_sentence(f"{one_of('the sun stands', 'the light comes from a sun')} {facts['sun']}"))
    return sentences


def composition(facts: dict, one_of: Callable[..., str]) -> str:
    """ "Water covers most of the tile, with trees on the left.", from ``facts["shares"]`` (largest first) and
    ``facts["positions"]``; ``one_of`` chooses the wording.
    """
    shares = [(name, share) for name, share in facts["shares"].items() if share >= 4]
    first, share = shares[0]
    start = f"{_COVER[first]} {one_of('cover', 'take up', 'fill')} {_amount(share)} of the tile"
    if _COVER[first] in ("water", "cropland", "grass", "scrub", "bare ground", "paved ground"):
        start = start.replace(" cover ", " covers ").replace(" take ", " takes ").replace(" fill ", " fills ")
    others = [f"{_COVER[name]} {place_phrase(facts['positions'][name])}" for name, _ in shares[1:3]]
    return _sentence(
        start
        + (one_of(", with ", "; there are also ", ", next to ") + " and ".join(others) if others else "")
    )


def _amount(share: int) -> str:
    limits = {97: "nearly all", 60: "most", 42: "about half", 28: "about a third"}
    return next((words for limit, words in limits.items() if share >= limit), "a part")


def _course(course: dict, verb: str) -> str:
    edges = course["sides"]
    if len(edges) == 2:
        return f"{verb} from the {edges[0]} edge to the {edges[1]} edge"
    return f"{verb} through the {course['position']} of the tile".replace("the centre", "the middle")


def _lines(facts: dict, one_of) -> list[str]:
    found = []
    fields = {"green": "green fields", "bare": "bare and ripe fields", "mixed": "green and bare fields"}
    land = fields.get(facts["fields"], "")
    if river := facts["river"]:
        verb = one_of("meanders", "bends", "winds") if river["meanders"] else one_of("runs", "flows")
        beside = f" past {land}" if land else ""
        found.append(_sentence(f"a river {_course(river, verb)}{beside}"))
        if river["banks"]:
            found.append(_banks(*river["banks"]))
    if motorway := facts["motorway"]:
        name, verb = one_of("motorway", "highway"), one_of("runs", "cuts", "leads")
        found.append(_sentence(f"a {name} {_course(motorway, verb)}"))
    if not found and land and facts["label"] in ("AnnualCrop", "Pasture", "PermanentCrop"):
        found.append(_sentence(one_of(f"the open land looks {facts['fields']}", f"one sees {land}")))
    return found


def _banks(one: tuple[str, str], other: tuple[str, str]) -> str:
    """ "Cropland on the left and trees on the right border the river."."""
    if one[1] == other[1]:
        return _sentence(f"the land on both banks is mostly under {_COVER[one[1]]}")
    phrases = [f"{_COVER[cover]} {place_phrase(where)}" for where, cover in (one, other)]
    return _sentence(f"the river parts {phrases[0]} from {phrases[1]}")


def _counts(facts: dict, one_of) -> list[str]:
    found = []
    for key in ("villages", "ponds", "bridges"):
        if facts[key]:
            verb = one_of("there is" if len(facts[key]) == 1 else "there are", "one can count")
            found.append(_sentence(f"{verb} {counted(facts[key], key[:-1])}"))
    return found


def _sky(facts: dict, one_of) -> str:
    cover = facts["cloud_cover"]
    if cover == 0:
        return _sentence(one_of("the sky is clear", "there is no cloud", "no cloud hides the ground"))
    if cover >= 0.95:
        return _sentence("clouds hide almost the whole tile")
    share, where = round(100 * cover), place_phrase(facts["clouds_at"])
    return _sentence(f"clouds cover about {share} percent of the tile, mostly {where}")


def _weather(facts: dict, one_of) -> str:
    if facts["snow"]:
        return _sentence(one_of("snow lies on the ground", "the land is white with snow"))
    return _sentence(
        one_of(
            f"it is {facts['season']} and there is no snow",
            f"the picture was taken in {facts['month']}, without snow",
        )
    )
