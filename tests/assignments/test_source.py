"""Every finished assignment: what is released, what it is worth, and that its parts fit together."""

import json

import nbformat
import numpy as np
import pytest
import torch

from rs_course.cli import main
from rs_course.grading import release
from rs_course.grading.grader import grade
from rs_course.grading.records import max_score, score

from .conftest import FINISHED, SOURCES, assignment, changed_solution, source


@pytest.mark.parametrize("name", FINISHED)
def test_points_of_the_notebook_are_those_of_the_exam(name):
    exam = assignment(name).exam
    marks = [c.metadata["nbgrader"] for c in source(name).cells if "nbgrader" in c.metadata]
    tests = {m["grade_id"].removesuffix("_test"): m["points"] for m in marks if m["grade"] and m["locked"]}
    assert tests == {question: exam.points(question) for question in exam.questions}
    answers = [m["grade_id"] for m in marks if m["solution"] and not m["grade"]]
    assert answers == exam.questions
    assert len({check.name for check in exam.checks}) == len(exam.checks)
    for question in exam.questions:
        public = [check.public for check in exam.checks if check.question == question]
        assert any(public) and not all(public)


@pytest.mark.parametrize("name", FINISHED)
def test_release_hides_what_it_must(name):
    text = json.dumps(release.release(source(name)))
    for hidden in ("BEGIN SOLUTION", "HIDDEN TESTS", "MARK SCHEME", "require("):
        assert hidden not in text
    assert text.count("raise NotImplementedError()") >= len(assignment(name).exam.questions)
    nbformat.validate(release.release(source(name)))


@pytest.mark.parametrize("name", FINISHED)
def test_committed_release_is_up_to_date(name, monkeypatch):
    monkeypatch.chdir(SOURCES.parents[1])
    assert main(["release", "--check", name]) == 0


@pytest.mark.parametrize("name", FINISHED)
def test_solution_scores_everything_and_release_nothing(name, place):
    whole = json.dumps(release.solution(source(name))).encode()
    record = grade(assignment(name), whole, "solution", place)
    for question in record["questions"]:
        assert question["score"] == question["points"], question
    assert score(record) == max_score(record) - sum(item["points"] for item in record["manual"])
    record = grade(assignment(name), assignment(name).release, "release", place)
    assert score(record) == 0 and not any(question["score"] for question in record["questions"])


def test_an_import_in_a_cell_of_its_own_is_named(place):
    name, answer = "a1_alignment", "def similarity(images, texts):\n    return itertools.repeat(0)"
    notebook = json.loads(changed_solution(name, "similarity", lambda text: answer))
    aside = {"cell_type": "code", "id": "mine", "metadata": {}, "outputs": [], "execution_count": None}
    notebook["cells"].insert(1, {**aside, "source": "import os, itertools"})
    record = grade(assignment(name), json.dumps(notebook).encode(), "ada", place, only={"similarity"})
    (question,) = [item for item in record["questions"] if item["question"] == "similarity"]
    assert question["message"].startswith("itertools is defined in another cell")


def test_what_the_setup_cells_offer_is_what_the_exams_measure_with():
    """The recipe of A2 and the sensor of A3 stand in the notebook and in the exam."""
    from rs_course.grading.exams import cl_tiles, sr_upscaler

    given = {}
    for name in ("a2_classification", "a3_super_resolution"):
        for cell in source(name).cells:
            if cell.get("id") in ("setup", "recipe"):
                exec(cell.source, given)
    generator = torch.Generator().manual_seed(0)
    images, kernel = (
        torch.rand(20, 3, 64, 64, generator=generator),
        sr_upscaler.blur(np.random.default_rng(0)),
    )
    labels = torch.arange(20) % 5
    state = given["fit_ridge"](images, labels)
    for mine, theirs in zip(state, cl_tiles.fit_ridge(images, labels), strict=True):
        assert torch.equal(mine, theirs)
    assert torch.equal(given["classify"](images, state), cl_tiles.classify(images, state))
    assert torch.equal(given["sense"](images, kernel), sr_upscaler.sense(images, kernel))
    assert torch.equal(given["enlarge"](images), sr_upscaler.enlarge(images))


@pytest.mark.parametrize("name", FINISHED)
def test_size_of_a_lesson(name):
    notebook = source(name)
    words = sum(len(cell.source.split()) for cell in notebook.cells if cell.cell_type == "markdown")
    assert len(notebook.cells) <= 45 and words <= 2500
    for cell in release.release(notebook).cells:
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= 25
