"""Tables: those that people and other programs write, and collections in Parquet, above all generated sets.

CSV, TSV, JSON Lines and Parquet are understood without a guess: a byte order mark (UTF-16 too), CRLF, quoted
line breaks, and commas, semicolons or tabs between the cells, whichever makes the header hold a column that
is known. What could only be guessed (a row that is longer or shorter than the header, an open quotation mark,
another encoding) is refused.

A *generated set* is a folder of Parquet shards ``part-00000.parquet``, ``part-00001.parquet``, …; one row per
image, in any order. Its file metadata may carry the class names under ``rs_course.classes`` (a JSON list), so
that labels keep their numbers when a set holds only some of the classes.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_course.datasets.containers import identity_of
from rs_course.files import atomic_write

if TYPE_CHECKING:
    import pyarrow as pa


# Columns of a generated set: name -> (Arrow type, nullable, meaning). The sampling engine writes these.
GENERATED_SCHEMA = {
    "index": ("int64", False, "number i of the image: with the seed it determines the noise"),
    "image": ("binary", False, "PNG bytes, RGB, 8 bits"),
    "prompt": ("string", False, "the text the image was generated from"),
    "label": ("string", True, "class name that was asked for, or null"),
    "metadata": ("string", True, "JSON of the conditioning metadata in physical units, or null"),
    "seed": ("int64", False, "seed of the run: image i is a function of (seed, i) alone"),
    "checkpoint": ("string", False, "registry name of the checkpoint, or the folder's name"),
    "checkpoint_sha256": ("string", False, "hash of the checkpoint's weights"),
    "settings": ("string", False, "JSON of what else shaped the image: sampler, steps, guidance, size, …"),
}
_CLASSES_KEY = b"rs_course.classes"


def generated_schema(classes: Sequence[str] | None = None) -> pa.Schema:
    """:data:`GENERATED_SCHEMA` as a ``pyarrow.Schema``, with the class names in its metadata where given."""
    import pyarrow as pa

    fields = [
        pa.field(name, pa.type_for_alias(kind), nullable=nullable)
        for name, (kind, nullable, _) in GENERATED_SCHEMA.items()
    ]
    return pa.schema(fields, metadata={_CLASSES_KEY: json.dumps(list(classes)).encode()} if classes else None)


def write_shard(path: str | Path, rows: list[dict], *, classes: Sequence[str] | None = None) -> None:
    """Write one shard of a generated set; it appears under its name only when it is complete.

    Args:
        path: ``folder/part-00000.parquet``.
        rows: One dict per image with the keys of :data:`GENERATED_SCHEMA`; ``image`` may be PNG bytes or
            uint8 ``[H, W, 3]``, ``metadata`` and ``settings`` may be dicts.
        classes: All class names of the task, in label order.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    encoded = []
    for row in rows:
        row = {**row, "image": row["image"] if isinstance(row["image"], bytes) else png(row["image"])}
        for key in ("metadata", "settings"):
            if isinstance(row.get(key), dict):
                row[key] = json.dumps(row[key])
        encoded.append(row)
    # PNG bytes do not shrink further; small row groups let one image be read without the whole shard.
    with atomic_write(path) as partial:
        pq.write_table(
            pa.Table.from_pylist(encoded, schema=generated_schema(classes)),
            partial,
            compression={name: "none" if name == "image" else "zstd" for name in GENERATED_SCHEMA},
            row_group_size=64,
        )


def png(pixels: np.ndarray) -> bytes:
    """Pixels uint8 ``[H, W, 3]`` as a PNG file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG")
    return buffer.getvalue()


class ParquetImages:
    """Container over the image column of Parquet files; names are ``file#row``."""

    def __init__(self, files):
        import pyarrow.parquet as pq

        self.files = [Path(file) for file in files]
        self.path = self.files[0].parent
        self._starts = {}
        self._group = (None, [])  # the row group that was read last; rows are mostly read in order
        try:
            for file in self.files:
                meta = pq.read_metadata(file)
                counts = [meta.row_group(group).num_rows for group in range(meta.num_row_groups)]
                self._starts[file.name] = np.concatenate([[0], np.cumsum(counts)]).astype(int).tolist()
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{file} is not a complete Parquet file ({str(error).splitlines()[0]}): write it again."
            ) from error

    def identity(self) -> str:
        return identity_of(self.path, (file.name for file in self.files))

    def position(self, name: str) -> tuple[str, int]:
        """Where a member lies, so that many are read in this order."""
        file, row = name.rsplit("#", 1)
        return file, int(row)

    def read(self, name: str) -> bytes:
        """Bytes of a member."""
        import pyarrow.parquet as pq

        file, row = self.position(name)
        starts = self._starts[file]
        group = int(np.searchsorted(starts, row, side="right")) - 1
        if self._group[0] != (file, group):
            table = pq.ParquetFile(self.path / file).read_row_group(group, columns=["image"])
            self._group = ((file, group), table["image"].to_pylist())
        value = self._group[1][row - starts[group]]
        return value["bytes"] if isinstance(value, dict) else value

    def columns(self, *names: str) -> Iterator[tuple[str, dict]]:
        """Yield ``(name of the image, {column: value})`` for every row, without reading the images."""
        import pyarrow.parquet as pq

        for file in self.files:
            try:
                rows = pq.read_table(file, columns=list(names)).to_pylist()
            except (KeyError, ValueError, OSError) as error:
                has = pq.read_schema(file).names
                lacking = ", ".join(name for name in names if name not in has) or str(error).split("\n")[0]
                raise ValueError(
                    f"{file} lacks {lacking}; it has {', '.join(has)}. Images in Parquet are read as "
                    "'rs-course generate' writes them: save others as image files with a metadata.csv."
                ) from error
            for number, row in enumerate(rows):
                yield f"{file.name}#{number}", row


def generated_index(container: ParquetImages) -> dict:
    """Index of a generated set, as :func:`rs_course.datasets.index.build` makes it; all of it is "train"."""
    import pyarrow.parquet as pq

    rows: list[dict] = []
    classes: list[str] = []
    for file in container.files:
        stored = (pq.read_schema(file).metadata or {}).get(_CLASSES_KEY)
        classes = classes or (json.loads(stored) if stored else [])
    for name, row in container.columns(*[column for column in GENERATED_SCHEMA if column != "image"]):
        rows.append({
            "file": name, "id": f"{row['seed']}/{row['index']:06d}", "label": row["label"], "split": "train",
            "captions": [row["prompt"]],
            "metadata": json.loads(row["metadata"]) if row["metadata"] else None,
            "provenance": f"generated · {row['checkpoint']} · seed {row['seed']}",
            "order": [row["seed"], row["index"]],
        })  # fmt: skip
    classes = classes or sorted({row["label"] for row in rows if row["label"] is not None})
    unknown = {row["label"] for row in rows} - {None, *classes}
    if unknown:
        raise ValueError(
            f"{container.path}: the label {unknown.pop()!r} is not among the set's classes {classes}."
        )
    for row in rows:
        row["label"] = classes.index(row["label"]) if row["label"] is not None else -1
    rows.sort(key=lambda row: row.pop("order"))
    return {"classes": classes, "rows": rows}


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
