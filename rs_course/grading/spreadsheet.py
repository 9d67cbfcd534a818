"""Read tables as spreadsheets and learning systems save them: any delimiter, encoding and spelling."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.I)


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        path: Its file, for messages.
        header: Names of the columns as they stand there.
        rows: Number of the line where each row ends, and its cells by column.
    """

    path: Path
    header: list[str]
    rows: list[tuple[int, dict[str, str]]]

    def columns(self, *names: str) -> list[str]:
        """The columns that have one of these names, in the order of the names; spelling does not matter."""
        known = {}
        for column in self.header:
            known.setdefault(spelling(column), column)
        return list(dict.fromkeys(known[key] for name in names if (key := spelling(name)) in known))

    def first(self, row: dict[str, str], *names: str) -> str:
        """What a row says in the first of these columns that it has filled in, else ``""``."""
        return next((row[column] for column in self.columns(*names) if row[column]), "")


def read(path: str | Path) -> Table:
    """Read a table: comma, semicolon or tab; UTF-8, UTF-16 or Windows-1252; with or without byte order mark.

    Cells lose surrounding space and the signs by which spreadsheets keep text from becoming a number or a
    formula (``'001``, ``="001"``). Rows without any text are left out.

    Raises:
        ValueError: A workbook instead of text, a row with more cells than the header, a quotation mark that
            is never closed (it would swallow the rows below it), or a cell that is too long.
    """
    path = Path(path)
    raw = path.read_bytes()
    if raw[:4] in _WORKBOOKS:
        raise ValueError(f"{path} is a workbook: save it as CSV and give that file.")
    text = decode(raw)
    separator = _SEPARATOR_LINE.match(text)
    text = text[separator.end() :] if separator else text.lstrip("\r\n")
    first = re.sub(r'"[^"]*"', "", text.splitlines()[0]) if text.strip() else ""
    delimiter = separator.group(1) if separator else max(",;\t", key=first.count)
    _check_quotes(path, text, delimiter)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header, rows = [], []
    for cells in reader:
        cells = [plain_cell(cell) for cell in cells]
        if not any(cells):
            continue
        if not header:
            header = cells
            continue
        if any(cells[len(header) :]):
            raise ValueError(
                f"{path}, line {reader.line_num} has more cells than the header: put text that contains the "
                f"delimiter {delimiter!r} in quotation marks."
            )
        cells += [""] * (len(header) - len(cells))
        row: dict[str, str] = {}
        for name, cell in zip(header, cells, strict=False):
            row.setdefault(name, cell)
        rows.append((reader.line_num, row))
    return Table(path, header, rows)


def _check_quotes(path, text, delimiter):
    """Refuse a table whose last quoted cell runs to the end of the file."""
    reader, last = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), 0
    try:
        for _ in reader:
            last = reader.line_num
    except csv.Error as error:
        # Of what else is not strict, such as text behind a closing quotation mark, the meaning is clear.
        if "end of data" in str(error) or "field limit" in str(error):
            raise ValueError(
                f"{path}, line {last + 1}: a quotation mark is never closed, or a cell is too long; correct "
                "that row."
            ) from None


def decode(raw: bytes) -> str:
    """Text of a file that says nothing of its encoding, or says it by a byte order mark."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", errors="replace")
    if raw[1:2] == b"\0" and raw[:1] != b"\0":
        return raw.decode("utf-16-le", errors="replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def plain_cell(cell: str) -> str:
    """A cell without space around it and without the signs that protect it in a spreadsheet."""
    cell = cell.replace("\u00a0", " ").strip()
    if found := re.fullmatch(r'="(.*)"', cell):
        return found.group(1).strip()
    return cell[1:] if cell[:1] == "'" and cell[1:2] in ("=", "+", "-", "@", *"0123456789") else cell


def spelling(name: str) -> str:
    """A column's name without capitals, underscores and hyphens: ``"Last_Name"`` is ``"last name"``."""
    return re.sub(r"[\s_-]+", " ", name.strip().casefold())
