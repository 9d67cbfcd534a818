"""Labelled images in memory: as tensors for a training, and composed to the arms of a study.

=============  =====================================================================================
arm            training set
=============  =====================================================================================
``real``       the real images
``synthetic``  the synthetic images, as many as ``mixed`` has of them
``mixed``      both
``duplicate``  the real images and, in place of the synthetic ones, copies of real ones: a control for
               "more images" that hold nothing new
``shuffled``   as ``mixed``, but the synthetic labels are permuted: a control for what the pictures
               teach without their classes
=============  =====================================================================================

A ratio of 1:r means r synthetic images for every real one. Subsets are nested: 1:1 is contained in 1:2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike

from rs_course.checkpoints.images import from_uint8, image_batch

if TYPE_CHECKING:
    from rs_course.datasets import Dataset


@dataclass(frozen=True, eq=False)
class Tiles:
    """Images with labels.

    Attributes:
        images: uint8 ``[N, H, W, 3]``.
        labels: int64 ``[N]``, indices into ``classes``.
        classes: Class names, in label order.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]

    def __post_init__(self):
        if len(self.images) != len(self.labels):
            raise ValueError(
                f"{len(self.images)} images and {len(self.labels)} labels: give one label per image."
            )

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, data: Dataset, rows: ArrayLike | None = None) -> Tiles:
        """All records (or some rows) of a :class:`rs_course.datasets.Dataset`."""
        data = data if rows is None else data.subset(rows)
        return cls(np.asarray(data.images), data.labels, tuple(data.classes))

    def take(self, rows: np.ndarray) -> Tiles:
        """Some of the images: an index array or a mask."""
        return Tiles(self.images[rows], self.labels[rows], self.classes)

    def per_class(self) -> np.ndarray:
        """Number of images of each class, int64 ``[C]``."""
        return np.bincount(self.labels, minlength=len(self.classes))

    def first(self, count: int, *, what: str = "the set") -> Tiles:
        """The first ``count`` images of every class, classes taking turns: contained in every larger draw.

        Raises:
            ValueError: A class has fewer.
        """
        have = self.per_class()
        if have.min(initial=count) < count:
            name = self.classes[int(have.argmin())]
            raise ValueError(
                f"{what} has {have.min()} images of the class {name}, but {count} are needed: generate more, "
                "or ask for fewer."
            )
        members = [np.flatnonzero(self.labels == k)[:count] for k in range(len(self.classes))]
        return self.take(np.stack(members, axis=1).ravel())

    def in_classes(self, names: Sequence[str], *, what: str = "the set") -> Tiles:
        """The images of the classes ``names``, renumbered to that order.

        Raises:
            ValueError: A class that this set does not know.
        """
        names = tuple(names)
        if missing := [name for name in names if name not in self.classes]:
            raise ValueError(
                f"{what} has no class {missing[0]}, only {', '.join(self.classes)}: both sets need the same "
                "label names."
            )
        number = np.array([names.index(name) if name in names else -1 for name in self.classes])
        labels = number[self.labels]
        return Tiles(self.images[labels >= 0], labels[labels >= 0], names)

    def join(self, other: Tiles) -> Tiles:
        """Both sets after one another.

        Raises:
            ValueError: Different classes, or images of different size.
        """
        if self.classes != other.classes:
            raise ValueError(
                f"Sets with the classes {', '.join(self.classes)} and {', '.join(other.classes)} cannot be "
                "joined: use in_classes first."
            )
        if self.images.shape[1:] != other.images.shape[1:]:
            sizes = ["×".join(map(str, s.images.shape[1:3])) for s in (self, other)]
            raise ValueError(
                f"Images of {sizes[0]} and {sizes[1]} pixels: load both with the same image_size=."
            )
        return Tiles(
            np.concatenate([self.images, other.images]),
            np.concatenate([self.labels, other.labels]),
            self.classes,
        )

    def hashes(self) -> list[str]:
        """BLAKE2b of each image's shape and pixels, as :attr:`rs_course.datasets.Dataset.hashes`."""
        return [
            hashlib.blake2b(str(image.shape).encode() + image.tobytes(), digest_size=16).hexdigest()
            for image in self.images
        ]

    def hash(self) -> str:
        """One hash of the whole set: pixels, labels and class names, in this order."""
        state = hashlib.blake2b("\0".join(self.classes).encode(), digest_size=16)
        state.update(np.ascontiguousarray(self.images).data)
        state.update(np.ascontiguousarray(self.labels, np.int64).data)
        return state.hexdigest()


