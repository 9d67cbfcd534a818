"""What an image collection contains: one row per image with label, split, captions and metadata.

Layouts that are understood (folder or archive; a single enclosing folder is stepped into):

* ``<class>/<image>``: the folder is the class;
* ``<split>/<class>/<image>`` with the split folders ``train``, ``val`` (or ``valid``, ``validation``) and
  ``test``;
* images only: every record is unlabelled (label -1);
* beside the images, any of ``splits.csv``, ``metadata.csv``, ``captions.jsonl``, ``metadata.jsonl``, one row
  per image: the column ``file`` (or ``file_name``) is the path relative to that table; ``label``, ``split``
  and ``captions`` (or ``caption``) mean what they say, and every other column is metadata.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json

from rs_course.datasets.decoding import SUFFIXES

TABLES = ("splits.csv", "metadata.csv", "captions.jsonl", "metadata.jsonl")
SPLITS = ("train", "val", "test")
_SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
# Proportions where a collection has no official splits: those of EuroSAT's usual split (Neumann et al. 2019,
# arXiv 1911.06721).
_PROPORTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}


def build(
    container, *, described: dict[str, dict] | None = None, split_lists: dict[str, set[str]] | None = None
) -> dict:
    """Index a container.

    Args:
        container: See :func:`rs_course.datasets.containers.open_container`.
        described: Columns by image, ``{file: {"captions": …}}``, beside those of the container's own tables.
        split_lists: Official splits that come as lists of file names, ``{"train": {"River_1.jpg", …}, …}``.

    Returns:
        ``{"classes": [...], "rows": [{"file", "id", "label", "split", "captions", "metadata"}, ...]}``;
        ``label`` is an index into the alphabetical ``classes`` or -1; rows are sorted by split, class and
        file.

    Raises:
        ValueError: No images, a class folder without images, or a table that names a missing file.
    """
    images = [name for name in container.names if name.lower().endswith(SUFFIXES)]
    if not images:
        raise ValueError(
            f"{container.path} contains no images: it needs one folder of {', '.join(SUFFIXES[:4])} … files "
            "per class."
        )
    root = _root(container, images)
    described = described or _tables(container, root)
    rows = _rows(container, images, root, described, split_lists or {})
    classes = sorted({row["label"] for row in rows if row["label"] is not None})
    number = {name: i for i, name in enumerate(classes)}
    for row in rows:
        row["label"] = number.get(row["label"], -1)
    if any(row["split"] is None for row in rows):
        _assign_splits(rows)
    rows.sort(key=lambda row: (SPLITS.index(row["split"]), row["label"], row["file"]))
    return {"classes": classes, "rows": rows}


def _root(container, images: list[str]) -> str:
    """Prefix of the folder that holds the classes: step into enclosing folders that hold nothing else."""
    prefix = ""
    while not any(prefix + table in container.names for table in TABLES):
        heads = {name[len(prefix) :].split("/")[0] for name in images}
        head = heads.pop()
        below = f"{prefix}{head}/"
        has_folders = any(name.startswith(below) and "/" in name[len(below) :] for name in images)
        has_table = any(below + table in container.names for table in TABLES)
        if heads or head in _SPLIT_NAMES or not (has_folders or has_table):
            break
        prefix = below
    return prefix


def _tables(container, root: str) -> dict[str, dict]:
    described: dict[str, dict] = {}
    for table in TABLES:
        if root + table not in container.names:
            continue
        text = container.read(root + table).decode("utf-8-sig")
        try:
            lines = [line for line in text.splitlines() if line.strip()]
            rows = csv.DictReader(io.StringIO(text)) if table.endswith(".csv") else map(json.loads, lines)
            for row in rows:
                file = row.pop("file", None) or row.pop("file_name", None)
                if not file:
                    raise ValueError("a row has no column 'file'")
                described.setdefault(root + file, {}).update(row)
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{container.path}: {table} cannot be read ({error}).") from error
    return described


def _rows(container, images, root, described, split_lists) -> list[dict]:
    missing = sorted(described.keys() - set(images))
    if missing:
        raise ValueError(
            f"{container.path}: a table names {missing[0]}, which is not among its images "
            f"({len(missing)} missing in all)."
        )
    if any(row.get("split") for row in described.values()):
        # The table is the official list; other files do not belong to the set.
        images = [file for file, row in described.items() if row.get("split")]
    paths = [name[len(root) :].split("/") for name in images]
    in_split_folders = all(len(path) > 1 and path[0] in _SPLIT_NAMES for path in paths)
    if in_split_folders:
        paths = [path[1:] for path in paths]
    has_classes = any(len(path) > 1 for path in paths) or any("label" in row for row in described.values())
    if not described:
        _refuse_empty_classes(container, images, root)
    split_of = {file: split for split, files in split_lists.items() for file in files}
    rows = []
    for name, path in zip(images, paths, strict=True):
        extra = dict(described.get(name, {}))
        label = extra.pop("label", path[0] if len(path) > 1 else None)
        split = extra.pop("split", None)
        if split is None and in_split_folders:
            split = name[len(root) :].split("/")[0]
        if split_of:
            split = split_of.get(path[-1])
        if (has_classes and label is None) or (split_of and split is None):
            continue  # a preview beside the class folders, or a file outside the official splits
        if split is not None and split not in _SPLIT_NAMES:
            raise ValueError(
                f"{container.path}: {name} is in the unknown split {split!r}; use {', '.join(SPLITS)}."
            )
        captions = extra.pop("captions", None) or extra.pop("caption", None) or []
        rows.append(
            {
                "file": name,
                "id": "/".join(path),
                "label": label,
                "split": _SPLIT_NAMES.get(split),
                "captions": [captions] if isinstance(captions, str) else list(captions),
                "metadata": {key: _number(value) for key, value in extra.items()} or None,
            }
        )
    return rows


def _refuse_empty_classes(container, images, root):
    used = {name.rsplit("/", 1)[0] + "/" for name in images}
    for directory in container.directories:
        parts = directory[len(root) :].split("/") if directory.startswith(root) else []
        if parts and parts[0] in _SPLIT_NAMES:
            parts = parts[1:]
        if len(parts) == 1 and not any(folder.startswith(directory + "/") for folder in used):
            raise ValueError(
                f"The class folder {directory[len(root) :]} of {container.path} has no images: "
                "put some in or remove the folder."
            )


def _assign_splits(rows: list[dict]):
    """Stratified 60/20/20 by the hash of each id: the same on every machine, in any order of files."""
    by_label: dict[int, list[dict]] = {}
    for row in rows:
        by_label.setdefault(row["label"], []).append(row)
    for members in by_label.values():
        members.sort(key=lambda row: hashlib.sha256(row["id"].encode()).digest())
        train = round(_PROPORTIONS["train"] * len(members))
        val = train + round(_PROPORTIONS["val"] * len(members))
        for rank, row in enumerate(members):
            row["split"] = "train" if rank < train else "val" if rank < val else "test"


def _number(value):
    """A CSV field as int or float where it is one; an empty field is unknown (None)."""
    if not isinstance(value, str):
        return value
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value or None
