"""Several seeds, one answer: mean and spread, paired differences with intervals, effect sizes.

Two things vary between runs of a study: which images, weights and order a seed draws, and which images happen
to be in the test set. A difference between two arms is believed when it stands out against both.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Spread(NamedTuple):
    """Mean over seeds and sample standard deviation (NaN for one seed)."""

    mean: float
    std: float
    n: int

    def __format__(self, spec: str) -> str:
        return f"{self.mean:{spec}} ± {self.std:{spec}}" if self.n > 1 else f"{self.mean:{spec}} (one seed)"


def spread(values) -> Spread:
    """Mean ± standard deviation (n - 1) of one number per seed.

    >>> f"{spread([0.90, 0.92, 0.94]):.2f}"
    '0.92 ± 0.02'
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or not len(values):
        raise ValueError("spread takes a list of numbers, one per seed.")
    deviation = values.std(ddof=1) if len(values) > 1 else math.nan
    return Spread(float(values.mean()), float(deviation), len(values))


class Difference(NamedTuple):
    """Accuracy of one arm minus that of another.

    Attributes:
        estimate: Mean difference over seeds and test images.
        low, high: Bootstrap interval over both.
        cohens_h: Effect size of two proportions, 2·asin√p₁ − 2·asin√p₂ (Cohen 1988): about 0.2 small, 0.5
            medium, 0.8 large.
        cohens_d: Mean of the paired differences of the seeds over their standard deviation; NaN for one seed.
        n: Number of seeds.
    """

    estimate: float
    low: float
    high: float
    cohens_h: float
    cohens_d: float
    n: int

    @property
    def certain(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


def paired_difference(
    first, second, *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> Difference:
    """Compare two arms that were tested on the same images, seed by seed.

    Seeds and test images are resampled independently, as crossed factors (Owen 2007, "The pigeonhole
    bootstrap"), because an interval over test images alone pretends that another seed would give the same
    classifier. With one seed only the images are resampled.

    Args:
        first, second: Correctness of every test image under every seed, bool ``[S, T]`` or ``[T]``; row s of
            both belongs to the same seed.
        resamples: Number of resamples.
        level: Probability that the interval is meant to cover.
        seed: Of the resamples.

    Raises:
        ValueError: Different shapes, or a level outside (0, 1).
    """
    a, b = (np.atleast_2d(np.asarray(x, float)) for x in (first, second))
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] < 2:
        raise ValueError(
            f"A paired comparison needs the same seeds and test images in both arms, not {a.shape} and "
            f"{b.shape}."
        )
    if not 0 < level < 1:
        raise ValueError(f"level={level} must lie between 0 and 1.")
    seeds, images = a.shape
    difference, rng = a - b, np.random.default_rng(seed)
    of_seeds = rng.multinomial(seeds, [1 / seeds] * seeds, resamples)
    of_images = rng.multinomial(images, [1 / images] * images, resamples)
    drawn = ((of_seeds @ difference) * of_images).sum(1) / (seeds * images)
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    by_seed = difference.mean(1)
    deviation = by_seed.std(ddof=1) if seeds > 1 else math.nan
    h = 2 * math.asin(math.sqrt(a.mean())) - 2 * math.asin(math.sqrt(b.mean()))
    d = by_seed.mean() / deviation if deviation else math.nan
    return Difference(float(by_seed.mean()), float(low), float(high), h, float(d), seeds)


def pack(correct) -> bytes:
    """Bool ``[T]`` as bytes, eight images each: what a ledger keeps per run for later comparisons."""
    return np.packbits(np.asarray(correct, bool)).tobytes()


def unpack(packed: bytes, count: int) -> np.ndarray:
    """The bool ``[count]`` that :func:`pack` took."""
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))
    if not count <= len(bits) < count + 8:
        raise ValueError(f"{len(packed)} bytes hold {len(bits)} test images or up to 7 fewer, not {count}.")
    return bits[:count].astype(bool)