def as_tensor(images: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Images as uint8 ``[N, 3, H, W]`` (a view of uint8 arrays) or as the checked float tensor.

    Raises:
        TypeError, ValueError: Not a batch of images, or an empty one.
    """
    if isinstance(images, np.ndarray) and images.dtype == np.uint8:
        tensor = from_uint8(images)
    elif isinstance(images, torch.Tensor) and images.dtype == torch.uint8:
        tensor = images
    else:
        tensor = image_batch(images)
    if not len(tensor):
        raise ValueError("There are no images to learn from: the set is empty.")
    return tensor


def to_float(x: torch.Tensor) -> torch.Tensor:
    """uint8 to float in [0, 1]; floats stay as they are."""
    return x.float().div_(255) if x.dtype == torch.uint8 else x


def as_targets(labels: ArrayLike, classes: int, count: int) -> torch.Tensor:
    """Labels ``[N]`` or distributions ``[N, C]`` as float targets ``[N, C]``.

    Raises:
        ValueError: Another number of them, a label out of range, or rows that do not sum to one.
    """
    told = torch.as_tensor(np.asarray(labels) if not isinstance(labels, torch.Tensor) else labels)
    if len(told) != count:
        raise ValueError(f"{count} images and {len(told)} labels: give one label per image.")
    if told.ndim == 1:
        if told.min() < 0 or told.max() >= classes:
            bad = told[(told < 0) | (told >= classes)][0].item()
            raise ValueError(
                f"The label {bad} is not possible: with {classes} classes they are 0 to {classes - 1}."
            )
        return F.one_hot(told.long(), classes).float()
    if told.ndim != 2 or told.shape[1] != classes or (told.sum(1) - 1).abs().max() > 1e-3:
        raise ValueError(
            f"labels has shape {list(told.shape)}: give class numbers [N], or targets [N, {classes}] whose "
            "rows sum to one."
        )
    return told.float()


def class_count(labels: ArrayLike) -> int:
    """C as far as labels ``[N]`` (the largest plus one) or targets ``[N, C]`` tell."""
    told = np.asarray(labels)
    return told.shape[1] if told.ndim == 2 else int(told.max()) + 1


ARMS = ("real", "synthetic", "mixed", "duplicate", "shuffled")


def real_shots(data: Dataset, per_class: int, *, seed: int) -> Tiles:
    """The first ``per_class`` images of every class in the draw ``seed`` of a data set; nested in
    ``per_class``.

    Raises:
        ValueError: A class has fewer images.
    """
    have = np.bincount(data.labels[data.labels >= 0], minlength=len(data.classes))
    if have.min() < per_class:
        name = data.classes[int(have.argmin())]
        raise ValueError(
            f"{data.title} has {have.min()} images of the class {name}, but {per_class} per class are "
            "wanted: lower the budget or load more of the data set."
        )
    from rs_course.datasets.record import balanced_order

    # Classes take turns until the smallest one is used up, so the beginning of the order is balanced.
    rows = balanced_order(data.ids, data.labels, per_class * len(data.classes), seed, data.title)
    return Tiles.of(data, rows)


def compose(
    arm: str, real: Tiles | None, synthetic: Tiles | None = None, *, copies: int = 0, seed: int = 0
) -> tuple[Tiles | None, Tiles | None]:
    """Real part and added part of an arm; one of them is ``None`` where the arm does not have it.

    Args:
        arm: One of :data:`ARMS`.
        real: The real images.
        synthetic: The synthetic images of the wanted ratio.
        copies: For ``duplicate``, the number of copies in place of synthetic images.
        seed: Of the copies and the permutation.

    Raises:
        ValueError: Unknown arm, a part that is missing, or different classes.
    """
    if arm not in ARMS:
        raise ValueError(f"There is no arm {arm!r}: use {', '.join(ARMS)}.")
    if real is not None and synthetic is not None and real.classes != synthetic.classes:
        raise ValueError(
            f"The real set has the classes {', '.join(real.classes)}, the synthetic one "
            f"{', '.join(synthetic.classes)}: the label spaces must be equal."
        )
    from rs_course.classification import controls

    if real is None and arm != "synthetic":
        raise ValueError(f"The arm {arm!r} needs real images.")
    if real is not None and arm == "real":
        return real, None
    if real is not None and arm == "duplicate":
        return real, controls.duplicates(real, copies, seed=seed)
    if synthetic is None:
        raise ValueError(f"The arm {arm!r} needs a synthetic set.")
    if arm == "synthetic":
        return None, synthetic
    return real, controls.shuffled_labels(synthetic, seed=seed) if arm == "shuffled" else synthetic
