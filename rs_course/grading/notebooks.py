"""Read a submitted notebook, whatever became of it, and transplant its answers into the pristine release.

Only the *answers* of a submission count. They are found by ``grade_id`` (else by cell id, else by the
function that they define) and put into a fresh copy of the release, so deleted, edited, duplicated or
reordered checks and games with points and metadata have no effect.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass, field
from pathlib import Path

MAX_BYTES = 50 * 2**20


class Unreadable(ValueError):
    """A submission that is no notebook; the message is the reason that its row gets."""


@dataclass(frozen=True)
class Cell:
    """What matters of a notebook cell."""

    kind: str
    source: str
    grade_id: str | None
    cell_id: str | None
    nbgrader: dict

    @property
    def is_answer(self) -> bool:
        return bool(self.nbgrader.get("solution"))

    @property
    def is_setup(self) -> bool:
        """A locked code cell without points: the imports and data that answers build on."""
        return (
            self.kind == "code"
            and bool(self.nbgrader.get("locked"))
            and not self.nbgrader.get("grade")
            and not self.is_answer
            and not self.is_task
        )

    @property
    def is_task(self) -> bool:
        """A task in nbgrader's sense: it is worked on in cells of the student's own and graded by hand."""
        return bool(self.nbgrader.get("task"))

    @property
    def is_manual(self) -> bool:
        return self.is_task or (self.is_answer and bool(self.nbgrader.get("grade")))


@dataclass
class Transplant:
    """The release with a student's answers.

    Attributes:
        cells: ``[{"id", "source"}]`` to execute: setup cells and code answers, in the order of the release.
        answers: ``grade_id`` → source of every answer that was found, prose and work on tasks too.
        untouched: ``grade_id`` of answers that are still the stub, or missing.
        notes: What was unusual, one sentence each, for the record.
        elsewhere: Names that the student defined outside the answer cells, which are not run.
    """

    cells: list = field(default_factory=list)
    answers: dict = field(default_factory=dict)
    untouched: set = field(default_factory=set)
    notes: list = field(default_factory=list)
    elsewhere: set = field(default_factory=set)


def read(data: bytes) -> tuple[list[Cell], list[str]]:
    """Cells of a notebook file and notes on what had to be mended.

    Raises:
        Unreadable: Too large, not JSON, or no notebook.
    """
    notes = []
    if len(data) > MAX_BYTES:
        raise Unreadable(
            f"the notebook has {len(data) / 2**20:.0f} MB, more than {MAX_BYTES // 2**20}: clear its outputs"
        )
    if not data.strip():
        raise Unreadable("the file is empty")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = data.decode("utf-16", errors="replace")
        notes.append("The file was UTF-16; read as such.")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252", errors="replace")
            notes.append("The file was not UTF-8; read as Windows-1252.")
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the file is not valid JSON ({str(error)[:100]})") from None
    raw = tree.get("cells") if isinstance(tree, dict) else None
    if raw is None and isinstance(tree, dict) and isinstance(tree.get("worksheets"), list):
        sheets = [sheet for sheet in tree["worksheets"] if isinstance(sheet, dict)]
        raw = [cell for sheet in sheets for cell in sheet.get("cells") or []]
        notes.append("The notebook has format 3; read as such.")
    if not isinstance(raw, list):
        raise Unreadable("the file is JSON, but not a notebook: it has no cells")
    return [_cell(item) for item in raw if isinstance(item, dict)], notes


def _cell(item: dict) -> Cell:
    source = item.get("source", item.get("input", ""))
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    metadata = item.get("metadata")
    nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    nbgrader = nbgrader if isinstance(nbgrader, dict) else {}
    grade_id, cell_id = nbgrader.get("grade_id"), item.get("id")
    return Cell(
        kind=str(item.get("cell_type")),
        # A lone surrogate is valid JSON and no valid text.
        source=str(source).encode("utf-8", "replace").decode(),
        grade_id=grade_id if isinstance(grade_id, str) else None,
        cell_id=cell_id if isinstance(cell_id, str) else None,
        nbgrader=nbgrader,
    )


def read_file(path: Path) -> tuple[list[Cell], list[str]]:
    """As :func:`read`, without loading a file that is too large."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise Unreadable(
            f"the notebook has {size / 2**20:.0f} MB, more than {MAX_BYTES // 2**20}: clear its outputs"
        )
    return read(path.read_bytes())


def transplant(release: list[Cell], submitted: list[Cell]) -> Transplant:
    """Put the answers of a submission into the cells of the release.

    Args:
        release: Cells of the pristine student version.
        submitted: Cells of the submission.
    """
    result = Transplant()
    wanted = [cell for cell in release if cell.is_answer]
    taken: set[int] = set()
    for cell in wanted:
        found = _find(cell, wanted, submitted, taken, result.notes)
        source = cell.source if found is None else found.source
        if found is None:
            result.notes.append(f"The cell {cell.grade_id} is missing; its stub was used.")
        else:
            result.answers[cell.grade_id] = source
        if source.strip() == cell.source.strip():
            result.untouched.add(cell.grade_id)
    for cell in release:
        if cell.is_task and (work := _work_on(cell, release, submitted)):
            result.answers[cell.grade_id] = work
        if cell.is_setup:
            result.cells.append({"id": cell.grade_id or cell.cell_id or "setup", "source": cell.source})
        elif cell.is_answer and cell.kind == "code":
            source = result.answers.get(cell.grade_id, cell.source)
            result.cells.append({"id": cell.grade_id, "source": source})
    for number, cell in enumerate(submitted):
        if number not in taken and cell.kind == "code":
            result.elsewhere |= defined_names(cell.source)
    return result


def _work_on(task, release, submitted):
    """What a student wrote below a task: the cells up to the next one that belongs to the assignment."""
    given = {cell.source.strip() for cell in release if cell.grade_id is None}
    below = [number for number, cell in enumerate(submitted) if cell.grade_id == task.grade_id]
    work = []
    for cell in submitted[below[0] + 1 :] if below else []:
        if cell.grade_id is not None:
            break
        if cell.source.strip() not in given:
            work.append(cell.source)
    return "\n\n".join(work)


def _find(cell, wanted, submitted, taken, notes):
    """The submitted cell that answers ``cell``; its index goes into ``taken``."""

    def candidates(test):
        return [(n, s) for n, s in enumerate(submitted) if n not in taken and s.kind == cell.kind and test(s)]

    found = candidates(lambda s: s.grade_id == cell.grade_id)
    if len(found) > 1:
        notes.append(f"The cell {cell.grade_id} occurs {len(found)} times; the first answered one was taken.")
        found.sort(key=lambda pair: pair[1].source.strip() == cell.source.strip())
        taken.update(number for number, _ in found)
    known = {other.grade_id for other in wanted}
    if not found and cell.cell_id:
        found = candidates(lambda s: s.cell_id == cell.cell_id and s.grade_id not in known)
        if found:
            notes.append(f"The cell {cell.grade_id} had lost its grade_id; it was found by its cell id.")
    if not found and (names := defined_names(cell.source)):
        found = candidates(lambda s: s.grade_id not in known and names <= defined_names(s.source))
        if found:
            notes.append(f"The cell {cell.grade_id} had lost its grade_id; it was found by what it defines.")
    if not found:
        return None
    taken.add(found[0][0])
    return found[0][1]


def defined_names(source: str) -> set[str]:
    """Functions, classes and variables that a cell defines at top level; empty if it does not parse."""
    lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))]
    try:
        body = ast.parse("\n".join(lines)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    names = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in body:
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names
