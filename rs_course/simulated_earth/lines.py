"""Long thin things: rivers with their banks, motorways with junctions, country roads."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .exact import Dice, hash2, line_noise, mix_key, unit
from .nature import gradient
from .palette import surface
from .season import Season
from .view import BARE, GRASS, ROAD, TREES, WATER, Layer, View


@dataclass(frozen=True)
class Curve:
    """An endless smooth curve: in axes turned to ``direction`` it is ``across = offset + bend(along)``.

    Attributes:
        offset: Distance from the tile's centre in metres, to the left of ``direction``.
        bend: ``(amplitude, wavelength)`` of its turns in metres.
        loops: ``(amplitude, wavelength)`` of a displacement of the plane that makes meanders double back.
    """

    key: int
    direction: tuple[float, float]
    offset: float
    bend: tuple[float, float]
    loops: tuple[float, float] | None = None

    def frame(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Position along the curve and signed distance from it (left positive), in metres, float32."""
        c, s = (np.float32(t) for t in self.direction)
        along, across = view.x * c + view.y * s, view.y * c - view.x * s
        amplitude, wavelength = self.bend
        reach = view.reach
        tick = view.step / 2
        samples = np.arange(int(2 * reach / tick) + 3) * tick - reach
        table = self.offset + amplitude * line_noise(self.key, samples / wavelength)
        slope = np.empty_like(table)
        slope[1:-1] = (table[2:] - table[:-2]) / (2 * tick)
        slope[0], slope[-1] = slope[1], slope[-2]
        shrink = (1 / np.sqrt(1 + slope * slope)).astype(np.float32)
        at = ((along + np.float32(reach)) * np.float32(1 / tick)).astype(np.int32)
        across -= table.astype(np.float32).take(at)
        if self.loops is None:
            return along, across * shrink.take(at)
        across += view.noise(mix_key(self.key, 1), self.loops[1]) * np.float32(self.loops[0])
        gx, gy = gradient(across, view.step)
        return along, across / np.maximum(np.sqrt(gx * gx + gy * gy), np.float32(0.2))


def draw_curve(dice: Dice, offset: float, turn: float, direction: tuple[float, float] | None = None) -> Curve:
    """Draw a curve that passes within about ``offset`` metres of the centre and turns gently (``turn`` near 0)."""
    wavelength = dice.uniform(260, 700)
    return Curve(
        dice.key(), direction or dice.direction(), dice.uniform(-offset, offset),
        (turn * wavelength * dice.uniform(0.05, 0.32), wavelength),
    )  # fmt: skip


@dataclass(frozen=True)
class Road:
    """A road; ``lanes`` 2 is a country road, more is a motorway with a median. Built in year ``since``."""

    curve: Curve
    width: float
    median: float
    verge: float
    asphalt: np.ndarray
    junction: str  # "none", "clover", "slip", "roundabout"
    at: float  # metres along the curve
    since: int

    @property
    def motorway(self) -> bool:
        return self.median > 0


def draw_road(dice: Dice, curve: Curve, *, motorway: bool, dryness: float) -> Road:
    """Draw the cross-section and the junction of a road."""
    grey = dice.uniform(96, 150)
    tint = dice.uniform(-2, 6) + 6 * dryness
    asphalt = surface(grey + tint, grey + 1, grey + 6)
    if not motorway:
        return Road(curve, dice.uniform(6, 9), 0.0, dice.uniform(0, 3), asphalt, "none", 0.0, 1990 if dice.chance(0.75) else dice.integer(2014, 2023))  # fmt: skip
    junction = dice.pick({"none": 1.3, "slip": 0.7, "clover": 0.45, "roundabout": 0.35})
    return Road(
        curve, dice.uniform(19, 34), dice.uniform(1.5, 6), dice.uniform(4, 18), asphalt, junction,
        dice.uniform(-160, 160), 1990,
    )  # fmt: skip


def crossing(dice: Dice, road: Road, motorway: bool, dryness: float) -> Road:
    """A road that crosses ``road`` near its junction, at a steep angle."""
    c, s = road.curve.direction
    turn = dice.uniform(-0.5, 0.5)
    n = (1 + turn * turn) ** 0.5
    direction = ((-s + turn * c) / n, (c + turn * s) / n)
    curve = draw_curve(dice, 0.0, 0.6, direction)
    # Through the point `at` metres along the first road: its distance to the left of the new direction.
    x, y = c * road.at - s * road.curve.offset, s * road.at + c * road.curve.offset
    curve = replace(curve, offset=y * direction[0] - x * direction[1])
    return draw_road(dice, curve, motorway=motorway, dryness=dryness)


