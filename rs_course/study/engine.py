"""Run a plan: skip what is done, hand out the rest, keep each result as it comes.

The parent alone writes, one file per finished task, so workers need no shared disk; what is in flight when a
process dies is lost and nothing else. The next run with the same plan and folder goes on there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from rs_course import jobs
from rs_course.study import fingerprints, freezing, results
from rs_course.study.plan import Plan
from rs_course.study.sets import Sets

if TYPE_CHECKING:
    import pandas as pd


def run(
    plan: Plan,
    out: str | Path,
    *,
    workers: int = 0,
    scheduler: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Run every task that has no record yet, and merge the ledger.

    Args:
        plan: From :func:`rs_course.study.read`.
        out: Folder of the study; it may hold an interrupted one.
        workers: Local Dask worker processes; 0 runs in this process.
        scheduler: Address of a Dask scheduler (``"tcp://…"``) instead of local workers.
        progress: Called with one line per finished task.

    Returns:
        The ledger, a pandas ``DataFrame``.

    Raises:
        RuntimeError: Another run is at work in ``out``, a scheduler does not answer, or tasks failed (the
            finished ones are kept).
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    plan.resolve()
    try:
        with FileLock(out / ".lock", timeout=0), jobs.runner(workers, scheduler) as runner:
            _Run(plan, out, partial(attempts, runner), progress or (lambda line: None)).go()
    except Timeout:
        raise RuntimeError(
            f"another run is at work in {out}: wait for it, or choose another folder."
        ) from None
    return results.ledger(out)


def attempts(
    runner: jobs.Runner, function: str, tasks: dict[str, dict]
) -> Iterator[tuple[str, dict | None, float, str | None]]:
    """Run tasks anywhere: ``(id, result, seconds, error)`` as they end, an error as its sentence."""
    each = runner.each(attempt, {name: (function, task) for name, task in tasks.items()})
    for name, outcome, error in each:
        yield name, *(outcome if error is None else (None, 0.0, f"{type(error).__name__}: {error}"))


def attempt(function: str, task: dict) -> tuple[dict | None, float, str | None]:
    """``(result, seconds, error)`` of one task: one bad setting does not stop a study."""
    start = time.perf_counter()
    with jobs.one_thread():
        try:
            result = Plan("", (), function).resolve()(dict(task))
            error = None if isinstance(result, dict) else f"TypeError: {function} returned no dict."
        except Exception as problem:
            result, error = None, f"{type(problem).__name__}: {problem}"
    return result, time.perf_counter() - start, error


class _Run:
    """One run of a plan: what it is made from, and its stages (the tunings, then the tasks)."""

    def __init__(self, plan, out, backend, say):
        self.plan, self.out, self.backend, self.say = plan, out, backend, say
        self.hashes = fingerprints.of_inputs(plan.inputs)
        self.sets = Sets(plan.extra.get("sets", {}), out)
        self.of_checkpoints, self.watches, self.ids = {}, {}, []

    def go(self) -> None:
        plan, opened = self.plan, None
        settings = dict(plan.frozen)
        for block in plan.tuning:
            if block["name"] not in settings:
                tasks = [freezing.fill(task, settings) for task in block["tasks"]]
                settings[block["name"]] = freezing.choose(self.stage(self.named(tasks)), block)
        tasks = [freezing.fill(task, settings) for task in plan.tasks]
        described = plan.extra.get("sets", {})
        self.sets = Sets({name: freezing.fill(spec, settings) for name, spec in described.items()}, self.out)
        if plan.held_out:
            frozen = freezing.freeze(self.out, settings)
            tasks = [{**task, "frozen": frozen.hash} for task in tasks]
        named = self.named(tasks)
        if plan.held_out:
            opened = freezing.open_test(self.out, named)
        self.stage(named, opened)

    def named(self, tasks: list[dict]) -> dict[str, dict]:
        """Tasks by id, which covers settings, inputs, and what the sets that a task names are made of."""
        return {_id(self.plan, task, self.hashes_of(task), self.sets): task for task in tasks}

    def hashes_of(self, task: dict) -> dict:
        named = tuple(self.sets.checkpoints(task))
        if named not in self.of_checkpoints:
            self.of_checkpoints[named] = _hashes(self.plan, named, self.hashes)
            self.watches[named] = fingerprints.Watch(self.plan.inputs, named)
        return self.of_checkpoints[named]

    def stage(self, tasks: dict[str, dict], opened: str | None = None) -> list[dict]:
        """Run what has no record yet; returns the rows of all these tasks.

        Raises:
            RuntimeError: Tasks failed, or an input changed.
        """
        self.ids += [name for name in tasks if name not in self.ids]
        plan = self.plan
        results.write(
            self.out / "study.json",
            {"title": plan.title, "function": plan.function, "inputs": plan.inputs, "hashes": self.hashes,
             "ids": self.ids, "extra": plan.extra},
        )  # fmt: skip
        done = results.finished(self.out)
        waiting = {name: task for name, task in tasks.items() if name not in done}
        if len(waiting) < len(tasks):
            self.say(f"{len(tasks) - len(waiting)} of {len(tasks)} tasks are done already")
        count, start = 0, time.monotonic()
        try:
            for part in _rounds(waiting):
                start += _make_sets(self.sets, part.values(), self.backend, self.say)
                resolved = {name: self.sets.resolve(task) for name, task in part.items()}
                for name, result, seconds, error in self.backend(plan.function, resolved):
                    count += 1
                    self.keep(name, tasks[name], result, seconds, error, opened)
                    left = time.monotonic() - start
                    self.say(_line(count, len(waiting), tasks[name], result, error, left))
        finally:
            results.merge(self.out, self.ids)
        if failed := results.failures(self.out, tasks):
            name, error = next(iter(failed.items()))
            raise RuntimeError(
                f"{len(failed)} of {len(tasks)} tasks failed; the others are kept, and the same command "
                f"tries again. The first, {name}, stopped with {error}"
            )
        return results.rows(self.out, tasks)

    def keep(self, name, task, result, seconds, error, opened) -> None:
        """Write a task's record, unless what it was made from has changed since the run began."""
        if error is not None:
            results.write(self.out / "failures" / f"{name}.json", {"task": task, "error": error})
            return
        hashes = self.hashes_of(task)
        self.watches[tuple(self.sets.checkpoints(task))].check()
        row = {"id": name, **task, **result, **hashes, "wall_seconds": seconds}
        if self.plan.held_out:
            row |= {"finished": freezing.now(), "opened": opened or ""}
        results.write(self.out / "records" / f"{name}.json", row)


