"""Run a plan: skip what is done, hand out the rest, keep each result as it comes.

The parent alone writes, one file per finished task, so workers need no shared disk; what is in flight when a
process dies is lost and nothing else. The next run with the same plan and folder goes on there.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from filelock import FileLock, Timeout

from rs_course.study import backends, identity, records
from rs_course.study.plan import Plan
from rs_course.study.sets import Sets


def run(plan: Plan, out, *, workers: int = 0, scheduler: str | None = None, progress=None):
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
    hashes = identity.of_inputs(plan.inputs)
    own = Sets(plan.extra.get("sets", {}), out)
    tasks, hashed, of_checkpoints = {}, {}, {}
    for task in plan.tasks:
        named = tuple(own.checkpoints(task))
        if named not in of_checkpoints:
            of_checkpoints[named] = _hashes(plan, named, hashes)
        of_task = of_checkpoints[named]
        name = _id(plan, task, of_task, own)
        tasks[name], hashed[name] = task, of_task
    plan.resolve()
    try:
        with FileLock(out / ".lock", timeout=0):
            backend, say = backends.choose(workers, scheduler), progress or (lambda line: None)
            _run(plan, tasks, hashed, hashes, own, out, backend, say)
    except Timeout:
        raise RuntimeError(
            f"another run is at work in {out}: wait for it, or choose another folder."
        ) from None
    if failed := records.failures(out, tasks):
        name, error = next(iter(failed.items()))
        raise RuntimeError(
            f"{len(failed)} of {len(tasks)} tasks failed; the others are kept, and the same command tries "
            f"again. The first, {name}, stopped with {error}"
        )
    return records.ledger(out)


def _hashes(plan, checkpoints: tuple[str, ...], hashes: dict) -> dict:
    """The plan's hashes, with the checkpoints that made a task's sets among the checkpoints."""
    if not checkpoints:
        return hashes
    named = plan.inputs.get("checkpoint", [])
    named = [named] if isinstance(named, str) else named
    joined = sorted({*named, *checkpoints})
    return {**hashes, "checkpoint": identity.of_inputs({"checkpoint": joined})["checkpoint"]}


def _id(plan, task, hashes, own: Sets) -> str:
    """Id of a task: its settings, its inputs, and what the sets that it names are made of."""
    return identity.of_task(
        plan.function, {**task, "sets": sorted(name for name, _ in own.of(task).values())}, hashes
    )


def _rounds(waiting: dict) -> list[dict]:
    """Tasks in their order, cut where one names a set that none before it did: sets are made when needed."""
    rounds, seen = [], set()
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


def _run(plan, tasks, hashed, hashes, own, out, backend, say):
    described = {
        "title": plan.title, "function": plan.function, "inputs": plan.inputs, "hashes": hashes,
        "ids": list(tasks), "extra": plan.extra,
    }  # fmt: skip
    records.write_json(out / "study.json", described)
    done = records.finished(out)
    waiting = {name: task for name, task in tasks.items() if name not in done}
    if len(waiting) < len(tasks):
        say(f"{len(tasks) - len(waiting)} of {len(tasks)} tasks are done already")
    count, start = 0, time.monotonic()
    try:
        for part in _rounds(waiting):
            start += _make_sets(own, part.values(), backend, say)
            resolved = {name: own.resolve(task) for name, task in part.items()}
            for name, result, seconds, error in backend(plan.function, resolved):
                count += 1
                if error is None:
                    row = {"id": name, **tasks[name], **result, **hashed[name], "wall_seconds": seconds}
                    records.write_json(out / "records" / f"{name}.json", row)
                else:
                    records.write_json(
                        out / "failures" / f"{name}.json", {"task": tasks[name], "error": error}
                    )
                say(_line(count, len(waiting), tasks[name], result, error, time.monotonic() - start))
    finally:
        records.merge(out, tasks)


def _line(count, total, task, result, error, elapsed) -> str:
    settings = " ".join(f"{key}={value}" for key, value in task.items())
    score = "" if error is None else f" FAILED: {error}"
    if error is None and isinstance(result.get("accuracy"), float):
        score = f" -> {result['accuracy']:.1%}"
    left = elapsed / count * (total - count)
    when = f" · about {left / 60:.0f} min left" if left >= 90 else ""
    return f"[{count}/{total}] {settings}{score}{when}"


def print_progress(line: str) -> None:
    """Progress on standard error; standard output stays for results."""
    print(line, file=sys.stderr, flush=True)
