"""``rs-course start FOLDER``: the notebooks and assignments of the installed course, in a folder to work in.

rs-course start my-course        copy them, and say how to open them
rs-course start my-course        after an update of the package: bring what is new, keep what you wrote
"""

from __future__ import annotations

import hashlib
import json
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from rs_course.files import atomic_write, write_json
from rs_course.paths import course_files, writable

_RECORD = ".rs-course.json"


def add_arguments(parser):
    parser.add_argument("folder", type=Path, help="where to work; it is made if it is not there")


def run(args):
    folder = writable(args.folder)
    copied, kept = copy(course_files(), folder)
    print(f"start: {copied} files copied to {folder}" if copied else f"start: {folder} is up to date")
    for name in kept:
        print(f"  kept: {name}, which you changed; rename it and start again to get the course's version")
    if find_spec("jupyterlab") is None:
        print("JupyterLab is not installed here: pip install 'rs-course[course]'")
    first = min((folder / "notebooks").glob("[0-9]*.ipynb"))
    # Where the environment is not activated, the shell knows no jupyter, or that of another environment.
    here = which("jupyter", path=sysconfig.get_path("scripts"))
    jupyter = here if here and which("jupyter") != here else "jupyter"
    commands = f"  cd {_quoted(folder)}\n  {_quoted(jupyter)} lab notebooks/{first.name}"
    print(f"Open the first lesson with\n{commands}")


def _quoted(path) -> str:
    """As a shell takes it, that of Windows too."""
    return f'"{path}"' if " " in str(path) else str(path)


def copy(files: dict[str, Path], folder: Path) -> tuple[int, list[str]]:
    """Copy each file unless its place holds something that the course did not put there.

    Args:
        files: Path in ``folder`` to the file of the course.
        folder: An existing folder.

    Returns:
        How many files were written, and the names of those that were left because they had been changed.
    """
    record = folder / _RECORD
    known = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    copied, kept = 0, []
    for name, source in files.items():
        target, content = folder / name, source.read_bytes()
        there = target.read_bytes() if target.is_file() else None
        if there == content:
            pass
        elif there is None or _sha256(there) == known.get(name):
            with atomic_write(target) as partial:
                partial.write_bytes(content)
            copied += 1
        else:
            kept.append(name)
            continue
        known[name] = _sha256(content)
    write_json(record, known)
    return copied, kept


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
