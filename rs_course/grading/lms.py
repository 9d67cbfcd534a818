"""Grades and feedback in the form that a learning management system (LMS) imports.

=============  ==========================================  ==============================================
system         grades                                      feedback, one zip
=============  ==========================================  ==============================================
``canvas``     Gradebook → Import                          Assignment → Upload submissions
``moodle``     Grade import → CSV file                     Assignment → Upload multiple feedback files
``blackboard`` Grade Center or Gradebook → Upload          (none is documented)
``d2l``        Grades → Import                             Assignment → Add feedback files
=============  ==========================================  ==============================================

Only final grades are written: who still waits for points by hand, or met a fault of the grader, is left out
and keeps what the LMS shows now. All four read UTF-8 and a decimal point.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rs_course.files import write_bytes
from rs_course.grading import records
from rs_course.grading.gradebook import escape_formula
from rs_course.grading.roster import Student, spelling

FINAL = ("graded", "unreadable")


@dataclass(frozen=True)
class Grade:
    """A student, the final points, and where in the LMS's archive the submission lay (``""``: unknown)."""

    student: Student
    score: float
    source: str = ""


def canvas(grades: list[Grade], column: str, most: float) -> str:
    """Canvas: the header and the row *Points Possible* that its gradebook exports and imports.

    After *How do I import grades in the Gradebook?* and ``lib/gradebook_importer.rb`` of canvas-lms: the
    header must begin with ``Student``, ``ID`` and contain ``Section``. A row belongs to the student whose
    Canvas number stands under ``ID``, else to the SIS id, else to the login. A roster that Canvas exported
    has them all; of another one the id stands under both, for it may be either. ``column`` is
    ``TITLE (NUMBER)`` as in an export; another name makes Canvas offer a new assignment.
    """
    table = [["Student", "ID", "SIS User ID", "SIS Login ID", "Section", column]]
    table.append(["    Points Possible", "", "", "", "", _number(most)])
    for grade in grades:
        student = grade.student
        known = student.lms_id.isdecimal() and student.lms != "moodle"
        name = ", ".join(filter(None, (student.last_name, student.first_name))) or student.id
        ids = [_given(student, "SIS User ID"), _given(student, "SIS Login ID")]
        ids = ids if any(ids) else [student.id, student.id]
        start = [_given(student, "Student") or name, student.lms_id if known else "", *ids]
        table.append([*start, _given(student, "Section"), _number(grade.score)])
    return _text(table)


def moodle(grades: list[Grade], column: str, most: float) -> str:
    """Moodle: the columns of its own CSV export of grades.

    After *Grade import* (docs.moodle.org): “the import file format is the same as the corresponding export
    format”; on the next page map ``ID number`` (or ``Email address``) and the grade item. ``column`` is the
    item's name, which an export calls ``Assignment: TITLE (Real)``.
    """
    table = [["First name", "Last name", "ID number", "Email address", column]]
    for grade in grades:
        student = grade.student
        number = _given(student, "ID number")
        if not number and "@" not in student.id and student.id != student.lms_id:
            number = student.id
        email = student.email or (student.id if "@" in student.id else "")
        table.append([student.first_name, student.last_name, number, email, _number(grade.score)])
    return _text(table)


def blackboard(grades: list[Grade], column: str, most: float) -> str:
    """Blackboard: user names and one column, every field in quotation marks.

    After *Work offline with grade data*: students are found by ``Username``, columns by the number at the end
    of their header (``TITLE [Total Pts: 26 Score] |NUMBER`` in a download), and the fields of a
    comma-delimited file stand in quotation marks. A header without number becomes a new column of text.
    """
    table = [["Last Name", "First Name", "Username", column]]
    for grade in grades:
        student = grade.student
        user = _given(student, "Username") or student.id
        table.append([student.last_name, student.first_name, user, _number(grade.score)])
    return _text(table, csv.QUOTE_ALL)


