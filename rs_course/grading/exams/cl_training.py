"""Checks of A2 about training with generated images: filtering them, and learning from a teacher."""

from __future__ import annotations

import numpy as np

from rs_course.grading.exam import Check


def _torch():
    import torch

    return torch


def _similarities(rng, count=40, classes=6):
    torch = _torch()
    labels = rng.integers(0, classes, count)
    cosine = 0.22 + 0.015 * rng.normal(size=(count, classes))
    cosine[np.arange(count), labels] += 0.012 * rng.random(count)
    return {"similarity": torch.tensor(cosine), "labels": torch.tensor(labels), "scale": 100.0}


def _kept(similarity, labels, scale, *, axis=1, threshold=None):
    probability = (scale * similarity).softmax(axis)
    own = probability.gather(1, labels[:, None])[:, 0]
    return own > (1 / similarity.shape[1] if threshold is None else threshold)


def _kept_best(similarity, labels, scale):
    return similarity.argmax(1) == labels


_FILTER_MISTAKES = {
    "the similarities must be multiplied by scale before the softmax": lambda similarity, labels, scale: (
        _kept(similarity, labels, 1.0)
    ),
    "the softmax goes over the classes, you took it over the images": lambda **x: _kept(**x, axis=0),
    "keep what has more than 1/C, not only where the own class wins": _kept_best,
    "keep what has more than 1/C, you asked for more than one half": lambda **x: _kept(**x, threshold=0.5),
    "this keeps exactly the images that must go": lambda **x: ~_kept(**x),
}
FILTER = (
    Check(
        "filter.three_images",
        "clip_filter",
        0.5,
        "clip_filter(similarity, labels, scale)",
        lambda rng: {
            "similarity": _torch().tensor([[0.30, 0.20, 0.20], [0.30, 0.20, 0.20], [0.25, 0.25, 0.24]]),
            "labels": _torch().tensor([0, 1, 1]),
            "scale": 100.0,
        },
        _kept,
        _FILTER_MISTAKES,
        public=True,
    ),
    Check(
        "filter.many",
        "clip_filter",
        1.5,
        "clip_filter(similarity, labels, scale)",
        _similarities,
        _kept,
        _FILTER_MISTAKES,
    ),
)


def _logits(rng, count=16, classes=5):
    torch = _torch()
    return {
        "logits": torch.tensor(rng.normal(size=(count, classes)) * 2),
        "teacher": torch.tensor(rng.normal(size=(count, classes)) * 3),
        "labels": torch.tensor(rng.integers(0, classes, count)),
        "s": float(rng.choice([0.3, 0.6])),
        "T": 2.0,
    }


def _soft_loss(logits, teacher, labels, s, T, *, student_T=1.0, factor=1.0, entropy=False):
    import torch.nn.functional as F

    target = (teacher / T).softmax(1)
    soft = -(target * (logits / student_T).log_softmax(1)).sum(1).mean()
    if entropy:
        soft = soft + (target * target.log()).sum(1).mean()
    return s * factor * soft + (1 - s) * F.cross_entropy(logits, labels)


_LOSS_MISTAKES = {
    "T divides the teacher's logits only": lambda T, **x: _soft_loss(T=T, student_T=T, **x),
    "there is no factor T² in He et al.": lambda T, **x: _soft_loss(T=T, factor=T**2, **x),
    "T divides the teacher's logits only, and there is no factor T²": lambda T, **x: _soft_loss(
        T=T, student_T=T, factor=T**2, **x
    ),
    "T was not used": lambda T, **x: _soft_loss(T=1.0, **x),
    "s weighs the soft term, 1 − s the hard one: you exchanged them": lambda s, **x: _soft_loss(s=1 - s, **x),
    "cross-entropy is wanted, this is the Kullback-Leibler divergence": lambda **x: _soft_loss(
        **x, entropy=True
    ),
    "teacher and student are exchanged": lambda logits, teacher, **x: _soft_loss(teacher, logits, **x),
}
LOSS = (
    Check(
        "loss.only_hard",
        "soft_target_loss",
        0.5,
        "soft_target_loss(logits, teacher, labels, s, T)",
        lambda rng: {**_logits(rng, 4, 3), "s": 0.0},
        _soft_loss,
        {"s weighs the soft term, 1 − s the hard one": lambda s, **x: _soft_loss(s=1 - s, **x)},
        public=True,
    ),
    Check(
        "loss.mixed",
        "soft_target_loss",
        2,
        "soft_target_loss(logits, teacher, labels, s, T)",
        _logits,
        _soft_loss,
        _LOSS_MISTAKES,
    ),
)
