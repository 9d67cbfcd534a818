"""Distances between feature distributions: Fréchet (FID, also for infinitely many samples), KID, CMMD.

    FID  = |μ_a - μ_b|² + tr(Σ_a + Σ_b - 2 (Σ_a Σ_b)^½)                     Heusel et al. 2017
    MMD² = E k(x, x') + E k(y, y') - 2 E k(x, y)                            Gretton et al. 2012

The trace of the matrix root is the sum of the singular values of ``F_aᵀ F_b`` for any factors with
``F Fᵀ = Σ``. That is exact for singular covariances too (fewer images than features), where the root of the
product itself is lost in rounding. Kernel values are computed block by block in the features' own dtype
(float32 is enough: rounding errors average out) and summed in float64, so memory does not grow with the
square of the number of images.
"""

from __future__ import annotations

import math
from numbers import Integral
from statistics import linear_regression

import torch
from numpy.typing import ArrayLike

from .features import (
    Estimate,
    FeatureStatistics,
    blocks,
    check_widths,
    covariance_root,
    feature_matrix,
    feature_pair,
)


def frechet_distance(
    mean_a: ArrayLike, covariance_a: ArrayLike, mean_b: ArrayLike, covariance_b: ArrayLike
) -> float:
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


def fid(real: ArrayLike | FeatureStatistics, generated: ArrayLike | FeatureStatistics) -> float:
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
    real: ArrayLike | FeatureStatistics,
    generated: ArrayLike,
    *,
    points: int = 15,
    smallest: int | None = None,
    seed: int = 0,
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


# Images per side of a block of kernel values: in a CPU's cache, or enough to fill a GPU.
_BLOCK = {"cpu": 512, "cuda": 8192}


def kid(
    real: ArrayLike,
    generated: ArrayLike,
    *,
    subset_size: int | None = None,
    subsets: int = 100,
    seed: int = 0,
    degree: int = 3,
    gamma: float | None = None,
    coef: float = 1.0,
) -> Estimate:
    """Kernel Inception Distance (Bińkowski et al. 2018): unbiased MMD² with (γ x·y + c)^degree.

    By default all samples are used at once: the result is deterministic, and its standard error is the
    delete-one jackknife of the U-statistic. With ``subset_size`` it is the mean over random subsets, the
    protocol of the usual packages; their "± std" is then ``.subset_std``.

    Being unbiased, KID of two samples of one distribution scatters around zero and can be negative.

    Args:
        real: Features ``[M, D]``, torch or NumPy.
        generated: Features ``[N, D]``.
        subset_size: Images per subset, drawn without replacement; ``None`` uses every image once.
        subsets: Number of subsets.
        seed: Seed of the subsets (``torchmetrics`` after ``torch.manual_seed(seed)`` draws the same ones).
        degree: Degree of the polynomial kernel.
        gamma: Its scale γ; 1/D by default.
        coef: Its constant c.

    Returns:
        The distance as a ``float`` with ``.standard_error``. Subsets overlap, so their scatter is rescaled as
        the delete-d jackknife does (Shao & Wu 1989): s/√N with s subset std · √(n/(N - n)).

    Raises:
        TypeError: Not arrays of numbers.
        ValueError: Fewer than two images, different widths, NaN, a degree below 1, or subsets larger than a
            set.
    """
    if not isinstance(degree, Integral) or degree < 1:
        raise ValueError(
            f"degree={degree!r} is the power of the polynomial kernel, a whole number from 1 on."
        )
    real, generated = feature_pair(real, generated)
    kernel = _polynomial(degree, 1 / real.shape[1] if gamma is None else gamma, coef)
    if subset_size is None:
        return _unbiased(real, generated, kernel)
    smaller = min(len(real), len(generated))
    if not 2 <= subset_size <= smaller or subsets < 1:
        raise ValueError(
            f"subset_size={subset_size}, subsets={subsets}: there are {len(real)} real and {len(generated)} "
            f"generated images, so use at least one subset of 2 to {smaller}."
        )
    generator = torch.Generator().manual_seed(seed)
    values = torch.empty(subsets, dtype=torch.float64)
    for i in range(subsets):
        pick = [torch.randperm(len(x), generator=generator)[:subset_size] for x in (real, generated)]
        values[i] = _unbiased(real[pick[0].to(real.device)], generated[pick[1].to(real.device)], kernel)
    std = values.std(correction=0).item()
    kept_out = smaller - subset_size
    error = std * math.sqrt(subset_size / kept_out) if kept_out else math.nan
    return Estimate(values.mean().item(), standard_error=error, subset_std=std, subsets=subsets)


