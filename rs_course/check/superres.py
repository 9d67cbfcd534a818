"""Exercises on super-resolution: PSNR, merging ConvLoRA, the affinity matrix, and reports that are wrong."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import torch

from rs_course.check.core import exercise, match
from rs_course.check.formulas import formula

if TYPE_CHECKING:
    from rs_course.check.core import Draws


@formula(
    hints=(
        "Peak signal over noise: the peak is 1 here, the noise is the mean squared error of one image.",
        "Average over channels, rows and columns but not over images: .mean(dim=(1, 2, 3)).",
        "-10 * torch.log10((pred - target).square().mean(dim=(1, 2, 3)))",
    ),
    takes="pred target",
    right="""
        p = pred
        t = target
        error = p - t
        noise = error.square()
        square = noise
        pool = square.mean((1, 2, 3))
        peak = 1
        x = pool / peak**2
        log = torch.log10(x)
        times = 10
        value = -times * log
        back = value
        answer = back
    """,
    slips="""
        pool = square.mean()  # you pooled the squared error of all images before the logarithm; one bad image
          # decides. Give one value per image
        back = value.mean()  # you averaged at the end; give one value per image and let the reader average
        pool = square.mean((0, 2, 3))  # you averaged over the images and kept the channels, dim=(0, 2, 3); it
          # is dim=(1, 2, 3)
        pool = square.mean((2, 3))  # you averaged over rows and columns only, so there is one value per
          # channel: dim=(1, 2, 3)
        pool = square.mean(1)  # you averaged over the channels only: dim=(1, 2, 3)
        pool = square.mean(0)  # you averaged over the images only: dim=(1, 2, 3)
        pool = square.mean((1, 2))  # you averaged over channels and rows only: dim=(1, 2, 3)
        pool = square  # nothing is averaged: the noise is the mean over one image, dim=(1, 2, 3)
        pool = square.mean((2, 3)); back = value.mean(1)  # you averaged the decibels of channels; average the
          # squared error, then take the logarithm once
        pool = square.mean((1, 3)); back = value.mean(1)  # you averaged the decibels of rows; average the
          # squared error, then take the logarithm once
        pool = square.mean((1, 2)); back = value.mean(1)  # you averaged the decibels of columns; average the
          # squared error, then take the logarithm once
        pool = square.mean(1); back = value.mean((1, 2))  # you averaged the decibels of pixels; average the
          # squared error, then take the logarithm once
        pool = square; back = value.mean((1, 2, 3))  # you averaged the decibels of pixels; average the
          # squared error, then take the logarithm once
        pool = square.sum((1, 2, 3))  # you summed the squared errors of an image; take their mean
        pool = square.sum(1).mean((1, 2))  # you summed the channels' errors instead of averaging them
        pool = square.flatten(1).median(1).values  # you took the median of the squared errors; it is their
          # mean
        pool = square.amax((1, 2, 3))  # you took the largest squared error; it is their mean
        log = torch.log(x)  # you used the natural logarithm; decibels count tenths of powers of ten
        log = torch.log2(x)  # you used the logarithm to base 2; decibels count tenths of powers of ten
        log = torch.log1p(x)  # log(1 + x) shifts small errors; the logarithm is of the error itself
        times = 20  # 20·log10 belongs to the root of the mean squared error; without the root it is 10·log10
        times = 5  # you took the root of the mean squared error but kept 10·log10
        times = 1  # the factor 10 is missing
        times = -10  # the sign is wrong: less error means more decibels
        noise = torch.abs(error)  # you averaged absolute errors; the noise power is the mean of squares
        noise = error  # you averaged the errors without squaring them
        noise = error; pool = square.mean((1, 2, 3)).square()  # you squared the mean error; it is the mean of
          # the squares
        answer = 1 / (p - t).square().mean((1, 2, 3))  # the logarithm is missing: this is 1 / MSE
        answer = (p - t).square().mean((1, 2, 3))  # this is the mean squared error; PSNR is -10·log10 of it
        answer = (p - t).square().mean((1, 2, 3)).sqrt()  # this is the root of the mean squared error; PSNR
          # is in decibels
        peak = 255.0  # you used 255 as the peak, but these images lie in [0, 1]: 48.13 dB too many
        peak = 255.0**0.5  # you used 255 as the peak and forgot its square
        peak = t.amax((1, 2, 3))  # you divided by the image's own maximum; the peak is that of the format, 1
        peak = p.amax((1, 2, 3))  # you used the prediction's own maximum as the peak; it is that of the
          # format, 1
        peak = t.max()  # you used the batch's maximum as the peak; it is that of the format, 1
        peak = t.amax((1, 2, 3)) - t.amin((1, 2, 3))  # you used the image's own range as the peak; it is that
          # of the format, 1
        peak = t.square().mean((1, 2, 3)).sqrt()  # the signal is the image's own power here (that is SNR);
          # the peak of PSNR is 1
        peak = 2.0  # the peak is 2, that of images in [-1, 1]; these lie in [0, 1]
        noise = (error - error.mean((1, 2, 3), keepdim=True)).square()  # you subtracted the means first: a
          # wrong brightness is noise as well
        noise = error[..., 1:-1, 1:-1].square()  # a border was cut off; nothing is cropped here
        error = ((255 * p).round() - (255 * t).round()) / 255  # the images were rounded to whole bytes first;
          # these are real numbers
        error = p + t  # the images are added; the error is their difference
        error = torch.einsum('nchw,c->nhw', p - t, _LUMA.double())[:, None]  # this is the luma's PSNR; it is
          # asked in colour
        error = (p - t).mean(1, keepdim=True)  # this is the grey image's PSNR; it is asked in colour
    """,
    name="PSNR",
    done="one value per image, from its own mean squared error",
)
def psnr(random: Draws):
    """``student(pred, target)`` → PSNR in dB ``[N]`` of two batches in [0, 1]."""
    n, height, width = random.sizes(3, low=5)
    target = random.uniform(0.05, 0.95, n, 3, height, width)
    spread = torch.linspace(0.02, 0.3, n).roll(2).reshape(-1, 1, 1, 1)
    return (target + spread * random.normal(*target.shape) + 0.02).clamp(0, 1), target


_LUMA = torch.tensor([0.299, 0.587, 0.114])


@formula(
    hints=(
        "B @ A is a matrix of O·k rows and I·k columns; the kernel has the same number of entries.",
        "Reshape re-reads the product row by row into (O, I, k, k); the scale is alpha / r, r = "
        "A.shape[0] / k.",
        "weight + (B @ A).reshape(weight.shape) * alpha / (A.shape[0] // weight.shape[-1])",
    ),
    takes="weight a b alpha",
    right="""
        w = weight
        s = w.shape
        r = len(a) // s[-1]
        scale = alpha / r
        ba = b @ a
        read = ba.reshape(s)
        frozen = 1
        sign = 1
        answer = frozen * w + sign * scale * read
    """,
    slips="""
        frozen = 0.0  # that is the update ΔW alone; add the frozen kernel
        sign = 0.0  # that is the frozen kernel; the update is missing
        sign = -1.0  # you subtracted the update: that unmerges
        frozen = -1.0  # the frozen kernel is subtracted
        sign = 2.0  # the update was added twice
        scale = 1.0  # the scale alpha / r is missing
        scale = alpha  # you scaled by alpha; it is alpha / r
        scale = 1 / r  # you divided by r and left out alpha; it is alpha / r
        scale = r  # you scaled by r; it is alpha / r
        scale = r / alpha  # the scale is upside down, r / alpha; it is alpha / r
        scale = alpha * r  # you multiplied alpha by r; it is alpha / r
        scale = alpha / r**0.5  # you divided by √r (rsLoRA); it is alpha / r
        scale = alpha**2 / r  # alpha is squared; it is alpha / r
        scale = alpha / len(a)  # you divided by the number of rows of A, which is r·k; r is that number over
          # k
        scale = alpha / a.shape[1]  # you divided by the number of columns of A, which is I·k; r is the rows
          # of A over k
        scale = alpha / w.shape[1]  # you took I for r; r is the rows of A over k
        scale = alpha / w.shape[0]  # you took O for r; r is the rows of A over k
        scale = alpha / len(b)  # you divided by the number of rows of B, which is O·k; r is the rows of A
          # over k
        scale = alpha / w.shape[-1]  # you took k for r; r is the rows of A over k
        scale = alpha * w.shape[-1] / r  # you took r / k for r; divide the rows of A by k once
        scale = alpha * w.shape[-1]**2 / len(a)  # you divided the rows of A by k²; r is the rows of A over k
        answer = (w + (b @ a).reshape(w.shape)) * alpha * w.shape[-1] / len(a)  # you scaled the frozen kernel
          # as well
        answer = w * alpha * w.shape[-1] / len(a) + (b @ a).reshape(w.shape)  # the frozen kernel is scaled,
          # the update is not
        answer = w * (b @ a).reshape(w.shape) * alpha * w.shape[-1] / len(a)  # the two are multiplied; add
          # the update
        read = ba.reshape(s[0], s[2], s[1], s[3]).permute(0, 2, 1, 3)  # you permuted the product into kernel
          # positions; the official layer re-reads it row by row (reshape, no permute)
        read = ba.reshape(s[2], s[0], s[3], s[1]).permute(1, 3, 0, 2)  # you put the kernel axes first and
          # permuted; re-read the product row by row (reshape)
        read = ba.reshape(s).transpose(2, 3)  # you read (O, I, k, k) with the two kernel axes swapped
        read = ba.reshape(s[1], s[0], *s[2:]).transpose(0, 1)  # you read the product as (I, O, k, k) and
          # transposed; re-read it as (O, I, k, k)
        read = ba.T.reshape(s)  # you read the product column by column; reshape re-reads it row by row
        read = ba.reshape(s).flip(2, 3)  # the kernel is turned round by 180 degrees
        scale = alpha / 2  # r is 2 in your code whatever the layer is; it is the rows of A over k
        scale = alpha / 3  # r is 3 in your code whatever the layer is; it is the rows of A over k
        scale = alpha / 4  # r is 4 in your code whatever the layer is; it is the rows of A over k
        scale = alpha / 8  # r is 8 in your code whatever the layer is; it is the rows of A over k
        scale = alpha / 16  # r is 16 in your code whatever the layer is; it is the rows of A over k
    """,
    shapes="""
        (len(b), a.shape[1])  # this is a matrix; reshape it to the kernel's (O, I, k, k)
    """,
    name="the merged kernel",
    done="W + reshape(B A)·alpha / r: one ordinary convolution, at no cost when it runs",
)
def merge(random: Draws):
    """``student(weight, A, B, alpha)`` → the merged kernel ``[O, I, k, k]`` of a ConvLoRA layer."""
    out, inn = random.sizes(2, low=6)
    k, rank, alpha = random.cycle((3, 2, 5.0), (5, 3, 1.0), (1, 4, 8.0), (3, 1, 0.5))
    weight = random.normal(out, inn, k, k)
    return weight, random.normal(rank * k, inn * k), random.normal(out * k, rank * k), alpha


def _unit(f):
    return f / f.norm(dim=1, keepdim=True)


@formula(
    hints=(
        "Each pixel is a vector of C numbers. Compare all pixels with all pixels, not channels with "
        "channels.",
        "Flatten to [N, C, h·w], divide by the norm over C (dim=1), multiply the transpose with it.",
        "f = features.flatten(2); f = f / f.norm(dim=1, keepdim=True); return f.transpose(1, 2) @ f",
    ),
    takes="features",
    right="""
        x = features
        flat = x.flatten(2)
        f = flat
        unit = f / f.norm(dim=1, keepdim=True)
        m = unit.transpose(1, 2) @ unit
        back = m
        answer = back
    """,
    slips="""
        unit = f  # you left out the normalisation: bright pixels now count more
        unit = f / f.norm(dim=2, keepdim=True)  # you normalised over the pixels (dim=2); each pixel's own
          # vector, over the channels (dim=1), has length one
        unit = f / f.norm(dim=0, keepdim=True)  # you normalised over the images (dim=0); each pixel's own
          # vector, over the channels (dim=1), has length one
        unit = f / f.flatten(1).norm(dim=1)[:, None, None]  # you divided by one norm for the whole image;
          # each pixel has its own
        unit = f / f.norm()  # you divided by one norm for the whole batch; each pixel has its own
        unit = f / f.square().sum(1, keepdim=True)  # you normalised by the sum of squares; a length is its
          # root
        unit = f / f.abs().sum(1, keepdim=True)  # you normalised by the sum of absolute values; a length is
          # the root of the sum of squares
        unit = f / f.sum(1, keepdim=True)  # you normalised by the sum; a length is the root of the sum of
          # squares
        unit = f / f.amax(1, keepdim=True)  # you normalised by the largest value; a length is the root of the
          # sum of squares
        unit = f / f.square().mean(1, keepdim=True).sqrt()  # you normalised by the root of the mean square;
          # the diagonal is then C, not 1
        unit = f.softmax(1)  # a softmax over the channels is no normalisation to length one
        answer = x.flatten(2).transpose(1, 2) @ _unit(x.flatten(2))  # only one of the two factors is
          # normalised; both are
        answer = _unit(x.flatten(2)).transpose(1, 2) @ x.flatten(2)  # only one of the two factors is
          # normalised; both are, and the answer is symmetric
        unit = _unit(f - f.mean(1, keepdim=True))  # you subtracted the pixel's mean first: that is
          # correlation, not cosine
        unit = _unit(f - f.mean(2, keepdim=True))  # you subtracted the image's mean first; the cosine takes
          # the vectors as they are
        flat = x.transpose(2, 3).flatten(2)  # you flattened columns before rows
        flat = x.reshape(len(x), -1, x.shape[1]).transpose(1, 2)  # reshape(n, h*w, c) does not move the
          # channels, it scrambles them: flatten(2), then transpose
        flat = x.reshape(x.shape[1], len(x), -1).transpose(0, 1)  # reshape(c, n, h*w) does not move the axes,
          # it scrambles them: flatten(2)
        back = m.softmax(-1)  # a softmax makes it attention; affinity is the cosine itself
        back = m / x.shape[1]**0.5  # you divided by √C as attention does; a cosine needs no such factor
        back = m / x.shape[1]  # you divided by C; a cosine is a sum over the channels, not a mean
        back = m / m.shape[-1]  # you divided by the number of pixels
        back = 1 - m  # you took distances (1 − cosine); affinity is 1 for equal pixels
        back = torch.abs(m)  # you took absolute values; opposite pixels have affinity −1
        back = m.clamp_min(0)  # you cut negative values off; opposite pixels have affinity −1
        back = (m + 1) / 2  # you mapped the cosine to [0, 1]; it runs from −1 to 1
        back = torch.square(m)  # you squared the cosine
        back = m - torch.diag_embed(m.diagonal(dim1=1, dim2=2))  # you removed the diagonal; a pixel is alike
          # to itself
        answer = torch.cdist(x.flatten(2).transpose(1, 2), x.flatten(2).transpose(1, 2))  # you took Euclidean
          # distances; affinity is the cosine
        answer = torch.cdist(_unit(x.flatten(2)).transpose(1, 2), _unit(x.flatten(2)).transpose(1, 2))  # you
          # took Euclidean distances of unit vectors; affinity is the cosine
        answer = x.flatten(2) @ x.flatten(2).transpose(1, 2)  # you compared channels with channels ([N, C,
          # C]), in which teacher and student differ; compare pixels: transpose the first factor
    """,
    shapes="""
        (len(x), x.shape[1], x.shape[1])  # you compared channels with channels ([N, C, C]), in which teacher
          # and student differ; compare pixels: transpose the first factor
        (x.shape[2] * x.shape[3], x.shape[2] * x.shape[3])  # you mixed the images of the batch; every image
          # has its own matrix
        (len(x) * x.shape[2] * x.shape[3], len(x) * x.shape[2] * x.shape[3])  # you compared the pixels of all
          # images with each other; every image has its own matrix
        (len(x), len(x))  # you compared images with images; compare the pixels of each image
        (len(x), *x.shape[2:], *x.shape[2:])  # the pixels are still h by w; the matrix is [N, h·w, h·w]
    """,
    name="the affinity matrix",
    done="cosine of every pixel with every other: 1 on the diagonal, whatever the number of channels",
)
def affinity(random: Draws):
    """``student(features)`` → spatial affinity ``[N, h·w, h·w]`` of maps ``[N, C, h, w]``."""
    return 0.4 + random.normal(*random.sizes(4))


CAUSES = {
    "aliased": "the low-resolution images were made without antialiasing",
    "data range": "the peak was taken as 255 for images in [0, 1]",
    "luma": "luma was measured where colour was announced",
    "wrap-around": "8-bit numbers were subtracted as 8-bit numbers, so that -1 became 255",
}


@functools.cache
def reports() -> dict[str, float]:
    """Five PSNR values in dB that five laboratories report for bicubic ×4 on the same three simulated scenes.

    "honest" is right: colour, crop 4, antialiased low resolution, mean over images. A to D each have a fault.
    """
    import warnings

    from rs_course import metrics
    from rs_course.superres import baselines, degradation
    from rs_course.superres.degradation import imresize

    high, _ = degradation.high_resolution(count=5)
    high = high[[0, 3, 4]].double()
    restored = degradation.round8(baselines.bicubic(degradation.bicubic(high)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        aliased = degradation.round8(imresize(high, 1 / 4, antialias=False))
    a, b = ((255 * x).round().byte() for x in (restored, high))
    wrapped = (a - b)[..., 4:-4, 4:-4].double().square().mean((1, 2, 3))
    values = {
        "honest": metrics.psnr(restored, high, crop=4),
        "A": metrics.psnr(restored, high, crop=4) + 20 * math.log10(255),
        "B": 10 * torch.log10(255**2 / wrapped),
        "C": metrics.psnr(restored, high, crop=4, channel="y"),
        "D": metrics.psnr(baselines.bicubic(aliased), high, crop=4),
    }
    return {name: round(value.mean().item(), 2) for name, value in values.items()}


@exercise(
    hints=(
        "Compare each value with the honest one: by how many decibels, and is that a round number of "
        "something?",
        "20·log10(255) = 48.13. Luma PSNR lies one to four dB above colour PSNR. Bicubic loses little on "
        "aliased "
        "images (a network loses much). A wrapped difference turns every -1 into an error of 255.",
        "A is up by 48.13 dB: the data range. C is up by little: luma. D is down by little: aliased. B is no "
        "picture at all: wrap-around.",
    )
)
def wrong_metric(answers: dict):
    """``answers``: dict from report letter "A" … "D" to a key of :data:`CAUSES`."""
    truth = {"A": "data range", "B": "wrap-around", "C": "luma", "D": "aliased"}
    match(answers, truth, CAUSES, _objection)
    return "every number was computed correctly by some formula; only the convention tells them apart"


def _objection(letter: str, cause: str) -> str:
    difference = reports()[letter] - reports()["honest"]
    return (
        f"report {letter} differs from the honest value by {difference:+.2f} dB; that is not what happens "
        f"when {CAUSES[cause]}"
    )
