"""Hidden images for exams: fresh tiles of the simulated Earth, chosen by a random generator."""

from __future__ import annotations

import numpy as np


def scenes(rng: np.random.Generator, count: int, labels=None) -> list:
    """Scenes with seeds from ``rng``, one class after the other in random order.

    Args:
        rng: Where the seeds come from; it is the only thing that is secret.
        count: How many.
        labels: Classes to take in turn, or ``None`` for all ten in random order.
    """
    from rs_course import simulated_earth

    order = list(labels) if labels is not None else list(rng.permutation(simulated_earth.CLASSES))
    return [
        simulated_earth.scene(str(order[n % len(order)]), seed=int(rng.integers(2**31))) for n in range(count)
    ]


def tiles(rng: np.random.Generator, count: int) -> np.ndarray:
    """Tiles at 10 m: uint8 ``[N, 64, 64, 3]``."""
    return np.stack([scene.image for scene in scenes(rng, count)])


def tensor(images: np.ndarray):
    """uint8 ``[N, H, W, 3]`` as float tensor ``[N, 3, H, W]`` in [0, 1]."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
