"""PSNR and SSIM as super-resolution papers report them, one value per image.

The same pair of images has many "PSNRs": colour or luma, with or without a border, rounded to 8 bits or
not. They differ by 1 to 4 dB, so a number without its convention means little. Here each choice is an
argument with the field's default, and :data:`CONVENTIONS` names the sets of choices that well-known code
bases make:

>>> psnr(pred, target, crop=4, **CONVENTIONS["basicsr_y"])  # doctest: +SKIP

All arithmetic is float64. Averages over a data set are means of per-image values, never a pooled error.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch

# BT.601 in studio range: luma of RGB in [0, 1], on the scale where 8-bit luma runs from 16 to 235.
LUMA = (65.481, 128.553, 24.966)
LUMA_OFFSET = 16.0

# Keyword arguments of `psnr` and `ssim` that reproduce each code base (the crop is chosen by the user
# there as here).
CONVENTIONS: dict[str, dict[str, Any]] = {
    # NTIRE's utils_image on colour: outputs clamped and rounded to 8 bits first.
    "official_rgb": {"channel": "rgb", "rounding": "image"},
    # Its luma, which is rounded to 8 bits once more.
    "official_y_rounded": {"channel": "y", "rounding": "image and luma"},
    "basicsr_rgb": {"channel": "rgb", "rounding": "image"},
    # What the tables of Set5, Set14, … report.
    "basicsr_y": {"channel": "y", "rounding": "image"},
    # basicsr's torch twins take floats and add 1e-8 to the mean squared error: identical images give 80 dB.
    "basicsr_pt_rgb": {"channel": "rgb", "epsilon": 1e-8},
    "basicsr_pt_y": {"channel": "y", "epsilon": 1e-8},
}


def luma(images: torch.Tensor, *, rounded: bool = False) -> torch.Tensor:
    """BT.601 luma in studio range, as MATLAB's ``rgb2ycbcr`` makes it (not OpenCV's full-range YCrCb).

    Args:
        images: RGB ``[N, 3, H, W]`` in [0, 1].
        rounded: Round to 8-bit steps.

    Returns:
        ``[N, 1, H, W]`` in [16/255, 235/255], so that the data range stays 1.
    """
    weights = torch.tensor(LUMA, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
    y = (images * weights).sum(1, keepdim=True) + LUMA_OFFSET
    return (y.round() if rounded else y) / 255


def _prepare(pred, target, channel: str, crop: int, data_range: float, rounding: str | None):
    """Check two batches; for each image a list of pairs for :func:`_plane`, without the border."""
    for name, images in (("pred", pred), ("target", target)):
        if not isinstance(images, torch.Tensor) or not images.is_floating_point():
            kind = images.dtype if isinstance(images, torch.Tensor) else type(images).__name__
            raise TypeError(f"{name} must be a float tensor [N, 3, H, W], not {kind}: divide uint8 by 255.")
        if images.ndim not in (3, 4) or images.shape[-3] != 3:
            raise ValueError(f"{name} has shape {list(images.shape)}; an image batch is [N, 3, H, W].")
    if pred.shape != target.shape:
        raise ValueError(
            f"pred {list(pred.shape)} and target {list(target.shape)} differ in size: crop both to the same "
            "region (the high-resolution image to a multiple of the scale, before it is shrunk)."
        )
    if channel not in ("rgb", "y"):
        raise ValueError(f"channel={channel!r}: choose 'rgb' or 'y' (BT.601 luma, studio range).")
    if rounding not in (None, "image", "image and luma"):
        raise ValueError(f"rounding={rounding!r}: choose None, 'image' or 'image and luma'.")
    if not data_range > 0:
        raise ValueError(
            f"data_range={data_range!r}: give the largest possible value, 1.0 for images in [0, 1]."
        )
    if not 0 <= 2 * crop < min(pred.shape[-2:]):
        raise ValueError(
            f"crop={crop} leaves nothing of an image of {pred.shape[-2]}×{pred.shape[-1]} pixels."
        )
    pred, target = (images.reshape(-1, *images.shape[-3:]) for images in (pred, target))
    for name, images in (("pred", pred), ("target", target)):
        low, high = (bound.double() / data_range for bound in images.aminmax())
        if not torch.isfinite(low + high):
            raise ValueError(f"{name} contains NaN or infinity.")
        if high > 2 or low < -0.5:
            raise ValueError(
                f"{name} has values in [{low * data_range:.3g}, {high * data_range:.3g}] but "
                f"data_range={data_range:g}: "
                "PSNR and SSIM need the range the images are on (1.0 for [0, 1], 255.0 for 8-bit values)."
            )
        if (high > 1 + 1e-3 or low < -1e-3) and not rounding:
            warnings.warn(
                f"{name} leaves [0, {data_range:g}]: clamp a network's output before it is measured, as "
                "the field does.",
                stacklevel=4,
            )
    if data_range > 1 and 0 < max(pred.max(), target.max()) <= 1:
        warnings.warn(
            f"all values are at most 1 but data_range={data_range:g}; were the images meant to be in [0, 1]?",
            stacklevel=4,
        )
    inner = (slice(crop, pred.shape[-2] - crop), slice(crop, pred.shape[-1] - crop))
    pairs = zip(pred, target, strict=True)
    if channel == "rgb":
        return [[(p[inner], t[inner]) for p, t in zip(*pair, strict=True)] for pair in pairs]
    return [[(p[:, *inner], t[:, *inner])] for p, t in pairs]


def _plane(part, data_range: float, rounding: str | None):
    """What is compared, ``[H, W]``, float64 on the scale of data range 1: one colour, or the luma of three.

    A plane is made when it is needed: so little stays in the processor's cache through all that follows.
    """
    part = part.double()
    if data_range != 1:
        part = part / data_range
    if rounding:
        part = (part.clamp(0, 1) * 255).round() / 255
    return part if part.ndim == 2 else luma(part[None], rounded=rounding == "image and luma")[0, 0]


def psnr(
    pred: torch.Tensor, target: torch.Tensor, *, channel: str = "rgb", crop: int = 0, data_range: float = 1.0,
    rounding: str | None = None, epsilon: float = 0.0,
) -> torch.Tensor:  # fmt: skip
    """Peak signal-to-noise ratio, 10·log10(1 / MSE) on the scale where the data range is 1.

    Args:
        pred: Float ``[N, 3, H, W]`` (or one ``[3, H, W]``).
        target: The truth, same shape.
        channel: ``"rgb"``, all three channels jointly, or ``"y"``, BT.601 luma in studio range. Say which
            you report.
        crop: Border pixels ignored on each side; the field takes the scale.
        data_range: Largest possible value: 1.0 for [0, 1], 255.0 for 8-bit values as floats.
        rounding: ``None``; ``"image"`` clamps and rounds both to 8 bits (half to even) first; ``"image and
            luma"`` also rounds the luma.
        epsilon: Added to the mean squared error, as some code does.

    Returns:
        float64 ``[N]`` in decibels; infinite for identical images unless ``epsilon`` is given.

    Raises:
        TypeError: Not float tensors.
        ValueError: Shapes that differ, an unknown choice, a crop too large, or values off the data range.
    """
    images = _prepare(pred, target, channel, crop, data_range, rounding)
    squares = [
        _mean_square(_plane(one, data_range, rounding) - _plane(truth, data_range, rounding))
        for parts in images
        for one, truth in parts
    ]
    mse = torch.stack(squares).view(len(images), -1).mean(1)
    return -10 * torch.log10(mse + epsilon)


def _mean_square(error):
    error = error.flatten()
    return error.dot(error) / len(error)


def ssim(
    pred: torch.Tensor, target: torch.Tensor, *, channel: str = "rgb", crop: int = 0, data_range: float = 1.0,
    rounding: str | None = None, epsilon: float = 0.0, return_map: bool = False,
) -> torch.Tensor:  # fmt: skip
    """Structural similarity as the field reports it (Wang et al., IEEE TIP 13(4), 2004).

    An 11×11 Gaussian window (sigma 1.5), biased moments, K1 = 0.01, K2 = 0.03, only where the window lies
    inside the image; each channel by itself, then the mean. ``skimage`` (uniform 7×7 window) and
    ``torchmetrics`` (reflected border) differ by default.

    Args:
        pred, target, channel, crop, data_range, rounding: As for :func:`psnr`.
        epsilon: Accepted so that one entry of :data:`CONVENTIONS` serves both measures; SSIM has none.
        return_map: Return the map ``[N, C, H - 10, W - 10]`` that the value is the mean of.

    Returns:
        float64 ``[N]``, at most 1.

    Raises:
        TypeError, ValueError: As for :func:`psnr`; also when less than 11 pixels remain after the crop.
    """
    images = _prepare(pred, target, channel, crop, data_range, rounding)
    height, width = (side - 2 * crop for side in pred.shape[-2:])
    if min(height, width) < 11:
        raise ValueError(f"SSIM needs at least 11×11 pixels after the crop; {height}×{width} are left.")
    maps = (
        [_similarity(*(_plane(part, data_range, rounding) for part in pair)) for pair in parts]
        for parts in images
    )
    if return_map:
        return torch.stack([torch.stack(planes) for planes in maps])
    return torch.stack([torch.stack([one.mean() for one in planes]).mean() for planes in maps])


def _similarity(pred, target):
    """Map of SSIM ``[H - 10, W - 10]``. The two variances occur as a sum only, which saves a blur."""
    mean_p, mean_t = _blur(pred), _blur(target)
    means, squares = mean_p * mean_t, mean_p * mean_p + mean_t * mean_t
    covariance = _blur(pred * target) - means
    variances = _blur(pred * pred + target * target) - squares
    c1, c2 = 0.01**2, 0.03**2
    return (2 * means + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))


def _blur(x):
    """The 11×11 Gaussian where it lies inside the image: sums of shifted images, down and then across.

    Convolution in float64 has no fast kernel on a CPU; this is over ten times faster.
    """
    weights = [math.exp(-(k**2) / (2 * 1.5**2)) for k in range(-5, 6)]
    for dim in (-2, -1):
        size = x.shape[dim] - 10
        total = x.narrow(dim, 5, size) * (weights[5] / sum(weights))
        for k in range(5):
            for start in (k, 10 - k):
                total.add_(x.narrow(dim, start, size), alpha=weights[k] / sum(weights))
        x = total
    return x
