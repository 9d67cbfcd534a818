"""The nbgrader course folder: nbgrader's own API, its export and its formgrader read the course's points."""

import csv
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from rs_course.cli import main
from rs_course.grading import batch, exam, formgrader, gradebook, reports
from rs_course.grading.grader import Assignment, grade
from rs_course.grading.intake import Submission
from rs_course.grading.policy import LatePolicy
from rs_course.grading.roster import Student

from .conftest import ANSWERS, FULL, PROSE, TINY, as_bytes, cell, notebook

ON_TIME = datetime(2026, 11, 20, 10, tzinfo=UTC)
LATE = datetime(2026, 12, 2, 10, tzinfo=UTC)
POLICY = LatePolicy.parse("2026-12-01T23:59+01:00", "10%/day")
EVIL = PROSE + "\n\n<script>alert('read by the instructor')</script>"
WRONG = {**ANSWERS, "double": "def double(x):\n    return x * x"}
CLASS = [
    Submission("ana", as_bytes(notebook(ANSWERS, PROSE)), ON_TIME),
    Submission("bob", as_bytes(notebook(WRONG, EVIL)), LATE),
    Submission("cem", as_bytes(notebook({}))),
    Submission("dia", ValueError("nothing was handed in")),
    Submission("../eve", as_bytes(notebook(ANSWERS))),
]
PEOPLE = [Student("ana", "Ay", "Ana", "ana@uni.example"), Student("dia", "De", "Dia")]


@pytest.fixture(scope="module")
def graded(tiny, isolated, tmp_path_factory):
    pytest.importorskip("nbgrader", reason="nbgrader is optional and not installed here")
    return batch.run(batch.Plan(tiny, tmp_path_factory.mktemp("class")), CLASS)


@pytest.fixture(scope="module")
def first(tiny, graded, tmp_path_factory):
    """The course folder of the class, made once: nbgrader takes seconds for a new gradebook."""
    place = tmp_path_factory.mktemp("grades")
    reports.write(place / "tiny", tiny, graded, PEOPLE, POLICY, course=place / "nbgrader")
    manual = place / "tiny" / "manual.csv"
    manual.write_text(manual.read_text().replace("ana,essay,,4.0,", "ana,essay,3.5,4.0,well argued"))
    return place


@pytest.fixture
def made(tiny, graded, first, tmp_path):
    """A copy of it, to which the points that were filled in have come, and a function that makes it again."""
    shutil.copytree(first, tmp_path, dirs_exist_ok=True)
    folder, course = tmp_path / "tiny", tmp_path / "nbgrader"

    def again(records=graded, assignment=tiny):
        return reports.write(folder, assignment, records, PEOPLE, POLICY, course=course)

    return SimpleNamespace(folder=folder, course=course, rows=again(), again=again)


@contextmanager
def _book(course):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        yield book


def _grade(book, name, student):
    return book.find_grade(name, "tiny", "tiny", student)


def _everything(course):
    with _book(course) as book:
        submissions = book.assignment_submissions("tiny")
        parts = [part for s in submissions for nb in s.notebooks for part in (*nb.grades, *nb.comments)]
        found = [*book.assignments, *book.students, *submissions, *parts]
        return sorted(json.dumps(item.to_dict(), sort_keys=True, default=str) for item in found)


def test_each_cell_has_its_points(made, tiny):
    with _book(made.course) as book:
        tests = ("double-test", "spread-test", "predict-test")
        assert [_grade(book, test, "ana").auto_score for test in tests] == [3, 3, 2]
        assert [_grade(book, test, "bob").auto_score for test in tests] == [1, 3, 2]
        assert [book.find_grade_cell(test, "tiny", "tiny").max_score for test in tests] == [3, 3, 2]
        essay = {student: _grade(book, "essay", student) for student in ("ana", "bob", "cem")}
        assert (essay["ana"].manual_score, essay["ana"].needs_manual_grade) == (3.5, False)
        assert (essay["bob"].manual_score, essay["bob"].needs_manual_grade) == (None, True)
        assert (essay["cem"].auto_score, essay["cem"].needs_manual_grade) == (0, False)
        assert book.find_comment("essay", "tiny", "tiny", "ana").comment == "well argued"
        assert book.find_comment("double", "tiny", "tiny", "bob").comment == "you squared x"
        assert book.find_student("ana").email == "ana@uni.example"
        assert {s.student.id for s in book.assignment_submissions("tiny")} == {"ana", "bob", "cem", "../eve"}
    hidden = next(e for e in tiny.checks if e.check.name == "double.new").inputs["x"]
    assert str(hidden).encode() not in (made.course / "gradebook.db").read_bytes()