def cmmd(real: ArrayLike, generated: ArrayLike, *, sigma: float = 10.0) -> float:
    """CMMD (Jayasumana et al. 2024): MMD² of CLIP embeddings with a Gaussian kernel, times 1000.

    The V-statistic of the authors' code: means over all pairs, a sample with itself included.

    Args:
        real: L2-normalised CLIP image embeddings ``[M, D]`` (ViT-L/14 at 336 pixels in the paper), torch or
            NumPy. They are taken as they are: other features need another ``sigma``.
        generated: The same of the generated images ``[N, D]``.
        sigma: Width of the kernel ``exp(-|x - y|² / 2σ²)``.

    Raises:
        TypeError: Not arrays of numbers.
        ValueError: Fewer than two images, different widths, NaN, or a width that is not positive.
    """
    if not sigma > 0:
        raise ValueError(f"sigma={sigma} is the width of a Gaussian and must be positive.")
    real, generated = feature_pair(real, generated)
    kernel = _gaussian(sigma)
    # The kernel is summed as k - 1, which keeps the digits that E k + E k - 2 E k would cancel.
    within = sum(_row_sums(x, kernel, diagonal=True).sum() / len(x) ** 2 for x in (real, generated))
    across = _cross_sums(real, generated, kernel)[0].sum() / (len(real) * len(generated))
    return 1000 * (within - 2 * across).item()


def _polynomial(degree, gamma, coef):
    def kernel(x, y):
        base = torch.addmm(x.new_full((1,), coef), x, y.T, alpha=gamma)
        value = base.clone()
        for _ in range(degree - 1):  # a float power costs several times more than two products
            value *= base
        return value

    return kernel


def _gaussian(sigma):
    """k - 1 of the Gaussian kernel; -|x - y|²/2σ² comes out of one product of lengthened vectors."""
    scale = -1 / (2 * sigma**2)

    def kernel(x, y):
        lengths_x, lengths_y = (a.square().sum(dim=1, keepdim=True) for a in (x, y))
        left = torch.cat([-2 * scale * x, scale * lengths_x, torch.full_like(lengths_x, scale)], dim=1)
        right = torch.cat([y, torch.ones_like(lengths_y), lengths_y], dim=1)
        return (left @ right.T).clamp_(max=0).expm1_()

    return kernel


def _parts(x):
    return blocks(len(x), _BLOCK.get(x.device.type, 4096))


def _row_sums(x, kernel, *, diagonal):
    """Sums ``[N]`` over j of k(x_i, x_j), each unordered pair of blocks evaluated once."""
    sums = x.new_zeros(len(x), dtype=torch.float64)
    parts = _parts(x)
    for i, rows in enumerate(parts):
        for columns in parts[i:]:
            values = kernel(x[rows], x[columns])
            if rows == columns and not diagonal:
                values.fill_diagonal_(0)
            sums[rows] += values.sum(dim=1)
            if rows != columns:
                sums[columns] += values.sum(dim=0)
    return sums


def _cross_sums(x, y, kernel):
    """Sums of k(x_i, y_j) over j ``[M]`` and over i ``[N]``."""
    over_y, over_x = (a.new_zeros(len(a), dtype=torch.float64) for a in (x, y))
    for rows in _parts(x):
        for columns in _parts(y):
            values = kernel(x[rows], y[columns])
            over_y[rows] += values.sum(dim=1)
            over_x[columns] += values.sum(dim=0)
    return over_y, over_x


def _unbiased(x, y, kernel):
    """U-statistic of MMD² with its delete-one jackknife standard error (Arvesen 1969, two samples)."""
    m, n = len(x), len(y)
    xx, yy = _row_sums(x, kernel, diagonal=False), _row_sums(y, kernel, diagonal=False)
    xy, yx = _cross_sums(x, y, kernel)
    total_xx, total_yy, total_xy = xx.sum(), yy.sum(), xy.sum()
    value = total_xx / (m * (m - 1)) + total_yy / (n * (n - 1)) - 2 * total_xy / (m * n)
    variance = 0.0
    for size, other, own, cross, total in ((m, n, xx, xy, total_xx), (n, m, yy, yx, total_yy)):
        if size < 3:  # leaving one out of two leaves no pair
            return Estimate(value.item())
        without = (total - 2 * own) / ((size - 1) * (size - 2))
        without = without - 2 * (total_xy - cross) / ((size - 1) * other)
        variance += (size - 1) / size * (without - without.mean()).square().sum().item()
    return Estimate(value.item(), standard_error=math.sqrt(variance))
