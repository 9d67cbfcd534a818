"""What there is at a place: drawn once from (label, seed), whatever the date, the clouds or the scale."""

from __future__ import annotations

from dataclasses import dataclass, replace

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

# (west, east, south, north, dryness low, dryness high, weight): mostly European, as EuroSAT.
_REGIONS = (
    (-5, 12, 45, 54, 0.0, 0.3, 4.0),
    (8, 28, 46, 57, 0.05, 0.4, 4.0),
    (-8, 0, 37, 43, 0.5, 1.0, 2.0),
    (9, 26, 36, 44, 0.4, 1.0, 2.0),
    (10, 28, 58, 65, 0.0, 0.2, 0.8),
    (-98, -80, 36, 46, 0.1, 0.5, 0.8),
    (-64, -58, -38, -31, 0.1, 0.6, 0.5),
    (138, 150, -38, -33, 0.3, 1.0, 0.5),
    (170, 176, -46, -40, 0.0, 0.3, 0.3),
)

_RURAL = {"annual": 2.2, "pasture": 2.4, "forest": 1.5, "scrub": 0.8, "permanent": 0.4}
_AROUND = {  # what lies beside a motorway, a river, a town, an estate, a shore
    "Highway": {**_RURAL, "town": 2.0, "estate": 1.5},
    "River": {**_RURAL, "annual": 1.6, "forest": 3.0, "town": 1.3, "estate": 0.7},
    "Residential": {**_RURAL, "estate": 0.5},
    "Industrial": {**_RURAL, "town": 1.0},
    "SeaLake": {"forest": 1.5, "scrub": 1.0, "town": 0.7, "pasture": 0.7, "annual": 0.4, "estate": 0.3},
}
_MAIN = {
    "AnnualCrop": "annual",
    "PermanentCrop": "permanent",
    "Pasture": "pasture",
    "Forest": "forest",
    "HerbaceousVegetation": "scrub",
    "Industrial": "estate",
    "Residential": "town",
    "SeaLake": "water",
}
_RELIEF = {
    "AnnualCrop": {"flat": 2, "rolling": 1},
    "PermanentCrop": {"flat": 1, "rolling": 1.2, "hilly": 0.5},
    "Pasture": {"flat": 1, "rolling": 1.5, "hilly": 0.2},
    "Forest": {"rolling": 1, "hilly": 1.2, "mountain": 0.4},
    "HerbaceousVegetation": {"rolling": 0.6, "hilly": 1.0, "mountain": 1.2, "gullied": 1.2},
    "Highway": {"flat": 1, "rolling": 1},
    "Industrial": {"flat": 1},
    "Residential": {"flat": 1, "rolling": 1},
    "River": {"flat": 1, "rolling": 1},
    "SeaLake": {"rolling": 1, "hilly": 0.5},
}
_SEA = {
    "dark blue": 4.0,
    "blue": 2.8,
    "teal": 1.6,
    "turquoise": 1.0,
    "green": 0.8,
    "olive": 1.0,
    "silty": 0.6,
    "bright": 0.12,
}
_STREAM = {
    "dark blue": 1.2,
    "blue": 2.4,
    "teal": 2.4,
    "turquoise": 0.6,
    "green": 0.5,
    "olive": 2,
    "silty": 0.6,
}

_BYROADS = {"Forest": 0.04, "HerbaceousVegetation": 0.1, "SeaLake": 0.0, "Industrial": 0.12, "River": 0.35}

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
    stream: tuple  # arguments of the Dice from which its land is drawn when it comes into view
    dryness: float

    def land(self) -> Land:
        dice = Dice(*self.stream)
        if self.kind == "pond":
            return draw_water(dice, _STREAM)
        if self.kind == "farm" and dice.chance(0.4):
            return draw_estate(dice, self.dryness)
        return draw_town(dice, self.dryness)


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
    chill, snowline = dice.uniform(), dice.uniform(0.2, 0.7)
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
        loops = (dice.uniform(20, 110), dice.uniform(200, 460)) if dice.chance(0.5) else None
        curve = draw_curve(dice, 90, dice.uniform(0, 1.2))
        curve = replace(curve, loops=loops)
        width = dice.uniform(20, 60) if dice.chance(0.3) else dice.uniform(60, 300)
        river = River(
            curve=curve,
            width=width,
            swell=dice.uniform(0, 0.06),
            water=draw_water(dice, _STREAM),
            bank_trees=dice.uniform(0, 1),
            sand=dice.uniform(0.2, 1) if dice.chance(0.35) else 0.0,
        )
        if dice.chance(0.6):
            zones.append(Zone(draw_land(dice, dice.pick(around), dryness), curve=curve))
        for side in (-1, 1):  # roads on the levees
            if dice.chance(0.35):
                levee = replace(curve, offset=curve.offset + side * (width * 0.55 + dice.uniform(8, 60)))
                roads.append(draw_road(dice, levee, motorway=False, dryness=dryness))
    elif label in ("Residential", "Industrial") and dice.chance(0.45):
        edge = draw_curve(dice, 0, dice.uniform(0, 1))
        edge = replace(edge, offset=dice.uniform(90, 330))
        zones.append(Zone(draw_land(dice, dice.pick(around), dryness), curve=edge))
    elif label == "SeaLake" and dice.chance(0.15):
        edge = draw_curve(dice, 0, dice.uniform(0, 1.5))
        edge = Curve(
            key=edge.key,
            direction=edge.direction,
            offset=dice.uniform(120, 330),
            bend=edge.bend,
            loops=(dice.uniform(5, 40), 220.0),
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
                Zone(land, key=dice.key(), spacing=dice.uniform(150, 400), above=dice.uniform(0.7, 1.7))
            )
    while len(roads) < 4 and dice.chance(_BYROADS.get(label, 0.22)):
        turn = dice.uniform(0, 1)
        roads.insert(0, draw_road(dice, draw_curve(dice, 260, turn), motorway=False, dryness=dryness))
    return Place(
        label=label,
        seed=seed,
        lon=lon,
        lat=lat,
        dryness=dryness,
        chill=chill,
        snowline=snowline,
        relief=relief,
        ground=ground,
        zones=tuple(zones),
        shore=shore,
        river=river,
        roads=tuple(roads),
        spots=tuple(_draw_spots(dice, label, seed, dryness)),
    )


def _draw_spots(dice: Dice, label: str, seed: int, dryness: float) -> list[Spot]:
    """Villages, farmsteads and ponds in sight, and villages farther out for wider views."""
    spots = []
    rural = label in ("AnnualCrop", "Pasture", "PermanentCrop", "Highway", "River")
    if rural:
        chance = {"AnnualCrop": 0.06, "Pasture": 0.2, "PermanentCrop": 0.15}.get(label, 0.35)
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
    number = CLASSES.index(label)
    return [
        Spot(x, y, radius, kind, (number, seed, f"spot {i}"), dryness)
        for i, (kind, x, y, radius) in enumerate(spots)
    ]
