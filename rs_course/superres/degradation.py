"""High-resolution pictures, and how low-resolution ones come about: the field's bicubic rule, a sensor model,
16-bit data.

A network learns to undo the degradation it was trained on. Which one made the test images belongs beside
every score, and the resizer is part of it: low-resolution images made by another one can cost a network more
than 7 dB. The field's is MATLAB's ``imresize``, which differs from ``torch.nn.functional.interpolate`` in its
kernel (Keys, a = -0.5 instead of -0.75), in the antialiasing when it shrinks, and in how it continues the
image past its border (mirrored, not clamped).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from rs_course.checkpoints.images import image_batch
from rs_course.seeds import noise_like


def cubic(t: torch.Tensor) -> torch.Tensor:
    """Keys' cubic convolution kernel with a = -1/2 (IEEE ASSP 29(6), 1981, eq. 15); zero for abs(t) >= 2."""
    t = t.abs()
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return torch.where(t <= 1, near, torch.where(t <= 2, far, torch.zeros_like(t)))


def resize_taps(length: int, scale: float, *, antialias: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Which input pixels make each output pixel of one axis, and with what weight.

    Args:
        length: Number of input pixels n.
        scale: Output pixels per input pixel.
        antialias: Stretch the kernel by 1/scale when shrinking, so that it is also the low-pass filter.

    Returns:
        Input indices (int64) and weights (float64), each ``[ceil(n * scale), taps]``; every row of weights
        sums to 1.
    """
    out_length = math.ceil(length * scale)
    stretch = scale if antialias and scale < 1 else 1.0
    taps = math.ceil(4 / stretch) + 2
    # Centre of output pixel x in input coordinates, both counted from 1 as in MATLAB.
    centre = torch.arange(1, out_length + 1, dtype=torch.float64) / scale + 0.5 * (1 - 1 / scale)
    index = torch.floor(centre - 2 / stretch)[:, None] + torch.arange(taps, dtype=torch.float64)
    weight = stretch * cubic(stretch * (centre[:, None] - index))
    weight = weight / weight.sum(1, keepdim=True)
    # Mirror with the edge pixel repeated: 1 2 3 continues as 1 2 3 | 3 2 1 | 1 2 3 …
    index = (index.long() - 1) % (2 * length)
    index = torch.minimum(index, 2 * length - 1 - index)
    used = (weight != 0).any(0)
    return index[:, used], weight[:, used]


def _resize_axis(images: torch.Tensor, scale: float, dim: int, antialias: bool) -> torch.Tensor:
    index, weight = resize_taps(images.shape[dim], scale, antialias=antialias)
    column = [-1 if d == dim else 1 for d in range(-images.ndim, 0)]
    total = 0
    for k in range(index.shape[1]):
        pixels = images.index_select(dim, index[:, k].to(images.device))
        total = total + pixels * weight[:, k].to(images).view(column)
    return total


def imresize(images: torch.Tensor, scale: float, *, antialias: bool = True) -> torch.Tensor:
    """Resize by MATLAB's bicubic ``imresize``; differentiable, on the tensor's own device.

    Args:
        images: Float tensor ``[N, C, H, W]`` or ``[C, H, W]``, any range.
        scale: Output pixels per input pixel, for example 1/4 to make the usual low-resolution image.
        antialias: Leave it on to shrink as the field does. Off, fine detail folds into false coarse patterns.

    Returns:
        ``[..., ceil(H * scale), ceil(W * scale)]`` in the input's dtype; like MATLAB's on floats, not
        clipped.

    Raises:
        TypeError: Not a floating-point tensor.
        ValueError: Wrong rank, an empty image, or a scale that is not a positive finite number.
    """
    if not isinstance(images, torch.Tensor) or not images.is_floating_point():
        kind = f"{images.dtype} tensor" if isinstance(images, torch.Tensor) else type(images).__name__
        raise TypeError(f"imresize takes a float tensor [N, C, H, W], not a {kind}: divide uint8 by 255.")
    if images.ndim not in (3, 4) or 0 in images.shape[-2:]:
        raise ValueError(
            f"imresize takes [N, C, H, W] or [C, H, W] with H, W >= 1, not {list(images.shape)}."
        )
    if not (isinstance(scale, int | float) and math.isfinite(scale) and scale > 0):
        raise ValueError(f"scale={scale!r}: give a positive number, such as 1/4 to shrink or 4 to enlarge.")
    if scale < 1 and not antialias:
        warnings.warn(
            "shrinking without antialiasing makes aliased images: networks trained on the field's "
            "low-resolution images lose several dB on them.",
            stacklevel=2,
        )
    # The last digit: official code sums in float32. Enlarging, four taps in order give its very bits;
    # shrinking, a float64 sum of sixteen taps is the nearest to it.
    work = images.to(torch.float64 if scale < 1 or images.dtype == torch.float64 else torch.float32)
    for dim in (-2, -1):
        work = _resize_axis(work, scale, dim, antialias)
    return work.to(images.dtype)


def modcrop(images: torch.Tensor, scale: int = 4) -> torch.Tensor:
    """Cut the right and lower border to sides that are multiples of ``scale``; comes before any shrinking."""
    height, width = (side - side % scale for side in images.shape[-2:])
    return images[..., :height, :width]


def round8(images: torch.Tensor) -> torch.Tensor:
    """Clamp to [0, 1] and round to 8-bit steps (half to even), as if stored in a file and read again."""
    return (images.clamp(0, 1) * 255).round() / 255


def bicubic(high: torch.Tensor, scale: int = 4) -> torch.Tensor:
    """Shrink as the benchmarks do: MATLAB ``imresize`` with antialiasing, clamped and rounded to 8 bits.

    Args:
        high: ``[N, 3, H, W]`` in [0, 1]; H and W multiples of ``scale``.
        scale: Whole number, 2 or more.

    Returns:
        ``[N, 3, H/scale, W/scale]``.

    Raises:
        ValueError: A scale that is no whole number above 1, or sides that it does not divide (see
            :func:`modcrop`).
    """
    high = _divisible(high, scale)
    return round8(imresize(high, 1 / scale))


def sensor(
    high: torch.Tensor, scale: int = 4, *, psf: float = 0.5, noise: float = 0.01, seed: int = 0
) -> torch.Tensor:
    """Shrink as an instrument does: point-spread function, one sample per detector, noise, 8 bits.

    The point-spread function is a Gaussian; the optics of a real instrument are specified by their modulation
    transfer at the Nyquist frequency, which for a Gaussian of ``psf`` low-resolution pixels is
    exp(-(π·psf)² / 2): 0.29 at 0.5.

    Args:
        high: ``[N, 3, H, W]`` in [0, 1]; H and W multiples of ``scale``.
        scale: Whole number, 2 or more.
        psf: Standard deviation of the Gaussian in low-resolution pixels.
        noise: Standard deviation of additive noise, on the [0, 1] scale; image i's noise depends on (seed,
            i) alone.
        seed: Of the noise.

    Returns:
        ``[N, 3, H/scale, W/scale]``.

    Raises:
        ValueError: As for :func:`bicubic`, or a negative ``psf`` or ``noise``.
    """
    high = _divisible(high, scale)
    if psf <= 0 or noise < 0:
        raise ValueError(f"psf={psf} must be positive and noise={noise} not negative.")
    margin = max(0, math.ceil(3 * psf * scale - scale / 2))
    taps = scale + 2 * margin
    # A low-resolution pixel is centred on its scale × scale block, so the window is too.
    offset = torch.arange(taps, dtype=high.dtype, device=high.device) - (taps - 1) / 2
    weight = torch.exp(-(offset**2) / (2 * (psf * scale) ** 2))
    weight = (weight / weight.sum()).view(1, 1, 1, -1).expand(high.shape[1], 1, 1, -1)
    padded = F.pad(high, (margin,) * 4, mode="replicate")
    low = F.conv2d(padded, weight, stride=(1, scale), groups=high.shape[1])
    low = F.conv2d(low, weight.transpose(2, 3), stride=(scale, 1), groups=high.shape[1])
    return round8(low + noise * noise_like(low, seed=seed))


def _divisible(high: torch.Tensor, scale: int) -> torch.Tensor:
    high = image_batch(high, "high")
    if not isinstance(scale, int) or scale < 2:
        raise ValueError(f"scale={scale!r}: the enlargement is a whole number, 2 or more.")
    height, width = high.shape[-2:]
    if height % scale or width % scale or 0 in (height, width):
        raise ValueError(
            f"{height}×{width} pixels do not divide by {scale}: cut them first with "
            f"degradation.modcrop(images, {scale})."
        )
    return high


@dataclass(frozen=True)
class Stretch:
    """The linear map between sensor numbers and the network's [0, 1], kept so that it can be stated and
    undone.

    A network for 8-bit photographs sees 16-bit reflectance (value / 10,000 in Sentinel-2 products) only
    through such a stretch. Scores on stretched images depend on it: report it with them.

    Attributes:
        low: Sensor numbers that become 0, one per band.
        high: Sensor numbers that become 1, one per band.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self):
        if len(self.low) != len(self.high) or not all(
            b > a for a, b in zip(self.low, self.high, strict=False)
        ):
            raise ValueError(
                f"a stretch needs low < high for every band, not {self.low} and {self.high} (is a band "
                "constant?)."
            )

    def apply(self, raw: np.ndarray) -> torch.Tensor:
        """``[H, W, bands]`` sensor numbers → float32 ``[1, bands, H, W]``, clipped to [0, 1].

        Raises:
            ValueError: Not three axes, or another number of bands than the stretch has limits.
        """
        raw = np.asarray(raw)
        if raw.ndim != 3 or raw.shape[2] != len(self.low):
            raise ValueError(
                f"the image has shape {list(raw.shape)}; this stretch takes [H, W, {len(self.low)}]: "
                "choose the bands first."
            )
        low, high = (torch.tensor(v, dtype=torch.float64).view(1, -1, 1, 1) for v in (self.low, self.high))
        image = torch.from_numpy(raw.astype(np.float64)).permute(2, 0, 1)[None]
        return ((image - low) / (high - low)).clamp(0, 1).float()

    def undo(self, images: torch.Tensor):
        """Float ``[1, bands, H, W]`` → float64 array ``[H, W, bands]`` in sensor numbers, not rounded."""
        low, high = (torch.tensor(v, dtype=torch.float64).view(-1, 1, 1) for v in (self.low, self.high))
        return (images[0].detach().cpu().double() * (high - low) + low).permute(1, 2, 0).numpy()


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
