"""Kinds of land, and the pieces of a place that carry one: zones and spots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .deterministic import RandomStream, mix_key
from .farmland import Farm, draw_farm, paint_farm
from .lines import Curve
from .nature import Wild, draw_forest, draw_scrub, draw_water, paint_forest, paint_scrub, paint_water
from .season import Season
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
        rng = RandomStream(*self.stream)
        if self.kind == "pond":
            return draw_water(rng, STREAM)
        if self.kind == "farm" and rng.chance(0.4):
            return draw_estate(rng, self.dryness)
        return draw_town(rng, self.dryness)
