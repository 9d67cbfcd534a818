"""Bicubic resizing as the super-resolution field defines it: MATLAB's ``imresize``.

A resizer is part of the experiment: low-resolution images made by another one can cost a network more than
7 dB. This one differs from ``torch.nn.functional.interpolate`` in its kernel (Keys, a = -0.5 instead of
-0.75), in the antialiasing when it shrinks, and in how it continues the image past its border (mirrored,
not clamped).
"""

from __future__ import annotations

import math
import warnings

import torch


def cubic(t: torch.Tensor) -> torch.Tensor:
    """Keys' cubic convolution kernel with a = -1/2 (IEEE ASSP 29(6), 1981, eq. 15); zero for abs(t) >= 2."""
    t = t.abs()
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return torch.where(t <= 1, near, torch.where(t <= 2, far, torch.zeros_like(t)))


def resize_taps(length: int, scale: float, *, antialias: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Which input pixels make each output pixel of one axis, and with what weight.

    Args:
        length: Number of input pixels n.
        scale: Output pixels per input pixel.
        antialias: Stretch the kernel by 1/scale when shrinking, so that it is also the low-pass filter.

    Returns:
        Input indices (int64) and weights (float64), each ``[ceil(n * scale), taps]``; every row of weights
        sums to 1.
    """
    out_length = math.ceil(length * scale)
    stretch = scale if antialias and scale < 1 else 1.0
    taps = math.ceil(4 / stretch) + 2
    # Centre of output pixel x in input coordinates, both counted from 1 as in MATLAB.
    centre = torch.arange(1, out_length + 1, dtype=torch.float64) / scale + 0.5 * (1 - 1 / scale)
    index = torch.floor(centre - 2 / stretch)[:, None] + torch.arange(taps, dtype=torch.float64)
    weight = stretch * cubic(stretch * (centre[:, None] - index))
    weight = weight / weight.sum(1, keepdim=True)
    # Mirror with the edge pixel repeated: 1 2 3 continues as 1 2 3 | 3 2 1 | 1 2 3 …
    index = (index.long() - 1) % (2 * length)
    index = torch.minimum(index, 2 * length - 1 - index)
    used = (weight != 0).any(0)
    return index[:, used], weight[:, used]


def _resize_axis(images: torch.Tensor, scale: float, dim: int, antialias: bool) -> torch.Tensor:
    index, weight = resize_taps(images.shape[dim], scale, antialias=antialias)
    column = [-1 if d == dim else 1 for d in range(-images.ndim, 0)]
    total = 0
    for k in range(index.shape[1]):
        pixels = images.index_select(dim, index[:, k].to(images.device))
        total = total + pixels * weight[:, k].to(images).view(column)
    return total


def imresize(images: torch.Tensor, scale: float, *, antialias: bool = True) -> torch.Tensor:
    """Resize by MATLAB's bicubic ``imresize``; differentiable, on the tensor's own device.

    Args:
        images: Float tensor ``[N, C, H, W]`` or ``[C, H, W]``, any range.
        scale: Output pixels per input pixel, for example 1/4 to make the usual low-resolution image.
        antialias: Leave it on to shrink as the field does. Off, fine detail folds into false coarse patterns.

    Returns:
        ``[..., ceil(H * scale), ceil(W * scale)]`` in the input's dtype; like MATLAB's on floats, not
        clipped.

    Raises:
        TypeError: Not a floating-point tensor.
        ValueError: Wrong rank, an empty image, or a scale that is not a positive finite number.
    """
    if not isinstance(images, torch.Tensor) or not images.is_floating_point():
        kind = f"{images.dtype} tensor" if isinstance(images, torch.Tensor) else type(images).__name__
        raise TypeError(f"imresize takes a float tensor [N, C, H, W], not a {kind}: divide uint8 by 255.")
    if images.ndim not in (3, 4) or 0 in images.shape[-2:]:
        raise ValueError(
            f"imresize takes [N, C, H, W] or [C, H, W] with H, W >= 1, not {list(images.shape)}."
        )
    if not (isinstance(scale, int | float) and math.isfinite(scale) and scale > 0):
        raise ValueError(f"scale={scale!r}: give a positive number, such as 1/4 to shrink or 4 to enlarge.")
    if scale < 1 and not antialias:
        warnings.warn(
            "shrinking without antialiasing makes aliased images: networks trained on the field's "
            "low-resolution images lose several dB on them.",
            stacklevel=2,
        )
    # The last digit: official code sums in float32. Enlarging, four taps in order give its very bits;
    # shrinking, a float64 sum of sixteen taps is the nearest to it.
    work = images.to(torch.float64 if scale < 1 or images.dtype == torch.float64 else torch.float32)
    for dim in (-2, -1):
        work = _resize_axis(work, scale, dim, antialias)
    return work.to(images.dtype)
