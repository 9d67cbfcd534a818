"""The judge behind every exercise: right, wrong with the mistake named, or not done; it never raises."""

import numpy as np
import pytest
import torch

from rs_course import check, diffusion
from rs_course.check import core
from rs_course.check.formulas import formula


@formula(
    hints=("think of the square", "the area of a square", "scale * x * x"),
    takes="x scale",
    right="""
        power = x**2
        factor = scale
        answer = factor * power
    """,
    slips="""
        power = 2 * x  # you doubled x instead of
          # squaring it
        power = x  # you forgot the square
        factor = 1 if scale < 2 else scale  # a small scale is not used
    """,
    shapes="len(x), 2  # each entry came back twice",
    name="the square",
    done="every entry is squared",
)
def square(random):
    """Square each entry of x, times scale."""
    return random.normal(random.sizes(1)[0]), random.cycle(3.0, 1.5, 2.5, 0.5)


def _in_place(x, scale):
    x *= x
    return scale * x


def _long(x, scale):
    if scale > 2:
        return scale * x * x


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        (lambda x, s: s * x * x, "passed", "every entry is squared"),
        (lambda x, s: [s * float(v) ** 2 for v in x], "passed", "every entry is squared"),
        (lambda x, s: s * 2 * x, "wrong", "you doubled x instead of squaring it"),
        (lambda x, s: x * x * (s if s > 2 else 1), "wrong", "a small scale is not used"),
        (lambda x, s: 2 * x * (s if s > 2 else 1), "wrong", "two slips at once. You doubled x instead of"),
        (lambda x, s: -s * x * x, "wrong", "the square is the right value with the wrong sign"),
        (lambda x, s: 7 * s * x * x, "wrong", "the square is 7 times the right value, in every trial"),
        (lambda x, s: 1.0001 * s * x * x, "wrong", "the square is 1.0001 times the right value"),
        (lambda x, s: len(x) * s * x * x, "wrong", "is the right value times x.shape[0]: sum or mean"),
        (lambda x, s: s * x * x / len(x), "wrong", "is the right value divided by x.shape[0]: sum or mean"),
        (lambda x, s: 4 * x * x, "wrong", "does not depend on scale: your function gives the same"),
        (lambda x, s: x * 0 + x.mean(), "wrong", "depends on x as a whole only, as by its mean"),
        (lambda x, s: s * x * x * (1 + 0.004 * x.mean()), "wrong", "is not right: the largest error is"),
        (
            lambda x, s: (s * x * x).double().round(decimals=2),
            "wrong",
            "the right value, rounded; give",
        ),
        (lambda x, s: s * x * x + 5, "wrong", "off by the same amount, 5, everywhere"),
        (lambda x, s: (s * x * x).mean(), "wrong", "the mean of the right values"),
        (lambda x, s: s * (x * x)[:2], "wrong", "has shape [2], expected ["),
        (lambda x, s: torch.stack([x, x], 1), "wrong", "each entry came back twice"),
        (lambda x, s: x * np.nan, "wrong", "contains NaN"),
        (
            lambda x, s: x * x * (s if s < 3 else 3.1),
            "wrong",
            "for scale = 3.0 (it is right for scale = 1.5)",
        ),
        (lambda x, s: (s * x * x).half(), "wrong", "nearly right: is it rounded, or of low precision?"),
        (lambda x, s: s * x * x + torch.rand(1), "wrong", "two calls with the same arguments differ"),
        (lambda x, s: "nine", "wrong", "a number or an array of numbers was expected, not str"),
        (lambda x, s: {"x": 1}, "wrong", "a number or an array of numbers was expected, not dict"),
        (lambda x, s: s * x.to("meta"), "wrong", "lies on meta, but its inputs lie on cpu"),
        (lambda x, s: undefined_name, "wrong", "with NameError: name 'undefined_name'"),  # noqa: F821
        (lambda x, s: print(end=""), "wrong", "for scale = 3.0: your function returned None"),
        (_long, "wrong", "for scale = 1.5: your function returned None: does every way through it end in"),
        (lambda x: x, "wrong", "called with 2 arguments, but takes (x)"),
        (lambda x, s: ..., "not done", "check.hint"),
        (lambda x, s: None, "not done", "check.hint"),
        (_in_place, "wrong", "changes its argument 1 in place"),
        (9, "wrong", "give the function itself"),
        (None, "not done", "check.hint"),
    ],
)
def test_each_answer_gets_its_verdict(answer, status, message):
    verdict = square.judge(answer)
    assert (verdict.status, message in verdict.message) == (status, True), verdict


def test_an_exception_is_shown_with_the_line_of_the_students_own_code():
    cell = "def answer(x, scale):\n    # a comment\n    y = x.reshape(2, 1000)\n    return y\n"
    names = {}
    exec(compile(cell, "cell 7", "exec"), names)
    message = square.judge(names["answer"]).message
    assert message.startswith("for scale = 3.0: your code stopped in line 3, with RuntimeError: shape")


def test_a_line_is_quoted_where_its_text_is_known(tmp_path):
    path = tmp_path / "answers.py"
    path.write_text("import torch\n\n\ndef answer(x, scale):\n    return torch.stack(x)\n")
    names = {}
    exec(compile(path.read_text(), str(path), "exec"), names)
    assert (
        "stopped in line 5, `return torch.stack(x)`, with TypeError" in square.judge(names["answer"]).message
    )


def test_a_slip_of_something_else_is_refused():
    with pytest.raises(ValueError, match="a slip changes root, which the formula does not have"):
        formula(hints=(), takes="x", right="answer = x", slips="root = x  # no", name="x", done="")


def test_calling_prints_one_line_and_is_true_or_false(capsys):
    assert square(lambda x, s: s * x * x)
    assert not square(lambda x, s: s * x)
    right, wrong = capsys.readouterr().out.splitlines()
    assert right == "✓ test_core.square: every entry is squared"
    assert wrong == "✗ test_core.square: you forgot the square"


def test_hints_name_the_exercise_and_the_level(capsys):
    check.hint("orientation.to_tensor", 1)
    assert capsys.readouterr().out.startswith("Hint 1 of 3: ")
    with pytest.raises(ValueError, match="has hints 1 to 3; 4 is none"):
        check.hint("orientation.to_tensor", 4)
    with pytest.raises(ValueError, match=r"there is no exercise 'orientation.nothing'"):
        check.hint("orientation.nothing")
    with pytest.raises(ValueError, match=r"there is no exercise 'nowhere.nothing'"):
        check.hint("nowhere.nothing")


def test_the_package_itself_passes():
    from rs_course.check import diffusion_basics

    def noised(x0, eps, bar, t):
        return diffusion.add_noise(x0, eps, t, diffusion.Schedule(bar))

    assert diffusion_basics.forward_noise.judge(noised)
    assert diffusion_basics.guidance_line.judge(diffusion.guide)


def test_a_notebook_does_not_show_the_answer_twice():
    """With or without a semicolon, which nbval does not heed."""
    from IPython.core.formatters import DisplayFormatter

    assert DisplayFormatter().format(core.Passed(True)) == ({}, {})
