"""Checks of A3 about doing it: find the blur of an unknown sensor, and undo it on scenes nobody has seen.

The sensor is drawn with the exam: a Gaussian of two widths in some direction, its centre off the pixel grid.
Whoever assumes the degradation of the papers gains almost nothing here. The measure of a good answer is what
the same data allow to someone who *knows* the blur, computed with the exam, so that every seed is equally
hard.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from rs_course.grading import exams as earth
from rs_course.grading.exam import Check, Wrong, numbers, wrong_shape

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


def pairs(rng, count, kernel, side=128):
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


def _blur_check(name, points, call, inputs, public=False):
    return Check(
        f"blur.{name}",
        "blur",
        points,
        call,
        inputs,
        lambda _kernel, **_: _kernel,
        _BLUR_MISTAKES,
        3e-3,
        public=public,
    )


BLUR = (
    _blur_check("random_pixels", 0.5, "estimate_blur(low, high, size)", _seen_noise, public=True),
    _blur_check("scenes", 1.5, "estimate_blur(low / 255, high / 255, size)", _seen),
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


def gain(images, inputs) -> float:
    """Mean PSNR above that of bicubic enlargement, in dB (RGB, crop 4)."""
    from rs_course.metrics import psnr

    high = inputs["_high"].double()
    bicubic = enlarge(inputs["low"].double() / 255).clamp(0, 1)
    return float((psnr(images.double(), high, crop=SCALE) - psnr(bicubic, high, crop=SCALE)).mean())


# Share of the gain that knowing the blur gives: part of the points, and what is said below the next step.
STEPS = (
    (0.95, 1.0, ""),
    (0.8, 0.8, "nearly: project back several times, each difference through the blur's own transpose"),
    (0.55, 0.55, "a good part of what is possible: use the blur that you have estimated"),
    (
        0.25,
        0.25,
        "a little better than bicubic: neither forth nor back is this sensor's blur that of enlarge",
    ),
    (-0.05, 0.05, "no better than bicubic: find out what the sensor did, from the pairs"),
)


def _leaderboard(value, inputs):
    reached = gain(_upscaled(value, inputs), inputs)
    for least, fraction, sentence in STEPS:
        if reached >= least * inputs["_known"]:
            if fraction == 1.0:
                return reached
            raise Wrong(sentence, fraction, measure=reached)
    raise Wrong("worse than bicubic: are the pixels shifted, or the axes exchanged?", measure=reached)


_UPSCALE = "upscale(low / 255, fit(train_low / 255, train_high / 255))"
UPSCALER = (
    Check("upscaler.shape", "upscaler", 0.5, _UPSCALE, _small_pairs, judge=_runs, public=True),
    Check("upscaler.hidden_scenes", "upscaler", 3.5, _UPSCALE, _exam_pairs, judge=_leaderboard),
)
