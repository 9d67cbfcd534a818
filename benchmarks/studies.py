"""Tasks per second against workers, and what the machinery of a study costs per task.

    python benchmarks/studies.py                  # this process, then 1, 2, 4 workers; about a minute
    python benchmarks/studies.py --workers 1 2 8 --tasks 200

Three kinds of tasks: nothing at all (the cost of handing out a task and keeping its row), one that waits a
tenth of a second (scaling when the workers do not compete for cores), and one that computes for about as long
on one core (what this machine has). Each is handed out, and its row written to disk, as ``rs-course study``
does. Starting the workers is not counted: they are started once and have run a task of each kind before.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from rs_course import jobs
from rs_course.study import engine, results

RESULT = Path(__file__).resolve().parent / "results" / "studies.json"
KINDS = ("nothing", "waits", "computes")


def nothing(task: dict) -> dict:
    """A row, at no cost."""
    return {"accuracy": float(task["x"])}


def waits(task: dict) -> dict:
    """A tenth of a second in which the core is free."""
    time.sleep(0.1)
    return {"accuracy": 0.0}


def computes(task: dict) -> dict:
    """About a tenth of a second of one core."""
    rng, total = np.random.default_rng(task["x"]), 0.0
    matrix = rng.normal(size=(160, 160))
    for _ in range(60):
        matrix = np.tanh(matrix @ matrix.T / 160)
        total += float(matrix[0, 0])
    return {"accuracy": total}


def run(runner, kind: str, count: int, folder: Path) -> float:
    """Seconds until the rows of ``count`` tasks are stored."""
    tasks, function = {f"{kind}-{time.time_ns()}-{x}": {"x": x} for x in range(count)}, f"studies:{kind}"
    start = time.perf_counter()
    for name, row, seconds, error in engine.attempts(runner, function, tasks):
        if error is not None:
            raise RuntimeError(f"{name}: {error}")
        results.write_json(folder / f"{name}.json", {**row, "wall_seconds": seconds})
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2, 4], help="0: in this process")
    parser.add_argument(
        "--tasks", type=int, default=40, help="waiting or computing ones; five times as many of nothing"
    )
    parser.add_argument("--rounds", type=int, default=2, help="the fastest of so many is kept")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    counts = {kind: args.tasks * (5 if kind == "nothing" else 1) for kind in KINDS}
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load before": round(os.getloadavg()[0], 1),
        "tasks": counts,
        "tasks per second": {kind: {} for kind in KINDS},
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        runners = {w: stack.enter_context(jobs.runner(w)) for w in args.workers}
        for workers, runner in runners.items():
            for kind in KINDS:
                run(runner, kind, 2 * max(1, workers), folder)
        for kind in KINDS:
            seconds = {workers: [] for workers in args.workers}
            for _ in range(args.rounds):  # interleaved, so that other load meets all alike
                for workers, runner in runners.items():
                    seconds[workers].append(run(runner, kind, counts[kind], folder))
            rates = {str(w): round(counts[kind] / min(taken), 2) for w, taken in seconds.items()}
            result["tasks per second"][kind] = rates
            print(f"{kind:9}", ", ".join(f"{w} workers {r:.1f}/s" for w, r in rates.items()), flush=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
