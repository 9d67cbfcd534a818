"""Tasks per second against workers, and what the machinery of a study costs per task.

    python benchmarks/studies.py                  # 1, 2, 4 workers on this machine
    python benchmarks/studies.py --workers 1 2 8 --tasks 200

Three kinds of tasks: nothing at all (the cost of handing out a task and keeping its row), one that waits a
tenth of a second (scaling when the workers do not compete for cores), and one that computes for about as long
on one core (what this machine has). Starting the workers is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from rs_course.study import backends, records

RESULT = Path(__file__).resolve().parent / "results" / "studies.json"


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


def rate(kind: str, workers: int, count: int, folder: Path) -> float:
    """Finished and stored tasks per second."""
    tasks = {f"{kind}-{x}": {"x": x} for x in range(count)}
    backend = backends.choose(workers)
    start = first = None
    for done, (name, row, seconds, error) in enumerate(backend(f"studies:{kind}", tasks), start=1):
        assert error is None, error
        records.write_json(folder / f"{name}.json", {**row, "wall_seconds": seconds})
        if done == max(1, workers):  # every worker has started by now
            start, first = time.perf_counter(), done
    return (count - first) / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2, 4], help="0: in this process")
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many is kept")
    args = parser.parse_args()
    result = {"cores": os.cpu_count(), "load before": round(os.getloadavg()[0], 1), "tasks": args.tasks}
    for kind in ("nothing", "waits", "computes"):
        found = {workers: [] for workers in args.workers}
        for _ in range(args.rounds):  # interleaved, so that other load meets all alike
            for workers in args.workers:
                with TemporaryDirectory() as folder:
                    found[workers].append(rate(kind, workers, args.tasks, Path(folder)))
        result[kind] = {str(workers): round(float(np.median(rates)), 2) for workers, rates in found.items()}
        print(f"{kind:9}", ", ".join(f"{w} workers {r:.1f}/s" for w, r in result[kind].items()), flush=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
