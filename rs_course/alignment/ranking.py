"""Retrieval: is the right caption (image) among the first k for each image (caption)?"""

from __future__ import annotations

from typing import NamedTuple

import torch


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
