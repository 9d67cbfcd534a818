"""Where the parts of an assignment lie, and the secret seed of its hidden inputs."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from rs_course.grading.sandbox import BUBBLEWRAP, PROCESS, why_no_bubblewrap

_CHECKOUT = Path(__file__).resolve().parents[2]


def assignment_name(notebook: Path) -> str:
    """The assignment that a notebook answers, by its file name without what browsers and systems add.

    ``warmup (1).ipynb``, ``warmup.ipynb.json`` and ``warmup-Copy1.ipynb`` are all ``warmup``.
    """
    stem = re.sub(r"\.ipynb.*$", "", notebook.name, flags=re.I) or notebook.stem
    return re.sub(r"(?:\s*\(\d+\)|-Copy\d+|[ -]+(?:copy|Copy|Kopie)(?: \d+)?)+$", "", stem) or stem


def release_notebook(name: str, given: str | None = None) -> Path:
    """The student version of an assignment: the given file, or ``assignments/release`` here or in the
    checkout.

    Raises:
        FileNotFoundError: Says which command makes it.
    """
    if given:
        places = [Path(given)]
    else:
        tail = Path("assignments", "release", name, f"{name}.ipynb")
        places = [Path.cwd() / tail, _CHECKOUT / tail]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"There is no release notebook {places[0]}: make it with “rs-course release {name}”."
    )


def exam_source(name: str, given: str | None, release: Path) -> str:
    """The exam: the given file, an ``exam.py`` beside the source notebook, or the course's own."""
    beside = release.parents[2] / "source" / name / "exam.py" if len(release.parents) > 2 else Path("exam.py")
    return given or (str(beside) if beside.is_file() else name)


def source_notebook(name: str, given: str | None, release: Path) -> Path | None:
    """The source notebook, which has the mark schemes: the given file, or the one beside the release.

    Raises:
        FileNotFoundError: The given file is not there.
    """
    if given and not Path(given).is_file():
        raise FileNotFoundError(f"There is no source notebook {given}.")
    tail = Path("source", name, f"{name}.ipynb")
    beside = release.parents[2] / tail if len(release.parents) > 2 else tail
    return Path(given) if given else beside if beside.is_file() else None


def secret_seed(path: Path) -> str:
    """The secret seed stored in a file; made on first use. Whoever knows it knows the hidden inputs."""
    if path.is_file():
        if seed := path.read_text(encoding="utf-8").strip():
            return seed
        raise ValueError(f"The seed file {path} is empty: write any secret text into it, or delete it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = secrets.token_hex(16)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as stream:
        stream.write(seed + "\n")
    return seed


def best_isolation() -> str:
    """For one's own code: bubblewrap where it works, else a plain process."""
    return PROCESS if why_no_bubblewrap() else BUBBLEWRAP
