"""Farmland: annual crops through the year, orchards and vineyards, hedged pasture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .exact import Dice, mix_key, triangle
from .palette import SOILS, surface
from .parcels import Parcels, parcels
from .season import Season
from .view import CROP, GRASS, PERMANENT, TREES, Layer, View

# First day (northern phase) of each stage. Stages: bare, sprout, young, dense, ripe, stubble, bloom, fallow.
BARE, SPROUT, YOUNG, DENSE, RIPE, STUBBLE, BLOOM, FALLOW = range(8)
CALENDAR = {
    "wheat": [(0, SPROUT), (60, YOUNG), (100, DENSE), (170, RIPE), (200, STUBBLE), (235, BARE), (305, SPROUT)],
    "rapeseed": [(0, YOUNG), (85, DENSE), (105, BLOOM), (130, DENSE), (170, RIPE), (190, STUBBLE), (220, BARE), (255, YOUNG)],
    "maize": [(0, BARE), (145, SPROUT), (165, YOUNG), (185, DENSE), (265, RIPE), (290, STUBBLE), (315, BARE)],
    "roots": [(0, BARE), (125, SPROUT), (150, YOUNG), (170, DENSE), (285, BARE)],
    "alfalfa": [(0, SPROUT), (75, DENSE), (150, YOUNG), (165, DENSE), (215, YOUNG), (230, DENSE), (300, YOUNG)],
    "fallow": [(0, FALLOW)],
}  # fmt: skip
_ROTATION = np.array([0, 0, 0, 1, 2, 2, 3, 4, 5, 0, 2, 2, 3, 0, 5, 4])  # a parcel's crop from 4 bits
_STAGES = np.array(
    [[[s for d, s in stages if d <= day][-1] for day in range(366)] for stages in CALENDAR.values()]
)


@dataclass(frozen=True)
class Farm:
    """What the land of one place is like; drawn once from (label, seed)."""

    key: int
    kind: str  # "annual", "permanent" or "pasture"
    directions: tuple
    pitch: tuple[float, float]
    keep: tuple[float, float]
    lanes: tuple[float, float]
    warp: tuple[float, float] | None
    soil: np.ndarray
    crop_share: float  # share of other parcels among pasture; of orchard among permanent crop
    contrast: float
    rows: float
    hedge: float
    trees: float
    lane_width: float
    vigour: float


def draw_farm(dice: Dice, kind: str, dryness: float) -> Farm:
    """Draw the farmland of a place."""
    c, s = dice.direction()
    directions = ((c, s),)
    if kind == "annual" and dice.chance(0.35):
        turn, _ = dice.uniform(0.15, 0.6), None
        n = (1 + turn * turn) ** 0.5
        directions += (((c - s * turn) / n, (s + c * turn) / n),)
    dry = dryness
    soils = {
        "pale": 1.2, "brown": 1.5, "red": 0.4 + 0.8 * dry, "dark": 1.2 - 0.9 * dry, "straw": 0.4 + 0.5 * dry,
        "white": 0.15 + 0.5 * dry,
    }  # fmt: skip
    low, high = (surface(*t) for t in SOILS[dice.pick(soils)])
    soil = np.stack([high, low])
    if kind == "annual":
        pitch = (dice.uniform(45, 120), dice.uniform(150, 420))
        return Farm(
            dice.key(), kind, directions, pitch, (dice.uniform(0.25, 0.8), dice.uniform(0.35, 0.7)),
            (dice.uniform(0.1, 0.5), dice.uniform(0, 0.3)),
            (dice.uniform(4, 30), dice.uniform(250, 600)) if dice.chance(0.45) else None, soil, 1.0,
            dice.uniform(0.5, 1.25), dice.uniform(0, 0.14), 0.04 if dice.chance(0.3) else 0.0,
            dice.uniform(0, 0.1), dice.uniform(3, 7), dice.uniform(0.8, 1.15),
        )  # fmt: skip
    if kind == "permanent":
        pitch = (dice.uniform(28, 75), dice.uniform(45, 150))
        return Farm(
            dice.key(), kind, directions, pitch, (dice.uniform(0.45, 0.9), dice.uniform(0.4, 0.85)),
            (dice.uniform(0.15, 0.6), dice.uniform(0.1, 0.5)),
            (dice.uniform(8, 45), dice.uniform(120, 420)) if dice.chance(0.75) else None, soil,
            dice.uniform(0.5, 0.95), dice.uniform(0.35, 1.0), dice.uniform(0.06, 0.3), dice.uniform(0, 0.3),
            dice.uniform(0, 0.5), dice.uniform(3.5, 8), dice.uniform(0.6, 1.2),
        )  # fmt: skip
    pitch = (dice.uniform(60, 150), dice.uniform(80, 220))
    return Farm(
        dice.key(), kind, directions, pitch, (dice.uniform(0.3, 0.8), dice.uniform(0.3, 0.8)),
        (dice.uniform(0, 0.25), dice.uniform(0, 0.15)), (dice.uniform(12, 55), dice.uniform(160, 420)), soil,
        dice.uniform(0, 0.25) if dice.chance(0.6) else 0.0, dice.uniform(0.3, 1.0), dice.uniform(0, 0.04),
        dice.uniform(0.1, 0.95), dice.uniform(0.1, 0.8), dice.uniform(2.5, 5), dice.uniform(0.8, 1.15),
    )  # fmt: skip


def _crop_colours(farm: Farm, land: Parcels, when: Season) -> np.ndarray:
    """Reflectance ``[n, 3]`` of annual crops on this date, one row per parcel."""
    a, b, c = (land.table(farm.key, k)[:, None] for k in range(3))
    crop = _ROTATION[(land.keys >> np.uint32(20)) & np.uint32(15)]
    day = (when.phase + (a[:, 0] - 0.5) * 44).astype(np.int64) % 365
    stage = _STAGES[crop, day]
    soil = farm.soil[0] * (1 - b) + farm.soil[1] * b
    soil = soil * (0.75 + 0.5 * c)
    young = surface(66, 100, 90)[None] * (0.8 + 0.4 * c)
    dense = surface(44, 80, 78)[None] * (0.75 + 0.5 * b) + surface(60, 116, 84)[None] * (0.25 * c * b)
    ripe = surface(176, 150, 128)[None] * (0.75 + 0.4 * b)
    stubble = surface(210, 172, 150)[None] * (0.7 + 0.45 * c)
    bloom = surface(136, 148, 88)[None] * (0.85 + 0.3 * c)
    fallow = surface(118, 114, 108)[None] * (0.7 + 0.5 * c)
    each = np.stack([soil, soil * 0.6 + young * 0.4, young, dense, ripe, stubble, bloom, fallow])
    colour = each[stage, np.arange(len(stage))]
    middle = surface(112, 110, 108)
    return (middle + (colour - middle) * np.float32(farm.contrast)).astype(np.float32)


def _tints(farm: Farm, land: Parcels, when: Season) -> tuple[np.ndarray, np.ndarray]:
    """Colour ``[n, 3]`` and land cover ``[n]`` of every parcel."""
    crops = _crop_colours(farm, land, when)
    if farm.kind == "annual":
        return crops, np.full(len(crops), CROP, np.uint8)
    a, b, c = (land.table(farm.key + 7, k)[:, None] for k in range(3))
    other = land.table(farm.key + 8, 0)
    if farm.kind == "permanent":
        ground = farm.soil[0] * (1 - b) + farm.soil[1] * b
        canopy = surface(58, 80, 82)[None] * (0.75 + 0.5 * c)
        closed = np.clip((0.25 + 0.75 * a) * farm.vigour * (0.5 + 0.5 * when.green), 0.1, 0.95)
        mine = ground * (1 - closed) + canopy * closed
        cover = np.where(other < farm.crop_share, PERMANENT, CROP).astype(np.uint8)
    else:
        lush = surface(48, 86, 80)[None] * (0.8 + 0.4 * a) + surface(70, 118, 82)[None] * (0.2 * b * c)
        dull = surface(92, 104, 98)[None] * (0.8 + 0.4 * a)
        vigour = np.clip(when.green * farm.vigour + 0.35 * (c - 0.5), 0, 1)
        mine = dull * (1 - vigour) + lush * vigour
        cover = np.where(other < farm.crop_share, CROP, GRASS).astype(np.uint8)
    return np.where((cover == CROP)[:, None], crops, mine).astype(np.float32), cover


def paint_farm(view: View, farm: Farm, when: Season) -> Layer:
    """Render farmland: parcels, row texture, lanes, hedges and single trees."""
    side = view.noise(mix_key(farm.key, 11), 700.0) > 0 if len(farm.directions) > 1 else None
    layer = _paint_cadastre(view, farm, 0, when)
    if side is not None and side.any():
        layer.merge(_paint_cadastre(view, farm, 1, when), side)
    return layer


def _paint_cadastre(view: View, farm: Farm, index: int, when: Season) -> Layer:
    key = mix_key(farm.key, 20 + index)
    land = parcels(
        view, key, farm.directions[index], pitch=farm.pitch, keep=farm.keep, lanes=farm.lanes, warp=farm.warp
    )
    tints, covers = _tints(farm, land, when)
    texture = _rows(view, farm, land)
    layer = Layer(
        np.empty((3, *view.shape), np.float32), covers.take(land.id), np.zeros(view.shape, np.float32)
    )
    for plane, column in zip(layer.rgb, tints.T, strict=True):
        np.multiply(np.ascontiguousarray(column).take(land.id), texture, out=plane)
    if farm.lane_width:
        track = surface(196, 168, 156) * 0.5 + farm.soil[1] * 0.5
        lane = land.lane < np.float32(farm.lane_width / 2)
        layer.put(
            lane, track * np.float32(0.75 + 0.25 * farm.contrast), CROP if farm.kind == "annual" else GRASS
        )
    _hedges(view, farm, land, layer, when)
    return layer


def _rows(view: View, farm: Farm, land: Parcels) -> np.ndarray:
    """Multiplicative texture: tillage rows or tree rows, and the soil's patches."""
    permanent = farm.kind == "permanent"
    pace = (
        1 / (10 + 16 * land.table(farm.key + 3, 0))
        if permanent
        else 1 / (14 + 26 * land.table(farm.key + 3, 0))
    )
    strength = farm.rows * land.table(farm.key + 3, 1)
    pace, strength = pace.astype(np.float32).take(land.id), strength.astype(np.float32).take(land.id)
    wave = triangle(land.u * pace)
    if permanent:
        wave = wave * np.float32(0.6) + triangle(land.v * pace) * np.float32(0.6)
    texture = wave * strength
    patch, speck = (0.05, 0.10) if permanent else (0.06, 0.025)
    texture += view.noise(mix_key(farm.key, 5), 90.0) * np.float32(patch * farm.contrast)
    texture += view.noise(mix_key(farm.key, 6), 14.0) * np.float32(speck)
    texture += np.float32(1)
    return np.maximum(texture, np.float32(0.2))


def _hedges(view: View, farm: Farm, land: Parcels, layer: Layer, when: Season) -> None:
    """Hedges along parcel boundaries, gaps and all, and trees that stand alone."""
    bush = view.noise(mix_key(farm.key, 12), 16.0)
    wood = view.noise(mix_key(farm.key, 13), 130.0)
    trees = bush + wood * np.float32(0.7) > np.float32(3.4 - 1.2 * farm.trees)
    if farm.hedge:
        edge = np.minimum(land.du, land.dv)
        planted = wood * np.float32(0.5) + bush * np.float32(0.6) > np.float32(1.4 - 2.6 * farm.hedge)
        trees |= planted & (edge < np.float32(4.5))
    leaf = when.leaf
    colour = (surface(40, 66, 70) * leaf + surface(62, 70, 76) * (1 - leaf)) * np.float32(0.9)
    layer.put(trees, colour, TREES, 7.0)
