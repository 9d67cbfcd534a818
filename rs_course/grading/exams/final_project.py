"""Exam of the final project: the numbers of the report must agree with each other; everything else is read
by a person.

The student's ``evidence()`` returns the raw accuracies per seed and what the report claims about them. The
checks compute the claims again. They cannot tell whether the runs were made, only whether the report
follows from them.
"""

from __future__ import annotations

import numpy as np

from rs_course.grading.exam import Check, Exam, Wrong

KEYS = (
    "question",
    "metric",
    "seeds",
    "baseline",
    "method",
    "difference",
    "interval",
    "leaked_images",
    "conclusion",
)
CONCLUSIONS = ("better", "worse", "not decided")
FEWEST_SEEDS = 5


def _report(value):
    if not isinstance(value, dict) or not value:
        raise Wrong("evidence() must return the dict of your report")
    if missing := [key for key in KEYS if key not in value]:
        raise Wrong(f"the report lacks {', '.join(missing)}")
    return value


def _runs(value):
    report = _report(value)
    columns = [report[key] for key in ("seeds", "baseline", "method")]
    if not all(isinstance(column, list) for column in columns):
        raise Wrong("seeds, baseline and method are lists with one entry per run")
    if len({len(column) for column in columns}) != 1:
        raise Wrong(
            "seeds, baseline and method must have one entry per run each: the runs are paired by seed"
        )
    if len(set(map(str, columns[0]))) != len(columns[0]):
        raise Wrong("a seed occurs twice: repeated runs with one seed are one run")
    try:
        baseline, method = (np.asarray(column, dtype=np.float64) for column in columns[1:])
    except (TypeError, ValueError):
        raise Wrong("the entries of baseline and method must be numbers") from None
    if not (np.isfinite(baseline).all() and np.isfinite(method).all()):
        raise Wrong("the runs contain NaN or infinite values")
    return report, baseline, method


def _complete(value, inputs):
    _runs(value)
    if not str(value["question"]).strip().endswith("?"):
        raise Wrong("the question must be one sentence that ends with a question mark")
    if type(value["leaked_images"]) is not int or value["leaked_images"] < 0:
        raise Wrong("leaked_images is how many test images you found in the training data: 0 or more")


def _enough_runs(value, inputs):
    _, baseline, _ = _runs(value)
    if len(baseline) < FEWEST_SEEDS:
        raise Wrong(
            f"{len(baseline)} seeds are too few: at least {FEWEST_SEEDS}", 0.5 if len(baseline) >= 3 else 0.0
        )


def _difference(value, inputs):
    report, baseline, method = _runs(value)
    if not len(baseline):
        raise Wrong("without runs there is no difference")
    expected = (method - baseline).mean()
    if not isinstance(report["difference"], int | float):
        raise Wrong("difference must be a number")
    if abs(report["difference"] + expected) < 1e-4 < abs(expected):
        raise Wrong("the difference is method − baseline")
    if not abs(report["difference"] - expected) < 1e-4:
        raise Wrong("the difference is not the mean of method − baseline over the seeds")


def _interval(value, inputs):
    from scipy.stats import t

    report, baseline, method = _runs(value)
    count, gain = len(baseline), method - baseline
    given = report["interval"]
    if not (
        isinstance(given, list | tuple) and len(given) == 2 and all(isinstance(g, int | float) for g in given)
    ):
        raise Wrong("interval must be [low, high]")
    if count < 2:
        raise Wrong("one run has no interval")
    known = {
        "": t.ppf(0.975, count - 1) * gain.std(ddof=1),
        "1.96 is for many runs: take t with n − 1 degrees of freedom": 1.96 * gain.std(ddof=1),
        "divide by n − 1 in the variance": t.ppf(0.975, count - 1) * gain.std(),
        "the runs are paired: take the spread of the differences": t.ppf(0.975, count - 1)
        * np.sqrt(baseline.var(ddof=1) + method.var(ddof=1)),
    }
    for sentence, spread in known.items():
        half = spread / np.sqrt(count)
        if np.allclose(given, [gain.mean() - half, gain.mean() + half], atol=1e-4):
            if sentence:
                raise Wrong(sentence)
            return
    raise Wrong("the interval is not the paired 95 % interval of method − baseline")


def _conclusion(value, inputs):
    report = _report(value)
    _interval(value, inputs)
    low, high = report["interval"]
    if report["conclusion"] not in CONCLUSIONS:
        raise Wrong(f"the conclusion is one of {', '.join(CONCLUSIONS)}")
    right = "better" if low > 0 else "worse" if high < 0 else "not decided"
    if report["conclusion"] != right:
        raise Wrong(
            f"an interval that {'contains' if right == 'not decided' else 'excludes'} 0 does not say this"
        )


def _check(name, points, judge, public=False):
    return Check(
        f"evidence.{name}", "evidence", points, "evidence()", lambda rng: {}, judge=judge, public=public
    )


exam = Exam(
    name="final_project",
    title="Final project",
    checks=(
        _check("complete", 1, _complete, public=True),
        _check("runs", 1, _enough_runs),
        _check("difference", 1, _difference),
        _check("interval", 2, _interval),
        _check("conclusion", 1, _conclusion),
    ),
    preload=("numpy", "torch"),
)
