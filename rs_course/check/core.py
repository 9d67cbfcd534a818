"""How an exercise is judged: draw arguments, run the student's answer, read what comes out, name the mistake.

An exercise whose answer is a function is a *formula* (:mod:`rs_course.check.formulas`): the right formula and
the slips that turn it into the usual wrong ones. Any other exercise is a function decorated with
:func:`exercise` that raises :class:`Mistake`, or returns the sentence to print on success.

In a notebook ``check.diffusion_basics.forward_noise(answer)`` prints one line and is true or false; it never
raises for a wrong answer. ``forward_noise.judge(answer)`` returns the :class:`Check` and prints
nothing, which is what tests and grading want.
"""

from __future__ import annotations

import copy
import dis
import functools
import inspect
import linecache
import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


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


def as_value(raw: Any) -> str | np.ndarray:
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


def exact(args: tuple) -> tuple:
    """The arguments in double precision, in which the right value is computed."""
    return tuple(a.double() if hasattr(a, "is_floating_point") and a.is_floating_point() else a for a in args)


class Mistake(Exception):
    """Raised by a check with the one sentence that names what is wrong."""


class Stopped(Mistake):
    """The student's code raised an exception; the sentence says where."""


class NotDone(Exception):
    """The answer, or a part of it, is still the stub: ``...``, ``None``, ``raise NotImplementedError``."""


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
            if any(is_blank(answer) for answer in answers):
                raise NotDone
            message = self._function(*answers, **options)
        except (NotDone, NotImplementedError) as stub:
            return Check(self.name, "not done", str(stub) or f'not done yet; check.hint("{self.name}") helps')
        except Mistake as mistake:
            return Check(self.name, "wrong", str(mistake))
        except Exception as error:
            # Whatever a student's value does, the lesson goes on and says what happened.
            return Check(self.name, "wrong", f"your answer stopped with {type(error).__name__}: {error}")
        return Check(self.name, "passed", message or "right")


def exercise(*, hints: Sequence[str]) -> Callable[[Callable], Exercise]:
    """Turn a function into an :class:`Exercise` with staged hints, from a nudge to nearly the answer."""
    return lambda function: Exercise(function, hints)


def is_blank(value: Any) -> bool:
    """Whether a value is a stub's."""
    return value is None or value is Ellipsis


def call(student: Callable, *args, where: str = "") -> Any:
    """Run the student's function on copies of the arguments.

    Args:
        student: What was handed in.
        where: Which arguments these are, for a message, e.g. ``"for scale = 2: "``.

    Raises:
        NotDone: It is a stub, or returned ``...``.
        Mistake: It is not a function, takes other arguments, returned ``None``, or changed an argument.
        Stopped: It raised an exception.
    """
    if not callable(student):
        raise Mistake(f"give the function itself (its name without brackets), not a {type(student).__name__}")
    _takes(student, len(args))
    copies = copy.deepcopy(list(args))
    try:
        result = student(*copies)
    except (NotImplementedError, Mistake):
        raise
    except Exception as error:
        raise Stopped(where + _stopped(error, student)) from error
    if result is Ellipsis or (result is None and _does_nothing(student)):
        raise NotDone
    if result is None:
        raise Mistake(f"{where}your function returned None: does every way through it end in a return?")
    for position, (before, after) in enumerate(zip(args, copies, strict=True)):
        if hasattr(before, "shape") and not np.array_equal(np.asarray(before), np.asarray(after)):
            raise Mistake(
                f"your function changes its argument {position + 1} in place; return a new array instead"
            )
    return result


def match(answers: dict, truth: dict, options: Collection[str], objection: Callable[[str, str], str]) -> None:
    """Judge a dictionary that gives each key of ``truth`` one of ``options``.

    Args:
        objection: ``(key, chosen) -> sentence`` that says why this choice is wrong.

    Raises:
        NotDone: Entries are still open, and the others are right.
        Mistake: Other keys, a choice that is no option, or a wrong choice.
    """
    if not isinstance(answers, dict) or set(answers) != set(truth):
        raise Mistake(f"give a dictionary with the keys {', '.join(map(repr, truth))}")
    still = [key for key in truth if is_blank(answers[key])]
    if len(still) == len(truth):
        raise NotDone
    chosen = {key: answers[key] for key in truth if key not in still}
    for key, choice in chosen.items():
        if not isinstance(choice, str) or choice not in options:
            raise Mistake(
                f"{key}: {choice!r} is not on the list; choose from {', '.join(map(repr, options))}"
            )
    for key, choice in chosen.items():
        if choice != truth[key]:
            raise Mistake(objection(key, choice))
    if still:
        raise NotDone(f"right so far ({', '.join(chosen)}); still open: {', '.join(still)}")


def _takes(student, count: int) -> None:
    try:
        signature = inspect.signature(student)
    except (TypeError, ValueError):  # some built-in functions have none
        return
    try:
        signature.bind(*range(count))
    except TypeError:
        raise Mistake(
            f"your function is called with {count} arguments, but takes {signature}; keep the first line as "
            "it was given"
        ) from None


def _does_nothing(student) -> bool:
    """Whether the body is empty: a docstring, ``...`` or ``pass``, or no more than ``return None``."""
    code = getattr(student, "__code__", None)
    empty = {"RESUME", "NOP", "LOAD_CONST", "POP_TOP", "RETURN_VALUE", "RETURN_CONST"}
    return code is not None and {step.opname for step in dis.get_instructions(code)} <= empty


def _stopped(error, student) -> str:
    """Where in the student's own code an exception arose, and what it says."""
    file = getattr(getattr(student, "__code__", None), "co_filename", None)
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    said = f"{type(error).__name__}: {error}"
    if not own:
        return f"your function stopped with {said}"
    line = linecache.getline(file, own[-1].lineno).strip()
    return f"your code stopped in line {own[-1].lineno}{f', `{line}`' if line else ''}, with {said}"
