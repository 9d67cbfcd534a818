"""Checks of A3 about networks and sensors: adapt, distil, find an unknown blur, and undo it on unseen scenes.

The sensor is drawn with the exam: a Gaussian of two widths in some direction, its centre off the pixel grid.
Whoever assumes the degradation of the papers gains almost nothing here. The measure of a good answer is what
the same data allow to someone who *knows* the blur, computed with the exam, so that every seed is equally
hard.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from rs_course.grading import exams as earth
from rs_course.grading.exam import Check, Wrong, by_steps, numbers, of_call, wrong_shape

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
    from rs_course.superres.learning import affinity

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
        *("affinity.loss", "affinity", 1, "affinity_loss(student, teacher)"),
        lambda rng: {"student": _features(rng, 4), "teacher": _features(rng, 9)},
        _affinity_loss,
        {
            "the loss is a mean, you took the sum": partial(_affinity_loss, reduce="sum"),
            "the loss takes absolute values, you squared": partial(_affinity_loss, reduce="square"),
            "without absolute values errors cancel": partial(_affinity_loss, reduce="signed"),
            "the loss must not be negative": lambda **x: -_affinity_loss(**x),
        },
    ),
)


# --- The sensor --------------------------------------------------------------------------------------------

SCALE = 4
SIZE = 12  # of the blur's kernel, in pixels of the high resolution
ROUNDS = 10
# Classes with edges to restore; on a smooth tile (sea, forest) PSNR measures the rounding instead.
DETAILED = ("Residential", "Industrial", "Highway", "River", "PermanentCrop")


def blur(rng: np.random.Generator):
    """A sensor's kernel ``[SIZE, SIZE]`` with sum 1: an oblique Gaussian with its centre 0.7 to 1.5 off."""
    widths, angle = rng.uniform((1.4, 2.1), (1.9, 2.6)), rng.uniform(0.3, 1.2)
    down, right = rng.uniform(0.7, 1.5, 2) * rng.choice([-1, 1], 2)
    line = np.arange(SIZE) - (SIZE - 1) / 2
    y, x = np.meshgrid(line - down, line - right, indexing="ij")
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kernel = np.exp(-((along / widths[0]) ** 2 + (across / widths[1]) ** 2) / 2)
    return torch.tensor(kernel / kernel.sum(), dtype=torch.float32)


def sense(images, kernel):
    """What a sensor with this blur sees: every fourth pixel of the blurred images ``[N, 3, h, w]``."""
    margin = (len(kernel) - SCALE) // 2
    planes = F.pad(images.flatten(0, 1)[:, None], (margin,) * 4, mode="reflect")
    return F.conv2d(planes, kernel[None, None], stride=SCALE).view(*images.shape[:2], *_small(images))


def _small(images):
    return images.shape[-2] // SCALE, images.shape[-1] // SCALE


def pairs(rng: np.random.Generator, count: int, kernel, side=128):
    """Low and high resolution of scenes, uint8 ``[N, 3, side/4, side/4]`` and ``[N, 3, side, side]``."""
    crops = []
    for scene in earth.scenes(rng, count, DETAILED):
        top, left = rng.integers(0, scene.image_hr.shape[0] - side + 1, 2)
        crops.append(scene.image_hr[top : top + side, left : left + side])
    high = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()
    return _bytes(sense(high / 255, kernel)), high


def _bytes(images):
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


# --- The blur ----------------------------------------------------------------------------------------------


def _seen(rng, side=128, count=6):
    kernel = blur(rng)
    low, high = pairs(rng, count, kernel, side)
    return {"low": low, "high": high, "size": SIZE, "_kernel": kernel}


def _seen_noise(rng):
    """Random pixels, in which every weight of the kernel shows."""
    high = torch.tensor(rng.random((2, 3, 64, 64)), dtype=torch.float32)
    kernel = blur(rng)
    return {"low": sense(high, kernel), "high": high, "size": SIZE, "_kernel": kernel}


_BLUR_MISTAKES = {
    "rows and columns of the kernel are exchanged": lambda _kernel, **_: _kernel.T,
    "the kernel is upside down: conv2d does not flip it": lambda _kernel, **_: _kernel.flip(0, 1),
    "this is a box: the mean over the window": lambda _kernel, **_: np.full((SIZE, SIZE), 1 / SIZE**2),
}


