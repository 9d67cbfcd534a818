"""Exam of A1, text-image alignment: measure it, train for it, and align pictures with captions from nothing.

The last question gives scenes of the simulated Earth with the captions that the simulator wrote for them,
and asks for a scorer that has never seen anything else; it is measured on other scenes and captions.
"""

from __future__ import annotations

import numpy as np

from rs_course.grading.exam import Check, Exam, Wrong, numbers
from rs_course.grading.exams import images as earth
from rs_course.grading.exams.al_measures import COSINE, PAIRS, RECALL, ZERO_SHOT
from rs_course.grading.sandbox import Limits


def _torch():
    import torch

    return torch


def _batch(rng, count=8, width=12):
    torch = _torch()
    text = torch.tensor(rng.normal(size=(count, width))) * torch.tensor(rng.uniform(0.5, 2, (count, 1)))
    image = text + torch.tensor(rng.normal(size=(count, width)))
    return {"image": image, "text": text, "scale": 10.0}


def _loss(image, text, scale, *, unit=True, sides=(0.5, 0.5), scaled=True, reduction="mean"):
    import torch.nn.functional as F

    torch = _torch()
    if unit:
        image, text = F.normalize(image, dim=1), F.normalize(text, dim=1)
    logits = (scale if scaled else 1.0) * image @ text.T
    right = torch.arange(len(logits))
    rows, columns = (F.cross_entropy(x, right, reduction=reduction) for x in (logits, logits.T))
    return sides[0] * rows + sides[1] * columns


_LOSS_MISTAKES = {
    "only the rows (image to text) were used: average both directions": lambda **x: _loss(**x, sides=(1, 0)),
    "only the columns (text to image) were used: average both directions": lambda **x: _loss(
        **x, sides=(0, 1)
    ),
    "the two directions are averaged, you added them": lambda **x: _loss(**x, sides=(1, 1)),
    "the embeddings must be divided by their lengths first": lambda **x: _loss(**x, unit=False),
    "scale was not used": lambda **x: _loss(**x, scaled=False),
    "scale is given as it is, without exp": lambda image, text, scale: _loss(image, text, np.exp(scale)),
    "the loss is the mean over the batch, you took the sum": lambda **x: _loss(**x, reduction="sum"),
}
CONTRAST = (
    Check(
        "loss.two_pairs",
        "contrastive_loss",
        0.5,
        "contrastive_loss(image, text, scale)",
        lambda rng: _batch(rng, 2, 3),
        _loss,
        _LOSS_MISTAKES,
        public=True,
    ),
    Check(
        "loss.batch",
        "contrastive_loss",
        2,
        "contrastive_loss(image, text, scale)",
        _batch,
        _loss,
        _LOSS_MISTAKES,
        1e-5,
    ),
)


def scenes_with_captions(rng, count):
    """Images ``[N, 3, 64, 64]``, the captions of view and land cover, and the class, which stays here."""
    scenes = earth.scenes(rng, count)
    captions = [" ".join(scene.captions[:2]) for scene in scenes]
    return earth.tensor(np.stack([s.image for s in scenes])), captions, [s.label for s in scenes]


def _exam_scenes(rng):
    images, captions, _ = scenes_with_captions(rng, 80)
    new_images, new_captions, classes = scenes_with_captions(rng, 40)
    return {
        "images": images,
        "captions": captions,
        "new_images": new_images,
        "new_captions": new_captions,
        "_classes": classes,
    }


def _colours_with_names(rng):
    """Plain red, green and blue tiles and what they are called."""
    torch = _torch()
    names = ["a red tile", "a green tile", "a blue tile"] * 4
    images = torch.eye(3)[torch.arange(12) % 3].view(12, 3, 1, 1).expand(12, 3, 64, 64) * 0.8
    noise = torch.tensor(rng.uniform(0, 0.1, (12, 3, 64, 64)), dtype=torch.float32)
    return {
        "images": (images + noise)[:9],
        "captions": names[:9],
        "new_images": (images + noise)[9:],
        "new_captions": names[9:],
        "_classes": names[9:],
    }


def agreement(value, inputs) -> float:
    """Share of captions of other classes that score below the image's own caption; chance is 0.5."""
    scores, classes = numbers(value), np.array(inputs["_classes"])
    count = len(classes)
    if scores.shape != (count, count):
        raise Wrong(
            f"the result has shape {list(scores.shape)}, expected {[count, count]}: images by captions"
        )
    if not np.isfinite(scores).all():
        raise Wrong("the result contains NaN or infinite values")
    other = classes[:, None] != classes[None]
    own = scores.diagonal()[:, None]
    # Equal scores decide nothing, so a constant scorer is worth 0 and not one half.
    return float((own > scores)[other].mean())


# Agreement on the hidden scenes: part of the points, and what is said below the next step.
STEPS = (
    (0.75, 1.0, ""),
    (0.6, 0.7, "better than chance, not yet good: give each image more numbers than its mean colour"),
    (0.53, 0.4, "hardly better than chance: do the words of a caption reach the score?"),
)


def _graded(value, inputs):
    reached = agreement(value, inputs)
    for least, fraction, sentence in STEPS:
        if reached >= least:
            if fraction == 1.0:
                return reached
            raise Wrong(sentence, fraction, measure=reached)
    raise Wrong("no better than chance: are images and captions in the same order?", measure=reached)


def _names_found(value, inputs):
    if agreement(value, inputs) < 1:
        raise Wrong("a red, a green and a blue tile are not matched with their names")


_ALIGN = "match(new_images, new_captions, fit(images, captions))"
ALIGNER = (
    Check("aligner.colours", "aligner", 0.5, _ALIGN, _colours_with_names, judge=_names_found, public=True),
    Check("aligner.hidden_scenes", "aligner", 4.5, _ALIGN, _exam_scenes, judge=_graded),
)

exam = Exam(
    name="a1_alignment",
    title="A1 Text-image alignment",
    checks=(*COSINE, *RECALL, *CONTRAST, *ZERO_SHOT, *PAIRS, *ALIGNER),
    leaderboard=("aligner.hidden_scenes", "agreement on hidden scenes"),
    preload=("numpy", "torch", "torch.nn.functional"),
    limits=Limits(step_s=60.0, wall_s=600.0),
)
