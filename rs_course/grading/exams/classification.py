"""Exam of A2, classification with synthetic data: measure it, read a ledger, judge tiles, and use them.

Expected values of F1 and the confusion matrix come from scikit-learn, of the interval from scipy, of the
worth in real tiles from :mod:`rs_course.study`. Scenes of the simulated Earth play the real data, and
``mini-text2earth`` hands over generated tiles, some of them not what they claim to be.
"""

from __future__ import annotations

import numpy as np
import torch

from rs_course.grading.exam import Exam, of_call
from rs_course.grading.exams.cl_ledger import VERDICT, WORTH
from rs_course.grading.exams.cl_tiles import CLASSIFIER, USABLE
from rs_course.grading.sandbox import Limits


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
    present = sorted(set(labels.tolist()) | set(predicted.tolist()))
    from sklearn.metrics import f1_score

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
    "the sum of all hits is accuracy (micro F1): average the F1 of the classes": lambda **x: _f1(
        **x, average="micro"
    ),
    "every class counts alike: you weighted by how often it occurs": lambda **x: _f1(**x, average="weighted"),
    "average the F1 of the classes, not precision and recall first": _f1_of_means,
    "a class that never occurs has F1 = 0 and counts, you left it out": _f1_present,
    "one value per class was returned: average them": lambda **x: _f1(**x, average=None),
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
    base = rng.normal(0.7, 0.05, seeds)
    gain = rng.normal(0.02, 0.01, seeds)
    from scipy.stats import t

    return {"a": torch.tensor(base + gain), "b": torch.tensor(base), "t": float(t.ppf(0.975, seeds - 1))}


def _interval(a, b, t, *, ddof=1, paired=True, root=True, two_sided=True):
    a, b = np.asarray(a), np.asarray(b)
    n, mean = len(a), (a - b).mean()
    spread = (a - b).std(ddof=ddof) if paired else np.sqrt(a.var(ddof=ddof) + b.var(ddof=ddof))
    half = t * spread / (np.sqrt(n) if root else 1) / (1 if two_sided else 2)
    return [mean, mean - half, mean + half]


_INTERVAL_MISTAKES = {
    "the runs are paired by seed: take the spread of the differences": lambda **x: _interval(
        **x, paired=False
    ),
    "divide by n − 1 in the variance": lambda **x: _interval(**x, ddof=0),
    "the standard error has √n in its denominator, it is missing": lambda **x: _interval(**x, root=False),
    "the whole interval is 2·t standard errors wide, yours is half of it": lambda **x: _interval(
        **x, two_sided=False
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


def _with_copies(rng, train=12, test=14):
    """Test images of which some are training images, some turned or mirrored ones, some a little changed."""
    known = torch.tensor(rng.random((train, 3, 12, 12)), dtype=torch.float32)
    new = torch.tensor(rng.random((test, 3, 12, 12)), dtype=torch.float32)
    places = rng.permutation(test)
    for number, place in enumerate(places[:8]):
        image = known[rng.integers(train)].rot90(number % 4, (1, 2))
        image = image.flip(2) if number >= 4 else image
        noise = torch.tensor(rng.uniform(-0.008, 0.008, image.shape), dtype=torch.float32)
        new[place] = image + (noise if number % 2 else 0)
    return {"train": known, "test": new, "tolerance": 0.01}


def _leaked(train, test, tolerance, *, turns=4, mirrors=True):
    found = []
    for image in test:
        variants = [image.rot90(k, (1, 2)) for k in range(turns)]
        variants += [variant.flip(2) for variant in variants] if mirrors else []
        found.append(min((train - v).abs().mean((1, 2, 3)).min().item() for v in variants) <= tolerance)
    return np.array(found)


_LEAK_MISTAKES = {
    "only unturned copies were found: try all turns and mirrors": lambda **x: _leaked(
        **x, turns=1, mirrors=False
    ),
    "mirrored copies were missed": lambda **x: _leaked(**x, mirrors=False),
    "turned copies were missed": lambda **x: _leaked(**x, turns=1),
    "slightly changed copies were missed: use the tolerance": lambda train, test, tolerance: _leaked(
        train, test, 1e-6
    ),
    "this marks the clean images": lambda **x: ~_leaked(**x),
}
_check_leaked = of_call("leaked", "leaked(train, test, tolerance)", expected=_leaked, mistakes=_LEAK_MISTAKES)
LEAKS = (
    _check_leaked(
        "leak.same_image",
        0.5,
        lambda rng: (lambda images: {"train": images[:3], "test": images[2:], "tolerance": 0.01})(
            torch.tensor(rng.random((5, 3, 8, 8)))
        ),
        public=True,
    ),
    _check_leaked("leak.turned", 2, _with_copies),
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
