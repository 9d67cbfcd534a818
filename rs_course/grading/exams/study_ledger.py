"""Exam of the final project: the claim must follow from the runs, and the runs must have been made.

The student's ``evidence()`` returns the ledger of a study and what the report claims about it. The checks
compute the claims again from the ledger's runs, compare each run's id with its settings, and repeat a pair
of runs that the secret seed picks. Everything else is read by a person.

:func:`pack` writes a finished ``rs-course study`` as lines of JSON: what was run, then a line per run with
its settings, its results and its hashes. :func:`read` takes such text from a submission, in which anything
may stand. The id of a run is a hash of its settings, code, data and checkpoint, so a line whose settings
were edited is found at once; a line whose *result* was edited is found by :func:`repeat`.
"""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

import numpy as np

from rs_course.grading.exam import Check, Exam, Wrong, numbers
from rs_course.grading.sandbox import MachineFault
from rs_course.paths import data_dir
from rs_course.study import fingerprints

FUNCTION = "rs_course.classification.experiment:run_task"
RESULTS = ("accuracy", "n_test", "n_real", "n_synthetic", "n_leaked", "real_hash", "test_hash")
HASHES = ("code", "data", "checkpoint")
MAX_BYTES, MAX_ROWS = 2**20, 1000
# What a grader repeats: about a minute of one processor core.
_MOST = {"steps": 500, "batch_size": 64, "pool": 4000, "test": 1000, "real_per_class": 100, "ratio": 10}
_MOST_TILES = 40  # generated, per class
_MAKING = ("dataset", "checkpoint", "per_class", "making", "steps", "guidance", "seed")
# How a run stops because of the machine that repeats it, not of its settings.
_FAULTS = "MemoryError|OSError|ImportError|(?:NotFound|Permission)Error|allocate memory|home directory"
TOLERANCE = 0.03  # in accuracy: another processor adds in another order


@dataclass(frozen=True)
class Run:
    """One line of a ledger."""

    id: str  # as the study gave it
    task: dict  # its settings
    sets: list  # names of the generated sets that it used, each with its hash
    results: dict  # what :data:`RESULTS` names
    hashes: dict  # of code, data and checkpoint


@dataclass(frozen=True)
class Ledger:
    """A study read from text."""

    function: str
    sets: dict  # the descriptions of its generated sets
    runs: list


def pack(config, folder) -> str:
    """A finished study as text to paste into the notebook.

    Args:
        config: The study's TOML file, or the name of a shipped one.
        folder: What ``rs-course study CONFIG --out`` was given.

    Raises:
        FileNotFoundError: No such study, or no finished run in the folder.
        ValueError: The folder holds another study, or another version of this one.
    """
    from rs_course import study
    from rs_course.study.sets import Sets

    plan, folder = study.read(config), Path(folder)
    rows = {row["id"]: row for row in study.ledger(folder).to_dict("records")}
    ids = json.loads((folder / "study.json").read_text(encoding="utf-8"))["ids"]
    if len(ids) != len(plan.tasks):
        raise ValueError(f"{folder} was not made from {config} as it is now: run the study again.")
    own = Sets(plan.extra.get("sets", {}), folder)
    lines = [{"function": plan.function, "sets": plan.extra.get("sets", {})}]
    for name, task in zip(ids, plan.tasks, strict=True):
        if name in rows:
            row = {key: rows[name][key] for key in RESULTS + HASHES if key in rows[name]}
            used = sorted(s for s, _ in own.of(task).values())
            lines.append({"id": name, "task": task, "sets": used, **row})
    return "\n".join(json.dumps(line) for line in lines)


def read(text: str) -> Ledger:
    """Read what :func:`pack` wrote from a submission.

    Raises:
        Wrong: What is wrong with the text, with the number of the line.
    """
    if not isinstance(text, str) or not text.strip():
        raise Wrong("ledger must be the text that pack(config, folder) printed")
    if len(text) > MAX_BYTES:
        raise Wrong("the ledger is longer than a megabyte: hand in the study of your main comparison only")
    head, *lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > MAX_ROWS:
        raise Wrong("the ledger has too many runs: hand in the study of your main comparison only")
    head = _json(head, 1)
    if not isinstance(head.get("function"), str) or not isinstance(head.get("sets"), dict):
        raise Wrong("the first line of the ledger says which function was run: paste the whole text of pack")
    runs = [_run(_json(line, n), n) for n, line in enumerate(lines, 2)]
    return Ledger(head["function"], head["sets"], runs)


def _json(line, number) -> dict:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise Wrong("a line of the ledger is not as pack wrote it", detail=f"line {number}")
    return content


def _run(line: dict, number: int) -> Run:
    plain = (str, int, float, bool)
    task, sets = line.get("task"), line.get("sets")
    results = {key: line.get(key) for key in RESULTS}
    hashes = {key: line.get(key) for key in HASHES}
    right = isinstance(line.get("id"), str) and isinstance(task, dict) and isinstance(sets, list)
    right = right and all(isinstance(value, plain) for value in task.values())
    right = right and all(isinstance(value, str) for value in [*sets, *hashes.values()])
    right = right and isinstance(results["accuracy"], float) and 0 <= results["accuracy"] <= 1
    if not right or type(results["n_leaked"]) is not int:
        raise Wrong("a line of the ledger is not as pack wrote it", detail=f"line {number}")
    return Run(line["id"], task, sets, results, hashes)


