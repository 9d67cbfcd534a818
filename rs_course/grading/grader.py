"""Grade one submission: transplant, run twice, judge.

The *open* run executes the notebook's cells and the public checks; what it prints and how it fails is shown
to the student. The *closed* run executes the same cells and the hidden checks; none of its text is kept,
because a student's code could print the hidden inputs. If a step ends the process, the run is repeated
without that question, so that a crash costs the question it belongs to and no other.
"""

from __future__ import annotations

import ast
import binascii
import hashlib
import inspect
import platform
import time
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path

from rs_course.grading import exam as exams
from rs_course.grading import notebooks, records
from rs_course.grading.exam import Exam, SeededCheck, Wrong
from rs_course.grading.inside import codec
from rs_course.grading.sandbox import Sandbox


@dataclass(frozen=True)
class Assignment:
    """A release notebook and its exam."""

    release: bytes  # bytes of the student version
    exam: Exam  # what is checked
    seed: str  # the secret seed of the hidden inputs
    exam_source: str = ""

    @classmethod
    def load(cls, release: str | Path, exam: str | Path, seed: str) -> Assignment:
        """Read the release notebook from a file and the exam by name or file."""
        release = Path(release)
        if not release.is_file():
            raise FileNotFoundError(f"There is no release notebook {release}: run “rs-course release” first.")
        return cls(release.read_bytes(), exams.load(exam), seed, str(exam))

    def __reduce__(self):
        # A Dask worker loads the exam itself: functions of a file do not travel.
        return _restore, (self.release, self.exam_source, self.seed)

    @property
    def name(self) -> str:
        """Of the exam."""
        return self.exam.name

    @cached_property
    def cells(self) -> list[notebooks.Cell]:
        """Of the student version."""
        return notebooks.read(self.release)[0]

    @cached_property
    def checks(self) -> list[SeededCheck]:
        """Of the exam, in order."""
        return [SeededCheck(check, self.seed) for check in self.exam.checks]

    @cached_property
    def sentences(self) -> frozenset[str]:
        """Texts that stand as such in the source of the exam: they cannot contain anything of its inputs."""
        functions = [f for c in self.exam.checks for f in (c.inputs, c.judge, c.expected) if f is not None]
        modules = {exams, *map(inspect.getmodule, functions)}
        trees = [ast.parse(inspect.getsource(module)) for module in modules if module is not None]
        texts = [n.value for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Constant)]
        return frozenset(text for text in texts if isinstance(text, str))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what the result depends on."""
        return f"{self.name}/{hashlib.sha256(self.release).hexdigest()}/{self.exam.fingerprint}"

    def key(self, submission: bytes) -> str:
        """What a record of this submission is valid for."""
        return records.key(submission, self.fingerprint, self.seed)


def _restore(release, exam, seed):
    return Assignment(release, exams.load(exam), seed, exam)


def grade(
    assignment: Assignment,
    submission: bytes | Exception,
    student: str,
    sandbox: Sandbox,
    *,
    only=None,
    previous=None,
) -> dict:
    """Grade one submission; returns its record. One that cannot be graded gets a record too, with the reason.

    Args:
        assignment: What it answers.
        submission: Bytes of the notebook, or the reason why there are none.
        student: Student id.
        sandbox: Where its code runs.
        only: Questions to grade anew; the others are taken from ``previous``, the record so far.

    Raises:
        MachineFault: This machine could not run it, which says nothing about the submission.
    """
    started = time.monotonic()
    raw = b"" if isinstance(submission, Exception) else submission
    record = {
        "student": student,
        "assignment": assignment.name,
        "key": assignment.key(raw),
        "submission_sha256": hashlib.sha256(raw).hexdigest() if raw else None,
        "isolation": sandbox.isolation,
        "versions": _versions() | sandbox.versions(),
        "seed_sha256": hashlib.sha256(assignment.seed.encode()).hexdigest(),
        "status": "graded",
        "reason": "",
        "notes": [],
        "leaderboard": None,
    }
    try:
        if isinstance(submission, Exception):
            raise notebooks.Unreadable(str(submission))
        notes, answered = sandbox.read(assignment.release, raw)
    except notebooks.Unreadable as error:
        record |= {"status": "unreadable", "reason": str(error)}
        notes, answered = [], notebooks.transplant(assignment.cells, [])
    if record["status"] == "graded" and not answered.answers:
        reason = "none of the assignment's answer cells is in this notebook"
        record |= {"status": "unreadable", "reason": reason}
    questions = [q for q in assignment.exam.questions if only is None or q in only]
    results = _examine(assignment, answered, questions, sandbox) if record["status"] == "graded" else {}
    record["notes"] = notes + (answered.notes if record["status"] == "graded" else [])
    kept = {item["question"]: item for item in (previous or {}).get("questions", [])}
    record["questions"] = [
        _question(assignment, q, results, answered, record)
        if q in questions
        else kept.get(q) or _row(assignment, q, [], "not graded yet")
        for q in assignment.exam.questions
    ]
    record["manual"] = [
        {
            "question": cell.grade_id,
            "points": float(cell.nbgrader.get("points", 0)),
            "score": None
            if cell.grade_id in answered.answers and cell.grade_id not in answered.untouched
            else 0.0,
            "comment": "",
            "answer": assignment.exam.prose(cell.grade_id, answered.answers),
            **({"attachments": pictures} if (pictures := answered.attachments.get(cell.grade_id)) else {}),
        }
        for cell in assignment.cells
        if cell.is_manual
    ]
    board = assignment.exam.leaderboard
    if board and board[0] in results:
        record["leaderboard"] = results[board[0]].get("measure")
    elif previous and only is not None:
        record["leaderboard"] = previous.get("leaderboard")
    record["answers"] = {q: text for q, text in answered.answers.items() if q not in answered.untouched}
    record["seconds"] = round(time.monotonic() - started, 3)
    return records.clean(record)


def run_public(assignment: Assignment, submission: bytes, sandbox: Sandbox) -> dict:
    """The open run alone, as ``rs-course check`` shows it: a record with the public checks only."""
    public = replace(
        assignment.exam, checks=tuple(c for c in assignment.exam.checks if c.public), leaderboard=None
    )
    return grade(replace(assignment, exam=public), submission, "you", sandbox)


def _examine(assignment, answered, questions, sandbox) -> dict:
    """Results: ``{"fraction", "message", "measure"}`` by check name, errors and output by ``"cell:<id>"``."""
    results: dict = {}
    stopped = set(answered.untouched)  # Questions whose code is not run (again).
    left = _TimeBudget(assignment.exam.limits)
    for hidden in (False, True):
        asked = [e for e in assignment.checks if e.check.question in questions]
        waiting = [e for e in asked if e.check.public is not hidden and e.check.question not in stopped]
        if waiting or not hidden:
            _run(assignment, answered, waiting, sandbox, results, stopped, left, hidden)
    return results


class _TimeBudget:
    """What is left of the time that all runs of one submission may take together."""

    def __init__(self, limits):
        self._limits, self._cpu_s, self._wall_s = limits, limits.total_s, limits.wall_s

    def take(self, outcome):
        self._cpu_s -= outcome.cpu_s
        self._wall_s -= outcome.wall_s

    def limits(self):
        """The limits of the next run, or ``None`` if there is no time for one."""
        if self._cpu_s < 1 or self._wall_s <= 0:
            return None
        return replace(self._limits, total_s=self._cpu_s, wall_s=self._wall_s)


def _run(assignment, answered, waiting, sandbox, results, stopped, left, hidden):
    """One run, repeated without the question that ended the process; ``stopped`` grows by such questions."""
    while True:
        if (limits := left.limits()) is None:
            return _fail(waiting, results, "not reached: your answers used up the time of one submission")
        ended = {cell["id"] for cell in answered.cells if f"end:{cell['id']}" in results}
        cells = [cell for cell in answered.cells if cell["id"] not in ended & stopped]
        job = {"cells": cells, "probes": [e.payload for e in waiting]}
        outcome = sandbox.run(job, limits)
        left.take(outcome)
        last = _collect(outcome.events, cells, waiting, results, assignment.sentences, hidden)
        # An exit status could spell out a hidden input.
        how = outcome.fixed if hidden else outcome.ended
        if outcome.ended == "finished":
            return _fail(waiting, results, "your code left no result")
        if last is None:
            return _fail(waiting, results, f"your code {how}")
        if last in {cell["id"] for cell in cells}:
            question = last
            results[f"end:{last}"] = {}
            if not hidden:
                results[f"cell:{last}"] = {"error": f"this cell {how}", "output": ""}
        else:
            question = next(e.check.question for e in waiting if e.check.name == last)
        stopped.add(question)
        of_it = [e for e in assignment.checks if e.check.question == question]
        _fail([e for e in of_it if e.check.public], results, f"your code {how}")
        _fail(of_it, results, f"your code {outcome.fixed}")
        waiting = [e for e in waiting if e.check.name not in results]


def _collect(events, cells, waiting, results, sentences, hidden):
    """Judge what one run handed back; returns the step that had begun last and did not end."""
    by_name = {e.check.name: e for e in waiting}
    known = {cell["id"] for cell in cells} | set(by_name)
    open_step = None
    for event in events:
        if isinstance(begun := event.get("begin"), str) and begun in known:
            open_step = begun
        elif isinstance(cell := event.get("cell"), str) and cell in known:
            open_step = None
            if not hidden:
                error = records.error_sentence(event.get("error"), shown=True) if "error" in event else ""
                results.setdefault(
                    f"cell:{cell}", {"error": error, "output": str(event.get("output", ""))[:20_000]}
                )
        elif isinstance(name := event.get("probe"), str) and name in by_name:
            open_step = None
            if name not in results:
                result = _judge(by_name[name], event, shown=not hidden)
                if hidden:
                    mistakes = by_name[name].check.mistakes
                    result["message"] = records.fixed_sentence(result["message"], mistakes, sentences)
                results[name] = result
    return open_step


def _judge(examined, event, *, shown):
    if "error" in event:
        return _wrong(records.error_sentence(event["error"], shown=shown))
    try:
        value = codec.decode(event.get("value"))
    except (ValueError, TypeError, RecursionError, MemoryError, binascii.Error):
        return _wrong(records.UNREADABLE)
    try:
        measure = examined.judge(value)
        return {"fraction": 1.0, "message": "", "measure": measure}
    except Wrong as wrong:
        return {"fraction": wrong.fraction, "message": wrong.message, "measure": wrong.measure}


def _wrong(message):
    return {"fraction": 0.0, "message": message, "measure": None}


def _fail(examined, results, message):
    for e in examined:
        results.setdefault(e.check.name, _wrong(message))


def _question(assignment, question, results, answered, record):
    checks, untouched = [], question in answered.untouched
    cell = results.get(f"cell:{question}", {})
    for examined in assignment.checks:
        check = examined.check
        if check.question != question:
            continue
        result = results.get(check.name)
        if result is None:
            result = _wrong(record["reason"] or ("not answered" if untouched else "not reached"))
        score = round(check.points * result["fraction"], 6)
        item = {"name": check.name, "public": check.public, "points": check.points}
        checks.append(item | {"score": score, "message": result["message"]})
    records.mark_hard_coded(checks)
    message = cell.get("error", "")
    name, module = records.missing_name(message, checks)
    if name in answered.elsewhere:
        message = f"{name} is defined in another cell, but only answer cells are run: move it here"
    elif module:
        message = f"{module} is not available to answers: write it with numpy and torch"
    return _row(assignment, question, checks, message, cell.get("output", ""))


def _row(assignment, question, checks, message, output=""):
    score = round(sum((item["score"] for item in checks), 0.0), 6)
    row = {"question": question, "points": assignment.exam.points(question), "score": score}
    return row | {"message": message, "output": output, "checks": checks}


def _versions() -> dict:
    versions = {"engine": records.ENGINE, "python": platform.python_version(), "machine": platform.machine()}
    for package in ("numpy", "torch", "rs-course"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
