"""What a test says: scores of one classifier, on shifted images too; and of several seeds, one answer.

Synthetic training data should help most where test and training differ (Fan et al. 2024, arXiv 2312.04567).
A shift shows uint8 tiles ``[N, H, W, 3]`` as another day, sensor or place would, by a strength from 0
(nothing) to 1; what is random in tile i depends on i alone.

Whether a difference between two arms stands out is asked by :mod:`rs_course.study.comparisons`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import ndimage


@dataclass(frozen=True, eq=False)
class Scores:
    """What :func:`evaluate` finds.

    Attributes:
        accuracy: Share of correct images.
        top_k: Share of images whose class is among the three most probable ones.
        macro_f1: Mean of the classes' F1.
        recall: Per class ``[C]``: share of its images that are found.
        precision: Per class ``[C]``: share of its predictions that are right (0 where it is never predicted).
        f1: Per class ``[C]``.
        confusion: Counts ``[true, predicted]``, int64 ``[C, C]``.
        ece: Expected calibration error with 15 equal bins (Guo et al. 2017): mean distance of confidence and
            accuracy.
        correct: Bool ``[N]``, for paired comparisons.
        predictions: int64 ``[N]``.
    """

    accuracy: float
    top_k: float
    macro_f1: float
    recall: np.ndarray
    precision: np.ndarray
    f1: np.ndarray
    confusion: np.ndarray
    ece: float
    correct: np.ndarray
    predictions: np.ndarray


def evaluate(probabilities: ArrayLike, labels: ArrayLike) -> Scores:
    """Score class probabilities against the truth.

    Args:
        probabilities: ``[N, C]``, each row summing to one (torch or NumPy).
        labels: True class numbers ``[N]``.

    Raises:
        ValueError: Rows that are no probabilities, another number of labels, or a label out of range.
    """
    from torchmetrics.functional import classification as tm

    p = torch.as_tensor(np.asarray(probabilities)).float()
    truth = torch.as_tensor(np.asarray(labels)).long()
    if p.ndim != 2 or not len(p) or p.min() < 0 or (p.sum(1) - 1).abs().max() > 1e-3:
        raise ValueError(
            f"probabilities has shape {list(p.shape)}: give [N, C] with rows that sum to one (softmax of "
            "logits)."
        )
    n, classes = p.shape
    if truth.shape != (n,) or truth.min() < 0 or truth.max() >= classes:
        raise ValueError(f"labels must be {n} class numbers from 0 to {classes - 1}, one per image.")
    predictions = p.argmax(1)

    def each(function):
        return function(predictions, truth, num_classes=classes, average="none").numpy()

    f1 = each(tm.multiclass_f1_score)
    correct = predictions == truth
    return Scores(
        accuracy=correct.double().mean().item(),
        top_k=tm.multiclass_accuracy(p, truth, classes, top_k=min(3, classes), average="micro").item(),
        macro_f1=float(f1.mean(dtype=np.float64)),
        recall=each(tm.multiclass_recall),
        precision=each(tm.multiclass_precision),
        f1=f1,
        confusion=tm.multiclass_confusion_matrix(predictions, truth, classes).numpy(),
        ece=tm.multiclass_calibration_error(p, truth, classes, n_bins=15, norm="l1").item(),
        correct=correct.numpy(),
        predictions=predictions.numpy(),
    )


_VEIL, _CLOUD = np.array([190, 200, 220]), 240


def haze(images: np.ndarray, strength: float) -> np.ndarray:
    """Scattered light over everything, bluish: x·(1 − a) + veil·a, a up to 0.6."""
    return _bytes(images + 0.6 * strength * (_VEIL - images.astype(float)))


def cloud(images: np.ndarray, strength: float) -> np.ndarray:
    """White clouds with soft edges over up to 0.6 of each tile."""
    if not strength:
        return images
    fields = np.stack([np.random.default_rng(i).normal(size=tile.shape[:2]) for i, tile in enumerate(images)])
    fields = ndimage.gaussian_filter(fields, (0, 6, 6), mode="wrap")
    edge = np.quantile(fields, 1 - 0.6 * strength, axis=(1, 2), keepdims=True)
    opacity = np.clip(0.5 + (fields - edge) / (0.5 * fields.std((1, 2), keepdims=True)), 0, 1)[..., None]
    return _bytes(images + opacity * (_CLOUD - images.astype(float)))


def season(images: np.ndarray, strength: float) -> np.ndarray:
    """Green turns to dry brown where there is green: red rises, green falls by what it exceeds red."""
    x = images.astype(float)
    green = strength * np.maximum(x[..., 1] - x[..., 0], 0)
    x[..., 0] += 1.2 * green
    x[..., 1] -= 0.4 * green
    return _bytes(x)


def sensor(images: np.ndarray, strength: float) -> np.ndarray:
    """A blunter optic (a Gaussian of up to 1.2 pixels), another calibration of each band, and noise."""
    from rs_course.alignment import corruptions

    gain = 1 + strength * np.array([0.15, -0.05, 0.1])
    return corruptions.noise(_bytes(corruptions.blur(images, 1.2 * strength) * gain), 0.03 * strength)


def rotation(images: np.ndarray, strength: float) -> np.ndarray:
    """Turned by up to 45 degrees, which is none of the square's symmetries; mirrored at the border."""
    turned = ndimage.rotate(images, 45 * strength, axes=(2, 1), reshape=False, order=1, mode="reflect")
    return _bytes(turned)


