"""Exam of A3, super-resolution: measure it, degrade for it, adapt and distil for it, and do it.

Here are the measures, PSNR and SSIM as papers report them, and the bicubic degradation; the rest is in
:mod:`.sr_upscaler`.

Expected values come from :mod:`rs_course.metrics` and :mod:`rs_course.superres`, which are tested against the
official codes; images from the simulated Earth, so every secret seed is a new part of it.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from rs_course.grading import exams as earth
from rs_course.grading.exam import Exam, of_call
from rs_course.grading.exams.sr_upscaler import AFFINITY, BLUR, LORA, SCALE, UPSCALER
from rs_course.grading.sandbox import Limits

# --- PSNR and SSIM -----------------------------------------------------------------------------------------


def _flat_pair(rng):
    target = torch.from_numpy(rng.uniform(0.2, 0.8, (2, 3, 16, 16)).astype(np.float32))
    return {"pred": target + torch.tensor([0.1, -0.01]).view(2, 1, 1, 1), "target": target}


def _noisy_pair(rng):
    target = earth.tensor(earth.tiles(rng, 3))
    noise = torch.from_numpy(rng.normal(size=tuple(target.shape)).astype(np.float32))
    level = torch.tensor([0.02, 0.05, 0.12]).view(3, 1, 1, 1)
    # A dark frame, so that the border matters; the channels differ, so that their order of averaging does.
    pred = target + level * noise * torch.tensor([0.5, 1.0, 1.5]).view(1, 3, 1, 1)
    pred[..., :6, :] *= 0.7
    pred[..., :, :5] *= 0.8
    return {"pred": pred.clamp(0, 1), "target": target}


def _same_pair(rng):
    target = earth.tensor(earth.tiles(rng, 1))
    return {"pred": target.clone(), "target": target}


def _psnr(pred, target, crop=0):
    from rs_course.metrics import psnr

    return psnr(pred, target, crop=crop)


def _mse(pred, target):
    return ((pred.double() - target.double()) ** 2).mean((1, 2, 3))


def _db(mse):
    return -10 * torch.log10(mse)


_PSNR_MISTAKES = {
    "one value per image is wanted: you averaged the error over the whole batch": lambda pred, target, **_: (
        _db(((pred.double() - target.double()) ** 2).mean()).expand(len(pred))
    ),
    "this is the mean squared error itself, not yet in decibels": lambda pred, target, **_: _mse(
        pred, target
    ),
    "the sign is wrong: a smaller error must give a larger PSNR": lambda pred, target, **_: (
        -_db(_mse(pred, target))
    ),
    "the logarithm must have base 10, you used the natural one": lambda pred, target, **_: (
        -10 * _mse(pred, target).log()
    ),
    "10·log10 belongs to the squared error, 20·log10 to its root: you mixed them": lambda pred, target, **_: (
        2 * _db(_mse(pred, target))
    ),
    "the error must be squared before it is averaged, you took absolute values": lambda pred, target, **_: (
        _db((pred.double() - target.double()).abs().mean((1, 2, 3)) ** 2)
    ),
    "average the error over channels first, not the decibels of the channels": lambda pred, target, **_: _db(
        ((pred.double() - target.double()) ** 2).mean((2, 3))
    ).mean(1),
    "the images lie in [0, 1]: the peak is 1, not 255": lambda pred, target, **_: (
        _db(_mse(pred, target)) + 20 * np.log10(255)
    ),
}

_CROP_MISTAKES = {
    "crop was ignored": lambda pred, target, crop: _psnr(pred, target),
    "crop only cuts the top and the left: all four sides lose the border": lambda pred, target, crop: _db(
        _mse(pred[..., crop:, crop:], target[..., crop:, crop:])
    ),
    "crop only cuts the bottom and the right: all four sides lose the border": lambda pred, target, crop: _db(
        _mse(pred[..., :-crop, :-crop], target[..., :-crop, :-crop])
    ),
    "half of crop was cut: each side loses crop pixels": lambda pred, target, crop: _psnr(
        pred, target, crop // 2
    ),
    "twice the crop was cut: each side loses crop pixels": lambda pred, target, crop: _psnr(
        pred, target, 2 * crop
    ),
}

_check_psnr = of_call("psnr", "psnr(pred, target)", expected=_psnr, mistakes=_PSNR_MISTAKES)
PSNR = (
    _check_psnr("psnr.constant_error", 0.5, _flat_pair, public=True),
    _check_psnr("psnr.per_image", 1, _noisy_pair),
    _check_psnr(
        "psnr.crop",
        1,
        lambda rng: {**_noisy_pair(rng), "crop": 4},
        "psnr(pred, target, crop=crop)",
        mistakes=_CROP_MISTAKES,
    ),
    _check_psnr(
        "psnr.identical",
        0.5,
        _same_pair,
        expected=lambda pred, target: np.array([np.inf]),
        mistakes={
            "the PSNR of equal images is infinite: do not add a small number": lambda pred, target: [80.0]
        },
    ),
)


def _window(size, sigma):
    x = np.arange(size) - (size - 1) / 2
    line = np.exp(-(x**2) / (2 * sigma**2))
    return np.outer(line, line) / line.sum() ** 2


def _window_inputs(rng):
    return {"size": int(rng.choice([7, 9, 13])), "sigma": float(rng.uniform(0.8, 2.5))}


def _ssim(pred, target):
    from rs_course.metrics import ssim

    return ssim(pred, target)


def _ssim_variant(pred, target, *, window=None, pad=0, c1=0.01**2, c2=0.03**2, unbiased=False, pooled=False):
    """SSIM with one thing done differently; with the defaults it is the right one."""
    window = torch.from_numpy(_window(11, 1.5) if window is None else window)
    kernel = window.expand(3, 1, *window.shape)

    def average(images):
        return F.conv2d(F.pad(images, (pad,) * 4, mode="reflect") if pad else images, kernel, groups=3)

    x, y = pred.double(), target.double()
    mx, my = average(x), average(y)
    factor = window.numel() / (window.numel() - 1) if unbiased else 1.0
    vx, vy, cov = (factor * (average(a * b) - average(a) * average(b)) for a, b in ((x, x), (y, y), (x, y)))
    value = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    means = value.mean((1, 2, 3))
    return means.mean().expand(len(pred)) if pooled else means


_SSIM_MISTAKES = {
    "a flat window was used: the window is a Gaussian": partial(
        _ssim_variant, window=np.full((11, 11), 1 / 121)
    ),
    "a flat 7×7 window was used: the window is an 11×11 Gaussian": partial(
        _ssim_variant, window=np.full((7, 7), 1 / 49)
    ),
    "the border was padded: keep only the places where the whole window fits": partial(_ssim_variant, pad=5),
    "the constants C1 = 0.01² and C2 = 0.03² are missing": partial(_ssim_variant, c1=0.0, c2=0.0),
    "K1 and K2 must be squared: C1 = (0.01)², C2 = (0.03)²": partial(_ssim_variant, c1=0.01, c2=0.03),
    "C1 and C2 are exchanged": partial(_ssim_variant, c1=0.03**2, c2=0.01**2),
    "the constants are those of a range of 255: these images lie in [0, 1]": partial(
        _ssim_variant, c1=2.55**2, c2=7.65**2
    ),
    "the variances must not be corrected by n/(n−1)": partial(_ssim_variant, unbiased=True),
    "the window has another width: sigma is 1.5": partial(_ssim_variant, window=_window(11, 1.0)),
    "one value per image is wanted: you averaged over the batch": partial(_ssim_variant, pooled=True),
}

_check_gaussian_window = of_call("ssim", "gaussian_window(size, sigma)", expected=_window, tolerance=1e-6)
_check_ssim = of_call("ssim", "ssim(pred, target)", expected=_ssim)
SSIM = (
    _check_gaussian_window(
        "ssim.window",
        1,
        lambda rng: {"size": 11, "sigma": 1.5},
        mistakes={
            "the weights of the window must add up to 1": lambda size, sigma: (
                _window(size, sigma) / _window(size, sigma).max()
            ),
            "the exponent needs the factor 1/2: exp(−x²/(2σ²))": lambda size, sigma: _window(
                size, sigma / 2**0.5
            ),
            "the Gaussian is not centred": lambda size, sigma: np.roll(_window(size, sigma), 1, (0, 1)),
        },
        public=True,
    ),
    _check_gaussian_window("ssim.other_window", 0.5, _window_inputs),
    _check_ssim("ssim.per_image", 2, _noisy_pair, mistakes=_SSIM_MISTAKES, tolerance=2e-5),
    _check_ssim(
        "ssim.identical",
        0.5,
        _same_pair,
        expected=lambda pred, target: [1.0],
        mistakes={"the SSIM of equal images is 1: did you return 1 − SSIM?": lambda pred, target: [0.0]},
        tolerance=1e-5,
    ),
)


# --- MATLAB's bicubic, with which the field makes its low resolution ---------------------------------------


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


def _interpolate(images, scale, **options):
    return F.interpolate(images.double(), scale_factor=1 / scale, **options)


_DOWNSCALE_MISTAKES = {
    "the kernel is not stretched: without antialiasing detail folds into false patterns": partial(
        _resample, antialias=False
    ),
    "the pixel centres are off: output pixel i looks at (i + ½)·scale − ½": partial(
        _resample, shift=-(SCALE - 1) / 2
    ),
    "the kernel has a = −0.75 (torch's and OpenCV's); MATLAB's is −0.5": partial(_resample, a=-0.75),
    "beyond the border the image is mirrored, you repeated the edge pixel": partial(_resample, border="edge"),
    "beyond the border the image is mirrored, you took zeros": partial(
        _resample, border="zero", normalise=False
    ),
    "beyond the border the image is mirrored, you dropped the taps": partial(_resample, border="zero"),
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
            "the weights of each output pixel must add up to 1": partial(
                _resample, border="zero", normalise=False
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


exam = Exam(
    name="a3_super_resolution",
    title="A3 Super-resolution",
    checks=(*PSNR, *SSIM, *BICUBIC, *LORA, *AFFINITY, *BLUR, *UPSCALER),
    leaderboard=("upscaler.hidden_scenes", "PSNR gain over bicubic in dB"),
    preload=("numpy", "torch", "torch.nn.functional"),
    limits=Limits(step_s=60.0, wall_s=600.0),
    explain=("explain", "upscaler", "upscale"),
)
