"""What goes into an exercise and what comes out: random arguments, and answers read as arrays."""

from __future__ import annotations

import numpy as np

from rs_course.check.core import Mistake


class Draws:
    """Random arguments of one trial; ``square`` makes all sizes equal, so that a wrong axis broadcasts."""

    def __init__(self, seed, *, number: int, square: bool = False):
        self.rng, self.number, self.square = np.random.default_rng([seed, number]), number, square
        self._order = np.random.default_rng(seed)

    def sizes(self, count: int, low: int = 3) -> list[int]:
        """``count`` sizes, no two alike, and each another one in the next trial."""
        places = self._order.permutation(count + 2)[:count] + self.number
        return [4] * count if self.square else (low + places % (count + 2)).tolist()

    def normal(self, *shape):
        """A float32 tensor, as a lesson's own are."""
        import torch

        return torch.from_numpy(self.rng.normal(size=shape).astype(np.float32))

    def uniform(self, low: float, high: float, *shape):
        """A number, or a float32 tensor."""
        import torch

        drawn = self.rng.uniform(low, high, shape or None)
        return torch.from_numpy(drawn.astype(np.float32)) if shape else round(float(drawn), 3)

    def cycle(self, *values):
        """The trial's own of some values, so that all of them occur."""
        return values[self.number % len(values)]


def as_value(raw):
    """A string, or a float64 array of whatever holds numbers: a number, list, array or tensor.

    Raises:
        Mistake: It holds something else.
    """
    if isinstance(raw, str):
        return raw
    if hasattr(raw, "detach"):
        raw = raw.detach().cpu()
        raw = raw.double() if raw.is_floating_point() else raw
    if isinstance(raw, list | tuple):
        parts = [as_value(part) for part in raw]
        if any(isinstance(part, str) for part in parts) or len({part.shape for part in parts}) > 1:
            raise Mistake(
                f"a number or an array of numbers was expected, not a {type(raw).__name__} of parts"
            )
        return np.array(parts, dtype=float)
    array = np.asarray(raw)
    if array.dtype.kind == "c" and (np.abs(array.imag) <= 1e-6 * np.abs(array).max(initial=1e-12)).all():
        array = array.real
    if array.dtype.kind not in "biuf":
        what = "complex numbers" if array.dtype.kind == "c" else type(raw).__name__
        raise Mistake(f"a number or an array of numbers was expected, not {what}")
    return array.astype(np.float64)


def exact(args) -> tuple:
    """The arguments in double precision, in which the right value is computed."""
    return tuple(a.double() if hasattr(a, "is_floating_point") and a.is_floating_point() else a for a in args)
