"""The published generators at their own size, on this machine: brought, loaded, one image, and its memory.

    python benchmarks/full_size.py [--models diffusionsat-256 text2earth crsdiff] [--steps 2] [--folder DIR]

The weights are random, in 16 bit and in the layouts in which the authors publish theirs (zip, repository,
single pickle), so that everything but the images is as with the released ones. Each model is written, brought
by ``rs-course fetch NAME --from``, then loaded by its name in a process of its own, which draws one image at
the published size on the CPU (float32, the default there). 12 GB of disk are needed at a time and given back;
a model is left out, and said to be, where the free memory is below what its weights and its working space
take.

Times are of the processor, in one thread, because such a machine is rarely idle. Writes
``benchmarks/results/full_size.json``; models that were measured before and are not named are kept.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "full_size.json"
PROMPT = "A satellite image of a harbour."


def write(name: str, folder: Path) -> Path:
    """The model as its authors hand it out; returns what ``fetch --from`` takes."""
    sys.path.insert(0, str(ROOT / "tests"))
    from checkpoints import official

    if name == "crsdiff":
        return official.write_crsdiff(folder / name, official.PUBLISHED)
    if name == "text2earth":
        return official.write_text2earth(folder / name, official.PUBLISHED)
    from rs_course import registry

    return official.write_diffusionsat(folder / registry.get(name).files[0].path, official.PUBLISHED)


def measure(name: str, steps: int) -> dict:
    """Load the fetched model and draw one image; memory is that of this process."""
    import torch

    from rs_course import checkpoints

    torch.set_num_threads(1)
    row, start = {}, time.process_time()
    generator = checkpoints.load(name, device="cpu")
    row["load_cpu_s"] = round(time.process_time() - start, 1)
    row["parameters_millions"] = round(
        sum(p.numel() for part in generator.modules().values() for p in part.parameters()) / 1e6, 1
    )
    row["peak_after_loading_GiB"] = _peak()
    start = time.process_time()
    image = generator.sample(PROMPT, steps=steps, seed=0)
    row["sample_cpu_s"] = round(time.process_time() - start, 1)
    row["peak_GiB"] = _peak()
    row["size"], row["finite"] = list(image.shape[-2:]), bool(image.isfinite().all())
    return row


def _peak() -> float:
    """Largest resident memory of this process so far [GiB]; Linux counts it in KiB, macOS in bytes."""
    unit = 1 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, 2)


def rehearse(name: str, folder: Path, steps: int) -> dict:
    import psutil

    from rs_course import registry

    # Float32 weights, a part of the 16-bit file beside them, and room for activations.
    needed, free = 2.8 * registry.get(name).memory + 2e9, psutil.virtual_memory().available
    if free < needed:
        return {"left out": f"needs about {needed / 2**30:.0f} GiB, {free / 2**30:.0f} GiB were free"}
    environment = {**os.environ, "RS_COURSE_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    own = [sys.executable, __file__, "--steps", str(steps), "--folder", str(folder)]
    subprocess.run([*own, "--write", name], check=True, env=environment)
    (brought,) = [path for path in folder.iterdir() if path.suffix in ("", ".zip") and path.name != "cache"]
    fetch = [sys.executable, "-m", "rs_course", "fetch", name, "--from", str(brought)]
    subprocess.run(fetch, check=True, env=environment)
    row = {"steps": steps}
    shutil.rmtree(brought) if brought.is_dir() else brought.unlink()
    done = subprocess.run([*own, "--measure", name], check=True, env=environment, stdout=subprocess.PIPE)
    return {**row, **json.loads(done.stdout)}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["diffusionsat-256", "text2earth", "crsdiff"])
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the weights lie meanwhile (default: temporary)")
    parser.add_argument("--write", help=argparse.SUPPRESS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.write:
        written = write(args.write, args.folder)
        if written.suffix == ".zip":
            shutil.rmtree(written.with_suffix(""))  # what was packed
        return
    if args.measure:
        print(json.dumps(measure(args.measure, args.steps)))
        return
    stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"models": {}}
    for name in args.models:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            stored["models"][name] = rehearse(name, Path(folder), args.steps)
        print(name, stored["models"][name], flush=True)
        stored |= {
            "what": "published sizes, random weights in 16 bit on disk, one image on the CPU in float32",
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, 1 thread, busy",
            "versions": {key: version(key) for key in ("torch", "diffusers", "transformers")},
        }
        RESULTS.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
