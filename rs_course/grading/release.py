"""The versions of an assignment: made from its one source notebook (nbgrader's format), and where they lie.

Answers stand between ``### BEGIN SOLUTION`` and ``### END SOLUTION``, hidden checks between ``### BEGIN
HIDDEN TESTS`` and ``### END HIDDEN TESTS``, mark schemes between ``=== BEGIN MARK SCHEME ===`` and ``===
END MARK SCHEME ===``; metadata follow nbgrader's schema 3, so its own tools read source and release too.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import secrets
from pathlib import Path
from urllib.parse import unquote

from rs_course.files import write_text

_CHECKOUT = Path(__file__).resolve().parents[2]
STUB = ("# YOUR CODE HERE", "raise NotImplementedError()")
_PROSE_STUB = "YOUR ANSWER HERE"
_SOLUTION, _HIDDEN, _SCHEME = (
    rf"[ \t]*{sign}\s*BEGIN {what}[^\n]*\n.*?{sign}\s*END {what}[^\n]*(?:\n|$)"
    for sign, what in (("###", "SOLUTION"), ("###", "HIDDEN TESTS"), ("===", r"MARK SCHEME\s*==="))
)
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MARKERS = re.compile(
    r"^[ \t]*(###\s*(BEGIN|END) (SOLUTION|HIDDEN TESTS)|===\s*(BEGIN|END) MARK SCHEME\s*===).*\n?", re.M
)


def release(source):
    """The student version of a source notebook: stubs for answers, no hidden checks, mark schemes or outputs.

    Raises:
        ValueError: A region is not closed, a ``grade_id`` is missing or used twice, or an answer cell has
        no region.
    """
    notebook = _copy(source)
    seen = set()
    for cell in notebook.cells:
        marks = _checked_metadata(cell, seen)
        text = cell.source
        if marks.get("solution"):
            if cell.cell_type == "code":
                if not re.search(_SOLUTION, text, re.S):
                    where = f"The answer cell {marks['grade_id']}"
                    raise ValueError(f"{where} has no ### BEGIN SOLUTION … ### END SOLUTION.")
                text = re.sub(_SOLUTION, _stub, text, flags=re.S)
            else:
                text = _PROSE_STUB
        text = re.sub(_HIDDEN, "", text, flags=re.S)
        text = re.sub(_SCHEME, "", text, flags=re.S).rstrip()
        if left := _MARKERS.search(text):
            marker, where = left.group().strip(), marks.get("grade_id", "?")
            raise ValueError(f"In cell {where} “{marker}” has no counterpart.")
        _finish(cell, text)
        _drop_unused_figures(cell)
    # What widgets showed is an output that lies outside the cells.
    notebook.metadata.pop("widgets", None)
    return notebook


def _drop_unused_figures(cell):
    """A figure of the mark scheme or of the reference answer must not stay behind as an attachment."""
    if "attachments" not in cell:
        return
    used = {unquote(name) for name in re.findall(r"attachment:([^\s)>\"']+)", cell.source)}
    if kept := {name: data for name, data in cell.attachments.items() if name in used}:
        cell.attachments = kept
    else:
        del cell["attachments"]


def solution(source):
    """The solution version: answers, mark schemes and all checks, without the marker lines."""
    notebook = _copy(source)
    for cell in notebook.cells:
        _finish(cell, _MARKERS.sub("", cell.source).rstrip())
    return notebook


def make(source: Path, release_folder: Path, solution_folder: Path) -> list[Path]:
    """Write both versions of a source notebook; returns their paths. The same source gives the same bytes."""
    import nbformat

    notebook, written = load(source), []
    for folder, version in ((release_folder, release), (solution_folder, solution)):
        target = folder / source.parent.name / source.name
        write_text(target, nbformat.writes(version(notebook)) + "\n")
        written.append(target)
    return written


def load(source: Path):
    """The source notebook as format 4, mended where tools leave it half-way between two of its versions.

    Cell ids belong to version 4.5: where some cells have one, all get one, which depends on the source alone.

    Raises:
        ValueError: No notebook, or one that cannot be mended.
    """
    import nbformat

    try:
        text = source.read_text(encoding="utf-8-sig")
        tree = json.loads(text)
        if not isinstance(tree, dict) or "nbformat" not in tree:
            raise ValueError("it has no nbformat")
        if tree["nbformat"] != 4:
            tree = nbformat.reads(text, as_version=4)
            for cell in tree["cells"]:
                cell.pop("id", None)  # random ones, from the conversion
        _mend_ids(tree)
        for cell in tree["cells"]:
            _mend_fields(cell)
        if any("attachments" in cell for cell in tree["cells"]):
            tree["nbformat_minor"] = max(tree.get("nbformat_minor", 0), 1)
        tree.setdefault("metadata", {})
        return _copy(nbformat.from_dict(tree))
    except (ValueError, KeyError, TypeError, AttributeError, nbformat.ValidationError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{source} is no valid notebook: {' '.join(reason.split())[:200]}") from None


def _mend_fields(cell):
    """What a cell of its type must have, and what one that had another type has left behind."""
    if cell["cell_type"] == "code":
        cell.setdefault("outputs", [])
        cell.setdefault("execution_count", None)
        cell.pop("attachments", None)
    else:
        cell.pop("outputs", None)
        cell.pop("execution_count", None)
    cell.setdefault("metadata", {})
    if isinstance(cell["source"], list):
        cell["source"] = "".join(cell["source"])


def _mend_ids(tree):
    if tree.get("nbformat_minor", 0) < 5 and not any("id" in cell for cell in tree["cells"]):
        return
    tree["nbformat_minor"] = max(tree.get("nbformat_minor", 0), 5)
    seen = set()
    for number, cell in enumerate(tree["cells"]):
        identity = cell.get("id")
        if not isinstance(identity, str) or not _ID.fullmatch(identity) or identity in seen:
            grade_id = cell.get("metadata", {}).get("nbgrader", {}).get("grade_id")
            identity = re.sub(r"[^a-zA-Z0-9_-]", "-", grade_id)[:50] if grade_id else f"cell-{number}"
        while identity in seen:
            identity += "-2"
        seen.add(identity)
        cell["id"] = identity


def _copy(source):
    import nbformat

    notebook = copy.deepcopy(source)
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        raise ValueError(f"the format refuses it: {error.message}") from None
    return notebook


def _checked_metadata(cell, seen) -> dict:
    marks = cell.metadata.get("nbgrader", {})
    if not marks:
        return {}
    grade_id = marks.get("grade_id")
    if not grade_id or grade_id in seen:
        raise ValueError(f"The grade_id {grade_id!r} is missing or used twice.")
    seen.add(grade_id)
    return marks


def _stub(match):
    indent = re.match(r"[ \t]*", match.group()).group()
    return "".join(f"{indent}{line}\n" for line in STUB)


def _finish(cell, text):
    cell.source = text
    if cell.cell_type == "code":
        cell.outputs, cell.execution_count = [], None
    marks = cell.metadata.get("nbgrader")
    if marks:
        marks |= {"cell_type": cell.cell_type, "checksum": checksum(cell)}


def checksum(cell) -> str:
    """nbgrader's checksum of a cell (``nbgrader.utils.compute_checksum``)."""
    marks = cell.metadata["nbgrader"]
    grade, solution = bool(marks.get("grade")), bool(marks.get("solution"))
    locked = not solution and (grade or bool(marks.get("locked")))
    parts = [cell.source, cell.cell_type, str(grade), str(solution), str(locked), marks["grade_id"]]
    parts += [str(float(marks["points"]))] if grade else []
    return hashlib.md5("".join(parts).encode(), usedforsecurity=False).hexdigest()


def assignment_name(notebook: Path) -> str:
    """The assignment that a notebook answers, by its file name without what browsers and systems add.

    ``warmup (1).ipynb``, ``warmup.ipynb.json`` and ``warmup-Copy1.ipynb`` are all ``warmup``.
    """
    stem = re.sub(r"\.ipynb.*$", "", notebook.name, flags=re.I) or notebook.stem
    return re.sub(r"(?:\s*\(\d+\)|-Copy\d+|[ -]+(?:copy|Copy|Kopie)(?: \d+)?)+$", "", stem) or stem


def release_notebook(name: str, given: str | None = None) -> Path:
    """The student version: the given file, or that in ``assignments/release`` here or in the checkout.

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
    how = f"make it with “rs-course release {name}”"
    raise FileNotFoundError(f"There is no release notebook {places[0]}: {how}.")


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
