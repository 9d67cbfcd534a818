"""Labelled images in memory: what arms are composed of, and what is hashed for the record."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


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
    def of(cls, data, rows=None) -> Tiles:
        """All records (or some rows) of a :class:`rs_course.datasets.Dataset`."""
        data = data if rows is None else data.subset(rows)
        return cls(np.asarray(data.images), data.labels, tuple(data.classes))

    def take(self, rows) -> Tiles:
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

    def in_classes(self, names, *, what: str = "the set") -> Tiles:
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
