"""Grade a class: in parallel, resumable, and the same whatever was interrupted.

A submission's record is the only state. It is written atomically and carries a key of everything that its
grade depends on; a record with the right key is not made again. So a batch that was killed goes on where it
stopped, and a batch that was finished does nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

from rs_course import jobs
from rs_course.grading import records
from rs_course.grading.grader import Assignment, grade
from rs_course.grading.intake import Submission
from rs_course.grading.sandbox import BUBBLEWRAP, Sandbox, require

_local = threading.local()
# Sandboxes that warm up while the exam, which needs torch as well, is still being imported.
_spare: list[Sandbox] = []
_SPARES, _taking = 2, threading.Lock()


@dataclass(frozen=True)
class Plan:
    """What one batch does."""

    assignment: Assignment  # what is graded
    folder: Path  # where ``records/`` lies
    isolation: str = BUBBLEWRAP  # ``"bubblewrap"``, ``"container"`` or ``"process"``
    only: frozenset[str] | None = None  # questions to grade again whatever the records say, or ``None``
    force: bool = False  # grade everything again

    def path(self, student: str) -> Path:
        """Where the record of a student lies."""
        return self.folder / "records" / f"{records.file_name(student)}.json"


def prepare(isolation: str, workers: int) -> None:
    """Start sandboxes ahead of :func:`run`, which uses them if the exam needs just numpy and torch.

    Raises:
        RuntimeError: The isolation does not work here.
    """
    for _ in range(min(workers, _SPARES)):
        _spare.append(Sandbox(isolation))
        _spare[-1].start()


def _sandbox(plan):
    preload = plan.assignment.exam.preload
    tops = {name.split(".")[0] for name in preload}
    with _taking:
        for number, spare in enumerate(_spare):
            if spare.isolation == plan.isolation and tops == set(spare.preload):
                return _spare.pop(number)
    return Sandbox(plan.isolation, preload=preload)


def run(
    plan: Plan,
    submissions: Iterable[Submission],
    *,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[dict]:
    """Grade all submissions that have no valid record yet; returns all records in their order.

    Args:
        plan: What to do.
        submissions: One per student.
        workers: Sandboxes at work at the same time on this machine.
        scheduler: Address of a Dask scheduler instead; its workers need the same course and isolation.
        progress: Called with a line after each submission.

    Raises:
        RuntimeError: The isolation does not work here, or the cluster cannot be used.
    """
    if scheduler is None:
        require(plan.isolation)
    submissions = [replace(s, student=records.clean(s.student)) for s in submissions]
    found = {s.student: records.read(plan.path(s.student)) for s in submissions}
    owners = {s.source: s.student for s in submissions if s.source}
    for student, record in found.items():
        if record and owners.get(record.get("source"), student) != student:
            found[student] = None  # The file has turned out to be somebody else's.
    waiting = [s for s in submissions if not _is_valid(plan, s, found[s.student])]
    again = {s.student for s in waiting}
    for submission in submissions:
        # When a file was handed in is no part of its grade: a corrected date needs no new run.
        stored = found[submission.student]
        if submission.student not in again and (now := _as_handed_in(stored, submission)) != stored:
            found[submission.student] = now
            _store(plan, now, stored)
    say = _Countdown(len(submissions), len(waiting), progress or (lambda line: None))
    grade_each = _on_dask(scheduler) if scheduler else _on_threads(max(1, workers))
    for record in grade_each(plan, waiting, found):
        previous = found[record["student"]]
        found[record["student"]] = _store(plan, record, previous)
        say.done(found[record["student"]], previous)
    return [found[s.student] for s in submissions]


def records_of_others(plan: Plan, submissions: Iterable[Submission]) -> list[dict]:
    """Records of students who are in none of these submissions, by student id."""
    present = {plan.path(submission.student) for submission in submissions}
    files = sorted(set((plan.folder / "records").glob("*.json")) - present)
    return [record for file in files if (record := records.read(file)) is not None]


def _store(plan, record, previous):
    """Write a record; one that cannot be written becomes a row that says so and is graded again next time."""
    if record["status"] == "grader error" and previous is not None and previous["status"] == "graded":
        return record  # A fault of this machine must not cost the grade that is there.
    try:
        records.write(plan.path(record["student"]), record)
    except (OSError, ValueError) as error:
        reason = f"the record could not be written ({type(error).__name__}: {str(error)[:200]})"
        return record | {"status": "grader error", "reason": reason, "key": ""}
    return record


def _is_valid(plan, submission, record):
    """Whether a stored record still holds."""
    if record is None:
        return False
    if not isinstance(submission.data, bytes) and record["submission_sha256"]:
        return True  # What was graded is never replaced by nothing: this hand-in may hold the late ones only.
    if plan.force or plan.only is not None:
        return False
    raw = submission.data if isinstance(submission.data, bytes) else b""
    return record["key"] == plan.assignment.key(raw) and record["isolation"] == plan.isolation


def _grade(plan, submission, previous, sandbox):
    """One record, whatever happens: what the grader itself cannot digest gets a row that says so."""
    if not plan.force and plan.only is None and isinstance(submission.data, bytes):
        # Another grader may be at work in this folder and have come first.
        stored = records.read(plan.path(submission.student))
        if stored != previous and _is_valid(plan, submission, stored):
            return stored
    only = plan.only
    if only is not None and (previous is None or previous["submission_sha256"] is None):
        only = None
    data, student = submission.data, submission.student
    try:
        record = grade(plan.assignment, data, student, sandbox, only=only, previous=previous)
    except Exception as error:
        return _fault(plan, submission, error)
    if record["status"] == "unreadable" and previous is not None and previous["status"] == "graded":
        # An empty or damaged file is nothing as well: what was graded stays.
        return _as_handed_in(previous, replace(submission, data=ValueError(record["reason"])))
    if only is not None:
        # The other questions are as old as they were: a run without ``only`` must still notice a changed
        # exam.
        record["key"] = previous["key"]
    return records.clean(_as_handed_in(record, submission))


def _fault(plan, submission, error):
    """The row for a fault of the grader or its machine: it stops no batch and does not pass for a grade."""
    nowhere = SimpleNamespace(isolation=plan.isolation, versions=dict)
    record = grade(plan.assignment, ValueError("the grader failed"), submission.student, nowhere)
    reason = f"{type(error).__name__}: {str(error)[:300]}"
    record |= {"status": "grader error", "reason": reason, "key": ""}
    return records.clean(_as_handed_in(record, submission))


def _as_handed_in(record, submission):
    """The record with what is known today of how the submission was handed in."""
    if isinstance(submission.data, bytes) or record["submission_sha256"] is None:
        moment = submission.timestamp
        now = {"timestamp": moment.isoformat() if moment else "", "late_flag": submission.late}
        now |= {"intake_notes": submission.notes, "source": submission.source}
    else:
        begin = "Nothing to grade in the last collection"
        note = f"{begin} ({submission.data}); the submission graded before counts."
        earlier = [text for text in record.get("intake_notes", []) if not text.startswith(begin)]
        now = {"intake_notes": [*earlier, note]}
    own = record["notes"][len(record.get("intake_notes", [])) :]
    return records.clean({**record, **now, "notes": [*now["intake_notes"], *own]})


def _on_threads(workers):
    """Threads that each drive one sandbox; the student's code runs in the sandbox's process."""

    def grade_each(plan, waiting, found):
        sandboxes = []

        def one(submission):
            if not hasattr(_local, "sandbox") or _local.owner is not sandboxes:
                try:
                    _local.sandbox = _sandbox(plan)
                except RuntimeError as error:  # too many processes, for the moment
                    return _fault(plan, submission, error)
                _local.owner = sandboxes
                sandboxes.append(_local.sandbox)
            return _grade(plan, submission, found[submission.student], _local.sandbox)

        try:
            with ThreadPoolExecutor(workers) as pool:
                tasks = [pool.submit(one, submission) for submission in waiting]
                try:
                    for task in as_completed(tasks):
                        yield task.result()
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
        finally:
            for sandbox in (*sandboxes, *_spare):
                sandbox.close()
            _spare.clear()

    return grade_each


def _on_dask(address):
    """Tasks on a Dask cluster; each worker keeps its own sandbox."""

    def grade_each(plan, waiting, found):
        if not waiting:
            return
        with jobs.runner(scheduler=address) as run:

            def results(submissions):
                try:
                    shared = run.client.scatter(plan, broadcast=True)
                except Exception as error:  # a worker that died of a submission may not be back yet
                    return [(s.student, None, error) for s in submissions]
                tasks = {s.student: (shared, s, found[s.student]) for s in submissions}
                return run.each(grade_on_worker, tasks, retries=2)

            failed = set()
            for student, record, error in results(waiting):
                if error is None:
                    yield record
                else:
                    failed.add(student)
            # One after the other, with a new copy of the plan: what a worker died of may have been another's.
            for submission in (s for s in waiting if s.student in failed):
                for _, record, error in results([submission]):
                    yield record if error is None else _fault(plan, submission, error)

    return grade_each


def grade_on_worker(plan: Plan, submission: Submission, previous: dict | None) -> dict:
    """Grade one submission on a Dask worker, whose threads each keep a sandbox for the next one."""
    needed = plan.isolation, plan.assignment.exam.preload
    kept = getattr(_local, "sandbox", None)
    if kept is None or (kept.isolation, kept.preload) != needed:
        if kept is not None:
            kept.close()
        _local.sandbox = Sandbox(plan.isolation, preload=plan.assignment.exam.preload)
    return _grade(plan, submission, previous, _local.sandbox)


class _Countdown:
    """Lines such as ``[12/40] alice 17.5/20 · about 3 min left``."""

    def __init__(self, total, waiting, say):
        self._waiting, self._say, self._done, self._start = waiting, say, 0, time.monotonic()
        if total > waiting:
            say(f"{total - waiting} of {total} submissions are graded already")

    def done(self, record, previous):
        self._done += 1
        left = (time.monotonic() - self._start) / self._done * (self._waiting - self._done)
        about = f"{left:.0f} s" if left < 100 else f"{left / 60:.0f} min"
        when = f" · about {about} left" if left >= 1 else ""
        reason = f" · {record['reason']}" if record["reason"] else ""
        score, before = records.score(record), records.score(previous) if previous else None
        change = f" (was {before:g})" if before not in (None, score) else ""
        result = f"{score:g}/{records.max_score(record):g}"
        self._say(f"[{self._done}/{self._waiting}] {record['student']} {result}{change}{reason}{when}")
