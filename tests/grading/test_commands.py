"""The commands, from the source notebook to the grades, as students and instructors type them."""

import csv
import json
import zipfile
from pathlib import Path

import nbformat
import pytest

from rs_course.cli import main
from rs_course.grading import release
from rs_course.grading.grader import Assignment

from .conftest import ANSWERS, FULL, PROSE, TINY, as_bytes, cell, notebook


def _source():
    cells = [cell("setup", "import numpy as np", locked=True)]
    for name, text in ANSWERS.items():
        head, body = text.split("\n", 1)
        answer = f"{head}\n    ### BEGIN SOLUTION\n{body}\n    ### END SOLUTION"
        cells.append(cell(name, answer, solution=True))
        test = f"exam.check('{name}')\n### BEGIN HIDDEN TESTS\nassert secret\n### END HIDDEN TESTS"
        cells.append(cell(f"{name}-test", test, grade=True, locked=True, points=2))
    prose = f"{PROSE}\n=== BEGIN MARK SCHEME ===\n4 for all\n=== END MARK SCHEME ==="
    cells.append(cell("essay", prose, kind="markdown", grade=True, solution=True, points=4))
    return nbformat.from_dict({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course folder with one assignment of the instructor's own."""
    folder = tmp_path / "assignments" / "source" / "tiny"
    folder.mkdir(parents=True)
    nbformat.write(_source(), folder / "tiny.ipynb")
    (folder / "exam.py").write_text(TINY.read_text())
    monkeypatch.chdir(tmp_path)
    assert main(["release"]) == 0
    return tmp_path


def test_release_and_solution(course):
    student = (course / "assignments" / "release" / "tiny" / "tiny.ipynb").read_text()
    solution = (course / "build" / "solution" / "tiny" / "tiny.ipynb").read_text()
    assert "return 2 * x" not in student and "assert secret" not in student and "4 for all" not in student
    assert student.count("# YOUR CODE HERE") == student.count("raise NotImplementedError()") == 3
    assert "YOUR ANSWER HERE" in student
    assert "return 2 * x" in solution and "BEGIN" not in solution and "4 for all" in solution
    assert main(["release", "--check"]) == 0
    path = course / "assignments" / "source" / "tiny" / "tiny.ipynb"
    path.write_text(path.read_text().replace("return 2 * x", "return x + x").replace("numpy as np", "numpy"))
    assert main(["release", "--check"]) == 1


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("    ### END SOLUTION", "", "no ### BEGIN SOLUTION"),
        ("### END HIDDEN TESTS", "", "has no counterpart"),
        ('"grade_id": "spread"', '"grade_id": "double"', "used twice"),
    ],
)
def test_broken_sources_are_named(old, new, sentence):
    broken = nbformat.from_dict(json.loads(json.dumps(_source()).replace(old, new)))
    with pytest.raises(ValueError, match=sentence):
        release.release(broken)


def test_release_is_what_nbgrader_expects():
    """Locked cells carry nbgrader's checksum (this one was computed by nbgrader 0.9.6)."""
    made = nbformat.v4.new_code_cell("assert True")
    made.metadata["nbgrader"] = {
        "grade": True,
        "locked": True,
        "solution": False,
        "points": 2,
        "grade_id": "t",
    }
    assert release.checksum(made) == "78b8cabec5f705eb7bd69fd5dfe6c46e"


