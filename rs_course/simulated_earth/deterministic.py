"""Arithmetic that gives the same bytes on every machine.

NumPy's ``sin``/``exp``/``pow`` and BLAS products may differ in the last bit between processors. The simulator
therefore uses only operations that IEEE 754 rounds correctly (``+ - * / sqrt floor``), integer hashing, and
matrix products whose entries are integers below 2^53: those are exact in float64, so neither the order of
summation nor fused multiply-add can change a bit.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from math import floor, pi
from zlib import crc32

import numpy as np

_WEIGHT = 4096  # quantised spline weights sum to this
_VALUE = 1024  # lattice values lie in (-_VALUE, _VALUE)
# A cubic B-spline of independent uniform values has this standard deviation per unit of _VALUE * _WEIGHT^2.
_SCALE = np.float32(1 / (0.277 * _VALUE * _WEIGHT * _WEIGHT))


def sin(x: float) -> float:
    """Sine of a Python float by reduction to [-pi/2, pi/2] and a Taylor polynomial (error below 1e-9)."""
    x -= 2 * pi * floor(x / (2 * pi) + 0.5)
    if x > pi / 2:
        x = pi - x
    elif x < -pi / 2:
        x = -pi - x
    s = x * x
    return x * (1 - s / 6 * (1 - s / 20 * (1 - s / 42 * (1 - s / 72 * (1 - s / 110 * (1 - s / 156))))))


def cos(x: float) -> float:
    """Cosine, as :func:`sin`."""
    return sin(x + pi / 2)


def mix_key(key: int, salt: int) -> int:
    """A new 32-bit key from a key and a salt (the finaliser of MurmurHash3)."""
    h = (key ^ (salt * 0x9E3779B1)) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
    return h ^ (h >> 16)


def hash2(key: int, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Hash two integer arrays (broadcast together) to uint32; unsigned overflow wraps by definition."""
    h = (
        i.astype(np.uint32) * np.uint32(0x9E3779B1)
        ^ j.astype(np.uint32) * np.uint32(0x85EBCA77)
        ^ np.uint32(key)
    )
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x2C1B3C6D)
    h ^= h >> np.uint32(12)
    h *= np.uint32(0x297A2D39)
    h ^= h >> np.uint32(15)
    return h


def unit(h: np.ndarray, part: int = 0) -> np.ndarray:
    """Uniform float32 in [0, 1) from 8 bits of a hash; ``part`` 0..3 selects which byte."""
    return ((h >> np.uint32(8 * part)) & np.uint32(255)).astype(np.float32) * np.float32(1 / 256)


class RandomStream:
    """Random draws of one named stream, from ``(label, seed, name)`` alone (PCG64)."""

    def __init__(self, label: int, seed: int, name: str):
        self._bits = np.random.PCG64([seed, label, crc32(name.encode())])
        self._next = np.random.Generator(self._bits).random

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self._next()

    def chance(self, probability: float) -> bool:
        """Whether something happens that has this probability."""
        return self._next() < probability

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high], both included."""
        return low + int(self._next() * (high - low + 1))

    def pick(self, weights: dict):
        """A key of ``weights`` with probability proportional to its value."""
        left = self._next() * sum(weights.values())
        for choice, weight in weights.items():
            left -= weight
            if left < 0:
                return choice
        return choice

    def key(self) -> int:
        """A number of 32 bits, to begin another stream with."""
        return int(self._next() * 4294967296)

    def bytes(self, count: int) -> np.ndarray:
        """``count`` random bytes (a multiple of 8), in the same order on any byte order."""
        return self._bits.random_raw(count // 8).astype("<u8").view(np.uint8)

    def bell(self) -> float:
        """A bell-shaped draw with mean 0 and standard deviation 1 (sum of four uniforms)."""
        return (self._next() + self._next() + self._next() + self._next() - 2) * 1.7320508

    def direction(self) -> tuple[float, float]:
        """A random unit vector."""
        angle = self.uniform(0, 2 * pi)
        return cos(angle), sin(angle)


def spline_weights(positions: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Quantised cubic B-spline weights of ``positions`` (in lattice units).

    Returns:
        ``(W, first, count)``: float64 integers ``[len(positions), count]``, each row summing to 4096, and the
        lattice indices ``first .. first + count - 1`` that the columns stand for.
    """
    cell = np.floor(positions).astype(np.int64)
    f = positions - cell
    g = 1 - f
    taps = np.stack([g * g * g / 6, (4 - 6 * f * f + 3 * f * f * f) / 6, np.zeros_like(f), f * f * f / 6])
    taps = np.floor(taps * _WEIGHT + 0.5)
    taps[2] = _WEIGHT - taps.sum(0)  # small integers: this sum is exact
    first, count = int(cell.min()) - 1, int(cell.max() - cell.min()) + 4
    count += -count % 8  # whole slabs, see lattice_noise
    weights = np.zeros((len(positions), count))
    rows = np.arange(len(positions))
    for k in range(4):
        weights[rows, cell - cell.min() + k] = taps[k]
    return weights, first, count


