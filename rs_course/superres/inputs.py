"""Checks of what goes into a super-resolution network and of image pairs."""

from __future__ import annotations

import torch
from torch import nn

from rs_course.validation import image_batch


def network_input(images: torch.Tensor, network: nn.Module) -> torch.Tensor:
    """Check rank, channels and size before a forward pass; the range is left to the caller (it costs a
    pass over the data).

    Raises:
        TypeError: Not a float tensor.
        ValueError: Not three channels, or a side below the network's ``min_side``.
    """
    name = type(network).__name__
    if not isinstance(images, torch.Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, torch.Tensor) else type(images).__name__
        raise TypeError(
            f"{name} takes a float tensor [N, 3, h, w] in [0, 1], not {kind}: divide uint8 by 255."
        )
    if images.ndim != 4 or images.shape[1] != 3:
        hint = ""
        if images.ndim == 4 and images.shape[1] == 4:
            hint = " A fourth band (near infrared, alpha) has no place here: pass images[:, :3]."
        elif images.ndim == 3:
            hint = " For one image, add the batch axis: images[None]."
        raise ValueError(f"{name} takes [N, 3, h, w], not {list(images.shape)}.{hint}")
    if min(images.shape[-2:]) < network.min_side:
        height, width = images.shape[-2:]
        raise ValueError(
            f"{name} needs images of at least {network.min_side}×{network.min_side} pixels, not "
            f"{height}×{width}."
        )
    return images


def check_pair(low: torch.Tensor, high: torch.Tensor, scale: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Check that ``high`` is ``low`` enlarged ``scale`` times: same number of images, matching sides.

    Raises:
        ValueError: The sizes do not belong together; the sentence names the sizes that would.
    """
    low, high = image_batch(low, "low"), image_batch(high, "high")
    (n, _, h, w), (m, _, height, width) = low.shape, high.shape
    if n != m:
        raise ValueError(f"{n} low-resolution and {m} high-resolution images: pairs need equal numbers.")
    if (height, width) != (h * scale, w * scale):
        raise ValueError(
            f"low resolution {h}×{w} and high resolution {height}×{width} are no ×{scale} pair: crop the "
            "high-resolution "
            f"image to {h * scale}×{w * scale}, or make the low-resolution one from it with "
            "degradation.bicubic."
        )
    return low, high
