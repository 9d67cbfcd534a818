"""A pool to train on, a validation set to choose by, and a test set that nobody has chosen anything by.

A collection with a split of its own for validation keeps it. Otherwise the official test images are halved:
by place where the metadata have coordinates, else by the hash of each image's content. The official
training images are no place to look for a test set, because published generators have seen them.

Near-duplicates are taken out: of the pool those of a validation or test image, of the validation set those
of a test image. Their pixels are compared for that; test labels are not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from rs_course.classification.controls import nearest
from rs_course.files import stamp

if TYPE_CHECKING:
    from rs_course.datasets import Dataset

CLOSE, ALIKE = 6.0, 0.9  # grey levels between thumbnails; correlation of what is left without the mean


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Three disjoint data sets of the same classes.

    Attributes:
        pool, validation, test: :class:`rs_course.datasets.Dataset`.
        how: How validation and test were parted, in words.
        removed: Near-duplicates that were taken out of the pool and of the validation set.
    """

    pool: Dataset
    validation: Dataset
    test: Dataset
    how: str
    removed: int


def held_out(dataset: str, *, image_size: int | None = None) -> HeldOut:
    """Part a real data set.

    Args:
        dataset: What :func:`rs_course.datasets.load` takes.
        image_size: Resize to a square of so many pixels; needed where images differ in size.

    Raises:
        ValueError: A class with too few images for two held-out sets, or without an image in one of them.
        FileNotFoundError: No such data set.
    """
    from rs_course import registry

    path = Path(dataset).expanduser()
    entry = registry.find(dataset, kind="dataset")
    files = [path] if path.exists() else registry.require(entry.name) if entry else []
    return _parted(dataset, image_size, tuple(stamp(file) for file in files))


@lru_cache(maxsize=2)  # the comparison takes seconds; files that change are another key
def _parted(dataset, image_size, _stamps) -> HeldOut:
    from rs_course import datasets

    size = {} if dataset == "simulated" else {"image_size": image_size}
    pool, test = (datasets.load(dataset, split, **size) for split in ("train", "test"))
    try:
        validation, how = datasets.load(dataset, "val", **size), "the collection's own splits"
    except ValueError:
        validation, test, how = _halved(test)
    for name, part in {"training": pool, "validation": validation, "test": test}.items():
        counts = np.bincount(part.labels[part.labels >= 0], minlength=len(part.classes))
        if not counts.all():
            raise ValueError(
                f"{pool.title} has no {name} image of the class {part.classes[int(counts.argmin())]}: every "
                "class needs some to train on, to choose by and to test on."
            )
    before = len(pool) + len(validation)
    validation = _without_twins(validation, [test])
    pool = _without_twins(pool, [validation, test])
    return HeldOut(pool, validation, test, how, before - len(pool) - len(validation))


def _halved(data):
    """(validation, test, how)."""
    from rs_course.datasets import group_split, place_groups

    try:
        return *group_split(data, place_groups(data), (0.5, 0.5)), "the official test images, by place"
    except ValueError:
        pass
    names, labels = np.array(data.hashes), data.labels
    halves: list[list[int]] = [[], []]
    for k, name in enumerate(data.classes):
        members = sorted(np.flatnonzero(labels == k), key=names.__getitem__)
        if len(members) < 2:
            raise ValueError(
                f"{data.title} has {len(members)} test images of the class {name}, too few to part them into "
                "validation and test: give at least two, or a split of your own (train, val, test)."
            )
        halves[0] += members[: len(members) // 2]
        halves[1] += members[len(members) // 2 :]
    return *(data.subset(sorted(half)) for half in halves), "the official test images, by content"


def _without_twins(data, others):
    """The records that no image of the other sets nearly equals."""
    kept = ~np.logical_or.reduce([near_duplicates(data.images, other.images) for other in others])
    return data.subset(kept) if not kept.all() else data


def near_duplicates(images: ArrayLike, reference: ArrayLike) -> np.ndarray:
    """Which images are a copy of a reference image: recompressed, turned, mirrored, a little edited.

    Small thumbnails alone would call every stretch of open water a copy of every other, so what is left when
    the mean colour is taken away has to agree as well.

    Args:
        images, reference: uint8 ``[N, H, W, 3]`` and ``[M, H, W, 3]``.

    Returns:
        bool ``[N]``.
    """
    images, reference = np.asarray(images), np.asarray(reference)
    found = nearest(images, reference)
    twins = np.zeros(len(images), bool)
    for i in np.flatnonzero(found.distance < CLOSE):
        other = reference[found.index[i]]
        other = other[:, ::-1] if found.symmetry[i] >= 4 else other
        pair = [
            (view - view.mean((0, 1))).ravel()
            for view in (images[i].astype(float), np.rot90(other, found.symmetry[i] % 4).astype(float))
        ]
        lengths = np.linalg.norm(pair[0]) * np.linalg.norm(pair[1])
        twins[i] = lengths == 0 or pair[0] @ pair[1] > ALIKE * lengths
    return twins