def scale(images: np.ndarray, strength: float) -> np.ndarray:
    """The middle at up to twice the resolution: 10 m to 5 m per pixel."""
    height, width = images.shape[1:3]
    h, w = round(height / (1 + strength)), round(width / (1 + strength))
    top, left = (height - h) // 2, (width - w) // 2
    middle = images[:, top : top + h, left : left + w].astype(float)
    return _bytes(
        ndimage.zoom(middle, (1, height / h, width / w, 1), order=1, grid_mode=True, mode="nearest")
    )


SHIFTS = {f.__name__: f for f in (haze, cloud, season, sensor, rotation, scale)}
STRENGTHS = (0.5, 1.0)


def shifted(images: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """``(name with strength, images)`` of every shift in turn: ``"haze 0.5"``, ``"haze 1"``, …"""
    for name, shift in SHIFTS.items():
        for strength in STRENGTHS:
            yield f"{name} {strength:g}", shift(np.asarray(images), strength)


def _bytes(x) -> np.ndarray:
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)


class Spread(NamedTuple):
    """Mean over seeds and sample standard deviation (NaN for one seed)."""

    mean: float
    std: float
    n: int

    def __format__(self, spec: str) -> str:
        return f"{self.mean:{spec}} ± {self.std:{spec}}" if self.n > 1 else f"{self.mean:{spec}} (one seed)"


def spread(values: ArrayLike) -> Spread:
    """Mean ± standard deviation (n - 1) of one number per seed.

    >>> f"{spread([0.90, 0.92, 0.94]):.2f}"
    '0.92 ± 0.02'
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or not len(values):
        raise ValueError("spread takes a list of numbers, one per seed.")
    deviation = values.std(ddof=1) if len(values) > 1 else math.nan
    return Spread(float(values.mean()), float(deviation), len(values))


def pack(correct: ArrayLike) -> bytes:
    """Bool ``[T]`` as bytes, eight images each: what a ledger keeps per run for later comparisons."""
    return np.packbits(np.asarray(correct, bool)).tobytes()


def unpack(packed: bytes, count: int) -> np.ndarray:
    """The bool ``[count]`` that :func:`pack` took."""
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))
    if not count <= len(bits) < count + 8:
        raise ValueError(f"{len(packed)} bytes hold {len(bits)} test images or up to 7 fewer, not {count}.")
    return bits[:count].astype(bool)
