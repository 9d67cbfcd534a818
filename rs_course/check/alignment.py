"""Checks of notebook 03: the contrastive loss, recall at k, Fréchet distance, what a metric cannot see."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F

from rs_course.check.core import Mistake, call, diagnose, exercise


@exercise(
    hints=(
        "Bring every embedding to length one; then one matrix product holds the cosines of all pairs.",
        "Divide the cosines by the temperature. Row i is a classification whose right answer is column i, "
        "and column i one whose right answer is row i: two cross-entropies, averaged.",
        "logits = F.normalize(image, dim=1) @ F.normalize(text, dim=1).T / temperature; own = "
        "torch.arange(len(logits)); (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2",
    )
)
def info_nce(student):
    """``student(image, text, temperature)`` → symmetric InfoNCE of embeddings ``[N, D]``, a scalar tensor."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    text = 0.6 * image + torch.randn(6, 5, generator=generator, dtype=torch.float64)
    image = image * torch.linspace(0.5, 2, 6, dtype=torch.float64)[:, None]
    temperature = 0.2
    own = torch.arange(6)
    cosines = F.normalize(image, dim=1) @ F.normalize(text, dim=1).T

    def both(logits, reduction="mean"):
        directions = (F.cross_entropy(one, own, reduction=reduction) for one in (logits, logits.T))
        return sum(directions) / 2

    logits = cosines / temperature
    got = call(student, image, text, temperature)
    if torch.is_tensor(got) and got.shape == logits.shape:
        raise Mistake("that is a matrix of all pairs; the loss is one number, the mean over the batch")
    apart = logits.masked_fill(torch.eye(6, dtype=torch.bool), -torch.inf)
    diagnose(
        got,
        both(logits),
        {
            "that is image to text only; let every caption choose among the images as well": F.cross_entropy(
                logits, own
            ),
            "that is text to image only; let every image choose among the captions as well": F.cross_entropy(
                logits.T, own
            ),
            "you added the two directions; take their mean": 2 * both(logits),
            "you summed over the batch; take the mean, or the loss grows with its size": both(logits, "sum"),
            "the temperature is missing: cosines between -1 and 1 make no sharp choice": both(cosines),
            "you multiplied by the temperature; a small temperature must sharpen, so divide": both(
                cosines * temperature
            ),
            "you left out the normalisation: long embeddings win whatever they say": both(
                image @ text.T / temperature
            ),
            "you normalised over the batch (dim=0); each embedding (dim=1) has length one": both(
                F.normalize(image, dim=0) @ F.normalize(text, dim=0).T / temperature
            ),
            "your softmax runs over the whole matrix; each row (and each column) is a choice of its own": (
                logits.logsumexp((0, 1)) - logits.diagonal().mean()
            ),
            "you left the right pair out of the sum in the denominator": (
                apart.logsumexp(0).mean() / 2 + apart.logsumexp(1).mean() / 2 - logits.diagonal().mean()
            ),
            "that is the mean probability of the right pair; the loss is minus the mean of its logarithm": (
                logits.softmax(0).diagonal().mean() + logits.softmax(1).diagonal().mean()
            )
            / 2,
        },
        name="the loss",
    )
    return "every image chooses among the captions, every caption among the images"


@exercise(
    hints=(
        "For image i, how many captions score at least as high as its own, number i?",
        "The right caption's rank is the number of captions that do not score lower; a hit has rank <= k.",
        "own = similarity.diagonal()[:, None]; rank = (similarity >= own).sum(dim=1); "
        "(rank <= k).double().mean()",
    )
)
def recall_at_k(student):
    """``student(similarity, k)`` → share of images with their own caption among the first k."""
    generator = torch.Generator().manual_seed(1)
    similarity = torch.randn(40, 40, generator=generator, dtype=torch.float64)
    similarity += 1.3 * torch.eye(40, dtype=torch.float64)

    def hits(matrix, k):
        own = matrix.diagonal()[:, None]
        return ((matrix >= own).sum(dim=1) <= k).double()

    for k in (3, 10):
        right = hits(similarity, k)
        diagnose(
            call(student, similarity, k),
            right.mean(),
            {
                "you ranked images for each caption; rank the captions (columns) for each image (row)": hits(
                    similarity.T, k
                ).mean(),
                "you sorted upwards: the first k are those with the highest similarity": hits(
                    -similarity, k
                ).mean(),
                "your rank starts at 0 and is compared with <= k, so k + 1 captions count": hits(
                    similarity, k + 1
                ).mean(),
                "your rank starts at 1 and is compared with < k, so k - 1 captions count": hits(
                    similarity, k - 1
                ).mean(),
                "that is the number of hits; divide by the number of images": right.sum(),
                "you divided by k: that is precision; one caption is right": right.mean() / k,
                "that is the share of misses": 1 - right.mean(),
                "that is the mean over both directions; asked is image to text": (
                    right.mean() + hits(similarity.T, k).mean()
                )
                / 2,
            },
            name=f"R@{k}",
        )
    return "rank of the right caption, counted from 1, at most k"


