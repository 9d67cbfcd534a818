"""From images and captions to what a scorer's towers read: resize, crop, normalise, all in torch; token ids.

Published scorers were trained on 8-bit images resized by Pillow, so that is reproduced to the bit. A
generated image therefore gets the same score from memory as from the PNG it is saved to.
"""

from __future__ import annotations

import json
import math
import string
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from rs_course.checkpoints.images import from_uint8, image_batch

# Bits after the point of Pillow's weights. Sums of products with 8-bit values stay exact in float64.
_BITS = 22
_MODES = {2: "bilinear", 3: "bicubic", "bilinear": "bilinear", "bicubic": "bicubic"}


def to_uint8(images: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Images as uint8 ``[N, 3, H, W]``.

    Args:
        images: Float tensor ``[N, 3, H, W]`` (or one ``[3, H, W]``) in [0, 1], or a uint8 array
            ``[N, H, W, 3]`` as ``datasets.load(...).images`` holds it.

    Raises:
        TypeError: Another type or dtype.
        ValueError: No image, wrong channels, NaN, or values outside [0, 1].
    """
    if isinstance(images, np.ndarray) and images.dtype == np.uint8:
        batch = from_uint8(images[None] if images.ndim == 3 else images)
    else:
        channels = images.shape[-3] if isinstance(images, torch.Tensor) and images.ndim in (3, 4) else 3
        if channels == 1:
            raise ValueError("images is grey (1 channel): repeat it with images.expand(-1, 3, -1, -1).")
        if channels == 4:
            raise ValueError("images has 4 channels: keep red, green and blue with images[:, :3].")
        batch = image_batch(images).detach().clamp(0, 1).mul(255).round().to(torch.uint8)
    if batch.numel() == 0:
        raise ValueError(f"images has shape {list(batch.shape)}: there is nothing to score.")
    return batch


@dataclass(frozen=True)
class Preparation:
    """How a checkpoint wants its images.

    Attributes:
        size: Height and width after resizing, or one number for the shorter edge; ``None`` keeps the size.
        crop: Height and width of the centre crop, or ``None``.
        mean: Subtracted per channel, of values in [0, 1].
        std: Divided by per channel.
        mode: ``"bicubic"`` or ``"bilinear"``, antialiased.
        patches: ``(patch size, largest number of patches)`` of SigLIP 2 NaFlex, which keeps the aspect ratio
            and takes a list of patches instead of ``size``.
    """

    size: tuple[int, int] | int | None
    crop: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mode: str = "bicubic"
    patches: tuple[int, int] | None = None

    @classmethod
    def from_config(cls, config: dict, source: str | Path) -> Preparation:
        """Read a ``preprocessor_config.json``.

        Raises:
            ValueError: It asks for something this code does not do.
        """
        try:
            size, crop = config.get("size"), config.get("crop_size")
            if isinstance(size, dict):
                size = size.get("shortest_edge") or (size["height"], size["width"])
            if isinstance(crop, dict):
                crop = (crop["height"], crop["width"])
            elif isinstance(crop, int):
                crop = (crop, crop)
            patches = None
            if "max_num_patches" in config:
                patches = (config["patch_size"], config["max_num_patches"])
            default = 2 if patches else 3
            return cls(
                size=size if config.get("do_resize", True) else None,
                crop=crop if config.get("do_center_crop", crop is not None) else None,
                mean=tuple(config["image_mean"]),
                std=tuple(config["image_std"]),
                mode=_MODES[config.get("resample", default)],
                patches=patches,
            )
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"The image settings in {source} are not understood ({type(error).__name__}: {error}): "
                "this code needs size, image_mean, image_std and bicubic (3) or bilinear (2) resampling."
            ) from None

    def __call__(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Inputs of the vision tower for uint8 images ``[N, 3, H, W]``."""
        height, width = self._size(*images.shape[-2:])
        pixels = torch.empty(len(images), 3, height, width, device=images.device)
        mean, std = (torch.tensor(v, device=images.device).view(3, 1, 1) for v in (self.mean, self.std))
        # A few images at a time, which stay in the cache from the resampling to the last step.
        for part, out in zip(images.split(8), pixels.split(8), strict=True):
            part = resize(part, (height, width), self.mode)
            torch.addcmul(-mean / std, part, 1 / (255 * std), out=out)
        if self.crop:
            pixels = _centre_crop(pixels, self.crop)
        return _as_patches(pixels, *self.patches) if self.patches else {"pixel_values": pixels}

    def _size(self, height, width):
        """Height and width after resizing."""
        if self.patches:
            return _patch_grid(height, width, *self.patches)
        if isinstance(self.size, int):
            other = int(self.size * max(height, width) / min(height, width))
            return (self.size, other) if height <= width else (other, self.size)
        return self.size or (height, width)


def resize(images: torch.Tensor, size: tuple[int, int], mode: str) -> torch.Tensor:
    """Pillow's antialiased resampling with its fixed-point weights: across, then down, each pass rounded.

    Equal to Pillow bit for bit wherever it takes the passes in this order, as for square images; recent
    releases go down first where that saves work, which changes single grey levels.

    Args:
        images: Whole numbers 0 to 255 of any dtype, ``[..., H, W]``.
        size: New height and width.
        mode: ``"bicubic"`` or ``"bilinear"``.

    Returns:
        Whole numbers 0 to 255, float32.
    """
    height, width = images.shape[-2:]
    images = images.float()
    if width != size[1]:
        images = _rounded(images.double() @ pillow_weights(width, size[1], mode).to(images.device).T)
    if height != size[0]:
        images = _rounded(pillow_weights(height, size[0], mode).to(images.device) @ images.double())
    return images


def _rounded(sums):
    return sums.add_(0.5).floor_().float().clamp_(0, 255)


@lru_cache(maxsize=32)
def pillow_weights(before: int, after: int, mode: str) -> torch.Tensor:
    """Matrix ``[after, before]`` of Pillow's weights of 22 bits (Resample.c: precompute_coeffs)."""
    scale = before / after
    stretch = max(scale, 1.0)
    reach = (2.0 if mode == "bicubic" else 1.0) * stretch
    centre = (np.arange(after)[:, None] + 0.5) * scale
    first = np.maximum(np.trunc(centre - reach + 0.5), 0)
    last = np.minimum(np.trunc(centre + reach + 0.5), before)
    column = np.arange(before)[None]
    x = np.abs((column - centre + 0.5) / stretch)
    if mode == "bicubic":  # Keys's cubic convolution with a = -1/2
        weight = np.where(x < 1, (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2) * (x < 2)
    else:
        weight = np.maximum(1 - x, 0)
    weight *= (column >= first) & (column < last)
    weight *= (1 << _BITS) / weight.sum(axis=1, keepdims=True)
    return torch.from_numpy(np.trunc(weight + np.copysign(0.5, weight)) / (1 << _BITS))


def _centre_crop(images, size):
    height, width = images.shape[-2:]
    if height < size[0] or width < size[1]:
        raise ValueError(
            f"This scorer crops {size[0]}×{size[1]} pixels out of images that are {height}×{width}; "
            "give larger images."
        )
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return images[..., top : top + size[0], left : left + size[1]]


def _patch_grid(height, width, patch, most):
    """Largest size with the image's aspect ratio whose sides are whole patches, at most ``most`` of them."""

    def sides(scale):
        return tuple(max(patch, math.ceil(side * scale / patch) * patch) for side in (height, width))

    low, high = 1e-6, 100.0
    while high - low >= 1e-5:  # the official processor bisects with this tolerance
        middle = (low + high) / 2
        rows, columns = sides(middle)
        low, high = (middle, high) if rows * columns <= most * patch * patch else (low, middle)
    return sides(low)


def _as_patches(images, patch, most):
    """Rows of patches ``[N, most, 3·patch²]`` (channels last within a patch), padded with zeros."""
    count, _, height, width = images.shape
    rows, columns = height // patch, width // patch
    grid = images.reshape(count, 3, rows, patch, columns, patch).permute(0, 2, 4, 3, 5, 1)
    patches = F.pad(grid.reshape(count, rows * columns, -1), (0, 0, 0, most - rows * columns))
    mask = torch.zeros(count, most, dtype=torch.int32, device=images.device)
    mask[:, : rows * columns] = 1
    shapes = torch.tensor([[rows, columns]] * count, device=images.device)
    return {"pixel_values": patches, "pixel_attention_mask": mask, "spatial_shapes": shapes}


LONG_CAPTIONS = ("warn", "raise", "cut")


def read_tokenizer(folder: Path, *, lower_case: bool = False):
    """The fast tokenizer of a scorer's folder.

    Args:
        folder: Where its files lie.
        lower_case: Lower the text first, whatever its files say. SigLIP 2 was trained so, with Gemma's
            tokenizer, which keeps capitals.

    Raises:
        FileNotFoundError: No tokenizer files.
        ValueError: Files that make no tokenizer.
    """
    from transformers import AutoTokenizer, CLIPTokenizer, PreTrainedTokenizerFast

    fast = (folder / "tokenizer.json").is_file()
    if not fast and not ((folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()):
        alone = " (spiece.model alone is not read here)" if (folder / "spiece.model").is_file() else ""
        raise FileNotFoundError(
            f"{folder} has no tokenizer.json, nor vocab.json with merges.txt{alone}: fetch them too."
        )
    settings = folder / "tokenizer_config.json"
    try:
        named = json.loads(settings.read_text("utf-8")).get("tokenizer_class") if settings.is_file() else None
        if fast and named == "SiglipTokenizer":
            # That class needs sentencepiece; the same vocabulary lies in tokenizer.json.
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
            return _canonical(tokenizer)
        kind = AutoTokenizer if named else CLIPTokenizer  # beside OpenCLIP weights lies the bare vocabulary
        tokenizer = kind.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the tokenizers package raises bare Exceptions
        raise ValueError(
            f"The tokenizer in {folder} cannot be read ({str(error).splitlines()[0]}): fetch it again."
        ) from None
    return _lowered(tokenizer) if lower_case else tokenizer


def _lowered(tokenizer):
    from tokenizers import normalizers

    own = tokenizer.backend_tokenizer.normalizer
    rules = [normalizers.Lowercase(), *([own] if own else [])]
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(rules)
    return tokenizer


def _canonical(tokenizer):
    """SigLIP's canonical text: lower case, no ASCII punctuation, single spaces (big_vision; idempotent)."""
    from tokenizers import Regex, normalizers

    punctuation = "".join("\\" + mark for mark in string.punctuation)
    rules = [
        normalizers.Lowercase(),
        normalizers.Replace(Regex(f"[{punctuation}]"), ""),
        normalizers.Replace(Regex(r"\s+"), " "),
        normalizers.Strip(),
    ]
    if own := tokenizer.backend_tokenizer.normalizer:
        rules.append(own)
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(rules)
    return tokenizer


def caption_list(texts: str | Sequence[str]) -> list[str]:
    """One caption or a sequence of captions as a list.

    Raises:
        TypeError: Something in it is not a string.
        ValueError: It is empty.
    """
    texts = [texts] if isinstance(texts, str) else list(texts)
    if not texts:
        raise ValueError("texts is empty: there is nothing to score.")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{i}] is {type(text).__name__}, not a caption (str).")
    return texts


def tokenize(tokenizer: Any, texts: list[str], *, length: int, pad_to_length: bool, long: str):
    """Token ids and attention mask of captions, at most ``length`` tokens each.

    Args:
        tokenizer: A fast tokenizer of ``transformers``.
        texts: Captions.
        length: Context length of the text tower, its special tokens included.
        pad_to_length: Pad all to ``length``, as SigLIP was trained, instead of to the longest.
        long: What to do with a longer caption: ``"warn"``, ``"raise"`` or silently ``"cut"``.

    Raises:
        ValueError: A caption is too long and ``long`` is ``"raise"``.
    """
    encoded = tokenizer(texts, return_attention_mask=True, verbose=False)
    if too_long := [i for i, ids in enumerate(encoded["input_ids"]) if len(ids) > length]:
        if long != "cut":
            _report_cut(tokenizer, texts, too_long, length, long)
        encoded = tokenizer(texts, max_length=length, truncation=True, return_attention_mask=True)
    return tokenizer.pad(
        encoded,
        padding="max_length" if pad_to_length else True,
        max_length=length if pad_to_length else None,
        return_tensors="pt",
        verbose=False,
    )


def _report_cut(tokenizer, texts, too_long, length, long):
    first = too_long[0]
    count = len(tokenizer(texts[first], verbose=False)["input_ids"])
    spans = tokenizer(texts[first], max_length=length, truncation=True, return_offsets_mapping=True)
    lost = texts[first][max(end for _, end in spans["offset_mapping"]) :].strip()
    others = "" if len(too_long) == 1 else f" (and {len(too_long) - 1} more captions)"
    sentence = (
        f"Caption {first} has {count} tokens and this scorer reads {length}, so its end is not "
        f"judged: “{lost if len(lost) <= 80 else lost[:77] + '…'}”{others}."
    )
    if long == "raise":
        raise ValueError(sentence + " Shorten it, or load the scorer with long_captions='warn'.")
    warnings.warn(sentence, stacklevel=5)
