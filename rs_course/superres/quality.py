"""Measure upscalers side by side: distortion to the truth, and distance to the look of true images.

No estimate has both the least error and the look of real images (Blau & Michaeli, "The Perception-Distortion
Tradeoff", CVPR 2018): the mean of all plausible details is blurred, and any one of them is mostly wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from rs_course import metrics
from rs_course.checkpoints.images import image_batch
from rs_course.superres.degradation import round8
from rs_course.superres.loading import upscale

_SIDE, _STRIDE = 7, 5  # pixels; the stride shares no factor with 4, so all positions of a ×4 grid are met


def patches(images: torch.Tensor) -> torch.Tensor:
    """Texture of luma patches of 7×7 pixels: all differences to the patch mean, one row a patch.

    Args:
        images: ``[N, 3, H, W]`` in [0, 1].

    Returns:
        float64 ``[patches, 49]`` in 8-bit units.
    """
    y = 255 * metrics.luma(images.double())
    rows = torch.nn.functional.unfold(y, _SIDE, stride=_STRIDE).transpose(1, 2).reshape(-1, _SIDE**2)
    return rows - rows.mean(1, keepdim=True)


def texture_distance(pred: torch.Tensor, high: torch.Tensor) -> float:
    """Fréchet distance between the patches of two image sets: our perception axis, small when textures
    look alike.

    It compares distributions, not pairs: shuffling the images changes nothing. Unlike LPIPS or FID it
    needs no pretrained network, and it sees only second-order statistics of :func:`patches`.
    """
    return float(metrics.fid(patches(high), patches(pred)))


def power_spectrum(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean power of the luma over rings of spatial frequency.

    Args:
        images: Square ``[N, 3, H, H]`` in [0, 1].

    Returns:
        Frequencies in cycles per pixel ``[H/2]`` and mean power ``[H/2]``, both float64, without the
        constant part.

    Raises:
        ValueError: Images that are not square.
    """
    side = images.shape[-1]
    if images.shape[-2] != side:
        raise ValueError(f"images are {images.shape[-2]}×{side}; the spectrum is taken of square ones.")
    y = metrics.luma(images.double())[:, 0]
    # A window that falls to zero at the border keeps the border's jump out of the spectrum.
    window = torch.hann_window(side, periodic=False, dtype=torch.float64, device=y.device)
    y = (y - y.mean((1, 2), keepdim=True)) * window[:, None] * window
    power = torch.fft.fft2(y).abs().square().mean(0)
    frequency = torch.fft.fftfreq(side, dtype=torch.float64, device=y.device)
    ring = (torch.hypot(frequency[:, None], frequency[None, :]) * side).round().long().flatten()
    bins = side // 2 + 1
    inside = ring < bins
    total = torch.zeros(bins, dtype=torch.float64).index_add_(0, ring[inside], power.flatten()[inside])
    count = torch.bincount(ring[inside], minlength=bins)
    return torch.arange(1, bins, dtype=torch.float64) / side, (total / count)[1:]


def compare(
    upscalers: Mapping[str, Callable[[torch.Tensor], torch.Tensor]],
    low: torch.Tensor,
    high: torch.Tensor,
    *,
    scale: int = 4,
) -> dict[str, dict]:
    """Run every upscaler on the same images and measure it the same way.

    Args:
        upscalers: Functions or networks by name.
        low: ``[N, 3, h, w]`` in [0, 1].
        high: The truth, ``[N, 3, scale·h, scale·w]``.
        scale: Enlargement, and the border that is cropped before measuring.

    Returns:
        By name: ``"images"`` (rounded to 8 bits), ``"psnr"`` and ``"ssim"`` ``[N]`` (luma, cropped;
        convention ``basicsr_y``), and ``"texture"``, the :func:`texture_distance`.

    Raises:
        ValueError: Low and high resolution do not belong together, or an upscaler enlarges by another factor.
    """
    low, high = check_pair(low, high, scale)
    convention: dict[str, Any] = {"crop": scale, **metrics.CONVENTIONS["basicsr_y"]}
    results = {}
    for name, upscaler in upscalers.items():
        images = round8(upscale(low, upscaler))
        if images.shape != high.shape:
            raise ValueError(
                f"{name} makes {list(images.shape[-2:])} of {list(low.shape[-2:])}: it is no ×{scale} "
                "upscaler."
            )
        results[name] = {
            "images": images,
            "psnr": metrics.psnr(images, high, **convention),
            "ssim": metrics.ssim(images, high, **convention),
            "texture": texture_distance(images, high),
        }
    return results


def check_pair(low: torch.Tensor, high: torch.Tensor, scale: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Check that ``high`` is ``low`` enlarged ``scale`` times: same number of images, matching sides.

    Raises:
        ValueError: The sizes do not belong together; the sentence names the sizes that would.
    """
    low, high = image_batch(low, "low"), image_batch(high, "high")
    (n, _, h, w), (m, _, height, width) = low.shape, high.shape
    if n != m:
        raise ValueError(f"{n} low-resolution and {m} high-resolution images: pairs need equal numbers.")
    if (height, width) != (h * scale, w * scale):
        raise ValueError(
            f"low resolution {h}×{w} and high resolution {height}×{width} are no ×{scale} pair: crop the "
            f"high-resolution image to {h * scale}×{w * scale}, or make the low-resolution one from it with "
            "degradation.bicubic."
        )
    return low, high
