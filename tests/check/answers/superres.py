"""Answers to the exercises of its lesson: right ones, and wrong ones by what their verdict must say."""

import math

import numpy as np
import torch

from rs_course import metrics
from rs_course.superres import conv_lora, learning


def psnr(p, t):
    return -10 * torch.log10((p - t).square().mean((1, 2, 3)))


def pooled(pool, back=lambda value: value):
    return lambda p, t: back(-10 * torch.log10(pool((p - t).square())))


def merged(scale=lambda w, a, b, s, r: s / r, read=lambda m, shape: m.reshape(shape), frozen=1, sign=1):
    def answer(w, a, b, s):
        r = a.shape[0] // w.shape[-1]
        return frozen * w + sign * scale(w, a, b, s, r) * read(b @ a, w.shape)

    return answer


def unit(f, dim=1):
    return f / f.norm(dim=dim, keepdim=True)


def gram(f):
    return f.transpose(1, 2) @ f


def affinity(f):
    return gram(unit(f.flatten(2)))


def by_loop(features):
    out = torch.zeros(len(features), features[0, 0].numel(), features[0, 0].numel())
    for n, image in enumerate(features):
        pixels = image.flatten(1).T
        for i, a in enumerate(pixels):
            for j, b in enumerate(pixels):
                out[n, i, j] = a @ b / (a.norm() * b.norm())
    return out