def test_check_then_submit_then_grade(course, isolated, capsys):
    mine = course / "tiny.ipynb"
    mine.write_bytes(as_bytes(notebook({"double": "def double(x):\n    return x * x + 1"})))
    assert main(["check", str(mine)]) == 1
    out = capsys.readouterr().out
    assert "✗ double.example: the values are not the expected ones" in out and "double.new" not in out
    mine.write_bytes(as_bytes(notebook(ANSWERS, PROSE)))
    assert main(["check", str(mine)]) == 0
    assert "All public checks are right." in capsys.readouterr().out

    assert main(["submit", str(mine), "--student", "s1", "--out", "inbox"]) == 0
    first = (course / "inbox" / "tiny-s1.zip").read_bytes()
    main(["submit", str(mine), "--student", "s1", "--out", "inbox"])
    assert (course / "inbox" / "tiny-s1.zip").read_bytes() == first
    with zipfile.ZipFile(course / "inbox" / "tiny-s1.zip") as archive:
        assert sorted(archive.namelist()) == ["manifest.json", "tiny.ipynb"]

    (course / "roster.csv").write_text("id,last_name,first_name,email\ns1,Ay,Ana,a@x\ns2,Bee,Bob,b@x\n")
    command = ["grade", "inbox", "--assignment", "tiny", "--roster", "roster.csv"]
    command += ["--due", "2000-01-01", "--late", "1%/day,25%", "--trust-times"]
    assert main(command) == 0
    capsys.readouterr()
    lines = (course / "grades" / "tiny" / "grades.csv").read_text().splitlines()
    assert [line.split(",")[3:9] for line in lines[1:]] == [
        ["s1", "Ay", "Ana", "a@x", str(FULL), "2.0"],
        ["s2", "Bee", "Bob", "b@x", "0.0", "0.0"],
    ]
    seed = course / "grades" / "secret_seed.txt"
    assert len(seed.read_text().strip()) == 32 and seed.stat().st_mode & 0o077 == 0
    assert main([*command, "--question", "double"]) == 0
    assert main([*command, "--question", "treble"]) == 1
    assert "There is no question 'treble'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["grade", "nowhere", "--assignment", "tiny"], "There is no folder or zip nowhere"),
        (["grade", ".", "--assignment", "other"], "There is no release notebook"),
        (["check", "none.ipynb"], "There is no notebook none.ipynb"),
        (["submit", "broken.ipynb"], "not valid JSON"),
        (["submit", "empty.ipynb"], "has no answer cells"),
        (["release", "other"], "There is no assignment 'other'"),
    ],
)
def test_kind_errors(course, command, sentence, capsys):
    (course / "broken.ipynb").write_text("{")
    (course / "empty.ipynb").write_text('{"cells": []}')
    assert main(command) == 1
    error = capsys.readouterr().err
    assert sentence in error and len(error.strip().splitlines()) == 1


@pytest.mark.slow
def test_dask_gives_the_same_grades(course, isolated, tmp_path):
    distributed = pytest.importorskip("distributed")
    from rs_course.grading import batch
    from rs_course.grading.intake import Submission

    release_file = course / "assignments" / "release" / "tiny" / "tiny.ipynb"
    assignment = Assignment.load(release_file, str(TINY), "secret")
    class_ = [Submission(f"s{n}", as_bytes(notebook(ANSWERS if n % 2 else {}))) for n in range(6)]
    here = batch.run(batch.Plan(assignment, tmp_path / "here"), class_)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        there = batch.run(
            batch.Plan(assignment, tmp_path / "there"), class_, scheduler=cluster.scheduler_address
        )
    for one, two in zip(here, there, strict=True):
        assert {**one, "seconds": 0} == {**two, "seconds": 0}


def _grade(*words):
    return main(["grade", *words, "--assignment", "tiny", "--isolation", "process", "--workers", "1"])


