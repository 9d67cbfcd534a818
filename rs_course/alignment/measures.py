"""What is asked of image and text embeddings: retrieval, zero-shot classes, and the loss that teaches them.

Retrieval: is the right caption (image) among the first k for each image (caption)? Zero-shot classification:
classes are sentences, and an ensemble of sentences is one better sentence.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from .scorer import Scorer


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


def retrieval(similarity, image_of_text=None, *, k: tuple[int, ...] = (1, 5, 10)) -> Retrieval:
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


def ranks(similarity, image_of_text=None) -> tuple[torch.Tensor, torch.Tensor]:
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


def class_embeddings(scorer: Scorer, classes, templates=EUROSAT_TEMPLATES) -> torch.Tensor:
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


def zero_shot(scorer: Scorer, images, classes, templates=EUROSAT_TEMPLATES) -> torch.Tensor:
    """Probability of each class ``[N, C]``; ``.argmax(1)`` is the prediction.

    Softmax over the classes of exp(scale) · cosine, for SigLIP too: its bias is the same for all classes, and
    a classifier has to choose one.

    Raises:
        TypeError, ValueError: As :func:`class_embeddings` and :meth:`Scorer.image_embeddings`.
    """
    image = scorer.image_embeddings(images)
    cosines = image @ class_embeddings(scorer, classes, templates).to(image.device).T
    return (scorer.model.logit_scale.exp().item() * cosines).softmax(dim=1)


def info_nce(image: torch.Tensor, text: torch.Tensor, temperature) -> torch.Tensor:
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
