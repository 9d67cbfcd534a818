"""Checks of notebook 06: the right answer passes, every listed mistake is named, stubs are not judged."""

import numpy as np
import pytest

from rs_course.check import is_it_ready as check


def verdict(low, high):
    return "shown" if low > 0 else "contradicted" if high < 0 else "not shown"


def worth(images, accuracies, accuracy):
    return np.exp(np.interp(accuracy, accuracies, np.log(images)))


WRONG = {
    "verdict": {
        "the middle alone does not decide": lambda a, b: "shown" if a + b > 0 else "contradicted",
        "zero lies on the edge": lambda a, b: "shown" if a >= 0 else verdict(a, b),
        "zero is excluded": lambda a, b: "not shown",
        "the other way round": lambda a, b: {"shown": "contradicted", "contradicted": "shown"}.get(
            verdict(a, b), "not shown"
        ),
        "not True": lambda a, b: a > 0,
    },
    "worth": {
        "straight over its logarithm": lambda n, y, a: np.interp(a, y, n),
        "take exp of it": lambda n, y, a: np.interp(a, y, np.log(n)),
        "the same base both ways": lambda n, y, a: np.exp(np.interp(a, y, np.log10(n))),
        "are exchanged": lambda n, y, a: np.exp(np.interp(a, np.log(n), y)),
        "next larger budget": lambda n, y, a: n[np.searchsorted(y, a)],
        "next smaller budget": lambda n, y, a: n[np.searchsorted(y, a) - 1],
    },
}


def test_right_answers_pass():
    assert check.verdict.judge(verdict)
    assert check.worth.judge(worth)
    assert check.controls.judge(
        {"compute": "matched steps", "count": "duplicate", "labels": "shuffled", "memory": "all real",
         "place": "pre-event"}
    )  # fmt: skip


@pytest.mark.parametrize(("name", "mistake"), [(n, m) for n, wrong in WRONG.items() for m in wrong])
def test_every_mistake_is_named(name, mistake):
    judged = getattr(check, name).judge(WRONG[name][mistake])
    assert judged.status == "wrong"
    assert mistake in judged.message


def test_controls_are_judged_one_by_one():
    answers = dict(check._ANSWERED_BY)
    assert "would not tell" in check.controls.judge({**answers, "count": "shuffled"}).message
    assert "is no control" in check.controls.judge({**answers, "count": "luck"}).message
    assert "keys" in check.controls.judge({"count": "duplicate"}).message
    assert check.controls.judge(dict.fromkeys(answers)).status == "not done"


@pytest.mark.parametrize("name", ["verdict", "worth"])
def test_stubs_are_not_judged(name):
    assert getattr(check, name).judge(lambda *args: ...).status == "not done"


@pytest.mark.parametrize("name", ["verdict", "worth", "controls"])
def test_three_hints_each(name):
    assert len(getattr(check, name).hints) == 3


def test_an_accuracy_off_the_curve_has_no_worth():
    from rs_course.study import evidence

    assert np.isnan(evidence.worth([1, 10], [0.4, 0.8], 0.9))
    assert evidence.worth([1, 100], [0.4, 0.8], 0.6) == pytest.approx(10)
