"""Exercises of notebook 00: the image convention, the level of chance, and a fair nested subset."""

from __future__ import annotations

import numpy as np

from rs_course.check.core import Mistake, call, diagnose, exercise


@exercise(
    hints=(
        "Three things change: the type, the range, and the place of the channels.",
        "torch.from_numpy(images) is uint8 [N, H, W, 3]; permute moves axes, float() / 255 the range.",
        "torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255",
    )
)
def to_tensor(student):
    """uint8 ``[N, H, W, 3]`` to float ``[N, 3, H, W]`` in [0, 1]."""
    import torch

    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    source = torch.from_numpy(images)
    want = source.permute(0, 3, 1, 2).float() / 255
    got = call(student, images)
    if not hasattr(got, "detach"):
        raise Mistake(f"the result should be a torch tensor, not a {type(got).__name__}")
    if tuple(got.shape) == tuple(source.shape):
        raise Mistake("the channels are still last: [N, H, W, 3]; the package wants them first, [N, 3, H, W]")
    if got.shape == want.transpose(2, 3).shape:
        raise Mistake("height and width are swapped: permute(0, 3, 1, 2), not (0, 3, 2, 1)")
    if not got.is_floating_point():
        raise Mistake(f"the values are still {got.dtype}; make them float before dividing by 255")
    diagnose(
        got,
        want,
        {
            "the values run from 0 to 255: divide by 255": 255 * want,
            "reshape keeps the order of the bytes and scrambles the picture; permute moves the axes": (
                source.reshape(want.shape).float() / 255
            ),
            "you divided by 256; 255 is the largest value of a byte": want * 255 / 256,
            "the values lie in [-1, 1]; this package's images lie in [0, 1]": 2 * want - 1,
            "red and blue are swapped (BGR)": want.flip(1),
        },
        name="the batch",
    )
    return "float32 [N, 3, H, W] in [0, 1], every pixel in its place"


@exercise(
    hints=(
        "A model that has learned nothing can still say the same class every time. Which one should it say?",
        "Count how often each class occurs; the best constant answer is right that often.",
        "np.bincount(labels).max() / len(labels)",
    )
)
def chance_level(student):
    """Best accuracy of a classifier that never looks at the image."""
    labels = np.array([0, 0, 0, 0, 0, 2, 2, 3, 3, 4])
    got = call(student, labels)
    diagnose(
        np.asarray(got, dtype=float),
        0.5,
        {
            "1 / number of classes is the level of chance only if all classes are equally common": 1 / 4,
            "you counted class 1, which never occurs, as well; and the classes are not equally common": 1 / 5,
            "guessing in proportion to the classes is worse than always saying the most common one": 0.34,
            "that is a number of images; divide it by how many there are": 5.0,
            "that is in percent; accuracies here are fractions": 50.0,
            "that is the most common class, not how often it is right": 0.0,
        },
        name="the level of chance",
    )
    return "always saying the most common class is right that often"


@exercise(
    hints=(
        "Order the images once, in a way that does not depend on size; then a subset is the beginning.",
        "Shuffle each class's indices with np.random.default_rng(seed), and take size // classes from each.",
        "np.concatenate([rng.permutation(np.flatnonzero(labels == k))[: size // n] for k in range(n)])",
    )
)
def nested_subset(student):
    """Class-balanced subset of a given size; a smaller one lies inside a larger one of the same seed."""
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(4), [40, 40, 30, 20]))
    small, large = (_indices(call(student, labels, size, 0), size, len(labels)) for size in (20, 40))
    again = _indices(call(student, labels, 20, 0), 20, len(labels))
    if not np.array_equal(np.sort(small), np.sort(again)):
        raise Mistake("two calls with the same seed differ; draw from np.random.default_rng(seed) only")
    for subset in (small, large):
        counts = np.bincount(labels[subset], minlength=4)
        if counts.max() - counts.min() > 0:
            raise Mistake(
                f"the classes get {counts.tolist()} images; a balanced subset holds equally many of each"
            )
    if not set(small.tolist()) <= set(large.tolist()):
        raise Mistake(
            "the 20 are not among the 40: with new images at every size, a curve over size also shows luck"
        )
    other = _indices(call(student, labels, 20, 1), 20, len(labels))
    if np.array_equal(np.sort(small), np.sort(other)):
        raise Mistake("seeds 0 and 1 give the same images: without another draw there is no error bar")
    return "balanced, nested in size, and another draw for another seed"


def _indices(got, size: int, count: int) -> np.ndarray:
    indices = np.asarray(got)
    if indices.dtype.kind not in "iu" or indices.ndim != 1:
        raise Mistake(f"the answer should be a list of integers, not {indices.dtype} {list(indices.shape)}")
    if len(indices) != size:
        raise Mistake(f"{len(indices)} indices came back for size {size}")
    if len(indices) and (indices.min() < 0 or indices.max() >= count):
        raise Mistake(f"an index lies outside 0 to {count - 1}")
    if len(np.unique(indices)) != size:
        raise Mistake("an image occurs twice; draw without replacement")
    return indices
