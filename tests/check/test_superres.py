"""Checks of notebook 05: the right answer passes, every listed mistake is named, stubs are not judged."""

import math
import re

import pytest
import torch

from rs_course.check import superres

RIGHT = {
    "psnr": lambda p, t: -10 * torch.log10((p - t).square().mean((1, 2, 3))),
    "merge": lambda w, a, b, alpha: w + (b @ a).reshape(w.shape) * alpha / (a.shape[0] // w.shape[-1]),
    "affinity": lambda f: torch.einsum(
        "ncp,ncq->npq", *[torch.nn.functional.normalize(f.flatten(2), dim=1)] * 2
    ),
}


def error(p, t):
    return (p - t).flatten(1)


def unit(f, dim):
    return f / f.norm(dim=dim, keepdim=True)


def gram(f):
    return f.transpose(1, 2) @ f


WRONG = {
    "psnr": {
        "pooled the squared error": lambda p, t: -10 * torch.log10((p - t).square().mean()),
        "averaged at the end": lambda p, t: RIGHT["psnr"](p, t).mean(),
        "natural logarithm": lambda p, t: -10 * torch.log((p - t).square().mean((1, 2, 3))),
        "without the root it is 10·log10": lambda p, t: -20 * torch.log10((p - t).square().mean((1, 2, 3))),
        "kept 10·log10": lambda p, t: -10 * torch.log10((p - t).square().mean((1, 2, 3)).sqrt()),
        "averaged absolute errors": lambda p, t: -10 * torch.log10((p - t).abs().mean((1, 2, 3))),
        "255 as the peak": lambda p, t: RIGHT["psnr"](p, t) + 20 * math.log10(255),
        "image's own maximum": lambda p, t: RIGHT["psnr"](p, t) + 20 * torch.log10(t.amax((1, 2, 3))),
        "subtracted the means": lambda p, t: -10 * torch.log10(error(p, t).var(1, correction=0)),
        "summed the channels": lambda p, t: -10 * torch.log10((p - t).square().sum(1).mean((1, 2))),
        "wrong sign": lambda p, t: -RIGHT["psnr"](p, t),
    },
    "merge": {
        "update ΔW alone": lambda w, a, b, s: (b @ a).reshape(w.shape) * s / 2,
        "update is missing": lambda w, a, b, s: w.clone(),
        "alpha / r is missing": lambda w, a, b, s: w + (b @ a).reshape(w.shape),
        "you scaled by alpha;": lambda w, a, b, s: w + s * (b @ a).reshape(w.shape),
        "number of rows of A": lambda w, a, b, s: w + s / len(a) * (b @ a).reshape(w.shape),
        "that unmerges": lambda w, a, b, s: w - s / 2 * (b @ a).reshape(w.shape),
        "scaled the frozen kernel": lambda w, a, b, s: s / 2 * (w + (b @ a).reshape(w.shape)),
        "no permute": lambda w, a, b, s: w + s / 2 * (b @ a).reshape(4, 3, 5, 3).permute(0, 2, 1, 3),
        "kernel axes swapped": lambda w, a, b, s: w + s / 2 * (b @ a).reshape(w.shape).transpose(2, 3),
        "the product is B @ A": lambda w, a, b, s: w + s / 2 * (a.T @ b.T).reshape(w.shape),
    },
    "affinity": {
        "channels with channels": lambda f: f.flatten(2) @ f.flatten(2).transpose(1, 2),
        "mixed the images": lambda f: gram(unit(f.flatten(2), 1)).mean(0),
        "left out the normalisation": lambda f: gram(f.flatten(2)),
        r"over the pixels \(dim=2\)": lambda f: gram(unit(f.flatten(2), 2)),
        "one norm for the whole image": lambda f: gram(
            f.flatten(2) / f.flatten(1).norm(dim=1)[:, None, None]
        ),
        "sum of squares": lambda f: gram(f.flatten(2) / f.flatten(2).square().sum(1, keepdim=True)),
        "columns before rows": lambda f: gram(unit(f.transpose(2, 3).flatten(2), 1)),
        "softmax makes it attention": lambda f: RIGHT["affinity"](f).softmax(-1),
        "correlation, not cosine": lambda f: gram(unit(f.flatten(2) - f.flatten(2).mean(1, keepdim=True), 1)),
        "you took distances": lambda f: 1 - RIGHT["affinity"](f),
    },
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_pass(name):
    verdict = getattr(superres, name).judge(RIGHT[name])
    assert verdict, verdict


@pytest.mark.parametrize(("name", "mistake"), [(n, m) for n, mutants in WRONG.items() for m in mutants])
def test_every_mistake_is_named(name, mistake):
    verdict = getattr(superres, name).judge(WRONG[name][mistake])
    assert verdict.status == "wrong"
    assert re.search(mistake, verdict.message), verdict.message


@pytest.mark.parametrize("name", RIGHT)
def test_stubs_are_not_judged(name):
    assert getattr(superres, name).judge(lambda *args: ...).status == "not done"


def test_reports_and_their_causes():
    values = superres.reports()
    assert values["A"] - values["honest"] == pytest.approx(48.13, abs=0.011)
    assert values["B"] < 15 < values["D"] < values["honest"] < values["C"] < values["honest"] + 4
    right = {"A": "data range", "B": "wrap-around", "C": "luma", "D": "aliased"}
    assert superres.wrong_metric.judge(right)
    swapped = superres.wrong_metric.judge({**right, "C": "aliased", "D": "luma"})
    assert "report C differs from the honest value by +" in swapped.message
    assert superres.wrong_metric.judge(dict.fromkeys("ABCD")).status == "not done"
    assert "is no cause" in superres.wrong_metric.judge({**right, "A": "magic"}).message
    assert "keys" in superres.wrong_metric.judge({"A": "luma"}).message


@pytest.mark.parametrize("name", [*RIGHT, "wrong_metric"])
def test_three_hints_each(name):
    assert len(getattr(superres, name).hints) == 3
