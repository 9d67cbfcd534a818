"""The two losses that teach image and text towers to agree: choosing among many, and pair by pair."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def info_nce(image: torch.Tensor, text: torch.Tensor, temperature) -> torch.Tensor:
    """Symmetric InfoNCE (Radford et al. 2021, figure 3): image i chooses caption i among N, and the reverse.

    Args:
        image: Embeddings ``[N, D]`` of any length.
        text: Embeddings ``[N, D]``; caption i belongs to image i.
        temperature: A number or scalar tensor; the smaller, the more the hardest wrong pair counts.

    Raises:
        ValueError: Shapes that differ, or fewer than two pairs: one image has nothing to choose from.
    """
    logits = _cosines(image, text) / temperature
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def sigmoid_loss(image: torch.Tensor, text: torch.Tensor, temperature, bias) -> torch.Tensor:
    """SigLIP's loss (Zhai et al. 2023, algorithm 1): each of the N² pairs is a yes-or-no question.

    Args:
        image, text, temperature: As for :func:`info_nce`.
        bias: Added to every logit; it starts low, because nearly all pairs are wrong ones.

    Raises:
        ValueError: As for :func:`info_nce`.
    """
    logits = _cosines(image, text) / temperature + bias
    sign = 2 * torch.eye(len(logits), device=logits.device, dtype=logits.dtype) - 1
    return -F.logsigmoid(sign * logits).sum(dim=1).mean()


def _cosines(image, text):
    if image.shape != text.shape or image.ndim != 2 or len(image) < 2:
        raise ValueError(
            f"image has shape {list(image.shape)} and text {list(text.shape)}: a contrastive loss takes two "
            "matrices [N, D] of one shape, row i of both describing one pair, and at least two pairs."
        )
    return F.normalize(image, dim=1) @ F.normalize(text, dim=1).T
