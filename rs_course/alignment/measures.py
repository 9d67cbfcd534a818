"""What is asked of image and text embeddings: retrieval, zero-shot classes, minimal pairs; and their loss.

Retrieval: is the right caption (image) among the first k for each image (caption)? Zero-shot classification:
classes are sentences, and an ensemble of sentences is one better sentence.

Minimal pairs are a true and a false sentence that differ in one thing, judged against the simulator's truth.
A scorer that understands a relation prefers the true one; one that only recognises a bag of words ("river",
"village") is at chance where number, side, season or weather differ (Thrush et al. 2022; Yuksekgonul et al.
2023). Every pair of sentences is judged on two images, and what is true of the one is false of the other: the
same place in summer and in winter, an image and its mirror image, a river scene and a motorway scene. A
scorer that likes one sentence better whatever it is shown gets exactly one half.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike

from rs_course.metrics.intervals import Interval, wilson
from rs_course.simulated_earth.captions import MONTHS

from .scorer import Scorer

if TYPE_CHECKING:
    from rs_course.simulated_earth.scene import Scene


class Retrieval(NamedTuple):
    """Recall at k in both directions, as fractions.

    Attributes:
        image_to_text: ``{k: share of images with one of their own captions among the first k}``.
        text_to_image: ``{k: share of captions with their image among the first k}``.
        mean: Mean of all of these, the "mR" of remote-sensing papers.
    """

    image_to_text: dict[int, float]
    text_to_image: dict[int, float]
    mean: float


def retrieval(
    similarity: ArrayLike, image_of_text: ArrayLike | None = None, *, k: tuple[int, ...] = (1, 5, 10)
) -> Retrieval:
    """Recall at k of cross-modal retrieval, with any number of captions per image.

    Args:
        similarity: Cosine (or any score) of every image with every caption ``[N, M]``.
        image_of_text: The image that each caption describes ``[M]``; ``None`` where caption i belongs to
            image i. An image of several captions is found when the best ranked of them is among the first k.
        k: The ranks to report.

    Raises:
        ValueError: Shapes that do not fit, NaN, an image without caption, or k below 1.
    """
    if not k or min(k) < 1:
        raise ValueError(f"k={k}: ranks start at 1.")
    image_ranks, text_ranks = ranks(similarity, image_of_text)
    found = [{at: (r <= at).double().mean().item() for at in k} for r in (image_ranks, text_ranks)]
    every = [value for direction in found for value in direction.values()]
    return Retrieval(*found, mean=sum(every) / len(every))


def ranks(similarity: ArrayLike, image_of_text: ArrayLike | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Rank of the first right caption of each image ``[N]`` and of the right image of each caption ``[M]``.

    Rank 1 is best. A wrong candidate with the same score counts as ranked before the right one: a scorer that
    cannot tell them apart must not profit from their order.

    Raises:
        ValueError: As :func:`retrieval`.
    """
    similarity = torch.as_tensor(similarity)
    if similarity.ndim != 2 or similarity.numel() == 0:
        raise ValueError(f"similarity has shape {list(similarity.shape)}; it is a matrix [images, texts].")
    if torch.isnan(similarity).any():
        raise ValueError("similarity contains NaN.")
    images, texts = similarity.shape
    if image_of_text is None:
        if images != texts:
            raise ValueError(
                f"{images} images and {texts} texts: say with image_of_text which image each text describes."
            )
        owner = torch.arange(texts, device=similarity.device)
    else:
        owner = torch.as_tensor(image_of_text, device=similarity.device).long()
        if owner.shape != (texts,) or owner.min() < 0 or owner.max() >= images:
            raise ValueError(
                f"image_of_text has shape {list(owner.shape)} and must name one of the {images} images for "
                f"each of the {texts} texts."
            )
        alone = images - len(owner.unique())
        if alone:
            raise ValueError(f"{alone} of the {images} images have no text in image_of_text; leave them out.")
    own = owner == torch.arange(images, device=similarity.device)[:, None]  # [N, M]
    best = similarity.masked_fill(~own, -torch.inf).amax(dim=1, keepdim=True)
    image_ranks = 1 + ((similarity >= best) & ~own).sum(dim=1)
    right = similarity[owner, torch.arange(texts, device=similarity.device)]  # [M]
    text_ranks = ((similarity >= right) & ~own).sum(dim=0) + 1
    return image_ranks, text_ranks


# CLIP's own prompts for EuroSAT (github.com/openai/CLIP, data/prompts.md).
EUROSAT_TEMPLATES = (
    "a centered satellite photo of {}.",
    "a centered satellite photo of a {}.",
    "a centered satellite photo of the {}.",
)


