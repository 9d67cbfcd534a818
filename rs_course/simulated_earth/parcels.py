"""The cadastre: an endless, irregular division of the plane into parcels, looked up through small tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .deterministic import hash2, mix_key, unit
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