@exercise(
    hints=(
        "Three terms: how far apart the means are, how large the covariances are, and how much they share.",
        "|mean_a - mean_b|² + tr(A) + tr(B) - 2 tr((A B)^½). The trace of the root of A B is the sum of the "
        "roots of its eigenvalues.",
        "shared = np.sqrt(np.linalg.eigvals(cov_a @ cov_b).real.clip(0)).sum(); return ((mean_a - mean_b) ** "
        "2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * shared",
    )
)
def frechet(student):
    """``student(mean_a, cov_a, mean_b, cov_b)`` → Fréchet distance of two Gaussians, NumPy arrays."""
    draw = np.random.default_rng(2)
    mean_a, mean_b = draw.normal(size=(2, 4))
    a, b = (factor @ factor.T / 4 for factor in draw.normal(size=(2, 4, 4)))
    root_a, root_b = _root(a), _root(b)
    gap = mean_a - mean_b
    far = float(gap @ gap)
    size = float(np.trace(a) + np.trace(b))
    shared = float(np.linalg.svd(root_a @ root_b, compute_uv=False).sum())
    got = call(student, mean_a, a, mean_b, b)
    if np.shape(got) == a.shape:
        raise Mistake("that is a matrix; the distance takes its trace")
    diagnose(
        got,
        far + size - 2 * shared,
        {
            "you took the length of the difference of means; the formula has its square": math.sqrt(far)
            + size
            - 2 * shared,
            "you averaged the squared differences of the means; sum them": far / 4 + size - 2 * shared,
            "the factor 2 before the shared term is missing": far + size - shared,
            "the shared term is missing": far + size,
            "you added the shared term; what the two share brings them closer": far + size + 2 * shared,
            "that is the distance of the means alone; spread and shape count too": far,
            "that is the term of the covariances alone; the means count too": size - 2 * shared,
            "you multiplied the covariances entry by entry; A B is the matrix product": far
            + size
            - 2 * np.trace(_root(a * b)),
            "you took the root of every entry; it is the root of the matrix": far
            + size
            - 2 * float(np.sqrt(np.abs(np.diag(a @ b))).sum()),
            "the root is missing: tr(A B) has the wrong unit, a fourth power": far
            + size
            - 2 * float(np.trace(a @ b)),
            "tr(A^½ B^½) equals tr((A B)^½) only where A and B commute": far
            + size
            - 2 * float(np.trace(root_a @ root_b)),
            "that is the root of the distance; FID is the squared one": math.sqrt(far + size - 2 * shared),
        },
        name="the distance",
        tol=1e-4,
    )
    return "means, spreads, and what the two shapes share"


def _root(matrix) -> np.ndarray:
    """Root of a positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(values.clip(0)) @ vectors.T


CHANGES = {
    "blur": "every tile was blurred",
    "collapse": "the set consists of a few tiles, each repeated many times",
    "mirror": "every tile was mirrored, and its caption kept",
    "swap": "the tiles are as they were, but every caption was given to another tile",
}
_ANSWERS = {"A": "swap", "B": "blur", "C": "mirror", "D": "collapse"}


@functools.cache
def reports(count: int = 200) -> dict[str, dict[str, float]]:
    """What four metrics say of simulated tiles that were changed in four ways, A to D; features of mini-clip.

    "unchanged" is another sample of the same simulator. Recall, precision and FID compare with one fixed set.
    """
    from rs_course import alignment, datasets
    from rs_course.alignment import changes

    data = datasets.load("simulated", "test", size=2 * count)
    reference, images = np.split(np.asarray(data.images), 2)
    captions = [sentences[0] for sentences in data.captions[count:]]
    scorer = alignment.load("mini-clip", device="cpu")
    target = scorer.image_embeddings(reference)
    sets = {
        "unchanged": (images, captions),
        "swap": (images, changes.swap(captions, 1)),
        "blur": (changes.blur(images, 2), captions),
        "mirror": (changes.mirror(images, 1), captions),
        "collapse": tuple(np.array(changes.collapse(rows, 0.96)) for rows in (images, captions)),
    }
    order = {"unchanged": "unchanged"} | _ANSWERS
    return {name: _report(scorer, target, *sets[change]) for name, change in order.items()}


def _report(scorer, target, images, captions) -> dict[str, float]:
    from rs_course import metrics

    features = scorer.image_embeddings(images)
    near = metrics.precision_recall(target, features)
    return {
        "CLIP score": round(scorer.clip_score_percent(images, captions).mean().item(), 1),
        "FID": round(100 * metrics.fid(target, features), 1),
        "precision": round(near.precision, 2),
        "recall": round(near.recall, 2),
    }


@exercise(
    hints=(
        "Which metric moved in each report: the one that reads, the one that looks for gaps, or all of them?",
        "A swap of captions cannot move what never reads them. A collapse keeps precision and loses recall. "
        "Blur is far from every true tile. One change moves next to nothing: that is the blind spot.",
        "Only the CLIP score fell: swap. Precision fell and FID rose most: blur. Recall is gone while "
        "precision stayed: collapse. The report that looks like the unchanged one: mirror.",
    )
)
def blind_spot(answers):
    """``answers``: dict from report letter "A" … "D" to a key of :data:`CHANGES`."""
    if not isinstance(answers, dict) or set(answers) != set(_ANSWERS):
        raise Mistake('give a dictionary with the keys "A", "B", "C" and "D"')
    if all(value in (None, ...) for value in answers.values()):
        raise NotImplementedError
    if unknown := [value for value in answers.values() if value not in CHANGES]:
        raise Mistake(f"{unknown[0]!r} is no change; choose from {', '.join(map(repr, CHANGES))}")
    objections = {
        "swap": "FID, precision and recall never read a caption, so a swap leaves them as they were",
        "blur": "blurred tiles lie far from every true tile, so that precision falls",
        "mirror": "a mirrored tile is still a good tile, so that the image metrics hardly move",
        "collapse": "a few repeated tiles leave most of the truth uncovered, so that recall falls",
    }
    for letter, change in answers.items():
        if change != _ANSWERS[letter]:
            raise Mistake(f"report {letter} was not made so: {objections[change]}")
    return "a metric answers its own question only; the mirrored captions are false and nothing here saw it"
