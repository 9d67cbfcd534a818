"""Reading a ledger: which rows, their mean and spread, and paired differences between two kinds of rows.

Two rows are a *pair* when they have the same seed (the same real images, the same order, the same initial
weights) and were tested on the same images. Differences of pairs are what a study's hypotheses are judged by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rs_course.classification.evaluation import Spread, spread, unpack

if TYPE_CHECKING:
    import pandas as pd

# What a task means by leaving a setting out; see rs_course.classification.experiment.Task.
_DEFAULTS = {
    "ratio": 1.0,
    "synthetic_per_class": 0,
    "recipe": "basic",
    "augment": "flip+rotate",
    "classifier": "small-cnn",
    "round_trip": "",
    "threshold": 0.0,
}


def complete(ledger: pd.DataFrame) -> pd.DataFrame:
    """A copy with the defaults of the settings that some tasks leave out."""
    rows = ledger.copy()
    for key, value in _DEFAULTS.items():
        rows[key] = rows[key].fillna(value) if key in rows else value
    return rows


def select(ledger: pd.DataFrame, **where) -> pd.DataFrame:
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


def curve(ledger: pd.DataFrame, x: str) -> dict[float, Spread]:
    """Mean and standard deviation of the accuracy over seeds, for every value of ``x``, in its order."""
    return {value: spread(rows["accuracy"]) for value, rows in ledger.groupby(x)}


def correctness(rows: pd.DataFrame, on: str | None = None) -> np.ndarray:
    """Bool ``[S, T]``: whether test image t was named rightly under seed s, seeds ascending.

    Args:
        rows: One setting's.
        on: A shift of the test images ("haze 1", "simulated Earth") instead of these.

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
    if on is None:
        return np.stack([unpack(row.correct, row.n_test) for row in ordered.itertuples()])
    if (
        "shift_names" not in rows
        or rows["shift_names"].isna().any()
        or on not in ordered.iloc[0]["shift_names"]
    ):
        raise ValueError(f"these rows were not tested on {on!r}.")
    k = list(ordered.iloc[0]["shift_names"]).index(on)
    return np.stack([unpack(row.shift_correct[k], row.shift_count[k]) for row in ordered.itertuples()])


def ladders(ledger: pd.DataFrame, arm: str = "real") -> dict[str, object]:
    """Rows that differ in their number of steps alone, judged on validation, by budget.

    They show whether the trainings of a study are long enough: a ladder that ends on a flat step is.

    Args:
        ledger: Of a study that tunes its steps.
        arm: Of which arm.

    Returns:
        ``{"100 per class": rows}``, of each budget the settings that most numbers of steps were tried with.
    """
    if "part" not in ledger:
        return {}
    rows, found = complete(select(ledger, part="validation", arm=arm)), {}
    same = [c for c in ("lr", "augment", "batch_size", "classifier", "recipe", "synthetic") if c in rows]
    for budget, own in rows.groupby("real_per_class"):
        groups = [part for _, part in own.groupby(same, dropna=False)]
        longest = max(groups, key=lambda part: part["steps"].nunique())
        if longest["steps"].nunique() > 1:
            found[f"{budget:g} per class"] = longest
    return found


def worth(images: ArrayLike, accuracies: Sequence[float] | np.ndarray, accuracy: float) -> float:
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


class PairedInterval(NamedTuple):
    """A mean difference over seeds and test images.

    Attributes:
        estimate, low, high: The difference and its interval.
        p: Two-sided, of no difference.
        df: Degrees of freedom of Student's t: S - 1 where seeds dominate, many where test images do.
        seeds: S.
    """

    estimate: float
    low: float
    high: float
    p: float
    df: float
    seeds: int


