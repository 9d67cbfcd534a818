"""Fréchet distance between feature distributions (FID), and its extrapolation to infinitely many samples.

    FID = |μ_a - μ_b|² + tr(Σ_a + Σ_b - 2 (Σ_a Σ_b)^½)                      Heusel et al. 2017

The trace of the matrix root is the sum of the singular values of ``F_aᵀ F_b`` for any factors with
``F Fᵀ = Σ``. That is exact for singular covariances too (fewer images than features), where the root of the
product itself is lost in rounding.
"""

from __future__ import annotations

from statistics import linear_regression

import torch

from .features import Estimate, FeatureStatistics, check_widths, covariance_root, feature_matrix


def frechet_distance(mean_a, covariance_a, mean_b, covariance_b) -> float:
    """Fréchet distance of two Gaussians from their means ``[D]`` and covariances ``[D, D]``.

    Args:
        mean_a: Mean of the first, torch or NumPy.
        covariance_a: Its covariance; it may be singular.
        mean_b: Mean of the second.
        covariance_b: Its covariance.

    Raises:
        ValueError: Shapes that do not belong together, values that are not finite, or a covariance that is
            not symmetric or has a negative variance.
    """
    means, covariances = [], []
    for mean, covariance, name in ((mean_a, covariance_a, "a"), (mean_b, covariance_b, "b")):
        covariance = feature_matrix(covariance, f"covariance_{name}").double()
        mean = torch.as_tensor(mean).to(covariance)
        if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
            raise ValueError(
                f"mean_{name} has shape {list(mean.shape)} and covariance_{name} {list(covariance.shape)}; "
                "a mean [D] goes with a covariance [D, D]."
            )
        if not torch.allclose(covariance, covariance.T, rtol=1e-6, atol=1e-6 * covariance.abs().max().item()):
            raise ValueError(f"covariance_{name} is not symmetric, so it is not a covariance.")
        means.append(mean)
        covariances.append(covariance)
    check_widths(len(means[0]), len(means[1]), ("mean_a", "mean_b"))
    roots = [covariance_root(covariance) for covariance in covariances]
    return _distance(*means, *roots)


def fid(real, generated) -> float:
    """Fréchet distance between two sets of features (Heusel et al. 2017); lower is closer.

    With Inception-v3's 2048 pool features this is "FID"; with another network's features the same formula
    gives another scale, so say which. FID of a finite sample is biased upwards, the more the fewer images:
    compare only equal sample sizes, or use :func:`fid_infinity`.

    Args:
        real: Features ``[N, D]`` (torch or NumPy), or :class:`FeatureStatistics`.
        generated: The same of the other set ``[M, D]``.

    Raises:
        TypeError: Not arrays of numbers.
        ValueError: Fewer than two images, different widths, NaN or infinity.
    """
    real, generated = _statistics(real, "real"), _statistics(generated, "generated")
    check_widths(real.width, generated.width)
    return _between(real, generated)


def fid_infinity(
    real, generated, *, points: int = 15, smallest: int | None = None, seed: int = 0
) -> Estimate:
    """FID extrapolated to infinitely many generated images (Chong & Forsyth 2020).

    FID falls almost linearly in 1/N. It is measured on random subsets of the generated features at
    ``points`` sizes from ``smallest`` to all of them; the intercept of the straight line at 1/N = 0 is the
    estimate. The bias from the real set's own size stays, and is the same for every model compared with it.

    Args:
        real: Features ``[M, D]``, or :class:`FeatureStatistics`.
        generated: Features ``[N, D]``.
        points: Number of sample sizes.
        smallest: Smallest sample size; by default a tenth of N, as in the paper (5,000 of 50,000), but not
            below 2 D while N/2 allows it: with fewer images than features FID is no longer linear in 1/N.
        seed: Seed of the random subsets.

    Returns:
        The intercept; ``.slope``, ``.sizes`` and ``.values`` (lists) hold the line and the points on it.

    Raises:
        ValueError: As :func:`fid`, or too few images or points for a line.
    """
    real = _statistics(real, "real")
    generated = feature_matrix(generated, "generated", at_least=3)
    check_widths(real.width, generated.shape[1])
    count = len(generated)
    if smallest is None:
        smallest = max(2, count // 10, min(2 * real.width, count // 2))
    if points < 2 or not 2 <= smallest < count:
        raise ValueError(
            f"A line needs at least two sample sizes between 2 and the {count} generated images; "
            f"got points={points}, smallest={smallest}."
        )
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.linspace(smallest, count, points, dtype=torch.float64).round().long()
    values = []
    for size in sizes.tolist():
        subset = torch.randperm(count, generator=generator)[:size]
        values.append(_between(real, FeatureStatistics(generated[subset.to(generated.device)])))
    # In Python's own sums: LAPACK's last bit differs from call to call on some processors.
    slope, intercept = linear_regression((1 / sizes.double()).tolist(), values)
    return Estimate(intercept, slope=slope, sizes=sizes.tolist(), values=values)


def _statistics(features, name):
    if isinstance(features, FeatureStatistics):
        features._require(2)
        return features
    return FeatureStatistics(feature_matrix(features, name, at_least=2))


def _between(a: FeatureStatistics, b: FeatureStatistics) -> float:
    return _distance(a.mean, b.mean, a.root, b.root)


def _distance(mean_a, mean_b, root_a, root_b) -> float:
    mean_b, root_b = mean_b.to(mean_a.device), root_b.to(root_a.device)
    traces = root_a.square().sum() + root_b.square().sum()
    distance = (mean_a - mean_b).square().sum() + traces - 2 * _sum_of_singular_values(root_a.T @ root_b)
    return max(distance.item(), 0.0)  # rounding can put two equal sets a hair below zero


def _sum_of_singular_values(matrix: torch.Tensor) -> torch.Tensor:
    """By way of the eigenvalues of MᵀM, in two thirds of the time, where none is so small that its root
    would lose digits.
    """
    if matrix.numel() == 0:  # features without any spread have a covariance of rank 0
        return matrix.new_zeros(())
    if matrix.shape[0] == matrix.shape[1]:
        values = torch.linalg.eigvalsh(matrix.T @ matrix)
        if values[0] > 1e-8 * values[-1]:
            return values.sqrt().sum()
    return torch.linalg.svdvals(matrix).sum()
