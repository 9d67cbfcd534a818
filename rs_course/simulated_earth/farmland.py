"""Farmland: annual crops through the year, orchards and vineyards, hedged pasture; and the cadastre, an
endless, irregular division of the plane into parcels, looked up through small tables.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from .atmosphere import Season
from .deterministic import RandomStream, hash2, mix_key, triangle, unit
from .view import CROP, GRASS, PERMANENT, SOILS, TREES, Layer, View, surface, surfaces

# First day (northern phase) of each stage. Stages: bare, sprout, young, dense, ripe, stubble, bloom, fallow.
BARE, SPROUT, YOUNG, DENSE, RIPE, STUBBLE, BLOOM, FALLOW = range(8)
CALENDAR = {
    "wheat": {0: SPROUT, 60: YOUNG, 100: DENSE, 165: RIPE, 192: STUBBLE, 245: BARE, 305: SPROUT},
    "rapeseed": {0: YOUNG, 85: DENSE, 105: BLOOM, 130: DENSE, 170: RIPE, 190: STUBBLE, 220: BARE, 255: YOUNG},
    "maize": {0: BARE, 145: SPROUT, 165: YOUNG, 185: DENSE, 265: RIPE, 290: STUBBLE, 315: BARE},
    "roots": {0: BARE, 140: SPROUT, 160: YOUNG, 178: DENSE, 270: BARE},
    "alfalfa": {0: SPROUT, 75: DENSE, 150: YOUNG, 165: DENSE, 215: YOUNG, 230: DENSE, 300: YOUNG},
    "fallow": {0: FALLOW},
}
_ROTATION = np.array([0, 0, 0, 1, 2, 2, 3, 3, 5, 0, 2, 2, 3, 0, 5, 4])  # a parcel's crop from 4 bits
_STAGES = np.array(
    [[[s for d, s in stages.items() if d <= day][-1] for day in range(366)] for stages in CALENDAR.values()]
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
    main: int  # the crop that most parcels carry
    uniform: float  # share of the parcels that do
    crop_share: float  # share of other parcels among pasture; of orchard among permanent crop
    contrast: float
    rows: float
    hedge: float
    trees: float
    lane_width: float
    vigour: float
    even: float = 0.0  # how much alike the parcels of permanent crop are


_PERMANENT = {  # how the kinds of permanent crop differ from a mixture of them
    "mixed": lambda rng: {},
    "vineyard": lambda rng: {
        "pitch": (rng.uniform(35, 80), rng.uniform(60, 140)),
        "lanes": (rng.uniform(0.6, 1), rng.uniform(0.5, 1)),
        "warp": (rng.uniform(20, 70), rng.uniform(150, 400)),
        "crop_share": rng.uniform(0.85, 1),
        "vigour": rng.uniform(1.2, 2.2),
        "even": rng.uniform(0.4, 0.8),
    },
    "mosaic": lambda rng: {
        "soil": surfaces(*SOILS["white"][::-1]) * np.float32(rng.uniform(0.75, 1.05)),
        "pitch": (rng.uniform(18, 40), rng.uniform(22, 60)),
        "warp": (rng.uniform(12, 35), rng.uniform(60, 140)),
        "vigour": rng.uniform(0.1, 0.9),
        "hedge": rng.uniform(0.2, 0.6),
    },
    "orchard": lambda rng: {
        "keep": (rng.uniform(0.2, 0.6), rng.uniform(0.2, 0.6)),
        "crop_share": rng.uniform(0.9, 1),
        "rows": rng.uniform(0.15, 0.35),
        "vigour": rng.uniform(0.3, 0.8),
        "even": rng.uniform(0.4, 0.9),
    },
}


def draw_farm(rng: RandomStream, kind: str, dryness: float) -> Farm:
    """Draw the farmland of a place."""
    c, s = rng.direction()
    directions = ((c, s),)
    if kind == "annual" and rng.chance(0.35):
        turn = rng.uniform(0.15, 0.6)
        n = sqrt(1 + turn * turn)
        directions += (((c - s * turn) / n, (s + c * turn) / n),)
    soils = {
        "pale": 1.8, "brown": 1.2, "red": 0.4 + 0.6 * dryness, "dark": 0.7 - 0.5 * dryness,
        "straw": 0.8 + 0.5 * dryness, "white": 0.25 + 0.4 * dryness
    }  # fmt: skip
    low, high = (surface(*t) for t in SOILS[rng.pick(soils)])
    soil = np.stack([high, low]) * np.float32(rng.uniform(0.85, 1.15))
    main, uniform = int(_ROTATION[rng.integer(0, 15)]), rng.uniform(0, 0.9)
    if kind == "annual":
        pitch = (rng.uniform(45, 120), rng.uniform(150, 420))
        return Farm(
            key=rng.key(), kind=kind, directions=directions, pitch=pitch,
            keep=(rng.uniform(0.25, 0.8), rng.uniform(0.35, 0.7)),
            lanes=(rng.uniform(0.1, 0.5), rng.uniform(0, 0.3)),
            warp=(rng.uniform(4, 30), rng.uniform(250, 600)) if rng.chance(0.45) else None, soil=soil,
            main=main, uniform=uniform, crop_share=1.0, contrast=rng.uniform(0.6, 1.1),
            rows=rng.uniform(0, 0.12), hedge=0.04 if rng.chance(0.3) else 0.0, trees=rng.uniform(0, 0.1),
            lane_width=rng.uniform(3, 7), vigour=rng.uniform(0.8, 1.15)
        )  # fmt: skip
    if kind == "permanent":
        farm = Farm(
            key=rng.key(), kind=kind, directions=directions,
            pitch=(rng.uniform(28, 75), rng.uniform(45, 150)),
            keep=(rng.uniform(0.45, 0.9), rng.uniform(0.4, 0.85)),
            lanes=(rng.uniform(0.2, 0.9), rng.uniform(0.15, 0.8)),
            warp=(rng.uniform(8, 50), rng.uniform(120, 420)) if rng.chance(0.8) else None, soil=soil,
            main=main, uniform=uniform, crop_share=rng.uniform(0.45, 0.95), contrast=rng.uniform(0.5, 1.0),
            rows=rng.uniform(0.04, 0.25), hedge=rng.uniform(0, 0.4), trees=rng.uniform(0, 0.5),
            lane_width=rng.uniform(3.5, 8), vigour=rng.uniform(0.25, 1.25)
        )  # fmt: skip
        return replace(
            farm, **_PERMANENT[rng.pick({"mixed": 1.0, "vineyard": 1.0, "mosaic": 0.8, "orchard": 0.9})](rng)
        )
    pitch = (rng.uniform(60, 150), rng.uniform(80, 220))
    return Farm(
        key=rng.key(), kind=kind, directions=directions, pitch=pitch,
        keep=(rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.8)),
        lanes=(rng.uniform(0, 0.25), rng.uniform(0, 0.15)), warp=(rng.uniform(12, 55), rng.uniform(160, 420)),
        soil=soil, main=main, uniform=uniform, crop_share=rng.uniform(0, 0.25) if rng.chance(0.6) else 0.0,
        contrast=rng.uniform(0.3, 1.0), rows=rng.uniform(0, 0.04), hedge=rng.uniform(0.1, 0.95),
        trees=rng.uniform(0.1, 0.8), lane_width=rng.uniform(2.5, 5), vigour=rng.uniform(0.8, 1.15)
    )  # fmt: skip


def _crop_colours(farm: Farm, land: Parcels, when: Season) -> np.ndarray:
    """Reflectance ``[n, 3]`` of annual crops on this date, one row per parcel."""
    a, b, c = (land.table(farm.key, k)[:, None] for k in range(3))
    crop = _ROTATION[(land.keys >> np.uint32(20)) & np.uint32(15)]
    crop = np.where(land.table(farm.key + 2, 0) < farm.uniform, farm.main, crop)
    day = (when.phase + (a[:, 0] - 0.5) * 44).astype(np.int64) % 365
    stage = _STAGES[crop, day]
    soil = farm.soil[0] * (1 - b) + farm.soil[1] * b
    soil = soil * (0.9 + 0.35 * c)
    young = surface(66, 100, 90)[None] * (0.8 + 0.4 * c)
    dense = surface(44, 76, 78)[None] * (0.75 + 0.5 * b) + surface(60, 116, 84)[None] * (0.25 * c * b)
    ripe = surface(184, 152, 138)[None] * (0.75 + 0.4 * b)
    stubble = surface(222, 178, 162)[None] * (0.7 + 0.45 * c)
    bloom = surface(136, 148, 88)[None] * (0.85 + 0.3 * c)
    fallow = surface(132, 120, 116)[None] * (0.7 + 0.5 * c)
    each = np.stack([soil, soil * 0.75 + young * 0.25, young, dense, ripe, stubble, bloom, fallow])
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
        a, b, c = (t * (1 - farm.even) + 0.5 * farm.even for t in (a, b, c))
        ground = farm.soil[0] * (1 - b) + farm.soil[1] * b
        canopy = surface(58, 80, 82)[None] * (0.75 + 0.5 * c)
        closed = np.clip((0.1 + 0.95 * a) * farm.vigour * (0.6 + 0.4 * when.green), 0.05, 0.97)
        mine = ground * (1 - closed) + canopy * closed
        cover = np.where(other < farm.crop_share, PERMANENT, CROP).astype(np.uint8)
    else:
        lush = surface(49, 82, 82)[None] * (0.8 + 0.4 * a) + surface(62, 112, 86)[None] * (0.2 * b * c)
        dull = surface(88, 98, 99)[None] * (0.8 + 0.4 * a)
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
        track = surface(190, 166, 154) * 0.6 + farm.soil[1] * 0.4
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
    patch, speck = (0.05, 0.08) if permanent else (0.06, 0.025)
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


@dataclass
class Parcels:
    """Parcels over a view.

    Attributes:
        id: int32 ``[h, w]`` index into per-parcel tables.
        u, v: Coordinates in metres across and along the columns of parcels.
        du, dv: Distance in metres to the nearest boundary in either direction.
        lane: Distance in metres to the nearest boundary that carries a lane.
        keys: uint32 ``[n]``, one hash per parcel, the same from every view.
    """

    id: np.ndarray
    u: np.ndarray
    v: np.ndarray
    du: np.ndarray
    dv: np.ndarray
    lane: np.ndarray
    keys: np.ndarray

    def table(self, salt: int, part: int = 0) -> np.ndarray:
        """A uniform number in [0, 1) per parcel."""
        return unit(hash2(salt, self.keys, np.zeros(1, np.uint32)), part)


def _divide(keys: np.ndarray, samples: np.ndarray, pitch: float, keep: float, jitter: float, lanes: float):
    """Cut one axis once per key.

    Args:
        keys: uint32 ``[c]``.
        samples: Positions in metres at which to look, float64 ``[s]``.
        pitch, keep, jitter, lanes: As for :func:`parcels`.

    Returns:
        ``(part, gap, lane)``, each ``[c, s]``: absolute number of the part, distance in metres to the nearest
        boundary, and to the nearest one with a lane.
    """
    low = int(samples[0] / pitch) - 24
    k = np.arange(low, int(samples[-1] / pitch) + 26)
    h = hash2(0, keys[:, None], k[None])
    at = (k + (unit(h, 1).astype(np.float64) - 0.5) * jitter) * pitch
    exists = unit(h, 0) < keep
    exists[:, [0, -1]] = True
    carries = exists & (unit(h, 2) < lanes)

    nearest = np.floor(samples / pitch + 0.5).astype(np.int64) - low
    shift = np.arange(len(keys))[:, None] * len(k)
    index = nearest - (samples < at[:, nearest]) + shift  # the last fine boundary on the left
    count = np.arange(len(k))
    at = at.ravel()

    def around(flags):
        """The nearest flagged boundaries on either side: number on the left, distance to the nearer one."""
        before = np.maximum.accumulate(np.where(flags, count, 0), 1)
        after = np.minimum.accumulate(np.where(flags, count, len(k) - 1)[:, ::-1], 1)[:, ::-1]
        left = before.ravel().take(index)
        below, above = at.take(before + shift).take(index), at.take(after + shift).take(index + 1)
        return left, np.minimum(samples - below, above - samples)

    part, gap = around(exists)
    lane = around(carries)[1] if lanes else np.full(gap.shape, 1e6)
    return part + low, gap, lane


def parcels(
    view: View,
    key: int,
    direction: tuple[float, float],
    *,
    pitch: tuple[float, float],
    keep: tuple[float, float] = (0.6, 0.6),
    jitter: float = 0.8,
    lanes: tuple[float, float] = (0.3, 0.15),
    warp: tuple[float, float] | None = None,
) -> Parcels:
    """Cut the plane into columns, and each column into parcels of its own.

    Args:
        view: Where to look.
        key: 32-bit key of this cadastre.
        direction: Unit vector across the columns.
        pitch: Finest column width and parcel length in metres.
        keep: Share of the finest boundaries that exist; fewer give a wider mixture of sizes.
        jitter: Displacement of boundaries as a share of the pitch.
        lanes: Share of column and of parcel boundaries that carry a lane.
        warp: ``(amplitude, wavelength)`` in metres of a smooth displacement that bends the boundaries.
    """
    c, s = (np.float32(t) for t in direction)
    u, v = view.x * c + view.y * s, view.y * c - view.x * s
    reach = view.reach
    if warp:
        amplitude, wavelength = warp
        u += view.noise(mix_key(key, 1), wavelength) * np.float32(amplitude)
        v += view.noise(mix_key(key, 2), wavelength) * np.float32(amplitude)
        reach += 4 * amplitude
    tick = view.step / 2
    samples = np.arange(int(2 * reach / tick) + 2) * tick - reach
    inverse, shift = np.float32(1 / tick), np.float32(reach)
    top = np.int32(len(samples) - 1)
    at_u = np.minimum(((u + shift) * inverse).astype(np.int32), top)
    at_v = np.minimum(((v + shift) * inverse).astype(np.int32), top)

    key_u = np.array([mix_key(key, 3)], np.uint32)
    column, gap_u, lane_u = (t[0] for t in _divide(key_u, samples, pitch[0], keep[0], jitter, lanes[0]))
    low = column[0]
    present = np.arange(low, column[-1] + 1)
    key_v = hash2(mix_key(key, 4), present, np.zeros(1, np.uint32))
    part, gap_v, lane_v = _divide(key_v, samples, pitch[1], keep[1], jitter, lanes[1])
    at = (column - low).astype(np.int32).take(at_u) * np.int32(len(samples)) + at_v
    length = int(part.max() - part.min()) + 1
    number = (part - part.min() + np.arange(len(present))[:, None] * length).astype(np.int32)
    keys = hash2(mix_key(key, 5), present[:, None], (part.min() + np.arange(length))[None]).ravel()

    def look(table):
        return table.astype(np.float32).ravel().take(at)

    lane = np.minimum(lane_u.astype(np.float32).take(at_u), look(lane_v))
    return Parcels(
        number.ravel().take(at), u, v, gap_u.astype(np.float32).take(at_u), look(gap_v), lane, keys
    )
