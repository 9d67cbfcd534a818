"""Tables for the instructor: grades in nbgrader's columns, and points given by hand."""

from __future__ import annotations

import csv
import io
import re
from datetime import datetime
from pathlib import Path

from filelock import FileLock

from rs_course.grading import records
from rs_course.grading.policy import LatePolicy
from rs_course.grading.roster import Student

# The header of ``nbgrader export``, in its order.
HEADER = [
    *("assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email"),
    *("raw_score", "late_submission_penalty", "score", "max_score"),
]
_FORMULA = re.compile(r"(^|[;\t\r\n])(\s*[=+\-@＝＋－＠])")
_GUARDED = re.compile(r"(^|[;\t\r\n])'(\s*[=+\-@＝＋－＠])")
_MANUAL_HEADER = ["student_id", "question", "points", "max_points", "comment"]


def rows(graded: list[dict], students: list[Student], policy: LatePolicy) -> list[dict]:
    """One row per record: nbgrader's columns, then status, reason and the points of each question."""
    people = {student.id: student for student in students}
    table = []
    for record in graded:
        student = people.get(record["student"], Student(record["student"]))
        raw = records.score(record)
        stamp = datetime.fromisoformat(record["timestamp"]) if record.get("timestamp") else None
        lost = policy.penalty(raw, stamp, record.get("late_flag", False))
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
                "late_submission_penalty": lost,
                "score": round(raw - lost, 6),
                "max_score": records.max_score(record),
                "status": record["status"] if not needs_hand(record) else "needs manual grading",
                "reason": record["reason"],
                **{item["question"]: item["score"] for item in record["questions"]},
                **{item["question"]: item["score"] for item in record["manual"]},
            }
        )
    return table


def needs_hand(record: dict) -> bool:
    """Whether prose of this record still waits for points."""
    return record["status"] == "graded" and any(item["score"] is None for item in record["manual"])


def write_csv(path: Path, table: list[dict], *, full: bool = True) -> None:
    """Write grades; ``full=False`` keeps exactly nbgrader's columns."""
    header = list(HEADER)
    if full and table:
        header += [name for name in dict.fromkeys(key for row in table for key in row) if name not in HEADER]
    records.write_text(path, csv_text(header, table))


def write_table(path: Path, header: list[str], lines: list[tuple]) -> None:
    """Write plain rows under a header."""
    records.write_text(path, csv_text(header, [dict(zip(header, line, strict=True)) for line in lines]))


def csv_text(header, table):
    stream = io.StringIO()
    writer = csv.DictWriter(stream, header, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in table:
        writer.writerow({name: cell(row.get(name)) for name in header})
    return stream.getvalue()


def cell(value):
    """A value as it may stand in a CSV: a student's text must not run as a formula of a spreadsheet.

    A program set to semicolons or tabs splits text there whatever the quotes say, so the part behind one
    must not begin like a formula either; nor must a full-width sign, which some versions take as the plain
    one.
    """
    if value is None:
        return ""
    return _FORMULA.sub(r"\1'\2", value) if isinstance(value, str) else value


def plain(text: str) -> str:
    """What :func:`cell` was given, from what it made."""
    return _GUARDED.sub(r"\1\2", text)


def write_manual(
    path: Path, graded: list[dict], typed: dict | None = None, changed: dict | None = None
) -> None:
    """Write the list of prose answers to grade by hand; what the instructor has filled in stays.

    Args:
        path: The list.
        graded: The records.
        typed: Points typed elsewhere (in formgrader), for rows that are still empty.
        changed: Points that replace those of the list (typed on the marking page); ``("", "")`` takes back.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The marking page saves while the grader may run.
    with FileLock(path.with_name(f".{path.name}.lock")):
        filled = {**(typed or {}), **read_manual(path), **(changed or {})}
        records.write_text(path, csv_text(_MANUAL_HEADER, _manual_table(graded, filled)))


def _manual_table(graded, filled):
    table = []
    for record in graded:
        for item in record["manual"]:
            if item["score"] is None or (record["student"], item["question"]) in filled:
                points, comment = filled.get((record["student"], item["question"]), ("", ""))
                table.append(
                    {
                        "student_id": record["student"],
                        "question": item["question"],
                        "points": points,
                        "max_points": item["points"],
                        "comment": comment,
                    }
                )
    return table


def read_manual(path: Path) -> dict[tuple[str, str], tuple[float | str, str]]:
    """Points given by hand: ``(student, question)`` → ``(points, comment)``; empty points are left out.

    Raises:
        ValueError: Points that are no number, negative, or more than the maximum.
    """
    if not path.is_file():
        return {}
    given = {}
    with path.open(newline="", encoding="utf-8-sig") as stream:
        for number, row in enumerate(csv.DictReader(stream), start=2):
            text = (row.get("points") or "").strip().replace(",", ".")
            if not text:
                continue
            try:
                points = float(text)
                if not 0 <= points <= float(row["max_points"]):
                    raise ValueError
            except (ValueError, KeyError, TypeError):
                raise ValueError(
                    f"{path}, line {number}: points go from 0 to {row.get('max_points')}, not {text!r}."
                ) from None
            identity = plain(row.get("student_id") or "")
            given[identity, row.get("question") or ""] = (points, plain(row.get("comment") or ""))
    return given


def apply_manual(graded: list[dict], given: dict) -> list[dict]:
    """Copies of the records with the points given by hand."""
    result = []
    for record in graded:
        manual = [dict(item) for item in record["manual"]]
        for item in manual:
            if (found := given.get((record["student"], item["question"]))) is not None:
                item["score"], item["comment"] = found
        result.append({**record, "manual": manual})
    return result
