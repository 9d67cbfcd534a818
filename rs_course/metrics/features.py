"""Features and what is kept of them: checked matrices ``[N, D]``, numbers with an error bar, and mean and
covariance from a stream.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike


class Estimate(float):
    """A number that remembers how it was found.

    It is an ordinary ``float``; whatever else the estimator knows hangs on it as attributes, above all
    ``standard_error``.
    """

    standard_error: float = float("nan")

    def __new__(cls, value, **details):
        estimate = super().__new__(cls, value)
        estimate.__dict__.update(details)
        return estimate

    def __getnewargs_ex__(self):
        return (float(self),), dict(self.__dict__)


def feature_matrix(features: ArrayLike, name: str, *, at_least: int = 1) -> torch.Tensor:
    """Return features as a finite floating-point tensor ``[N, D]``.

    Args:
        features: Torch tensor or NumPy array, one row per image.
        name: What the caller calls this argument, for the messages.
        at_least: Smallest number of rows that makes sense for the caller.

    Raises:
        TypeError: Not an array of numbers.
        ValueError: Wrong rank, too few rows, or a value that is not finite.
    """
    if not isinstance(features, torch.Tensor):
        try:
            features = torch.as_tensor(features)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(
                f"{name} must be a torch tensor or NumPy array [N, D], one row of features per image, "
                f"not {type(features).__name__}."
            ) from error
    if features.ndim != 2:
        raise ValueError(
            f"{name} has shape {list(features.shape)}; features are a matrix [N, D], one row per image."
        )
    if features.shape[0] < at_least or features.shape[1] == 0:
        raise ValueError(
            f"{name} has shape {list(features.shape)}; this metric compares distributions and needs at "
            f"least {at_least} {'image' if at_least == 1 else 'images'} with at least one feature each."
        )
    features = features.detach()
    if features.device.type == "mps":  # Apple's GPUs have no float64, which the sums below need.
        features = features.cpu()
    if features.dtype not in (torch.float32, torch.float64):
        features = features.float()
    # One pass tells whether anything is wrong; where, is only searched for when something is.
    if not torch.isfinite(features.sum()):
        bad = (~torch.isfinite(features)).any(dim=1).nonzero().flatten()
        if len(bad):
            raise ValueError(
                f"{name} contains NaN or infinity in {len(bad)} of {len(features)} rows (first: {bad[0]})."
            )
    return features


def feature_pair(real: ArrayLike, generated: ArrayLike) -> tuple[torch.Tensor, torch.Tensor]:
    """Two feature matrices of one width, on one device and in one dtype (the wider of the two).

    Raises:
        TypeError: Not arrays of numbers.
        ValueError: As :func:`feature_matrix`, or different widths.
    """
    real = feature_matrix(real, "real", at_least=2)
    generated = feature_matrix(generated, "generated", at_least=2)
    check_widths(real.shape[1], generated.shape[1])
    dtype = torch.promote_types(real.dtype, generated.dtype)
    return real.to(dtype), generated.to(real.device, dtype)


def check_widths(real: int, generated: int, names: Sequence[str] = ("real", "generated")) -> None:
    """Raise if two feature sets have different widths."""
    if real != generated:
        raise ValueError(
            f"{names[0]} has {real} features per image and {names[1]} has {generated}; "
            "extract both with the same network."
        )


def blocks(count: int, size: int):
    """Slices that cover ``range(count)`` in steps of ``size``."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


# Rows that are gathered for one step of XᵀX. A product with few rows is mostly reading and writing of the
# [D, D] sums; this many still stay in the processor's cache.
_ROWS = 512


