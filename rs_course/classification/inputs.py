"""What :func:`rs_course.classification.fit` takes, checked: images as one tensor, labels as distributions."""

from __future__ import annotations

import warnings

import numpy as np
import torch
import torch.nn.functional as F

from rs_course.validation import image_batch


def as_tensor(images) -> torch.Tensor:
    """Images as uint8 ``[N, 3, H, W]`` (a view of uint8 arrays) or as the checked float tensor.

    Raises:
        TypeError, ValueError: Not a batch of images, or an empty one.
    """
    if isinstance(images, np.ndarray) and images.dtype == np.uint8:
        if images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"images has shape {list(images.shape)}; uint8 arrays are [N, H, W, 3].")
        with warnings.catch_warnings():  # memory-mapped data sets are read-only, and nothing is written here
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            tensor = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    elif isinstance(images, torch.Tensor) and images.dtype == torch.uint8:
        tensor = images
    else:
        tensor = image_batch(images)
    if not len(tensor):
        raise ValueError("There are no images to learn from: the set is empty.")
    return tensor


def to_float(x: torch.Tensor) -> torch.Tensor:
    """uint8 to float in [0, 1]; floats stay as they are."""
    return x.float().div_(255) if x.dtype == torch.uint8 else x


def as_targets(labels, classes: int, count: int) -> torch.Tensor:
    """Labels ``[N]`` or distributions ``[N, C]`` as float targets ``[N, C]``.

    Raises:
        ValueError: Another number of them, a label out of range, or rows that do not sum to one.
    """
    labels = torch.as_tensor(np.asarray(labels) if not isinstance(labels, torch.Tensor) else labels)
    if len(labels) != count:
        raise ValueError(f"{count} images and {len(labels)} labels: give one label per image.")
    if labels.ndim == 1:
        if labels.min() < 0 or labels.max() >= classes:
            bad = labels[(labels < 0) | (labels >= classes)][0].item()
            raise ValueError(
                f"The label {bad} is not possible: with {classes} classes they are 0 to {classes - 1}."
            )
        return F.one_hot(labels.long(), classes).float()
    if labels.ndim != 2 or labels.shape[1] != classes or (labels.sum(1) - 1).abs().max() > 1e-3:
        raise ValueError(
            f"labels has shape {list(labels.shape)}: give class numbers [N], or targets [N, {classes}] whose "
            "rows sum to one."
        )
    return labels.float()


def class_count(labels) -> int:
    """C as far as labels ``[N]`` (the largest plus one) or targets ``[N, C]`` tell."""
    labels = np.asarray(labels)
    return labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
