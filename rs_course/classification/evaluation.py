"""Scores of one classifier on one test set: accuracy, macro F1, recall per class, confusion, calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True, eq=False)
class Scores:
    """What :func:`evaluate` finds.

    Attributes:
        accuracy: Share of correct images.
        top_k: Share of images whose class is among the ``k`` most probable ones.
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


def evaluate(probabilities, labels, *, k: int = 3) -> Scores:
    """Score class probabilities against the truth.

    Args:
        probabilities: ``[N, C]``, each row summing to one (torch or NumPy).
        labels: True class numbers ``[N]``.
        k: For ``top_k``; at most C.

    Raises:
        ValueError: Rows that are no probabilities, another number of labels, or a label out of range.
    """
    from torchmetrics.functional import classification as tm

    p = torch.as_tensor(np.asarray(probabilities)).float()
    labels = torch.as_tensor(np.asarray(labels)).long()
    if p.ndim != 2 or not len(p) or p.min() < 0 or (p.sum(1) - 1).abs().max() > 1e-3:
        raise ValueError(
            f"probabilities has shape {list(p.shape)}: give [N, C] with rows that sum to one (softmax of "
            "logits)."
        )
    n, classes = p.shape
    if labels.shape != (n,) or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must be {n} class numbers from 0 to {classes - 1}, one per image.")
    predictions = p.argmax(1)

    def each(function):
        return function(predictions, labels, num_classes=classes, average="none").numpy()

    f1 = each(tm.multiclass_f1_score)
    correct = predictions == labels
    return Scores(
        accuracy=correct.double().mean().item(),
        top_k=tm.multiclass_accuracy(p, labels, classes, top_k=min(k, classes), average="micro").item(),
        macro_f1=float(f1.mean(dtype=np.float64)),
        recall=each(tm.multiclass_recall),
        precision=each(tm.multiclass_precision),
        f1=f1,
        confusion=tm.multiclass_confusion_matrix(predictions, labels, classes).numpy(),
        ece=tm.multiclass_calibration_error(p, labels, classes, n_bins=15, norm="l1").item(),
        correct=correct.numpy(),
        predictions=predictions.numpy(),
    )
