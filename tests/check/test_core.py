"""The judge behind every exercise: right, wrong with the mistake named, or not done; it never raises."""

import numpy as np
import pytest
import torch

from rs_course import check
from rs_course.check import core


@core.exercise(hints=("think of the square", "the area of a square", "x * x"))
def square(student):
    """Square each entry."""
    x = np.array([1.0, -2.0, 3.0])
    got = core.call(student, x)
    core.diagnose(got, x**2, {"you doubled x instead of squaring it": 2 * x}, name="the square")
    return "every entry is squared"


def _in_place(x):
    x *= x
    return x


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        (lambda x: x * x, "passed", "every entry is squared"),
        (lambda x: 2 * x, "wrong", "you doubled x instead of squaring it"),
        (lambda x: -x * x, "wrong", "the square has the wrong sign"),
        (lambda x: 3 * x * x, "wrong", "the square is 3 times the right value"),
        (lambda x: x * x + [0, 0, 1], "wrong", "the largest error is 1 at index [2]"),
        (lambda x: (x * x)[:2], "wrong", "has shape [2], expected [3]"),
        (lambda x: x * np.nan, "wrong", "contains NaN"),
        (lambda x: "nine", "wrong", "a number or an array of numbers was expected, not str"),
        (lambda x: undefined_name, "wrong", "stopped with NameError"),  # noqa: F821
        (lambda x: None, "not done", "check.hint"),
        (lambda x: ..., "not done", "check.hint"),
        (_in_place, "wrong", "changes its argument 1 in place"),
        (9, "wrong", "give the function itself"),
        (None, "not done", "check.hint"),
    ],
)
def test_each_answer_gets_its_verdict(answer, status, message):
    verdict = square.judge(answer)
    assert verdict.status == status
    assert message in verdict.message


def test_a_stub_that_raises_is_not_done():
    def stub(x):
        raise NotImplementedError

    assert square.judge(stub).status == "not done"


def test_calling_prints_one_line_and_is_true_or_false(capsys):
    assert square(lambda x: x * x)
    assert not square(lambda x: x)
    right, wrong = capsys.readouterr().out.splitlines()
    assert right == "✓ test_core.square: every entry is squared"
    assert wrong.startswith("✗ test_core.square: ")


def test_tensors_must_be_tensors_on_the_same_device():
    want = torch.ones(2)
    core.diagnose(torch.ones(2), want)
    with pytest.raises(core.Mistake, match="should be a torch tensor, not a list"):
        core.diagnose([1.0, 1.0], want)
    with pytest.raises(core.Mistake, match="lies on meta, but its inputs lie on cpu"):
        core.diagnose(torch.ones(2, device="meta"), want)


def test_transposed_answers_and_kinds_are_named():
    with pytest.raises(core.Mistake, match="transposed"):
        core.diagnose(np.ones((2, 3)), np.ones((3, 2)))
    with pytest.raises(core.Mistake, match="should be a bool, not a int"):
        core.diagnose(1, True)
    with pytest.raises(core.NotDone):
        core.diagnose(..., 1.0)


def test_tolerance_is_relative_to_the_largest_value():
    core.diagnose(np.array([1000.001, 0.0]), np.array([1000.0, 0.0]), tol=1e-5)
    with pytest.raises(core.Mistake):
        core.diagnose(np.array([1000.1, 0.0]), np.array([1000.0, 0.0]), tol=1e-5)


def test_hints_name_the_exercise_and_the_level():
    with pytest.raises(ValueError, match=r"there is no exercise 'orientation.nothing'"):
        check.hint("orientation.nothing")
    with pytest.raises(ValueError, match=r"there is no exercise 'nowhere.nothing'"):
        check.hint("nowhere.nothing")


def test_a_notebook_does_not_show_the_answer_twice():
    """With or without a semicolon, which nbval does not heed."""
    from IPython.core.formatters import DisplayFormatter

    assert DisplayFormatter().format(core.Passed(True)) == ({}, {})
