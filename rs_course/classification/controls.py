"""Controls that the published protocols lack: is it the synthetic image that helps, and is the test honest?

Matched compute needs no function: :func:`rs_course.classification.training.fit` counts steps, so arms with
the same ``steps`` have had the same compute. The split by place is :func:`rs_course.datasets.group_split`.

:func:`held_out` gives a pool to train on, a validation set to choose by, and a test set that nobody has
chosen anything by. A collection with a split of its own for validation keeps it. Otherwise the official
test images are halved: by place where the metadata have coordinates, else by the hash of each image's
content. The official training images are no place to look for a test set, because published generators have
seen them.

Near-duplicates are taken out: of the pool those of a validation or test image, of the validation set those
of a test image. Their pixels are compared for that; test labels are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from rs_course.classification.sets import Tiles
from rs_course.files import stamp

if TYPE_CHECKING:
    from rs_course.datasets import Dataset


def duplicates(real: Tiles, count: int, *, seed: int = 0) -> Tiles:
    """``count`` copies of real images, as evenly spread as possible: more images that hold nothing new."""
    rng = np.random.default_rng(seed)
    whole, rest = divmod(count, len(real))
    return real.take(
        np.concatenate([np.tile(np.arange(len(real)), whole), rng.permutation(len(real))[:rest]])
    )


def shuffled_labels(synthetic: Tiles, *, seed: int = 0) -> Tiles:
    """The same pictures and the same number of each label, but labels at random."""
    labels = np.random.default_rng(seed).permutation(synthetic.labels)
    return Tiles(synthetic.images, labels, synthetic.classes)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Nearest neighbour of every query image in a reference set.

    Attributes:
        distance: Root mean square difference of the two thumbnails in grey levels 0..255, ``[N]``.
        index: Which reference image, int64 ``[N]``.
        symmetry: Which of the eight symmetries brings it onto the query: k quarter turns, +4 if mirrored.
    """

    distance: np.ndarray
    index: np.ndarray
    symmetry: np.ndarray


def nearest(queries: ArrayLike, reference: ArrayLike, *, side: int = 8, block: int = 1000) -> Neighbours:
    """Most similar reference image of each query, whatever its rotation or reflection.

    Images are compared as thumbnails of ``side`` × ``side`` pixels in colour, so recompression, noise and
    small edits do not hide a copy, which a hash of the content would miss.

    Args:
        queries, reference: uint8 ``[N, H, W, 3]`` and ``[M, H, W, 3]``.
        side: Of the thumbnails.
        block: Queries per matrix product.
    """
    import torch

    small, against = _thumbnails(queries, side), _thumbnails(reference, side)
    views = [np.rot90(v, k, (1, 2)) for v in (against, against[:, :, ::-1]) for k in range(4)]
    best = torch.full((len(small),), torch.inf)
    where, how = torch.zeros(len(small), dtype=torch.long), torch.zeros(len(small), dtype=torch.long)
    flat = torch.from_numpy(small.reshape(len(small), -1))
    for k, view in enumerate(views):
        table = torch.from_numpy(np.ascontiguousarray(view).reshape(len(view), -1))
        for start in range(0, len(flat), block):
            rows = slice(start, start + block)
            distance, index = torch.cdist(flat[rows], table).min(dim=1)
            closer = distance < best[rows]
            best[rows] = torch.where(closer, distance, best[rows])
            where[rows] = torch.where(closer, index, where[rows])
            how[rows] = torch.where(closer, k, how[rows])
    return Neighbours((best / flat.shape[1] ** 0.5).numpy(), where.numpy(), how.numpy())


def _thumbnails(images, side: int) -> np.ndarray:
    """Block means, float32 ``[N, side, side, 3]``, of uint8 ``[N, H, W, 3]``."""
    import torch
    import torch.nn.functional as F

    parts = [
        F.adaptive_avg_pool2d(
            torch.from_numpy(np.array(images[i : i + 500])).permute(0, 3, 1, 2).float(), side
        )
        for i in range(0, len(images), 500)
    ]
    return torch.cat(parts).permute(0, 2, 3, 1).numpy()


