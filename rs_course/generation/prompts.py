"""What is to be generated: prompts with optional labels and metadata, from a file, a list or a built-in set.

==========================  ===========================================================================
source                      prompts
==========================  ===========================================================================
``classes:simulated``       the sentence that stands for each of the ten classes, with its label
``classes:eurosat``         the same as the Sentinel-2 generators know it
``classes:fmow``            the 62 categories of fMoW in the words of DiffusionSat
``captions:NAME``           first caption, label and metadata of the training split of a data set or folder
``FILE.txt``                one prompt a line
``FILE.jsonl``              one object a line: ``prompt``, and as wished ``label``, ``metadata`` (an
                            object) or metadata fields (``lon``, ``month``, …) of their own
``FILE.csv``, ``FILE.tsv``  the same as columns; ``metadata`` is then JSON, an empty cell is "unknown"
``FILE.parquet``            the same as columns
==========================  ===========================================================================
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rs_course.checkpoints.prompts import FIELDS
from rs_course.datasets import tables

_COLUMNS = ("prompt", "label", "metadata", *FIELDS)
_WHOLE = ("year", "month", "day")


@dataclass(frozen=True)
class SampleSpec:
    """One line of the list.

    Attributes:
        text: The sentence.
        label: Class that it asks for, or ``None``.
        metadata: Physical units by field (see ``rs_course.checkpoints.prompts.FIELDS``), or ``None``.
        image, mask: Picture to start from, uint8 ``[H, W, 3]``, and where to repaint it, uint8 ``[H, W]``; of
            all lines or of none.
    """

    text: str
    label: str | None = None
    metadata: dict | None = None
    image: np.ndarray | None = field(default=None, compare=False)
    mask: np.ndarray | None = field(default=None, compare=False)


def read_prompts(
    source: str | Path | Sequence[str | dict | SampleSpec],
) -> tuple[list[SampleSpec], list[str] | None]:
    """Read a source of prompts.

    Args:
        source: One of the table above, or a list of strings, of dicts with the same keys, or of
            :class:`SampleSpec`.

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
    if isinstance(source, str | Path):
        rows = _file_rows(Path(source))
    else:
        rows = [(f"prompts, entry {number}", row) for number, row in enumerate(source, 1)]
    prompts = [_prompt(row, where) for where, row in rows]
    if not prompts:
        raise ValueError(f"{source if isinstance(source, str | Path) else 'the list'} holds no prompt.")
    return prompts, sorted({prompt.label for prompt in prompts if prompt.label is not None}) or None


def class_specs(
    prompts: Mapping[str, Sequence[str]], per_class: int, *, shots: Any = None
) -> list[SampleSpec]:
    """Lines of a set of images, classes taking turns, so that its beginning is a smaller balanced set.

    Args:
        prompts: Sentences for each class; they are used in turn.
        per_class: Images of each class.
        shots: Real images to start from, used in turn: has ``images``, ``labels`` and ``classes``.

    Raises:
        ValueError: A class without prompts or shots, or different classes.
    """
    if empty := [name for name, own in prompts.items() if not own]:
        raise ValueError(f"The class {empty[0]} has no prompt.")
    members = {}
    if shots is not None:
        if tuple(shots.classes) != tuple(prompts):
            raise ValueError(
                f"The shots have the classes {', '.join(shots.classes)}, the prompts {', '.join(prompts)}: "
                "both need the same, in the same order."
            )
        members = {name: np.flatnonzero(shots.labels == k) for k, name in enumerate(prompts)}
        if missing := [name for name, own in members.items() if not len(own)]:
            raise ValueError(
                f"There is no real image of the class {missing[0]}: real guidance starts from real images of "
                "every class."
            )
    return [
        SampleSpec(
            own[turn % len(own)],
            name,
            image=np.asarray(shots.images[members[name][turn % len(members[name])]]) if members else None,
        )
        for turn in range(per_class)
        for name, own in prompts.items()
    ]


