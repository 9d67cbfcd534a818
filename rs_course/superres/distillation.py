"""Spatial affinity distillation: the student learns which pixels the teacher finds alike.

DSCLoRA (Chai et al., arXiv 2504.11271) takes this loss from FAKD (He et al., ICIP 2020). Teacher and
student may differ in width, since an affinity matrix compares pixels, not channels; their maps must agree
in height and width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F


def affinity(features: torch.Tensor, *, normalise: bool = True) -> torch.Tensor:
    """Similarity of every pixel with every other.

    Args:
        features: ``[N, C, h, w]``.
        normalise: Divide each pixel's C-vector by its length plus 1e-8 first (cosine similarity, as FAKD's
            code does).

    Returns:
        ``[N, h·w, h·w]``. It grows with the square of the pixels: 21 MB an image for 48×48, 1 GB for 128×128.

    Raises:
        ValueError: Not four axes.
    """
    if features.ndim != 4:
        raise ValueError(f"features have shape {list(features.shape)}; affinity takes [N, C, h, w].")
    pixels = features.flatten(2)
    if normalise:
        pixels = pixels / (pixels.norm(dim=1, keepdim=True) + 1e-8)
    return pixels.transpose(1, 2) @ pixels


def spatial_affinity_loss(
    student: Sequence[torch.Tensor],
    teacher: Sequence[torch.Tensor],
    *,
    normalise: bool = True,
    reduction: str = "sum",
) -> torch.Tensor:
    """Mean absolute difference of affinity matrices, gathered over layers.

    Args:
        student: One ``[N, C, h, w]`` map per layer.
        teacher: As many maps with the same N, h, w; C may differ. No gradient flows into them.
        normalise: See :func:`affinity`.
        reduction: ``"sum"`` over layers (FAKD's code) or ``"mean"`` over layers (the paper's formula, read
            as dividing by all affinities); they differ by the number of layers, so the loss weight belongs
            to the choice.

    Returns:
        A scalar.

    Raises:
        ValueError: Different numbers of layers, sizes that do not match, or an unknown reduction.
    """
    if reduction not in ("sum", "mean"):
        raise ValueError(f"reduction={reduction!r}: choose 'sum' (FAKD) or 'mean' over layers.")
    if not student or len(student) != len(teacher):
        raise ValueError(f"{len(student)} student and {len(teacher)} teacher maps: give one pair per layer.")
    total = 0
    for s, t in zip(student, teacher, strict=True):
        if s.shape[0] != t.shape[0] or s.shape[-2:] != t.shape[-2:]:
            raise ValueError(
                f"student map {list(s.shape)} and teacher map {list(t.shape)} must agree in number, "
                "height and width."
            )
        difference = affinity(s, normalise=normalise) - affinity(t.detach(), normalise=normalise)
        total = total + difference.abs().mean()
    return total if reduction == "sum" else total / len(student)


def negative_psnr(pred: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Negative PSNR of each image in units of 100 dB, averaged: the score itself, so that smooth images
    count too.

    The mean squared error of a batch is nearly that of its roughest image. 60 dB is where this stops to care.
    """
    mse = (pred - high).square().mean((1, 2, 3))
    return 0.1 * torch.log10(mse + 1e-6).mean()


def distillation_loss(
    student_image: torch.Tensor,
    teacher_image: torch.Tensor,
    high: torch.Tensor,
    student_maps: Sequence[torch.Tensor] = (),
    teacher_maps: Sequence[torch.Tensor] = (),
    *,
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
    reconstruction: str = "l1",
) -> dict[str, torch.Tensor]:
    """L = λ1·L_rec + λ2·L_TS + λ3·L_AD: truth, the teacher's image, the teacher's affinities.

    Args:
        student_image: ``[N, 3, H, W]``.
        teacher_image: ``[N, 3, H, W]``; no gradient flows into it.
        high: The true images ``[N, 3, H, W]``.
        student_maps, teacher_maps: Maps for :func:`spatial_affinity_loss`; empty drops the term.
        weights: (λ1, λ2, λ3); the paper's values are not known with certainty, so ours are stated where
            they are used.
        reconstruction: Form of L_rec: ``"l1"``, ``"l2"``, or ``"psnr"``, the negative PSNR of each image
            over 100 dB.

    Returns:
        ``{"total", "reconstruction", "teacher", "affinity"}``, scalars.

    Raises:
        ValueError: Unknown form of L_rec, or images of different sizes.
    """
    forms = {"l1": F.l1_loss, "l2": F.mse_loss, "psnr": negative_psnr}
    if reconstruction not in forms:
        raise ValueError(f"reconstruction={reconstruction!r}: choose 'l1', 'l2' or 'psnr'.")
    if not student_image.shape == teacher_image.shape == high.shape:
        raise ValueError(
            f"student {list(student_image.shape)}, teacher {list(teacher_image.shape)} and truth "
            f"{list(high.shape)} "
            "must have one shape."
        )
    terms = {
        "reconstruction": forms[reconstruction](student_image, high),
        "teacher": F.l1_loss(student_image, teacher_image.detach()),
        "affinity": spatial_affinity_loss(student_maps, teacher_maps)
        if student_maps
        else student_image.new_zeros(()),
    }
    total = sum(weight * term for weight, term in zip(weights, terms.values(), strict=True))
    return {"total": total, **terms}
