"""Long thin things: rivers with their banks, motorways with junctions, country roads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from .atmosphere import Season
from .deterministic import RandomStream, hash2, line_noise, mix_key, unit
from .nature import gradient
from .view import BARE, GRASS, ROAD, TREES, WATER, Layer, View, surface


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
        if self not in view.frames:
            view.frames[self] = self._frame(view)
        return view.frames[self]

    def _frame(self, view: View) -> tuple[np.ndarray, np.ndarray]:
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
        at = ((along + np.float32(reach)) * np.float32(1 / tick)).astype(np.int32)
        across -= table.astype(np.float32).take(at)
        if self.loops is None:
            return along, across * (1 / np.sqrt(1 + slope * slope)).astype(np.float32).take(at)
        # Distance to first order: the field over the length of its gradient (from the smooth tables, not from
        # differences of `across`, whose small steps would comb the banks).
        shift = view.noise(mix_key(self.key, 1), self.loops[1]) * np.float32(self.loops[0])
        across += shift
        slope = slope.astype(np.float32).take(at)
        gx, gy = gradient(shift, view.step)
        gx -= s + slope * c
        gy += c - slope * s
        return along, across / np.maximum(np.sqrt(gx * gx + gy * gy), np.float32(0.2))


def draw_curve(
    rng: RandomStream, offset: float, turn: float, direction: tuple[float, float] | None = None
) -> Curve:
    """Draw a curve within about ``offset`` metres of the centre; ``turn`` 0 is straight, 1 bends a lot."""
    wavelength = rng.uniform(260, 700)
    return Curve(
        key=rng.key(),
        direction=direction or rng.direction(),
        offset=rng.uniform(-offset, offset),
        bend=(turn * wavelength * rng.uniform(0.05, 0.32), wavelength),
    )


@dataclass(frozen=True)
class Road:
    """A road; ``lanes`` 2 is a country road, more is a motorway with a median. Built in year ``since``."""

    curve: Curve
    width: float
    median: float
    verge: float
    asphalt: np.ndarray
    wooded: bool  # trees rather than grass on the verge
    junction: str  # "none", "clover", "slip", "roundabout"
    at: float  # metres along the curve
    since: int

    @property
    def motorway(self) -> bool:
        """Whether it has two carriageways."""
        return self.median > 0


def draw_road(rng: RandomStream, curve: Curve, *, motorway: bool, dryness: float) -> Road:
    """Draw the cross-section and the junction of a road."""
    grey = rng.uniform(88, 144)
    tint = rng.uniform(-2, 6) + 6 * dryness
    asphalt = surface(grey + tint, grey + 1, grey + 6)
    if not motorway:
        return Road(
            curve=curve, width=rng.uniform(6, 9), median=0.0, verge=rng.uniform(0, 3), asphalt=asphalt,
            wooded=False, junction="none", at=0.0,
            since=1990 if rng.chance(0.75) else rng.integer(2014, 2023)
        )  # fmt: skip
    junction = rng.pick({"none": 1.3, "slip": 0.7, "clover": 0.45, "roundabout": 0.35})
    return Road(
        curve=curve, width=rng.uniform(17, 30), median=rng.uniform(1.5, 6), verge=rng.uniform(4, 22),
        asphalt=asphalt, wooded=rng.chance(0.5), junction=junction, at=rng.uniform(-160, 160), since=1990
    )  # fmt: skip


def crossing(rng: RandomStream, road: Road, motorway: bool, dryness: float) -> Road:
    """A road that crosses ``road`` near its junction, at a steep angle."""
    c, s = road.curve.direction
    turn = rng.uniform(-0.5, 0.5)
    n = sqrt(1 + turn * turn)
    direction = ((-s + turn * c) / n, (c + turn * s) / n)
    curve = draw_curve(rng, 0.0, 0.6, direction)
    # Through the point `at` metres along the first road: its distance to the left of the new direction.
    x, y = c * road.at - s * road.curve.offset, s * road.at + c * road.curve.offset
    curve = replace(curve, offset=y * direction[0] - x * direction[1])
    return draw_road(rng, curve, motorway=motorway, dryness=dryness)


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
    """Lay a road over ``layer``, with verge, median and cars; over water it is a bridge. Returns its deck."""
    u, d = road.curve.frame(view)
    deck = _deck(road, u, d)
    size = np.abs(d)
    if road.verge:
        verge = (size < np.float32(road.width / 2 + road.verge)) & (layer.cover != WATER)
        tone = surface(60, 84, 84) * when.green + surface(110, 106, 104) * (1 - when.green)
        if road.wooded:
            verge &= view.noise(mix_key(road.curve.key, 3), 40.0) > np.float32(-0.8)
            tone = surface(42, 66, 72)
        layer.put(verge, layer.blend(tone, 0.8), TREES if road.wooded else GRASS)
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


def paint_river(view: View, river: River, layer: Layer) -> np.ndarray:
    """Paint the banks of a river into ``layer``; returns the distance to the water in metres."""
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
    return bank
