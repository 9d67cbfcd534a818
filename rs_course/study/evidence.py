"""Reading a ledger: which rows, their mean and spread, and paired differences between two kinds of rows.

Two rows are a *pair* when they have the same seed (the same real images, the same order, the same initial
weights) and were tested on the same images. Differences of pairs are what a study's claims are judged by.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rs_course.classification.statistics import Difference, Spread, paired_difference, spread, unpack

# What a task means by leaving a setting out; see rs_course.classification.experiment.Task.
_DEFAULTS = {
    "ratio": 1.0,
    "synthetic_per_class": 0,
    "recipe": "basic",
    "augment": "flip+rotate",
    "classifier": "small-cnn",
}


def complete(ledger):
    """A copy with the defaults of the settings that some tasks leave out."""
    rows = ledger.copy()
    for key, value in _DEFAULTS.items():
        rows[key] = rows[key].fillna(value) if key in rows else value
    return rows


def select(ledger, **where):
    """Rows whose columns have these values; a list stands for any of its values.

    Raises:
        ValueError: A column that the ledger does not have.
    """
    chosen = np.ones(len(ledger), bool)
    for column, value in where.items():
        if column not in ledger.columns:
            raise ValueError(f"the ledger has no column {column!r}; it has {', '.join(ledger.columns)}.")
        values = list(value) if isinstance(value, list | tuple | set) else [value]
        chosen &= ledger[column].isin(values).to_numpy()
    return ledger[chosen]


def curve(ledger, x: str, y: str = "accuracy") -> dict[float, Spread]:
    """Mean and standard deviation of ``y`` over seeds, for every value of ``x``, in its order."""
    return {value: spread(rows[y]) for value, rows in ledger.groupby(x)}


def correctness(rows) -> np.ndarray:
    """Bool ``[S, T]``: whether test image t was named rightly under seed s, seeds ascending.

    Raises:
        ValueError: No rows, several rows of one seed, or rows that were tested on different images.
    """
    if not len(rows):
        raise ValueError("no rows match, so there is nothing to compare.")
    if rows["test_hash"].nunique() > 1:
        raise ValueError("rows that were tested on different images cannot be compared pair by pair.")
    if rows["seed"].duplicated().any():
        varying = [c for c in ("arm", "real_per_class", "ratio", "recipe", "augment", "classifier", "steps")
                   if c in rows and rows[c].nunique(dropna=False) > 1]  # fmt: skip
        raise ValueError(
            f"several rows of one seed match: say which {' and '.join(varying) or 'of them'} is meant."
        )
    ordered = rows.sort_values("seed")
    return np.stack([unpack(row.correct, row.n_test) for row in ordered.itertuples()])


def worth(images, accuracies, accuracy: float) -> float:
    """How many real images per class give this accuracy, on a measured learning curve.

    Between the budgets the curve is taken as straight over the logarithm of their number.

    Args:
        images: Budgets, ascending.
        accuracies: What was reached with them, ascending.
        accuracy: To be looked up.

    Returns:
        The number; NaN below the curve's first point or above its last.
    """
    if not accuracies[0] <= accuracy <= accuracies[-1]:
        return float("nan")
    return float(np.exp(np.interp(accuracy, accuracies, np.log(images))))


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
