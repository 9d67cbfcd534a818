"""Checks of A3 about degradation: MATLAB's bicubic, with which the field makes its low resolution."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from rs_course.grading.exam import of_call
from rs_course.grading.exams import images as earth

SCALE = 4


def _cubic(x, a=-0.5):
    x = np.abs(np.asarray(x, dtype=np.float64))
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _one_sided(x):
    x = np.asarray(x, dtype=np.float64)
    return np.where(x >= 0, _cubic(x), 1 - 2.5 * x**2 + 1.5 * x**3)


def _downscale(images, scale):
    from rs_course.superres import imresize

    return imresize(images.double(), 1 / scale)


def _resample(images, scale, *, a=-0.5, antialias=True, shift=0.0, normalise=True, border="symmetric"):
    """Bicubic shrinking by ``scale`` as two matrix products, with one thing done differently."""

    def matrix(n):
        stretch = scale if antialias else 1
        taps = np.arange(-int(2 * stretch) - 2, int(2 * stretch) + 3)
        rows = np.zeros((n // scale, n))
        for out in range(n // scale):
            centre = (out + 0.5) * scale - 0.5 + shift
            where = int(np.floor(centre)) + taps
            weights = _cubic((where - centre) / stretch, a) / stretch
            if border == "symmetric":
                source = np.minimum(where % (2 * n), 2 * n - 1 - where % (2 * n))
            elif border == "edge":
                source = where.clip(0, n - 1)
            else:
                inside = (where >= 0) & (where < n)
                source, weights = where.clip(0, n - 1), weights * inside
            if normalise:
                weights = weights / weights.sum()
            np.add.at(rows[out], source, weights)
        return torch.from_numpy(rows)

    return matrix(images.shape[-2]) @ images.double() @ matrix(images.shape[-1]).T


def _resample_mistake(**change):
    return lambda images, scale: _resample(images, scale, **change)


def _interpolate(images, scale, **options):
    return F.interpolate(images.double(), scale_factor=1 / scale, **options)


_DOWNSCALE_MISTAKES = {
    "the kernel is not stretched: without antialiasing detail folds into false patterns": _resample_mistake(
        antialias=False
    ),
    "the pixel centres are off: output pixel i looks at (i + ½)·scale − ½": _resample_mistake(
        shift=-(SCALE - 1) / 2
    ),
    "the kernel has a = −0.75 (torch's and OpenCV's); MATLAB's is −0.5": _resample_mistake(a=-0.75),
    "beyond the border the image is mirrored, you repeated the edge pixel": _resample_mistake(border="edge"),
    "beyond the border the image is mirrored, you took zeros": _resample_mistake(
        border="zero", normalise=False
    ),
    "beyond the border the image is mirrored, you dropped the taps": _resample_mistake(border="zero"),
    "this is torch's bicubic interpolation without antialiasing": lambda images, scale: _interpolate(
        images, scale, mode="bicubic"
    ),
    "this is a mean over blocks, not bicubic": lambda images, scale: _interpolate(images, scale, mode="area"),
    "this keeps every fourth pixel, which is no filter at all": lambda images, scale: images[
        ..., ::scale, ::scale
    ],
    "the result was rounded or clipped: return the plain numbers": lambda images, scale: (
        _downscale(images, scale).clamp(0, 1).mul(255).round() / 255
    ),
}

_check_cubic = of_call("cubic", "cubic(x)", expected=_cubic, tolerance=1e-5)
_check_downscale = of_call("downscale", "downscale(images, scale)", expected=_downscale, tolerance=2e-5)
BICUBIC = (
    _check_cubic(
        "cubic.values",
        0.25,
        lambda rng: {"x": torch.tensor([-1.5, -0.5, 0.0, 0.25, 1.0, 1.75, 2.5])},
        mistakes={
            "a is −0.5 here, you took −0.75": lambda x: _cubic(x, -0.75),
            "a is −0.5 here, you took −1": lambda x: _cubic(x, -1.0),
            "the kernel is even: take |x| first": _one_sided,
        },
        public=True,
    ),
    _check_cubic(
        "cubic.anywhere",
        0.75,
        lambda rng: {"x": torch.from_numpy(rng.uniform(-3, 3, 40))},
        mistakes={
            "a is −0.5 here, you took −0.75": lambda x: _cubic(x, -0.75),
            "the kernel is even: take |x| first": _one_sided,
        },
    ),
    _check_downscale(
        "downscale.constant",
        0.5,
        lambda rng: {"images": torch.full((1, 3, 32, 48), 0.25), "scale": SCALE},
        mistakes={
            "the weights of each output pixel must add up to 1": _resample_mistake(
                border="zero", normalise=False
            )
        },
        tolerance=1e-4,
        public=True,
    ),
    _check_downscale(
        "downscale.scenes",
        2.5,
        lambda rng: {"images": earth.tensor(earth.tiles(rng, 2)), "scale": SCALE},
        mistakes=_DOWNSCALE_MISTAKES,
    ),
    _check_downscale(
        "downscale.other_scale",
        1,
        lambda rng: {"images": earth.tensor(earth.tiles(rng, 1))[..., :48, :36], "scale": 3},
        mistakes={
            "the scale is an argument, you always shrink by 4": lambda images, scale: _downscale(images, 4)
        },
    ),
)