class FeatureStatistics:
    """Mean and covariance of features, accumulated in float64 from a stream of batches.

    Sums are taken around the mean of the first rows, so that features far from zero lose no digits
    (Chan, Golub & LeVeque 1983). How the stream is cut into batches changes neither result nor, on a
    processor, much of the time.

    >>> statistics = FeatureStatistics()
    >>> for batch in torch.randn(4, 100, 8):
    ...     statistics.update(batch)
    >>> statistics.count, statistics.covariance.shape
    (400, torch.Size([8, 8]))

    Attributes:
        count: Number of rows seen.
    """

    def __init__(self, features=None):
        self.count = 0
        self._origin = self._sum = self._outer = self._root = None
        self._gathered, self._waiting = None, 0  # rows that are not in the sums yet, and their number
        if features is not None:
            self.update(features)

    @property
    def width(self) -> int:
        """Number of features per image, D; 0 before the first batch."""
        return 0 if self._gathered is None else self._gathered.shape[1]

    def update(self, features: ArrayLike) -> None:
        """Add a batch of features ``[N, D]`` (torch or NumPy).

        Raises:
            ValueError: Not a finite matrix, or another width than before.
        """
        features = feature_matrix(features, "features")
        if self._gathered is None:
            self._gathered = features.new_empty(_ROWS, features.shape[1], dtype=torch.float64)
        check_widths(self.width, features.shape[1], ("the statistics so far", "this batch"))
        done = 0
        while done < len(features):
            rows = features[done : done + _ROWS - self._waiting]
            self._gathered[self._waiting : self._waiting + len(rows)] = rows
            self._waiting += len(rows)
            done += len(rows)
            if self._waiting == _ROWS:
                self._add_up()
        self.count += len(features)
        self._root = None

    def _add_up(self) -> None:
        """Take the waiting rows into the sums."""
        if not self._waiting:
            return
        rows, self._waiting = self._gathered[: self._waiting], 0
        if self._origin is None:
            self._origin = rows.mean(dim=0)
            self._sum = torch.zeros_like(self._origin)
            self._outer = rows.new_zeros(self.width, self.width)
        rows -= self._origin
        self._sum += rows.sum(dim=0)
        _add_gram(self._outer, rows)

    def merge(self, other: FeatureStatistics) -> None:
        """Add what another accumulator has seen (another shard or worker).

        Raises:
            ValueError: The two have different widths.
        """
        if other.count == 0:
            return
        if self.count == 0:
            vars(self).update(copy.deepcopy(vars(other)))
            return
        check_widths(self.width, other.width, ("the statistics so far", "the merged ones"))
        self._add_up()
        other._add_up()
        shift = other._origin.to(self._origin.device) - self._origin
        total = other._sum.to(shift.device)
        cross = torch.outer(total, shift)
        self._outer += other._outer.to(shift.device) + cross + cross.T + other.count * shift.outer(shift)
        self._sum += total + other.count * shift
        self.count += other.count
        self._root = None

    @property
    def mean(self) -> torch.Tensor:
        """Mean ``[D]``, float64."""
        self._require(1)
        return self._origin + self._sum / self.count

    @property
    def covariance(self) -> torch.Tensor:
        """Unbiased covariance ``[D, D]``, float64."""
        self._require(2)
        whole = self._outer.tril().add_(self._outer.tril(-1).T)
        return whole.addr_(self._sum, self._sum, alpha=-1 / self.count).div_(self.count - 1)

    @property
    def root(self) -> torch.Tensor:
        """A factor ``F`` of the covariance, ``F Fᵀ = Σ`` (kept until the next update)."""
        if self._root is None:
            self._root = covariance_root(self.covariance)
        return self._root

    def _require(self, count):
        self._add_up()
        if self.count < count:
            raise ValueError(
                f"These statistics have seen {self.count} {'image' if self.count == 1 else 'images'}; "
                f"a {'covariance' if count == 2 else 'mean'} needs at least {count}."
            )


def _add_gram(total: torch.Tensor, x: torch.Tensor) -> None:
    """Add the lower triangle of ``xᵀx`` to ``total``; what lies above the diagonal has no meaning."""
    if total.device.type == "cpu":
        from scipy.linalg.blas import dsyrk

        # BLAS's symmetric rank-k update does half the work of a product, and torch does not expose it. A
        # row-major lower triangle is a column-major upper one, so nothing is copied.
        dsyrk(1.0, x.numpy().T, beta=1.0, c=total.numpy().T, overwrite_c=1)
    else:
        total.addmm_(x.T, x)


def covariance_root(covariance: torch.Tensor) -> torch.Tensor:
    """Factor ``F [D, r]`` of a positive semi-definite matrix, ``F Fᵀ = Σ``, of its numerical rank r.

    Raises:
        ValueError: An eigenvalue is negative beyond rounding.
    """
    factor, failed = torch.linalg.cholesky_ex(covariance)
    pivots = factor.diagonal()
    # A pivot near zero is a direction without variance: Cholesky would fill it with rounding noise.
    if not failed and pivots.min() > 1e-6 * pivots.max():
        return factor
    values, vectors = torch.linalg.eigh(covariance)
    if values[0] < -1e-6 * values[-1].abs():
        raise ValueError(
            f"A covariance has the eigenvalue {values[0].item():.3g}, but no variance is negative: is it "
            "another matrix?"
        )
    floor = values[-1].clamp(min=0) * len(values) * torch.finfo(values.dtype).eps
    kept = values > floor
    return vectors[:, kept] * values[kept].sqrt()
