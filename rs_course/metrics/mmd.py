"""Kernel distances between feature distributions: KID and CMMD, both squared maximum mean discrepancies.

    MMD² = E k(x, x') + E k(y, y') - 2 E k(x, y)                             Gretton et al. 2012

Kernel values are computed block by block in the features' own dtype (float32 is enough: rounding errors
average out) and the blocks' sums are added in float64, so memory does not grow with the square of the number
of images.
"""

from __future__ import annotations

import math
from numbers import Integral

import torch

from .features import Estimate, blocks, feature_pair

# Images per side of a block of kernel values: in a CPU's cache, or enough to fill a GPU.
_BLOCK = {"cpu": 512, "cuda": 8192}


def kid(
    real,
    generated,
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


def cmmd(real, generated, *, sigma: float = 10.0, scale: float = 1000.0) -> float:
    """CMMD (Jayasumana et al. 2024): MMD² of CLIP embeddings with a Gaussian kernel, times 1000.

    The V-statistic of the authors' code: means over all pairs, a sample with itself included.

    Args:
        real: L2-normalised CLIP image embeddings ``[M, D]`` (ViT-L/14 at 336 pixels in the paper), torch or
            NumPy. They are taken as they are: other features need another ``sigma``.
        generated: The same of the generated images ``[N, D]``.
        sigma: Width of the kernel ``exp(-|x - y|² / 2σ²)``.
        scale: Factor that makes the number readable.

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
    return scale * (within - 2 * across).item()


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
        without = (total - 2 * own) / ((size - 1) * (size - 2)) - 2 * (total_xy - cross) / (
            (size - 1) * other
        )
        variance += (size - 1) / size * (without - without.mean()).square().sum().item()
    return Estimate(value.item(), standard_error=math.sqrt(variance))
