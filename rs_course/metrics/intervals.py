"""Confidence intervals: the bootstrap for any statistic of samples, Wilson's interval for a proportion.

By hand, because SciPy's bootstrap neither draws halves nor takes the bias of the resamples out, and its
Wilson interval knows no ties that count as half.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A statistic with its confidence interval and standard error."""

    estimate: float
    low: float
    high: float
    standard_error: float


def bootstrap(
    statistic: Callable,
    *samples,
    resamples: int = 200,
    level: float = 0.95,
    paired: bool = False,
    replace: bool = True,
    seed: int = 0,
) -> Interval:
    """Confidence interval of ``statistic(*samples)`` by resampling rows.

    The interval is the basic (reverse-percentile) one around the statistic, with the resamples' own bias
    taken out: repeated rows and smaller samples shift FID upwards, which is not a spread.

    >>> bootstrap(np.mean, np.arange(100.0)).estimate
    49.5

    Args:
        statistic: Function of as many arrays as there are samples, returning a number.
        *samples: Arrays or tensors whose first axis counts independent observations.
        resamples: Number of resamples.
        level: Probability that the interval is meant to cover.
        paired: Draw the same rows from every sample (images with their texts) instead of drawing from each
            by itself (real and generated images).
        replace: ``True`` is the bootstrap (Efron 1979). ``False`` draws halves without replacement, whose
            spread equals that of the full sample (half-sample subsampling, Politis & Romano 1994): use it
            for metrics of nearest neighbours, to which a repeated row is a neighbour at distance zero.
        seed: Seed of the resamples.

    Raises:
        ValueError: No samples, paired samples of different lengths, too few rows, or a level outside (0, 1).
    """
    sizes = [len(sample) for sample in samples]
    if not samples or min(sizes) < 2 or resamples < 2 or not 0 < level < 1:
        raise ValueError(
            f"A bootstrap needs samples of at least two rows, two resamples and a level between 0 and 1; got "
            f"sizes {sizes}, resamples={resamples}, level={level}."
        )
    if paired and len(set(sizes)) > 1:
        raise ValueError(f"Paired samples must have equal lengths, not {sizes}.")
    rng = np.random.default_rng(seed)

    def rows(size):
        return rng.integers(size, size=size) if replace else rng.permutation(size)[: (size + 1) // 2]

    values = []
    for _ in range(resamples):
        drawn = [rows(sizes[0])] * len(sizes) if paired else [rows(size) for size in sizes]
        values.append(float(statistic(*(sample[pick] for sample, pick in zip(samples, drawn, strict=True)))))
    estimate = float(statistic(*samples))
    deviations = np.asarray(values) - np.mean(values)
    tail = (1 - level) / 2
    upper, lower = np.quantile(deviations, [1 - tail, tail])
    return Interval(estimate, estimate - float(upper), estimate - float(lower), float(deviations.std(ddof=1)))


def wilson(successes: float, trials: int, *, level: float = 0.95) -> Interval:
    """Score interval of a proportion (Wilson 1927): it stays inside [0, 1] and is honest for small counts.

    Args:
        successes: How often it happened; a tie may count as half.
        trials: Out of how many independent trials.
        level: Probability that the interval is meant to cover.

    Raises:
        ValueError: Not ``0 <= successes <= trials`` with at least one trial, or a level outside (0, 1).
    """
    if not (0 <= successes <= trials and trials > 0 and 0 < level < 1):
        raise ValueError(
            f"A proportion needs 0 <= successes <= trials, trials > 0 and 0 < level < 1; got {successes} of "
            f"{trials} at {level}."
        )
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / trials
    shrink = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    # At 0 and at all successes the bound is the limit itself; rounding may miss it by one unit.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return Interval(share, low, high, math.sqrt(share * (1 - share) / trials))
