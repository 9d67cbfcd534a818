"""Tables for the instructor: grades in nbgrader's columns, points given by hand, and the log of changes."""

from __future__ import annotations

import csv
import getpass
import io
import math
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from rs_course.files import write_bytes, write_text
from rs_course.grading import records
from rs_course.grading.policy import LatePolicy
from rs_course.grading.roster import Student, read_table, spelling

# The header of ``nbgrader export``, in its order.
HEADER = [
    *("assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email"),
    *("raw_score", "late_submission_penalty", "score", "max_score"),
]
_FORMULA = re.compile(r"(^|[;\t\r\n])(\s*[=+\-@＝＋－＠])")
_GUARDED = re.compile(r"(^|[;\t\r\n])'(\s*[=+\-@＝＋－＠])")
_MANUAL_HEADER = ["student_id", "question", "points", "max_points", "comment", "by", "why"]


def rows(graded: list[dict], students: list[Student], policy: LatePolicy) -> list[dict]:
    """One row per record: nbgrader's columns, then status, reason and the points of each question."""
    people = {student.id: student for student in students}
    table = []
    for record in graded:
        student = people.get(record["student"], Student(record["student"]))
        raw = records.score(record)
        stamp = datetime.fromisoformat(record["timestamp"]) if record.get("timestamp") else None
        late = policy.lateness(student.id, raw, stamp, record.get("late_flag", False))
        status = "needs manual grading" if needs_manual_grading(record) else record["status"]
        # Nobody's grade: an instructor decides whose the file is.
        status = "unassigned" if people and record["student"] not in people else status
        table.append(
            {
                "assignment": record["assignment"],
                "duedate": policy.due.isoformat() if policy.due else "",
                "timestamp": record.get("timestamp", ""),
                "student_id": student.id,
                "last_name": student.last_name,
                "first_name": student.first_name,
                "email": student.email,
                "raw_score": raw,
                "late_submission_penalty": late.lost,
                "score": round(raw - late.lost, 6),
                "max_score": records.max_score(record),
                "status": status,
                "reason": " ".join(record["notes"][:2]) if status == "unassigned" else record["reason"],
                "days_late": late.days,
                "late_days": late.late_days,
                "late_notes": " ".join(late.notes),
                "submission": (record["submission_sha256"] or "")[:16],
                **{item["question"]: item["score"] for item in record["questions"]},
                **{item["question"]: item["score"] for item in record["manual"]},
            }
        )
    return table


def needs_manual_grading(record: dict) -> bool:
    """Whether prose of this record still waits for points."""
    return record["status"] == "graded" and any(item["score"] is None for item in record["manual"])


def write_csv(path: Path, table: list[dict], *, full: bool = True) -> None:
    """Write grades; ``full=False`` keeps exactly nbgrader's columns."""
    header = list(HEADER)
    if full and table:
        header += [name for name in dict.fromkeys(key for row in table for key in row) if name not in HEADER]
    # A fault of the machine is no grade, so it is not a zero either.
    nothing = dict.fromkeys(("raw_score", "late_submission_penalty", "score"))
    table = [row | nothing if row.get("status") == "grader error" else row for row in table]
    write_text(path, csv_text(header, table))


def write_table(path: Path, header: list[str], lines: list[tuple]) -> None:
    """Write plain rows under a header."""
    write_text(path, csv_text(header, [dict(zip(header, line, strict=True)) for line in lines]))


