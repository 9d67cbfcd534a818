"""The exams of the assignments, and their hidden images: fresh tiles of the simulated Earth."""

from __future__ import annotations

import numpy as np
import torch


def scenes(rng: np.random.Generator, count: int, labels=None) -> list:
    """Scenes with seeds from ``rng``, as many of each class, in an order that says nothing about the class.

    Args:
        rng: Where seeds and order come from; it is the only thing that is secret.
        count: How many.
        labels: Classes to take, or ``None`` for all ten.
    """
    from rs_course import simulated_earth

    chosen = rng.permutation(simulated_earth.CLASSES if labels is None else list(labels))
    order = rng.permutation(np.resize(chosen, count))
    return [simulated_earth.scene(str(label), seed=int(rng.integers(2**31))) for label in order]


def tiles(rng: np.random.Generator, count: int) -> np.ndarray:
    """Tiles at 10 m: uint8 ``[N, 64, 64, 3]``."""
    return np.stack([scene.image for scene in scenes(rng, count)])


def tensor(images: np.ndarray):
    """uint8 ``[N, H, W, 3]`` as float tensor ``[N, 3, H, W]`` in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def pixels(scenes: list):
    """Tiles of scenes as they travel into the sandbox, a quarter of the floats: uint8 ``[N, 3, 64, 64]``."""
    return torch.from_numpy(np.stack([scene.image for scene in scenes])).permute(0, 3, 1, 2).contiguous()
