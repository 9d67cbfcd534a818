"""Checks of notebook 03: the right answer passes, every listed mistake is named, stubs are not judged."""

import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rs_course.check import alignment


def cosines(image, text):
    return F.normalize(image, dim=1) @ F.normalize(text, dim=1).T


def cross(logits, reduction="mean"):
    return F.cross_entropy(logits, torch.arange(len(logits)), reduction=reduction)


def both(logits, reduction="mean"):
    return (cross(logits, reduction) + cross(logits.T, reduction)) / 2


def without_own(logits):
    rest = logits - torch.diag(torch.full((len(logits),), torch.inf))
    rest = torch.where(rest.isnan(), -torch.inf, rest)
    return (rest.logsumexp(0) + rest.logsumexp(1)).mean() / 2 - logits.diagonal().mean()


def found(similarity, k, dim=1):
    """Share of the diagonal's entries among the k largest of their row (dim 1) or column (dim 0)."""
    rows = similarity if dim == 1 else similarity.T
    best = rows.topk(k, dim=1).indices
    return (best == torch.arange(len(rows))[:, None]).any(1).double().mean()


def shared(a, b):
    return np.sqrt(np.linalg.eigvals(a @ b).real.clip(0)).sum()


def size(a, b):
    return np.trace(a) + np.trace(b)


def far(m, n):
    return ((m - n) ** 2).sum()


def root(matrix):
    from scipy.linalg import sqrtm

    return sqrtm(matrix).real


RIGHT = {
    "info_nce": lambda i, t, tau: both(cosines(i, t) / tau),
    "recall_at_k": found,
    "frechet": lambda m, a, n, b: far(m, n) + size(a, b) - 2 * shared(a, b),
}

WRONG = {
    "info_nce": {
        "image to text only": lambda i, t, tau: cross(cosines(i, t) / tau),
        "text to image only": lambda i, t, tau: cross(cosines(t, i) / tau),
        "added the two directions": lambda i, t, tau: 2 * both(cosines(i, t) / tau),
        "summed over the batch": lambda i, t, tau: both(cosines(i, t) / tau, "sum"),
        "temperature is missing": lambda i, t, tau: both(cosines(i, t)),
        "multiplied by the temperature": lambda i, t, tau: both(cosines(i, t) * tau),
        "left out the normalisation": lambda i, t, tau: both(i @ t.T / tau),
        r"over the batch \(dim=0\)": lambda i, t, tau: both(
            F.normalize(i, dim=0) @ F.normalize(t, dim=0).T / tau
        ),
        "whole matrix": lambda i, t, tau: (
            -(cosines(i, t) / tau).flatten().log_softmax(0).view(len(i), -1).diagonal().mean()
        ),
        "left the right pair out": lambda i, t, tau: without_own(cosines(i, t) / tau),
        "mean probability": lambda i, t, tau: (
            sum((cosines(i, t) / tau).softmax(dim).diagonal().mean() for dim in (0, 1)) / 2
        ),
        "matrix of all pairs": lambda i, t, tau: cosines(i, t) / tau,
        "wrong sign": lambda i, t, tau: -both(cosines(i, t) / tau),
    },
    "recall_at_k": {
        r"rank the captions \(columns\)": lambda s, k: found(s, k, dim=0),
        "sorted upwards": lambda s, k: found(-s, k),
        r"starts at 0": lambda s, k: found(s, k + 1),
        "starts at 1 and": lambda s, k: found(s, k - 1),
        "number of hits": lambda s, k: len(s) * found(s, k),
        "divided by k": lambda s, k: found(s, k) / k,
        "share of misses": lambda s, k: 1 - found(s, k),
        "both directions": lambda s, k: (found(s, k) + found(s, k, dim=0)) / 2,
    },
    "frechet": {
        "length of the difference": lambda m, a, n, b: math.sqrt(far(m, n)) + size(a, b) - 2 * shared(a, b),
        "averaged the squared": lambda m, a, n, b: far(m, n) / 4 + size(a, b) - 2 * shared(a, b),
        "factor 2": lambda m, a, n, b: far(m, n) + size(a, b) - shared(a, b),
        "shared term is missing": lambda m, a, n, b: far(m, n) + size(a, b),
        "you added the shared": lambda m, a, n, b: far(m, n) + size(a, b) + 2 * shared(a, b),
        "means alone": lambda m, a, n, b: far(m, n),
        "covariances alone": lambda m, a, n, b: size(a, b) - 2 * shared(a, b),
        "root of every entry": lambda m, a, n, b: (
            far(m, n) + size(a, b) - 2 * np.trace(np.sqrt(np.abs(a @ b)))
        ),
        "entry by entry": lambda m, a, n, b: far(m, n) + size(a, b) - 2 * np.trace(root(a * b)),
        "root is missing": lambda m, a, n, b: far(m, n) + size(a, b) - 2 * np.trace(a @ b),
        "commute": lambda m, a, n, b: far(m, n) + size(a, b) - 2 * np.trace(root(a) @ root(b)),
        "root of the distance": lambda m, a, n, b: np.sqrt(far(m, n) + size(a, b) - 2 * shared(a, b)),
        "that is a matrix": lambda m, a, n, b: a + b - 2 * root(a @ b),
    },
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_pass(name):
    verdict = getattr(alignment, name).judge(RIGHT[name])
    assert verdict, verdict


@pytest.mark.parametrize(("name", "mistake"), [(n, m) for n, mutants in WRONG.items() for m in mutants])
def test_every_mistake_is_named(name, mistake):
    verdict = getattr(alignment, name).judge(WRONG[name][mistake])
    assert verdict.status == "wrong"
    assert re.search(mistake, verdict.message), verdict.message


@pytest.mark.parametrize("name", RIGHT)
def test_stubs_are_not_judged(name):
    assert getattr(alignment, name).judge(lambda *args: ...).status == "not done"


def test_the_four_reports_differ_as_the_hints_say():
    values = dict(alignment.reports())
    same = values.pop("unchanged")
    swap, blur, mirror, collapse = values.values()
    for metric in ("FID", "precision", "recall"):
        assert swap[metric] == same[metric]
    assert swap["CLIP score"] < same["CLIP score"] - 3
    assert blur["precision"] < same["precision"] - 0.2 and blur["FID"] > 3 * same["FID"]
    assert collapse["recall"] < same["recall"] / 2 and collapse["precision"] > same["precision"] - 0.2
    assert abs(mirror["CLIP score"] - same["CLIP score"]) < 2
    assert mirror["recall"] > same["recall"] - 0.15 and mirror["precision"] > same["precision"] - 0.15


def test_blind_spot_names_the_contradiction():
    right = {"A": "swap", "B": "blur", "C": "mirror", "D": "collapse"}
    assert alignment.blind_spot.judge(right)
    confused = alignment.blind_spot.judge({**right, "C": "swap", "A": "mirror"})
    assert confused.status == "wrong" and "report A" in confused.message
    assert alignment.blind_spot.judge(dict.fromkeys("ABCD")).status == "not done"
    assert "is no change" in alignment.blind_spot.judge({**right, "A": "magic"}).message
    assert "keys" in alignment.blind_spot.judge({"A": "swap"}).message
    assert set(right.values()) == set(alignment.CHANGES)


@pytest.mark.parametrize("name", [*RIGHT, "blind_spot"])
def test_three_hints_each(name):
    assert len(getattr(alignment, name).hints) == 3
