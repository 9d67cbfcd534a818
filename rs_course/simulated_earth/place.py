"""What there is at a place, drawn once from (label, seed), whatever the date, the clouds or the scale.

A place has land of some kind, and zones and spots that carry another.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from .atmosphere import Season
from .deterministic import RandomStream, mix_key
from .farmland import Farm, draw_farm, paint_farm
from .lines import Curve, River, Road, crossing, draw_curve, draw_road
from .nature import (
    Relief,
    Wild,
    draw_forest,
    draw_relief,
    draw_scrub,
    draw_water,
    paint_forest,
    paint_scrub,
    paint_water,
)
from .settlements import Estate, Town, draw_estate, draw_town, paint_estate, paint_town
from .view import Layer, View

Land = Farm | Wild | Town | Estate

# How often the sea and lakes, and rivers and ponds, have each of view.WATERS.
SEA = {
    "dark blue": 4.0, "blue": 2.8, "teal": 1.6, "turquoise": 1.0, "green": 0.8, "olive": 1.0, "silty": 0.6,
    "bright": 0.12
}  # fmt: skip
STREAM = {
    "dark blue": 1.2, "blue": 2.4, "teal": 2.4, "turquoise": 0.6, "green": 0.5, "olive": 2, "silty": 0.6
}  # fmt: skip


def draw_land(rng: RandomStream, kind: str, dryness: float) -> Land:
    """Draw one kind of land."""
    if kind in ("annual", "permanent", "pasture"):
        return draw_farm(rng, kind, dryness)
    if kind == "forest":
        return draw_forest(rng)
    if kind == "scrub":
        return draw_scrub(rng, dryness)
    if kind == "water":
        return draw_water(rng, SEA)
    return draw_town(rng, dryness) if kind == "town" else draw_estate(rng, dryness)


def paint_land(view: View, land: Land, when: Season, year: int) -> Layer:
    """Paint one kind of land over a view."""
    if isinstance(land, Farm):
        return paint_farm(view, land, when)
    if isinstance(land, Town):
        return paint_town(view, land, when, year)
    if isinstance(land, Estate):
        return paint_estate(view, land, when, year)
    return {"forest": paint_forest, "scrub": paint_scrub, "water": paint_water}[land.kind](view, land, when)


@dataclass(frozen=True)
class Zone:
    """A second land beside the first: on the left of ``curve``, or where a smooth field exceeds ``above``."""

    land: Land
    curve: Curve | None = None
    key: int = 0
    spacing: float = 300.0
    above: float = 0.0

    def mask(self, view: View) -> np.ndarray:
        """Pixels that it covers, bool ``[H, W]``."""
        if self.curve is not None:
            return self.curve.frame(view)[1] > 0
        wobble = view.noise(mix_key(self.key, 1), 30.0) * np.float32(0.12)
        return view.noise(self.key, self.spacing) + wobble > np.float32(self.above)

    def paint(self, view: View, layer: Layer, when: Season, year: int) -> None:
        """Paint this zone over ``layer``; only the windows it touches are rendered."""
        mask = self.mask(view)
        if (window := view.around(mask)) is None:
            return
        inner = mask[window.rows, window.cols]
        layer.window(window.rows, window.cols).merge(paint_land(window, self.land, when, year), inner)


@dataclass(frozen=True)
class Spot:
    """A village, farmstead or pond around a point (metres east and north of the tile's centre)."""

    x: float
    y: float
    radius: float
    kind: str
    stream: tuple  # arguments of the RandomStream from which its land is drawn when it comes into view
    dryness: float

    def land(self) -> Land:
        """Pixels that are no water, bool ``[H, W]``."""
        rng = RandomStream(*self.stream)
        if self.kind == "pond":
            return draw_water(rng, STREAM)
        if self.kind == "farm" and rng.chance(0.4):
            return draw_estate(rng, self.dryness)
        return draw_town(rng, self.dryness)


CLASSES = (
    "AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture", "PermanentCrop",
    "Residential", "River", "SeaLake",
)  # fmt: skip

# (west, east, south, north, dryness low, dryness high, weight): mostly European, as EuroSAT.
_REGIONS = (
    (-5, 12, 45, 54, 0.0, 0.3, 4.0), (8, 28, 46, 57, 0.05, 0.4, 4.0), (-8, 0, 37, 43, 0.5, 1.0, 2.0),
    (9, 26, 36, 44, 0.4, 1.0, 2.0), (10, 28, 58, 65, 0.0, 0.2, 0.8), (-98, -80, 36, 46, 0.1, 0.5, 0.8),
    (-64, -58, -38, -31, 0.1, 0.6, 0.5), (138, 150, -38, -33, 0.3, 1.0, 0.5),
    (170, 176, -46, -40, 0.0, 0.3, 0.3)
)  # fmt: skip

_RURAL = {"annual": 2.2, "pasture": 2.4, "forest": 1.5, "scrub": 0.8, "permanent": 0.4}
_AROUND = {  # what lies beside a motorway, a river, a town, an estate, a shore
    "Highway": {**_RURAL, "town": 2.0, "estate": 1.5},
    "River": {**_RURAL, "annual": 1.6, "forest": 3.0, "town": 1.3, "estate": 0.7},
    "Residential": {**_RURAL, "estate": 0.5},
    "Industrial": {**_RURAL, "town": 1.0},
    "SeaLake": {"forest": 1.5, "scrub": 1.0, "town": 0.7, "pasture": 0.7, "annual": 0.4, "estate": 0.3},
}
_MAIN = {
    "AnnualCrop": "annual", "PermanentCrop": "permanent", "Pasture": "pasture", "Forest": "forest",
    "HerbaceousVegetation": "scrub", "Industrial": "estate", "Residential": "town", "SeaLake": "water"
}  # fmt: skip
_RELIEF = {
    "AnnualCrop": {"flat": 2, "rolling": 1}, "PermanentCrop": {"flat": 1, "rolling": 1.2, "hilly": 0.5},
    "Pasture": {"flat": 1, "rolling": 1.5, "hilly": 0.2},
    "Forest": {"rolling": 1, "hilly": 1.2, "mountain": 0.4},
    "HerbaceousVegetation": {"rolling": 0.6, "hilly": 1.0, "mountain": 1.2, "gullied": 1.2},
    "Highway": {"flat": 1, "rolling": 1}, "Industrial": {"flat": 1}, "Residential": {"flat": 1, "rolling": 1},
    "River": {"flat": 1, "rolling": 1}, "SeaLake": {"rolling": 1, "hilly": 0.5}
}  # fmt: skip
_BYROADS = {"Forest": 0.04, "HerbaceousVegetation": 0.1, "SeaLake": 0.0, "Industrial": 0.12, "River": 0.35}


@dataclass(frozen=True)
class Place:
    """Everything that does not depend on the date.

    Attributes:
        dryness: 0 for an oceanic to 1 for a mediterranean climate.
        chill, snowline: How harsh the winter is, and how much cold it takes until snow lies, 0 to 1.
        ground: The land that lies under everything else.
        shore: The coast line, with whether it has surf.
        roads: In painting order: what comes later crosses above.
    """

    label: str
    seed: int
    lon: float
    lat: float
    dryness: float
    chill: float
    snowline: float
    relief: Relief
    ground: Land
    zones: tuple[Zone, ...]
    shore: tuple[Curve, bool] | None
    river: River | None
    roads: tuple[Road, ...]
    spots: tuple[Spot, ...]


@dataclass
class _Draft:
    """A place while it is being drawn."""

    rng: RandomStream
    label: str
    dryness: float
    zones: list[Zone] = field(default_factory=list)
    roads: list[Road] = field(default_factory=list)
    river: River | None = None
    shore: tuple[Curve, bool] | None = None

    def beside(self) -> Land:
        """Some land of the surroundings."""
        return draw_land(self.rng, self.rng.pick(_AROUND.get(self.label, _RURAL)), self.dryness)

    def road(self, curve: Curve, motorway: bool = False) -> Road:
        return draw_road(self.rng, curve, motorway=motorway, dryness=self.dryness)


def _motorway(draft: _Draft) -> None:
    """A motorway, perhaps with a junction and a road across it, and another land on its left."""
    rng = draft.rng
    road = draft.road(draw_curve(rng, 110, rng.uniform(0, 1)), motorway=True)
    if road.junction != "none" or rng.chance(0.25):
        draft.roads.append(crossing(rng, road, rng.chance(0.35), draft.dryness))
    draft.roads.append(road)
    if rng.chance(0.5):
        draft.zones.append(Zone(draft.beside(), curve=road.curve))


def _river(draft: _Draft) -> None:
    """A river, straight or meandering, with roads on its levees."""
    rng = draft.rng
    loops = (rng.uniform(20, 110), rng.uniform(200, 460)) if rng.chance(0.5) else None
    curve = replace(draw_curve(rng, 90, rng.uniform(0, 1.2)), loops=loops)
    width = rng.uniform(20, 60) if rng.chance(0.3) else rng.uniform(60, 300)
    draft.river = River(
        curve=curve, width=width, swell=rng.uniform(0, 0.06), water=draw_water(rng, STREAM),
        bank_trees=rng.uniform(0, 1), sand=rng.uniform(0.2, 1) if rng.chance(0.35) else 0.0
    )  # fmt: skip
    if rng.chance(0.6):
        draft.zones.append(Zone(draft.beside(), curve=curve))
    for side in (-1, 1):
        if rng.chance(0.35):
            levee = replace(curve, offset=curve.offset + side * (width * 0.55 + rng.uniform(8, 60)))
            draft.roads.append(draft.road(levee))


def _outskirts(draft: _Draft) -> None:
    """The edge of a town or an estate."""
    if draft.rng.chance(0.45):
        edge = draw_curve(draft.rng, 0, draft.rng.uniform(0, 1))
        edge = replace(edge, offset=draft.rng.uniform(90, 330))
        draft.zones.append(Zone(draft.beside(), curve=edge))


def _coast(draft: _Draft) -> None:
    """A shore with surf or rock."""
    rng = draft.rng
    if rng.chance(0.15):
        edge = draw_curve(rng, 0, rng.uniform(0, 1.5))
        edge = replace(edge, offset=rng.uniform(120, 330), loops=(rng.uniform(5, 40), 220.0))
        draft.zones.append(Zone(draft.beside(), curve=edge))
        draft.shore = (edge, rng.chance(0.5))


_FEATURES = {
    "Highway": _motorway,
    "River": _river,
    "Residential": _outskirts,
    "Industrial": _outskirts,
    "SeaLake": _coast,
}


def _patch(draft: _Draft) -> None:
    """A wood, a heath or a meadow somewhere in open country."""
    rng = draft.rng
    if not rng.chance({"Forest": 0.35, "HerbaceousVegetation": 0.4}.get(draft.label, 0.3)):
        return
    wild = rng.pick({"scrub": 3, "pasture": 0.4, "forest": 0.6})
    kind = {"Forest": "forest", "HerbaceousVegetation": wild}.get(draft.label)
    land = draw_land(rng, kind or rng.pick({"forest": 2, "scrub": 1, "pasture": 0.5}), draft.dryness)
    draft.zones.append(Zone(land, key=rng.key(), spacing=rng.uniform(150, 400), above=rng.uniform(0.7, 1.7)))


def draw_place(label: str, seed: int) -> Place:
    """Draw a place of a class; a function of (label, seed) alone."""
    rng = RandomStream(CLASSES.index(label), seed, "place")
    west, east, south, north, low, high, _ = _REGIONS[rng.pick({i: r[-1] for i, r in enumerate(_REGIONS)})]
    lon, lat = round(rng.uniform(west, east), 4), round(rng.uniform(south, north), 4)
    dryness = rng.uniform(low, high)
    chill, snowline = rng.uniform(), rng.uniform(0.2, 0.7)
    relief = draw_relief(rng, rng.pick(_RELIEF[label]))
    draft = _Draft(rng, label, dryness)
    ground = draw_land(rng, _MAIN[label], dryness) if label in _MAIN else draft.beside()
    if label in _FEATURES:
        _FEATURES[label](draft)
    if label not in ("SeaLake", "Industrial", "Residential"):
        _patch(draft)
    while len(draft.roads) < 4 and rng.chance(_BYROADS.get(label, 0.22)):
        turn = rng.uniform(0, 1)
        draft.roads.insert(0, draft.road(draw_curve(rng, 260, turn)))
    return Place(
        label=label, seed=seed, lon=lon, lat=lat, dryness=dryness, chill=chill, snowline=snowline,
        relief=relief, ground=ground, zones=tuple(draft.zones), shore=draft.shore, river=draft.river,
        roads=tuple(draft.roads), spots=tuple(_draw_spots(rng, label, seed, dryness))
    )  # fmt: skip


def _draw_spots(rng: RandomStream, label: str, seed: int, dryness: float) -> list[Spot]:
    """Villages, farmsteads and ponds in sight, and villages farther out for wider views."""
    spots = []
    rural = label in ("AnnualCrop", "Pasture", "PermanentCrop", "Highway", "River")
    if rural:
        chance = {"AnnualCrop": 0.06, "Pasture": 0.2, "PermanentCrop": 0.15}.get(label, 0.35)
        for kind, limit, low, high in (("village", 3, 45, 110), ("farm", 3, 16, 32), ("pond", 2, 14, 40)):
            count = 0
            while count < limit and rng.chance(chance if kind != "pond" else chance * 0.4):
                count += 1
                spots.append((kind, rng.uniform(-270, 270), rng.uniform(-270, 270), rng.uniform(low, high)))
        for _ in range(4):
            x, y = rng.direction()
            far = rng.uniform(520, 2400)
            spots.append(("village", x * far, y * far, rng.uniform(80, 220)))
    number = CLASSES.index(label)
    return [
        Spot(x, y, radius, kind, (number, seed, f"spot {i}"), dryness)
        for i, (kind, x, y, radius) in enumerate(spots)
    ]
