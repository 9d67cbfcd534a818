"""Exam of A2, classification with synthetic data: measure it, read a ledger, judge tiles, and use them.

Here are the measures and the ledger of a study: what generated tiles are worth, and what the runs allow to
say; the questions about tiles are in :mod:`.cl_tiles`. Expected values of F1 and the confusion matrix come
from scikit-learn, of the interval from scipy, of the worth in real tiles from :mod:`rs_course.study`.

A ledger is a dict of columns, as ``rs-course study`` writes them. The hidden ledgers are drawn so that *yes*,
*no* and *not decided* are equally often right; two public ones are cut from the course's first EuroSAT study.
"""

from __future__ import annotations

import json
from functools import cache, partial

import numpy as np
import torch

from rs_course.grading.exam import Check, Exam, Wrong, of_call
from rs_course.grading.exams.cl_tiles import CLASSIFIER, LEAKS, USABLE
from rs_course.grading.sandbox import Limits
from rs_course.paths import data_dir

YES, NO, OPEN = "yes", "no", "not decided"
COLUMNS = ("arm", "real_per_class", "seed", "accuracy", "n_leaked", "test_hash")
SEEDS, T = 5, 2.776  # Student's t for 95 % and SEEDS - 1 degrees of freedom

# --- Measures ----------------------------------------------------------------------------------------------


