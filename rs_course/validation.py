"""Checks of inputs that several modules share; each error is one sentence that says what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def image_batch(images: Any, name: str = "images", *, channels: int | None = 3) -> torch.Tensor:
    """Check the package's image convention and return a float tensor.

    Args:
        images: Float tensor ``[N, C, H, W]`` (or one image ``[C, H, W]``) with values in [0, 1].
        name: What the caller calls this argument, for the message.
        channels: Required number of channels, or ``None`` for any.

    Returns:
        The same values as ``[N, C, H, W]``; dtype and device are kept.

    Raises:
        TypeError: Not a floating-point tensor.
        ValueError: Wrong rank, channels, NaN, or values outside [0, 1].
    """
    import torch

    if not isinstance(images, torch.Tensor):
        raise TypeError(
            f"{name} must be a torch tensor [N, 3, H, W] with values in [0, 1], not {type(images).__name__}."
        )
    if not images.is_floating_point():
        raise TypeError(
            f"{name} has dtype {images.dtype}: divide uint8 images by 255 to get floats in [0, 1]."
        )
    if images.ndim == 3:
        images = images[None]
    if images.ndim != 4:
        raise ValueError(f"{name} has shape {list(images.shape)}; an image batch is [N, 3, H, W].")
    if channels is not None and images.shape[1] != channels:
        hint = " (channels come first: permute [N, H, W, 3])" if images.shape[-1] == channels else ""
        raise ValueError(f"{name} has {images.shape[1]} channels, expected {channels}{hint}.")
    if images.numel():
        low, high = images.min().item(), images.max().item()
        if not (low == low and high == high):
            raise ValueError(f"{name} contains NaN.")
        # A resampled or generated image may overshoot by rounding; anything more is another convention.
        if low < -1e-3 or high > 1 + 1e-3:
            raise ValueError(f"{name} has values in [{low:.3g}, {high:.3g}]; images here lie in [0, 1].")
    return images