_check_blur = of_call(
    "blur",
    "estimate_blur(low / 255, high / 255, size)",
    expected=lambda _kernel, **_: _kernel,
    mistakes=_BLUR_MISTAKES,
    tolerance=3e-3,
)
BLUR = (
    _check_blur("blur.random_pixels", 0.5, _seen_noise, "estimate_blur(low, high, size)", public=True),
    _check_blur("blur.scenes", 1.5, _seen),
)


# --- The upscaler ------------------------------------------------------------------------------------------


def _exam_pairs(rng):
    kernel = blur(rng)
    train_low, train_high = pairs(rng, 10, kernel)
    low, high = pairs(rng, 10, kernel)
    data = {"train_low": train_low, "train_high": train_high, "low": low, "_high": high / 255}
    return {**data, "_known": gain(knowing(low / 255, kernel), data)}


def _small_pairs(rng):
    kernel = blur(rng)
    low, high = pairs(rng, 3, kernel, side=64)
    return {"train_low": low[:2], "train_high": high[:2], "low": low[2:], "_high": high[2:] / 255}


def enlarge(images):
    """Bicubic, four times larger: the picture to beat."""
    return F.interpolate(images, scale_factor=SCALE, mode="bicubic")


def knowing(low, kernel):
    """What can be restored by back-projection when the blur is known: Landweber's iteration, ROUNDS times."""
    result, margin = enlarge(low), (len(kernel) - SCALE) // 2
    for _ in range(ROUNDS):
        missing = (low - sense(result, kernel)).flatten(0, 1)[:, None]
        back = F.conv_transpose2d(missing, kernel[None, None], stride=SCALE, padding=margin)
        result = result + SCALE**2 * back.view_as(result)
    return result.clamp(0, 1)


def _upscaled(value, inputs):
    given, high = numbers(value), inputs["_high"]
    if given.shape != tuple(high.shape):
        if given.shape == tuple(inputs["low"].shape):
            raise Wrong("the images were not enlarged")
        raise wrong_shape(given.shape, high.shape)
    if not np.isfinite(given).all():
        raise Wrong("the result contains NaN or infinite values")
    if given.max() > 4:
        raise Wrong("the result must lie in [0, 1], not in 0 to 255")
    return torch.from_numpy(given).clamp(0, 1)


def _runs(value, inputs):
    _upscaled(value, inputs)


def gain(images, inputs: dict) -> float:
    """Mean PSNR above that of bicubic enlargement, in dB (RGB, crop 4)."""
    from rs_course.metrics import psnr

    high = inputs["_high"].double()
    bicubic = enlarge(inputs["low"].double() / 255).clamp(0, 1)
    return float((psnr(images.double(), high, crop=SCALE) - psnr(bicubic, high, crop=SCALE)).mean())


_LITTLE = "a little better than bicubic: neither forth nor back is this sensor's blur that of enlarge"
# Share of the gain that knowing the blur gives: part of the points, and what is said below the next step.
STEPS = (
    (0.95, 1.0, ""),
    (0.8, 0.8, "nearly: project back several times, each difference through the blur's own transpose"),
    (0.55, 0.55, "a good part of what is possible: use the blur that you have estimated"),
    (0.25, 0.25, _LITTLE),
    (-0.05, 0.05, "no better than bicubic: find out what the sensor did, from the pairs"),
)


def _leaderboard(value, inputs):
    steps = [(least * inputs["_known"], fraction, sentence) for least, fraction, sentence in STEPS]
    otherwise = "worse than bicubic: are the pixels shifted, or the axes exchanged?"
    return by_steps(gain(_upscaled(value, inputs), inputs), steps, otherwise)


_UPSCALE = "upscale(low / 255, fit(train_low / 255, train_high / 255))"
UPSCALER = (
    Check("upscaler.shape", "upscaler", 0.5, _UPSCALE, _small_pairs, judge=_runs, public=True),
    Check("upscaler.hidden_scenes", "upscaler", 3.5, _UPSCALE, _exam_pairs, judge=_leaderboard),
)
