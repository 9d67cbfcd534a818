"""Exam of A1, text-image alignment: measure it, train for it, and align pictures with captions from nothing.

The last question gives scenes of the simulated Earth with the captions that the simulator wrote for them,
and asks for a scorer that has never seen anything else; it is measured on other scenes and captions.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from rs_course.grading import exams as earth
from rs_course.grading.exam import Check, Exam, Wrong, numbers, of_call, wrong_shape
from rs_course.grading.exams.al_measures import COSINE, PAIRS, RECALL, ZERO_SHOT
from rs_course.grading.sandbox import Limits


def _batch(rng, count=8, width=12):
    text = torch.tensor(rng.normal(size=(count, width))) * torch.tensor(rng.uniform(0.5, 2, (count, 1)))
    image = text + torch.tensor(rng.normal(size=(count, width)))
    return {"image": image, "text": text, "scale": 10.0}


def _loss(image, text, scale, *, unit=True, sides=(0.5, 0.5), scaled=True, reduction="mean"):
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
_check_contrastive_loss = of_call(
    "contrastive_loss", "contrastive_loss(image, text, scale)", expected=_loss, mistakes=_LOSS_MISTAKES
)
CONTRAST = (
    _check_contrastive_loss("loss.two_pairs", 0.5, lambda rng: _batch(rng, 2, 3), public=True),
    _check_contrastive_loss("loss.batch", 2, _batch, tolerance=1e-5),
)


def _bag(captions, words, *, read=None, value=lambda said, word: float(word in said)):
    said = [(read or _read)(caption) for caption in captions]
    return np.array([[value(one, word) for word in words] for one in said])


def _read(caption):
    return caption.lower().replace(",", " ").replace(".", " ").split()


_BAG_MISTAKES = {
    "a word that occurs twice counts once": lambda **x: _bag(**x, value=lambda said, word: said.count(word)),
    "capital letters make no difference": lambda **x: _bag(
        **x, read=lambda caption: caption.replace(",", " ").replace(".", " ").split()
    ),
    "commas and full stops are no part of a word": lambda **x: _bag(
        **x, read=lambda caption: caption.lower().split()
    ),
    "whole words are wanted: “road” does not occur in “roads”": lambda **x: _bag(**x, read=str.lower),
    "the result is [captions, words], yours is transposed": lambda **x: _bag(**x).T,
}


def _captions(rng):
    """Captions of scenes, in which some words begin a sentence, end it, or occur twice."""
    scenes = earth.scenes(rng, 8)
    captions = [" ".join(scene.captions[:2]) for scene in scenes]
    words = sorted({word for caption in captions for word in _read(caption)})
    parts = sorted({word[:-1] for word in words if len(word) > 4})[:10]
    return {"captions": captions, "words": [str(word) for word in rng.permutation(words + parts)]}


_check_bag = of_call("words", "bag(captions, words)", expected=_bag, mistakes=_BAG_MISTAKES)
WORDS = (
    _check_bag(
        "words.three",
        0.25,
        lambda rng: {
            "captions": ["A river, and fields.", "Roads and roads."],
            "words": ["river", "roads", "road", "a", "fields"],
        },
        public=True,
    ),
    _check_bag("words.captions", 0.75, _captions),
)


def scenes_with_captions(rng, count):
    """Images uint8 ``[N, 3, 64, 64]``, the captions of view and land cover, and the classes."""
    scenes = earth.scenes(rng, count)
    captions = [" ".join(scene.captions[:2]) for scene in scenes]
    return earth.pixels(scenes), captions, [scene.label for scene in scenes]


def _hidden_order(rng, new_images, captions, classes):
    """New images with their captions in another order; which belongs to which stays here."""
    order = rng.permutation(len(captions))
    return {
        "new_images": new_images,
        "new_captions": [captions[place] for place in order],
        "_own": np.argsort(order),
        "_classes": np.array(classes),
    }


def _exam_scenes(rng):
    images, captions, _ = scenes_with_captions(rng, 80)
    return {"images": images, "captions": captions, **_hidden_order(rng, *scenes_with_captions(rng, 60))}


def _colours_with_names(rng):
    """Plain red, green and blue tiles and what they are called."""
    names = ["a red tile", "a green tile", "a blue tile"] * 4
    images = 200 * torch.eye(3)[torch.arange(12) % 3].view(12, 3, 1, 1).expand(12, 3, 64, 64)
    images = (images + torch.tensor(rng.integers(0, 25, (12, 3, 64, 64)))).to(torch.uint8)
    new = _hidden_order(rng, images[9:], names[9:], names[9:])
    return {"images": images[:9], "captions": names[:9], **new}


def agreement(value, inputs) -> float:
    """Share of captions of other classes that score below the image's own caption; chance is 0.5."""
    scores, own, classes = numbers(value), inputs["_own"], inputs["_classes"]
    count = len(classes)
    if scores.shape != (count, count):
        raise wrong_shape(scores.shape, (count, count), "the scores must be images by captions")
    if not np.isfinite(scores).all():
        raise Wrong("the result contains NaN or infinite values")
    own_scores = scores[np.arange(count), own][:, None]
    other = classes[:, None] != classes[np.argsort(own)][None]
    # Equal scores decide nothing, so a constant scorer is worth 0 and not one half.
    return float((own_scores > scores)[other].mean())


# Agreement on the hidden scenes: part of the points, and what is said below the next step.
STEPS = (
    (0.75, 1.0, ""),
    (0.71, 0.6, "better than chance, not yet good: give each image more numbers than its mean colour"),
    (0.58, 0.3, "hardly better than chance: do the words of a caption reach the score?"),
)


def _graded(value, inputs):
    reached = agreement(value, inputs)
    for least, fraction, sentence in STEPS:
        if reached >= least:
            if fraction == 1.0:
                return reached
            raise Wrong(sentence, fraction, measure=reached)
    raise Wrong(
        "no better than chance: is row i of the scores image i, and column j caption j?", measure=reached
    )


def _names_found(value, inputs):
    if agreement(value, inputs) < 1:
        raise Wrong("a red, a green and a blue tile are not matched with their names")


_ALIGN = "match(new_images / 255, new_captions, fit(images / 255, captions))"
ALIGNER = (
    Check("aligner.colours", "aligner", 0.5, _ALIGN, _colours_with_names, judge=_names_found, public=True),
    Check("aligner.hidden_scenes", "aligner", 3.5, _ALIGN, _exam_scenes, judge=_graded),
)

exam = Exam(
    name="a1_alignment",
    title="A1 Text-image alignment",
    checks=(*COSINE, *RECALL, *CONTRAST, *ZERO_SHOT, *PAIRS, *WORDS, *ALIGNER),
    leaderboard=("aligner.hidden_scenes", "agreement on hidden scenes"),
    preload=("numpy", "torch", "torch.nn.functional"),
    limits=Limits(step_s=60.0, wall_s=600.0),
    explain=("explain", "aligner", "fit"),
)
