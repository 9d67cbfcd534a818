"""How an exercise is judged: run the student's answer, compare it, and name the mistake.

One function per exercise, decorated with :func:`exercise`. It raises :class:`Mistake` through
:func:`diagnose`, or returns the sentence to print on success::

    @exercise(hints=("Look at the roots.", "Equation (4) of Ho et al. 2020 ...", "mean = ..."))
    def forward_noise(student):
        x0, eps = ...
        x_t = call(student, x0, t, eps)
        diagnose(x_t, want, {"you used ᾱ where the formula has √ᾱ": abar * x0 + ...}, name="x_t")
        return "x_t has the mean and the variance of q(x_t | x_0)"

In a notebook ``check.diffusion_basics.forward_noise(answer)`` prints one line and is true or false; it never
raises for a wrong answer. ``forward_noise.judge(answer)`` returns the :class:`Check` and prints
nothing, which is what tests and grading want.
"""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass, field

import numpy as np


class Mistake(Exception):
    """Raised by a check with the one sentence that names what is wrong."""


class NotDone(Exception):
    """The answer is still the stub: ``...``, ``None`` or ``raise NotImplementedError``."""


@dataclass(frozen=True)
class Check:
    """Verdict on one exercise.

    Attributes:
        exercise: ``"module.function"``, the name that ``check.hint`` takes.
        status: ``"passed"``, ``"wrong"`` or ``"not done"``.
        message: One sentence.
    """

    exercise: str
    status: str
    message: str = field(default="")

    def __bool__(self) -> bool:
        return self.status == "passed"

    def __str__(self) -> str:
        sign = {"passed": "✓", "wrong": "✗", "not done": "…"}[self.status]
        return f"{sign} {self.exercise}: {self.message}"


class Passed(int):
    """True or False, as a number that a notebook does not show again below the printed line."""

    def _ipython_display_(self):
        pass


class Exercise:
    """A check function together with its hints; calling it prints the verdict and returns true or false."""

    def __init__(self, function, hints):
        functools.update_wrapper(self, function)
        self.name = f"{function.__module__.rsplit('.', 1)[-1]}.{function.__name__}"
        self.hints = tuple(hints)
        self._function = function

    def __call__(self, *answers, **options) -> Passed:
        verdict = self.judge(*answers, **options)
        print(verdict)
        return Passed(bool(verdict))

    def judge(self, *answers, **options) -> Check:
        """Return the verdict without printing it."""
        try:
            if any(_is_blank(answer) for answer in answers):
                raise NotDone
            message = self._function(*answers, **options)
        except (NotDone, NotImplementedError):
            return Check(self.name, "not done", f'not done yet; check.hint("{self.name}") helps')
        except Mistake as mistake:
            return Check(self.name, "wrong", str(mistake))
        except Exception as error:
            # Whatever a student's code or value does, the lesson goes on and says what happened.
            return Check(self.name, "wrong", f"your answer stopped with {type(error).__name__}: {error}")
        return Check(self.name, "passed", message or "right")


def exercise(*, hints):
    """Turn a function into an :class:`Exercise` with staged hints, from a nudge to nearly the answer."""
    return lambda function: Exercise(function, hints)


def call(student, *args, **kwargs):
    """Run the student's function on copies of the arguments.

    Raises:
        NotDone: It returned ``None`` or ``...``.
        Mistake: It is not a function, or it changed one of its arguments in place.
    """
    if not callable(student):
        raise Mistake(f"give the function itself (its name without brackets), not a {type(student).__name__}")
    copies = [copy.deepcopy(arg) for arg in args]
    result = student(*copies, **kwargs)
    if _is_blank(result):
        raise NotDone
    for position, (before, after) in enumerate(zip(args, copies, strict=True)):
        if hasattr(before, "shape") and not np.array_equal(_array(before), _array(after)):
            raise Mistake(
                f"your function changes its argument {position + 1} in place; return a new array instead"
            )
    return result


def diagnose(got, want, mistakes=None, *, name: str = "the result", tol: float = 1e-5) -> None:
    """Compare an answer with the right value; on a difference say which known mistake it is.

    Args:
        got: The student's number, array or tensor.
        want: The right value.
        mistakes: ``{sentence that names the mistake: the value this mistake gives}``.
        name: What the value is called in the lesson.
        tol: Tolerance, relative to the largest magnitude in ``want``.

    Raises:
        NotDone: ``got`` is ``None`` or ``...``.
        Mistake: With the reason: kind, shape, device, NaN, a listed mistake, sign, factor, or largest error.
    """
    if _is_blank(got):
        raise NotDone
    _same_kind(got, want, name)
    value, right = _array(got), _array(want)
    if value.shape != right.shape:
        turned = value.ndim > 1 and value.shape == right.shape[::-1]
        advice = "; it seems transposed" if turned else ""
        raise Mistake(f"{name} has shape {list(value.shape)}, expected {list(right.shape)}{advice}")
    if not np.isfinite(value).all():
        raise Mistake(f"{name} contains NaN or infinity")
    bound = tol * max(float(np.abs(right).max(initial=0)), 1e-12)

    def equal(a, b):
        return np.shape(a) == np.shape(b) and bool((np.abs(a - b) <= bound).all())

    if equal(value, right):
        return
    for sentence, wrong in (mistakes or {}).items():
        if equal(value, _array(wrong)):
            raise Mistake(sentence)
    if equal(value, -right):
        raise Mistake(f"{name} has the wrong sign")
    factor = float((value * right).sum() / max((right * right).sum(), 1e-30))
    if equal(value, factor * right):
        raise Mistake(f"{name} is {factor:.3g} times the right value")
    error = np.abs(value - right)
    place = (
        ""
        if error.ndim == 0
        else f" at index {[int(i) for i in np.unravel_index(error.argmax(), error.shape)]}"
    )
    raise Mistake(f"{name} is not right: the largest error is {error.max():.3g}{place}")


def _is_blank(value) -> bool:
    return value is None or value is Ellipsis


def _same_kind(got, want, name) -> None:
    if isinstance(want, bool | str):
        if type(got) is not type(want):
            raise Mistake(f"{name} should be a {type(want).__name__}, not a {type(got).__name__}")
    elif hasattr(want, "device") and hasattr(want, "detach"):
        if not hasattr(got, "detach"):
            raise Mistake(f"{name} should be a torch tensor, not a {type(got).__name__}")
        if got.device != want.device:
            raise Mistake(f"{name} lies on {got.device}, but its inputs lie on {want.device}")


def _array(value) -> np.ndarray:
    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    if array.dtype.kind not in "biufc":
        raise Mistake(f"a number or an array of numbers was expected, not {type(value).__name__}")
    return array.astype(np.float64)
