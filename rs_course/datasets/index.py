"""What an image collection contains: one row per image with label, split, captions and metadata.

Layouts that are understood (folder or archive; a single enclosing folder is stepped into):

* ``<class>/<image>``: the folder is the class;
* ``<split>/<class>/<image>`` or ``<class>/<split>/<image>`` with the split folders ``train``, ``val`` and
  ``test`` (also ``Training``, ``valid``, ``validation``, ``dev``, ``Testing``, in any case);
* images only, or below one folder ``images``: every record is unlabelled (label -1);
* beside the images, in any folder, any of ``splits.csv``, ``metadata.csv``, ``metadata.jsonl``,
  ``metadata.parquet``, ``captions.jsonl``, one row per image: the column ``file`` (or ``file_name``) is the
  path relative to that table; ``label``, ``split`` and ``captions`` (or ``caption``) mean what they say (an
  empty label is none), and every other column is metadata.

A layout that could be read in two ways is refused.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import warnings
from pathlib import PurePosixPath
from typing import Any

from rs_course.datasets import tables
from rs_course.datasets.decoding import SUFFIXES

TABLES = ("splits.csv", "metadata.csv", "metadata.jsonl", "metadata.parquet", "captions.jsonl")
SPLITS = ("train", "val", "test")
_SPLIT_NAMES = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
# Part of a folder's name that makes it look like a split.
_SPLIT_LIKE = {**_SPLIT_NAMES, "eval": "eval", "evaluation": "eval", "holdout": "holdout"}
_COLUMNS = ("file", "file_name", "label", "split", "caption", "captions")
# Folders that hold the images or what belongs to them; none is the name of a class.
_NO_CLASSES = (
    "images", "image", "imgs", "img", "pictures", "photos", "masks", "mask", "labels", "annotations",
    "previews", "preview", "thumbnails", "thumbs", "quicklooks",
)  # fmt: skip
_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".rar", ".7z")
_UNREAD = (".csv", ".tsv", ".jsonl", ".parquet", ".xlsx", ".xls")
# Proportions where a collection has no official splits: those of EuroSAT's usual split (Neumann et al. 2019,
# arXiv 1911.06721).
_PROPORTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}


def build(
    container: Any, *, described: dict[str, dict] | None = None,
    split_lists: dict[str, set[str]] | None = None,
) -> dict:  # fmt: skip
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
        ValueError: No images, a class folder without images, a table that names a missing file, or a layout
            that could be read in two ways.
    """
    images = [name for name in container.names if name.lower().endswith(SUFFIXES)]
    if not images:
        if packed := [name for name in container.names if name.lower().endswith(_ARCHIVES)]:
            raise ValueError(
                f"{container.path} contains no images, but {packed[0]}: give that archive, or unpack it."
            )
        raise ValueError(
            f"{container.path} contains no images: it needs one folder of {', '.join(SUFFIXES[:4])} … files "
            "per class."
        )
    root = _root(container, images)
    described = described or _tables(container)
    rows = _rows(container, images, root, described, split_lists or {})
    classes = sorted({row["label"] for row in rows if row["label"] is not None})
    if not split_lists:
        _mention_unread_tables(container, bool(classes or described))
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
    tabled = {name.rpartition("/")[0] for name in container.names if _is_table(name)}
    while prefix.rstrip("/") not in tabled:
        heads = {name[len(prefix) :].split("/")[0] for name in images}
        head = heads.pop()
        below = f"{prefix}{head}/"
        has_folders = any(name.startswith(below) and "/" in name[len(below) :] for name in images)
        if heads or head.lower() in _SPLIT_NAMES or not (has_folders or below.rstrip("/") in tabled):
            break
        prefix = below
    return prefix


def _is_table(name: str) -> bool:
    return PurePosixPath(name).name.lower() in TABLES


def _tables(container) -> dict[str, dict]:
    """What the tables say of each image, by its name in the container."""
    described: dict[str, dict] = {}
    known = set(container.names)
    for table in filter(_is_table, container.names):
        named = f"{container.path}: {table}"
        for where, row in tables.read_rows(container.read(table), named, _COLUMNS):
            names = [row.pop("file", None), row.pop("file_name", None)]
            file = next((name for name in names if name), None)
            if not isinstance(file, str):
                raise ValueError(f"{where} names no image in the column 'file'.")
            path = posixpath.join(posixpath.dirname(table), file)
            if path not in known:  # written on Windows, or as ./name
                path = posixpath.normpath(path.replace("\\", "/"))
            facts = described.setdefault(path, {})
            if "label" in row:
                row["label"] = tables.label_of(row["label"], where)
            if "split" in row:
                row["split"] = _split(row["split"], where)
            captions = _captions(row.pop("captions", None) or row.pop("caption", None), where)
            row.pop("caption", None)
            if captions:
                row["captions"] = captions
            facts.update({key: value for key, value in row.items() if value is not None or key not in facts})
    return described


def _split(value, where: str) -> str | None:
    if value is None or value == "":
        return None
    name = _SPLIT_NAMES.get(str(value).strip().lower())
    if name is None:
        raise ValueError(f"{where}: the unknown split {value!r}; use {', '.join(SPLITS)}.")
    return name