def edited(ledger: Ledger) -> list[Run]:
    """Runs whose id does not belong to their settings and hashes, or is there twice."""
    seen, wrong = set(), []
    for run in ledger.runs:
        right = fingerprints.of_task(ledger.function, {**run.task, "sets": run.sets}, run.hashes)
        if run.id != right or run.id in seen:
            wrong.append(run)
        seen.add(run.id)
    return wrong


def repeatable(ledger: Ledger, run: Run) -> bool:
    """Whether a grader can run it again: the course's own function, known data, about a minute."""
    from rs_course.classification.experiment import Task

    task, minis = run.task, {path.name for path in (data_dir() / "checkpoints").iterdir()}
    kinds = {field.name: type(field.default) for field in fields(Task) if field.default is not None}
    if ledger.function != FUNCTION or not _is_here(task.get("dataset", "simulated")):
        return False
    if not set(task) <= {field.name for field in fields(Task)}:
        return False
    if any(isinstance(task[key], str) != (kind is str) for key, kind in kinds.items() if key in task):
        return False
    sizes = {key: task.get(key, 0) for key in _MOST}
    if not all(isinstance(size, int | float) and 0 <= size <= _MOST[key] for key, size in sizes.items()):
        return False
    device, seed, used = task.get("device", "cpu"), task.get("seed", 0), task.get("synthetic")
    if not {"pool", "test"} <= set(task) or device != "cpu" or not 0 <= seed < 2**31:
        return False
    return task.get("scorer", "mini-clip") in minis and (used is None or _makeable(ledger.sets, used, minis))


def _is_here(dataset) -> bool:
    """The simulated Earth, or a data set of the registry that this machine has fetched."""
    from rs_course import registry

    if dataset == "simulated":
        return True
    if not isinstance(dataset, str) or registry.find(dataset, kind="dataset") is None:
        return False
    try:
        registry.require(dataset)
    except (FileNotFoundError, ValueError):
        return False
    return True


def _makeable(sets, used, minis: set) -> bool:
    """Whether a generated set is small and made from nothing but a shipped checkpoint."""
    spec = sets.get(used.removeprefix("@")) if isinstance(used, str) and used.startswith("@") else None
    if not isinstance(spec, dict) or not set(spec) <= set(_MAKING):
        return False
    count, steps, name = spec.get("per_class"), spec.get("steps", 0), spec.get("checkpoint")
    plain = isinstance(name, str) and isinstance(count, int) and isinstance(steps, int)
    plain = plain and all(isinstance(spec.get(key, 0), int | float) for key in ("guidance", "seed"))
    small = plain and 0 < count <= _MOST_TILES and 0 <= steps <= 50
    return (
        small and name in minis and spec.get("making", "basic") == "basic" and _is_here(spec.get("dataset"))
    )


def repeat(ledger: Ledger, run: Run) -> dict | None:
    """Run it again, as ``rs-course study`` does: its row, or ``None`` if these settings stop with an error.

    Raises:
        MachineFault: It stopped for want of memory, disk or a file, which is not the student's fault.
    """
    used = run.task.get("synthetic")
    sets = {used[1:]: ledger.sets[used[1:]]} if used else {}
    return _repeat(json.dumps({"base": run.task, "grid": [{}], "sets": sets}))


@lru_cache(maxsize=256)  # Twins hand in the same run.
def _repeat(plan: str) -> dict | None:
    from rs_course import study
    from rs_course.study.plan import from_dict

    with tempfile.TemporaryDirectory() as folder:
        try:
            return study.run(from_dict(json.loads(plan)), folder).to_dict("records")[0]
        except RuntimeError as error:
            if re.search(_FAULTS, str(error)):
                raise MachineFault(f"a run of a ledger could not be repeated here: {error}") from error
            return None


# --- The exam ----------------------------------------------------------------------------------------------

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
    ledger = read(report["ledger"])
    chosen = []
    for name in ("baseline", "method"):
        where = _settings(report[name], name)
        runs = [r for r in ledger.runs if all(r.task.get(key) == value for key, value in where.items())]
        by_seed = {run.task.get("seed"): run for run in runs}
        if not runs:
            raise Wrong(f"no run of the ledger has the settings of {name}")
        if len(by_seed) < len(runs):
            raise Wrong(f"several runs of one seed have the settings of {name}: say more of them")
        chosen.append(by_seed)
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
    if edited(ledger):
        raise Wrong("a run's id does not belong to its settings: was the text of pack changed?")


def _repeated(value, inputs):
    ledger, pairs = _sides(value)
    if edited(ledger):
        raise Wrong("a run's id does not belong to its settings, so none was repeated")
    runs = [[run for run in pair if repeatable(ledger, run)] for pair in pairs]
    if not any(runs):
        raise Wrong(
            "none of these runs can be repeated by the grader: it repeats run_task with pool, test and at "
            "most 500 steps on known data; ask for it to be repeated by hand"
        )
    some = [pair for pair in runs if pair]
    for run in some[int(inputs["_pick"] * len(some))]:
        again = repeat(ledger, run)
        if again is None:
            raise Wrong("a run was repeated, and its settings stop with an error")
        if any(again[key] != run.results[key] for key in ("test_hash", "real_hash")):
            raise Wrong("a run was repeated, and its images were others than the ledger says")
        if abs(again["accuracy"] - run.results["accuracy"]) > TOLERANCE:
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
