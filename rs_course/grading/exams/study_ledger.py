"""The ledger of a study as text for a notebook, and how a grader verifies it.

:func:`pack` writes a finished ``rs-course study`` as lines of JSON: what was run, then a line per run with
its settings, its results and its hashes. :func:`read` takes such text from a submission, in which anything
may stand. The id of a run is a hash of its settings, code, data and checkpoint, so a line whose settings
were edited is found at once; a line whose *result* was edited is found by :func:`repeat`, which runs it
again.
"""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

from rs_course.grading.exam import Wrong
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

    @property
    def seed(self):
        return self.task.get("seed")

    def matches(self, where: dict) -> bool:
        """Whether its settings have these values, which are plain."""
        return all(self.task.get(key) == value for key, value in where.items())


@dataclass(frozen=True)
class Ledger:
    """A study read from text: its function, the descriptions of its generated sets, and its runs."""

    function: str
    sets: dict
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


def read(text) -> Ledger:
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
    if not (
        isinstance(line.get("id"), str)
        and isinstance(task, dict)
        and all(isinstance(value, plain) for value in task.values())
        and isinstance(sets, list)
        and all(isinstance(value, str) for value in [*sets, *hashes.values()])
        and isinstance(results["accuracy"], float)
        and 0 <= results["accuracy"] <= 1
        and type(results["n_leaked"]) is int
    ):
        raise Wrong("a line of the ledger is not as pack wrote it", detail=f"line {number}")
    return Run(line["id"], task, sets, results, hashes)


def edited(ledger: Ledger) -> list[Run]:
    """Runs whose id does not belong to their settings and hashes, or is there twice."""
    seen: set = set()
    wrong = []
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
    if "pool" not in task or "test" not in task or task.get("device", "cpu") != "cpu":
        return False
    if not 0 <= task.get("seed", 0) < 2**31:
        return False
    used = task.get("synthetic")
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
    count, steps = spec.get("per_class"), spec.get("steps", 0)
    return (
        spec.get("making", "basic") == "basic"
        and _is_here(spec.get("dataset"))
        and isinstance(spec.get("checkpoint"), str)
        and spec["checkpoint"] in minis
        and isinstance(count, int)
        and 0 < count <= _MOST_TILES
        and isinstance(steps, int)
        and 0 <= steps <= 50
        and all(isinstance(spec.get(key, 0), int | float) for key in ("guidance", "seed"))
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