#: Lattice spacings are rounded to this geometric series, so that few weight matrices serve all scenes.
_SPACINGS = [round(4 * 1.25**k, 2) for k in range(36)]


def spacing_near(spacing: float) -> float:
    """The first of the usual lattice spacings that is not below ``spacing``."""
    return _SPACINGS[min(bisect_left(_SPACINGS, spacing), len(_SPACINGS) - 1)]


@lru_cache(maxsize=512)
def _axis_weights(start: float, step: float, count: int, spacing: float):
    return spline_weights((start + step * np.arange(count)) / spacing)


def lattice_noise(
    key: int, spacing: float, x: tuple, y: tuple, rows: slice = slice(None), cols: slice = slice(None)
) -> np.ndarray:
    """Smooth noise of the plane: cubic B-splines over hashed lattice values, about zero mean and unit spread.

    Args:
        key: 32-bit key; two keys give independent fields.
        spacing: Distance of lattice points in metres.
        x, y: Sample positions along each axis as ``(start, step, count)`` in metres.
        rows, cols: Part of the samples to return.

    Returns:
        float32 ``[count_y, count_x]``, or the part of it.
    """
    wx, i0, ni = _axis_weights(*x, spacing)
    wy, j0, nj = _axis_weights(*y, spacing)
    h = hash2(key, np.arange(i0, i0 + ni)[None], np.arange(j0, j0 + nj)[:, None])
    values = (h >> np.uint32(21)).astype(np.float64) - (_VALUE - 0.5)
    return _product(wy[rows], _product(values, wx[cols].T)).astype(np.float32) * _SCALE


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a @ b`` in slabs of eight rows: products this small stay on one thread, faster than waking a pool."""
    rows, inner = a.shape
    if rows % 8:
        return a @ b
    return np.matmul(a.reshape(rows // 8, 8, inner), b).reshape(rows, b.shape[1])


def line_noise(key: int, positions: np.ndarray) -> np.ndarray:
    """One-dimensional smooth noise at ``positions`` (in lattice units), about unit spread; float64."""
    cell = np.floor(positions)
    f = positions - cell
    g = 1 - f
    lattice = np.arange(int(cell.min()) - 1, int(cell.max()) + 4)
    values = (hash2(key, lattice, np.zeros(1, np.uint32)) >> np.uint32(8)).astype(np.float64) / 2**23 - 1
    at = (cell - lattice[0]).astype(np.int64) - 1
    near = [values[at + k] for k in range(4)]
    f2, f3 = f * f, f * f * f
    smooth = near[0] * (g * g * g) + near[1] * (4 - 6 * f2 + 3 * f3)
    smooth = smooth + near[2] * (1 + 3 * f + 3 * f2 - 3 * f3) + near[3] * f3
    return smooth / 6 / 0.4


def smoothstep(t: np.ndarray) -> np.ndarray:
    """The cubic 3t² - 2t³ on [0, 1], clamped outside."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def triangle(t: np.ndarray) -> np.ndarray:
    """Triangle wave of period 1 in [-1, 1]: the exact stand-in for a cosine."""
    return np.abs(t - np.floor(t) - np.float32(0.5)) * np.float32(4) - np.float32(1)