def d2l(grades: list[Grade], column: str, most: float) -> str:
    """D2L Brightspace: an id, the item with ``Points Grade`` behind its name, and the mark of a line's end.

    After *Importing grades*: “you must provide a Username or Org Defined ID (or both)”, as in its examples
    ``Frank.Catcher`` and ``20067930``. A roster that Brightspace exported has them; of another one an id of
    digits is taken for the latter. A name that no grade item has makes a new one, if that is ticked.
    """
    heading = column if column.endswith(" Points Grade") else f"{column} Points Grade"
    table = [["OrgDefinedId", "Username", heading, "End-of-Line Indicator"]]
    for grade in grades:
        identity = grade.student.id
        # Brightspace writes a # before both, so that no spreadsheet takes them for numbers.
        both = [_given(grade.student, name).lstrip("#") for name in ("OrgDefinedId", "Username")]
        if not any(both):
            both = [identity, ""] if identity.isdecimal() else ["", identity]
        table.append([*both, _number(grade.score), "#"])
    return _text(table)


def _given(student, column):
    """What the roster says in a column of the LMS's own, or ``""``."""
    return next((v for name, v in student.row.items() if spelling(name) == spelling(column)), "")


def _number(value):
    return f"{value:.2f}"


def _text(table, quoting=csv.QUOTE_MINIMAL):
    stream = io.StringIO()
    writer = csv.writer(stream, quoting=quoting, lineterminator="\r\n")
    writer.writerows([escape_formula(value) for value in row] for row in table)
    return stream.getvalue()


def canvas_place(grade: Grade, page: str) -> tuple[str, bytes] | None:
    """Canvas: the submitted file's own name, which carries the numbers of the student and of the file.

    After *How do I upload all student submissions for an assignment?* (“do not change the file names”) and
    ``infer_comment_context_from_filename`` of canvas-lms: the first two parts of digits between ``_`` are the
    two numbers. The student sees the file under the name that was submitted, so the page takes its form: an
    output of a notebook, or a file in a zip.
    """
    # The first part of the path that fits: what lies inside a student's own zip has names of their choice.
    fits = (part for part in grade.source.split("/") if sum(map(str.isdecimal, part.split("_"))) >= 2)
    if (name := next(fits, None)) is None:
        return None
    if name.lower().endswith(".zip"):
        return name, records.pack([("feedback.html", page.encode())])
    if ".ipynb" in name.lower():  # also .ipynb.json and .ipynb.txt, as browsers save it
        output = {"output_type": "display_data", "metadata": {}, "data": {"text/html": page}}
        code = {"cell_type": "code", "id": "feedback", "metadata": {}, "execution_count": None}
        code |= {"source": "# Your feedback", "outputs": [output]}
        tree = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [code]}
        return name, json.dumps(tree, indent=1).encode()
    return (name, page.encode()) if name.lower().endswith((".html", ".htm")) else None


def moodle_place(grade: Grade, page: str) -> tuple[str, bytes] | None:
    """Moodle: a folder ``FULL NAME_NUMBER_assignsubmission_file``, as in its download of all submissions.

    After ``mod/assign/feedback/file/importziplib.php``: the number is the participant's; it is taken from
    the folder of the submission, else from the roster's ``lms_id``.
    """
    found = re.search(r"(?:^|/)([^_/]*)_(\d+)_assignsubmission_file", grade.source)
    student = grade.student
    name, number = found.groups() if found else (f"{student.first_name} {student.last_name}", student.lms_id)
    if not number.isdecimal() or (not found and student.lms == "canvas"):
        return None
    name = re.sub(r"[\\/_:*?\"<>|]+", " ", name).strip() or "Participant"
    return f"{name}_{number}_assignsubmission_file/feedback.html", page.encode()


def d2l_place(grade: Grade, page: str) -> tuple[str, bytes] | None:
    """D2L Brightspace: the folder of the download (``NUMBER-NUMBER - NAME - DATE``), unchanged.

    After *Bulk upload feedback* in *Evaluate assignments*: the folders keep their names in the zip.
    """
    found = re.search(r"(?:^|/)(\d+-\d+ - [^/]+)/", grade.source)
    return (f"{found.group(1)}/feedback.html", page.encode()) if found else None