RIGHT = {
    "psnr": [
        psnr,
        lambda p, t: metrics.psnr(p, t),
        lambda p, t: [10 * math.log10(1 / ((a - b) ** 2).mean().item()) for a, b in zip(p, t, strict=True)],
        lambda p, t: -20 * np.log10(np.sqrt(((p - t).numpy() ** 2).mean((1, 2, 3)))),
    ],
    "merge": [
        merged(),
        lambda w, a, b, s: w + conv_lora.delta_weight(a, b, w.shape, alpha=s),
        lambda w, a, b, s: (w + (b @ a).view_as(w) * s * w.shape[3] / len(a)).double().numpy(),
    ],
    "affinity": [
        affinity,
        learning.affinity,
        by_loop,
        lambda f: torch.einsum("ncp,ncq->npq", *[torch.nn.functional.normalize(f.flatten(2), dim=1)] * 2),
    ],
}
WRONG = {
    "psnr": {
        "pooled the squared error": pooled(lambda e: e.mean()),
        "averaged at the end": pooled(lambda e: e.mean((1, 2, 3)), lambda value: value.mean()),
        "kept the channels": pooled(lambda e: e.mean((0, 2, 3))),
        "one value per channel": pooled(lambda e: e.mean((2, 3))),
        "decibels of channels": pooled(lambda e: e.mean((2, 3)), lambda value: value.mean(1)),
        "decibels of rows": pooled(lambda e: e.mean((1, 3)), lambda value: value.mean(1)),
        "decibels of pixels": pooled(lambda e: e.mean(1), lambda value: value.mean((1, 2))),
        "PSNR is not right: the largest error is [^;]*$": lambda p, t: (
            (psnr(p, t) + psnr(p[..., 1:], t[..., 1:])) / 2
        ),
        "rounded; give all decimals": lambda p, t: psnr(p, t).double().round(decimals=2),
        "natural logarithm": lambda p, t: -10 * torch.log((p - t).square().mean((1, 2, 3))),
        "without the root it is 10·log10": lambda p, t: 2 * psnr(p, t),
        "kept 10·log10": lambda p, t: -10 * torch.log10((p - t).square().mean((1, 2, 3)).sqrt()),
        "averaged absolute errors": lambda p, t: -10 * torch.log10((p - t).abs().mean((1, 2, 3))),
        "255 as the peak, but": lambda p, t: psnr(p, t) + 20 * math.log10(255),
        "image's own maximum": lambda p, t: psnr(p, t) + 20 * torch.log10(t.amax((1, 2, 3))),
        "batch's maximum": lambda p, t: psnr(p, t) + 20 * torch.log10(t.max()),
        "subtracted the means": lambda p, t: -10 * torch.log10((p - t).flatten(1).var(1, correction=0)),
        "summed the channels": pooled(lambda e: e.sum(1).mean((1, 2))),
        "summed the squared errors": pooled(lambda e: e.sum((1, 2, 3))),
        "sign is wrong": lambda p, t: -psnr(p, t),
        "factor 10 is missing": lambda p, t: psnr(p, t) / 10,
        "mean squared error; PSNR": lambda p, t: (p - t).square().mean((1, 2, 3)),
        "root of the mean squared error; PSNR": lambda p, t: (p - t).square().mean((1, 2, 3)).sqrt(),
        "off by the same amount": lambda p, t: psnr(p, t) + 1,
        "only the first": lambda p, t: psnr(p, t)[0],
        "does not depend on target": lambda p, t: psnr(p, 0 * p + 0.5),
    },
    "merge": {
        "update ΔW alone": merged(frozen=0),
        "update is missing": merged(sign=0),
        "alpha / r is missing": merged(lambda w, a, b, s, r: 1),
        "you scaled by alpha;": merged(lambda w, a, b, s, r: s),
        "number of rows of A, which is": merged(lambda w, a, b, s, r: s / len(a)),
        "number of columns of A": merged(lambda w, a, b, s, r: s / a.shape[1]),
        "you took I for r": merged(lambda w, a, b, s, r: s / w.shape[1]),
        "you took k for r": merged(lambda w, a, b, s, r: s / w.shape[2]),
        "r is 2 in your code": merged(lambda w, a, b, s, r: s / 2),
        "upside down": merged(lambda w, a, b, s, r: r / s),
        "that unmerges": merged(sign=-1),
        "scaled the frozen kernel": lambda w, a, b, s: (
            (w + (b @ a).reshape(w.shape)) * s * w.shape[3] / len(a)
        ),
        "no permute": merged(read=lambda m, s: m.reshape(s[0], s[2], s[1], s[3]).permute(0, 2, 1, 3)),
        "kernel axes swapped": merged(read=lambda m, s: m.reshape(s).transpose(2, 3)),
        "column by column": merged(read=lambda m, s: m.T.reshape(s)),
        "180 degrees": merged(read=lambda m, s: m.reshape(s).flip(2, 3)),
        "added twice": merged(sign=2),
        "does not depend on alpha": merged(lambda w, a, b, s, r: 5 / r),
        "reshape it to the kernel's": lambda w, a, b, s: b @ a,
        "stopped in line .* RuntimeError": lambda w, a, b, s: w + a @ b,
    },
    "affinity": {
        "channels with channels": lambda f: f.flatten(2) @ f.flatten(2).transpose(1, 2),
        "channels with channels .\\[N": lambda f: unit(f.flatten(2)) @ unit(f.flatten(2)).transpose(1, 2),
        "mixed the images": lambda f: affinity(f).mean(0),
        "left out the normalisation": lambda f: gram(f.flatten(2)),
        "over the pixels .dim=2": lambda f: gram(unit(f.flatten(2), 2)),
        "one norm for the whole image": lambda f: gram(
            f.flatten(2) / f.flatten(1).norm(dim=1)[:, None, None]
        ),
        "one norm for the whole batch": lambda f: gram(f.flatten(2) / f.norm()),
        "sum of squares; a length": lambda f: gram(f.flatten(2) / f.flatten(2).square().sum(1, keepdim=True)),
        "columns before rows": lambda f: gram(unit(f.transpose(2, 3).flatten(2))),
        "does not move the channels": lambda f: gram(
            unit(f.reshape(len(f), f.shape[2] * f.shape[3], f.shape[1]).transpose(1, 2))
        ),
        "softmax makes it attention": lambda f: affinity(f).softmax(-1),
        "correlation, not cosine": lambda f: gram(unit(f.flatten(2) - f.flatten(2).mean(1, keepdim=True))),
        "you took distances": lambda f: 1 - affinity(f),
        "only one of the two factors": lambda f: f.flatten(2).transpose(1, 2) @ unit(f.flatten(2)),
        "Euclidean distances; |not right": lambda f: torch.cdist(*[f.flatten(2).transpose(1, 2)] * 2),
        "absolute values; opposite": lambda f: affinity(f).abs(),
        "by √C": lambda f: affinity(f) / f.shape[1] ** 0.5,
        "pixels are still h by w": lambda f: affinity(f).unflatten(1, f.shape[2:]).unflatten(3, f.shape[2:]),
        "pixels of all images": lambda f: (lambda g: g @ g.T)(
            unit(f.flatten(2)).transpose(1, 2).flatten(0, 1)
        ),
        "removed the diagonal": lambda f: affinity(f) * (1 - torch.eye(f.shape[2] * f.shape[3])),
    },
}
