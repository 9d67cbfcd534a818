"""What a classifier says about a set of images: Inception Score, classification accuracy score."""

from __future__ import annotations

import numpy as np
import torch

from .features import Estimate, check_widths, feature_matrix


def inception_score(probabilities, *, splits: int = 1) -> Estimate:
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
    generated, generated_labels, real, real_labels, *, regularisation: float = 1.0
) -> float:
    """Accuracy on real images of a linear classifier trained on generated ones (Ravuri & Vinyals 2019).

    The paper trains a ResNet-50 from scratch; here a logistic regression on frozen features answers the same
    question in seconds. Text-to-image papers in remote sensing print it as "Zero-Shot Cls-OA". The number to
    hold it against is the same call with real training features.

    Args:
        generated: Features of the generated images ``[N, D]``, torch or NumPy.
        generated_labels: The class each was generated for ``[N]``.
        real: Features of real test images ``[M, D]``, same network.
        real_labels: Their classes ``[M]``.
        regularisation: Strength of the L2 penalty on standardised features (scikit-learn's 1/C).

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
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1 / regularisation, max_iter=1000))
    return float(model.fit(train, train_labels).score(test, test_labels))
