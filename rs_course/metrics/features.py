"""What every distribution metric checks first: feature matrices ``[N, D]``, and numbers with an error bar."""

from __future__ import annotations

import torch


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


def feature_matrix(features, name: str, *, at_least: int = 1) -> torch.Tensor:
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


def feature_pair(real, generated, *, names=("real", "generated"), at_least: int = 2):
    """Two feature matrices of one width, on one device and in one dtype (the wider of the two).

    Raises:
        TypeError: Not arrays of numbers.
        ValueError: As :func:`feature_matrix`, or different widths.
    """
    real = feature_matrix(real, names[0], at_least=at_least)
    generated = feature_matrix(generated, names[1], at_least=at_least)
    check_widths(real.shape[1], generated.shape[1], names)
    dtype = torch.promote_types(real.dtype, generated.dtype)
    return real.to(dtype), generated.to(real.device, dtype)


def check_widths(real: int, generated: int, names=("real", "generated")) -> None:
    """Raise if two feature sets have different widths."""
    if real != generated:
        raise ValueError(
            f"{names[0]} has {real} features per image and {names[1]} has {generated}; "
            "extract both with the same network."
        )


def blocks(count: int, size: int):
    """Slices that cover ``range(count)`` in steps of ``size``."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