def _canvas(path, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo(name, (2026, 12, 20, 10, 0, 0))
            archive.writestr(entry, as_bytes(notebook({"double": ANSWERS["double"]}, PROSE)))
    return str(path)


@pytest.mark.parametrize("roster", [True, False])
def test_a_later_zip_with_latecomers_only(course, roster, capsys):
    """Grades and marks of the others stay, whether or not there is a roster."""
    words = []
    if roster:
        (course / "roster.csv").write_text("id,last_name,first_name,lms_id\nana,Ay,Ana,11\nbob,Bee,Bob,12\n")
        words = ["--roster", "roster.csv"]
    words += ["--due", "2026-12-01", "--late", "10%/day", "--late-days", "1"]
    assert _grade(_canvas(course / "first.zip", "ayana_11_501_tiny.ipynb"), *words) == 0
    manual = course / "grades" / "tiny" / "manual.csv"
    manual.write_text(manual.read_text().replace("essay,,4.0", "essay,3,4.0"))
    assert _grade(_canvas(course / "late.zip", "beebob_LATE_12_502_tiny.ipynb"), *words, "--force") == 0
    folder = course / "grades" / "tiny"
    with (folder / "grades_by_question.csv").open(newline="") as stream:
        rows = {row["student_id"]: row for row in csv.DictReader(stream)}
    first, second = ("ana", "bob") if roster else ("ayana_11", "beebob_12")
    assert {who: row["score"] for who, row in rows.items()} == {first: "6.0", second: "3.0"}
    assert (rows[second]["late_submission_penalty"], rows[second]["late_days"]) == ("0.0", "1")
    assert "3.0,4.0" in manual.read_text() and f"{second},essay,," in manual.read_text()
    page = (folder / "feedback" / f"{second}.html").read_text()
    assert "Late days used: 1; 0 of 1 left." in page and "provisional" in page
    if roster:
        assert "the submission graded before counts" in (folder / "feedback" / "ana.html").read_text()


def test_a_file_that_fits_nobody_is_assigned_and_leaves_its_row(course, capsys):
    (course / "roster.csv").write_text("id,last_name,first_name,lms_id\nana,Ay,Ana,11\nbob,Bee,Bob,12\n")
    source = _canvas(course / "l.zip", "ayana_99_501_tiny.ipynb")
    assert _grade(source, "--roster", "roster.csv") == 0
    folder = course / "grades" / "tiny"
    assert "1 files fit nobody" in capsys.readouterr().out
    assert "Files that fit nobody: 1" in (folder / "summary.html").read_text()
    listed = (folder / "unassigned.csv").read_text().rstrip("\n")
    (folder / "unassigned.csv").write_text(listed + "ana\n")
    assert _grade(source, "--roster", "roster.csv") == 0
    lines = (folder / "grades.csv").read_text().splitlines()
    assert [line.split(",")[3] for line in lines[1:]] == ["ana", "bob"] and ",3.0," in lines[1]
    # Assigned to another one: the grade goes with the file.
    text = (folder / "unassigned.csv").read_text()
    (folder / "unassigned.csv").write_text(text.replace(",ana\n", ",bob\n"))
    assert _grade(source, "--roster", "roster.csv") == 0
    lines = (folder / "grades.csv").read_text().splitlines()
    assert ",0.0,0.0,0.0," in lines[1] and ",3.0," in lines[2]


def test_submit_packs_what_the_grader_takes(course, capsys):
    tree = notebook(ANSWERS, PROSE)
    for one in tree["cells"]:
        one["metadata"] = {}
        del one["id"]
    (course / "tiny.ipynb.json").write_bytes(as_bytes(tree | {"nbformat_minor": 4}))
    assert main(["submit", "tiny.ipynb.json"]) == 0
    assert "lost the marks" in capsys.readouterr().out and (course / "tiny.zip").is_file()
    (course / "other.ipynb").write_text(
        '{"cells": [{"cell_type": "markdown", "source": "Hello", "metadata": {}}]}'
    )
    assert main(["submit", "other.ipynb"]) == 1


def _written(course, tree):
    path = course / "assignments" / "source" / "tiny" / "tiny.ipynb"
    path.write_text(json.dumps(tree))
    return path


def test_figures_of_the_mark_scheme_stay_with_the_instructor(course):
    tree = json.loads(json.dumps(_source()))
    tree["cells"][0] = {
        **{"cell_type": "markdown", "id": "q", "metadata": {}, "source": "![](attachment:my%20map.png)"},
        "attachments": {"my map.png": {"image/png": "TUFQ"}, "answer.png": {"image/png": "QU5T"}},
    }
    tree["cells"][-1]["attachments"] = {"s.png": {"image/png": "U09M"}}
    tree["cells"][-1]["source"] = "=== BEGIN MARK SCHEME ===\n![](attachment:s.png)\n=== END MARK SCHEME ==="
    tree["metadata"]["widgets"] = {"state": "QU5T"}
    _written(course, tree)
    assert main(["release"]) == 0
    text = (course / "assignments" / "release" / "tiny" / "tiny.ipynb").read_text()
    assert "TUFQ" in text and "U09M" not in text and "QU5T" not in text
    assert "U09M" in (course / "build" / "solution" / "tiny" / "tiny.ipynb").read_text()


@pytest.mark.parametrize("minor", [0, 4, 5])
@pytest.mark.parametrize("ids", ["all", "none", "some", "twice"])
def test_sources_between_two_versions_of_the_format(course, minor, ids):
    tree = json.loads(json.dumps(_source())) | {"nbformat_minor": minor}
    for number, one in enumerate(tree["cells"]):
        if ids == "none" or (ids == "some" and number % 2):
            del one["id"]
        elif ids == "twice":
            one["id"] = "same"
    _written(course, tree)
    texts = []
    for _ in range(2):
        assert main(["release"]) == 0
        texts.append((course / "assignments" / "release" / "tiny" / "tiny.ipynb").read_text())
    assert texts[0] == texts[1] and main(["release", "--check"]) == 0
    made = nbformat.reads(texts[0], as_version=4)
    nbformat.validate(made)
    assert len({one.get("id") for one in made.cells}) in (
        1 if ids == "none" and minor < 5 else len(made.cells),
    )


def test_a_cell_that_had_another_type(course):
    tree = json.loads(json.dumps(_source())) | {"nbformat_minor": 0}
    for one in tree["cells"]:
        del one["id"]
    tree["cells"][-1] |= {
        "outputs": [],
        "execution_count": 3,
        "attachments": {"s.png": {"image/png": "U09M"}},
    }
    del tree["cells"][0]["outputs"]
    _written(course, tree)
    assert main(["release"]) == 0


def test_a_source_of_format_3(course):
    answer = {"grade_id": "double", "solution": True, "schema_version": 3}
    code = {"cell_type": "code", "language": "python", "metadata": {"nbgrader": answer}, "outputs": []}
    text = "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"
    code["input"] = text.splitlines(keepends=True)
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": [code]}]}
    _written(course, old)
    assert main(["release"]) == 0 and main(["release", "--check"]) == 0
    made = (course / "assignments" / "release" / "tiny" / "tiny.ipynb").read_text()
    assert "YOUR CODE HERE" in made and "2 * x" not in made


@pytest.mark.parametrize(
    "name",
    [
        *("tiny.ipynb", "tiny (1).ipynb", "tiny.ipynb.json", "tiny-Copy1.ipynb", "tiny copy 2.ipynb"),
        *("tiny - Kopie.ipynb", "tiny.ipynb (1)", "TINY.IPYNB"),
    ],
)
def test_names_of_copies(name):
    assert release.assignment_name(Path(name)).lower() == "tiny"
    assert release.assignment_name(Path("a3_super_resolution.ipynb")) == "a3_super_resolution"


@pytest.mark.parametrize("text", ["{", "[]", '{"cells": []}', '{"nbformat": 4, "cells": [{"source": ""}]}'])
def test_a_source_that_is_none_is_one_sentence(course, text, capsys):
    (course / "assignments" / "source" / "tiny" / "tiny.ipynb").write_text(text)
    assert main(["release"]) == 1
    error = capsys.readouterr().err
    assert "is no valid notebook" in error and len(error.strip().splitlines()) == 1
