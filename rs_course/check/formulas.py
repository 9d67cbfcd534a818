"""Exercises whose answer is a formula: the right one, and what it becomes by one slip, side by side.

    @formula(
        hints=("Look at the roots.", ...),
        takes="x a",
        right='''
        root = a**0.5
        answer = root * x
        ''',
        slips='''
        root = a  # you forgot the root
        answer = x  # this is x alone
        ''',
        name="x_t",
        done="x_t has the right variance",
    )
    def scaled(random):
        return random.normal(*random.sizes(2)), random.uniform(0, 1)

``right`` is a few lines of Python, the last of which gives ``answer``; a slip puts other right-hand sides in
place of its lines, and says in a comment which mistake that is. The function itself draws the arguments. The
student's answer is run on several draws, of unequal sizes, and a slip is named only if it explains the answer
in every draw; two slips at once, or one in some draws only, are looked for as well. What no slip explains is
compared with simple transformations of the right value. Whatever is said was computed, so it is true.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence

import numpy as np

from rs_course.check.core import Exercise, as_value, exact
from rs_course.check.diagnosis import Diagnosis


def formula(
    *,
    hints: Sequence[str],
    takes: str,
    right: str,
    slips: str,
    name: str,
    done: str,
    shapes: str = "",
    trials: int = 4,
    tol: float = 1e-5,
    tensor: bool = False,
    look: Callable | None = None,
) -> Callable[[Callable], Exercise]:
    """Turn a function that draws arguments into an :class:`~rs_course.check.core.Exercise`.

    Args:
        hints: Three, from a nudge to nearly the answer.
        takes: Names of the arguments, with spaces between.
        right: Lines ``name = expression; …``, in order; they may use the arguments, the names in front,
            ``math``, ``np``, ``torch``, ``F``, and the module of the decorated function.
        slips: Lines ``name = expression; … # sentence``; a line of comment continues the sentence.
        name: What the value is called in the lesson.
        done: Sentence of success.
        shapes: Lines ``expression # sentence``: shapes that give an answer away whatever its values are.
        trials: Number of draws.
        tol: Tolerance, relative to the largest magnitude of the right value.
        tensor: Whether only a torch tensor will do; otherwise numbers, lists and arrays are as good.
        look: ``(raw answer, right value, args)``, raises :class:`Mistake` for what values do not show.
    """
    lines = [_line(one) for one in re.split(r"[;\n]", right.strip())]
    of_slips = [(text, dict(map(_line, code.split(";")))) for code, text in _sentences(slips)]
    if unknown := {name for _, slip in of_slips for name in slip} - {name for name, _ in lines}:
        raise ValueError(f"a slip changes {', '.join(sorted(unknown))}, which the formula does not have")
    of_shapes = {text: compile(code.strip(), "<shape>", "eval") for code, text in _sentences(shapes)}

    def wrap(draw):
        reference = _Reference(takes.split(), lines, of_slips, of_shapes, draw.__globals__)

        def judged(student, *, seed: int = 0):
            Diagnosis(reference, draw, name, tol, tensor, look, seed).judge(student, trials)
            return done

        return Exercise(functools.update_wrapper(judged, draw), hints)

    return wrap


def _line(text: str):
    left, _, expression = text.partition("=")
    return left.strip(), compile(expression.strip(), "<formula>", "eval")


def _sentences(text: str) -> list[tuple[str, str]]:
    """Pairs of code and the sentence in its comment."""
    pairs = []
    for line in map(str.strip, text.strip().splitlines()):
        code, _, comment = line.partition("#")
        if code:
            pairs.append((code, comment.strip()))
        elif line:
            pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]} {comment.strip()}")
    return pairs


class _Reference:
    """The right formula, and what slips make of it."""

    def __init__(self, takes, lines, slips, shapes, module):
        self.takes, self.lines, self.slips, self.shapes, self.module = takes, lines, slips, shapes, module

    def __call__(self, args, slip=()):
        """The answer, with the right-hand sides of ``slip`` in place of the formula's own."""
        return as_value(self._names(args, slip)["answer"])

    def _names(self, args, slip=()) -> dict:
        import torch
        import torch.nn.functional as F

        names = {"math": math, "np": np, "torch": torch, "F": F} | self.module
        names |= zip(self.takes, exact(args), strict=True)
        for left, expression in self.lines:
            names[left] = eval(dict(slip).get(left, expression), names)
        return names

    def attempt(self, args: tuple, slip):
        """As a call; None where a slip cannot be computed, as with sizes that do not fit."""
        try:
            with np.errstate(all="ignore"):
                return self(args, slip)
        except (RuntimeError, ValueError, IndexError, TypeError, ZeroDivisionError, OverflowError):
            return None

    def shape(self, code, args: tuple) -> tuple:
        return tuple(eval(code, self._names(args)))
