"""Sentinel-2 pictures as DiffusionSat's super-resolution ControlNet takes them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

# fMoW-Sentinel's bands and their statistics over the training set (Cong et al. 2022, SatMAE, arXiv
# 2207.08051).
BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
MEAN = (
    1370.19151926, 1184.3824625, 1120.77120066, 1136.26026392, 1263.73947144, 1645.40315151, 1846.87040806,
    1762.59530783, 1972.62420416, 582.72633433, 14.77112979, 1732.16362238, 1247.91870117,
)  # fmt: skip
STD = (
    633.15169573, 650.2842772, 712.12507725, 965.23119807, 948.9819932, 1108.06650639, 1258.36394548,
    1233.1492281, 1364.38688993, 472.37967789, 14.3114637, 1310.36996126, 1087.6020813,
)  # fmt: skip
# RGB first; the three atmospheric bands (B1, B9, B10) are dropped.
CONDITION = tuple(
    BANDS.index(band) for band in ("B4", "B3", "B2", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
)


def stretch(values: np.ndarray) -> np.ndarray:
    """Digital numbers ``[..., 13]`` to uint8: each band's mean ± two standard deviations become 0..255."""
    mean, std = np.array(MEAN), np.array(STD)
    return np.clip((values - (mean - 2 * std)) / (4 * std) * 255, 0, 255).astype(np.uint8)


def sentinel_condition(values: np.ndarray, resolution: int | None = 256) -> torch.Tensor:
    """A condition picture from a Sentinel-2 tile.

    Args:
        values: Digital numbers ``[H, W, 13]`` in the order of :data:`BANDS`.
        resolution: Side of the result (half the generated image's); ``None`` keeps the size.

    Returns:
        Float tensor ``[1, 10, resolution, resolution]`` in [0, 1]: B4 B3 B2 B5 B6 B7 B8 B8A B11 B12.

    Raises:
        ValueError: Not thirteen bands.
    """
    values = np.asarray(values)
    if values.ndim != 3 or values.shape[2] != len(BANDS):
        raise ValueError(f"A Sentinel-2 tile is [H, W, 13] ({', '.join(BANDS)}), not {list(values.shape)}.")
    bands = torch.from_numpy(stretch(values)[..., list(CONDITION)]).float().movedim(-1, 0)[None] / 255
    if resolution is None:
        return bands
    height, width = bands.shape[-2:]
    scale = resolution / min(height, width)
    size = (max(resolution, round(height * scale)), max(resolution, round(width * scale)))
    bands = F.interpolate(bands, size=size, mode="bilinear", antialias=True, align_corners=False)
    top, left = ((side - resolution) // 2 for side in bands.shape[-2:])
    return bands[..., top : top + resolution, left : left + resolution]


def percentile_stretch(values: np.ndarray, low: float = 2, high: float = 98) -> np.ndarray:
    """16-bit pictures ``[H, W, C]`` to [0, 1]: each channel's percentiles ``low`` and ``high`` become 0 and
    1.
    """
    values = np.asarray(values, dtype=np.float64)
    bottom, top = np.percentile(values, [low, high], axis=(0, 1))
    return np.clip((values - bottom) / (top - bottom + 1e-5), 0, 1)