def _deck(road: Road, u: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Mask of asphalt: carriageways, ramps, loops, roundabout."""
    size = np.abs(d)
    deck = size < np.float32(road.width / 2)
    if road.junction == "none":
        return deck
    t = u - np.float32(road.at)
    lane = np.float32(4.0)
    if road.junction == "slip":  # four ramps that leave the carriageway along parabolas
        away = np.float32(road.width / 2 - 2) + np.maximum(np.float32(190) - np.abs(t), 0) * np.maximum(
            np.float32(190) - np.abs(t), 0
        ) * np.float32(1 / 560)
        deck |= (np.abs(size - away) < lane) & (np.abs(t) < np.float32(190)) & (np.abs(t) > np.float32(12))
    elif road.junction == "clover":
        r = np.float32(48)
        centre = r + np.float32(road.width / 2 - 3)
        gu, gd = np.abs(t) - centre, size - centre
        far = np.sqrt(gu * gu + gd * gd)
        deck |= np.abs(far - r) < lane
        hyper = np.sqrt(np.abs(t) * size)  # outer ramps: hyperbolas between the two roads
        deck |= (np.abs(hyper - np.float32(92)) < np.float32(4.5)) & (np.abs(t) < 260) & (size < 260)
    else:
        far = np.sqrt(t * t + d * d)
        deck |= np.abs(far - np.float32(30)) < np.float32(5)
    return deck


def paint_road(view: View, road: Road, when: Season, layer: Layer) -> np.ndarray:
    """Lay a road over ``layer``: verge, asphalt, median, cars. Water under it becomes a bridge; returns the deck."""
    u, d = road.curve.frame(view)
    deck = _deck(road, u, d)
    size = np.abs(d)
    if road.verge:
        verge = (size < np.float32(road.width / 2 + road.verge)) & (layer.cover != WATER)
        tone = surface(60, 84, 84) * when.green + surface(110, 106, 104) * (1 - when.green)
        layer.put(verge, [plane * np.float32(0.4) + np.float32(0.6 * t) for plane, t in zip(layer.rgb, tone, strict=True)], GRASS)  # fmt: skip
    layer.put(deck, road.asphalt, ROAD, 1.5 if road.motorway else 0.3)
    if road.motorway:
        median = size < np.float32(road.median / 2)
        layer.put(median, surface(74, 88, 88) * 0.7 + road.asphalt * 0.3, ROAD, 1.5)
        slot = np.floor(u * np.float32(1 / 9)).astype(np.int32)
        lane = np.floor(d * np.float32(1 / 3.6)).astype(np.int32)
        h = hash2(road.curve.key, slot, lane)
        cars = (unit(h, 0) > np.float32(0.975)) & deck & ~median
        bright = unit(h, 1) * np.float32(0.5) + np.float32(0.05)
        layer.put(cars, [bright] * 3, ROAD, 2.0)
    return deck


@dataclass(frozen=True)
class River:
    """A river: width in metres, its water, and how its banks look."""

    curve: Curve
    width: float
    swell: float
    water: object
    bank_trees: float
    sand: float


def paint_river(view: View, river: River, water: Layer, layer: Layer) -> np.ndarray:
    """Cut a river into ``layer`` and return the distance to its bank in metres (negative inside)."""
    _, d = river.curve.frame(view)
    key = river.curve.key
    wobble = view.noise(mix_key(key, 2), 180.0) * np.float32(river.swell * river.width)
    wobble = wobble + view.noise(mix_key(key, 3), 24.0) * np.float32(1.8)
    bank = np.abs(d) - np.float32(river.width / 2) - wobble
    stand = view.noise(mix_key(key, 4), 60.0)
    if river.sand:
        beach = bank < (stand + np.float32(2 * river.sand - 1)) * np.float32(12)
        layer.put(beach & (d > 0), surface(186, 168, 160), BARE)
    if river.bank_trees:
        bush = view.noise(mix_key(key, 5), 14.0)
        trees = (bank < np.float32(9 + 9 * river.bank_trees) + bush * 4) & (
            stand + bush * np.float32(0.4) > np.float32(1.6 - 2.6 * river.bank_trees)
        )
        layer.put(trees & (bank > -2), surface(40, 64, 70), TREES, 8.0)
    layer.merge(water, bank < 0)
    return bank
