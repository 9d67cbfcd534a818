"""The border: pictures as people hold them (PIL, uint8, float, lists of them) to tensors ``[N, C, H, W]`` in
[0, 1]; and the check of those.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import torch
import torch.nn.functional as F

from rs_course.datasets import decoding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

# Pictures in any of the forms that :func:`images` reads.
Pictures: TypeAlias = "Image | np.ndarray | torch.Tensor | Sequence[Pictures]"
# Of OpenAI's CLIP models, in RGB.
CLIP_COLOURS = {
    "image_mean": (0.48145466, 0.4578275, 0.40821073), "image_std": (0.26862954, 0.26130258, 0.27577711),
}  # fmt: skip


def images(
    value: Pictures, name: str = "image", *, mode: str | None = "RGB", size: tuple[int, int] | None = None
) -> torch.Tensor:
    """Read one picture or many.

    Args:
        value: A PIL image (turned as its EXIF orientation says), an array or tensor (uint8 or bool
            ``[H, W]``, ``[H, W, C]``, ``[N, H, W, C]``; float in [0, 1] ``[H, W]``, ``[C, H, W]``,
            ``[N, C, H, W]``), or a list of such.
        name: What the caller calls it, for messages.
        mode: ``"RGB"`` or ``"L"`` (grey); ``None`` keeps the channels of an array.
        size: (height, width) to resize to: Lanczos on 8-bit values, as the published pipelines do.

    Returns:
        Float tensor ``[N, C, H, W]`` in [0, 1].

    Raises:
        TypeError: Not pictures.
        ValueError: Values outside [0, 1], more than 8 bits a sample, or a shape that is no picture.
    """
    if isinstance(value, list | tuple):
        if not value:
            raise ValueError(f"{name} is an empty list.")
        parts = [images(item, name, mode=mode, size=size) for item in value]
        if len({part.shape[1:] for part in parts}) > 1:
            raise ValueError(
                f"{name} holds pictures of several sizes: give them one size, or pass size=(height, width)."
            )
        return torch.cat(parts)
    if hasattr(value, "convert") and hasattr(value, "resize"):  # PIL, which need not be imported for this
        return _from_pil(decoding.upright(cast("Image", value), name), mode, size)
    if not isinstance(value, np.ndarray | torch.Tensor):
        raise TypeError(
            f"{name} must be a PIL image, a uint8 array [H, W, 3], or a float tensor [N, 3, H, W] in [0, 1], "
            f"not {type(value).__name__}."
        )
    batch = _channels_first(torch.as_tensor(value), name)
    if mode == "RGB" and batch.shape[1] in (1, 4):
        batch = batch[:, :3].expand(-1, 3, -1, -1)
    if mode == "L" and batch.shape[1] == 3:
        batch = torch.cat([_from_pil(picture, "L", None) for picture in _to_pil(batch)])
    if mode and batch.shape[1] != len(mode):
        raise ValueError(f"{name} has {batch.shape[1]} channels, expected {len(mode)}.")
    return batch if size is None else resize(batch, size)


def resize(batch: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """``[N, C, H, W]`` to ``[N, C, *size]``: Lanczos on 8-bit values for 1 or 3 channels, antialiased
    bilinear else.
    """
    if tuple(batch.shape[-2:]) == tuple(size):
        return batch
    if batch.shape[1] in (1, 3):
        return torch.cat([_from_pil(picture, None, size) for picture in _to_pil(batch)]).to(batch)
    return F.interpolate(batch, size=size, mode="bilinear", antialias=True, align_corners=False)


def clip_image_features(encoder: Any, pictures: torch.Tensor) -> torch.Tensor:
    """Projected, un-normalised CLIP features ``[N, D]`` of pictures ``[N, 3, H, W]`` in [0, 1].

    Colours are normalised by ``image_mean`` and ``image_std`` of the encoder's config, else by OpenAI's.
    """
    side = encoder.config.image_size
    pictures = F.interpolate(pictures, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
    colours = (getattr(encoder.config, name, usual) for name, usual in CLIP_COLOURS.items())
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in colours)
    normal = ((pictures.clamp(0, 1) - mean) / std).to(encoder.device, encoder.dtype)
    with torch.no_grad():
        return encoder(normal).image_embeds.float().cpu()


def _channels_first(array: torch.Tensor, name: str) -> torch.Tensor:
    if array.ndim == 2:
        array = array[None, None]
    elif array.ndim in (3, 4):
        last, first = array.shape[-1], array.shape[-3]
        if last in (1, 3, 4) and first not in (1, 3):
            array = array.movedim(-1, -3)
        array = array[None] if array.ndim == 3 else array
    else:
        raise ValueError(f"{name} has shape {list(array.shape)}; pictures are [H, W, 3] or [N, 3, H, W].")
    if array.dtype == torch.uint8:
        return array.float() / 255
    array = array.float()
    low, high = (array.min().item(), array.max().item()) if array.numel() else (0, 0)
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        raise ValueError(f"{name} has values in [{low:.3g}, {high:.3g}]; pictures here lie in [0, 1].")
    return array


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


def from_uint8(images: np.ndarray) -> torch.Tensor:
    """A uint8 array ``[N, H, W, 3]`` as a tensor ``[N, 3, H, W]``: a view, where the array is contiguous.

    Raises:
        ValueError: Another shape.
    """
    if images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"images has shape {list(images.shape)}; uint8 arrays are [N, H, W, 3].")
    with warnings.catch_warnings():  # memory-mapped data sets are read-only, and nothing is written here
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)


def pixels(batch: torch.Tensor) -> np.ndarray:
    """Float images ``[N, C, H, W]`` in [0, 1] as uint8 ``[N, H, W, C]``: the way out over the border.

    Raises:
        ValueError: NaN, which would become black.
    """
    if batch.isnan().any():
        raise ValueError("These images contain NaN, which is no colour: look for where it comes from first.")
    return (batch.clamp(0, 1) * 255).round().to(torch.uint8).movedim(1, -1).cpu().numpy()


def _from_pil(picture, mode: str | None, size: tuple[int, int] | None) -> torch.Tensor:
    from PIL import Image

    if mode == "RGB":
        picture = picture.convert("RGB")
    elif picture.mode not in ("L", "RGB"):
        picture = picture.convert("L" if picture.mode in ("1", "LA", "La") else "RGB")
    if size is not None and picture.size != (size[1], size[0]):
        picture = picture.resize((size[1], size[0]), resample=Image.Resampling.LANCZOS)
    if mode == "L":
        picture = picture.convert("L")
    array = torch.from_numpy(np.array(picture)).float() / 255
    return array[None, None] if array.ndim == 2 else array.movedim(-1, 0)[None]


def _to_pil(batch: torch.Tensor) -> list:
    from PIL import Image

    return [Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array) for array in pixels(batch)]
