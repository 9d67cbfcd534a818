"""Exam of A3, super-resolution: measure it, degrade for it, adapt and distil for it, and do it.

Expected values come from :mod:`rs_course.metrics` and :mod:`rs_course.superres`, which are tested against the
official codes; images from the simulated Earth, so every secret seed is a new part of it.
"""

from __future__ import annotations

import torch

from rs_course.grading.exam import Check, Exam, of_call
from rs_course.grading.exams.sr_bicubic import BICUBIC
from rs_course.grading.exams.sr_quality import PSNR, SSIM
from rs_course.grading.exams.sr_upscaler import BLUR, UPSCALER
from rs_course.grading.sandbox import Limits

# --- ConvLoRA ----------------------------------------------------------------------------------------------


def _lora(rng, out_channels, in_channels, rank, alpha):
    shapes = {
        "weight": (out_channels, in_channels, 3, 3),
        "A": (3 * rank, 3 * in_channels),
        "B": (3 * out_channels, 3 * rank),
    }
    factors = {name: torch.from_numpy(rng.normal(size=shape)) for name, shape in shapes.items()}
    return {**factors, "alpha": alpha}


def _update(weight, A, B, alpha):
    from rs_course.superres.conv_lora import delta_weight

    return delta_weight(A, B, weight.shape, alpha=alpha)


def _merged(weight, A, B, alpha):
    return weight + _update(weight, A, B, alpha)


def _permuted(weight, A, B, alpha):
    out_channels, in_channels, k, _ = weight.shape
    product = (B @ A).reshape(out_channels, k, in_channels, k).permute(0, 2, 1, 3)
    return weight + product * alpha / (len(A) // k)


_MERGE_MISTAKES = {
    "the kernel's own weight is missing: this is the update alone": _update,
    "the product is re-read row by row, you sorted its axes with permute": _permuted,
    "the scale alpha/r is missing": lambda weight, A, B, alpha: _merged(weight, A, B, len(A) // 3),
    "the scale is alpha/r, you multiplied by alpha only": lambda weight, A, B, alpha: _merged(
        weight, A, B, alpha * (len(A) // 3)
    ),
    "r is the rank, not the number of rows of A: A has r·k rows": lambda weight, A, B, alpha: _merged(
        weight, A, B, alpha / 3
    ),
    "the update is added, you subtracted it": lambda weight, A, B, alpha: _merged(weight, A, B, -alpha),
}

_check_merged_weight = of_call(
    "merged_weight", "merged_weight(weight, A, B, alpha)", expected=_merged, mistakes=_MERGE_MISTAKES
)
LORA = (
    _check_merged_weight("merge.small", 0.5, lambda rng: _lora(rng, 2, 3, 1, 1.0), public=True),
    _check_merged_weight("merge.kernel", 1.5, lambda rng: _lora(rng, 12, 8, 2, 5.0)),
)


# --- Spatial affinity --------------------------------------------------------------------------------------


def _features(rng, channels, side=(5, 7)):
    return torch.from_numpy(rng.normal(size=(2, channels, *side)))


def _affinity(features):
    from rs_course.superres.distillation import affinity

    return affinity(features)


def _affinity_loss(student, teacher, reduce="mean"):
    difference = _affinity(student) - _affinity(teacher)
    return {
        "mean": difference.abs().mean(),
        "sum": difference.abs().sum(),
        "square": (difference**2).mean(),
        "signed": difference.mean(),
    }[reduce]


def _over_image(features):
    pixels = features.flatten(2)
    pixels = pixels / pixels.norm(dim=(1, 2), keepdim=True)
    return pixels.transpose(1, 2) @ pixels


_AFFINITY_MISTAKES = {
    "each pixel's vector must be divided by its length first": lambda features: (
        features.flatten(2).transpose(1, 2) @ features.flatten(2)
    ),
    "the length is that of each pixel's vector, you took that of the whole map": _over_image,
    "the length is taken over the channels, you took it over the pixels": lambda features: (
        lambda p: p.transpose(1, 2) @ p
    )(features.flatten(2) / features.flatten(2).norm(dim=2, keepdim=True)),
    "this compares channels with channels: pixels belong on both sides": lambda features: (
        lambda p: p @ p.transpose(1, 2)
    )(features.flatten(2) / features.flatten(2).norm(dim=1, keepdim=True)),
    "height and width are exchanged: flatten keeps rows together": lambda features: _affinity(
        features.transpose(2, 3)
    ),
}

_check_affinity = of_call("affinity", "affinity(features)", expected=_affinity, mistakes=_AFFINITY_MISTAKES)
AFFINITY = (
    _check_affinity("affinity.map", 0.5, lambda rng: {"features": _features(rng, 3, (2, 2))}, public=True),
    _check_affinity("affinity.features", 1.5, lambda rng: {"features": _features(rng, 6)}),
    Check(
        "affinity.loss",
        "affinity",
        1,
        "affinity_loss(student, teacher)",
        lambda rng: {"student": _features(rng, 4), "teacher": _features(rng, 9)},
        _affinity_loss,
        {
            "the loss is a mean, you took the sum": lambda **maps: _affinity_loss(**maps, reduce="sum"),
            "the loss takes absolute values, you squared": lambda **maps: _affinity_loss(
                **maps, reduce="square"
            ),
            "without absolute values errors cancel": lambda **maps: _affinity_loss(**maps, reduce="signed"),
            "the loss must not be negative": lambda **maps: -_affinity_loss(**maps),
        },
    ),
)


exam = Exam(
    name="a3_super_resolution",
    title="A3 Super-resolution",
    checks=(*PSNR, *SSIM, *BICUBIC, *LORA, *AFFINITY, *BLUR, *UPSCALER),
    leaderboard=("upscaler.hidden_scenes", "PSNR gain over bicubic in dB"),
    preload=("numpy", "torch", "torch.nn.functional"),
    limits=Limits(step_s=60.0, wall_s=600.0),
    explain=("explain", "upscaler", "upscale"),
)