def interval(difference: ArrayLike, *, level: float = 0.95) -> PairedInterval:
    """Interval of a mean over seeds and test images, both drawn at random and crossed.

    The variance of the mean is (MS_seed + MS_image - MS_rest) / (S·T), from the mean squares of the two-way
    table, with Satterthwaite's (1946) degrees of freedom for Student's t. Where seeds dominate this is the
    t interval over seeds, where images dominate the normal one; a bootstrap over five seeds is too narrow.

    Args:
        difference: Of correctness ``[S, T]``.
        level: Probability that the interval is meant to cover.

    Raises:
        ValueError: No seed, fewer than two images, or a level outside (0, 1).
    """
    from scipy import stats

    d = np.atleast_2d(np.asarray(difference, float))
    seeds, images = d.shape
    if images < 2 or not seeds:
        raise ValueError(f"an interval needs a seed and at least two test images, not {seeds} and {images}.")
    if not 0 < level < 1:
        raise ValueError(f"level is a probability between 0 and 1, not {level}.")
    mean, rows, columns = d.mean(), d.mean(1), d.mean(0)
    of_image = seeds * columns.var(ddof=1)
    if seeds == 1:
        variance, df = of_image / images, images - 1.0
    else:
        of_seed = images * rows.var(ddof=1)
        rest = d - rows[:, None] - columns + mean
        of_rest = (rest**2).sum() / ((seeds - 1) * (images - 1))
        together = max(of_seed + of_image - of_rest, of_seed)
        parts = of_seed**2 / (seeds - 1) + of_image**2 / (images - 1)
        parts += of_rest**2 / ((seeds - 1) * (images - 1))
        # The difference of mean squares can make Satterthwaite's number fall below that of the seeds alone.
        df = max(together**2 / parts, seeds - 1.0) if parts else seeds - 1.0
        variance = together / (seeds * images)
    error = float(np.sqrt(variance))
    if error == 0:
        return PairedInterval(mean, mean, mean, float(mean == 0), df, seeds)
    half = stats.t.ppf(0.5 + level / 2, df) * error
    return PairedInterval(
        mean, mean - half, mean + half, float(2 * stats.t.sf(abs(mean) / error, df)), df, seeds
    )


def paired(rows: pd.DataFrame, better: dict, worse: dict, on: str | None = None) -> np.ndarray:
    """Correctness of one setting minus that of another ``[S, T]``, over the seeds that both have.

    Args:
        rows: Of a ledger.
        better, worse: Values of columns, as for :func:`select`; ``{"chance": 0.1}`` is a guess.
        on: As for :func:`correctness`.

    Raises:
        ValueError: Nothing matches on one side, or rows that do not pair.
    """
    first = select(rows, **better)
    if "chance" in worse:
        return correctness(first, on) - float(worse["chance"])
    second = select(rows, **worse)
    for side, where in ((first, better), (second, worse)):
        if not len(side):
            raise ValueError(f"no row of the ledger has {', '.join(f'{k} = {v}' for k, v in where.items())}.")
    if set(first["test_hash"]) != set(second["test_hash"]):
        raise ValueError("the two sides were tested on different images, so they do not pair.")
    seeds = set(first["seed"]) & set(second["seed"])
    if not seeds:
        raise ValueError("the two sides have no seed in common.")
    one, two = (correctness(side[side["seed"].isin(seeds)], on).astype(float) for side in (first, second))
    return one - two


def share(part: ArrayLike, whole: ArrayLike, *, level: float = 0.95) -> tuple[float, float, float]:
    """Mean of one difference as a share of another's, with Fieller's (1954) interval.

    A share r is in the interval as long as ``part - r * whole`` may be zero.

    Args:
        part, whole: Differences ``[S, T]`` of the same seeds and test images.
        level: Probability that the interval is meant to cover.

    Returns:
        (share, low, high); NaN where ``whole`` may itself be zero, so that no share of it is known.

    Raises:
        ValueError: Differences that do not pair.
    """
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    if part.shape != whole.shape:
        raise ValueError(f"a share pairs seeds and images: {part.shape} and {whole.shape} do not pair.")
    known = interval(whole, level=level)
    if known.low <= 0 <= known.high:
        return (float("nan"),) * 3
    estimate = part.mean() / whole.mean()

    def edge(direction: int) -> float:
        """Where the difference that is left stops to be zero, by doubling and halving."""

        def outside(step: float) -> bool:
            left = interval(part - (estimate + direction * step) * whole, level=level)
            return not left.low <= 0 <= left.high

        inner, outer = 0.0, 0.01
        while not outside(outer):
            inner, outer = outer, 2 * outer
        while outer - inner > 1e-4:
            middle = (inner + outer) / 2
            inner, outer = (inner, middle) if outside(middle) else (middle, outer)
        return float(estimate + direction * inner)

    return float(estimate), edge(-1), edge(1)