def class_embeddings(
    scorer: Scorer, classes: Sequence, templates: Sequence[str] | None = EUROSAT_TEMPLATES
) -> torch.Tensor:
    """One embedding per class ``[C, D]``: the mean over templates, brought back to length one.

    The mean is taken of embeddings, not of probabilities (Radford et al. 2021).

    Args:
        scorer: Whose text tower.
        classes: Class names as a caption would say them ("annual crop land", not "AnnualCrop"); or for each
            class a list of finished prompts, which are used without the templates.
        templates: Sentences with one ``{}``.

    Raises:
        ValueError: No classes, no templates, or a template without ``{}``.
    """
    classes, templates = list(classes), [templates] if isinstance(templates, str) else list(templates)
    if len(classes) < 1:
        raise ValueError("classes is empty: zero-shot classification chooses among class names.")
    if broken := [template for template in templates if "{}" not in template]:
        raise ValueError(f"The template {broken[0]!r} has no {{}} for the class name.")
    prompts = [
        [template.format(name) for template in templates] if isinstance(name, str) else list(name)
        for name in classes
    ]
    if not all(prompts):
        raise ValueError("Every class needs at least one template or prompt.")
    embeddings = scorer.text_embeddings([prompt for group in prompts for prompt in group])
    means = [part.mean(dim=0) for part in embeddings.split([len(group) for group in prompts])]
    return F.normalize(torch.stack(means), dim=1)


def zero_shot(
    scorer: Scorer,
    images: np.ndarray | torch.Tensor,
    classes: Sequence,
    templates: Sequence[str] | None = EUROSAT_TEMPLATES,
) -> torch.Tensor:
    """Probability of each class ``[N, C]``; ``.argmax(1)`` is the prediction.

    Softmax over the classes of exp(scale) · cosine, for SigLIP too: its bias is the same for all classes, and
    a classifier has to choose one.

    Raises:
        TypeError, ValueError: As :func:`class_embeddings` and :meth:`Scorer.image_embeddings`.
    """
    image = scorer.image_embeddings(images)
    cosines = image @ class_embeddings(scorer, classes, templates).to(image.device).T
    return (scorer.model.logit_scale.exp().item() * cosines).softmax(dim=1)


def info_nce(image: torch.Tensor, text: torch.Tensor, temperature: float | torch.Tensor) -> torch.Tensor:
    """Symmetric InfoNCE (Radford et al. 2021, figure 3): image i chooses caption i among N, and the reverse.

    Args:
        image: Embeddings ``[N, D]`` of any length.
        text: Embeddings ``[N, D]``; caption i belongs to image i.
        temperature: A number or scalar tensor; the smaller, the more the hardest wrong pair counts.

    Raises:
        ValueError: Shapes that differ, or fewer than two pairs: one image has nothing to choose from.
    """
    if image.shape != text.shape or image.ndim != 2 or len(image) < 2:
        raise ValueError(
            f"image has shape {list(image.shape)} and text {list(text.shape)}: a contrastive loss takes two "
            "matrices [N, D] of one shape, row i of both describing one pair, and at least two pairs."
        )
    logits = F.normalize(image, dim=1) @ F.normalize(text, dim=1).T / temperature
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_OPPOSITE = dict(zip(MONTHS, MONTHS[6:] + MONTHS[:6], strict=True)) | {
    "summer": "winter", "winter": "summer", "spring": "autumn", "autumn": "spring",
    "left": "right", "right": "left",
}  # fmt: skip
_SEASON = re.compile(r"\bin ([A-Za-z]+)\.$")
_SIDE = re.compile(r"\b(left|right)\b")
_RIVER, _ROAD = "A river runs through the tile.", "A motorway runs through the tile."
_CLEAR, _CLOUDY, _CLOUD_COVER = "The sky is clear.", "Clouds cover about 50 percent of the tile.", 0.5


class MinimalPair(NamedTuple):
    """An image, what is true of it, and the same sentence made false.

    Attributes:
        image: uint8 ``[H, W, 3]``.
        true: A true sentence.
        false: The sentence with one thing changed.
        kind: What was changed, one of :data:`KINDS`.
    """

    image: np.ndarray
    true: str
    false: str
    kind: str


def minimal_pairs(scenes: Iterable, kinds: Iterable[str] | None = None) -> list[MinimalPair]:
    """Balanced minimal pairs from scenes, their captions and their facts.

    Args:
        scenes: Scenes of :func:`rs_course.simulated_earth.scene`. River and motorway pairs need both sorts of
            scenes, pairs about the number of villages scenes whose numbers differ by one.
        kinds: Which of :data:`KINDS`; all by default.

    Returns:
        Pairs, two for each comparison, with the truth swapped. A kind for which the scenes give nothing is
        absent.

    Raises:
        ValueError: An unknown kind.
    """
    return [MinimalPair(*made, kind) for kind, made in made_of(scenes, kinds, _MAKERS)]


def made_of(
    scenes: Iterable, kinds: Iterable[str] | None, makers: dict[str, Callable]
) -> Iterator[tuple[str, tuple]]:
    """What makers, by kind, find in scenes, each with its kind.

    Raises:
        ValueError: An unknown kind.
    """
    scenes, kinds = list(scenes), list(makers if kinds is None else kinds)
    if unknown := [kind for kind in kinds if kind not in makers]:
        raise ValueError(f"There is no kind {unknown[0]!r}: use {', '.join(makers)}.")
    yield from ((kind, made) for kind in kinds for made in makers[kind](scenes))


