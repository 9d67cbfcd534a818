"""Settlements: streets of houses with gardens, and industrial estates with halls and yards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .exact import Dice, hash2, mix_key, triangle, unit
from .palette import HALLS, ROOFS, surface, surfaces
from .parcels import parcels
from .season import Season
from .view import BUILDING, GARDEN, GRASS, PAVED, ROAD, TREES, Layer, View


@dataclass(frozen=True)
class Town:
    """A street plan; lengths in metres. ``filled`` is the share of lots built on in the year 2020."""

    key: int
    direction: tuple[float, float]
    block: tuple[float, float]
    lot: float
    depth: float
    street: float
    warp: tuple[float, float]
    filled: float
    growth: float  # change of ``filled`` per year
    roofs: np.ndarray
    garden: np.ndarray
    asphalt: np.ndarray
    trees: float


def draw_town(dice: Dice, dryness: float) -> Town:
    """Draw a town: suburb, terraces, or a dense southern quarter."""
    kind = dice.pick({"suburb": 1.0, "terraces": 0.8, "dense": 0.3 + 0.9 * dryness, "villas": 0.4})
    roofs = dice.pick(
        {"slate": 1.2 - dryness, "tile": 0.6 + 0.6 * dryness, "mixed": 0.8, "pale": 0.15 + 0.7 * dryness}
    )
    lot, depth, garden = {
        "suburb": (dice.uniform(14, 22), dice.uniform(9, 13), (62, 80, 86)),
        "terraces": (dice.uniform(9, 14), dice.uniform(9, 12), (64, 78, 86)),
        "dense": (dice.uniform(11, 20), dice.uniform(13, 19), (112, 104, 108)),
        "villas": (dice.uniform(20, 32), dice.uniform(12, 17), (58, 78, 82)),
    }[kind]
    dust = dice.uniform(0, 0.35) + 0.5 * dryness * dice.uniform()
    garden = surface(*garden) * (1 - dust) + surface(136, 122, 118) * dust
    return Town(
        dice.key(), dice.direction(), (dice.uniform(2.6, 4.2) * depth + 12, dice.uniform(90, 260)), lot, depth,
        dice.uniform(6, 10), (dice.uniform(3, 45), dice.uniform(200, 500)), dice.uniform(0.7, 1.0),
        dice.uniform(0.004, 0.03), surfaces(*ROOFS[roofs]) * np.float32(dice.uniform(0.75, 1.2)),
        garden.astype(np.float32), surface(*([dice.uniform(84, 132)] * 2), dice.uniform(104, 134)),
        dice.uniform(0, 1),
    )  # fmt: skip


def paint_town(view: View, town: Town, when: Season, year: int) -> Layer:
    """Streets, houses with ridge-lit roofs, gardens and street trees; lots fill up with the years."""
    c, s = (np.float32(t) for t in town.direction)
    amplitude, wavelength = town.warp
    u = view.x * c + view.y * s + view.noise(mix_key(town.key, 1), wavelength) * np.float32(amplitude)
    v = view.y * c - view.x * s + view.noise(mix_key(town.key, 2), wavelength) * np.float32(amplitude)
    column = np.floor(u * np.float32(1 / town.block[0]))
    in_block = u - column * np.float32(town.block[0])
    row = np.floor(v * np.float32(1 / town.block[1]))
    in_row = v - row * np.float32(town.block[1])
    half = np.float32(town.block[0] / 2)
    behind = half - np.abs(in_block - half)  # distance to the nearer of the two streets
    street = (behind < np.float32(town.street / 2)) | (in_row < np.float32(town.street))
    east_side = in_block > half
    lot = np.floor(v * np.float32(1 / town.lot))
    along = np.abs(v - lot * np.float32(town.lot) - np.float32(town.lot / 2))
    h = hash2(town.key, column.astype(np.int32) * 2 + east_side, lot.astype(np.int32))
    a, b, d = unit(h, 0), unit(h, 1), unit(h, 2)
    filled = min(1.0, max(0.05, town.filled + town.growth * (year - 2020)))
    setback = np.float32(town.street / 2 + 3) + b * np.float32(3)
    house = (
        (d < np.float32(filled))
        & (
            np.abs(behind - setback - np.float32(town.depth / 2))
            < np.float32(town.depth / 2) - a * np.float32(3)
        )
        & (along < np.float32(town.lot * 0.46) - b * np.float32(town.lot * 0.18))
        & ~street
    )
    fine = view.noise(mix_key(town.key, 3), 10.0)
    layer = view.blank((0, 0, 0), GARDEN)
    tone = town.garden * np.float32(0.8 + 0.2 * when.green)
    texture = fine * np.float32(0.16) + np.float32(1)
    for plane, value in zip(layer.rgb, tone, strict=True):
        np.multiply(texture, np.float32(value), out=plane)
    layer.put(street, town.asphalt, ROAD)
    ridge = np.where(in_block - half > 0, np.float32(0.9), np.float32(1.1))
    shade = ridge * (np.float32(0.8) + np.float32(0.4) * a)
    tiles = (h >> np.uint32(26)).astype(np.int32) & 3
    roof = [column.take(tiles) * shade for column in town.roofs.T]
    layer.put(house, roof, BUILDING, np.float32(5) + b * np.float32(4))
    if town.trees:
        leafy = (fine > np.float32(2.6 - 1.2 * town.trees)) & (layer.cover == GARDEN)
        layer.put(leafy, surface(44, 66, 72), TREES, 6.0)
    return layer


@dataclass(frozen=True)
class Estate:
    """An industrial estate; lengths in metres."""

    key: int
    direction: tuple[float, float]
    pitch: tuple[float, float]
    halls: np.ndarray
    yard: np.ndarray
    lawn: np.ndarray
    filled: float
    growth: float
    asphalt: np.ndarray


def draw_estate(dice: Dice, dryness: float) -> Estate:
    """Draw an industrial estate."""
    dust = dice.uniform(0, 0.4) + 0.6 * dryness * dice.uniform()
    yard = surface(104, 108, 118) * (1 - dust) + surface(206, 182, 170) * dust
    size = dice.uniform(0.7, 1.3)
    return Estate(
        dice.key(), dice.direction(), (dice.uniform(40, 75) * size, dice.uniform(50, 110) * size),
        HALLS * np.float32(dice.uniform(0.75, 1.1)), yard.astype(np.float32), surface(58, 82, 86),
        dice.uniform(0.6, 0.95), dice.uniform(0.004, 0.03), surface(*([dice.uniform(88, 124)] * 2), 122),
    )  # fmt: skip


def paint_estate(view: View, estate: Estate, when: Season, year: int) -> Layer:
    """Halls with roof bands and skylights, yards with parked lorries, lawns, access roads."""
    land = parcels(
        view, mix_key(estate.key, 1), estate.direction, pitch=estate.pitch, keep=(0.75, 0.75), jitter=0.7,
        lanes=(0.4, 0.25),
    )  # fmt: skip
    a, b, c, d = (land.table(estate.key + 1, k) for k in range(4))
    e, f, g = (land.table(estate.key + 2, k) for k in range(3))
    filled = min(1.0, max(0.05, estate.filled + estate.growth * (year - 2020)))
    use = np.where(a < filled, 1, 2)
    margin_u = np.where(use == 1, 3 + 13 * b, 1e6).astype(np.float32).take(land.id)
    margin_v = np.where(use == 1, 3 + 15 * c, 1e6).astype(np.float32).take(land.id)
    lawn = (d < 0.28).take(land.id)
    speck = view.noise(mix_key(estate.key, 3), 7.0)
    layer = view.blank((0, 0, 0), PAVED)
    tone = (0.7 + 0.7 * e).astype(np.float32).take(land.id) * (speck * np.float32(0.10) + np.float32(1))
    for plane, value in zip(layer.rgb, estate.yard, strict=True):
        np.multiply(tone, np.float32(value), out=plane)
    green = estate.lawn * np.float32(0.8 + 0.2 * when.green)
    layer.put(lawn, [tone * np.float32(v) for v in green], GRASS)
    layer.put(land.lane < np.float32(5), estate.asphalt, ROAD)
    hall = (land.du > margin_u + np.float32(5)) & (land.dv > margin_v + np.float32(3))
    bands = triangle(land.v * (1 / (10 + 20 * f)).astype(np.float32).take(land.id))
    shade = bands * (0.16 * g).astype(np.float32).take(land.id) + np.float32(1)
    kind = (land.keys >> np.uint32(24)).astype(np.int32) & 15
    layer.put(hall, [(column.take(kind)).take(land.id) * shade for column in estate.halls.T], BUILDING, 11.0)
    stacked = (speck > np.float32(1.5)) & (layer.cover == PAVED)
    layer.put(stacked, surface(196, 190, 192), PAVED, 2.5)
    trees = (view.noise(mix_key(estate.key, 4), 12.0) > np.float32(1.6)) & (layer.cover == GRASS)
    layer.put(trees, surface(44, 66, 72), TREES, 7.0)
    return layer