def _hashes(plan, checkpoints: tuple[str, ...], hashes: dict) -> dict:
    """The plan's hashes, with the checkpoints that made a task's sets among the checkpoints."""
    if not checkpoints:
        return hashes
    named = plan.inputs.get("checkpoint", [])
    named = [named] if isinstance(named, str) else named
    joined = sorted({*named, *checkpoints})
    return {**hashes, "checkpoint": fingerprints.of_inputs({"checkpoint": joined})["checkpoint"]}


def _id(plan, task, hashes, own: Sets) -> str:
    """Id of a task: its settings, its inputs, and what the sets that it names are made of."""
    return fingerprints.of_task(
        plan.function, {**task, "sets": sorted(name for name, _ in own.of(task).values())}, hashes
    )


def _rounds(waiting: dict) -> list[dict]:
    """Tasks in their order, cut where one names a set that none before it did: sets are made when needed."""
    rounds: list[dict] = []
    seen: set[str] = set()
    for name, task in waiting.items():
        asked = {v.split("/")[0] for v in task.values() if isinstance(v, str) and v.startswith("@")}
        if not rounds or asked - seen:
            rounds.append({})
        seen |= asked
        rounds[-1][name] = task
    return rounds


def _make_sets(own: Sets, tasks, backend, say) -> float:
    """Make what these tasks need; returns how long it took."""
    start = time.monotonic()
    for waiting in own.needed(tasks):
        for name, _, seconds, error in backend("rs_course.study.sets:make", waiting):
            if error is not None:
                raise RuntimeError(f"the set {name} could not be made: {error}")
            say(f"made the set {name} in {seconds:.0f} s")
    return time.monotonic() - start


def _line(count, total, task, result, error, elapsed) -> str:
    settings = " ".join(f"{key}={value}" for key, value in task.items())
    score = "" if error is None else f" FAILED: {error}"
    if error is None and isinstance(result.get("accuracy"), float):
        score = f" -> {result['accuracy']:.1%}"
    left = elapsed / count * (total - count)
    when = f" · about {left / 60:.0f} min left" if left >= 90 else ""
    return f"[{count}/{total}] {settings}{score}{when}"