@dataclass(frozen=True)
class System:
    """What one LMS reads."""

    # ``table(grades, column, most)``: the text of the grade file
    table: Callable[[list[Grade], str, float], str]
    column: str  # name of the grade column where none is given, with ``{title}`` of the assignment
    # ``place(grade, page)``: name and bytes of a feedback file in the zip, ``None`` where the LMS could not
    # tell whose it is. ``None`` where no such upload is documented.
    place: Callable[[Grade, str], tuple[str, bytes] | None] | None


SYSTEMS = {
    "canvas": System(canvas, "{title}", canvas_place),
    "moodle": System(moodle, "Assignment: {title} (Real)", moodle_place),
    "blackboard": System(blackboard, "{title}", None),
    "d2l": System(d2l, "{title}", d2l_place),
}


def require(system: str, has_roster: bool) -> None:
    """Say so, before anything is graded, where a format cannot be written.

    Raises:
        ValueError: Unknown system, or no roster.
    """
    if system not in SYSTEMS:
        raise ValueError(f"There is no format {system!r}; there are {', '.join(SYSTEMS)}.")
    if not has_roster:
        why = f"{system} wants the names and numbers it gave itself"
        raise ValueError(f"--csv {system} needs --roster: {why}.")


def write(
    folder: Path,
    system: str,
    rows: list[dict],
    students: list[Student],
    *,
    title: str,
    column: str | None = None,
    sources: dict[str, str] | None = None,
) -> list[str]:
    """Write ``NAME.csv`` and, where the LMS takes it, ``NAME_feedback.zip`` into the assignment's folder.

    Args:
        folder: Where ``feedback/`` lies.
        system: A key of ``SYSTEMS``.
        rows: From :func:`rs_course.grading.gradebook.rows`.
        students: The roster; whoever is not on it is left out, for the LMS would not know whom is meant.
        title: Of the assignment.
        column: Name of the column in the LMS.
        sources: Student id → path of the submission in the archive or folder that the LMS exported.

    Returns:
        Sentences for the instructor: what was written, and who was left out.
    """
    form, people = SYSTEMS[system], {student.id: student for student in students}
    known = [row for row in rows if row["student_id"] in people]
    final = [
        Grade(people[row["student_id"]], row["score"], (sources or {}).get(row["student_id"], ""))
        for row in known
        if row["status"] in FINAL
    ]
    most = max((row["max_score"] for row in known), default=0.0)
    target = folder / f"{system}.csv"
    text = form.table(final, column or form.column.format(title=title), most)
    write_bytes(target, text.encode("utf-8"))
    said = [f"{target}: {len(final)} final grades"]
    waiting = Counter(row["status"] for row in known if row["status"] not in FINAL)
    if waiting:
        reasons = ", ".join(f"{count} {status}" for status, count in sorted(waiting.items()))
        said.append(f"  left out, because they have no final grade yet: {reasons}")
    if strangers := len(rows) - len(known):
        said.append(f"  left out, because they are not on the roster: {strangers}")
    if form.place is None:
        why = "documents no upload of feedback for a whole class"
        return [*said, f"  {system} {why}: hand out feedback/ yourself"]
    return said + _write_feedback(folder, system, form.place, final)


def _own_place(grade, shared):
    """A team's submission lies in the place of one of them, who alone gets feedback there."""
    if grade.source not in shared or grade.student.lms_id in re.split(r"\D+", grade.source):
        return grade
    return replace(grade, source="")


def _write_feedback(folder, system, place, final):
    files, unplaced = [], 0
    counts = Counter(grade.source for grade in final)
    shared = {source for source, count in counts.items() if source and count > 1}
    for grade in final:
        page = folder / "feedback" / f"{records.file_name(grade.student.id)}.html"
        found = place(_own_place(grade, shared), page.read_text(encoding="utf-8"))
        files += filter(None, [found])
        unplaced += found is None and bool(grade.source)
    target = folder / f"{system}_feedback.zip"
    write_bytes(target, records.pack(files))
    said = [f"{target}: {len(files)} feedback files"]
    if unplaced:
        why = f"the file has no name that {system} gave it, a team mate's, or an ending that shows no page"
        said.append(f"  left out, hand out feedback/ yourself: {unplaced} ({why})")
    return said
