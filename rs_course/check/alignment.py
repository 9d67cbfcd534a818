"""Exercises on text and images: the contrastive loss, recall at k, Fréchet distance, and what is not seen."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from rs_course.check.core import exercise, match
from rs_course.check.formulas import formula

if TYPE_CHECKING:
    from rs_course.check.core import Draws


def _unit(x):
    return F.normalize(x, dim=1)


def _unexpected(logits, own):
    """Cross-entropy whose denominator lacks the right pair."""
    rest = logits.masked_fill(F.one_hot(own, logits.shape[1]).bool(), -torch.inf)
    return (rest.logsumexp(1) - logits.diagonal()).mean()


@formula(
    hints=(
        "Bring every embedding to length one; then one matrix product holds the cosines of all pairs.",
        "Divide the cosines by the temperature. Row i is a classification whose right answer is column i, "
        "and column i one whose right answer is row i: two cross-entropies, averaged.",
        "logits = F.normalize(image, dim=1) @ F.normalize(text, dim=1).T / temperature; own = "
        "torch.arange(len(logits)); (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2",
    ),
    takes="image text temperature",
    right="""
        tau = temperature
        i = F.normalize(image, dim=1)
        t = F.normalize(text, dim=1)
        s = i @ t.T
        sharp = s / tau
        own = torch.arange(len(image))
        loss = lambda logits: F.cross_entropy(logits, own)
        rows = loss(sharp)
        columns = loss(sharp.T)
        both = (rows + columns) / 2
        answer = both
    """,
    slips="""
        both = rows  # that is image to text only; let every caption choose among the images as well
        both = columns  # that is text to image only; let every image choose among the captions as well
        both = rows + columns  # you added the two directions; take their mean
        both = (rows - columns) / 2  # you subtracted one direction from the other; take their mean
        loss = lambda logits: F.cross_entropy(logits, own, reduction='sum')  # you summed over the batch; take
          # the mean, or the loss grows with its size
        sharp = s  # the temperature is missing: cosines between -1 and 1 make no sharp choice
        sharp = s * tau  # you multiplied by the temperature; a small temperature must sharpen, so divide
        sharp = s / tau**2  # you divided by the temperature twice
        sharp = s * math.exp(tau)  # you multiplied by exp(temperature); that belongs to CLIP's logit scale.
          # Divide by the temperature
        sharp = s / math.exp(tau)  # you divided by exp(temperature); divide by the temperature itself
        sharp = s / tau**0.5  # you divided by the root of the temperature
        sharp = s / image.shape[1]**0.5  # you divided by √D as attention does; divide the cosines by the
          # temperature
        i = image; t = text  # you left out the normalisation: long embeddings win whatever they say
        i = image  # only the texts were normalised; long image embeddings win whatever they say
        t = text  # only the images were normalised; long text embeddings win whatever they say
        i = F.normalize(image, dim=0); t = F.normalize(text, dim=0)  # you normalised over the batch (dim=0);
          # each embedding (dim=1) has length one
        i = image / image.norm(); t = text / text.norm()  # you divided by one norm for the whole batch; each
          # embedding has its own
        i = image / image.square().sum(1, keepdim=True); t = text / text.square().sum(1, keepdim=True)  # you
          # divided by the sum of squares; a length is its root
        i = image.softmax(1); t = text.softmax(1)  # a softmax of the embeddings stands where their
          # normalisation belongs
        loss = lambda logits: logits.logsumexp((0, 1)) - logits.diagonal().mean()  # your softmax runs over
          # the whole matrix; each row (and each column) is a choice of its own
        loss = lambda logits: _unexpected(logits, own)  # you left the right pair out of the sum in the
          # denominator
        loss = lambda logits: F.cross_entropy(logits.softmax(1), own)  # cross_entropy takes the softmax
          # itself; you gave it probabilities, so it is taken twice
        loss = lambda logits: F.cross_entropy(logits.softmax(0), own)  # cross_entropy takes the softmax
          # itself; you gave it probabilities, of the wrong direction
        loss = lambda logits: logits.softmax(1).diagonal().mean()  # that is the mean probability of the right
          # pair; the loss is minus the mean of its logarithm
        loss = lambda logits: -logits.softmax(1).diagonal().mean()  # that is minus the mean probability of
          # the right pair; the logarithm is missing
        loss = lambda logits: -F.cross_entropy(logits, own)  # that is the mean logarithm of the right pair's
          # probability; the loss has a minus
        loss = lambda logits: -logits.softmax(1).diagonal().mean().log()  # the logarithm was taken of the
          # mean; take the mean of the logarithms
        loss = lambda logits: F.cross_entropy(logits, torch.zeros_like(own))  # the right answers are 0 for
          # every row; row i's own is column i
        loss = lambda logits: F.cross_entropy(logits, own.flip(0))  # the right answers are reversed; row i's
          # own is column i
        loss = lambda logits: -logits.log_softmax(1).mean()  # the log-softmax was averaged over all pairs;
          # only the right pairs count
        loss = lambda logits: F.binary_cross_entropy_with_logits(logits, torch.eye(len(logits)).to(logits))  #
          # every pair was judged by itself (sigmoid); each image must choose among the captions
        loss = lambda logits: -logits.diagonal().mean()  # only the right pairs' similarity counts here;
          # without the others nothing pushes strangers apart
        s = -torch.cdist(i, t)  # distances stand where cosines belong
        answer = _unit(image) @ _unit(text).T / tau  # that is a matrix of all pairs; the loss is one number,
          # the mean over the batch
    """,
    shapes="""
        (len(image), len(image))  # that is a matrix of all pairs; the loss is one number, the mean over the
          # batch
        (len(image),)  # this has one number per pair; the loss is their mean
    """,
    name="the loss",
    done="every image chooses among the captions, every caption among the images",
)
def info_nce(random: Draws):
    """``student(image, text, temperature)`` → symmetric InfoNCE of embeddings ``[N, D]``, a number."""
    n, width = random.sizes(2)
    image = random.normal(n, width)
    text = 0.6 * image + random.normal(n, width)
    # Unequal lengths, or a missing normalisation would hardly show.
    lengths = torch.linspace(0.5, 2, n)
    return image * lengths[:, None], text * lengths.flip(0)[:, None], random.cycle(0.2, 0.07, 0.5, 1.3)


def _rank(similarity, axis=1):
    own = similarity.diagonal()
    return (similarity >= (own[:, None] if axis == 1 else own[None])).sum(axis)


def _kind_rank(similarity):
    """Rank from 1 with every tie decided for the right caption."""
    return 1 + (similarity > similarity.diagonal()[:, None]).sum(1)


@formula(
    hints=(
        "For image i, how many captions score at least as high as its own, number i?",
        "The right caption's rank is the number of captions that do not score lower; a hit has rank <= k.",
        "own = similarity.diagonal()[:, None]; rank = (similarity >= own).sum(dim=1); "
        "(rank <= k).double().mean()",
    ),
    takes="similarity k",
    right="""
        s = similarity
        rank = _rank(s)
        hit = rank <= k
        hits = hit.double()
        share = hits.mean()
        answer = share
    """,
    slips="""
        rank = _rank(s, 0)  # you ranked images for each caption; rank the captions (columns) for each image
          # (row)
        rank = _rank(-s)  # you sorted upwards: the first k are those with the highest similarity
        rank = _rank(-s, 0)  # you sorted upwards, and ranked images for each caption
        rank = _kind_rank(s)  # a caption that scores as high as the own one does not count here, so that
          # equal scores for all give 100 %; a tie is a miss
        hit = rank - 1 <= k  # your rank starts at 0 and is compared with <= k, so k + 1 captions count
        hit = rank < k  # your rank starts at 1 and is compared with < k, so k - 1 captions count
        hit = rank == k  # only rank k itself counts here; count all ranks up to k
        hit = rank == 1  # only the first caption counts, whatever k is
        hit = rank > k  # these are the ranks beyond k, the misses
        share = hits.sum()  # that is the number of hits; divide by the number of images
        share = hits.mean() / k  # you divided by k: that is precision; one caption is right
        share = hits.sum() / k  # you divided the number of hits by k; divide by the number of images
        share = hits.mean() * k  # you multiplied by k; a hit counts once
        share = 100 * hits.mean()  # that is in percent; R@k is a share here
        share = hits.mean() / len(hits)  # you divided by N² pairs; divide by the number of images
        share = hits.sum() / (len(hits) - 1)  # you divided by N − 1; divide by the number of images
        answer = ((_rank(s) <= k).double().mean() + (_rank(s, 0) <= k).double().mean()) / 2  # that is the
          # mean over both directions; asked is image to text
        answer = ((_rank(s) <= k) & (_rank(s, 0) <= k)).double().mean()  # an image counts only if both
          # directions find it; asked is image to text
        answer = ((_rank(s) <= k) | (_rank(s, 0) <= k)).double().mean()  # an image counts if either direction
          # finds it; asked is image to text
        answer = _rank(s).double().mean()  # that is the mean rank; count how many ranks are at most k
        answer = _rank(s).double().median()  # that is the median rank; count how many ranks are at most k
        answer = (1 / _rank(s)).mean()  # that is the mean reciprocal rank; count how many ranks are at most k
        answer = s.topk(k, 1).values.mean()  # this is the mean similarity of the k best; ask whether the own
          # caption is among them
        answer = (s.diagonal() >= s.flatten().topk(k).values[-1]).double().mean()  # the k largest of the
          # whole matrix were taken; each image has its own k best
        answer = torch.tensor(k / len(s))  # the k largest own similarities were taken; each image ranks its
          # own row
        answer = ((-s).argsort(1).diagonal() < k).double().mean()  # the ranks run over argsort of the sorted
          # places: one argsort gives an order, two give ranks
    """,
    shapes="""
        (len(s),)  # this says for each image whether its caption is found; take the mean
        (len(s), len(s))  # this says it for every image and caption; only the own caption counts
    """,
    name="R@k",
    done="rank of the right caption, counted from 1, at most k",
)
def recall_at_k(random: Draws):
    """``student(similarity, k)`` → share of images with their own caption among the first k."""
    n = 23 + 4 * random.number
    # Images and captions differ in level, or both directions would often agree.
    similarity = random.normal(n, n) + 0.7 * random.normal(n)[None] + 0.3 * random.normal(n)[:, None]
    similarity += 1.3 * torch.eye(n)
    if random.number == 1:  # to some images all captions are the same
        similarity[[8, 11, 15, 20]] = torch.tensor([0.5, 0.6, 0.7, 0.8])[:, None]
    return similarity, random.cycle(3, 1, 5, 10)


def _root(matrix) -> np.ndarray:
    """Root of a positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(values.clip(0)) @ vectors.T


