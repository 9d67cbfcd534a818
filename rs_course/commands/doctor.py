"""``rs-course doctor``: what this machine has, what is missing, and the command that mends it.

rs-course doctor               what this machine has and lacks
rs-course doctor --full        also what the profile full needs
"""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from rs_course.paths import cache_dir, data_dir

# Part of the environment, not of the course: any version that installed it will do.
_INSTALLERS = ("pip", "setuptools")
# Least that FAST needs on a laptop: a notebook and a browser in memory, the environment on disk.
_MEMORY_BYTES = 4 * 2**30
_DISK_BYTES = 3 * 2**30


def doctor_arguments(parser):
    parser.add_argument(
        "--full", action="store_true", help="also require what the profile full needs (a GPU)"
    )


def doctor(args):
    missing = []
    for section in (_versions, _machine, _shipped, _cached, _optional):
        print(section.__doc__)
        for name, state, remedy in section(args):
            print(f"  {'ok' if remedy is None else 'MISSING':8}{name:22}{state}")
            if remedy is not None:
                print(f"  {'':8}{'':22}mend: {remedy}")
                missing.append(name)
    if missing:
        print(f"{len(missing)} missing: {', '.join(missing)}")
        return 1
    print("nothing that is needed is missing")
    return 0


def pins(constraints: Path) -> dict[str, str]:
    """Exact versions in a constraints file, by distribution name."""
    lines = constraints.read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def _versions(_args):
    """Versions"""
    yield "python", platform.python_version(), None
    for name in ("rs-course", "torch", "diffusers", "transformers", "jupyterlab", "papermill"):
        try:
            yield name, version(name), None
        except PackageNotFoundError:
            yield name, "not installed", _SETUP
    constraints = Path(__file__).resolve().parents[2] / "constraints.txt"
    if constraints.is_file():
        wanted = {name: pin for name, pin in pins(constraints).items() if name not in _INSTALLERS}
        found = {name: _installed(name) for name in wanted}
        different = [
            f"{n} {v} instead of {wanted[n]}" for n, v in found.items() if v not in (wanted[n], None)
        ]
        count = sum(version is not None for version in found.values())
        state = ", ".join(different) or f"{count} of {len(found)} pinned packages, each in its pinned version"
        yield "pins", state, _SETUP if different else None


_SETUP = "python3 -m rs_course.cli setup"


def _installed(name: str) -> str | None:
    try:
        # A local label such as +cpu says which build it is, not which version.
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return None


def _machine(args):
    """Machine"""
    yield "system", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores", None
    yield "memory", *_memory()
    free = shutil.disk_usage(Path.cwd()).free
    yield (
        "disk",
        f"{free / 2**30:.1f} GiB free here",
        None if free >= _DISK_BYTES else f"free some space, for instance in {cache_dir()}",
    )
    yield "device", *_device(args.full)


def _memory():
    if find_spec("psutil") is None:
        return "unknown without psutil", _SETUP
    import psutil

    memory = psutil.virtual_memory()
    state = f"{memory.total / 2**30:.1f} GiB, {memory.available / 2**30:.1f} GiB free"
    return state, None if memory.total >= _MEMORY_BYTES else "use a machine with 4 GiB or more"


def _device(gpu_needed: bool):
    if find_spec("torch") is None:
        return "unknown without torch", _SETUP
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return f"cuda: {properties.name}, {properties.total_memory / 2**30:.0f} GiB", None
    if torch.backends.mps.is_available():
        return "mps (Apple GPU)", None
    from rs_course.commands.setup import gpu_present

    if gpu_present():
        return "cpu, although there is an NVIDIA GPU", f"{_SETUP} --force"
    return "cpu", "run the profile full on a machine with a GPU" if gpu_needed else None


def _shipped(_args):
    """Shipped data"""
    quizzes = sorted((data_dir() / "quizzes").glob("*.json"))
    yield "quizzes", f"{len(quizzes)}", None if quizzes else _CHECKOUT
    weights = sorted(data_dir().rglob("*.safetensors"))
    size = sum(path.stat().st_size for path in weights)
    yield "mini checkpoints", f"{len(weights)} files, {size / 1e6:.1f} MB", None if weights else _CHECKOUT


_CHECKOUT = "git checkout -- data (or install the package again)"


def _cached(_args):
    """Downloaded or imported (needed only for real data and published checkpoints)"""
    from rs_course import registry

    absent = 0
    for name in registry.names():
        try:
            if registry.get(name).local_files():
                yield name, registry.get(name).title, None
            else:
                absent += 1
        except ValueError as error:
            yield name, "its list of files is damaged", str(error)
    yield "not here", f"{absent} data sets and checkpoints; `rs-course fetch --list` shows them", None
    folder = cache_dir()
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    size = sum(path.stat().st_size for path in files)
    yield "cache", f"{size / 1e6:.1f} MB in {folder} (set RS_COURSE_CACHE to move it)", None


def _optional(_args):
    """Optional programs"""
    uses = {
        "chromium": "the browser test",
        "bwrap": "grading submissions in isolation (Linux)",
        "make": "the short commands; README.md lists what they stand for",
    }
    for program, use in uses.items():
        yield program, shutil.which(program) or f"not found; only needed for {use}", None
