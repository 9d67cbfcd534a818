"""How strong is the baseline? The small CNN on real EuroSAT tiles alone, 1,000 per class, on its 2,000 test
tiles.

    python benchmarks/real_only.py                       # ../shared/data/eurosat.tar
    python benchmarks/real_only.py --data FOLDER --threads 2

A study that compares synthetic with real data is worth as much as its real-only arm.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import numpy as np
import torch

from rs_course.classification import run_task, spread

ROOT = Path(__file__).resolve().parent
TAR = ROOT.parents[1] / "shared" / "data" / "eurosat.tar"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=TAR, help="EuroSAT's tar or folder")
    parser.add_argument("--per-class", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "real_only.json")
    args = parser.parse_args()
    if not args.data.exists():
        print(f"Skipped: no EuroSAT at {args.data.name}; give its tar or folder with --data.")
        return
    torch.set_num_threads(args.threads)
    rows = []
    for seed in range(args.seeds):
        task = {
            "dataset": str(args.data),
            "real_per_class": args.per_class,
            "steps": args.steps,
            "seed": seed,
        }
        rows.append(run_task(task))
        write(args, rows)  # after every seed: a long run may be cut
        print(f"seed {seed}: {rows[-1]['accuracy']:.1%} in {rows[-1]['seconds']:.0f} CPU seconds", flush=True)
    print(f"accuracy {spread([row['accuracy'] for row in rows]):.1%}")


def write(args, rows: list[dict]) -> None:
    """Means and spreads of the finished seeds, with what is needed to repeat them."""

    def over_seeds(key):
        mean, std, _ = spread([row[key] for row in rows])
        return {"mean": round(mean, 4), "std": round(std, 4) if len(rows) > 1 else None}

    result = {
        "provenance": {
            "trained and tested on": f"real · EuroSAT · {rows[0]['n_real']} tiles, tested on "
            f"{rows[0]['n_test']}",
            "classifier": "small-cnn, mean over the eight symmetries of each test tile",
            "steps of 64 tiles": args.steps,
            "train": [row["real_hash"] for row in rows],
            "test": rows[0]["test_hash"],
            "test tiles among the training tiles": sum(row["n_leaked"] for row in rows),
            "torch": torch.__version__,
            "threads": args.threads,
            "machine": platform.machine(),
        },
        **{key: over_seeds(key) for key in ("accuracy", "macro_f1", "top3", "ece", "seconds")},
        "recall": dict(
            zip(
                rows[0]["class_names"],
                np.mean([row["recall"] for row in rows], 0).round(4).tolist(),
                strict=True,
            )
        ),
        "runs": [{key: round(row[key], 4) for key in ("accuracy", "seconds")} for row in rows],
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
