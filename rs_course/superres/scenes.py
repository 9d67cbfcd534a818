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
        pictures, provenance = _simulated(split, count, first), f"simulated · {split}"
    else:
        from rs_course import datasets

        data = datasets.load(dataset, split)
        if count > len(data):
            raise ValueError(f"{dataset} has {len(data)} pictures in {split!r}, not {count}: lower count.")
        pictures = data.images[np.linspace(0, len(data) - 1, count).astype(int)]
        provenance = data.provenance
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255, provenance


def _simulated(split: str, count: int, first: int) -> np.ndarray:
    from rs_course import simulated_earth
    from rs_course.datasets.simulated import SPLIT_START

    if split not in SPLIT_START:
        raise ValueError(f"split={split!r}: choose one of {', '.join(map(repr, SPLIT_START))}.")
    classes, start = simulated_earth.CLASSES, SPLIT_START[split] + first
    return np.stack(
        [
            simulated_earth.scene(classes[k % len(classes)], start + k // len(classes)).image_hr
            for k in range(count)
        ]
    )
