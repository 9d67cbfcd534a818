"""What a sandbox shows: this Python, the packages that answers may import, system libraries, nothing else.

The course itself, its models, other packages and everything of this machine are not there at all, so there
is nothing to cover up. Inside, everything lies at the same places on every machine: ``/python``,
``/packages`` and ``/grader``.
"""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
from functools import lru_cache
from importlib import metadata
from pathlib import Path

INSIDE = Path(__file__).parent / "inside"
# IPython reads the magics of a cell; matplotlib, because answers draw.
ALWAYS = ("numpy", "IPython", "matplotlib")
_FILES = (*(INSIDE / f"{name}.py" for name in ("codec", "runner", "seccomp", "watch", "zygote")),)
# What reads the answers out of a notebook keeps its place in the package: see ``zygote.load_reader``.
READERS = ("notebooks.py", "notebook_files.py")

# One thread each, so that the warm interpreter may be forked and processes, not threads, share the cores.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "PYTHONHASHSEED": "0",
    "LANG": "C.UTF-8",
}
READING = "/grader/reading"
PYTHON = "/python/bin/python"
COMMAND = (PYTHON, "-s", "-S", "-B", "/grader/zygote.py")


def why_no_filter() -> str | None:
    """Reason why the system-call filter (``inside/seccomp.py``) does not work here, or ``None``."""
    if platform.system() == "Linux" and platform.machine() in ("x86_64", "aarch64"):
        return None
    return "the system-call filter knows only Linux on x86-64 and arm64"


def environment() -> dict[str, str]:
    """All environment variables inside."""
    return {
        **ENVIRONMENT,
        "PYTHONHOME": "/python",
        "LD_LIBRARY_PATH": "/python/lib",
        "HOME": "/tmp",
        "MPLCONFIGDIR": "/tmp",
        "PATH": "/python/bin",
    }


@lru_cache
def read_only(modules: tuple[str, ...]) -> tuple[list[tuple[str, str]], list[str]]:
    """Files and folders to mount read-only, and folders in them to cover with an empty one.

    Args:
        modules: What answers may import besides ``ALWAYS``, with what these need.

    Returns:
        Pairs of a path here and its place inside, in the order to mount them; places inside to cover.
    """
    pairs, covered = _interpreter()
    pairs += _libraries()
    pairs += [(str(path), f"/packages/{name}") for name, path in _packages((*ALWAYS, *modules))]
    return pairs + grader_files(), covered


def grader_files() -> list[tuple[str, str]]:
    """Pairs of a file of the course that runs inside and its place there, under ``/grader``."""
    pairs = [(str(path), f"/grader/{path.name}") for path in _FILES]
    readers = [path for name in READERS if (path := INSIDE.parent / name).exists()]
    return pairs + [(str(path), f"{READING}/rs_course/grading/{path.name}") for path in readers]


def _interpreter():
    base = Path(sys.base_prefix)
    standard = Path(sysconfig.get_path("stdlib"))
    pairs = [(os.path.realpath(sys.executable), PYTHON)]
    # Shared libraries that the interpreter was linked with lie beside the standard library; the lib folder of
    # /usr is the whole system's.
    places = [standard] if base == Path("/usr") else sorted({base / "lib", standard.parent})
    pairs += [(str(place), f"/python/{place.relative_to(base)}") for place in places]
    found = [
        path
        for place in {standard, *(base / "lib").glob("python3*")}
        for name in ("site-packages", "dist-packages")
        if (path := place / name).is_dir() and any(path.is_relative_to(shown) for shown in places)
    ]
    covered = [f"/python/{path.relative_to(base)}" for path in found]
    return pairs, covered


def _libraries():
    """The loader and the system's shared libraries."""
    triplet = sysconfig.get_config_var("MULTIARCH") or ""
    folders = [f"/usr/lib/{triplet}", f"/lib/{triplet}"]  # Debian and its kin
    if not triplet or not os.path.isdir(folders[0]):
        folders = ["/usr/lib64", "/lib64"] if os.path.isdir("/usr/lib64") else ["/usr/lib", "/lib"]
    loaders = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"]
    missing = [path for path in loaders if os.path.dirname(path) not in folders]
    return [(os.path.realpath(p), p) for p in (*folders, *missing, "/etc/ld.so.cache") if os.path.exists(p)]


def _packages(modules):
    """Top-level files and folders of the distributions that these modules come from and depend on."""
    from packaging.requirements import Requirement

    waiting, seen, places = [module.split(".")[0] for module in modules], set(), {}
    while waiting:
        name = waiting.pop()
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            waiting += [n for n in _distributions().get(name, ()) if n not in seen and n != name]
            seen.add(name)
            continue
        if (known := distribution.name.lower()) in seen:
            continue
        seen.add(known)
        for line in (distribution.read_text("RECORD") or "").splitlines():
            top, _, rest = line.partition(",")[0].strip('"').partition("/")
            if top == "__pycache__":  # of a module that is a single file
                top = f"{top}/{rest}"
            if top not in places and top != ".." and not top.endswith(".pth"):
                places[top] = Path(str(distribution.locate_file(top)))
        requirements = map(Requirement, distribution.requires or ())
        waiting += [r.name for r in requirements if not r.marker or r.marker.evaluate({"extra": ""})]
    return sorted((top, path) for top, path in places.items() if top and path.exists())


@lru_cache
def _distributions():
    return metadata.packages_distributions()
