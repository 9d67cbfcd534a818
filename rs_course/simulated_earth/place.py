"""What there is at a place: drawn once from (label, seed), whatever the date, the clouds or the scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .exact import Dice, mix_key
from .farmland import Farm, draw_farm, paint_farm
from .lines import Curve, River, Road, crossing, draw_curve, draw_road
from .nature import Wild, draw_forest, draw_scrub, draw_water, paint_forest, paint_scrub, paint_water
from .season import Season
from .settlements import Estate, Town, draw_estate, draw_town, paint_estate, paint_town
from .terrain import Relief, draw_relief
from .view import Layer, View

CLASSES = (
    "AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture", "PermanentCrop",
    "Residential", "River", "SeaLake",
)  # fmt: skip

# (west, east, south, north, dryness low, dryness high, weight): EuroSAT is European; some places lie elsewhere.
_REGIONS = (
    (-5, 12, 45, 54, 0.0, 0.3, 4.0), (8, 28, 46, 57, 0.05, 0.4, 4.0), (-8, 0, 37, 43, 0.5, 1.0, 2.0),
    (9, 26, 36, 44, 0.4, 1.0, 2.0), (10, 28, 58, 65, 0.0, 0.2, 0.8), (-98, -80, 36, 46, 0.1, 0.5, 0.8),
    (-64, -58, -38, -31, 0.1, 0.6, 0.5), (138, 150, -38, -33, 0.3, 1.0, 0.5), (170, 176, -46, -40, 0.0, 0.3, 0.3),
)  # fmt: skip

_RURAL = {"annual": 3.0, "pasture": 2.0, "forest": 1.2, "scrub": 0.9, "permanent": 0.5}
_AROUND = {  # what lies beside a motorway, a river, a town, an estate, a shore
    "Highway": {**_RURAL, "town": 1.3, "estate": 1.2},
    "River": {**_RURAL, "forest": 2.2, "town": 1.1, "estate": 0.6},
    "Residential": {**_RURAL, "estate": 0.5},
    "Industrial": {**_RURAL, "town": 1.0},
    "SeaLake": {"forest": 1.5, "scrub": 1.0, "town": 0.7, "pasture": 0.7, "annual": 0.4, "estate": 0.3},
}
_MAIN = {
    "AnnualCrop": "annual", "PermanentCrop": "permanent", "Pasture": "pasture", "Forest": "forest",
    "HerbaceousVegetation": "scrub", "Industrial": "estate", "Residential": "town", "SeaLake": "water",
}  # fmt: skip
_RELIEF = {
    "AnnualCrop": {"flat": 2, "rolling": 1}, "PermanentCrop": {"flat": 1, "rolling": 1.2, "hilly": 0.5},
    "Pasture": {"flat": 1, "rolling": 1.5, "hilly": 0.2}, "Forest": {"rolling": 1, "hilly": 1.2, "mountain": 0.4},
    "HerbaceousVegetation": {"rolling": 0.8, "hilly": 1.2, "mountain": 1.3}, "Highway": {"flat": 1, "rolling": 1},
    "Industrial": {"flat": 1}, "Residential": {"flat": 1, "rolling": 1}, "River": {"flat": 1, "rolling": 1},
    "SeaLake": {"rolling": 1, "hilly": 0.5},
}  # fmt: skip
_SEA = {"dark blue": 3.2, "blue": 2.5, "teal": 1.6, "turquoise": 1.0, "green": 0.8, "olive": 1.0, "silty": 0.6, "bright": 0.12}  # fmt: skip
_STREAM = {"dark blue": 0.7, "blue": 2, "teal": 2.4, "turquoise": 0.8, "green": 0.7, "olive": 2, "silty": 0.8}

Land = Farm | Wild | Town | Estate


@dataclass(frozen=True)
class Zone:
    """A second land beside the first: on the left of ``curve``, or where a smooth field exceeds ``above``."""

    land: Land
    curve: Curve | None = None
    key: int = 0
    spacing: float = 300.0
    above: float = 0.0

    def mask(self, view: View) -> np.ndarray:
        if self.curve is not None:
            return self.curve.frame(view)[1] > 0
        wobble = view.noise(mix_key(self.key, 1), 30.0) * np.float32(0.12)
        return view.noise(self.key, self.spacing) + wobble > np.float32(self.above)


@dataclass(frozen=True)
class Spot:
    """A village, farmstead or pond around a point (metres east and north of the tile's centre)."""

    x: float
    y: float
    radius: float
    land: Land
    kind: str


@dataclass(frozen=True)
class Place:
    """Everything that does not depend on the date."""

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


def draw_land(dice: Dice, kind: str, dryness: float) -> Land:
    """Draw one kind of land."""
    if kind in ("annual", "permanent", "pasture"):
        return draw_farm(dice, kind, dryness)
    if kind == "forest":
        return draw_forest(dice)
    if kind == "scrub":
        return draw_scrub(dice, dryness)
    if kind == "water":
        return draw_water(dice, _SEA)
    return draw_town(dice, dryness) if kind == "town" else draw_estate(dice, dryness)


def paint_land(view: View, land: Land, when: Season, year: int) -> Layer:
    """Paint one kind of land over a view."""
    if isinstance(land, Farm):
        return paint_farm(view, land, when)
    if isinstance(land, Town):
        return paint_town(view, land, when, year)
    if isinstance(land, Estate):
        return paint_estate(view, land, when, year)
    return {"forest": paint_forest, "scrub": paint_scrub, "water": paint_water}[land.kind](view, land, when)


def draw_place(label: str, seed: int) -> Place:
    """Draw a place of a class; a function of (label, seed) alone."""
    dice = Dice(CLASSES.index(label), seed, "place")
    west, east, south, north, low, high, _ = _REGIONS[dice.pick({i: r[-1] for i, r in enumerate(_REGIONS)})]
    lon, lat = round(dice.uniform(west, east), 4), round(dice.uniform(south, north), 4)
    dryness = dice.uniform(low, high)
    chill, snowline = dice.uniform(), dice.uniform(0.15, 0.9)
    relief = draw_relief(dice, dice.pick(_RELIEF[label]))
    around = _AROUND.get(label, _RURAL)
    ground = draw_land(dice, _MAIN.get(label) or dice.pick(around), dryness)
    zones, roads, river, shore = [], [], None, None

    if label == "Highway":
        road = draw_road(dice, draw_curve(dice, 110, dice.uniform(0, 1)), motorway=True, dryness=dryness)
        if road.junction in ("clover", "roundabout", "slip") or dice.chance(0.25):
            roads.append(crossing(dice, road, dice.chance(0.35), dryness))
        roads.append(road)
        if dice.chance(0.5):
            zones.append(Zone(draw_land(dice, dice.pick(around), dryness), curve=road.curve))
    elif label == "River":
        loops = (dice.uniform(20, 110), dice.uniform(180, 420)) if dice.chance(0.7) else None
        curve = draw_curve(dice, 90, dice.uniform(0, 1.2))
        curve = Curve(curve.key, curve.direction, curve.offset, curve.bend, loops)
        width = dice.uniform(22, 60) if dice.chance(0.3) else dice.uniform(60, 260)
        river = River(
            curve, width, dice.uniform(0, 0.12), draw_water(dice, _STREAM), dice.uniform(0, 1),
            dice.uniform(0.2, 1) if dice.chance(0.35) else 0.0,
        )  # fmt: skip
        if dice.chance(0.6):
            zones.append(Zone(draw_land(dice, dice.pick(around), dryness), curve=curve))
    elif label in ("Residential", "Industrial") and dice.chance(0.45):
        edge = draw_curve(dice, 0, dice.uniform(0, 1))
        edge = Curve(edge.key, edge.direction, dice.uniform(90, 330), edge.bend)
        zones.append(Zone(draw_land(dice, dice.pick(around), dryness), curve=edge))
    elif label == "SeaLake" and dice.chance(0.2):
        edge = draw_curve(dice, 0, dice.uniform(0, 1.5))
        edge = Curve(
            edge.key, edge.direction, dice.uniform(120, 330), edge.bend, (dice.uniform(5, 40), 220.0)
        )
        zones.append(Zone(draw_land(dice, dice.pick(around), dryness), curve=edge))
        shore = (edge, dice.chance(0.5))
    if label not in ("SeaLake", "Industrial", "Residential"):
        patches = {"Forest": 0.35, "HerbaceousVegetation": 0.4}.get(label, 0.3)
        if dice.chance(patches):
            kind = {
                "Forest": "forest",
                "HerbaceousVegetation": dice.pick({"scrub": 3, "pasture": 0.4, "forest": 0.6}),
            }
            kind = kind.get(label) or dice.pick({"forest": 2, "scrub": 1, "pasture": 0.5})
            land = draw_land(dice, kind, dryness)
            zones.append(
                Zone(land, key=dice.key(), spacing=dice.uniform(150, 400), above=dice.uniform(0.4, 1.5))
            )
    byroad = {"Forest": 0.04, "HerbaceousVegetation": 0.1, "SeaLake": 0.0, "Industrial": 0.5, "River": 0.35}.get(label, 0.22)  # fmt: skip
    while len(roads) < 4 and dice.chance(byroad):
        turn = dice.uniform(0, 1)
        roads.insert(0, draw_road(dice, draw_curve(dice, 260, turn), motorway=False, dryness=dryness))
    return Place(
        label, seed, lon, lat, dryness, chill, snowline, relief, ground, tuple(zones), shore, river, tuple(roads),
        tuple(_draw_spots(dice, label, dryness)),
    )  # fmt: skip


def _draw_spots(dice: Dice, label: str, dryness: float) -> list[Spot]:
    """Villages, farmsteads and ponds in sight, and villages farther out for wider views."""
    spots = []
    rural = label in ("AnnualCrop", "Pasture", "PermanentCrop", "Highway", "River")
    if rural:
        chance = {"AnnualCrop": 0.08, "Pasture": 0.3, "PermanentCrop": 0.25, "Highway": 0.35, "River": 0.35}[
            label
        ]
        for kind, limit, low, high in (("village", 3, 45, 110), ("farm", 3, 16, 32), ("pond", 2, 14, 40)):
            count = 0
            while count < limit and dice.chance(chance if kind != "pond" else chance * 0.4):
                count += 1
                spots.append(
                    (kind, dice.uniform(-270, 270), dice.uniform(-270, 270), dice.uniform(low, high))
                )
        for _ in range(4):
            x, y = dice.direction()
            far = dice.uniform(520, 2400)
            spots.append(("village", x * far, y * far, dice.uniform(80, 220)))
    made = []
    for kind, x, y, radius in spots:
        if kind == "pond":
            land = draw_water(dice, _STREAM)
        elif kind == "farm":
            land = draw_estate(dice, dryness) if dice.chance(0.4) else draw_town(dice, dryness)
        else:
            land = draw_town(dice, dryness)
        made.append(Spot(x, y, radius, land, kind))
    return made
