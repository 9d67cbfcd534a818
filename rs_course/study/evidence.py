"""Comparisons with a bootstrap, averaged over budgets: what the lessons read the first ledgers with.

New studies are judged by :mod:`rs_course.study.hypotheses`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rs_course.classification.evaluation import Difference, paired_difference
from rs_course.study.comparisons import complete, correctness, curve, select, worth

__all__ = ["Comparison", "compare", "complete", "correctness", "curve", "select", "worth"]


@dataclass(frozen=True)
class Comparison:
    """One kind of rows against another.

    Attributes:
        overall: Mean difference over the cells.
        cells: The difference in each cell, by the value of ``per``; empty without ``per``.
        better, worse: Mean accuracy of both over seeds and cells.
    """

    overall: Difference
    cells: dict
    better: float
    worse: float

    @property
    def error_removed(self) -> float:
        """Share of the errors of ``worse`` that ``better`` does not make; negative where it makes more."""
        return (self.better - self.worse) / (1 - self.worse) if self.worse < 1 else 0.0


def compare(
    ledger, better: dict, worse: dict, *, per: str | None = None, resamples: int = 2000, seed: int = 0
) -> Comparison:
    """Accuracy of the rows ``better`` minus that of the rows ``worse``, pair by pair.

    Args:
        ledger: Rows of a study.
        better, worse: Values of columns, as for :func:`select`; ``worse = {"chance": 0.1}`` compares with a
            classifier that is right with this probability.
        per: A column that both must agree in (``"real_per_class"``): compared value by value, then averaged.
        resamples, seed: Of the bootstrap over seeds and test images.

    Raises:
        ValueError: Nothing matches on one side, or rows that do not pair.
    """
    if "chance" in worse:
        return _against_chance(select(ledger, **better), worse["chance"], resamples, seed)
    sides = [select(ledger, **where) for where in (better, worse)]
    for side, where in zip(sides, (better, worse), strict=True):
        if not len(side):
            raise ValueError(f"no row of the ledger has {', '.join(f'{k} = {v}' for k, v in where.items())}.")
    keys = [None] if per is None else sorted(set(sides[0][per]) & set(sides[1][per]))
    if not keys:
        raise ValueError(f"the two sides have no value of {per} in common.")
    cells = {key: [side if key is None else side[side[per] == key] for side in sides] for key in keys}
    # A study that is half done has more seeds in some cells than in others; a mean over cells needs the same.
    seeds = set.intersection(*(set(side["seed"]) for pair in cells.values() for side in pair))
    if not seeds:
        raise ValueError("the two sides have no seed in common.")
    pairs = {key: _paired(*pair, seeds) for key, pair in cells.items()}
    mean = [np.mean([pair[k] for pair in pairs.values()], axis=0) for k in (0, 1)]
    bootstrap = {"resamples": resamples, "seed": seed}
    return Comparison(
        overall=paired_difference(*mean, **bootstrap),
        cells={}
        if per is None
        else {key: paired_difference(*pair, **bootstrap) for key, pair in pairs.items()},
        better=float(mean[0].mean()),
        worse=float(mean[1].mean()),
    )


def _paired(first, second, seeds):
    """Correctness of both sides under some seeds."""
    if set(first["test_hash"]) != set(second["test_hash"]):
        raise ValueError("the two sides were tested on different images, so they do not pair.")
    return [correctness(side[side["seed"].isin(seeds)]) for side in (first, second)]


def _against_chance(rows, chance: float, resamples: int, seed: int) -> Comparison:
    correct = correctness(rows)
    guessed = np.full(correct.shape, chance)
    return Comparison(
        paired_difference(correct, guessed, resamples=resamples, seed=seed), {}, float(correct.mean()), chance
    )
