"""Settlements: streets of houses with gardens, and industrial estates with halls and yards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .atmosphere import Season
from .deterministic import RandomStream, hash2, mix_key, triangle, unit
from .farmland import parcels
from .view import BUILDING, GARDEN, GRASS, HALLS, PAVED, ROAD, ROOFS, TREES, Layer, View, surface, surfaces


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
    quarters: float  # tangent of the angle between the two quarters' grids
    parks: float
    large: float
    bright: float  # share of roofs that are bright metal
    clutter: float


def draw_town(rng: RandomStream, dryness: float) -> Town:
    """Draw a town: suburb, terraces, or a dense southern quarter."""
    kind = rng.pick(
        {"suburb": 1.0, "terraces": 0.8, "dense": 0.4 + 0.9 * dryness, "villas": 0.4, "city": 0.7}
    )
    roofs = rng.pick(
        {"slate": 1.2 - dryness, "tile": 0.6 + 0.6 * dryness, "mixed": 0.8, "pale": 0.15 + 0.7 * dryness}
    )
    lot, depth, garden = {
        "suburb": (rng.uniform(14, 22), rng.uniform(9, 13), (62, 80, 86)),
        "terraces": (rng.uniform(9, 14), rng.uniform(9, 12), (64, 78, 86)),
        "dense": (rng.uniform(11, 20), rng.uniform(13, 19), (112, 104, 108)),
        "city": (rng.uniform(11, 17), rng.uniform(12, 17), (96, 98, 106)),
        "villas": (rng.uniform(20, 32), rng.uniform(12, 17), (58, 78, 82)),
    }[kind]
    dust = rng.uniform(0, 0.3) + 0.9 * dryness * rng.uniform()
    garden = (surface(*garden) * (1 - dust) + surface(168, 146, 138) * dust) * rng.uniform(0.7, 1.5)
    return Town(
        key=rng.key(), direction=rng.direction(),
        block=(rng.uniform(2.6, 4.2) * depth + 12, rng.uniform(90, 260)), lot=lot, depth=depth,
        street=rng.uniform(6, 10), warp=(rng.uniform(5, 50), rng.uniform(140, 420)),
        filled=rng.uniform(0.65, 1.0), growth=rng.uniform(0.004, 0.03),
        roofs=surfaces(*ROOFS[roofs]) * np.float32(rng.uniform(0.65, 1.6)), garden=garden.astype(np.float32),
        asphalt=surface(*([rng.uniform(84, 132)] * 2), rng.uniform(104, 134)), trees=rng.uniform(0, 1),
        quarters=rng.uniform(0.2, 3.0) if rng.chance(0.6) else 0.0, parks=rng.uniform(0.01, 0.1),
        large=rng.uniform(0.25, 0.7) if kind == "city" else rng.uniform(0.0, 0.22),
        bright=rng.uniform(0.01, 0.08), clutter=rng.uniform(0.12, 0.4)
    )  # fmt: skip


def _streets(view: View, town: Town):
    """Street coordinates: across and along the blocks, in two quarters whose grids meet at an angle."""
    c, s = town.direction
    amplitude, wavelength = town.warp
    bend = view.noise(mix_key(town.key, 1), wavelength) * np.float32(amplitude)
    u = view.x * np.float32(c) + view.y * np.float32(s) + bend
    v = view.y * np.float32(c) - view.x * np.float32(s)
    v += view.noise(mix_key(town.key, 2), wavelength) * np.float32(amplitude)
    if town.quarters:
        turn = np.float32(town.quarters)
        n = np.sqrt(np.float32(1) + turn * turn)
        other = view.noise(mix_key(town.key, 5), 330.0) > 0
        u, v = np.where(other, (u + v * turn) / n, u), np.where(other, (v - u * turn) / n, v)
    return u, v


def paint_town(view: View, town: Town, when: Season, year: int) -> Layer:
    """Streets, houses with ridge-lit roofs, gardens, parks, larger buildings; lots fill up with the years."""
    u, v = _streets(view, town)
    across, along = (np.float32(t) for t in town.block)
    column, row = np.floor(u * (1 / across)), np.floor(v * (1 / along))
    in_block, in_row = u - column * across, v - row * along
    half = across / 2
    behind = half - np.abs(in_block - half)  # distance to the nearer of the two streets
    street = (behind < np.float32(town.street / 2)) | (in_row < np.float32(town.street))
    lot = np.floor(v * np.float32(1 / town.lot))
    beside = np.abs(v - lot * np.float32(town.lot) - np.float32(town.lot / 2))
    column, row = column.astype(np.int32), row.astype(np.int32)
    h = hash2(town.key, column * 2 + (in_block > half), lot.astype(np.int32))
    block = hash2(mix_key(town.key, 6), column, row)
    use, tone = unit(block, 3), unit(block, 1)
    park, large = use < np.float32(town.parks), use > np.float32(1 - town.large)
    a, b, d = unit(h, 0), unit(h, 1), unit(h, 2)
    filled = min(1.0, max(0.05, town.filled + town.growth * (year - 2020)))
    middle = np.float32(town.street / 2 + 3 + town.depth / 2) + b * np.float32(3)
    house = np.abs(behind - middle) < np.float32(town.depth / 2) - a * np.float32(3)
    house &= beside < np.float32(town.lot * 0.46) - b * np.float32(town.lot * 0.18)
    house &= ~(large | street)
    front = (
        behind - np.float32(town.street / 2 + 2) - tone * 5
    )  # behind the front of a block's large buildings
    hall = large & (front > 0) & (front < 20) & (in_row > np.float32(town.street + 3))
    house |= hall & (triangle(v * np.float32(1 / (town.lot * 3.1))) < np.float32(0.7))
    house &= (d < np.float32(filled)) & ~park
    fine = view.noise(mix_key(town.key, 3), 9.0)
    layer = view.blank((0, 0, 0), GARDEN)
    texture = fine * np.float32(town.clutter) + np.float32(1) + (tone - np.float32(0.5)) * np.float32(0.5)
    texture += view.noise(mix_key(town.key, 4), 110.0) * np.float32(0.12)
    np.maximum(texture, np.float32(0.25), out=texture)
    for plane, value in zip(layer.rgb, town.garden * np.float32(0.8 + 0.2 * when.green), strict=True):
        np.multiply(texture, np.float32(value), out=plane)
    layer.put(park, [texture * v for v in surface(54, 80, 82) * 0.6 + town.garden * 0.4], GRASS)
    layer.put(street, town.asphalt, ROAD)
    ridge = np.where(in_block > half, np.float32(0.88), np.float32(1.12))
    shade = ridge * (np.float32(0.65) + np.float32(0.6) * a + np.float32(0.25) * tone)
    shade += unit(h * np.uint32(0x9E3779B1), 3) < np.float32(town.bright)
    tiles = (h >> np.uint32(26)).astype(np.int32) & 3
    layer.put(house, [column.take(tiles) * shade for column in town.roofs.T], BUILDING, np.float32(5) + b * 4)
    if town.trees:
        grove = view.noise(mix_key(town.key, 7), 70.0) * np.float32(0.6)
        leafy = (fine + grove > np.float32(2.5 - 1.5 * town.trees)) & (layer.cover != ROAD) & ~house
        layer.put(leafy, surface(42, 64, 71), TREES, 6.0)
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


def draw_estate(rng: RandomStream, dryness: float) -> Estate:
    """Draw an industrial estate."""
    dust = rng.uniform(0, 0.3) + 0.9 * dryness * rng.uniform()
    yard = surface(104, 108, 118) * (1 - dust) + surface(206, 182, 170) * dust
    yard = yard * rng.uniform(0.6, 1.5)
    size = rng.uniform(0.62, 1.3)
    return Estate(
        key=rng.key(), direction=rng.direction(),
        pitch=(rng.uniform(40, 75) * size, rng.uniform(50, 110) * size),
        halls=HALLS * np.float32(rng.uniform(0.7, 1.2)), yard=yard.astype(np.float32),
        lawn=surface(58, 82, 86), filled=rng.uniform(0.6, 0.95), growth=rng.uniform(0.004, 0.03),
        asphalt=surface(*([rng.uniform(88, 124)] * 2), 122)
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
    tone = (0.7 + 0.7 * e).astype(np.float32).take(land.id) * (speck * np.float32(0.18) + np.float32(1))
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
    stacked = (speck > np.float32(1.25)) & (layer.cover == PAVED)
    layer.put(stacked, surface(196, 190, 192), PAVED, 2.5)
    trees = (view.noise(mix_key(estate.key, 4), 12.0) > np.float32(1.6)) & (layer.cover == GRASS)
    layer.put(trees, surface(44, 66, 72), TREES, 7.0)
    return layer