def minimal_pair_accuracy(scorer: Scorer, pairs: list[MinimalPair]) -> dict[str, Interval]:
    """How often the true sentence scores higher, for each kind, with Wilson's interval.

    Args:
        scorer: The scorer to examine.
        pairs: From :func:`minimal_pairs`; other ``(image, true, false, kind)`` do as well.

    Returns:
        ``{kind: interval}`` and ``"all"``. Chance is 0.5; a tie counts as half a success.

    Raises:
        ValueError: No pairs.
    """
    if not pairs:
        raise ValueError("There are no minimal pairs to judge: give more scenes or other kinds.")
    image = scorer.image_embeddings(np.stack([pair.image for pair in pairs]))
    true, false = (
        (image * scorer.text_embeddings([getattr(pair, side) for pair in pairs]).to(image.device)).sum(dim=1)
        for side in ("true", "false")
    )
    won = ((true > false).double() + (true == false).double() / 2).cpu().numpy()
    return won_by_kind([pair.kind for pair in pairs], won)


def won_by_kind(kinds: list[str], won: np.ndarray) -> dict[str, Interval]:
    """Share of ``won`` ``[N]`` (1, a half for a tie, or 0), by kind and over ``"all"``, with its interval."""
    names = np.array(kinds)
    masks = {kind: names == kind for kind in dict.fromkeys(kinds)} | {"all": names != ""}
    return {kind: wilson(float(won[m].sum()), int(m.sum())) for kind, m in masks.items()}


def _caption(scene, pattern: str) -> str | None:
    """The scene's first caption that matches."""
    return next((caption for caption in scene.captions if re.search(pattern, caption)), None)


def _turned(pattern: re.Pattern, sentence: str) -> str:
    """The sentence with each word that the pattern captures replaced by its opposite."""
    return pattern.sub(lambda found: found[0].replace(found[1], _OPPOSITE[found[1]]), sentence)


def _river_or_road(scenes):
    rivers = [s.image for s in scenes if s.facts["river"] and not s.facts["motorway"]]
    roads = [s.image for s in scenes if s.facts["motorway"] and not s.facts["river"]]
    for river, road in zip(rivers, roads, strict=False):
        yield river, _RIVER, _ROAD
        yield road, _ROAD, _RIVER


def _village_number(scenes):
    by_number = {}
    for scene in scenes:
        by_number.setdefault(len(scene.facts["villages"]), []).append(scene.image)
    for number in range(1, len(_NUMBERS) - 1):
        few, many = (_villages(n) for n in (number, number + 1))
        fewer, more = by_number.get(number, []), by_number.get(number + 1, [])
        for a, b in zip(fewer, more, strict=False):
            yield a, few, many
            yield b, many, few
        del more[: min(len(fewer), len(more))]  # an image is judged once


def _villages(number):
    return "There is one village." if number == 1 else f"There are {_NUMBERS[number]} villages."


def _side(scenes):
    for scene in scenes:
        for name in ("village", "pond"):
            places = scene.facts[name + "s"]
            caption = _caption(scene, rf"\b{name}s?,")
            # "On the left and on the right" stays true in the mirror.
            if caption and sorted(places) != sorted(_turned(_SIDE, place) for place in places):
                mirrored = _turned(_SIDE, caption)
                yield scene.image, caption, mirrored
                yield np.ascontiguousarray(scene.image[:, ::-1]), mirrored, caption
                break


def rerender(scene: Scene, **changed) -> Scene:
    """The same place under other conditions: arguments of :func:`rs_course.simulated_earth.scene`."""
    from rs_course.simulated_earth import scene as render

    m = scene.metadata
    told = {key: m[key] for key in ("cloud_cover", "gsd", "lon", "lat")}
    told["date"] = (m["year"], m["month"], m["day"])
    return render(scene.label, scene.seed, **told | changed)


def _season(scenes):
    for scene in scenes:
        caption = _caption(scene, _SEASON.pattern)
        word = caption and _SEASON.search(caption)[1]
        if word not in (scene.facts["season"], scene.facts["month"]):
            continue
        m = scene.metadata
        later = datetime.date(m["year"], (m["month"] + 5) % 12 + 1, min(m["day"], 28))
        other = rerender(scene, date=later)
        if _OPPOSITE[word] in (other.facts["season"], other.facts["month"]):
            turned = _turned(_SEASON, caption)
            yield scene.image, caption, turned
            yield other.image, turned, caption


def _sky(scenes):
    for scene in scenes:
        for cover, true, false in ((0.0, _CLEAR, _CLOUDY), (_CLOUD_COVER, _CLOUDY, _CLEAR)):
            yield rerender(scene, cloud_cover=cover).image, true, false


_MAKERS = {
    "river/road": _river_or_road,
    "number of villages": _village_number,
    "left/right": _side,
    "summer/winter": _season,
    "cloudy/clear": _sky,
}
KINDS = tuple(_MAKERS)
