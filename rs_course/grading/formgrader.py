"""An nbgrader course folder made from the records, to mark prose in formgrader (optional: needs nbgrader).

    gradebook.db                           students, submissions, points and comments; by nbgrader's own API
    source/NAME/NAME.ipynb                 the student version: formgrader lists the assignments it finds here
    autograded/STUDENT/NAME/NAME.ipynb     the student version with this student's answers, not executed
    submitted/STUDENT/NAME/timestamp.txt   when it was handed in; no code that somebody could run by mistake

nbgrader grades nothing here. Automatic points come from the records; points that a person types for prose go
into ``manual.csv`` at the next run, which is where they count.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from sysconfig import get_path

from rs_course.files import write_text
from rs_course.grading.grader import Assignment
from rs_course.jobs import environment

# A student id becomes a folder name, and nbgrader searches it with glob.
_IS_FOLDER_NAME = re.compile(r"[\w@][\w@. -]*").fullmatch


def require() -> None:
    """Say so, before anything is graded, where nbgrader is missing.

    Raises:
        RuntimeError: With the command that installs it.
    """
    if find_spec("nbgrader") is None:
        raise RuntimeError(
            "--nbgrader needs nbgrader, which is not installed here: "
            "run “python -m pip install -c constraints.txt nbgrader” in the course's environment."
        )


def write(course: Path, assignment: Assignment, graded: list[dict], rows: list[dict], given: dict) -> None:
    """Bring the course folder up to date; the same records give the same points however often.

    Args:
        course: The folder.
        assignment: What was graded; other assignments of the folder stay as they are.
        graded: The records, with points given by hand.
        rows: Their rows from :func:`.gradebook.rows`.
        given: From :func:`.gradebook.read_manual`: which points a person gave.
    """
    name = assignment.name
    write_text(course / "source" / name / f"{name}.ipynb", assignment.release.decode("utf-8"))
    with _book(course) as book:
        _write_cells(book, assignment, _moment(rows[0]["duedate"]) if rows else None)
        handed_in = {record["student"] for record in graded if record["submission_sha256"]}
        for old in book.assignment_submissions(name):
            if old.student.id not in handed_in:
                book.remove_submission(name, old.student.id)
        for record, row in zip(graded, rows, strict=True):
            person = {key: row[key] for key in ("first_name", "last_name", "email")}
            book.update_or_create_student(record["student"], **person)
            if record["student"] in handed_in:
                _write_points(book, assignment, record, row, given)
                _write_files(course, assignment, record)


def typed_points(course: Path, assignment: Assignment) -> dict[tuple[str, str], tuple[float, str]]:
    """Points for prose in the gradebook: ``(student, question)`` → ``(points, comment)``."""
    prose = {cell.grade_id for cell in assignment.cells if cell.is_manual}
    found = {}
    if not (course / "gradebook.db").is_file():
        return found
    with _book(course) as book:
        for submission in book.assignment_submissions(assignment.name):
            for notebook in submission.notebooks:
                comments = {comment.name: comment.manual_comment for comment in notebook.comments}
                for grade in notebook.grades:
                    if grade.name in prose and grade.manual_score is not None:
                        comment = comments.get(grade.name) or ""
                        found[submission.student.id, grade.name] = (grade.manual_score, comment)
    return found


def disagreeing(course: Path, assignment: Assignment, rows: list[dict]) -> list[str]:
    """Students for whom formgrader counts other points than the grade table.

    That is so where a person has changed *automatic* points in formgrader: they are left as they are.
    """
    with _book(course) as book:
        counted = {s.student.id: s.score for s in book.assignment_submissions(assignment.name)}
    return [r["student_id"] for r in rows if abs(counted.get(r["student_id"], 0.0) - r["raw_score"]) > 1e-6]


@contextmanager
def _book(course):
    require()
    from nbgrader.api import Gradebook
    from sqlalchemy.exc import SAWarning

    course.mkdir(parents=True, exist_ok=True)
    # nbgrader calls alembic by name, which an environment that is not activated does not have on its path.
    path = os.pathsep.join([get_path("scripts"), os.environ.get("PATH", "")])
    with environment({"PATH": path}), warnings.catch_warnings():
        # Adding a submission makes SQLAlchemy warn about nbgrader's own code.
        warnings.simplefilter("ignore", SAWarning)
        with Gradebook(f"sqlite:///{(course / 'gradebook.db').resolve()}") as book:
            yield book


def _tests(assignment):
    """Question → name of the locked cell that carries its points: the first one below the answer."""
    found, question = {}, None
    for cell in assignment.cells:
        if cell.grade_id in assignment.exam.questions:
            question = cell.grade_id
        elif cell.nbgrader.get("grade") and not cell.is_answer and question:
            found.setdefault(question, cell.grade_id)
    return {question: found.get(question, f"{question}_test") for question in assignment.exam.questions}


def _write_cells(book, assignment, due):
    """Grade, solution and task cells with their largest scores."""
    from nbgrader.api import MissingEntry

    name, questions = assignment.name, assignment.exam.questions
    grade = {test: (assignment.exam.points(q), "code") for q, test in _tests(assignment).items()}
    by_hand = [cell for cell in assignment.cells if cell.is_manual]
    points = {cell.grade_id: float(cell.nbgrader.get("points", 0)) for cell in by_hand}
    grade |= {cell.grade_id: (points[cell.grade_id], cell.kind) for cell in by_hand if not cell.is_task}
    tasks = {cell.grade_id for cell in by_hand if cell.is_task}
    answers = {*questions, *(cell.grade_id for cell in by_hand if not cell.is_task)}
    try:
        stored = book.find_notebook(name, name)
        parts = (stored.grade_cells, stored.solution_cells, stored.task_cells)
        if [{cell.name for cell in part} for part in parts] != [set(grade), answers, tasks]:
            # nbgrader cannot add cells to submissions; what was typed is in manual.csv by now.
            book.remove_assignment(name)
    except MissingEntry:
        pass
    book.update_or_create_assignment(name, duedate=due)
    book.update_or_create_notebook(name, name)
    for cell, (most, kind) in grade.items():
        book.update_or_create_grade_cell(cell, name, name, max_score=most, cell_type=kind)
    for cell in sorted(answers):
        book.update_or_create_solution_cell(cell, name, name)
    for cell in sorted(tasks):
        book.update_or_create_task_cell(cell, name, name, max_score=points[cell], cell_type="markdown")


def _write_points(book, assignment, record, row, given):
    student, tests = record["student"], _tests(assignment)
    submission = book.update_or_create_submission(
        assignment.name, student, timestamp=_moment(record["timestamp"])
    )
    (notebook,) = submission.notebooks
    notebook.late_submission_penalty = row["late_submission_penalty"]
    automatic = {tests[item["question"]]: item["score"] for item in record["questions"]}
    manual = {item["question"]: item for item in record["manual"]}
    for grade in notebook.grades:
        if grade.name in automatic:
            grade.auto_score, grade.needs_manual_grade = automatic[grade.name], False
            continue
        points = manual[grade.name]["score"]
        by_hand = (student, grade.name) in given
        grade.manual_score, grade.auto_score = (points, None) if by_hand else (None, points)
        grade.needs_manual_grade = points is None
    # Messages of hidden checks are fixed sentences of the exam; a public one may quote the student's code.
    said = {
        item["question"]: dict.fromkeys(c["message"] for c in item["checks"] if not c["public"])
        for item in record["questions"]
    }
    for comment in notebook.comments:
        if comment.name in manual:
            comment.manual_comment = manual[comment.name]["comment"] or comment.manual_comment
        else:
            comment.auto_comment = "\n".join(filter(None, said.get(comment.name, ()))) or None
    book.db.commit()


def _write_files(course, assignment, record):
    student, name = record["student"], assignment.name
    if not _IS_FOLDER_NAME(student):
        return  # Its points are in the gradebook; formgrader says that the notebook is missing.
    tree = json.loads(assignment.release)
    attached = {item["question"]: item["attachments"] for item in record["manual"] if item.get("attachments")}
    cells = []
    for cell in tree["cells"]:
        marks = cell["metadata"].get("nbgrader", {})
        answer = record["answers"].get(marks.get("grade_id"))
        if answer is not None and cell["cell_type"] == "markdown":
            # formgrader shows prose as HTML on the page where the instructor is logged in.
            answer = answer.replace("<", "&lt;")
        pictures = {"attachments": attached[marks["grade_id"]]} if marks.get("grade_id") in attached else {}
        if answer is not None and marks.get("task"):
            work = {"cell_type": "markdown", "metadata": {}, "source": answer, **pictures}
            cells += [cell, work | ({"id": f"{cell['id']}-work"} if "id" in cell else {})]
        else:
            cells.append(cell if answer is None else {**cell, "source": answer, **pictures})
    text = json.dumps({**tree, "cells": cells}, indent=1, ensure_ascii=False) + "\n"
    write_text(course / "autograded" / student / name / f"{name}.ipynb", text)
    stamp = course / "submitted" / student / name / "timestamp.txt"
    stamp.unlink(missing_ok=True)
    stamp.parent.mkdir(parents=True, exist_ok=True)
    if moment := _moment(record["timestamp"]):
        write_text(stamp, f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f} UTC\n")


def _moment(text):
    return datetime.fromisoformat(text) if text else None
