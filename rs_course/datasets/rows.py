"""Rows of the tables that people and other programs write: CSV, TSV, JSON Lines, Parquet.

Understood without a guess: a byte order mark (UTF-16 too), CRLF, quoted line breaks, and commas, semicolons
or tabs between the cells, whichever makes the header hold a column that is known. What could only be guessed
(a row that is longer or shorter than the header, an open quotation mark, another encoding) is refused.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Collection
from pathlib import PurePath
from typing import Any

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def read_rows(data: bytes, name: str, columns: Collection[str]) -> list[tuple[str, dict]]:
    """Rows of a table, the ending of whose name says what it is.

    Args:
        data: The file's content.
        name: Its name, for messages and for its ending, one of :data:`SUFFIXES`.
        columns: Names with a meaning; they are found in any case and with spaces around them.

    Returns:
        ``(where it stands, {column: value})`` of each row; an empty cell of a CSV is ``None``.

    Raises:
        ValueError: One sentence with the place.
    """
    suffix = PurePath(name).suffix.lower()
    if suffix == ".parquet":
        rows = _parquet(data, name)
    elif suffix == ".jsonl":
        rows = _json_lines(text_of(data, name), name)
    else:
        rows = _csv(text_of(data, name), name, columns)
    return [(where, {_column(key, columns): value for key, value in row.items()}) for where, row in rows]


def text_of(data: bytes, name: str) -> str:
    """The text of a file: UTF-8, or what its byte order mark says.

    Raises:
        ValueError: Another encoding.
    """
    encoding = next((encoding for mark, encoding in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise ValueError(f"{name} is not UTF-8 text: save it as UTF-8.") from None


def lines_of(text: str) -> list[str]:
    """Lines as files have them; str.splitlines also cuts at U+2028, which JSON allows in a string."""
    return re.split(r"\r\n|\n|\r", text)


def parse_json(text: str, where: str) -> Any:
    """A JSON value.

    Raises:
        ValueError: It is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{where} is not JSON: {text[:60]!r}.") from None


def label_of(value: Any, where: str) -> str | None:
    """A class name out of a cell: an empty one is none, a number is its own name.

    Raises:
        ValueError: Neither.
    """
    if hasattr(value, "item"):  # a number of NumPy
        value = value.item()
    if value is None or isinstance(value, str):
        return (value or "").strip() or None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{where}: the label {value!r} is neither a name nor a number.")
    return str(int(value) if value == int(value) else value)


def _column(name, columns: Collection[str]) -> str:
    plain = str(name).strip()
    return plain.lower() if plain.lower() in columns else plain


def _csv(text: str, name: str, columns: Collection[str]) -> list[tuple[str, dict]]:
    try:
        header: list[str] = []
        for delimiter in (",", ";", "\t"):
            reader = _reader(text, delimiter)
            header = next((row for row in reader if any(row)), [])
            if any(_column(cell, columns) in columns for cell in header):
                break
        else:
            raise ValueError(f"{name} has none of the columns {', '.join(columns)} in its first line.")
        if twice := {cell for cell in header if header.count(cell) > 1}:
            raise ValueError(f"{name} has the column {min(twice)!r} twice.")
        rows = []
        for row in reader:
            where, cells = f"{name}, line {reader.line_num}", [cell.strip() or None for cell in row]
            if not any(cells):
                continue
            if len(cells) < len(header) or any(cells[len(header) :]):
                raise ValueError(
                    f"{where} has {len(cells)} cells where the first line has {len(header)}: put quotation "
                    "marks around a text with a comma or a line break."
                )
            rows.append((where, dict(zip(header, cells, strict=False))))
    except csv.Error as error:
        raise ValueError(f"{name} is no sound CSV ({error}): mend its quotation marks.") from None
    return rows


def _reader(text: str, delimiter: str):
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)


def _json_lines(text: str, name: str) -> list[tuple[str, dict]]:
    rows = []
    for number, line in enumerate(lines_of(text), 1):
        if line.strip():
            row = parse_json(line, where := f"{name}, line {number}")
            if not isinstance(row, dict):
                raise ValueError(f"{where} is a {type(row).__name__}, not an object {{…}}.")
            rows.append((where, row))
    return rows


def _parquet(data: bytes, name: str) -> list[tuple[str, dict]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data))
        return [(f"{name}, row {number}", row) for number, row in enumerate(table.to_pylist(), 1)]
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = (str(error).splitlines() or ["damaged"])[0]
        raise ValueError(f"{name} is not a complete Parquet file ({reason}): write it again.") from None
