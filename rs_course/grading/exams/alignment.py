"""Exam of A1, text-image alignment: measure it, train for it, and align pictures with captions from nothing.

The last question gives scenes of the simulated Earth with the captions that the simulator wrote for them,
and asks for a scorer that has never seen anything else; it is measured on other scenes and captions.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from rs_course.grading import exams as earth
from rs_course.grading.exam import Check, Exam, Wrong, by_steps, numbers, of_call, wrong_shape
from rs_course.grading.sandbox import Limits


def _normal(rng, *shape, scale=True):
    """Embeddings of very different lengths, as encoders give them before normalisation."""
    values = torch.tensor(rng.normal(size=shape))
    return values * torch.tensor(rng.uniform(0.3, 3.0, (*shape[:-1], 1))) if scale else values


def _unit(values, axis=-1):
    return values / values.norm(dim=axis, keepdim=True)


# --- Cosine similarity -------------------------------------------------------------------------------------


def _embeddings(rng, n=7, m=5, width=16):
    return {"images": _normal(rng, n, width), "texts": _normal(rng, m, width)}


def _cosine(images, texts):
    return _unit(images) @ _unit(texts).T


_COSINE_MISTAKES = {
    "both sides must be divided by their length": lambda images, texts: images @ texts.T,
    "the texts must be divided by their length too": lambda images, texts: _unit(images) @ texts.T,
    "the images must be divided by their length too": lambda images, texts: images @ _unit(texts).T,
    "the result is [images, texts], yours is transposed": lambda images, texts: _cosine(images, texts).T,
    "the length is taken over the features, you took it over the batch": lambda images, texts: (
        _unit(images, 0) @ _unit(texts, 0).T
    ),
    "divide by the length, not by its square": lambda images, texts: (
        (images / (images**2).sum(1, keepdim=True)) @ (texts / (texts**2).sum(1, keepdim=True)).T
    ),
}
_check_similarity = of_call(
    "similarity", "similarity(images, texts)", expected=_cosine, mistakes=_COSINE_MISTAKES
)
COSINE = (
    _check_similarity(
        "similarity.small",
        0.5,
        lambda rng: {
            "images": torch.tensor([[3.0, 4.0], [0.0, 2.0]]),
            "texts": torch.tensor([[1.0, 0.0], [5.0, 5.0], [0.0, -1.0]]),
        },
        public=True,
    ),
    _check_similarity("similarity.any", 1, _embeddings),
)


# --- Retrieval ---------------------------------------------------------------------------------------------


def _scores(rng, count=30):
    scores = torch.tensor(rng.normal(size=(count, count)))
    scores += torch.diag(torch.tensor(rng.uniform(0, 3, count))) + torch.tensor(rng.normal(size=(1, count)))
    return {"similarity": scores, "k": int(rng.choice([3, 5]))}


def _recalls(similarity, k):
    own = similarity.diagonal()
    to_text = ((similarity > own[:, None]).sum(1) < k).double().mean()
    to_image = ((similarity > own[None]).sum(0) < k).double().mean()
    return [to_text.item(), to_image.item()]


_RECALL_MISTAKES = {
    "the directions are exchanged: image to text comes first": lambda similarity, k: _recalls(
        similarity.T, k
    ),
    "you looked at k + 1 places": lambda similarity, k: _recalls(similarity, k + 1),
    "you looked at k − 1 places": lambda similarity, k: _recalls(similarity, k - 1),
    "k was ignored: this is recall at 1": lambda similarity, k: _recalls(similarity, 1),
    "large similarity means near: you sorted the other way": lambda similarity, k: _recalls(-similarity, k),
    "both directions gave the image-to-text value": lambda similarity, k: [_recalls(similarity, k)[0]] * 2,
    "shares are wanted, not counts": lambda similarity, k: [
        len(similarity) * r for r in _recalls(similarity, k)
    ],
}
_check_recall_at = of_call(
    "recall_at", "recall_at(similarity, k)", expected=_recalls, mistakes=_RECALL_MISTAKES
)
RECALL = (
    _check_recall_at(
        "recall.small",
        0.5,
        lambda rng: {
            "similarity": torch.tensor([[0.9, 0.8, 0.1], [0.95, 0.5, 0.2], [0.3, 0.6, 0.4]]),
            "k": 1,
        },
        public=True,
    ),
    _check_recall_at("recall.thirty", 2, _scores, tolerance=1e-6),
)


# --- Zero-shot classes -------------------------------------------------------------------------------------


def _prompts(rng, images=12, classes=4, templates=5, width=10):
    return {
        "images": _normal(rng, images, width),
        "prompts": _normal(rng, classes, templates, width) + 0.5 * _normal(rng, classes, 1, width),
        "scale": 20.0,
    }


def _probabilities(images, prompts, scale, *, first=True, again=True, scaled=True):
    mean = (_unit(prompts) if first else prompts).mean(1)
    mean = _unit(mean) if again else mean
    return ((scale if scaled else 1.0) * _unit(images) @ mean.T).softmax(1)


_ZERO_SHOT_MISTAKES = {
    "each prompt is divided by its length before the mean": partial(_probabilities, first=False),
    "the mean must be divided by its length again": partial(_probabilities, again=False),
    "scale multiplies the similarities before the softmax": partial(_probabilities, scaled=False),
    "the mean is over embeddings, you averaged probabilities over templates": lambda images, prompts, scale: (
        (scale * torch.einsum("nd,cpd->npc", _unit(images), _unit(prompts))).softmax(2).mean(1)
    ),
    "only the first template was used": lambda images, prompts, scale: _probabilities(
        images, prompts[:, :1], scale
    ),
    "the softmax goes over the classes": lambda images, prompts, scale: (
        scale * _unit(images) @ _unit(_unit(prompts).mean(1)).T
    ).softmax(0),
    "probabilities are wanted, these are similarities": lambda images, prompts, scale: (
        _unit(images) @ _unit(_unit(prompts).mean(1)).T
    ),
}
_check_zero_shot = of_call(
    "zero_shot", "zero_shot(images, prompts, scale)", expected=_probabilities, mistakes=_ZERO_SHOT_MISTAKES
)
ZERO_SHOT = (
    _check_zero_shot("zero_shot.one_template", 0.5, lambda rng: _prompts(rng, 3, 2, 1, 4), public=True),
    _check_zero_shot("zero_shot.templates", 2, _prompts, tolerance=1e-6),
)


# --- Minimal pairs with an interval ------------------------------------------------------------------------


def _pairs(rng, count=25):
    right = torch.tensor(rng.normal(0.3, 0.02, count))
    wrong = right - torch.tensor(rng.normal(0.012, 0.02, count))
    wrong[:3] = right[:3]  # A scorer that does not see the difference gives equal scores.
    return {"right": right, "wrong": wrong, "z": 1.96}


def _wilson(right, wrong, z, *, ties=0):
    n = len(right)
    hits = float((right > wrong).sum()) + ties * float((right == wrong).sum())
    share = hits / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return [share, centre - half, centre + half]


def _wald(right, wrong, z):
    share, n = float((right > wrong).double().mean()), len(right)
    half = z * np.sqrt(share * (1 - share) / n)
    return [share, share - half, share + half]


_PAIR_MISTAKES = {
    "a tie is no success: the scorer did not see the difference": partial(_wilson, ties=1),
    "a tie counts nothing, you counted half": partial(_wilson, ties=0.5),
    "this is the interval share ± z·√(share(1−share)/n), which fails near 0 and 1: Wilson's is wanted": _wald,
    "right and wrong are exchanged": lambda right, wrong, z: _wilson(wrong, right, z),
    "the share itself comes first, not the middle of the interval": lambda **x: (
        lambda s, low, high: [(low + high) / 2, low, high]
    )(*_wilson(**x)),
}
_check_pair_accuracy = of_call(
    "pair_accuracy", "pair_accuracy(right, wrong, z)", expected=_wilson, mistakes=_PAIR_MISTAKES
)
PAIRS = (
    _check_pair_accuracy(
        "pairs.all_right",
        0.5,
        lambda rng: {"right": torch.full((10,), 0.3), "wrong": torch.full((10,), 0.2), "z": 1.96},
        public=True,
    ),
    _check_pair_accuracy("pairs.some", 2, _pairs, tolerance=1e-6),
)


# --- The contrastive loss ----------------------------------------------------------------------------------


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
    "only the rows (image to text) were used: average both directions": partial(_loss, sides=(1, 0)),
    "only the columns (text to image) were used: average both directions": partial(_loss, sides=(0, 1)),
    "the two directions are averaged, you added them": partial(_loss, sides=(1, 1)),
    "the embeddings must be divided by their lengths first": partial(_loss, unit=False),
    "scale was not used": partial(_loss, scaled=False),
    "scale is given as it is, without exp": lambda image, text, scale: _loss(image, text, np.exp(scale)),
    "the loss is the mean over the batch, you took the sum": partial(_loss, reduction="sum"),
}
_check_contrastive_loss = of_call(
    "contrastive_loss", "contrastive_loss(image, text, scale)", expected=_loss, mistakes=_LOSS_MISTAKES
)
CONTRAST = (
    _check_contrastive_loss("loss.two_pairs", 0.5, lambda rng: _batch(rng, 2, 3), public=True),
    _check_contrastive_loss("loss.batch", 2, _batch, tolerance=1e-5),
)


# --- Aligning from nothing ---------------------------------------------------------------------------------


def _bag(captions, words, *, read=None, value=lambda said, word: float(word in said)):
    said = [(read or _read)(caption) for caption in captions]
    return np.array([[value(one, word) for word in words] for one in said])


def _read(caption):
    return caption.lower().replace(",", " ").replace(".", " ").split()


_BAG_MISTAKES = {
    "a word that occurs twice counts once": partial(_bag, value=lambda said, word: said.count(word)),
    "capital letters make no difference": partial(
        _bag, read=lambda caption: caption.replace(",", " ").replace(".", " ").split()
    ),
    "commas and full stops are no part of a word": partial(
        _bag, read=lambda caption: caption.lower().split()
    ),
    "whole words are wanted: “road” does not occur in “roads”": partial(_bag, read=str.lower),
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


def scenes_with_captions(rng: np.random.Generator, count: int):
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


def agreement(value: Any, inputs: dict) -> float:
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
    otherwise = "no better than chance: is row i of the scores image i, and column j caption j?"
    return by_steps(agreement(value, inputs), STEPS, otherwise)


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
