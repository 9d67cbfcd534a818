"""Parts of a data set: balanced nested subsets, stratified and group splits, and a test of leaks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rs_course.datasets.record import Dataset


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