def test_nbgraders_export_is_the_grade_table(made):
    command = [sys.executable, "-m", "nbgrader", "export", "--to", "exported.csv"]
    subprocess.run(command, cwd=made.course, check=True, capture_output=True)
    with (made.course / "exported.csv").open() as one, (made.folder / "grades.csv").open() as two:
        exported = {row["student_id"]: row for row in csv.DictReader(one)}
        ours = {row["student_id"]: row for row in csv.DictReader(two)}
    assert set(exported) == set(ours)
    for student, row in ours.items():
        for column in ("raw_score", "late_submission_penalty", "score", "max_score"):
            assert float(exported[student][column]) == float(row[column]), (student, column)
    assert float(ours["ana"]["score"]) == FULL + 3.5 and float(ours["bob"]["late_submission_penalty"]) > 0


def test_again_is_the_same_gradebook(made):
    before = _everything(made.course)
    made.again()
    assert _everything(made.course) == before and len(before) > 20


def test_points_typed_in_the_gradebook_count(made):
    with _book(made.course) as book:
        _grade(book, "essay", "bob").manual_score = 2.0
        book.find_comment("essay", "tiny", "tiny", "bob").manual_comment = "see line 2"
        _grade(book, "essay", "ana").manual_score = 1.0  # but manual.csv says 3.5
        book.db.commit()
    rows = {row["student_id"]: row for row in made.again()}
    assert rows["bob"]["raw_score"] == 6.0 + 2.0 and rows["ana"]["raw_score"] == FULL + 3.5
    assert gradebook.read_manual(made.folder / "manual.csv")["bob", "essay"] == (2.0, "see line 2")
    with _book(made.course) as book:
        assert _grade(book, "essay", "bob").needs_manual_grade is False
        assert _grade(book, "essay", "ana").manual_score == 3.5


def test_automatic_points_changed_by_hand_stay_and_are_reported(made, tiny):
    assert formgrader.disagreeing(made.course, tiny, made.rows) == []
    with _book(made.course) as book:
        _grade(book, "double-test", "bob").manual_score = 3.0
        book.db.commit()
    rows = made.again()
    assert formgrader.disagreeing(made.course, tiny, rows) == ["bob"]
    with _book(made.course) as book:
        assert _grade(book, "double-test", "bob").score == 3.0


def test_a_changed_class_or_assignment_leaves_nothing_behind(made, tiny, graded):
    made.again(graded[:1])
    with _book(made.course) as book:
        assert [s.student.id for s in book.assignment_submissions("tiny")] == ["ana"]
    tree = json.loads(tiny.release)
    tree["cells"].append(cell("summary", "YOUR ANSWER HERE", kind="markdown", grade=True, solution=True))
    tree["cells"][-1]["metadata"]["nbgrader"]["points"] = 5
    longer = [{**r, "manual": [*r["manual"], _waiting("summary", 5.0)]} for r in graded]
    rows = made.again(longer, replace(tiny, release=as_bytes(tree)))
    with _book(made.course) as book:
        assert book.find_assignment("tiny").max_score == rows[0]["max_score"] == 17
        assert book.find_submission("tiny", "ana").score == FULL + 3.5
        assert _grade(book, "summary", "ana").needs_manual_grade is True


def _waiting(question, points):
    return {"question": question, "points": points, "score": None, "comment": "", "answer": ""}