@formula(
    hints=(
        "Three terms: how far apart the means are, how large the covariances are, and how much they share.",
        "|mean_a - mean_b|² + tr(A) + tr(B) - 2 tr((A B)^½). The trace of the root of A B is the sum of the "
        "roots of its eigenvalues.",
        "shared = np.sqrt(np.linalg.eigvals(cov_a @ cov_b).real.clip(0)).sum(); return ((mean_a - mean_b) ** "
        "2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * shared",
    ),
    takes="mean_a cov_a mean_b cov_b",
    right="""
        m = mean_a
        A = cov_a
        n = mean_b
        B = cov_b
        gap = m - n
        far = gap @ gap
        size = np.trace(A) + np.trace(B)
        share = np.linalg.svd(_root(A) @ _root(B), compute_uv=False).sum()
        twice = 2
        x = far + size - twice * share
        back = x
        answer = back
    """,
    slips="""
        far = np.sqrt(gap @ gap)  # you took the length of the difference of means; the formula has its square
        far = np.mean(gap * gap)  # you averaged the squared differences of the means; sum them
        far = np.abs(gap).sum()  # you added the absolute differences of the means; add their squares
        far = gap.sum()**2  # you squared the sum of the differences; add their squares
        far = 0.0  # that is the term of the covariances alone; the means count too
        gap = m + n  # the means are added; their difference counts
        twice = 1  # the factor 2 before the shared term is missing
        twice = 0  # the shared term is missing
        twice = -2  # you added the shared term; what the two share brings them closer
        twice = 4  # the shared term has factor 4; it is 2
        size = 0.0  # the sizes tr(A) + tr(B) are missing
        size = np.trace(A)  # tr(B) is missing
        size = np.trace(B)  # tr(A) is missing
        size = np.trace(A) - np.trace(B)  # tr(B) is subtracted; both sizes are added
        size = A.sum() + B.sum()  # the sum over the whole matrices stands where their traces belong
        size = np.linalg.det(A) + np.linalg.det(B)  # the determinants stand where the traces belong
        size = np.linalg.norm(A) + np.linalg.norm(B)  # the norms of the matrices stand where their traces
          # belong
        size = (np.trace(A) + np.trace(B)) / len(A)  # the mean of the diagonal stands where the trace, its
          # sum, belongs
        answer = (m - n) @ (m - n)  # that is the distance of the means alone; spread and shape count too
        share = np.trace(_root(A * B))  # you multiplied the covariances entry by entry; A B is the matrix
          # product
        share = np.sqrt(np.abs(np.diag(A @ B))).sum()  # you took the root of every entry; it is the root of
          # the matrix
        share = np.sqrt(np.diag(A) * np.diag(B)).sum()  # entry by entry, product and root: A B is the matrix
          # product, and its root that of a matrix
        share = np.trace(A @ B)  # the root is missing: tr(A B) has the wrong unit, a fourth power
        share = np.sqrt(np.trace(A @ B))  # you took the root of the trace; it is the trace of the root
        share = np.sqrt(np.linalg.eigvals(A @ B).real.sum())  # you took the root of the sum of the
          # eigenvalues; it is the sum of their roots
        share = np.trace(_root(A) @ _root(B))  # tr(A^½ B^½) equals tr((A B)^½) only where A and B commute
        share = np.sqrt(np.linalg.eigvalsh(A @ B).clip(0)).sum()  # eigvalsh (and eigh) want a symmetric
          # matrix, and A B is none: use eigvals
        share = np.sqrt(np.abs(np.linalg.eigvalsh(A @ B))).sum()  # eigvalsh (and eigh) want a symmetric
          # matrix, and A B is none: use eigvals. Nor is a negative value made right by abs
        share = np.linalg.eigvals(A @ B).real.sum()  # the eigenvalues were added without their roots
        share = np.sqrt(np.linalg.svd(A @ B, compute_uv=False)).sum()  # singular values of A B are not its
          # eigenvalues; use eigvals
        share = np.trace(np.linalg.cholesky(A) @ np.linalg.cholesky(B))  # Cholesky factors are no roots in
          # this sense: use the eigenvalues of A B
        share = np.trace(_root(A + B))  # A + B stands where A B belongs
        share = np.trace(_root(A))  # the root of A stands where the root of A B belongs
        answer = (m - n) @ (m - n) + ((A - B)**2).sum()  # you squared the difference of the covariances; the
          # formula has tr(A + B − 2 (A B)^½)
        answer = (m - n) @ (m - n) + np.linalg.norm(A - B)  # you took the norm of the difference of the
          # covariances; the formula has tr(A + B − 2 (A B)^½)
        back = np.sqrt(x)  # that is the root of the distance; FID is the squared one
        back = x / 2  # that is half of the distance
        answer = A + B  # that is a matrix; the distance takes its trace
    """,
    shapes="""
        A.shape  # that is a matrix; the distance takes its trace
        m.shape  # this has one number per feature; the distance is their sum
    """,
    name="the distance",
    done="means, spreads, and what the two shapes share",
    tol=1e-05,
)
def frechet(random: Draws):
    """``student(mean_a, cov_a, mean_b, cov_b)`` → Fréchet distance of two Gaussians, NumPy arrays."""
    size = random.cycle(4, 3, 6, 5)
    mean_a, mean_b = random.rng.normal(size=(2, size))
    a, b = (factor @ factor.T / size for factor in random.rng.normal(size=(2, size, size)))
    return mean_a, a, mean_b, 1.7 * b


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
    from rs_course.alignment import corruptions

    data = datasets.load("simulated", "test", size=2 * count)
    reference, images = np.split(np.asarray(data.images), 2)
    captions = [sentences[0] for sentences in data.captions[count:]]
    scorer = alignment.load("mini-clip", device="cpu")
    target = scorer.image_embeddings(reference)
    sets = {
        "unchanged": (images, captions),
        "swap": (images, corruptions.swap(captions, 1)),
        "blur": (corruptions.blur(images, 2), captions),
        "mirror": (corruptions.mirror(images, 1), captions),
        "collapse": tuple(np.array(corruptions.collapse(rows, 0.96)) for rows in (images, captions)),
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
def blind_spot(answers: dict):
    """``answers``: dict from report letter "A" … "D" to a key of :data:`CHANGES`."""
    objections = {
        "swap": "FID, precision and recall never read a caption, so a swap leaves them as they were",
        "blur": "blurred tiles lie far from every true tile, so that precision falls",
        "mirror": "a mirrored tile is still a good tile of its caption, so that none of the four moves much",
        "collapse": "a few good tiles, repeated, lose recall and keep both precision and the score",
    }
    match(
        answers,
        _ANSWERS,
        CHANGES,
        lambda letter, change: f"report {letter} was not made so: {objections[change]}",
    )
    return "a metric answers its own question only; the mirrored captions are false and nothing here saw it"
