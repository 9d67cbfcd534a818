"""What is to be generated: prompts with optional labels and metadata, from a file, a list or a built-in set.

==========================  ===========================================================================
source                      prompts
==========================  ===========================================================================
``classes:simulated``       the sentence that stands for each of the ten classes, with its label
``classes:eurosat``         the same as the Sentinel-2 generators know it
``captions:NAME``           first caption, label and metadata of the training split of a data set or folder
``FILE.txt``                one prompt a line
``FILE.jsonl``              one object a line: ``prompt``, and as wished ``label``, ``metadata`` (an
                            object) or metadata fields (``lon``, ``month``, …) of their own
``FILE.csv``                the same as columns; ``metadata`` is then JSON, an empty cell is "unknown"
``FILE.parquet``            the same as columns
==========================  ===========================================================================
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rs_course.checkpoints.metadata import FIELDS

_COLUMNS = ("prompt", "label", "metadata", *FIELDS)
_WHOLE = ("year", "month", "day")


@dataclass(frozen=True)
class Prompt:
    """One line of the list.

    Attributes:
        text: The sentence.
        label: Class that it asks for, or ``None``.
        metadata: Physical units by field (see ``rs_course.checkpoints.metadata.FIELDS``), or ``None``.
    """

    text: str
    label: str | None = None
    metadata: dict | None = None


def read_prompts(source) -> tuple[list[Prompt], list[str] | None]:
    """Read a source of prompts.

    Args:
        source: One of the table above, or a list of strings, of dicts with the same keys, or of
            :class:`Prompt`.

    Returns:
        The prompts, and the class names in label order (``None`` where no prompt has a label).

    Raises:
        FileNotFoundError: No such file.
        ValueError, TypeError: One sentence on what was wrong, with the line.
    """
    if isinstance(source, str) and source.startswith("classes:"):
        return _class_prompts(source.removeprefix("classes:"))
    if isinstance(source, str) and source.startswith("captions:"):
        return _captions(source.removeprefix("captions:"))
    where = str(source) if isinstance(source, str | Path) else "prompts"
    rows = _file_rows(Path(source)) if isinstance(source, str | Path) else list(source)
    prompts = [_prompt(row, f"{where}, entry {number}") for number, row in enumerate(rows, 1)]
    if not prompts:
        raise ValueError(f"{where} holds no prompt.")
    return prompts, sorted({prompt.label for prompt in prompts if prompt.label is not None}) or None


def _class_prompts(dataset: str) -> tuple[list[Prompt], list[str]]:
    from rs_course.datasets import class_prompt
    from rs_course.datasets.prompts import PHRASES

    return [Prompt(class_prompt(label, dataset), label) for label in PHRASES], list(PHRASES)


def _captions(name: str) -> tuple[list[Prompt], list[str]]:
    from rs_course import datasets

    data = datasets.load(name)
    if not all(data.captions):
        raise ValueError(f"{name!r} has images without a caption: use a captioned set, or classes:NAME.")
    described = zip(data.captions, data.labels, data.metadata, strict=True)
    prompts = [
        Prompt(captions[0], data.classes[label] if label >= 0 else None, _known_fields(metadata))
        for captions, label, metadata in described
    ]
    return prompts, list(data.classes)


def _known_fields(metadata: dict | None) -> dict | None:
    """A collection's own columns say nothing to a generator."""
    return {key: value for key, value in (metadata or {}).items() if key in FIELDS} or None


def _file_rows(file: Path) -> Iterable:
    if not file.is_file():
        raise FileNotFoundError(
            f"There is no prompt file {file}: give a .txt, .jsonl, .csv or .parquet file, classes:eurosat, "
            "classes:simulated, or captions:NAME; in Python also a list of prompts."
        )
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        return pq.read_table(file).to_pylist()
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not UTF-8 text: save it as UTF-8.") from None
    if file.suffix == ".csv":
        return [{key: value or None for key, value in row.items()} for row in csv.DictReader(lines)]
    if file.suffix == ".jsonl":
        return [_json(line, f"{file}, line {n}") for n, line in enumerate(lines, 1) if line.strip()]
    if file.suffix == ".txt":
        return [line.strip() for line in lines if line.strip()]
    raise ValueError(f"{file} has the ending {file.suffix!r}: prompts are .txt, .jsonl, .csv or .parquet.")


def _prompt(row, where: str) -> Prompt:
    if isinstance(row, Prompt):
        return row
    if isinstance(row, str):
        return Prompt(row)
    if not isinstance(row, dict):
        raise TypeError(f"{where} is a {type(row).__name__}; a prompt is a string or a dict.")
    if unknown := next((key for key in row if key not in _COLUMNS), None):
        raise ValueError(f"{where} has the column {unknown!r}; the columns are {', '.join(_COLUMNS)}.")
    if not isinstance(row.get("prompt"), str):
        raise ValueError(f"{where} has no text under 'prompt'.")
    fields = {key: _number(row[key], key, where) for key in FIELDS if row.get(key) is not None}
    stated = row.get("metadata")
    if isinstance(stated, str):
        stated = _json(stated, f"metadata of {where}")
    if stated is not None and not isinstance(stated, dict):
        raise TypeError(f"{where}: metadata is an object such as {{'lon': 8.4, 'month': 7}}, not {stated!r}.")
    label = row.get("label")
    return Prompt(row["prompt"], None if label is None else str(label), {**(stated or {}), **fields} or None)


def _number(value, field: str, where: str) -> float | int:
    """A number from a table's cell; ranges are checked where the generator reads them."""
    try:
        return int(value) if field in _WHOLE else float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: {field} is {value!r}, not a number.") from None


def _json(text: str, where: str):
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError(f"{where} is not JSON: {text[:60]!r}.") from None
