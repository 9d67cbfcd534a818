"""Checks of A1 about measures: cosine similarity, retrieval, zero-shot classes, and minimal pairs."""

from __future__ import annotations

import numpy as np
import torch

from rs_course.grading.exam import of_call


def _normal(rng, *shape, scale=True):
    """Embeddings of very different lengths, as encoders give them before normalisation."""
    values = torch.tensor(rng.normal(size=shape))
    return values * torch.tensor(rng.uniform(0.3, 3.0, (*shape[:-1], 1))) if scale else values


def _unit(values, axis=-1):
    return values / values.norm(dim=axis, keepdim=True)


# Cosine similarity.


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


# Retrieval.


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


# Zero-shot classes.


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
    "each prompt is divided by its length before the mean": lambda **x: _probabilities(**x, first=False),
    "the mean must be divided by its length again": lambda **x: _probabilities(**x, again=False),
    "scale multiplies the similarities before the softmax": lambda **x: _probabilities(**x, scaled=False),
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


# Minimal pairs with an interval.


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
    "a tie is no success: the scorer did not see the difference": lambda **x: _wilson(**x, ties=1),
    "a tie counts nothing, you counted half": lambda **x: _wilson(**x, ties=0.5),
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