def _captions(value, where: str) -> list[str]:
    captions = [value] if isinstance(value, str) else value or []
    if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
        raise ValueError(f"{where}: captions are a sentence or a list of sentences, not {value!r}.")
    return captions


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
    labelled = any(row.get("label") is not None for row in described.values())
    places = _places(container, [name[len(root) :].split("/") for name in images], labelled)
    by_folder = not labelled and _folders_are_classes(container, [path for _, path in places])
    if not described:
        _refuse_empty_classes(container, images, root)
    split_of = {file: split for split, files in split_lists.items() for file in files}
    in_splits = any(split for split, _ in places)
    rows = []
    for name, (folder_split, path) in zip(images, places, strict=True):
        extra = dict(described.get(name, {}))
        label = extra.pop("label", None)
        if by_folder and len(path) > 1:
            label = path[0]
        split = extra.pop("split", None) or folder_split
        if split_of:
            split = split_of.get(path[-1])
        if labelled and name not in described and len(path) > 1:
            raise ValueError(
                f"{container.path}: the tables give labels, but none for {name}: add its row, or remove the "
                "image."
            )
        preview = name not in described and label is None and (labelled or by_folder)
        if preview or ((split_of or in_splits) and split is None):
            continue  # a preview beside the folders, or a file outside the official splits
        row = {"file": name, "id": "/".join(path), "label": label, "split": split}
        row["captions"] = list(extra.pop("captions", []))
        row["metadata"] = {key: _number(value) for key, value in extra.items()} or None
        rows.append(row)
    return rows


def _places(container, paths: list[list[str]], labelled: bool) -> list[tuple[str | None, list[str]]]:
    """Split (where folders say it) and path without the split folder of each image.

    Raises:
        ValueError: Split folders beside other folders, or folders that only look like splits.
    """
    deep = [path for path in paths if len(path) > 1]
    heads = {path[0] for path in deep}
    splits = {head for head in heads if head.lower() in _SPLIT_NAMES}
    if splits and splits == heads:
        level: int | None = 0
    elif not labelled and len({_SPLIT_NAMES[head.lower()] for head in splits}) > 1:
        raise ValueError(
            f"{container.path} has the split folders {' and '.join(sorted(splits))} and beside them "
            f"{min(heads - splits)}, which is neither a split nor a class: move it out."
        )
    else:
        second = {path[1].lower() if len(path) > 2 else "" for path in deep}
        level = 1 if second <= _SPLIT_NAMES.keys() and len(second) > 1 else None
        if level is None and not labelled:
            _refuse_split_like(container, heads)
            _refuse_split_like(container, second)
    if level is None:
        return [(None, path) for path in paths]
    return [
        (_SPLIT_NAMES[path[level].lower()], path[:level] + path[level + 1 :])
        if len(path) > 1
        else (None, path)
        for path in paths
    ]


def _refuse_split_like(container, names: set[str]) -> None:
    """Refuse folders such as ``train_images`` and ``val2017``: no classes, and which split is not certain."""
    meant = []
    for name in names:
        words = re.findall("[a-z]+", name.lower())
        meant.append(next((_SPLIT_LIKE[word] for word in words if word in _SPLIT_LIKE), None))
    if None not in meant and len(set(meant)) > 1:
        raise ValueError(
            f"{container.path} has the folders {' and '.join(sorted(names))}, which look like splits and not "
            f"like classes: call them {', '.join(SPLITS)}."
        )


def _folders_are_classes(container, paths: list[list[str]]) -> bool:
    """Whether the images lie in class folders; one folder ``images`` is none.

    Raises:
        ValueError: Folders such as ``images`` and ``masks`` side by side.
    """
    heads = {path[0] for path in paths if len(path) > 1}
    no_classes = sorted(head for head in heads if head.lower() in _NO_CLASSES)
    if no_classes and len(heads) > 1:
        other = min(heads - {no_classes[0]})
        raise ValueError(
            f"{container.path} has the folders {no_classes[0]} and {other} side by side, so that folders "
            "are no classes here: give the folder of the images alone."
        )
    return bool(heads) and not no_classes


def _mention_unread_tables(container, known: bool) -> None:
    """Where a table lies beside the images under a name that is not read: refuse the set if nothing else
    is known of the images, and warn otherwise.
    """
    unread = [name for name in container.names if name.lower().endswith(_UNREAD) and not _is_table(name)]
    if not unread:
        return
    say = (
        f"{container.path}: {unread[0]} is not read; tables are called {', '.join(TABLES)} and have a column "
        "file (or file_name)."
    )
    if not known:
        raise ValueError(say + " Without one, these images have neither labels nor captions.")
    warnings.warn(say, stacklevel=2)


def _refuse_empty_classes(container, images, root):
    used = {name.rsplit("/", 1)[0] + "/" for name in images}
    for directory in container.directories:
        parts = directory[len(root) :].split("/") if directory.startswith(root) else []
        if parts and parts[0].lower() in _SPLIT_NAMES:
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
    """A cell as int or float where it is written as one; "007" is a name, and NaN is unknown (None)."""
    if not isinstance(value, str):
        return None if isinstance(value, float) and value != value else value
    if re.fullmatch(r"[+-]?(0|[1-9][0-9]{0,17})", value):
        return int(value)
    if re.fullmatch(r"[+-]?(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][+-]?[0-9]+)?", value) and re.match(
        r"[+-]?\.?[0-9]", value
    ):
        return float(value)
    return None if value.lower() == "nan" else value or None
