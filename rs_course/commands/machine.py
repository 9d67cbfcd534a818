"""This machine: what it has and lacks, what can be fetched to it, and what its cache holds."""

from __future__ import annotations

import os
import platform
import re
import shutil
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rs_course import registry
from rs_course.commands import setup
from rs_course.paths import cache_dir, data_dir, relative

if TYPE_CHECKING:
    import argparse

# Part of the environment, not of the course: any version that installed it will do.
_INSTALLERS = ("pip", "setuptools")
# Least that FAST needs on a laptop: a notebook and a browser in memory, the environment on disk.
_MEMORY_BYTES = 4 * 2**30
_DISK_BYTES = 3 * 2**30


def doctor_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``rs-course doctor``."""
    parser.add_argument(
        "--full", action="store_true", help="also require what the profile full needs (a GPU)"
    )


def doctor(args: argparse.Namespace):
    """``rs-course doctor``: what this machine has, what is missing, and the command that mends it.

    rs-course doctor               what this machine has and lacks
    rs-course doctor --full        also what the profile full needs
    """
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
        wanted = {name: pin for name, pin in setup.pins(constraints).items() if name not in _INSTALLERS}
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
    if setup.gpu_present():
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
    yield "cache", f"{_size(cache_dir())} in {cache_dir()} (set RS_COURSE_CACHE to move it)", None


def _optional(_args):
    """Optional programs"""
    uses = {
        "chromium": "the browser test",
        "bwrap": "grading submissions in isolation (Linux)",
        "make": "the short commands; README.md lists what they stand for",
    }
    for program, use in uses.items():
        yield program, shutil.which(program) or f"not found; only needed for {use}", None


_HEADINGS = {
    "dataset": "Data sets",
    "checkpoint": "Image generators",
    "scorer": "Image-text scorers",
    "super-resolution": "Super-resolution",
}


def fetch_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``rs-course fetch``."""
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="what to fetch, e.g. eurosat")
    add("--list", action="store_true", help="show what can be fetched and what is here")
    add("--from", dest="source", type=Path, metavar="FILE", help="use this file or folder, no download")
    add("--mirror", metavar="URL", help="base address with NAME/FILE below it")


def fetch(args: argparse.Namespace):
    """``rs-course fetch``: download or import a data set or checkpoint, or list what there is.

        rs-course fetch --list                       what can be fetched, what is here
        rs-course fetch eurosat                      download, verify; continues after an interruption
        rs-course fetch crsdiff --from last.ckpt     a file that was brought by hand
        rs-course fetch rsicd --mirror http://host/  from a mirror (or set RS_COURSE_MIRROR)

    What is published, and what is known of it, stands in ``data/registry.json``.
    """
    if args.list:
        print(table())
        return
    if not args.names:
        raise ValueError(
            "name what to fetch, e.g. rs-course fetch eurosat; rs-course fetch --list shows all."
        )
    if args.source and len(args.names) > 1:
        raise ValueError("--from brings files of one thing: name only that one.")
    from rs_course import fetching

    for name in args.names:
        fetching.fetch(name, mirror=args.mirror, source=args.source)
        entry = registry.get(name)
        print(f"Licence: {entry.licence}. Please cite: {entry.citation}.")


def table() -> str:
    """What can be fetched: two lines each, with size of the download, memory of the weights and licence."""
    row = "{:<28}{:<9}{:>8}  {:>8}  {}"
    lines = [row.format("NAME", "HERE", "SIZE", "MEMORY", "LICENCE")]
    for kind, heading in _HEADINGS.items():
        lines += ["", heading]
        for name in registry.names(kind):
            entry = registry.get(name)
            memory = registry.readable(entry.memory) if entry.memory else ""
            licence = re.split(r"[;(]", entry.licence)[0].strip()
            lines.append(row.format(name, _state(entry), registry.readable(entry.size), memory, licence))
            by_hand = " (in a browser, then --from)" if entry.manual_download else ""
            lines.append(f"    {entry.what}{by_hand}")
    lines += [
        "",
        "SIZE: of the download, ? where none is published. MEMORY: of the weights in 16 bits.",
        "Fetch one with: rs-course fetch NAME. The full licence and the citation are told then.",
        f"Folder: {cache_dir() / 'fetched'}",
    ]
    return "\n".join(lines)


def _state(entry) -> str:
    try:
        return "subset" if entry.fallback() else "yes" if entry.local_files() else "no"
    except ValueError:  # its list of files, of which doctor and fetch say more
        return "damaged"


# name: (what it is, made again without a download)
KINDS = {
    "simulated": ("rendered tiles of the simulated data sets", True),
    "decoded": ("data sets unpacked for quick reading", True),
    "training": ("scenes rendered to train the minis", True),
    "embeddings.sqlite": ("embeddings of images and texts", True),
    "fetched": ("data sets and checkpoints, downloaded or imported", False),
    "superres": ("super-resolution networks that were put there by hand", False),
}


def cache_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``rs-course cache``."""
    parser.add_argument("action", nargs="?", choices=["list", "clean"], default="list", help="default: list")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"what to clean: {', '.join(KINDS)}, or a folder in one"
    )


def cache(args: argparse.Namespace):
    """``rs-course cache``: what the course keeps outside its own folders, and how to get the space back.

        rs-course cache                        what lies there, and how much it takes
        rs-course cache clean                  remove what the course makes again by itself
        rs-course cache clean fetched          remove the downloads: they have to be fetched again
        rs-course cache clean fetched/eurosat  one of them

    Nothing else is ever removed, so that ``RS_COURSE_CACHE`` may name a folder that holds other things.
    """
    root = cache_dir()
    if args.action == "list":
        if args.names:
            raise ValueError("the list is of everything; only `rs-course cache clean` takes names.")
        for name, (what, again) in KINDS.items():
            inside = [*root.glob(f"{name}/*")] if not again else []
            print(f"{_size(*_paths(root, name)):>10}  {name:20}{what}")
            for path in sorted(inside):
                inner = f"{name}/{path.name}"
                print(f"{_size(*_paths(root, inner)):>10}    {inner}")
        print(f"in {root} (RS_COURSE_CACHE moves it); `rs-course cache clean` removes what is made again")
        return
    for name in args.names:  # all of them before anything is removed
        if relative(name).partition("/")[0] not in KINDS:
            raise ValueError(
                f"{name!r} is no part of the cache; give {', '.join(KINDS)}, or a folder in one."
            )
        if name not in KINDS and not _paths(root, name):
            raise ValueError(f"there is no {name} in the cache; `rs-course cache` lists what is.")
    for name in args.names or [name for name, (_, again) in KINDS.items() if again]:
        size = _size(*_paths(root, name))
        for path in _paths(root, name):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        print(f"{size:>10}  {name} removed")


def _paths(root, name):
    """The folder or file of this name; a data base has two more files while it is open."""
    wanted = (root / f"{name}{ending}" for ending in ("", "-wal", "-shm"))
    return [path for path in wanted if path.exists() or path.is_symlink()]


def _size(*places: Path) -> str:
    """What these files and folders take together."""
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*"))]
    return f"{sum(file.stat().st_size for file in files if file.is_file()) / 1e6:,.1f} MB"