@dataclass(frozen=True, eq=False)
class Leak:
    """What two sets share.

    Attributes:
        identical: Pairs (row of the first, row of the second) with the same pixels.
        near: Pairs whose thumbnails differ by less than ``threshold``, identical ones included.
        threshold: In grey levels.
        median: Median distance of the second set's images to their nearest neighbours, for comparison.
    """

    identical: list[tuple[int, int]]
    near: list[tuple[int, int]]
    threshold: float
    median: float

    @property
    def clean(self) -> bool:
        """Neither identical nor nearly identical images."""
        return not self.identical and not self.near


def leakage(train: Tiles, test: Tiles, *, threshold: float = 2.0) -> Leak:
    """Images of ``test`` that ``train`` holds as well, exactly or nearly.

    Ask it of every pair: generator's training data and test data, classifier's training data and test data,
    synthetic images and test data (a generator can reproduce what it was trained on).

    Args:
        train, test: The two sets.
        threshold: Largest root mean square difference of thumbnails, in grey levels, of a near-duplicate.
            Structureless images (open water) are closer to each other than that without being copies: look at
            the pairs before calling it a leak.
    """
    where: dict[str, int] = {name: i for i, name in reversed(list(enumerate(train.hashes())))}
    identical = [(where[name], j) for j, name in enumerate(test.hashes()) if name in where]
    found = nearest(test.images, train.images)
    close = np.flatnonzero(found.distance < threshold)
    near = [(int(found.index[j]), int(j)) for j in close]
    return Leak(identical, near, threshold, float(np.median(found.distance)))


def pre_event_control(
    before: Tiles,
    after: Tiles,
    groups: Sequence,
    *,
    fractions: tuple[float, float] = (0.5, 0.5),
    seed: int = 0,
    **training,
) -> dict[str, float]:
    """Can the kind of disaster be told from pictures taken *before* it? Then the classifier knows the place.

    Trains the same classifier on images before and after the event, and tests each on held-out images of its
    own kind: once with a random split, once with whole events held out.

    Args:
        before, after: The same scenes in the same order, labelled with the kind of event.
        groups: Event of each scene, one hashable per image.
        fractions: Share of training and test scenes.
        seed: Of split and training.
        **training: Passed to :func:`rs_course.classification.training.fit`.

    Returns:
        dict with the accuracies ``random_after``, ``random_before``, ``group_after``, ``group_before``, the
        numbers of test images ``random_count``, ``group_count``, and
        ``chance`` (the largest class's share). ``random_before`` far above chance, while ``group_before`` is
        near it, shows that place stands for class.

    Raises:
        ValueError: Sets of different length or labels, or one event per class, which no split can part.
    """
    from rs_course.classification.training import fit, predict

    events = np.asarray([str(group) for group in groups])
    if len(before) != len(after) or (before.labels != after.labels).any() or len(events) != len(before):
        raise ValueError("before, after and groups must describe the same scenes in the same order.")
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(before))
    parts = {"random": np.split(shuffled, [round(fractions[0] * len(shuffled))])}
    parts["group"] = _whole_events(before, events, fractions[0], rng)
    result = {"chance": float(before.per_class().max() / len(before))}
    for how, (train, test) in parts.items():
        for when, tiles in (("before", before), ("after", after)):
            model = fit(
                tiles.images[train], tiles.labels[train], classes=len(tiles.classes), seed=seed, **training
            )
            right = predict(model, tiles.images[test]).argmax(1).numpy() == tiles.labels[test]
            result[f"{how}_{when}"] = float(right.mean())
            result[f"{how}_count"] = len(test)
    return result


def _whole_events(tiles: Tiles, groups: np.ndarray, share: float, rng) -> list[np.ndarray]:
    """Rows of training and test, with the events of every class parted between them."""
    train: list[str] = []
    for k, name in enumerate(tiles.classes):
        events = rng.permutation(np.unique(groups[tiles.labels == k]))
        if len(events) < 2:
            raise ValueError(
                f"The class {name} has {len(events)} event, so place and class cannot be told apart: a split "
                "by event needs at least two per class."
            )
        train += list(events[: min(max(1, round(share * len(events))), len(events) - 1)])
    inside = np.isin(groups, train)
    return [np.flatnonzero(inside), np.flatnonzero(~inside)]


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