def csv_text(header, table):
    """A table as CSV, line ends as spreadsheets expect them."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, header, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in table:
        writer.writerow({name: escape_formula(row.get(name)) for name in header})
    return stream.getvalue()


def escape_formula(value: Any):
    """A value as it may stand in a CSV: a student's text must not run as a formula of a spreadsheet.

    A program set to semicolons or tabs splits text there whatever the quotes say, so the part behind one
    must not begin like a formula either; nor must a full-width sign, which some versions take as the plain
    one.
    """
    if value is None:
        return ""
    return _FORMULA.sub(r"\1'\2", value) if isinstance(value, str) else value


def unescape_formula(text: str) -> str:
    """What :func:`escape_formula` was given, from what it made."""
    return _GUARDED.sub(r"\1\2", text)


def write_manual(
    path: Path, graded: list[dict], typed: dict | None = None, changed: dict | None = None
) -> None:
    """Write the list of answers to grade by hand; what the instructor has filled in stays.

    A row may also be of an automatic question: its points then replace the automatic ones. The last version
    of the list is kept beside it. Records of other students in ``records/`` count too.

    Args:
        path: The list.
        graded: The records.
        typed: Points typed elsewhere (in formgrader), for rows that are still empty.
        changed: Points that replace those of the list (typed on the marking page); ``("", "")`` takes back.

    Raises:
        ValueError: A row with points or a comment names no student or question, or more points than there
            are; nothing is written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The marking page saves while the grader may run.
    with FileLock(path.with_name(f".{path.name}.lock")):
        stored = read_rows(path)
        items = _gradable(path, graded, stored)
        filled = {}
        for (identity, question), row in stored.items():
            student = _same_student(identity, question, items)
            if student is None:
                if row["points"] == "" and not row["comment"]:
                    continue  # nothing was said about somebody who is no longer in the class
                raise ValueError(
                    f"{path}: there is no {question!r} of a student {identity!r}; correct or delete the row."
                )
            if row["points"] != "" and row["points"] > items[student, question]["points"]:
                most = items[student, question]["points"]
                raise ValueError(f"{path}: {student} has {row['points']:g} of {most:g} points in {question}.")
            filled[student, question] = row
        for key, (points, comment) in {**(typed or {}), **(changed or {})}.items():
            if key in (changed or {}) or filled.get(key, {}).get("points", "") == "":
                filled[key] = {**filled.get(key, {}), "points": points, "comment": comment}
        text = csv_text(_MANUAL_HEADER, _manual_table(items, filled))
        if path.is_file() and (before := path.read_bytes()) != text.encode():
            write_bytes(path.with_suffix(".backup.csv"), before)
        write_text(path, text)


def _gradable(path, graded, stored):
    """``(student, question)`` → item of a record, also of students who are not in this run."""
    students = {record["student"] for record in graded}
    wanted = {identity for identity, _ in stored} - students
    others = [records.read(path.parent / "records" / f"{records.file_name(s)}.json") for s in sorted(wanted)]
    if any(record is None for record in others):  # An id that a spreadsheet has changed, or a mistyped one
        others = [records.read(file) for file in sorted((path.parent / "records").glob("*.json"))]
    more = [record for record in others if record and record["student"] not in students]
    return {
        (record["student"], item["question"]): item
        for record in (*graded, *more)
        for item in (*record["questions"], *record["manual"])
    }


def _same_student(identity, question, items):
    """The student of a row: a spreadsheet may have cut leading zeros off the id."""
    if (identity, question) in items:
        return identity
    wanted = identity.lstrip("0").casefold()
    fits = [s for s, q in items if q == question and s.lstrip("0").casefold() == wanted]
    return fits[0] if len(fits) == 1 else None


def _manual_table(items, filled):
    table = []
    for (student, question), item in items.items():
        waits = item["score"] is None and "checks" not in item
        if waits or (student, question) in filled:
            row = filled.get((student, question), {})
            table.append({**row, "student_id": student, "question": question, "max_points": item["points"]})
    return table


