"""Exam of A2, classification with synthetic data: measure it, filter it, train with it, and compare it
fairly.

Expected values of F1 and the confusion matrix come from scikit-learn, of the loss and the interval from
torch and scipy. In the last question scenes of the simulated Earth play the real data, and samples of a
Gaussian around a few of them, a tenth with a wrong label, play what a generative model hands over.
"""

from __future__ import annotations

import numpy as np

from rs_course.grading.exam import Check, Exam, Wrong, numbers
from rs_course.grading.exams import images as earth
from rs_course.grading.exams.cl_evidence import INTERVAL, LEAKS, SCORES
from rs_course.grading.exams.cl_training import FILTER, LOSS
from rs_course.grading.sandbox import Limits


def _torch():
    import torch

    return torch


CLASSES = ("Forest", "Highway", "Industrial", "Residential", "River")


def generated(rng, images, labels, per_class, wrong=0.1):
    """Samples of a Gaussian per class around its images, clipped to [0, 1]; a part of the labels is wrong."""
    torch = _torch()
    made, made_labels = [], []
    for label in range(len(CLASSES)):
        own = images[labels == label]
        weights = torch.tensor(rng.normal(size=(per_class, len(own))), dtype=torch.float32) / len(own) ** 0.5
        made.append(own.mean(0) + torch.einsum("sn,nchw->schw", weights, own - own.mean(0)))
        made_labels += [label] * per_class
    flipped = rng.random(len(made_labels)) < wrong
    made_labels = np.where(flipped, rng.integers(0, len(CLASSES), len(made_labels)), made_labels)
    return torch.cat(made).clamp(0, 1), torch.tensor(made_labels)


def _exam_data(rng, shots=10, tests=16, per_class=30):
    torch = _torch()
    count = len(CLASSES) * (shots + tests)
    images = earth.tensor(np.stack([scene.image for scene in earth.scenes(rng, count, CLASSES)]))
    labels = torch.arange(count) % len(CLASSES)
    few = len(CLASSES) * shots
    synthetic, synthetic_labels = generated(rng, images[:few], labels[:few], per_class)
    return {
        "images": images[:few],
        "labels": labels[:few],
        "synthetic": synthetic,
        "synthetic_labels": synthetic_labels,
        "new": images[few:],
        "_truth": labels[few:].numpy(),
    }


def _colour_patches(rng):
    torch = _torch()
    labels = torch.arange(20) % len(CLASSES)
    colours = torch.tensor(rng.random((len(CLASSES), 3, 1, 1)), dtype=torch.float32)
    images = (
        colours[labels] + 0.01 * torch.tensor(rng.normal(size=(20, 3, 64, 64)), dtype=torch.float32)
    ).clamp(0, 1)
    return {
        "images": images[:10],
        "labels": labels[:10],
        "synthetic": images[:10].flip(3),
        "synthetic_labels": labels[:10],
        "new": images[10:],
        "_truth": labels[10:].numpy(),
    }


# Accuracy on the hidden scenes (chance: 0.2): part of the points, and what is said below the next step.
STEPS = (
    (0.6, 1.0, ""),
    (0.45, 0.7, "a fair classifier: texture (the spread inside an image) tells more than mean colour alone"),
    (0.3, 0.4, "better than chance only: look at which classes are confused"),
)


def _accuracy(value, inputs):
    predicted, truth = numbers(value), inputs["_truth"]
    if predicted.shape != truth.shape:
        hint = ": return the class, not its scores" if predicted.ndim == 2 else ""
        raise Wrong(f"the result has shape {list(predicted.shape)}, expected {list(truth.shape)}{hint}")
    if not np.isin(predicted, np.arange(len(CLASSES))).all():
        raise Wrong(f"predictions must be class numbers 0 to {len(CLASSES) - 1}")
    if len(np.unique(predicted)) == 1:
        raise Wrong("every image got the same class")
    return float((predicted == truth).mean())


def _graded_accuracy(value, inputs):
    reached = _accuracy(value, inputs)
    for least, fraction, sentence in STEPS:
        if reached >= least:
            if fraction == 1.0:
                return reached
            raise Wrong(sentence, fraction, measure=reached)
    raise Wrong("no better than chance: are labels and images in the same order?", measure=reached)


def _all_right(value, inputs):
    if _accuracy(value, inputs) < 1:
        raise Wrong("patches of plainly different colours are not told apart")


_CLASSIFY = "predict(new, train(images, labels, synthetic, synthetic_labels))"
CLASSIFIER = (
    Check("classifier.colours", "classifier", 0.5, _CLASSIFY, _colour_patches, judge=_all_right, public=True),
    Check("classifier.hidden_scenes", "classifier", 4.5, _CLASSIFY, _exam_data, judge=_graded_accuracy),
)

exam = Exam(
    name="a2_classification",
    title="A2 Classification with synthetic data",
    checks=(*SCORES, *FILTER, *LOSS, *INTERVAL, *LEAKS, *CLASSIFIER),
    leaderboard=("classifier.hidden_scenes", "accuracy on hidden scenes"),
    preload=("numpy", "torch", "torch.nn.functional"),
    limits=Limits(step_s=60.0, wall_s=600.0),
)
