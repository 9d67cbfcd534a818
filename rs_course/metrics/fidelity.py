"""Fidelity and diversity: by nearest neighbours (precision and recall), and as a classifier sees them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

from .features import Estimate, blocks, check_widths, feature_matrix, feature_pair

# Distances held at once, in elements: 64 MiB of float64.
_ELEMENTS = 1 << 23


class PrecisionRecall(NamedTuple):
    """Fidelity (precision, density) and diversity (recall, coverage) of generated features."""

    precision: float
    recall: float
    density: float
    coverage: float


def precision_recall(real: ArrayLike, generated: ArrayLike, *, k: int = 5) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al. 2019) with density and coverage (Naeem et al. 2020).

    Around every image lies a ball that reaches to its k-th nearest neighbour of the same set.

    - precision: share of generated images inside some real ball (Kynkäänniemi et al.);
    - recall: share of real images inside some generated ball;
    - density: mean number of real balls that a generated image lies in, over k (Naeem et al.); it can
      exceed 1, and one outlier among the real images does not inflate it;
    - coverage: share of real balls that contain a generated image (Naeem et al.).

    Args:
        real: Features ``[M, D]``, torch or NumPy.
        generated: Features ``[N, D]``.
        k: Which neighbour sets the radius; 5 in Naeem et al., 3 in Kynkäänniemi et al.

    Raises:
        TypeError: Not arrays of numbers.
        ValueError: No more than k images in a set, different widths, NaN.
    """
    real, generated = feature_pair(real, generated)
    if not 1 <= k < min(len(real), len(generated)):
        raise ValueError(
            f"k={k}: a radius reaches to the k-th neighbour, so with {len(real)} real and {len(generated)} "
            f"generated images k lies between 1 and {min(len(real), len(generated)) - 1}."
        )
    # Distances do not change when both sets move; centred features keep more digits in |x|² + |y|² - 2xy.
    centre = real.mean(dim=0, dtype=torch.float64)
    real, generated = real - centre, generated - centre
    real_radii, generated_radii = _radii(real, k), _radii(generated, k)
    inside_real = real.new_zeros(len(generated))  # in how many real balls each generated image lies
    recalled = covered = 0
    for rows in _row_blocks(real, generated):
        distances = _squared_distances(real[rows], generated)
        inside = distances < real_radii[rows, None]
        inside_real += inside.float().sum(dim=0)  # whole numbers; several times faster than counting bools
        covered += inside.any(dim=1).sum().item()
        recalled += (distances < generated_radii).any(dim=1).sum().item()
    return PrecisionRecall(
        precision=(inside_real > 0).double().mean().item(),
        recall=recalled / len(real),
        density=inside_real.mean().item() / k,
        coverage=covered / len(real),
    )


def _radii(x, k):
    """Squared distance ``[N]`` to the k-th nearest neighbour, oneself not counted."""
    radii = x.new_empty(len(x))
    for rows in _row_blocks(x, x):
        distances = _squared_distances(x[rows], x)
        own = torch.arange(rows.start, rows.stop, device=x.device)
        distances[torch.arange(len(own), device=x.device), own] = -1  # always the first of k + 1
        radii[rows] = distances.topk(k + 1, dim=1, largest=False).values[:, k]
    # The k-th neighbour lies on the edge of its ball: rounding must not decide whether it is inside. Where k
    # images are equal, the ball still holds what is equal to them.
    smallest = 1e-12 * x.square().sum(dim=1).max().clamp(min=torch.finfo(x.dtype).tiny / 1e-12)
    return (radii * (1 - 1e-12)).clamp(min=smallest)


def _squared_distances(x, y):
    squares = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)
    return torch.addmm(squares, x, y.T, alpha=-2).clamp_(min=0)


def _row_blocks(x, y):
    return blocks(len(x), max(1, _ELEMENTS // len(y)))


def inception_score(probabilities: ArrayLike, *, splits: int = 1) -> Estimate:
    """Inception Score exp(E KL(p(y|x) ‖ p(y))) (Salimans et al. 2016); higher is better.

    It sees neither the real images nor anything the classifier does not name, so it belongs to one classifier
    and to one set of classes: scores of Inception's 1000 photographs classes say little about satellite
    images.

    Args:
        probabilities: Class probabilities of the generated images ``[N, C]``, each row summing to 1 (torch or
            NumPy): the softmax of the classifier's logits.
        splits: The score is the mean over this many consecutive parts of equal size (the paper uses 10);
            shuffle the rows first if they are ordered by class.

    Returns:
        The score, between 1 and C; ``.standard_deviation`` over the splits (population, as it is printed
        after "±") and ``.standard_error`` of their mean.

    Raises:
        TypeError: Not an array of numbers.
        ValueError: Rows that are no probabilities, NaN, or fewer images than splits.
    """
    p = feature_matrix(probabilities, "probabilities").double()
    if splits < 1 or len(p) < splits:
        raise ValueError(f"splits={splits}: {len(p)} images can be cut into 1 to {len(p)} parts.")
    if p.min() < 0 or (p.sum(dim=1) - 1).abs().max() > 1e-3:
        raise ValueError(
            "probabilities must be non-negative and each row must sum to 1; apply softmax to logits first."
        )
    p = p / p.sum(dim=1, keepdim=True)  # float32 rows sum to one only within rounding
    scores = []
    for part in p.tensor_split(splits):
        marginal = part.mean(dim=0)
        divergence = (torch.xlogy(part, part) - torch.xlogy(part, marginal)).sum(dim=1)
        scores.append(divergence.mean().exp())
    scores = torch.stack(scores)
    deviation = scores.std(correction=0).item()
    error = deviation / (splits - 1) ** 0.5 if splits > 1 else float("nan")
    return Estimate(scores.mean().item(), standard_deviation=deviation, standard_error=error, splits=splits)


def classification_accuracy_score(
    generated: ArrayLike,
    generated_labels: ArrayLike,
    real: ArrayLike,
    real_labels: ArrayLike,
) -> float:
    """Accuracy on real images of a linear classifier trained on generated ones (Ravuri & Vinyals 2019).

    The paper trains a ResNet-50 from scratch; here a logistic regression on standardised frozen features
    answers the same question in seconds. Text-to-image papers in remote sensing print it as "Zero-Shot
    Cls-OA". The number to hold it against is the same call with real training features.

    Args:
        generated: Features of the generated images ``[N, D]``, torch or NumPy.
        generated_labels: The class each was generated for ``[N]``.
        real: Features of real test images ``[M, D]``, same network.
        real_labels: Their classes ``[M]``.

    Raises:
        TypeError: Not arrays of numbers.
        ValueError: Different widths, numbers of labels that do not match, fewer than two classes, or a real
            class that was never generated.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    sets = []
    for features, labels, name in ((generated, generated_labels, "generated"), (real, real_labels, "real")):
        features = feature_matrix(features, name).cpu().numpy()
        labels = np.asarray(labels)
        if labels.shape != (len(features),):
            raise ValueError(
                f"{name}_labels has shape {list(labels.shape)} for {len(features)} images; give one each."
            )
        sets.append((features, labels))
    (train, train_labels), (test, test_labels) = sets
    check_widths(test.shape[1], train.shape[1])
    missing = sorted(set(test_labels.tolist()) - set(train_labels.tolist()))
    if missing:
        raise ValueError(f"No image was generated for the real class {missing[0]!r}, so none can be learned.")
    if len(set(train_labels.tolist())) < 2:
        raise ValueError("All generated images have one class; a classifier needs at least two.")
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return float(model.fit(train, train_labels).score(test, test_labels))
