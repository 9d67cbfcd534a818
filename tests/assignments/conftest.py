"""Graded copies of an assignment's solution with one change each."""

import json
from functools import cache
from pathlib import Path

import nbformat
import pytest

from rs_course.grading import exam, release, sandbox
from rs_course.grading.grader import Assignment, grade

SOURCES = Path(__file__).resolve().parents[2] / "assignments" / "source"
FINISHED = sorted(path.parent.name for path in SOURCES.glob("*/*.ipynb"))


@cache
def source(name):
    return nbformat.read(SOURCES / name / f"{name}.ipynb", as_version=4)


@cache
def assignment(name):
    student = json.dumps(release.release(source(name))).encode()
    return Assignment(student, exam.load(name), "a seed for tests", name)


def changed_solution(name, question, change):
    """The solution with ``change(source) -> source`` applied to one answer."""
    notebook = release.solution(source(name))
    (cell,) = [c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == question]
    before = cell.source
    cell.source = change(before)
    assert cell.source != before, "the mutant changes nothing"
    return json.dumps(notebook).encode()


def replaced(*pairs):
    """A change that replaces pieces of source, each of which must occur."""

    def change(text):
        for old, new in pairs:
            assert old in text, f"{old!r} is not in the solution"
            text = text.replace(old, new)
        return text

    return change


@pytest.fixture(scope="session")
def place():
    if reason := sandbox.why_no_bubblewrap():
        pytest.skip(f"needs isolation: {reason}")
    with sandbox.Sandbox(preload=("numpy", "torch", "torch.nn.functional")) as made:
        yield made


@pytest.fixture(scope="session")
def grade_mutant(place):
    def run(name, question, change):
        """Score of the question, and the messages of its checks as one text."""
        data = changed_solution(name, question, change)
        record = grade(assignment(name), data, "mutant", place, only={question})
        (found,) = [q for q in record["questions"] if q["question"] == question]
        said = "\n".join([found["message"], *(check["message"] for check in found["checks"])])
        return found["score"], said

    return run


def mutant_tests(assignment_name, mutants):
    """The two tests of a file of mutants.

    Args:
        assignment_name: The assignment whose solution they change.
        mutants: Name → ``(question, change, points, words)``: the points that this mistake still earns, and
            words of the message that names it.
    """

    def test_there_are_enough():
        assert len(mutants) >= 25

    @pytest.mark.parametrize("name", mutants)
    def test_mutant(name, grade_mutant):
        question, change, points, words = mutants[name]
        score, said = grade_mutant(assignment_name, question, change)
        assert score == points, said
        assert words in said

    return test_there_are_enough, test_mutant
