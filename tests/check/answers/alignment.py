"""Answers to the exercises of its lesson: right ones, and wrong ones by what their verdict must say."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy.linalg import sqrtm


def cosines(image, text):
    return F.normalize(image, dim=1) @ F.normalize(text, dim=1).T


def cross(logits, **options):
    return F.cross_entropy(logits, torch.arange(len(logits)), **options)


def both(logits, **options):
    return (cross(logits, **options) + cross(logits.T, **options)) / 2


def by_hand(i, t, tau):
    i, t = i.numpy().astype(float), t.numpy().astype(float)
    i, t = i / np.linalg.norm(i, axis=1, keepdims=True), t / np.linalg.norm(t, axis=1, keepdims=True)
    p = np.exp(i @ t.T / tau)
    return float(-(np.log(np.diag(p) / p.sum(0)) + np.log(np.diag(p) / p.sum(1))).mean() / 2)


def found(similarity, k, dim=1):
    rows = similarity if dim == 1 else similarity.T
    best = rows.topk(k, dim=1).indices
    return (best == torch.arange(len(rows))[:, None]).any(1).double().mean()


def found_by_loop(similarity, k):
    hits = 0
    for i, row in enumerate(similarity.tolist()):
        hits += i in sorted(range(len(row)), key=lambda j: -row[j])[:k]
    return hits / len(similarity)


def root(matrix):
    return sqrtm(matrix).real


def shared(a, b):
    return np.sqrt(np.linalg.eigvals(a @ b).real.clip(0)).sum()


def distance(far=lambda d: d @ d, size=lambda a, b: np.trace(a) + np.trace(b), share=shared, twice=2):
    return lambda m, a, n, b: far(m - n) + size(a, b) - twice * share(a, b)


frechet = distance()
RIGHT = {
    "info_nce": [
        lambda i, t, tau: both(cosines(i, t) / tau),
        by_hand,
        lambda i, t, tau: both(cosines(i, t) / tau).item(),
        lambda i, t, tau: both(cosines(i.double(), t.double()) / tau),
        lambda i, t, tau: both(cosines(i, t) / tau)[None],
    ],
    "recall_at_k": [
        found,
        found_by_loop,
        lambda s, k: found(s, k).item(),
        lambda s, k: np.mean([i in np.argsort(-row)[:k] for i, row in enumerate(s.numpy())]),
        lambda s, k: np.mean((s.numpy() >= np.diag(s)[:, None]).sum(1) <= k),
    ],
    "frechet": [
        frechet,
        lambda m, a, n, b: (m - n) @ (m - n) + np.trace(a + b - 2 * sqrtm(a @ b)),
        lambda m, a, n, b: float(frechet(m, a, n, b)),
        lambda m, a, n, b: torch.tensor(frechet(m, a, n, b)),
        distance(share=lambda a, b: np.trace(root(root(a) @ b @ root(a)))),
    ],
}
WRONG = {
    "info_nce": {
        "image to text only": lambda i, t, tau: cross(cosines(i, t) / tau),
        "text to image only": lambda i, t, tau: cross(cosines(t, i) / tau),
        "added the two directions": lambda i, t, tau: 2 * both(cosines(i, t) / tau),
        "summed over the batch": lambda i, t, tau: both(cosines(i, t) / tau, reduction="sum"),
        "temperature is missing": lambda i, t, tau: both(cosines(i, t)),
        "multiplied by the temperature": lambda i, t, tau: both(cosines(i, t) * tau),
        "logit scale": lambda i, t, tau: both(cosines(i, t) * math.exp(tau)),
        "left out the normalisation": lambda i, t, tau: both(i @ t.T / tau),
        "only the texts were normalised": lambda i, t, tau: both(i @ F.normalize(t, dim=1).T / tau),
        "only the images were normalised": lambda i, t, tau: both(F.normalize(i, dim=1) @ t.T / tau),
        "over the batch .dim=0": lambda i, t, tau: both(
            F.normalize(i, dim=0) @ F.normalize(t, dim=0).T / tau
        ),
        "softmax runs over the whole matrix": lambda i, t, tau: (
            -(cosines(i, t) / tau).flatten().log_softmax(0).view(len(i), -1).diagonal().mean()
        ),
        "takes the softmax itself; you gave": lambda i, t, tau: (
            (cross((cosines(i, t) / tau).softmax(1)) + cross((cosines(i, t) / tau).T.softmax(1))) / 2
        ),
        "mean probability of the right pair; the loss": lambda i, t, tau: (
            sum((cosines(i, t) / tau).softmax(dim).diagonal().mean() for dim in (0, 1)) / 2
        ),
        "matrix of all pairs": lambda i, t, tau: cosines(i, t) / tau,
        "loss has a minus|sign": lambda i, t, tau: -both(cosines(i, t) / tau),
        "0 for every row": lambda i, t, tau: (
            (
                F.cross_entropy(cosines(i, t) / tau, torch.zeros(len(i)).long())
                + F.cross_entropy(cosines(t, i) / tau, torch.zeros(len(i)).long())
            )
            / 2
        ),
        "nothing pushes strangers apart": lambda i, t, tau: -(cosines(i, t) / tau).diagonal().mean(),
        "one number per pair": lambda i, t, tau: both(cosines(i, t) / tau, reduction="none"),
        "does not depend on temperature": lambda i, t, tau: both(cosines(i, t) / 0.07),
        "by √D": lambda i, t, tau: both(cosines(i, t) / i.shape[1] ** 0.5),
    },
    "recall_at_k": {
        "rank the captions .columns": lambda s, k: found(s, k, dim=0),
        "sorted upwards: the": lambda s, k: found(-s, k),
        "starts at 0": lambda s, k: found(s, k + 1),
        "starts at 1 and": lambda s, k: ((s >= s.diagonal()[:, None]).sum(1) < k).double().mean(),
        "number of hits; divide": lambda s, k: len(s) * found(s, k),
        "divided by k: that": lambda s, k: found(s, k) / k,
        "misses": lambda s, k: 1 - found(s, k),
        "mean over both directions": lambda s, k: (found(s, k) + found(s, k, dim=0)) / 2,
        "in percent": lambda s, k: 100 * found(s, k),
        "whatever k is": lambda s, k: found(s, 1),
        "only rank k itself": lambda s, k: ((s >= s.diagonal()[:, None]).sum(1) == k).double().mean(),
        "mean reciprocal rank": lambda s, k: (1 / (s >= s.diagonal()[:, None]).sum(1)).mean(),
        "mean rank": lambda s, k: (s >= s.diagonal()[:, None]).sum(1).float().mean(),
        "mean similarity of the k best": lambda s, k: s.topk(k).values.mean(),
        "of the whole matrix": lambda s, k: (s.diagonal() >= s.flatten().topk(k).values[-1]).float().mean(),
        "says for each image": lambda s, k: (s >= s.diagonal()[:, None]).sum(1) <= k,
        "a tie is a miss": lambda s, k: ((s > s.diagonal()[:, None]).sum(1) < k).double().mean(),
        "two give ranks": lambda s, k: ((-s).argsort(1).diagonal() < k).float().mean(),
        "does not depend on k": lambda s, k: found(s, 5),
    },
    "frechet": {
        "length of the difference": distance(lambda d: math.sqrt(d @ d)),
        "averaged the squared": distance(lambda d: (d**2).mean()),
        "absolute differences": distance(lambda d: abs(d).sum()),
        "factor 2 before": distance(twice=1),
        "shared term is missing": distance(twice=0),
        "you added the shared": distance(twice=-2),
        "means alone": lambda m, a, n, b: (m - n) @ (m - n),
        "covariances alone": distance(lambda d: 0),
        "root of every entry": distance(share=lambda a, b: np.trace(np.sqrt(np.abs(a @ b)))),
        "multiplied the covariances entry by entry": distance(share=lambda a, b: np.trace(root(a * b))),
        "root is missing": distance(share=lambda a, b: np.trace(a @ b)),
        "commute": distance(share=lambda a, b: np.trace(root(a) @ root(b))),
        "want a symmetric matrix": distance(
            share=lambda a, b: np.sqrt(np.linalg.eigvalsh(a @ b).clip(0)).sum()
        ),
        "root of the trace": distance(share=lambda a, b: np.sqrt(np.trace(a @ b))),
        "without their roots|root is missing:": distance(
            share=lambda a, b: np.linalg.eigvals(a @ b).real.sum()
        ),
        "singular values": distance(share=lambda a, b: np.sqrt(np.linalg.svd(a @ b, compute_uv=False)).sum()),
        "root of the distance": lambda m, a, n, b: math.sqrt(frechet(m, a, n, b)),
        "that is a matrix": lambda m, a, n, b: a + b - 2 * root(a @ b),
        "squared the difference of the covariances": lambda m, a, n, b: (
            (m - n) @ (m - n) + ((a - b) ** 2).sum()
        ),
        "A . B stands": distance(share=lambda a, b: np.trace(root(a + b))),
    },
}
