"""Every exercise: right answers of any form pass, no wrong one does, and nearly every mistake is named truly.

The answers stand in ``answers/``, one table for each notebook.
"""

import re
from importlib import import_module

import pytest

from rs_course import check

_LESSONS = (
    "orientation", "diffusion_basics", "checkpoint_sampling", "control", "alignment", "classification",
    "superres", "is_it_ready",
)  # fmt: skip
_TABLES = {lesson: import_module(f"answers.{lesson}") for lesson in _LESSONS}
_EXERCISES = [(lesson, name) for lesson, table in _TABLES.items() for name in table.RIGHT]
_each_exercise = pytest.mark.parametrize(("lesson", "name"), _EXERCISES)


def _judge(lesson, name, answer, **options):
    return getattr(getattr(check, lesson), name).judge(answer, **options)


@_each_exercise
@pytest.mark.parametrize("seed", [0, 1])
def test_right_answers_of_any_form_pass(lesson, name, seed):
    for answer in _TABLES[lesson].RIGHT[name]:
        verdict = _judge(lesson, name, answer, seed=seed)
        assert verdict, verdict


@_each_exercise
@pytest.mark.parametrize("seed", [0, 1])
def test_no_wrong_answer_passes_and_mistakes_are_named(lesson, name, seed):
    answers = _TABLES[lesson].WRONG[name]
    assert len(answers) >= 15
    unnamed = []
    for named, answer in answers.items():
        verdict = _judge(lesson, name, answer, seed=seed)
        assert verdict.status == "wrong", (named, verdict)
        if not re.search(named, verdict.message):
            unnamed.append((named, verdict.message))
    assert not unnamed


@_each_exercise
def test_a_stub_is_not_judged_and_has_three_hints(lesson, name):
    def stub(*arguments):
        "A docstring."
        ...

    def raises(*arguments):
        raise NotImplementedError

    for answer in (None, stub, raises, lambda *arguments: ..., lambda *arguments: None):
        assert _judge(lesson, name, answer).status == "not done"
    assert len(getattr(getattr(check, lesson), name).hints) == 3
