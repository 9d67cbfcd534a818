"""The log of a grade book: which points changed, who changed them, when and why."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path

from rs_course.grading import gradebook, spreadsheet

HEADER = ["when", "who", "student_id", "question", "before", "after", "why"]
_NO_QUESTION = {
    *gradebook.HEADER,
    *("status", "reason", "days_late", "late_days", "late_notes", "submission"),
} - {"late_submission_penalty"}


def log(folder: Path, rows: list[dict], by_hand: dict[tuple[str, str], dict]) -> int:
    """Add to ``changes.csv`` what differs between the grade table that lies in ``folder`` and the new one.

    Args:
        folder: ``grades/NAME``; its ``grades_by_question.csv`` is the table so far.
        rows: The new table.
        by_hand: From :func:`rs_course.grading.gradebook.read_rows`; ``by`` and ``why`` tell who and why.

    Returns:
        The number of changes.
    """
    table = folder / "grades_by_question.csv"
    if not table.is_file():
        return 0
    before = {row["student_id"]: row for _, row in spreadsheet.read(table).rows}
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
        earlier = spreadsheet.read(path).rows if path.is_file() else []
        kept = [tuple(row.get(name, "") for name in HEADER) for _, row in earlier]
        gradebook.write_table(path, HEADER, [*kept, *sorted(lines)])
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
