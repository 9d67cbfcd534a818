"""The one record type of the course, the data set that yields it, and its parts: balanced nested subsets,
stratified and group splits, and a test of leaks.

A record, ``data[i]``, is a dict with these fields, whichever collection it came from:

==============  ======================  ====================================================================
field           type                    meaning
==============  ======================  ====================================================================
``image``       float tensor [3, H, W]  RGB in [0, 1]
``label``       int                     index into ``data.classes``; -1 where the collection has no classes
``captions``    list of str             what is seen, in words; of a generated image the prompt; may be empty
``metadata``    dict or None            ``lon``, ``lat`` (degrees), ``gsd`` (metres per pixel),
                                        ``cloud_cover`` (0 to 1), ``year``, ``month``, ``day``, as far as
                                        known, and the collection's own columns
``id``          str                     stable name in the collection: a path, or split/class/seed
``source``      str                     the collection: a registry name, or the path it was loaded from
``provenance``  str                     the badge of a figure: "real · EuroSAT · train", "simulated · train ·
                                        seed 0", "generated · mini-diffusionsat · seed 0"
==============  ======================  ====================================================================
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np


class Dataset:
    """Images with labels, captions and metadata; works as a map-style torch ``Dataset``.

    Get one from :func:`rs_course.datasets.load`. ``data[i]`` is a record (fields: see the module
    :mod:`rs_course.datasets.record`), ``data[10:20]`` a data set of ten, and a ``DataLoader`` needs
    ``collate_fn=rs_course.datasets.collate``, because captions and metadata are not tensors.
    """

    def __init__(self, pixels, rows, table, *, classes, source, title, provenance):
        """Take some rows of a table and of its pixels.

        Args:
            pixels: Object with ``one(row)``, ``take(rows)`` and ``image_size``.
            rows: int64 ``[N]``, which rows of ``table`` and ``pixels`` belong to this data set.
            table: One dict per row with ``id``, ``label``, ``captions``, ``metadata``, and ``provenance``
                where rows differ in it.
            classes: Class names; a label is an index into them.
            source: Registry name or path.
            title: What a person calls the collection.
            provenance: Badge text of the whole data set.
        """
        self._pixels = pixels
        self._rows = np.asarray(rows, np.int64)
        self._table = table
        self.classes = tuple(classes)
        self.source = source
        self.title = title
        self.provenance = provenance

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        size = self._pixels.image_size
        shape = f"{size[0]}×{size[1]} pixels" if size else "mixed sizes"
        return f"<{self.provenance}: {len(self):,} images, {shape}, {len(self.classes)} classes>"

    def __getitem__(self, i):
        if isinstance(i, slice):
            return self.subset(range(*i.indices(len(self))))
        i = int(i)
        if not -len(self) <= i < len(self):
            raise IndexError(f"record {i} of a data set with {len(self)} records")
        return self.__getitems__([i])[0]

    def __getitems__(self, indices) -> list[dict]:
        """Several records at once; a torch ``DataLoader`` reads its batches this way."""
        rows = self._rows[indices]
        if self._pixels.image_size is None:
            images = [_to_float(self._pixels.one(row)[None])[0] for row in rows]
        else:
            images = _to_float(self._pixels.take(rows))
        records = []
        for row, image in zip(rows, images, strict=True):
            entry = self._table[row]
            records.append(
                {
                    "image": image,
                    "label": entry["label"],
                    "captions": list(entry["captions"]),
                    "metadata": dict(entry["metadata"]) if entry["metadata"] else None,
                    "id": entry["id"],
                    "source": self.source,
                    "provenance": entry.get("provenance", self.provenance),
                }
            )
        return records

    @property
    def images(self) -> np.ndarray:
        """All pixels, uint8 ``[N, H, W, 3]``: a read-only memory map, or a copy of a scattered subset.

        Raises:
            ValueError: The images differ in size.
        """
        if self._pixels.image_size is None:
            raise ValueError(
                f"The images of {self.title} differ in size, so they form no single array: read data[i] one "
                "by one, "
                "or load with image_size=256 (or another size) to resize them."
            )
        return self._pixels.take(self._rows)

    @property
    def labels(self) -> np.ndarray:
        """int64 ``[N]``."""
        return np.array([self._table[row]["label"] for row in self._rows], np.int64)

    @property
    def captions(self) -> list[list[str]]:
        """One list of sentences per image."""
        return [list(self._table[row]["captions"]) for row in self._rows]

    @property
    def metadata(self) -> list[dict | None]:
        """One dict per image, or None where nothing is known."""
        return [dict(entry) if (entry := self._table[row]["metadata"]) else None for row in self._rows]

    @property
    def ids(self) -> list[str]:
        """Stable names of the images."""
        return [self._table[row]["id"] for row in self._rows]

    @property
    def hashes(self) -> list[str]:
        """BLAKE2b of each image's shape and pixels: equal hashes are the same picture, whatever the file
        was.
        """
        pictures = self.images if self._pixels.image_size else (self._pixels.one(row) for row in self._rows)
        return [
            hashlib.blake2b(str(picture.shape).encode() + picture.tobytes(), digest_size=16).hexdigest()
            for picture in pictures
        ]

    def subset(self, indices: Any = None, *, size: int | None = None, seed: int = 0) -> Dataset:
        """Some of the records.

        Args:
            indices: Positions in this data set (a sequence, an index array, or a boolean mask of length N),
                or
            size: how many records to draw: class-balanced, and nested, i.e. ``subset(size=100)`` is the
                beginning of ``subset(size=200)`` for the same seed.
            seed: Which draw.

        Raises:
            ValueError: Neither or both of ``indices`` and ``size``, or ``size`` larger than the data set.
        """
        if (indices is None) == (size is None):
            raise ValueError("subset takes either indices or size=, e.g. data.subset(range(100)).")
        if size is not None:
            indices = balanced_order(self.ids, self.labels, size, seed, self.title)
        indices = np.asarray(indices)
        if indices.dtype == bool and len(indices) != len(self):
            raise ValueError(f"The mask has {len(indices)} entries for {len(self)} records.")
        rows = self._rows[indices] if len(indices) else self._rows[:0]
        return self._with(rows, self._table, self.classes)

    def with_classes(self, names: Sequence[str]) -> Dataset:
        """The records of some classes; labels are renumbered to follow ``names``.

        Raises:
            ValueError: A name is not among ``classes``.
        """
        unknown = [name for name in names if name not in self.classes]
        if unknown:
            raise ValueError(f"{self.title} has no class {unknown[0]!r}; it has {', '.join(self.classes)}.")
        number = {self.classes.index(name): i for i, name in enumerate(names)}
        kept = [row for row in self._rows if self._table[row]["label"] in number]
        table = dict.fromkeys(kept)
        for row in kept:
            table[row] = {**self._table[row], "label": number[self._table[row]["label"]]}
        return self._with(kept, table, names)

    def _with(self, rows, table, classes) -> Dataset:
        names = {"source": self.source, "title": self.title, "provenance": self.provenance}
        return Dataset(self._pixels, rows, table, classes=classes, **names)


def _to_float(pixels: np.ndarray):
    """uint8 ``[N, H, W, 3]`` to a float tensor ``[N, 3, H, W]`` in [0, 1] that owns its memory."""
    import torch

    return torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).contiguous().float().div_(255)


def collate(records: list[dict]) -> dict:
    """Batch records for a ``DataLoader``: images ``[N, 3, H, W]`` and labels ``[N]`` stacked, the rest as
    lists.
    """
    import torch

    batch = {key: [record[key] for record in records] for key in records[0]}
    batch["image"] = torch.stack(batch["image"])
    batch["label"] = torch.tensor(batch["label"])
    return batch


def balanced_order(
    ids: Sequence[str], labels: Sequence[int] | np.ndarray, size: int, seed: int, title: str = "the data set"
) -> np.ndarray:
    """Positions of a class-balanced draw.

    Within a class, records are ordered by the hash of (seed, id), so the order of one record depends on
    nothing else; the draw then takes one record of each class in turn. A smaller draw is therefore the
    beginning of a larger one. A class that runs out leaves its turns to the others.

    Returns:
        int64 ``[size]``.

    Raises:
        ValueError: ``size`` is negative or larger than the number of records.
    """
    if not 0 <= size <= len(ids):
        raise ValueError(
            f"size={size} is not possible: {title} has {len(ids)} records; take 0 to {len(ids)}."
        )
    keys = [hashlib.sha256(f"{seed}\0{name}".encode()).digest() for name in ids]
    turn: dict[int, int] = {}
    ranked = []
    for i in sorted(range(len(ids)), key=keys.__getitem__):
        label = int(labels[i])
        turn[label] = turn.get(label, -1) + 1
        ranked.append((turn[label], label, i))
    return np.array([i for _, _, i in sorted(ranked)[:size]], np.int64)


def stratified_split(data: Dataset, fractions: Sequence[float] = (0.8, 0.2), *, seed: int = 0) -> list:
    """Split a data set so that every part has the same share of each class.

    Args:
        data: A :class:`rs_course.datasets.Dataset`.
        fractions: Share of each part; they add up to 1.
        seed: Which split.

    Returns:
        One data set per fraction, disjoint, together all of ``data``.
    """
    edges = _edges(fractions)
    keys = [hashlib.sha256(f"{seed}\0{name}".encode()).digest() for name in data.ids]
    labels = data.labels
    parts: list[list[int]] = [[] for _ in fractions]
    for label in np.unique(labels):
        members = sorted(np.flatnonzero(labels == label).tolist(), key=keys.__getitem__)
        bounds = [round(edge * len(members)) for edge in edges]
        for part, start, stop in zip(parts, bounds, bounds[1:], strict=False):
            part += members[start:stop]
    return [data.subset(sorted(part)) for part in parts]


def group_split(
    data: Dataset, groups: Any, fractions: Sequence[float] = (0.8, 0.2), *, seed: int = 0
) -> list:
    """Split a data set so that no group lies on two sides: places, events, or pairs that share pixels.

    A random split lets a classifier recognise the place or the sensor date instead of the class; a group
    split measures what it does somewhere else.

    Args:
        data: A :class:`rs_course.datasets.Dataset`.
        groups: One hashable per record, a metadata column (``"event"``), or a function of the record's ``(id,
            metadata)``.
        fractions: Share of the records in each part, met as closely as whole groups allow.
        seed: Which split.

    Returns:
        One data set per fraction.

    Raises:
        ValueError: Wrong number of groups, a record without that metadata column, or fewer groups than parts.
    """
    groups = _groups(data, groups)
    edges = _edges(fractions)
    members: dict = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    if len(members) < len(fractions):
        raise ValueError(
            f"{len(members)} groups cannot be split into {len(fractions)} parts: every part needs a group "
            "of its own."
        )
    order = sorted(members, key=lambda group: hashlib.sha256(f"{seed}\0{group}".encode()).digest())
    # Large groups first, each to the part that is furthest below its share (ties: the hash order above).
    order.sort(key=lambda group: -len(members[group]))
    shares = np.diff(edges) * len(data)
    parts: list[list[int]] = [[] for _ in fractions]
    for rank, group in enumerate(order):
        open_parts = [k for k, part in enumerate(parts) if not part]
        must_fill = len(order) - rank <= len(open_parts)
        k = max(
            open_parts if must_fill else range(len(parts)),
            key=lambda k: (shares[k] - len(parts[k])) / max(shares[k], 1e-9),
        )
        parts[k] += members[group]
    return [data.subset(sorted(part)) for part in parts]


def place_groups(data: Dataset) -> list:
    """One group per place, for :func:`group_split`.

    A simulated place is its (label, seed): the same place at another date is the same group. Elsewhere the
    place is the position (``lon``, ``lat``) of the metadata, rounded to 0.01 degrees (about 1 km).

    Raises:
        ValueError: A record has neither.
    """
    groups = []
    for name, metadata in zip(data.ids, data.metadata, strict=True):
        metadata = metadata or {}
        if data.source == "simulated":
            _, label, seed = name.split("/")
            groups.append((label, int(seed)))
        elif metadata.get("lon") is not None and metadata.get("lat") is not None:
            groups.append((round(metadata["lon"], 2), round(metadata["lat"], 2)))
        else:
            raise ValueError(f"{name} of {data.title} has no position: pass your own groups, one per record.")
    return groups


def overlap(first: Dataset, second: Dataset) -> list[tuple[str, str]]:
    """Pairs of ids, one of each data set, whose pixels are identical; an empty list means no such leak."""
    where: dict[str, list[str]] = {}
    for name, digest in zip(first.ids, first.hashes, strict=True):
        where.setdefault(digest, []).append(name)
    return [
        (a, b) for b, digest in zip(second.ids, second.hashes, strict=True) for a in where.get(digest, ())
    ]


def _edges(fractions) -> np.ndarray:
    if min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"The fractions {tuple(fractions)} must be positive and add up to 1.")
    return np.concatenate([[0.0], np.cumsum(fractions)])


def _groups(data, groups) -> list:
    if isinstance(groups, str):
        column = groups
        groups = [(metadata or {}).get(column) for metadata in data.metadata]
        if None in groups:
            raise ValueError(
                f"{data.ids[groups.index(None)]} of {data.title} has no metadata column {column!r}."
            )
    elif callable(groups):
        groups = [groups(name, metadata) for name, metadata in zip(data.ids, data.metadata, strict=True)]
    groups = list(groups)
    if len(groups) != len(data):
        raise ValueError(f"{len(groups)} groups for {len(data)} records: pass one group per record.")
    return groups
