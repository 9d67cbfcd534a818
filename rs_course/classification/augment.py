"""Classical augmentation: what every study of synthetic data has to beat, or to be combined with.

    x, y = augment.parse("flip+rotate+cutmix")(x, y, np.random.default_rng(0))

Each function takes a batch ``x`` ``[N, 3, H, W]`` in [0, 1], its targets ``y`` ``[N, C]`` (per image a
distribution over the classes: Mixup and CutMix make soft ones) and a NumPy generator, and returns new ``x``
and ``y``. Nothing here knows whether an image is real or generated, so each combines with synthetic data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

import numpy as np
import torch


def flip(x: torch.Tensor, y: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Mirror half of the images. From above there is no left and right."""
    mirrored = torch.from_numpy(rng.random(len(x)) < 0.5).to(x.device)
    return torch.where(mirrored[:, None, None, None], x.flip(3), x), y


def rotate(x: torch.Tensor, y: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn each image by 0, 90, 180 or 270 degrees; with ``flip`` these are the symmetries of the square."""
    turns = torch.from_numpy(rng.integers(4, size=len(x))).to(x.device)
    turned = x.clone()
    for k in (1, 2, 3):
        turned[turns == k] = torch.rot90(x[turns == k], k, (2, 3))
    return turned, y


def crop(
    x: torch.Tensor, y: torch.Tensor, rng: np.random.Generator, *, share: float = 0.125
) -> tuple[torch.Tensor, torch.Tensor]:
    """Shift each image by up to ``share`` of its side, reflecting at the border.

    Not a resized crop: that would change the ground resolution, and with it what a field or a house is.
    """
    n, _, height, width = x.shape

    def shifted(length):
        most = round(share * length)
        at = np.abs(rng.integers(2 * most + 1, size=(n, 1)) - most + np.arange(length))
        return torch.from_numpy(np.minimum(at, 2 * (length - 1) - at)).to(x.device)

    image, rows, columns = torch.arange(n, device=x.device), shifted(height), shifted(width)
    cut = x.permute(0, 2, 3, 1)[image[:, None, None], rows[:, :, None], columns[:, None, :]]
    return cut.permute(0, 3, 1, 2), y


def jitter(
    x: torch.Tensor, y: torch.Tensor, rng: np.random.Generator, *, amount: float = 0.2
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale contrast and saturation and shift the brightness of each image by up to ``amount``."""

    def draw(low, high):
        return torch.from_numpy(rng.uniform(low, high, (len(x), 1, 1, 1))).to(x)

    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean).mul_(draw(1 - amount, 1 + amount)).add_(mean).add_(draw(-amount / 2, amount / 2))
    grey = x.mean(1, keepdim=True)
    return x.sub_(grey).mul_(draw(1 - amount, 1 + amount)).add_(grey).clamp_(0, 1), y


def cutout(
    x: torch.Tensor, y: torch.Tensor, rng: np.random.Generator, *, share: float = 0.5
) -> tuple[torch.Tensor, torch.Tensor]:
    """Paint a square of ``share`` of the side in the batch's mean colour (DeVries & Taylor 2017)."""
    n, _, height, width = x.shape
    inside = _boxes(rng, n, height, width, share).to(x.device)
    return torch.where(inside[:, None], x.mean((0, 2, 3), keepdim=True), x), y


def mixup(
    x: torch.Tensor, y: torch.Tensor, rng: np.random.Generator, *, alpha: float = 0.2
) -> tuple[torch.Tensor, torch.Tensor]:
    """λ·A + (1 − λ)·B of images and of targets, λ ~ Beta(α, α) (Zhang et al. 2018)."""
    share = float(rng.beta(alpha, alpha))
    other = torch.from_numpy(rng.permutation(len(x))).to(x.device)
    return torch.lerp(x[other], x, share), torch.lerp(y[other], y, share)


def cutmix(
    x: torch.Tensor, y: torch.Tensor, rng: np.random.Generator, *, alpha: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Paste a box of B into A; targets are mixed by area, λ·A + (1 − λ)·B (Yun et al. 2019)."""
    n, _, height, width = x.shape
    inside = _boxes(rng, 1, height, width, float(np.sqrt(1 - rng.beta(alpha, alpha)))).to(x.device)
    other = torch.from_numpy(rng.permutation(n)).to(x.device)
    share = 1 - inside.float().mean().item()  # of A that is still to be seen: the box may leave the image
    return torch.where(inside[:, None], x[other], x), torch.lerp(y[other], y, share)


def _boxes(rng, n: int, height: int, width: int, share: float) -> torch.Tensor:
    """Bool ``[n, H, W]``: a box per image, ``share`` of each side, centred anywhere in the image."""

    def line(length):
        half = share * length / 2
        away = np.abs(np.arange(length) + 0.5 - rng.uniform(0, length, (n, 1)))
        return torch.from_numpy(away < half)

    return line(height)[:, :, None] & line(width)[:, None, :]


AUGMENTATIONS = {f.__name__: f for f in (flip, rotate, crop, jitter, cutout, mixup, cutmix)}
MOVES = (flip, rotate, crop)  # these move pixels and change none


def parse(names: str | Sequence[str] | None) -> Callable:
    """One function out of several, applied in the given order.

    Args:
        names: For instance ``"flip+rotate+cutmix"``, or a sequence of names; ``None``, ``""`` or ``"none"``
            leaves the images as they are.

    Raises:
        ValueError: A name that is not in :data:`AUGMENTATIONS`.
    """
    listed = (names or "").split("+") if names is None or isinstance(names, str) else names
    wanted = [name for name in listed if name not in ("", "none")]
    if unknown := [name for name in wanted if name not in AUGMENTATIONS]:
        raise ValueError(f"There is no augmentation {unknown[0]!r}; there are {', '.join(AUGMENTATIONS)}.")

    def apply(x: torch.Tensor, y: torch.Tensor, rng: np.random.Generator):
        for moving, group in groupby([AUGMENTATIONS[name] for name in wanted], MOVES.__contains__):
            if moving:
                x = _moved(x, group, rng)
                continue
            for change in group:
                x, y = change(x, y, rng)
        return x, y

    return apply


def _moved(x: torch.Tensor, moves: Iterable[Callable], rng: np.random.Generator) -> torch.Tensor:
    """Move the numbers of the pixels, then each pixel once: half the time of moving images."""
    n, channels, height, width = x.shape
    numbers = torch.arange(n * height * width, dtype=torch.int32, device=x.device).view(n, 1, height, width)
    for move in moves:
        numbers, _ = move(numbers, None, rng)
    pixels = x.permute(0, 2, 3, 1).reshape(-1, channels)
    return pixels.index_select(0, numbers.flatten()).view(n, *numbers.shape[2:], channels).permute(0, 3, 1, 2)
