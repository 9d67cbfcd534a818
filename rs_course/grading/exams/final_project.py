"""Exam of the final project: the claim must follow from the runs, and the runs must have been made.

The student's ``evidence()`` returns the ledger of a study and what the report claims about it. The checks
compute the claims again from the ledger's runs, compare each run's id with its settings, and repeat a pair
of runs that the secret seed picks. Everything else is read by a person.
"""

from __future__ import annotations

import numpy as np

from rs_course.grading.exam import Check, Exam, Wrong, numbers
from rs_course.grading.exams import study_ledger

KEYS = ("question", "ledger", "baseline", "method", "difference", "interval", "leaked_images", "conclusion")
CONCLUSIONS = ("better", "worse", "not decided")


def _report(value):
    if not isinstance(value, dict) or not value:
        raise Wrong("evidence() must return the dict of your report")
    if missing := [key for key in KEYS if key not in value]:
        raise Wrong(f"the report lacks {', '.join(missing)}")
    return value


def _number(value, sentence, shape=()):
    """A number of the report, or an array of this shape; of Python, NumPy or torch."""
    try:
        given = numbers(value)
    except Wrong:
        raise Wrong(sentence) from None
    if given.shape != shape:
        raise Wrong(sentence)
    if not np.isfinite(given).all():
        raise Wrong("a number of the report is NaN or infinite")
    return given


def _sides(value):
    """The ledger, and the runs of baseline and method, paired by seed."""
    report = _report(value)
    ledger = study_ledger.read(report["ledger"])
    chosen = []
    for name in ("baseline", "method"):
        where = _settings(report[name], name)
        runs = [run for run in ledger.runs if run.matches(where)]
        if not runs:
            raise Wrong(f"no run of the ledger has the settings of {name}")
        if len({run.seed for run in runs}) < len(runs):
            raise Wrong(f"several runs of one seed have the settings of {name}: say more of them")
        chosen.append({run.seed: run for run in runs})
    baseline, method = chosen
    if baseline.keys() != method.keys():
        raise Wrong("baseline and method must have the same seeds: the runs are paired")
    pairs = [(baseline[seed], method[seed]) for seed in sorted(baseline, key=str)]
    if any(a.id == b.id for a, b in pairs):
        raise Wrong("baseline and method are the same runs")
    if any(a.results["test_hash"] != b.results["test_hash"] for a, b in pairs):
        raise Wrong("baseline and method were tested on different images")
    return ledger, pairs


def _settings(given, name) -> dict:
    """Settings and their values; a NumPy or torch scalar is its plain value."""
    if isinstance(given, dict) and given:
        plain = {key: _item(value) for key, value in given.items()}
        if all(isinstance(value, str | int | float) for value in plain.values()):
            return plain
    raise Wrong(f"{name} names settings and their values, such as {{'arm': 'real'}}")


def _item(value):
    return value.item() if getattr(value, "shape", None) == () else value


def _gains(value):
    pairs = _sides(value)[1]
    return np.array([method.results["accuracy"] - baseline.results["accuracy"] for baseline, method in pairs])


def _complete(value, inputs):
    pairs = _sides(value)[1]
    if not str(value["question"]).strip().endswith("?"):
        raise Wrong("the question must be one sentence that ends with a question mark")
    leaks, sentence = value["leaked_images"], "leaked_images must be a number"
    if isinstance(leaks, bool):
        raise Wrong(sentence)
    if _number(leaks, sentence) != max(run.results["n_leaked"] for pair in pairs for run in pair):
        raise Wrong("leaked_images must be the largest n_leaked of the runs that you compare")


def _unedited(value, inputs):
    ledger, _ = _sides(value)
    if study_ledger.edited(ledger):
        raise Wrong("a run's id does not belong to its settings: was the text of pack changed?")


def _repeated(value, inputs):
    ledger, pairs = _sides(value)
    if study_ledger.edited(ledger):
        raise Wrong("a run's id does not belong to its settings, so none was repeated")
    runs = [[run for run in pair if study_ledger.repeatable(ledger, run)] for pair in pairs]
    if not any(runs):
        raise Wrong(
            "none of these runs can be repeated by the grader: it repeats run_task with pool, test and at "
            "most 500 steps on known data; ask for it to be repeated by hand"
        )
    some = [pair for pair in runs if pair]
    for run in some[int(inputs["_pick"] * len(some))]:
        again = study_ledger.repeat(ledger, run)
        if again is None:
            raise Wrong("a run was repeated, and its settings stop with an error")
        if any(again[key] != run.results[key] for key in ("test_hash", "real_hash")):
            raise Wrong("a run was repeated, and its images were others than the ledger says")
        if abs(again["accuracy"] - run.results["accuracy"]) > study_ledger.TOLERANCE:
            raise Wrong("a run was repeated, and its accuracy is not that of the ledger")


def _enough_runs(value, inputs):
    count = len(_gains(value))
    if count < 5:
        raise Wrong("there are fewer than 5 seeds", 0.5 if count >= 3 else 0.0)


def _difference(value, inputs):
    expected, given = _gains(value).mean(), _number(value["difference"], "difference must be a number")
    if abs(given + expected) < 1e-4 < abs(expected):
        raise Wrong("the difference is method − baseline")
    if not abs(given - expected) < 1e-4:
        raise Wrong("the difference is not the mean of method − baseline over the seeds")


def _interval(value, inputs):
    from scipy.stats import t

    pairs = _sides(value)[1]
    given = _number(value["interval"], "interval must be [low, high]", (2,))
    baseline, method = (np.array([pair[k].results["accuracy"] for pair in pairs]) for k in (0, 1))
    count, gain = len(pairs), method - baseline
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
        if np.allclose(given, [gain.mean() - half, gain.mean() + half], rtol=0, atol=1e-4):
            if sentence:
                raise Wrong(sentence)
            return
    raise Wrong("the interval is not the paired 95 % interval of method − baseline")


def _conclusion(value, inputs):
    report = _report(value)
    _interval(value, inputs)
    low, high = numbers(report["interval"])
    given = report["conclusion"]
    if not isinstance(given, str) or given not in CONCLUSIONS:
        raise Wrong("the conclusion is one of better, worse, not decided")
    right = "better" if low > 0 else "worse" if high < 0 else "not decided"
    if given != right and right == "not decided":
        raise Wrong("an interval that contains 0 does not say this")
    if given != right:
        raise Wrong("an interval that excludes 0 does not say this")


def _check(name, points, judge, public=False, inputs=lambda rng: {}):
    return Check(f"evidence.{name}", "evidence", points, "evidence()", inputs, judge=judge, public=public)


exam = Exam(
    name="final_project",
    title="Final project",
    checks=(
        _check("complete", 0.5, _complete, public=True),
        _check("unedited", 0.5, _unedited, public=True),
        _check("repeated", 1.5, _repeated, inputs=lambda rng: {"_pick": float(rng.random())}),
        _check("runs", 0.5, _enough_runs),
        _check("difference", 1, _difference),
        _check("interval", 1, _interval),
        _check("conclusion", 1, _conclusion),
    ),
    preload=("numpy", "torch"),
)
