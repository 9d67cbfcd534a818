"""High-resolution pictures to shrink and restore: the simulated Earth at 2.5 m, or a set of real images."""

from __future__ import annotations

import numpy as np
import torch


def high_resolution(
    dataset: str = "simulated", split: str = "test", *, count: int = 20, first: int = 0
) -> tuple[torch.Tensor, str]:
    """Load pictures that are sharp at their own scale.

    Args:
        dataset: ``"simulated"``, or what :func:`rs_course.datasets.load` takes: a name, folder or tar of
            images.
        split: ``"train"``, ``"val"`` or ``"test"``; the simulated splits share no place.
        count: Pictures wanted. Simulated ones take the ten classes in turn; real ones are spread over the
            set.
        first: Number of the first place of each class (simulated only).

    Returns:
        Float ``[count, 3, H, W]`` in [0, 1] (256×256 for the simulated Earth), and the provenance for
        figures.

    Raises:
        ValueError: ``count`` below 1, or more pictures than a real set has.
    """
    if count < 1:
        raise ValueError(f"count={count}: ask for at least one picture.")
    if dataset == "simulated":
        pictures = np.stack([scene.image_hr for scene in _simulated(split, count, first)])
        provenance = f"simulated · {split}"
    else:
        from rs_course import datasets

        data = datasets.load(dataset, split)
        if count > len(data):
            raise ValueError(f"{dataset} has {len(data)} pictures in {split!r}, not {count}: lower count.")
        pictures = data.images[np.linspace(0, len(data) - 1, count).astype(int)]
        provenance = data.provenance
    return _batch(pictures), provenance


def observed(
    split: str = "test", *, count: int = 20, first: int = 0
) -> tuple[torch.Tensor, torch.Tensor, str]:
    """Pairs with the simulator's own degradation: each scene at 10 m, as its sensor sees it, and at 2.5 m.

    Args:
        split, count, first: As for :func:`high_resolution`, which gives the same sharp pictures.

    Returns:
        Float ``[count, 3, 64, 64]`` and ``[count, 3, 256, 256]`` in [0, 1], and the provenance for figures.

    Raises:
        ValueError: ``count`` below 1, or an unknown split.
    """
    if count < 1:
        raise ValueError(f"count={count}: ask for at least one pair.")
    scenes = list(_simulated(split, count, first))
    low, high = (np.stack([getattr(scene, name) for scene in scenes]) for name in ("image", "image_hr"))
    return _batch(low), _batch(high), f"simulated · {split}"


def _batch(pictures) -> torch.Tensor:
    """uint8 ``[N, H, W, 3]`` → float ``[N, 3, H, W]`` in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255


def _simulated(split: str, count: int, first: int):
    """Scenes of the ten classes in turn."""
    from rs_course import simulated_earth
    from rs_course.datasets.simulated import SPLIT_START

    if split not in SPLIT_START:
        raise ValueError(f"split={split!r}: choose one of {', '.join(map(repr, SPLIT_START))}.")
    classes, start = simulated_earth.CLASSES, SPLIT_START[split] + first
    for k in range(count):
        yield simulated_earth.scene(classes[k % len(classes)], start + k // len(classes))