def _predictions(rng, classes=4, count=60):
    labels = rng.choice(classes, count, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    predicted = np.where(rng.random(count) < 0.6, labels, rng.integers(0, classes, count))
    return _labels(labels, predicted, classes)


def _absent_class(rng):
    """Class 3 occurs in neither, so its F1 is 0 over 0."""
    labels, predicted = rng.integers(0, 3, (2, 30))
    return _labels(labels, predicted, 4)


def _labels(labels, predicted, classes):
    return {"labels": torch.tensor(labels), "predicted": torch.tensor(predicted), "classes": classes}


def _confusion(labels, predicted, classes):
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(labels, predicted, labels=range(classes))


def _f1(labels, predicted, classes, average="macro"):
    from sklearn.metrics import f1_score

    return f1_score(labels, predicted, labels=range(classes), average=average, zero_division=0)


def _f1_present(labels, predicted, classes):
    from sklearn.metrics import f1_score

    present = sorted(set(labels.tolist()) | set(predicted.tolist()))
    return f1_score(labels, predicted, labels=present, average="macro")


def _f1_of_means(labels, predicted, classes):
    from sklearn.metrics import precision_score, recall_score

    options = {"labels": range(classes), "average": "macro", "zero_division": 0}
    precision, recall = (score(labels, predicted, **options) for score in (precision_score, recall_score))
    return 2 * precision * recall / (precision + recall)


_CONFUSION_MISTAKES = {
    "rows are the true class, columns the prediction: yours is transposed": lambda **x: _confusion(**x).T,
    "counts are wanted, not shares": lambda **x: (
        _confusion(**x) / _confusion(**x).sum(1, keepdims=True).clip(1)
    ),
    "counts are wanted, not shares of everything": lambda **x: _confusion(**x) / len(x["labels"]),
}
_F1_MISTAKES = {
    "the sum of all hits is accuracy (micro F1): average the F1 of the classes": partial(
        _f1, average="micro"
    ),
    "every class counts alike: you weighted by how often it occurs": partial(_f1, average="weighted"),
    "average the F1 of the classes, not precision and recall first": _f1_of_means,
    "a class that never occurs has F1 = 0 and counts, you left it out": _f1_present,
    "one value per class was returned: average them": partial(_f1, average=None),
}
_check_confusion = of_call(
    "scores", "confusion(labels, predicted, classes)", expected=_confusion, mistakes=_CONFUSION_MISTAKES
)
_check_macro_f1 = of_call("scores", "macro_f1(labels, predicted, classes)", expected=_f1)
SCORES = (
    _check_confusion(
        "scores.small", 0.5, lambda rng: _labels([0, 0, 1, 1, 1, 2], [0, 1, 1, 1, 1, 2], 3), public=True
    ),
    _check_confusion("scores.confusion", 0.5, _predictions),
    _check_macro_f1("scores.f1", 1.5, _predictions, mistakes=_F1_MISTAKES),
    _check_macro_f1(
        "scores.absent_class",
        0.5,
        _absent_class,
        mistakes={"0/0 was not caught: an absent class has F1 = 0": lambda **x: np.nan, **_F1_MISTAKES},
    ),
)


def _accuracies(rng, seeds=6):
    from scipy.stats import t

    base, gain = rng.normal(0.7, 0.05, seeds), rng.normal(0.02, 0.01, seeds)
    return {"a": torch.tensor(base + gain), "b": torch.tensor(base), "t": float(t.ppf(0.975, seeds - 1))}


def _interval(a, b, t, *, ddof=1, paired=True, root=True, two_sided=True):
    a, b = np.asarray(a), np.asarray(b)
    n, mean = len(a), (a - b).mean()
    spread = (a - b).std(ddof=ddof) if paired else np.sqrt(a.var(ddof=ddof) + b.var(ddof=ddof))
    half = t * spread / (np.sqrt(n) if root else 1) / (1 if two_sided else 2)
    return [mean, mean - half, mean + half]


_INTERVAL_MISTAKES = {
    "the runs are paired by seed: take the spread of the differences": partial(_interval, paired=False),
    "divide by n − 1 in the variance": partial(_interval, ddof=0),
    "the standard error has √n in its denominator, it is missing": partial(_interval, root=False),
    "the whole interval is 2·t standard errors wide, yours is half of it": partial(
        _interval, two_sided=False
    ),
    "t comes with the call: you used 1.96, which is for many runs": lambda a, b, t: _interval(a, b, 1.96),
    "the difference is a − b": lambda a, b, t: _interval(b, a, t),
}
_check_paired_interval = of_call(
    "paired_interval", "paired_interval(a, b, t)", expected=_interval, mistakes=_INTERVAL_MISTAKES
)
INTERVAL = (
    _check_paired_interval(
        "interval.two_seeds",
        0.5,
        lambda rng: {"a": torch.tensor([0.8, 0.9]), "b": torch.tensor([0.7, 0.6]), "t": 12.706},
        public=True,
    ),
    _check_paired_interval("interval.six_seeds", 2, _accuracies, tolerance=1e-6),
)


# --- How many real tiles are they worth? -------------------------------------------------------------------


def _curve(rng):
    budgets = np.array([1, 2, 4, 8, 16, 64])
    accuracies = 0.3 + np.cumsum(rng.uniform(0.03, 0.12, len(budgets)))
    return budgets, accuracies


def _inside(rng):
    budgets, accuracies = _curve(rng)
    place, share = int(rng.integers(1, 5)), rng.uniform(0.25, 0.75)
    reached = accuracies[place] + share * (accuracies[place + 1] - accuracies[place])
    return _points(budgets, accuracies, float(reached))


def _points(budgets, accuracies, reached):
    return {"budgets": torch.tensor(budgets), "accuracies": torch.tensor(accuracies), "reached": reached}


def _outside(rng):
    """One below the curve, one above it, and one on it, in random order."""
    budgets, accuracies = _curve(rng)
    reached = [accuracies[0] - 0.05, accuracies[-1] + 0.04, accuracies[2:4].mean()]
    return _points(budgets, accuracies, [float(reached[place]) for place in rng.permutation(3)])


def _worth(budgets, accuracies, reached):
    from rs_course.study.comparisons import worth

    if isinstance(reached, list):
        return [_worth(budgets, accuracies, one) for one in reached]
    return worth(budgets.numpy(), accuracies.numpy(), reached)


def _read(budgets, accuracies, reached, *, scale=lambda x: x, back=lambda x: x):
    return back(np.interp(reached, accuracies.numpy(), scale(budgets.numpy().astype(float))))


_WORTH_MISTAKES = {
    "between the budgets the curve is straight over the logarithm of their number": lambda **x: _read(**x),
    "this is the logarithm of the number: take exp": partial(_read, scale=np.log),
    "the nearest budget is not enough: interpolate": lambda budgets, accuracies, reached: float(
        budgets[(accuracies - reached).abs().argmin()]
    ),
}
_BEYOND_MISTAKES = {
    "beyond the curve nothing is known: return NaN, not its end": lambda **x: _read(
        **x, scale=np.log, back=np.exp
    )
}
_EACH = "[worth(budgets, accuracies, one) for one in reached]"
_check_worth = of_call(
    "worth", "worth(budgets, accuracies, reached)", expected=_worth, mistakes=_WORTH_MISTAKES
)
WORTH = (
    _check_worth(
        "worth.on_the_curve", 0.5, lambda rng: _points([1, 4, 16], [0.4, 0.6, 0.8], 0.7), public=True
    ),
    _check_worth("worth.between", 1, _inside),
    _check_worth("worth.beyond", 0.5, _outside, _EACH, mistakes=_BEYOND_MISTAKES),
)


# --- What do the runs allow to say? ------------------------------------------------------------------------


def gains(ledger, better, worse, *, clean=True, same_test=True):
    """Accuracy of the arm ``better`` minus that of ``worse``, for each seed the mean over the budgets.

    Rows pair when they agree in seed, budget and test images; ``clean`` leaves out runs with leaked images.
    """
    cells: dict = {}
    for arm, budget, seed, accuracy, leaks, test in zip(*(ledger[c] for c in COLUMNS), strict=True):
        if not (clean and leaks):
            key = (seed, budget, test if same_test else "")
            cells.setdefault(key, {}).setdefault(arm, []).append(accuracy)
    paired: dict = {}
    for (seed, *_), arms in cells.items():
        if better in arms and worse in arms:
            paired.setdefault(seed, []).append(np.mean(arms[better]) - np.mean(arms[worse]))
    return [float(np.mean(paired[seed])) for seed in sorted(paired)]


def _bounds(values, t):
    half = t * np.std(values, ddof=1) / np.sqrt(len(values))
    return np.mean(values) - half, np.mean(values) + half


def verdict(ledger, t) -> str:
    """Yes: better than the real tiles alone and than copies of them. No: worse than the real tiles alone."""
    (low, high), (control, _) = (_bounds(gains(ledger, "mixed", arm), t) for arm in ("real", "duplicate"))
    return YES if low > 0 and control > 0 else NO if high < 0 else OPEN


# Twelve verdicts, each with what generated tiles and copies of the real ones add to the real tiles, in
# accuracy, and how much the former differs from seed to seed. A large mean gain can be undecided, so that no
# threshold on the mean stands for the interval.
_CASES = (
    *[(YES, (0.04, 0.005, 0.0))] * 4,
    *[(NO, (-0.04, 0.005, 0.0))] * 4,
    (OPEN, (0.0, 0.0, 0.0)),
    (OPEN, (0.04, 0.04, 0.0)),
    (OPEN, (0.05, 0.005, 0.06)),
    (OPEN, (-0.05, 0.005, 0.06)),
)


def drawn(rng: np.random.Generator, wanted, effect):
    """A ledger whose verdict is ``wanted``, and clearly so; rows in random order."""
    while True:
        ledger = _draw(rng, *effect)
        values = [gains(ledger, "mixed", arm) for arm in ("real", "duplicate")]
        # A bound close to zero would leave the verdict to the last digit.
        decided = all(abs(bound) > 2e-3 for bounds in values for bound in _bounds(bounds, T))
        # What is undecided for its spread still has the mean of what is decided.
        clear = effect[2] == 0 or abs(np.mean(values[0])) > abs(effect[0]) / 2
        if decided and clear and verdict(ledger, T) == wanted:
            return ledger


def _draw(rng, mixed, duplicate, spread):
    seeds = rng.permutation(100)[:SEEDS].tolist()
    budgets = rng.choice([2, 4, 8, 16, 64], 2, replace=False).tolist()
    test, other = (rng.bytes(4).hex() for _ in range(2))
    effect = {"real": 0.0, "mixed": mixed, "duplicate": duplicate, "shuffled": -0.08}
    level = {seed: rng.normal(0, 0.04) for seed in seeds}
    swing = {seed: spread * rng.normal() for seed in seeds}
    rows = []
    for budget in budgets:
        for seed in seeds:
            for arm, gain in effect.items():
                accuracy = 0.4 + 0.08 * np.log2(budget) / 2 + level[seed] + gain + rng.normal(0, 0.006)
                accuracy += swing[seed] if arm == "mixed" else 0.0
                rows.append((arm, budget, seed, accuracy, 0, test))
    for place in rng.permutation(len(rows))[:8]:  # runs that had to be repeated: their test images had leaked
        arm, budget, seed, accuracy, _, _ = rows[place]
        rows.append((arm, budget, seed, accuracy + rng.uniform(0.1, 0.2), int(rng.integers(1, 20)), test))
    for seed in seeds:  # runs of one arm only, tested on other images
        rows.append(("mixed", budgets[0], seed, 0.4 + rng.uniform(0.2, 0.4), 0, other))
    rows = [rows[place] for place in rng.permutation(len(rows))]
    columns = {name: list(column) for name, column in zip(COLUMNS, zip(*rows, strict=True), strict=True)}
    return {**columns, "accuracy": [round(float(a), 4) for a in columns["accuracy"]]}


@cache
def eurosat(real_per_class: int) -> dict:
    """Rows of the course's first EuroSAT study: real tiles, four generated ones for each, copies instead."""
    file = data_dir() / "results" / "a2_ledgers.json"
    return json.loads(file.read_text(encoding="utf-8"))["ledgers"][str(real_per_class)]


def _one(rng):
    ledger = drawn(rng, *_CASES[rng.integers(len(_CASES))])
    # Only the arm "mixed" has runs on other images.
    better, worse = rng.permutation(["mixed", rng.choice(["real", "duplicate"])]).tolist()
    return {"ledger": ledger, "better": better, "worse": worse}


def _tiny(rng):
    columns = (
        ["mixed", "real", "real", "mixed", "mixed", "real"],
        [4, 4, 4, 4, 4, 4],
        [1, 0, 1, 0, 0, 0],
        [0.7, 0.5, 0.6, 0.53, 0.9, 0.8],
        [0, 0, 0, 0, 12, 0],
        ["a", "a", "a", "a", "a", "b"],
    )
    return {"ledger": dict(zip(COLUMNS, columns, strict=True)), "better": "mixed", "worse": "real"}


def _in_order_of_rows(ledger, better, worse):
    found = dict(zip(sorted(set(ledger["seed"])), gains(ledger, better, worse), strict=True))
    return [found[seed] for seed in dict.fromkeys(ledger["seed"])]


_GAIN_MISTAKES = {
    "runs with leaked test images were kept": partial(gains, clean=False),
    "runs that were tested on other images were paired": partial(gains, same_test=False),
    "the difference is better − worse": lambda ledger, better, worse: gains(ledger, worse, better),
    "one value per seed is wanted: you averaged over the seeds": lambda **x: np.mean(gains(**x)),
    "the seeds must be in ascending order": _in_order_of_rows,
}


def _twelve(rng):
    cases = [_CASES[place] for place in rng.permutation(len(_CASES))]
    ledgers = [drawn(rng, *case) for case in cases]
    copies_do_as_well = [
        right == OPEN and _bounds(gains(ledger, "mixed", "real"), T)[0] > 0
        for ledger, (right, _) in zip(ledgers, cases, strict=True)
    ]
    right = [wanted for wanted, _ in cases]
    return {"ledgers": ledgers, "t": T, "_right": right, "_copies_do_as_well": copies_do_as_well}


def _texts(value, inputs):
    right = inputs["_right"]
    known = isinstance(value, list) and all(isinstance(one, str) and one in (YES, NO, OPEN) for one in value)
    if not known or len(value) != len(right):
        raise Wrong("a verdict is one of the texts yes, no, not decided")
    return sum(given == wanted for given, wanted in zip(value, right, strict=True)), len(right)


def _graded_verdicts(value, inputs):
    found, count = _texts(value, inputs)
    if found == count:
        return
    wrong = [given != right for given, right in zip(value, inputs["_right"], strict=True)]
    if all(np.array(inputs["_copies_do_as_well"])[wrong]):
        said = "what copies of the real tiles do as well is not shown to be the generated tiles' merit"
        raise Wrong(said, 0.4)
    raise Wrong("some verdicts are wrong: yes needs both intervals above zero, no the first below it")


def _all_verdicts(value, inputs):
    found, count = _texts(value, inputs)
    if found < count:
        raise Wrong("on rows of a real study on EuroSAT this is not the right verdict")


def _shipped(rng):
    from scipy.stats import t as student

    ledgers = [eurosat(16), eurosat(100)]
    t = float(student.ppf(0.975, len(set(ledgers[0]["seed"])) - 1))
    return {"ledgers": ledgers, "t": t, "_right": [verdict(ledger, t) for ledger in ledgers]}


_VERDICTS = "[verdict(ledger, t) for ledger in ledgers]"
_check_gains = of_call("verdict", "gains(ledger, better, worse)", expected=gains, mistakes=_GAIN_MISTAKES)
VERDICT = (
    _check_gains("verdict.gains", 0.25, _tiny, public=True),
    Check("verdict.eurosat", "verdict", 0.25, _VERDICTS, _shipped, judge=_all_verdicts, public=True),
    _check_gains("verdict.gains_of_a_study", 1, _one),
    Check("verdict.hidden_ledgers", "verdict", 1.5, _VERDICTS, _twelve, judge=_graded_verdicts),
)


exam = Exam(
    name="a2_classification",
    title="A2 Classification with synthetic data",
    checks=(*SCORES, *WORTH, *INTERVAL, *VERDICT, *LEAKS, *USABLE, *CLASSIFIER),
    leaderboard=("classifier.hidden_scenes", "accuracy on hidden scenes"),
    preload=("numpy", "torch", "torch.nn.functional"),
    limits=Limits(step_s=60.0, wall_s=600.0),
    explain=("explain", "classifier", "train"),
)
