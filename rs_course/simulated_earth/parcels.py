"""The cadastre: an endless, irregular division of the plane into parcels, looked up through small tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .exact import hash2, mix_key, unit
from .view import View


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


def _cuts(key: int, low: float, high: float, pitch: float, keep: float, jitter: float, lanes: float):
    """Boundaries of one axis between ``low`` and ``high``: numbers, positions, and which carry a lane."""
    k = np.arange(int(low / pitch) - 24, int(high / pitch) + 3)
    h = hash2(key, k, np.zeros(1, np.uint32))
    kept = unit(h, 0) < keep
    kept[[0, -1]] = True
    k, h = k[kept], h[kept]
    at = (k + (unit(h, 1).astype(np.float64) - 0.5) * jitter) * pitch
    return k, at, unit(h, 2) < lanes


def _distance(positions: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Distance of sorted sample positions to the nearest cut."""
    if len(cuts) == 0:
        return np.full(len(positions), 1e6)
    right = np.searchsorted(cuts, positions)
    below = np.abs(positions - cuts[np.maximum(right - 1, 0)])
    return np.minimum(below, np.abs(cuts[np.minimum(right, len(cuts) - 1)] - positions))


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

    columns, cuts_u, lane_u = _cuts(mix_key(key, 3), -reach, reach, pitch[0], keep[0], jitter, lanes[0])
    column_of = np.searchsorted(cuts_u, samples) - 1
    low, high = int(column_of.min()), int(column_of.max())
    ids, dv, lane_v, keys, first = [], [], [], [], 0
    for column in columns[low : high + 1]:
        column_key = mix_key(key, 1000 + int(column) % 100003)
        rows, cuts_v, carry = _cuts(column_key, -reach, reach, pitch[1], keep[1], jitter, lanes[1])
        row_of = np.searchsorted(cuts_v, samples) - 1
        ids.append(row_of + first)
        dv.append(_distance(samples, cuts_v))
        lane_v.append(_distance(samples, cuts_v[carry]))
        keys.append(hash2(column_key, rows, np.ones(1, np.uint32)))
        first += len(rows)
    at = (column_of - low).astype(np.int32)[at_u] * np.int32(len(samples)) + at_v

    def look(tables):
        return np.concatenate(tables).astype(np.float32).take(at)

    du = _distance(samples, cuts_u).astype(np.float32).take(at_u)
    lane = np.minimum(_distance(samples, cuts_u[lane_u]).astype(np.float32).take(at_u), look(lane_v))
    ids = np.concatenate(ids).astype(np.int32).take(at)
    return Parcels(ids, u, v, du, look(dv), lane, np.concatenate(keys))