def _class_prompts(dataset: str) -> tuple[list[SampleSpec], list[str]]:
    from rs_course.datasets import class_prompt
    from rs_course.datasets.simulated import prompt_classes

    names = prompt_classes(dataset)
    return [SampleSpec(class_prompt(name, dataset), name) for name in names], list(names)


def _captions(name: str) -> tuple[list[SampleSpec], list[str]]:
    from rs_course import datasets

    data = datasets.load(name)
    if not all(data.captions):
        raise ValueError(f"{name!r} has images without a caption: use a captioned set, or classes:NAME.")
    described = zip(data.captions, data.labels, data.metadata, strict=True)
    prompts = [
        SampleSpec(
            captions[0],
            data.classes[label] if label >= 0 else None,
            _known_fields(metadata or {}, name) or None,
        )
        for captions, label, metadata in described
    ]
    return prompts, list(data.classes)


def _known_fields(row: dict, where: str) -> dict:
    """The fields that are known, text as numbers; a collection's own columns say nothing to a generator.

    What is a number stays as it is written: a folder that was made from 8 is not continued with 8.0.
    """
    known = {key: (row[key], _number(row[key], key, where)) for key in FIELDS if row.get(key) is not None}
    return {key: value if value == number else number for key, (value, number) in known.items()}


def _file_rows(file: Path) -> list[tuple[str, Any]]:
    """Rows of a file with the place of each, for messages."""
    if not file.is_file():
        raise FileNotFoundError(
            f"There is no prompt file {file}: give a .txt, .jsonl, .csv or .parquet file, classes:eurosat, "
            "classes:simulated, classes:fmow, or captions:NAME; in Python also a list of prompts."
        )
    suffix = file.suffix.lower()
    if suffix == ".txt":
        lines = tables.lines_of(tables.text_of(file.read_bytes(), str(file)))
        return [(f"{file}, line {n}", line.strip()) for n, line in enumerate(lines, 1) if line.strip()]
    if suffix in tables.SUFFIXES:
        return tables.read_rows(file.read_bytes(), str(file), _COLUMNS)
    raise ValueError(f"{file} has the ending {file.suffix!r}: prompts are .txt, .jsonl, .csv or .parquet.")


def _prompt(row, where: str) -> SampleSpec:
    if isinstance(row, SampleSpec):
        return row
    if isinstance(row, str):
        return SampleSpec(row)
    if not isinstance(row, dict):
        raise TypeError(f"{where} is a {type(row).__name__}; a prompt is a string or a dict.")
    if unknown := next((key for key in row if key not in _COLUMNS), None):
        raise ValueError(f"{where} has the column {unknown!r}; the columns are {', '.join(_COLUMNS)}.")
    text = row.get("prompt")
    if not isinstance(text, str):
        raise ValueError(f"{where} has no text under 'prompt'.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{where} holds half a character (a surrogate), which no file can: mend it."
        ) from None
    stated = row.get("metadata")
    if isinstance(stated, str):
        stated = tables.parse_json(stated, f"metadata of {where}")
    if stated is not None and not isinstance(stated, dict):
        raise TypeError(f"{where}: metadata is an object such as {{'lon': 8.4, 'month': 7}}, not {stated!r}.")
    columns = {key: _number(row[key], key, where) for key in FIELDS if row.get(key) is not None}
    fields = {**(stated or {}), **_known_fields(stated or {}, where), **columns}
    return SampleSpec(text, tables.label_of(row.get("label"), where), fields or None)


def _number(value, field: str, where: str) -> float | int:
    """A number from a table's cell, ``7.0`` for a month included; the generator checks ranges."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{where}: {field} is {value!r}, not a number.")
    if field in _WHOLE and number != int(number):
        raise ValueError(f"{where}: {field} is {value!r}, not a whole number.")
    return int(number) if field in _WHOLE else number
