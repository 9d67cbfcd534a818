"""Read the cells of a notebook file, whatever became of it.

Of a submission this happens inside the sandbox, where a hostile file can exhaust its own memory only (see
``inside/runner.py``), so this module imports nothing but the standard library.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

MAX_BYTES = 50 * 2**20
MAX_CELLS, MAX_TEXT, MAX_FIGURES = 5_000, 4 * 2**20, 16 * 2**20
_MARKS = ("grade_id", "grade", "solution", "locked", "task", "points")
# Colab puts pictures into the text itself.
_PICTURE_IN_TEXT = re.compile(r"data:(image/[\w+.-]+);base64,([A-Za-z0-9+/=]+)")
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml")
# How files begin that people rename, as text of Windows-1252.
_OTHER_FILES = {"PK": "a zip", "\x1f‹": "a gzip", "%PDF": "a PDF", "{\\rtf": "a text of a word processor"}


class Unreadable(ValueError):
    """A submission that is no notebook; the message is the reason that its row gets."""


@dataclass(frozen=True)
class Cell:
    """What matters of a notebook cell."""

    kind: str  # ``"code"``, ``"markdown"`` or ``"raw"``
    source: str  # its text
    grade_id: str | None  # nbgrader's name of the cell
    cell_id: str | None  # the notebook format's own, or the one that Colab and Deepnote keep in the metadata
    nbgrader: dict  # marks of nbgrader that matter here
    # Attached pictures: name → ``(media type, base64)``
    figures: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    # Pictures in the outputs of a code cell, likewise
    drawn: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def is_answer(self) -> bool:
        """Whether a student writes here."""
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
        """Whether a person marks it."""
        return self.is_task or (self.is_answer and bool(self.nbgrader.get("grade")))


def read(data: bytes) -> tuple[list[Cell], list[str]]:
    """Cells of a notebook file and notes on what had to be mended.

    Raises:
        Unreadable: Too large, not JSON, or no notebook.
    """
    _refuse_large(len(data))
    notes = []
    if not data.strip():
        raise Unreadable("the file is empty")
    text = _decode(data, notes)
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(_why_no_json(text, error)) from None
    raw = tree.get("cells") if isinstance(tree, dict) else None
    if raw is None and isinstance(tree, dict) and isinstance(tree.get("worksheets"), list):
        sheets = [sheet for sheet in tree["worksheets"] if isinstance(sheet, dict)]
        raw = [cell for sheet in sheets for cell in sheet.get("cells") or []]
        notes.append("The notebook has format 3; read as such.")
    if not isinstance(raw, list):
        raise Unreadable("the file is JSON, but not a notebook: it has no cells")
    if len(raw) > MAX_CELLS:
        raise Unreadable(f"the notebook has {len(raw)} cells, more than {MAX_CELLS}")
    cells = [_cell(item) for item in raw if isinstance(item, dict)]
    if sum(len(cell.source) for cell in cells) > MAX_TEXT:
        raise Unreadable(f"the text of the cells has more than {MAX_TEXT // 2**20} MB")
    return _without_excess(cells, notes), notes


def read_file(path: Path) -> tuple[list[Cell], list[str]]:
    """As :func:`read`, without loading a file that is too large."""
    _refuse_large(path.stat().st_size)
    return read(path.read_bytes())


def _refuse_large(size):
    if size > MAX_BYTES:
        raise Unreadable(
            f"the notebook has {size / 2**20:.0f} MB, more than {MAX_BYTES // 2**20}: clear its outputs"
        )


def _decode(data, notes):
    if data[:4] in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        notes.append("The file was UTF-32; read as such.")
        return data.decode("utf-32", "replace")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or data[1:2] == b"\0" or data[:1] == b"\0":
        notes.append("The file was UTF-16; read as such.")
        marked = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        return data.decode(
            "utf-16" if marked else "utf-16-le" if data[1:2] == b"\0" else "utf-16-be", "replace"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        notes.append("The file was not UTF-8; read as Windows-1252.")
        return data.decode("cp1252", errors="replace")


def _why_no_json(text, error):
    for sign, kind in _OTHER_FILES.items():
        if text.startswith(sign):
            return f"the file is {kind} under the name of a notebook: hand in the .ipynb itself"
    start = text.lstrip()[:300].lower()
    if start.startswith("<<<<<<<") or "\n<<<<<<< " in text:
        return "the file holds the conflict marks of a version control system (<<<<<<<)"
    if start.startswith("<"):
        return "the file is a web page, not a notebook: download the .ipynb itself"
    if start.startswith("version https://git-lfs"):
        return "the file is a pointer of Git LFS, not the notebook"
    return f"the file is not valid JSON ({str(error)[:100]})"


def _cell(item):
    metadata = item.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    marks = metadata.get("nbgrader")
    marks = marks if isinstance(marks, dict) else {}
    marks = {key: marks[key] for key in _MARKS if isinstance(marks.get(key), str | int | float | bool)}
    ids = (item.get("id"), metadata.get("id"), metadata.get("cell_id"))
    grade_id = marks.get("grade_id")
    kind, source = str(item.get("cell_type"))[:40], _text(item.get("source", item.get("input", "")))
    figures = _figures(item.get("attachments"))
    if kind != "code":

        def keep(found):
            name = f"figure-{len(figures) + 1}"
            figures[name] = found.groups()
            return f"attachment:{name}"

        source = _PICTURE_IN_TEXT.sub(keep, source)
    return Cell(
        kind,
        source,
        _clean(grade_id)[:200] if isinstance(grade_id, str) else None,
        next((_clean(text)[:200] for text in ids if isinstance(text, str) and text), None),
        marks,
        figures,
        _drawn(item.get("outputs")) if kind == "code" else {},
    )


def _text(source):
    if isinstance(source, list):
        parts = [part for part in source if isinstance(part, str)]
        # The format keeps the line ends; some tools write the lines without.
        bare = len(parts) > 1 and not any(part.endswith("\n") for part in parts[:-1])
        source = ("\n" if bare else "").join(parts)
    return _clean(source if isinstance(source, str) else "").replace("\r\n", "\n").replace("\r", "\n")


def _clean(text):
    """A lone surrogate is valid JSON and no valid text."""
    return text.encode("utf-8", "replace").decode()


def _figures(attachments):
    found = {}
    for name, bundle in attachments.items() if isinstance(attachments, dict) else ():
        for kind in PICTURES:
            data = bundle.get(kind) if isinstance(bundle, dict) else None
            if isinstance(data, list):
                data = "".join(part for part in data if isinstance(part, str))
            if isinstance(data, str) and data:
                found[_clean(str(name))[:200]] = (kind, "".join(_clean(data).split()))
                break
    return found


def _drawn(outputs):
    outputs = outputs if isinstance(outputs, list) else []
    return _figures(
        {str(n): output.get("data") for n, output in enumerate(outputs) if isinstance(output, dict)}
    )


def _without_excess(cells, notes):
    """The cells with as many figures as may be kept."""
    left, kept = MAX_FIGURES, []
    for cell in cells:
        figures = {}
        for name, (kind, data) in cell.figures.items():
            left -= len(data)
            if left >= 0:
                figures[name] = (kind, data)
        if len(figures) < len(cell.figures):
            notes.append(
                f"More than {MAX_FIGURES // 2**20} MB of figures are attached; the rest was left out."
            )
        kept.append(replace(cell, figures=figures))
    return kept