def read_rows(path: Path) -> dict[tuple[str, str], dict]:
    """Rows of the list of points by hand, as people's spreadsheets save it.

    Returns:
        ``(student, question)`` → ``points`` (a number or ``""``), ``comment``, ``by`` and ``why``.

    Raises:
        ValueError: A column is missing, points are no number, negative or more than the maximum, or two rows
            of one answer disagree.
    """
    if not path.is_file():
        return {}
    table = read_table(path)
    names = {"student_id": ("student_id", "id", "student"), "question": ("question",)}
    names |= {"points": ("points", "score", "mark", "marks")}
    for name, known in names.items():
        if not table.columns(*known):
            raise ValueError(
                f"{path} has no column “{name}”; its header is “{', '.join(table.header)[:100]}”."
            )
    spelled = Counter(map(spelling, table.header))
    if twice := [name for known in names.values() for name in known if spelled[spelling(name)] > 1]:
        raise ValueError(f"{path} has two columns “{twice[0]}”: keep the one that counts.")
    found: dict[tuple[str, str], dict] = {}
    for number, row in table.rows:
        identity, question, text = (table.first(row, *known) for known in names.values())
        most = table.first(row, "max_points")
        entry = {"points": "" if not text else _points(text, most, f"{path}, line {number}")}
        for name in ("comment", "by", "why"):
            entry[name] = unescape_formula(table.first(row, name))
        key = unescape_formula(identity), question
        if found.setdefault(key, entry)["points"] != entry["points"]:
            where = f"{path}, line {number}"
            raise ValueError(f"{where}: {question} of {identity} stands there twice; keep one row.")
    return found


def _points(text, most, where):
    try:
        points = float(text.replace(",", "."))
        top = float(most.replace(",", ".")) if most else math.inf
        if not 0 <= points <= top or math.isinf(points):
            raise ValueError
    except ValueError:
        raise ValueError(f"{where}: points go from 0 to {most or 'the maximum'}, not {text!r}.") from None
    return abs(points)  # "-0" is no points, not a negative number in every table


def read_manual(path: Path) -> dict[tuple[str, str], tuple[float | str, str]]:
    """Points given by hand: ``(student, question)`` → ``(points, comment)``; empty points are left out.

    Raises:
        ValueError: As :func:`read_rows`.
    """
    rows = read_rows(path)
    return {key: (row["points"], row["comment"]) for key, row in rows.items() if row["points"] != ""}


def apply_manual(graded: list[dict], given: dict) -> list[dict]:
    """Copies of the records with the points given by hand, which replace automatic ones too."""
    result = []
    for record in graded:
        parts = {name: [dict(item) for item in record[name]] for name in ("questions", "manual")}
        for item in (*parts["questions"], *parts["manual"]):
            if (found := given.get((record["student"], item["question"]))) is not None:
                if "checks" in item:
                    item["automatic"] = item["score"]
                item["score"], item["comment"] = found
        result.append({**record, **parts})
    return result


CHANGES = ["when", "who", "student_id", "question", "before", "after", "why"]
_NO_QUESTION = {*HEADER, *("status", "reason", "days_late", "late_days", "late_notes", "submission")} - {
    "late_submission_penalty"
}


def log_changes(folder: Path, rows: list[dict], by_hand: dict[tuple[str, str], dict]) -> int:
    """Add to ``changes.csv`` what differs between ``grades_by_question.csv`` in ``folder`` and the new rows.

    ``by_hand`` comes from :func:`read_rows`: its ``by`` and ``why`` tell who and why. Returns the number.
    """
    table = folder / "grades_by_question.csv"
    if not table.is_file():
        return 0
    before = {row["student_id"]: row for _, row in read_table(table).rows}
    now, lines = datetime.now(UTC).isoformat(timespec="seconds"), []
    for row in rows:
        old = before.get(str(row["student_id"]), {})
        for name in row.keys() - _NO_QUESTION if old else ():
            was, value = old.get(name, ""), "" if row[name] is None else str(row[name])
            if was == value:
                continue
            who, why = _who_and_why(row, old, by_hand.get((row["student_id"], name)), value)
            lines.append((now, who, row["student_id"], name, was, value, why))
    if lines:
        path = folder / "changes.csv"
        earlier = read_table(path).rows if path.is_file() else []
        kept = [tuple(row.get(name, "") for name in CHANGES) for _, row in earlier]
        write_table(path, CHANGES, [*kept, *sorted(lines)])
    return len(lines)


def _who_and_why(row, old, typed, value):
    if typed is not None:
        return typed["by"] or _user(), typed["why"] or typed["comment"]
    if value == "":
        return _user(), "points by hand were taken back"
    other = old.get("submission", "") != row["submission"]
    return "grader", "another submission" if other else "graded again"


def _user():
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
