"""Exercises of the first lesson: the image convention, the level of chance, and a fair nested subset."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from rs_course.check.core import Mistake, call, exercise
from rs_course.check.formulas import formula

if TYPE_CHECKING:
    from rs_course.check.core import Draws


def _floating(raw, want, images):
    if not raw.is_floating_point() and raw.ndim == 4:
        raise Mistake(f"the values are still {raw.dtype}; make them float before dividing by 255")


@formula(
    hints=(
        "Three things change: the type, the range, and the place of the channels.",
        "torch.from_numpy(images) is uint8 [N, H, W, 3]; permute moves axes, float() / 255 the range.",
        "torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255",
    ),
    takes="images",
    right="""
        pixels = torch.from_numpy(images).double()
        axes = (0, 3, 1, 2)
        placed = pixels.permute(axes)
        ends = 0, 255
        moved = (placed - ends[0]) / ends[1]
        after = moved
        answer = after
    """,
    slips="""
        axes = (0, 1, 2, 3)  # the channels are still last: [N, H, W, 3]; the package wants them first, [N, 3,
          # H, W]
        ends = (0, 1)  # the values run from 0 to 255: divide by 255
        ends = (0, 256)  # you divided by 256; 255 is the largest value of a byte
        ends = (127.5, 127.5)  # the values lie in [-1, 1]; this package's images lie in [0, 1]
        ends = (0, 127.5)  # the values lie in [0, 2]: divide by 255, not by its half
        ends = (0, pixels.max())  # you divided by the largest value that occurs; a byte's largest value is
          # 255
        ends = (pixels.min(), pixels.max() - pixels.min())  # you stretched the values that occur to [0, 1]; a
          # dark image must stay dark: divide by 255
        ends = (pixels.mean(), pixels.std())  # you standardised (mean 0, deviation 1); this package's images
          # lie in [0, 1]
        ends = (0, 255 * 255)  # you divided by 255 twice
        after = moved.floor()  # the division is one of whole numbers, so nearly everything is 0; use / on
          # floats
        ends = (0, 1); after = moved.clamp(0, 1)  # you clipped to [0, 1] without dividing by 255, so nearly
          # everything is 1
        axes = (0, 3, 2, 1)  # height and width are swapped: permute(0, 3, 1, 2), not (0, 3, 2, 1)
        axes = (3, 0, 1, 2)  # the channels are in front of the images, [3, N, H, W]; the images come first
        after = moved.flip(1)  # red and blue are swapped (BGR)
        placed = pixels.reshape(len(pixels), 3, *pixels.shape[1:3])  # reshape keeps the order of the bytes
          # and scrambles the picture; permute moves the axes
        after = moved.flip(2)  # the rows are upside down
        after = moved.flip(3)  # the columns are mirrored
        after = 1 - moved  # you inverted the image: 0 must stay black
        after = moved.mean(1, keepdim=True)  # this is the mean over the channels, a grey image; keep all
          # three
    """,
    shapes="""
        (3, *images.shape[1:3])  # only one image came back; convert the whole batch
        images.shape[:3]  # the channels are missing; the batch is [N, 3, H, W]
    """,
    name="the batch",
    done="[N, 3, H, W] in [0, 1], every pixel in its place",
    tol=1e-06,
    tensor=True,
    look=_floating,
)
def to_tensor(random: Draws):
    """uint8 ``[N, H, W, 3]`` to float ``[N, 3, H, W]`` in [0, 1]."""
    n, height, width = random.sizes(3, low=4)
    return random.rng.integers(3, 250, (n, height, width, 3), dtype=np.uint8)


@formula(
    hints=(
        "A model that has learned nothing can still say the same class every time. Which one should it say?",
        "Count how often each class occurs; the best constant answer is right that often.",
        "np.bincount(labels).max() / len(labels)",
    ),
    takes="labels",
    right="""
        counts = np.bincount(labels)
        best = counts.max()
        over = len(labels)
        answer = best / over
    """,
    slips="""
        best = counts.sum() / (counts > 0).sum()  # 1 / number of classes is the level of chance only if all
          # classes are equally common
        best = np.mean(counts)  # you counted class 3, which never occurs, as well; and the classes are not
          # equally common
        best = counts.sum() / 10  # a tenth is chance for ten equally common classes; count these labels
        best = (counts**2).sum() / counts.sum()  # guessing in proportion to the classes is worse than always
          # saying the most common one
        best = counts[counts > 0].min()  # this is how common the rarest class is; the best answer is the most
          # common one
        best = np.min(counts)  # a class that never occurs has the smallest count, 0; look for the largest
        best = counts[0]  # this is how common class 0 is; the most common class may be another
        best = counts[1]  # this is how common class 1 is; the most common class may be another
        best = counts[-1]  # this is how common the last class is; the most common class may be another
        best = np.sort(counts)[-2]  # this is how common the second most common class is
        answer = (labels == labels[0]).mean()  # this is how common the class of the first image is
        answer = (labels == labels[-1]).mean()  # this is how common the class of the last image is
        over = 1  # that is a number of images; divide it by how many there are
        over = len(np.unique(labels))  # you divided by the number of classes; divide by the number of images
        over = np.max(labels)  # you divided by the largest label; divide by the number of images
        over = np.sum(labels)  # you divided by the sum of the labels, which are names, not amounts
        over = len(labels) / 100  # that is in percent; accuracies here are fractions
        answer = np.bincount(labels).argmax()  # that is the most common class, not how often it is right
        answer = labels.mean()  # that is the mean of the labels, which are names, not amounts
        best = counts.sum() - counts.max()  # that is the error of the best constant answer; asked is its
          # accuracy
        over = np.sort(np.bincount(labels))[-2]  # you divided by the second most common class; divide by the
          # number of images
        answer = len(np.unique(labels))  # that is the number of classes
    """,
    name="the level of chance",
    done="always saying the most common class is right that often",
)
def chance_level(random: Draws):
    """Best accuracy of a classifier that never looks at the image."""
    # Labels in which one class of five never occurs, and the most common one is neither the first nor last.
    common = 1 + random.number % 2
    second = 4 * (random.number // 2 % 2)  # class 0 or 4
    counts = {0: 3, 1: 2, 2: 2, 4: 3} | {second: 5} | {common: 9 + 2 * random.number}
    return random.rng.permutation(np.repeat(list(counts), list(counts.values())))


@exercise(
    hints=(
        "Order the images once for each seed, whatever the size; then a subset is the beginning.",
        "Shuffle each class's indices with np.random.default_rng(seed), and take size // classes from each.",
        "np.concatenate([rng.permutation(np.flatnonzero(labels == k))[: size // n] for k in range(n)])",
    )
)
def nested_subset(student: Callable, *, seed: int = 0):
    """Class-balanced subset of a given size; a smaller one lies inside a larger one of the same seed."""
    for classes, sizes, draw in ((4, (20, 40), 0), (3, (9, 15, 36), 5)):
        rng = np.random.default_rng([seed, classes])
        labels = rng.permutation(np.repeat(np.arange(classes), [40, 33, 27, 20][:classes]))
        _fair(student, labels, classes, sizes, draw)
    return "balanced, nested in size, and another draw for another seed"


def _fair(student, labels, classes, sizes, seed) -> None:
    def ask(size, seed):
        where = f"for {classes} classes, size = {size}, seed = {seed}: "
        return _indices(call(student, labels, size, seed, where=where), size, labels, where)

    subsets = [ask(size, seed) for size in sizes]
    if set(ask(sizes[0], seed).tolist()) != set(subsets[0].tolist()):
        raise Mistake("two calls with the same seed differ; draw from np.random.default_rng(seed) only")
    for size, subset in zip(sizes, subsets, strict=True):
        counts = np.bincount(labels[subset], minlength=classes)
        if np.ptp(counts) > 0:
            raise Mistake(
                f"for {classes} classes and size = {size} the classes get {counts.tolist()} images; a "
                "balanced subset holds equally many of each"
            )
    for k in range(len(sizes) - 1):
        if not set(subsets[k].tolist()) <= set(subsets[k + 1].tolist()):
            raise Mistake(
                f"the {sizes[k]} are not among the {sizes[k + 1]}: with new images at every size, a curve "
                "over size also shows luck"
            )
    drawn = {seed + more: ask(sizes[1], seed + more) for more in (0, 1, 2, 3, 4, 5, 6, 7, 10, 100)}
    for (one, a), (other, b) in itertools.combinations(drawn.items(), 2):
        if (shared := len(np.intersect1d(a, b))) == len(a):
            raise Mistake(
                f"seeds {one} and {other} give the same images: without another draw there is no error bar"
            )
        if shared >= 0.75 * len(a):  # by chance, far fewer
            raise Mistake(
                f"seeds {one} and {other} share {shared} of {len(a)} images: let every seed shuffle anew"
            )
    for number, subset in drawn.items():
        if all(_regular(np.isin(np.flatnonzero(labels == k), subset)) for k in range(classes)):
            raise Mistake(
                f"for seed {number} the images of a class follow each other in equal steps: shuffle them"
            )


def _regular(chosen) -> bool:
    """Whether the places that are true lie in equal steps around a circle, as after a roll or a stride."""
    places, count = np.flatnonzero(chosen), len(chosen)
    return any(
        set((first + step * np.arange(len(places))) % count) == set(places)
        for first in places
        for step in range(1, count)
    )


def _indices(got, size: int, labels, where: str) -> np.ndarray:
    indices, count, classes = np.asarray(got), len(labels), labels.max() + 1
    if indices.dtype == bool and indices.shape == labels.shape:
        raise Mistake(f"{where}this is true or false for every image; give the indices (np.flatnonzero)")
    if indices.dtype.kind not in "iu" or indices.ndim != 1:
        raise Mistake(
            f"{where}the answer should be a list of integers, not {indices.dtype} {list(indices.shape)}"
        )
    if len(indices) != size:
        advice = "; size counts all classes together" if len(indices) == size * classes else ""
        raise Mistake(f"{where}{len(indices)} indices came back for size {size}{advice}")
    if len(indices) and (indices.min() < 0 or indices.max() >= count):
        raise Mistake(f"{where}an index lies outside 0 to {count - 1}")
    if len(np.unique(indices)) != size:
        if indices.max() < classes:
            raise Mistake(f"{where}these are labels (0 to {classes - 1}), not the indices of the images")
        raise Mistake(
            f"{where}an image occurs twice; draw without replacement, and from the indices of the class"
        )
    return indices