def test_names_lead_nowhere(made):
    found = {path.relative_to(made.course).parts[1] for path in made.course.glob("autograded/*/tiny/*.ipynb")}
    assert found == {"ana", "bob", "cem"} and not list(made.course.parent.rglob("eve"))


@pytest.mark.slow
def test_formgrader_opens_it(made):
    """Through the pages and requests of formgrader itself, in a real Jupyter server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(8)
    options = [f"--port={port}", f"--IdentityProvider.token={token}", "--no-browser", "--allow-root"]
    extension = """--ServerApp.jpserver_extensions={"nbgrader.server_extensions.formgrader": True}"""
    command = [sys.executable, "-m", "jupyter_server", "--ip=127.0.0.1", *options, extension]
    own = {"JUPYTER_CONFIG_DIR": str(made.folder / "jupyter")}
    log_file = made.folder / "server.log"
    with log_file.open("w") as log:
        server = subprocess.Popen(
            command, cwd=made.course, env=os.environ | own, stdout=log, stderr=subprocess.STDOUT
        )

        def ask(path, body=None):
            request = urllib.request.Request(f"http://127.0.0.1:{port}/{path}")
            request.add_header("Authorization", f"token {token}")
            if body is not None:
                request.data, request.method = json.dumps(body).encode(), "PUT"
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.read().decode()

        try:
            deadline = time.monotonic() + 180
            while True:
                assert server.poll() is None and time.monotonic() < deadline, log_file.read_text()[-2000:]
                try:
                    ask("api/status")
                    break
                except OSError:
                    time.sleep(0.3)
            (assignment,) = json.loads(ask("formgrader/api/assignments"))
            assert (assignment["name"], assignment["max_score"]) == ("tiny", 12)
            handed_in = {s["student"]: s for s in json.loads(ask("formgrader/api/submissions/tiny"))}
            assert handed_in["ana"]["score"] == FULL + 3.5 and handed_in["ana"]["autograded"]
            notebooks = json.loads(ask("formgrader/api/submitted_notebooks/tiny/tiny"))
            (bob,) = [n for n in notebooks if n["student"] == "bob"]
            assert bob["needs_manual_grade"] is True
            page = ask(f"formgrader/submissions/{bob['id']}/")
            assert "&lt;script&gt;alert(" in page and "<script>alert(" not in page and "squared" not in page
            (essay,) = [
                g
                for g in json.loads(ask(f"formgrader/api/grades?submission_id={bob['id']}"))
                if g["name"] == "essay"
            ]
            ask(f"formgrader/api/grade/{essay['id']}", {"manual_score": 2.5})
        finally:
            server.terminate()
            server.wait(timeout=30)
    assert {row["student_id"]: row["raw_score"] for row in made.again()}["bob"] == 6.0 + 2.5


def test_without_nbgrader_one_sentence_says_what_to_run(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(formgrader, "find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    assert main(["grade", "inbox", "--assignment", "tiny", "--nbgrader"]) == 1
    error = capsys.readouterr().err
    assert "pip install -c constraints.txt nbgrader" in error and len(error.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_work_on_a_task_is_graded_by_hand(place):
    """nbgrader's task cells: the student's own cells below one are the work."""

    def with_task(*work):
        def change(tree):
            task = cell(
                "survey", "Draw a map of your town.", kind="markdown", locked=True, task=True, points=6
            )
            own = [{"cell_type": "markdown", "metadata": {}, "source": text} for text in work]
            tree["cells"] += [task, *own]

        return as_bytes(notebook(ANSWERS, PROSE, change=change))

    assignment = Assignment(with_task(), exam.load(TINY), "secret", str(TINY))
    done = grade(assignment, with_task("A river", "and a road"), "ana", place)
    assert done["manual"][1] == {**_waiting("survey", 6.0), "answer": "A river\n\nand a road"}
    assert grade(assignment, with_task(), "bob", place)["manual"][1]["score"] == 0
