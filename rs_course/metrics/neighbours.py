"""Precision, recall, density and coverage: fidelity and diversity told apart by nearest neighbours."""

from __future__ import annotations

from typing import NamedTuple

import torch

from .features import blocks, feature_pair

# Distances held at once, in elements: 64 MiB of float64.
_ELEMENTS = 1 << 23


class PrecisionRecall(NamedTuple):
    """Fidelity (precision, density) and diversity (recall, coverage) of generated features."""

    precision: float
    recall: float
    density: float
    coverage: float


def precision_recall(real, generated, *, k: int = 5) -> PrecisionRecall:
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
