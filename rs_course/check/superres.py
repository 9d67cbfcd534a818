"""Checks of notebook 05: PSNR, merging ConvLoRA, the affinity matrix, and reported numbers that are wrong."""

from __future__ import annotations

import functools
import math

import torch

from rs_course.check.core import Mistake, call, diagnose, exercise
from rs_course.superres import conv_lora, distillation


@exercise(
    hints=(
        "Peak signal over noise: the peak is 1 here, the noise is the mean squared error of one image.",
        "Average over channels, rows and columns but not over images: .mean(dim=(1, 2, 3)).",
        "-10 * torch.log10((pred - target).square().mean(dim=(1, 2, 3)))",
    )
)
def psnr(student):
    """``student(pred, target)`` → PSNR in dB ``[N]`` of two batches in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(3, 3, 12, 10, generator=generator, dtype=torch.float64)
    spread = torch.tensor([0.02, 0.1, 0.3], dtype=torch.float64).view(3, 1, 1, 1)
    noise = spread * torch.randn(target.shape, generator=generator, dtype=torch.float64)
    pred = (target + noise).clamp(0, 1)
    error = pred - target
    mse = error.square().mean((1, 2, 3))
    want = -10 * torch.log10(mse)
    got = call(student, pred, target)
    if torch.is_tensor(got) and got.shape == torch.Size([]):
        if math.isclose(float(got), -10 * math.log10(error.square().mean()), rel_tol=1e-6):
            raise Mistake(
                "you pooled the squared error of all images before the logarithm; one bad image decides. "
                "Give one value per image"
            )
        if math.isclose(float(got), want.mean(), rel_tol=1e-6):
            raise Mistake("you averaged at the end; give one value per image and let the reader average")
    diagnose(
        got,
        want,
        {
            "you used the natural logarithm; decibels count tenths of powers of ten": -10 * torch.log(mse),
            "20·log10 belongs to the root of the mean squared error; without the root it is 10·log10": 2
            * want,
            "you took the root of the mean squared error but kept 10·log10": want / 2,
            "you averaged absolute errors; the noise power is the mean of squares": -10
            * torch.log10(error.abs().mean((1, 2, 3))),
            "you used 255 as the peak, but these images lie in [0, 1]: 48.13 dB too many": want
            + 20 * math.log10(255),
            "you divided by the image's own maximum; the peak is that of the format, 1": want
            + 20 * torch.log10(target.amax((1, 2, 3))),
            "you subtracted the means first: a wrong brightness is noise as well": -10
            * torch.log10(error.flatten(1).var(1, correction=0)),
            "you summed the channels' errors instead of averaging them": -10 * torch.log10(3 * mse),
        },
        name="PSNR",
    )
    return "one value per image, from its own mean squared error"


@exercise(
    hints=(
        "B @ A is a matrix of O·k rows and I·k columns; the kernel has the same number of entries.",
        "Reshape re-reads the product row by row into (O, I, k, k); the scale is alpha / r, r = "
        "A.shape[0] / k.",
        "weight + (B @ A).reshape(weight.shape) * alpha / (A.shape[0] // weight.shape[-1])",
    )
)
def merge(student):
    """``student(weight, A, B, alpha)`` → the merged kernel ``[O, I, k, k]`` of a ConvLoRA layer."""
    generator = torch.Generator().manual_seed(1)
    out, inn, k, rank, alpha = 4, 5, 3, 2, 5.0

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    weight, a, b = draw(out, inn, k, k), draw(rank * k, inn * k), draw(out * k, rank * k)
    delta = conv_lora.delta_weight(a, b, weight.shape, alpha=alpha)
    product = b @ a
    permuted = product.reshape(out, k, inn, k).permute(0, 2, 1, 3)
    scale = alpha / rank
    diagnose(
        call(student, weight, a, b, alpha),
        weight + delta,
        {
            "that is the update ΔW alone; add the frozen kernel": delta,
            "that is the frozen kernel; the update is missing": weight,
            "the scale alpha / r is missing": weight + delta / scale,
            "you scaled by alpha; it is alpha / r": weight + delta * rank,
            "you divided by the number of rows of A, which is r·k; r is that number over k": weight
            + delta / k,
            "you subtracted the update: that unmerges": weight - delta,
            "you scaled the frozen kernel as well": scale * weight + delta,
            "you permuted the product into kernel positions; the official layer re-reads it row by row "
            "(reshape, no permute)": weight + scale * permuted,
            "you read (O, I, k, k) with the two kernel axes swapped": weight + delta.transpose(2, 3),
            "you multiplied the transposes, Aᵀ Bᵀ; the product is B @ A": weight
            + scale * product.T.reshape(weight.shape),
        },
        name="the merged kernel",
    )
    return "W + reshape(B A)·alpha / r: one ordinary convolution, at no cost when it runs"


@exercise(
    hints=(
        "Each pixel is a vector of C numbers. Compare all pixels with all pixels, not channels with "
        "channels.",
        "Flatten to [N, C, h·w], divide by the norm over C (dim=1), multiply the transpose with it.",
        "f = features.flatten(2); f = f / f.norm(dim=1, keepdim=True); return f.transpose(1, 2) @ f",
    )
)
def affinity(student):
    """``student(features)`` → spatial affinity ``[N, h·w, h·w]`` of maps ``[N, C, h, w]``."""
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(2, 5, 3, 4, generator=generator, dtype=torch.float64)
    f = features.flatten(2)
    want = distillation.affinity(features)
    got = call(student, features)
    channels = f @ f.transpose(1, 2)
    if torch.is_tensor(got) and got.shape == channels.shape:
        raise Mistake(
            "you compared channels with channels ([N, C, C]), in which teacher and student differ; compare "
            "pixels: transpose the first factor"
        )
    if torch.is_tensor(got) and got.shape == want.shape[1:]:
        raise Mistake("you mixed the images of the batch; every image has its own matrix")
    across = f / f.norm(dim=2, keepdim=True)
    whole = f / f.flatten(1).norm(dim=1)[:, None, None]
    columns = features.transpose(2, 3).flatten(2)
    columns = columns / columns.norm(dim=1, keepdim=True)
    diagnose(
        got,
        want,
        {
            "you left out the normalisation: bright pixels now count more": f.transpose(1, 2) @ f,
            "you normalised over the pixels (dim=2); each pixel's own vector, over the channels (dim=1), has "
            "length one": across.transpose(1, 2) @ across,
            "you divided by one norm for the whole image; each pixel has its own": whole.transpose(1, 2)
            @ whole,
            "you normalised by the sum of squares; a length is its root": (
                f / f.square().sum(1, keepdim=True)
            ).transpose(1, 2)
            @ (f / f.square().sum(1, keepdim=True)),
            "you flattened columns before rows": columns.transpose(1, 2) @ columns,
            "a softmax makes it attention; affinity is the cosine itself": want.softmax(-1),
            "you subtracted the pixel's mean first: that is correlation, not cosine": _cosine(
                f - f.mean(1, keepdim=True)
            ),
            "you took distances (1 − cosine); affinity is 1 for equal pixels": 1 - want,
        },
        name="the affinity matrix",
        tol=1e-6,
    )
    return "cosine of every pixel with every other: 1 on the diagonal, whatever the number of channels"


def _cosine(f: torch.Tensor) -> torch.Tensor:
    unit = f / f.norm(dim=1, keepdim=True)
    return unit.transpose(1, 2) @ unit


CAUSES = {
    "aliased": "the low-resolution images were made without antialiasing",
    "data range": "the peak was taken as 255 for images in [0, 1]",
    "luma": "luma was measured where colour was announced",
    "wrap-around": "8-bit numbers were subtracted as 8-bit numbers, so that -1 became 255",
}


@functools.cache
def reports() -> dict[str, float]:
    """Five PSNR values in dB that five laboratories report for bicubic ×4 on the same three simulated scenes.

    "honest" is right: colour, crop 4, antialiased low resolution, mean over images. A to D each have a fault.
    """
    import warnings

    from rs_course import metrics
    from rs_course.superres import baselines, degradation, scenes
    from rs_course.superres.resize import imresize

    high, _ = scenes.high_resolution(count=5)
    high = high[[0, 3, 4]].double()
    restored = degradation.round8(baselines.bicubic(degradation.bicubic(high)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        aliased = degradation.round8(imresize(high, 1 / 4, antialias=False))
    a, b = ((255 * x).round().byte() for x in (restored, high))
    wrapped = (a - b)[..., 4:-4, 4:-4].double().square().mean((1, 2, 3))
    values = {
        "honest": metrics.psnr(restored, high, crop=4),
        "A": metrics.psnr(restored, high, crop=4) + 20 * math.log10(255),
        "B": 10 * torch.log10(255**2 / wrapped),
        "C": metrics.psnr(restored, high, crop=4, channel="y"),
        "D": metrics.psnr(baselines.bicubic(aliased), high, crop=4),
    }
    return {name: round(value.mean().item(), 2) for name, value in values.items()}


@exercise(
    hints=(
        "Compare each value with the honest one: by how many decibels, and is that a round number of "
        "something?",
        "20·log10(255) = 48.13. Luma PSNR lies one to four dB above colour PSNR. Bicubic loses little on "
        "aliased "
        "images (a network loses much). A wrapped difference turns every -1 into an error of 255.",
        "A is up by 48.13 dB: the data range. C is up by little: luma. D is down by little: aliased. B is no "
        "picture at all: wrap-around.",
    )
)
def wrong_metric(answers):
    """``answers``: dict from report letter "A" … "D" to a key of :data:`CAUSES`."""
    truth = {"A": "data range", "B": "wrap-around", "C": "luma", "D": "aliased"}
    if not isinstance(answers, dict) or set(answers) != set(truth):
        raise Mistake('give a dictionary with the keys "A", "B", "C" and "D"')
    if all(value in (None, ...) for value in answers.values()):
        raise NotImplementedError
    if unknown := [value for value in answers.values() if value not in CAUSES]:
        raise Mistake(f"{unknown[0]!r} is no cause; choose from {', '.join(map(repr, CAUSES))}")
    values = reports()
    for letter, cause in answers.items():
        if cause != truth[letter]:
            difference = values[letter] - values["honest"]
            raise Mistake(
                f"report {letter} differs from the honest value by {difference:+.2f} dB; that is not what "
                "happens "
                f"when {CAUSES[cause]}"
            )
    return "every number was computed correctly by some formula; only the convention tells them apart"
