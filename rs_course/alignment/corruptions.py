"""Graded damage with a known truth: what must a metric notice, and what does it not?

A corruption takes tiles and captions and returns worse ones. How much worse is known, because we did it: a
metric that does not move is blind to it. Grades start at 0, which changes nothing.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rs_course.deprecation import old_names

if TYPE_CHECKING:
    import torch

    from rs_course.alignment.scorer import Scorer

__getattr__ = old_names(__name__, {"please": "pgd_attack"})


def blur(images: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth uint8 tiles ``[N, H, W, 3]`` by a Gaussian of ``sigma`` pixels."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(images, (0, sigma, sigma, 0)) if sigma else images


def noise(images: np.ndarray, sigma: float) -> np.ndarray:
    """Add Gaussian noise of standard deviation ``sigma`` (1 is the whole range); tile i has its own draw."""
    draws = (np.random.default_rng(i).normal(0, 255 * sigma, tile.shape) for i, tile in enumerate(images))
    noisy = [tile + draw for tile, draw in zip(images, draws, strict=True)]
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def jpeg(images: np.ndarray, loss: int) -> np.ndarray:
    """Store and read again as JPEG of quality 100 - ``loss``; 0 changes nothing."""
    from PIL import Image

    if not loss:
        return images

    def stored_and_read(tile):
        stored = io.BytesIO()
        Image.fromarray(tile).save(stored, "JPEG", quality=100 - loss)
        return np.asarray(Image.open(stored))

    return np.stack([stored_and_read(tile) for tile in images])


def mirror(images: np.ndarray, share: float) -> np.ndarray:
    """Mirror the first ``share`` of the tiles; what their captions say about left and right becomes false."""
    count = _count(images, share)
    return np.concatenate([images[:count, :, ::-1], images[count:]])


def collapse(images: Sequence, share: float) -> Sequence:
    """Keep 1 - ``share`` of the rows and repeat them in turn: variety is lost, every single row is right."""
    kept = max(1, len(images) - _count(images, share))
    return [images[i % kept] for i in range(len(images))]


def swap(captions: Sequence[str], share: float) -> list[str]:
    """Pass the first ``share`` of the captions on by one: each goes to its neighbour's tile."""
    count = _count(captions, share)
    return [*captions[1:count], *captions[: min(1, count)], *captions[count:]]


def pgd_attack(
    scorer: Scorer, images: torch.Tensor, text: str, *, bound: float = 8 / 255, steps: int = 30
) -> Iterator[torch.Tensor]:
    """Change tiles by next to nothing so that one scorer likes them: gradient ascent on its cosine.

    What a score rewards is not what it means (Goodhart's law); a second scorer shows the difference. The
    ascent is the projected gradient method on signs (Madry et al. 2018, arXiv 1706.06083).

    Args:
        scorer: The one that is to like them; its vision tower must take the images' own size.
        images: ``[N, 3, H, W]`` in [0, 1].
        text: The sentence that the tiles shall agree with.
        bound: Largest change of a pixel value.
        steps: Steps of 1/255.

    Yields:
        The changed images, after each step.
    """
    import torch
    import torch.nn.functional as F

    device = scorer.device
    colours = (scorer.preparation.mean, scorer.preparation.std)
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in colours)
    target = scorer.text_embeddings([text]).to(device)
    start = x = images.to(device)
    for _ in range(steps):
        x = x.detach().requires_grad_(True)
        vector = scorer.model.get_image_features(pixel_values=(x - mean) / std).pooler_output
        (slope,) = torch.autograd.grad(F.cosine_similarity(vector, target).sum(), x)
        x = start + (x.detach() + slope.sign() / 255 - start).clamp(-bound, bound)
        x = x.clamp(0, 1)
        yield x.to(images.device)


def _count(rows, share: float) -> int:
    if not 0 <= share <= 1:
        raise ValueError(f"share={share}: a share lies between 0 and 1.")
    return round(share * len(rows))
