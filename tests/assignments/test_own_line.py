"""Which line of their own answer students are asked about."""

import ast
import json
import re

import pytest

from rs_course.grading.grader import grade
from rs_course.grading.own_work import line_to_explain

from .conftest import assignment, changed_solution, source

ANSWER = """
def f(x):
    '''What it does.'''
    import math

    total = 0
    for item in x:
        total += item  # the sum
    if total > 9:
        total = math.inf
    return total
"""
LINES = ["total = 0", "for item in x:", "total += item", "if total > 9:", "total = math.inf"]
EXAMS = ("a1_alignment", "a2_classification", "a3_super_resolution")


def test_the_line_is_one_of_the_function_and_depends_on_its_code_alone():
    line = line_to_explain(ANSWER, "f")
    assert line in LINES
    looks = ANSWER.replace("  # the sum", "").replace("'''", '"""').replace("total > 9", "(total) > 9")
    assert line_to_explain("%time\nimport torch\n\n" + looks + "\n\ndef g():\n    a = 1\n", "f") == line


def test_every_line_can_be_asked_about():
    variants = (ANSWER.replace("9", str(number)) for number in range(60))
    asked = {
        re.sub(r"\d+", "9", line_to_explain(text, "f")).replace("total = 9", "total = 0") for text in variants
    }
    assert asked == set(LINES)


@pytest.mark.parametrize(
    "text", ["def f(x:", "def g(x):\n    y = 1", "def f(x):\n    '''Text.'''", "", "def f(x):\n    raise E()"]
)
def test_nothing_to_ask(text):
    assert line_to_explain(text, "f") is None


def test_a_function_with_nothing_but_a_return():
    assert line_to_explain("def f(x):\n    return x + 1", "f") == "return x + 1"


@pytest.mark.parametrize("name", EXAMS)
def test_notebook_and_marker_see_the_same_line(name, capsys):
    exam = assignment(name).exam
    prose, question, function = exam.explain
    (cell,) = [c for c in source(name).cells if c.metadata.get("nbgrader", {}).get("grade_id") == question]
    line = line_to_explain(cell.source, function)
    calls = [c.source for c in source(name).cells if f".own_line({function})" in c.source]
    assert len(calls) == 1 and line in ast.unparse(ast.parse(cell.source))
    text = exam.prose(prose, {question: cell.source, prose: "It centres the features."})
    assert line in text and text.endswith("It centres the features.")
    assert exam.prose(question, {question: "1"}) == "1" and exam.prose(prose, {}) == ""


def test_the_line_reaches_whoever_marks(place):
    name = "a1_alignment"
    data = changed_solution(name, "explain", lambda text: f"My answer: {text}")
    record = grade(assignment(name), data, "ada", place, only=set())
    (item,) = [item for item in record["manual"] if item["question"] == "explain"]
    cells = {c["metadata"].get("nbgrader", {}).get("grade_id"): c for c in json.loads(data)["cells"]}
    line = line_to_explain("".join(cells["aligner"]["source"]), "fit")
    assert (
        item["answer"].startswith(f"[This submission is to explain: {line}]")
        and "My answer" in item["answer"]
    )
