"""Train super-resolution networks: pairs of patches, a first guess, and losses for the course's loop.

Spatial affinity distillation: the student learns which pixels the teacher finds alike. DSCLoRA (Chai et al.,
arXiv 2504.11271) takes this loss from FAKD (He et al., ICIP 2020). Teacher and student may differ in width,
since an affinity matrix compares pixels, not channels; their maps must agree in height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from rs_course import training_loop
from rs_course.deprecation import old_arguments, warn_renamed
from rs_course.superres import degradation
from rs_course.superres.networks import IMAGE_RANGE, SPAN
from rs_course.training_loop import EMA, Budget, Progress, Recipe, by_step, cosine_decay


def pairs(images: np.ndarray, scale: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 ``[M, H, W, 3]`` → uint8 low ``[M, 3, H/4, W/4]`` (bicubic) and high ``[M, 3, H, W]``."""
    high = degradation.modcrop(torch.from_numpy(images).permute(0, 3, 1, 2), scale).contiguous()
    low = torch.cat([degradation.bicubic(part.float() / 255, scale) for part in high.split(32)])
    return (low * 255).round().byte(), high


@old_arguments(batch="batch_size", start="first_step")
def batches(pools: Any, *, batch_size: int, patch: int, seed: int, first_step: int = 0) -> Iterator[tuple]:
    """Yield (low, high) float patches, flipped and turned at random; step k depends on (seed, k) alone.

    Args:
        pools: List of (low, high) from :func:`pairs`; every pool is drawn from equally often.
        batch_size: Patches a step.
        patch: Side in low-resolution pixels.
        seed: Of the draws.
        first_step: Number of the first one.
    """

    def batch(draw):
        lows, highs = [], []
        for _ in range(batch_size):
            low, high = pools[draw.integers(len(pools))]
            scale, i = high.shape[-1] // low.shape[-1], draw.integers(len(low))
            y, x = draw.integers(low.shape[-2] - patch + 1), draw.integers(low.shape[-1] - patch + 1)
            turns, mirrored = int(draw.integers(4)), draw.integers(2)
            for images, factor, into in ((low, 1, lows), (high, scale, highs)):
                cut = images[i, :, y * factor : (y + patch) * factor, x * factor : (x + patch) * factor]
                into.append(torch.rot90(cut.flip(-1) if mirrored else cut, turns, (-2, -1)))
        return torch.stack(lows).float() / 255, torch.stack(highs).float() / 255

    return by_step(batch, seed)(first_step)


@torch.no_grad()
def start_as_interpolation(network: SPAN) -> SPAN:
    """Set a merged network's first weights so that it starts as a bilinear enlargement plus a little noise.

    SPAN has no shortcut from input to output and must otherwise learn to interpolate before anything else.
    After a minute on one core (UC Merced, a test of ours) it was 0.7 dB above bicubic this way, 1.6 dB
    below otherwise.
    """
    first, last, scale = network.conv_1.eval_conv, network.upsampler[0], network.scale
    offset = (torch.arange(scale) + 0.5) / scale - 0.5
    line = torch.stack([(-offset).clamp(min=0), 1 - offset.abs(), offset.clamp(min=0)], dim=1)
    kernel = torch.einsum("ai,bj->abij", line, line).reshape(scale**2, 3, 3)
    for layer in (first, network.conv_cat):
        layer.weight[:3] = 0
        layer.bias[:3] = 0
    last.weight *= 0.01
    for c in range(3):
        first.weight[c, c, 1, 1] = 1
        network.conv_cat.weight[c, c] = 1
        rows = slice(c * scale**2, (c + 1) * scale**2)
        last.weight[rows, c] = kernel / IMAGE_RANGE
        last.bias[rows] = network.mean[0, c]
    return network


def recipe(lr: float) -> Recipe:
    """Adam with a short warm-up and a cosine to 2 % of ``lr``."""
    return Recipe(lr, cosine_decay(0.02), warmup=50, weight_decay=0.0)


def train(
    network: torch.nn.Module, data: Callable[[int], Iterator[tuple]],
    loss: Callable[..., dict[str, torch.Tensor]], budget: Budget, *, lr: float, **options,
) -> Iterator[Progress]:  # fmt: skip
    """Train what is trainable in ``network``, in place; yields after each step.

    Args:
        network: Its weights jump about to the end; give ``ema=training_loop.EMA(network)``, and enlarge with
            the average that it holds.
        data: Called with the first step to make; gives the iterator of (low, high).
        loss: Called with (network, low, high); returns a dict whose ``"total"`` is minimised.
        budget: Length of the training.
        lr: Largest learning rate; see :func:`recipe`.
        options: Of :func:`rs_course.training_loop.fit`.
    """

    def of_patches(batch, _):
        low, high = batch
        return loss(network, low.contiguous(memory_format=torch.channels_last), high)

    return training_loop.fit(network, data, of_patches, recipe(lr), budget, **options)


def fit(network: torch.nn.Module, data: Any, loss: Callable, *, steps: int, rate: float) -> Iterator[tuple]:
    """The old name of :func:`train`, which averaged in place; goes with the next version."""
    warn_renamed("superres.learning.fit", "superres.learning.train")
    ema = EMA(network)
    for progress in train(network, data, loss, Budget(steps=steps), lr=rate, ema=ema):
        yield progress.step + 1, {"total": progress.loss, **progress.terms}
    network.load_state_dict(ema.module.state_dict())


def absolute(
    network: torch.nn.Module, low: torch.Tensor, high: torch.Tensor, *, dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    """Mean absolute error, computed in ``dtype``: the faster one makes nearly twice the steps."""
    with torch.autocast(low.device.type, dtype, enabled=dtype != torch.float32):
        enlarged = network(low)
    return {"total": F.l1_loss(enlarged.float(), high)}


def decibels(network: torch.nn.Module, low: torch.Tensor, high: torch.Tensor) -> dict[str, torch.Tensor]:
    """The score itself: negative PSNR of each patch in units of 100 dB."""
    return {"total": negative_psnr(network(low), high)}


def distilled(
    teacher: SPAN, weights: tuple[float, float, float], *, reconstruction: str = "l1"
) -> Callable[..., dict[str, torch.Tensor]]:
    """DSCLoRA's loss on the nine maps its repository returns: the convolutions of blocks 1 to 3.

    Args:
        teacher: Frozen; any width.
        weights, reconstruction: As in :func:`~rs_course.superres.learning.distillation_loss`.
    """

    def loss(network, low, high):
        image, maps = network(low, return_features=True)
        with torch.no_grad():
            teacher_image, teacher_maps = teacher(low, return_features=True)
        both = (maps["convolutions"], teacher_maps["convolutions"])
        options = {"weights": weights, "reconstruction": reconstruction}
        return distillation_loss(image, teacher_image, high, *both, **options)

    return loss


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
    forms: dict[str, Callable] = {"l1": F.l1_loss, "l2": F.mse_loss, "psnr": negative_psnr}
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
        "affinity": student_image.new_zeros(()),
    }
    if student_maps:
        terms["affinity"] = spatial_affinity_loss(student_maps, teacher_maps)
    total = sum(weight * term for weight, term in zip(weights, terms.values(), strict=True))
    return {"total": total, **terms}
