"""One answer to a formula: run on several draws, compared, and its mistake named as truly as it can be."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rs_course.check.core import Draws, Mistake, Stopped, as_value, call


@dataclass
class Trial:
    """One draw: the arguments, what the student answered, and the right value."""

    args: tuple
    got: object
    want: object


class Diagnosis:
    """Judges one answer on several draws, and says which mistake explains it."""

    def __init__(self, right, draw, name, tol, tensor, look, seed):
        self.right, self.draw, self.name, self.tol = right, draw, name, tol
        self.tensor, self.look, self.seed, self.names = tensor, look, seed, right.takes

    def judge(self, student: Callable, count: int) -> None:
        """Judge an answer on ``count`` draws of the arguments; raises :class:`Mistake` for a wrong one."""
        try:
            trials = [self.trial(student, number) for number in range(count)]
        except Stopped as stopped:
            raise Mistake(self._why_it_stopped(student, count) or str(stopped)) from None
        wrong = [trial for trial in trials if not self.equal(trial.got, trial.want, trial)]
        if wrong:
            raise Mistake(
                self._slip(trials)
                or self._transformed(wrong, trials)
                or self._shape(trials)
                or self._ignored(student, trials)
                or self._largest_error(trials)
            )

    def trial(self, student: Callable, number: int, square: bool = False) -> Trial:
        """Run an answer on the arguments of one draw."""
        args = self.draw(Draws(self.seed, number=number, square=square))
        args = args if isinstance(args, tuple) else (args,)
        raw = call(student, *args, where=f"{self.described(args)}: " if self.described(args) else "")
        want = self.right(args)
        self._kind(raw)
        if self.look:
            self.look(raw, want, args)
        got = as_value(raw)
        if isinstance(got, str) and not isinstance(want, str):
            raise Mistake("a number or an array of numbers was expected, not str")
        return Trial(args, got, want)

    def equal(self, a: Any, b: Any, trial: Trial) -> bool:
        """Whether two values agree within the tolerance."""
        if a is None or b is None or isinstance(a, str) or isinstance(b, str):
            return isinstance(a, str) and isinstance(b, str) and a == b
        if a.shape != b.shape and not a.size == b.size == 1:
            return False
        bound = self.tol * max(float(np.abs(trial.want).max(initial=0)), 1e-12)
        a, b = a.reshape(b.shape), b
        return bool(((np.abs(a - b) <= bound) | (np.isnan(a) & np.isnan(b)) | (a == b)).all())

    def described(self, args: tuple) -> str:
        """The numbers among the arguments: ``"for t = 3, scale = 1.5"``."""
        plain = (int, float, str, type(None))
        numbers = (
            (name, round(arg.item(), 4) if getattr(arg, "shape", None) == () else arg)
            for name, arg in zip(self.names, args, strict=True)
        )
        shown = [f"{name} = {number}" for name, number in numbers if type(number) in plain]
        return f"for {', '.join(shown)}" if shown else ""

    def _kind(self, raw) -> None:
        import torch

        if self.tensor and not torch.is_tensor(raw):
            raise Mistake(f"{self.name} should be a torch tensor, not a {type(raw).__name__}")
        if torch.is_tensor(raw) and raw.device.type == "meta":
            raise Mistake(f"{self.name} lies on {raw.device}, but its inputs lie on cpu")

    def _why_it_stopped(self, student, count) -> str | None:
        """With all sizes equal, many wrong axes do not stop; then the answer itself says which."""
        try:
            square = [self.trial(student, number, square=True) for number in range(count)]
        except (Mistake, NotImplementedError):
            return None
        return self._slip(square)

    def _slip(self, trials) -> str | None:
        """The sentence of a slip, or of two, that explains every wrong trial."""
        slips = self.right.slips
        pairs = [
            (f"two slips at once. {a[0].upper()}{a[1:]}. {b[0].upper()}{b[1:]}", one | other)
            for (a, one), (b, other) in itertools.combinations(slips, 2)
            if not set(one) & set(other) and "answer" not in one | other
        ]
        for candidates in (slips, pairs):
            found = (text for text, slip in candidates if self._explains(slip, trials))
            if text := next(found, None) or self._constant(trials):
                return text
        wrong = [trial for trial in trials if not self.equal(trial.got, trial.want, trial)]
        if len(wrong) == len(trials):
            return None
        for text, slip in slips:
            if self._explains(slip, wrong):
                return f"{self.described(wrong[0].args) or 'in some cases'}: {text}"
        return None

    def _explains(self, slip, trials) -> bool:
        return all(self.equal(trial.got, self.right.attempt(trial.args, slip), trial) for trial in trials)

    def _transformed(self, wrong, trials) -> str | None:
        if any(isinstance(trial.want, str) or isinstance(trial.got, str) for trial in wrong):
            return None
        with np.errstate(all="ignore"):
            for text, change in _TRANSFORMED.items():
                if all(self.equal(t.got, np.asarray(change(t.want)), t) for t in wrong):
                    return f"{self.name} is {text}"
            return self._factor(trials) or self._offset(trials) or self._rounded(trials)

    def _rounded(self, trials) -> str | None:
        if any(t.got.shape != t.want.shape for t in trials):
            return None
        for places in (1, 2, 3):
            near = all((np.abs(t.got - t.want) <= 0.501 * 0.1**places).all() for t in trials)
            if near and all(self.equal(t.got, t.got.round(places), t) for t in trials):
                return f"{self.name} is the right value, rounded; give all decimals"
        return None

    def _factor(self, trials) -> str | None:
        """One factor in all trials, or a factor that is a size of the arguments."""
        if any(t.got.shape != t.want.shape and not t.got.size == t.want.size == 1 for t in trials):
            return None
        factors = [(t.got * t.want).sum() / max((t.want * t.want).sum(), 1e-30) for t in trials]
        if not all(self.equal(t.got, f * t.want, t) for t, f in zip(trials, factors, strict=True)):
            return None
        if np.ptp(factors) <= self.tol * 10 * abs(factors[0]):
            return f"{self.name} is {factors[0]:.6g} times the right value, in every trial"
        sizes = [_sizes(self.names, trial.args) for trial in trials]
        for text in sizes[0]:
            for sign, how in ((1, "times"), (-1, "divided by")):
                if np.allclose(factors, [s[text] ** float(sign) for s in sizes], rtol=1e-4):
                    return f"{self.name} is the right value {how} {text}: sum or mean, over which axes?"
        return None

    def _offset(self, trials) -> str | None:
        if any(t.got.shape != t.want.shape for t in trials):
            return None
        offsets = [float((t.got - t.want).mean()) for t in trials]
        fits = all(self.equal(t.got, t.want + o, t) for t, o in zip(trials, offsets, strict=True))
        if fits and np.ptp(offsets) <= 1e-4 * max(map(abs, offsets)):
            return f"{self.name} is off by the same amount, {offsets[0]:.4g}, everywhere"
        return None

    def _constant(self, trials) -> str | None:
        first = trials[0]
        same = all(self.equal(first.got, trial.got, first) for trial in trials[1:])
        if not same or (not isinstance(first.got, str) and not np.isfinite(first.got).all()):
            return None
        return f"{self.name} is the same, {_plain(first.got)}, whatever the arguments are"

    def _ignored(self, student, trials) -> str | None:
        """Name an argument on which the answer does not depend, though it should."""
        trial = trials[-1]
        if isinstance(trial.got, str) or not np.isfinite(trial.got).all():
            return None
        again = as_value(call(student, *trial.args))
        if not self.equal(again, trial.got, trial):
            return f"two calls with the same arguments differ: {self.name} must not hold a draw of your own"
        for position, name in enumerate(self.names):
            same = [self._same(student, trial, position, other) for other in _others(trial.args[position])]
            if True in same and False not in same:
                return (
                    f"{self.name} does not depend on {name}: your function gives the same for another {name}"
                )
            if same[:1] == [True] and getattr(trial.args[position], "ndim", 0):
                return (
                    f"{self.name} depends on {name} as a whole only, as by its mean: your function gives the "
                    "same for its entries in another order"
                )
        return None

    def _same(self, student, trial, position, other) -> bool | None:
        """Whether the answer stays with another argument; None where the right value stays too."""
        args = (*trial.args[:position], other, *trial.args[position + 1 :])
        want = self.right.attempt(args, {})
        if want is None or self.equal(want, trial.want, trial):
            return None
        try:
            return self.equal(as_value(call(student, *args)), trial.got, trial)
        except (Mistake, NotImplementedError):
            return None

    def _shape(self, trials) -> str | None:
        for trial in trials:
            if isinstance(trial.want, str) or isinstance(trial.got, str):
                continue
            got, want = trial.got.shape, trial.want.shape
            if got == want or trial.got.size == trial.want.size == 1:
                continue
            for text, shape in self.right.shapes.items():
                if got == self.right.shape(shape, trial.args):
                    return text
            turned = len(got) > 1 and self.equal(trial.got.T, trial.want, trial)
            advice = "; it is transposed" if turned else ""
            return f"{self.name} has shape {list(got)}, expected {list(want)}{advice}"
        return None

    def _largest_error(self, trials) -> str:
        right = [t for t in trials if self.equal(t.got, t.want, t)]
        wrong = max((t for t in trials if not self.equal(t.got, t.want, t)), key=_relative_error)
        where = self.described(wrong.args)
        if right and where:
            where = f"{where} (it is right {self.described(right[0].args)})"
        where = f" {where}" if where else ""
        if isinstance(wrong.got, str) or isinstance(wrong.want, str):
            return f"{self.name} is {_plain(wrong.got)}, expected {_plain(wrong.want)}{where}"
        if not np.isfinite(wrong.got).all():
            return f"{self.name} contains NaN or infinity{where}"
        if wrong.want.size == 1:
            return f"{self.name} is {_plain(wrong.got)}, expected {_plain(wrong.want)}{where}"
        if parts := self._parts(wrong, trials):
            return parts
        error = np.abs(wrong.got - wrong.want)
        place = [int(i) for i in np.unravel_index(error.argmax(), error.shape)]
        if _relative_error(wrong) < 1e-3:  # half precision rounds to 11 bits
            where += "; it is nearly right: is it rounded, or of low precision?"
        return f"{self.name} is not right: the largest error is {error.max():.3g}, at index {place}{where}"

    def _parts(self, wrong, trials) -> str | None:
        """Where the value is named by its parts, as in "(r, slope)": which of them is right in all trials."""
        parts = self.name.strip("()[]").split(", ")
        if len(parts) < 2 or any(t.got.shape != (len(parts),) for t in trials):
            return None
        right = [all(self.equal(t.got[k], t.want[k], t) for t in trials) for k in range(len(parts))]
        said = [
            f"{part} is right" if right[k] else f"{part} is {wrong.got[k]:.4g}, expected {wrong.want[k]:.4g}"
            for k, part in enumerate(parts)
        ]
        return "; ".join(said)


def _relative_error(trial: Trial) -> float:
    """Largest error over the largest right value; infinite where there is no such number."""
    if isinstance(trial.got, str) or isinstance(trial.want, str) or not np.isfinite(trial.got).all():
        return math.inf
    if trial.got.shape != trial.want.shape and not trial.got.size == trial.want.size == 1:
        return math.inf
    return float(np.abs(trial.got - trial.want).max() / max(np.abs(trial.want).max(), 1e-30))


def _others(arg) -> list:
    """Other values of the same kind and shape; of an array the first holds the same entries in another order.

    The others of an array hold none but its own entries, so that labels stay labels, and a mask a mask.
    """
    if isinstance(arg, bool) or callable(arg) or isinstance(arg, list | str | type(None)):
        return []
    if isinstance(arg, int):
        return [arg // 2 if arg > 1 else arg + 1]
    if isinstance(arg, float) or arg.ndim == 0:
        return [0.7 * arg + 0.1, 0.5 * arg]
    flat, size = arg.reshape(-1), math.prod(arg.shape)
    order = np.random.default_rng(0).permutation(size)
    values = np.asarray(flat)
    half = np.arange(size) < (size + 1) // 2
    ends = [np.where(half, end, order) for end in (values.argmin(), values.argmax())]
    return [flat[places].reshape(arg.shape) for places in (order, *ends)]


def _sizes(names, args) -> dict[str, int]:
    """Sizes of the arguments, alone and multiplied, under the name a message gives them."""
    found = {}
    for name, arg in zip(names, args, strict=False):
        shape = getattr(arg, "shape", ())
        for count in (1, 2, 3, 4):
            for axes in itertools.combinations(range(len(shape)), count):
                text = " · ".join(f"{name}.shape[{axis}]" for axis in axes)
                found[text] = math.prod(shape[axis] for axis in axes)
    return found


def _plain(value) -> str:
    return repr(value) if isinstance(value, str) else f"{float(np.ravel(value)[0]):.5g}"


_TRANSFORMED = {
    "the right value with the wrong sign": lambda right: -right,
    "the reciprocal of the right value": lambda right: 1 / right,
    "the square of the right value": np.square,
    "the square root of the right value": np.sqrt,
    "the logarithm of the right value": np.log,
    "the exponential of the right value": np.exp,
    "one minus the right value": lambda right: 1 - right,
    "the right value without its sign": np.abs,
    "the right value, rounded to whole numbers": np.round,
    "the right value, clipped to [0, 1]": lambda right: right.clip(0, 1),
    "the right values in reverse order": np.flip,
    "the right values, sorted": lambda right: np.sort(right, axis=None).reshape(right.shape),
    "the mean of the right values: give them one by one": np.mean,
    "the sum of the right values: give them one by one": np.sum,
    "the smallest of the right values: give all of them": np.min,
    "the largest of the right values: give all of them": np.max,
    "only the first of the right values": lambda right: right[0] if right.ndim else right,
    "right, but flattened: keep the axes": np.ravel,
    "right, but has an axis of length one too many": lambda right: right[..., None],
    "right, but has an axis of length one too many in front": lambda right: right[None],
}
