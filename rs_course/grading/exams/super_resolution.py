"""Exam of A3, super-resolution: measure it, degrade for it, adapt and distil for it, and do it.

Expected values come from :mod:`rs_course.metrics` and :mod:`rs_course.superres`, which are tested against the
official codes; images from the simulated Earth, so every secret seed is a new part of it.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from rs_course.grading import exams as earth
from rs_course.grading.exam import Check, Exam, of_call
from rs_course.grading.exams.sr_quality import PSNR, SSIM
from rs_course.grading.exams.sr_upscaler import BLUR, SCALE, UPSCALER
from rs_course.grading.sandbox import Limits

# --- MATLAB's bicubic, with which the field makes its low resolution ---------------------------------------


def _cubic(x, a=-0.5):
    x = np.abs(np.asarray(x, dtype=np.float64))
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _one_sided(x):
    x = np.asarray(x, dtype=np.float64)
    return np.where(x >= 0, _cubic(x), 1 - 2.5 * x**2 + 1.5 * x**3)


def _downscale(images, scale):
    from rs_course.superres import imresize

    return imresize(images.double(), 1 / scale)


def _resample(images, scale, *, a=-0.5, antialias=True, shift=0.0, normalise=True, border="symmetric"):
    """Bicubic shrinking by ``scale`` as two matrix products, with one thing done differently."""

    def matrix(n):
        stretch = scale if antialias else 1
        taps = np.arange(-int(2 * stretch) - 2, int(2 * stretch) + 3)
        rows = np.zeros((n // scale, n))
        for out in range(n // scale):
            centre = (out + 0.5) * scale - 0.5 + shift
            where = int(np.floor(centre)) + taps
            weights = _cubic((where - centre) / stretch, a) / stretch
            if border == "symmetric":
                source = np.minimum(where % (2 * n), 2 * n - 1 - where % (2 * n))
            elif border == "edge":
                source = where.clip(0, n - 1)
            else:
                inside = (where >= 0) & (where < n)
                source, weights = where.clip(0, n - 1), weights * inside
            if normalise:
                weights = weights / weights.sum()
            np.add.at(rows[out], source, weights)
        return torch.from_numpy(rows)

    return matrix(images.shape[-2]) @ images.double() @ matrix(images.shape[-1]).T


def _resample_mistake(**change):
    return lambda images, scale: _resample(images, scale, **change)


def _interpolate(images, scale, **options):
    return F.interpolate(images.double(), scale_factor=1 / scale, **options)


_DOWNSCALE_MISTAKES = {
    "the kernel is not stretched: without antialiasing detail folds into false patterns": _resample_mistake(
        antialias=False
    ),
    "the pixel centres are off: output pixel i looks at (i + ½)·scale − ½": _resample_mistake(
        shift=-(SCALE - 1) / 2
    ),
    "the kernel has a = −0.75 (torch's and OpenCV's); MATLAB's is −0.5": _resample_mistake(a=-0.75),
    "beyond the border the image is mirrored, you repeated the edge pixel": _resample_mistake(border="edge"),
    "beyond the border the image is mirrored, you took zeros": _resample_mistake(
        border="zero", normalise=False
    ),
    "beyond the border the image is mirrored, you dropped the taps": _resample_mistake(border="zero"),
    "this is torch's bicubic interpolation without antialiasing": lambda images, scale: _interpolate(
        images, scale, mode="bicubic"
    ),
    "this is a mean over blocks, not bicubic": lambda images, scale: _interpolate(images, scale, mode="area"),
    "this keeps every fourth pixel, which is no filter at all": lambda images, scale: images[
        ..., ::scale, ::scale
    ],
    "the result was rounded or clipped: return the plain numbers": lambda images, scale: (
        _downscale(images, scale).clamp(0, 1).mul(255).round() / 255
    ),
}

_check_cubic = of_call("cubic", "cubic(x)", expected=_cubic, tolerance=1e-5)
_check_downscale = of_call("downscale", "downscale(images, scale)", expected=_downscale, tolerance=2e-5)
BICUBIC = (
    _check_cubic(
        "cubic.values",
        0.25,
        lambda rng: {"x": torch.tensor([-1.5, -0.5, 0.0, 0.25, 1.0, 1.75, 2.5])},
        mistakes={
            "a is −0.5 here, you took −0.75": lambda x: _cubic(x, -0.75),
            "a is −0.5 here, you took −1": lambda x: _cubic(x, -1.0),
            "the kernel is even: take |x| first": _one_sided,
        },
        public=True,
    ),
    _check_cubic(
        "cubic.anywhere",
        0.75,
        lambda rng: {"x": torch.from_numpy(rng.uniform(-3, 3, 40))},
        mistakes={
            "a is −0.5 here, you took −0.75": lambda x: _cubic(x, -0.75),
            "the kernel is even: take |x| first": _one_sided,
        },
    ),
    _check_downscale(
        "downscale.constant",
        0.5,
        lambda rng: {"images": torch.full((1, 3, 32, 48), 0.25), "scale": SCALE},
        mistakes={
            "the weights of each output pixel must add up to 1": _resample_mistake(
                border="zero", normalise=False
            )
        },
        tolerance=1e-4,
        public=True,
    ),
    _check_downscale(
        "downscale.scenes",
        2.5,
        lambda rng: {"images": earth.tensor(earth.tiles(rng, 2)), "scale": SCALE},
        mistakes=_DOWNSCALE_MISTAKES,
    ),
    _check_downscale(
        "downscale.other_scale",
        1,
        lambda rng: {"images": earth.tensor(earth.tiles(rng, 1))[..., :48, :36], "scale": 3},
        mistakes={
            "the scale is an argument, you always shrink by 4": lambda images, scale: _downscale(images, 4)
        },
    ),
)


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
