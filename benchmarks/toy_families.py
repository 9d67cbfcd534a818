"""Five families of generative models on six islands, over seeds: the numbers that the first lesson shows.

python benchmarks/toy_families.py            # writes data/results/toy_families.json
"""

import dataclasses
import json
import time
from pathlib import Path

import torch

from rs_course import toys

STEPS, SEEDS = 1500, 5
OUT = Path(__file__).resolve().parents[1] / "data" / "results" / "toy_families.json"


def main():
    world, rows = toys.islands(), []
    for seed in range(SEEDS):
        for name, family in toys.FAMILIES.items():
            torch.manual_seed(seed)
            model, start = family(), time.process_time()
            for _ in toys.fit(model, world, steps=STEPS, seed=seed):
                pass
            cpu_seconds = time.process_time() - start
            verdict = dataclasses.asdict(toys.judge(model, world, seed=seed))
            parameters = sum(p.numel() for p in model.parameters())
            verdict["calls"] = verdict.pop("nfe")  # as the lesson reads them
            rows.append({"family": name, "seed": seed, "parameters": parameters, **verdict})
            print(f"seed {seed} {name:15}{cpu_seconds:6.1f} s of CPU  {verdict}", flush=True)
    about = f"rs_course.toys, {STEPS} steps of 256 points, {SEEDS} seeds; made by benchmarks/toy_families.py"
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"about": about, "rows": rows}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
