"""Recipes of He et al. 2023 (ICLR, arXiv 2210.07574): how synthetic images are asked for, sorted and taught.

A recipe is written as its steps joined by ``+``: ``"language-enhancement+clip-filter+soft-targets"``.

========================  ==========================================================================
making the images
``basic``                 B: one template per class
``language-enhancement``  LE: many sentences per class
``real-guidance``         RG: SDEdit of the real shots
training with them
``clip-filter``           CF: keep what a scorer recognises as its class
``soft-targets``          SCE: half of the target comes from a zero-shot teacher
``paired``                mixed training: every step takes a real and a synthetic batch, weights 1:1
``pretrain``              first synthetic images, then real ones
========================  ==========================================================================

Without ``paired`` and ``pretrain``, real and synthetic images are pooled into one set.

Language enhancement in the paper is a T5 that turns the class name into sentences (:func:`t5_sentences`,
which needs the hub). Offline a grammar does it: view × subject × setting × time of year, in words that the
course's minis were trained on. For every other class, ``prompts`` is a dict that you write yourself.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from rs_course import seeds
from rs_course.checkpoints.prompts import LEVEL_TOKEN
from rs_course.classification.sets import Tiles
from rs_course.datasets import class_prompt
from rs_course.datasets.simulated import PHRASES

if TYPE_CHECKING:
    import torch

    from rs_course.alignment.scorer import Scorer

_SUBJECTS = {
    "AnnualCrop": ("fields of annual crops", "cropland"),
    "Forest": ("a dense forest", "closed woodland"),
    "HerbaceousVegetation": ("open scrub and grass", "natural grassland and shrubs"),
    "Highway": ("a motorway", "a wide road"),
    "Industrial": ("an industrial area", "factories and warehouses"),
    "Pasture": ("meadows and pasture", "grazing land"),
    "PermanentCrop": ("orchards and vineyards", "a patchwork of orchards"),
    "Residential": ("houses and streets", "a town"),
    "River": ("a river and its banks", "a stretch of river"),
    "SeaLake": ("open water", "a large body of water"),
}
_VIEWS = {
    "simulated": (
        "a satellite image of",
        "an overhead picture of",
        "a view from orbit of",
        "a Sentinel-2 view of",
    ),
    "eurosat": ("a Sentinel-2 image of", "a real Sentinel-2 tile with", "a Sentinel-2 picture that shows"),
}
_SETTINGS = {
    "open": ("", " next to green fields", " next to bare fields", " with trees", " with a village", " with a "
    "pond"),
    "built": ("", " with gardens", " with trees", " next to green fields", " with a wide road"),
    "wet": ("", " next to green fields", " with trees on the left", " with a village", " with a bridge"),
}  # fmt: skip
_KIND = {"Industrial": "built", "Residential": "built", "River": "wet", "SeaLake": "wet"}
_SEASONS = ("", " in spring", " in summer", " in autumn")


def class_prompts(
    making: str, classes: Sequence[str], *, dataset: str = "eurosat", count: int = 200, seed: int = 0
) -> dict[str, list[str]]:
    """Prompts of every class.

    Args:
        making: ``"basic"`` and ``"real-guidance"`` give one per class, ``"language-enhancement"`` ``count``.
        classes: Names among EuroSAT's ten.
        dataset: Whose look: ``"eurosat"`` or ``"simulated"`` (see :func:`rs_course.datasets.class_prompt`).
        count: Sentences per class of the enhancement, at most as many as the grammar has.
        seed: Of their order.

    Raises:
        ValueError: Unknown class, data set or way of making.
    """
    plain = {name: class_prompt(name, dataset) for name in classes}
    if making in ("basic", "real-guidance"):
        return {name: [prompt] for name, prompt in plain.items()}
    if making != "language-enhancement":
        raise ValueError(f"{making!r} makes no prompts: use basic, real-guidance or language-enhancement.")
    return {name: [plain[name], *_sentences(name, dataset, seed)][:count] for name in classes}


def _sentences(name: str, dataset: str, seed: int) -> list[str]:
    """All other sentences about a class, in the order that ``seed`` draws."""
    level, mark, _ = class_prompt(name, dataset).rpartition(LEVEL_TOKEN)
    subjects = (PHRASES[name], *_SUBJECTS[name])
    parts = product(_VIEWS[dataset], subjects, _SETTINGS[_KIND.get(name, "open")], _SEASONS)
    sentences = [level + mark + "".join([view, " ", *rest]) for view, *rest in parts]
    sentences.remove(class_prompt(name, dataset))
    order = np.random.default_rng([seed, list(PHRASES).index(name)]).permutation(len(sentences))
    return [sentences[i] for i in order]


def t5_sentences(
    words: str, count: int = 200, *, model: str = "mrm8488/t5-base-finetuned-common_gen", seed: int = 0
) -> list[str]:
    """Sentences about some words by a T5 that was fine-tuned on CommonGen, as in the paper's enhancement.

    The paper's prompt for EuroSAT is "a centered satellite photo of" and the sentence.

    Args:
        words: The class as its words ("highway", "permanent crop").
        count: Different sentences wanted; as in the authors' code 50 more are drawn, then repetitions
            removed.
        model: Hub id or local folder of a T5 in the layout of ``transformers``.
        seed: Of the drawing.

    Raises:
        FileNotFoundError: The model is neither a folder nor reachable.
    """
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        t5 = AutoModelForSeq2SeqLM.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"The T5 {model!r} is neither a folder nor reachable ({str(error).splitlines()[0]}): use the "
            "grammar, class_prompts('language-enhancement', ...)."
        ) from None
    with seeds.initial_weights(seed):
        drawn = t5.generate(
            **tokenizer(words, return_tensors="pt"),
            do_sample=True,
            num_return_sequences=count + 50,
            max_new_tokens=32,
        )
    return list(dict.fromkeys(tokenizer.batch_decode(drawn, skip_special_tokens=True)))[:count]


MAKING = ("basic", "language-enhancement", "real-guidance")
TEACHING = ("clip-filter", "soft-targets", "paired", "pretrain")
# Real guidance: share of the sampler's steps that is run on each real shot, by shots per class.
GUIDANCE_STRENGTH = {16: 0.15, 8: 0.20, 4: 0.35, 2: 0.40, 1: 0.50}


def parse(recipe: str) -> tuple[str, frozenset[str]]:
    """How the images are made, and the steps of training with them.

    Raises:
        ValueError: Unknown or contradicting steps.
    """
    steps = [step for step in recipe.split("+") if step]
    if unknown := [step for step in steps if step not in MAKING + TEACHING]:
        raise ValueError(
            f"There is no recipe {unknown[0]!r}: join some of {', '.join(MAKING + TEACHING)} with +."
        )
    making = [step for step in steps if step in MAKING]
    teaching = frozenset(steps) - frozenset(making)
    if len(making) > 1 or {"paired", "pretrain"} <= teaching:
        raise ValueError(
            f"The recipe {recipe!r} contradicts itself: choose one of {', '.join(making or teaching)}."
        )
    return (making or ["basic"])[0], teaching


def guidance_strength(shots: int) -> float:
    """Strength of real guidance for so many shots; between the published numbers the next larger strength.

    With many shots there is variety already, so the images may stay close; with one they must not.
    """
    if shots < 1:
        raise ValueError(f"Real guidance starts from real images; {shots} per class are none.")
    return next(strength for known, strength in GUIDANCE_STRENGTH.items() if shots >= known)


def clip_filter(probabilities: ArrayLike, labels: ArrayLike, *, threshold: float | None = None) -> np.ndarray:
    """CF: which synthetic images to keep, bool ``[N]``: p(own class) > 1/C.

    Args:
        probabilities: Of the classes, from a scorer (:func:`zero_shot_logits`, softmax) ``[N, C]``.
        labels: The class each image was made for ``[N]``.
        threshold: Another limit than 1/C.
    """
    p = np.asarray(probabilities)
    own = p[np.arange(len(p)), np.asarray(labels)]
    return own > (1 / p.shape[1] if threshold is None else threshold)


def best_of_each(probabilities: ArrayLike, labels: ArrayLike, count: int, *, seed: int = 0) -> np.ndarray:
    """CF with a number: ``count`` images of each class, at random among those that pass.

    As in the authors' code, a class with too few of them gets its ``count`` most probable images instead.

    Returns:
        int64 rows, classes taking turns.

    Raises:
        ValueError: A class has fewer than ``count`` images in all.
    """
    p, labels = np.asarray(probabilities), np.asarray(labels)
    keep, own, chosen = clip_filter(p, labels), p[np.arange(len(p)), labels], []
    for k in range(p.shape[1]):
        members = np.flatnonzero(labels == k)
        if len(members) < count:
            raise ValueError(
                f"Class number {k} has {len(members)} synthetic images, so {count} cannot be kept: generate "
                "more."
            )
        passed = np.random.default_rng([seed, k]).permutation(members[keep[members]])
        ranked = members[np.argsort(-own[members], kind="stable")]
        chosen.append(passed[:count] if len(passed) >= count else ranked[:count])
    return np.stack(chosen, axis=1).ravel()


def filtered(tiles: Tiles, probabilities: ArrayLike, *, threshold: float | None = None) -> Tiles:
    """The images that pass the filter.

    Raises:
        ValueError: A class loses all its images.
    """
    kept = tiles.take(clip_filter(probabilities, tiles.labels, threshold=threshold))
    if lost := [tiles.classes[k] for k in np.flatnonzero((kept.per_class() == 0) & (tiles.per_class() > 0))]:
        raise ValueError(
            f"The filter leaves no image of the class {lost[0]}: the scorer does not recognise it. Lower "
            "threshold=, or look at what was generated."
        )
    return kept


def retrieved(tiles: Tiles, probabilities: ArrayLike, count: int) -> Tiles:
    """``count`` unlabelled images for each class: the most probable of those that are likest to this class.

    The baseline that a generator has to beat where it was trained on the same images (Burg et al. 2023,
    arXiv 2304.10253; Geng et al. 2024, arXiv 2406.05184).

    Args:
        tiles: Images; their labels are not read.
        probabilities: Of the classes, from a scorer ``[N, C]``.
        count: Images for each class.

    Raises:
        ValueError: Too few images are likest to some class.
    """
    p = np.asarray(probabilities)
    likest, chosen = p.argmax(1), []
    for k, name in enumerate(tiles.classes):
        members = np.flatnonzero(likest == k)
        if len(members) < count:
            raise ValueError(
                f"The scorer finds {len(members)} images for the class {name}, and {count} are wanted: ask "
                "for fewer, or name another scorer."
            )
        chosen.append(members[np.argsort(-p[members, k], kind="stable")][:count])
    rows = np.stack(chosen, axis=1).ravel()
    return Tiles(tiles.images[rows], np.tile(np.arange(len(chosen)), count), tiles.classes)


def round_trip(tiles: Tiles, autoencoder: str) -> Tiles:
    """The same images, encoded and decoded: what a generator that works on these latents can at best draw.

    Args:
        tiles: Images.
        autoencoder: Name or folder of an ``AutoencoderKL`` ("mini-vae").
    """
    import torch
    from diffusers import AutoencoderKL

    from rs_course.checkpoints.images import pixels
    from rs_course.checkpoints.loading import load_model, locate

    vae, parts = load_model(AutoencoderKL, locate(autoencoder), torch.float32).eval(), []
    with torch.inference_mode():
        for start in range(0, len(tiles), 50):
            x = torch.tensor(tiles.images[start : start + 50]).permute(0, 3, 1, 2).float() / 127.5 - 1
            parts.append(pixels((vae.decode(vae.encode(x).latent_dist.mean).sample / 2 + 0.5).clamp(0, 1)))
    return Tiles(np.concatenate(parts), tiles.labels, tiles.classes)


def soft_targets(
    teacher_logits: ArrayLike, labels: ArrayLike, *, share: float = 0.5, temperature: float = 2.0
) -> np.ndarray:
    """SCE as targets ``[N, C]``: s · softmax(teacher / T) + (1 − s) · one-hot, s = 0.5, T = 2.

    The cross-entropy is linear in the target, so the cross-entropy with this one is He et al.'s loss
    s · H(teacher, student) + (1 − s) · CE(label, student). T divides the teacher's logits only, and there is
    no factor T².
    """
    p = softmax(np.asarray(teacher_logits) / temperature)
    return (share * p + (1 - share) * np.eye(p.shape[1])[np.asarray(labels)]).astype(np.float32)


def softmax(logits: ArrayLike) -> np.ndarray:
    """Probabilities ``[N, C]`` of logits, in float64."""
    return special.softmax(np.asarray(logits, np.float64), axis=1)


def zero_shot_logits(
    scorer: Scorer, images: np.ndarray | torch.Tensor, prompts: Sequence[str | Sequence[str]]
) -> np.ndarray:
    """exp(scale) · cosine of every image with every class ``[N, C]``.

    Args:
        scorer: From :func:`rs_course.alignment.load`.
        images: uint8 ``[N, H, W, 3]`` or float ``[N, 3, H, W]``.
        prompts: One sentence (or list of sentences) per class.
    """
    cosine = scorer.image_embeddings(images) @ _embeddings(scorer, prompts).T
    return (scorer.model.logit_scale.exp().item() * cosine).cpu().numpy()


def text_head(scorer: Scorer, prompts: Sequence[str | Sequence[str]]) -> torch.Tensor:
    """Weights ``[C, D]`` of the zero-shot classifier: exp(scale) · the class's text embedding.

    Args:
        scorer, prompts: As for :func:`zero_shot_logits`; of several sentences per class the mean is taken.
    """
    return scorer.model.logit_scale.exp().item() * _embeddings(scorer, prompts)


def _embeddings(scorer, prompts) -> torch.Tensor:
    from rs_course.alignment import class_embeddings

    return class_embeddings(scorer, [[p] if isinstance(p, str) else list(p) for p in prompts])
