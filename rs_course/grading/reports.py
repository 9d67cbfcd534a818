"""Everything that is made from records: made anew from all of them, so nothing is stale or doubled."""

from __future__ import annotations

from pathlib import Path

from rs_course.grading import changes, feedback, formgrader, gradebook, records, similarity, summary
from rs_course.grading import policy as policies
from rs_course.grading.grader import Assignment
from rs_course.grading.policy import LatePolicy
from rs_course.grading.roster import Student


def write(
    folder: Path,
    assignment: Assignment,
    graded: list[dict],
    students: list[Student],
    policy: LatePolicy,
    *,
    course: Path | None = None,
) -> list[dict]:
    """Write grades, the list for manual grading, feedback and class pages into ``folder``.

    Args:
        folder: Where the reports of this assignment lie.
        assignment: What was graded.
        graded: The records.
        students: The roster.
        policy: What being late costs.
        course: An nbgrader course folder to write too (see :mod:`rs_course.grading.formgrader`).

    Returns:
        The rows of the grade table.
    """
    manual = folder / "manual.csv"
    gradebook.write_manual(manual, graded, formgrader.typed_points(course, assignment) if course else None)
    by_hand = gradebook.read_rows(manual)
    given = gradebook.read_manual(manual)
    graded = gradebook.apply_manual(graded, given)
    rows = gradebook.rows(graded, students, policy)
    changes.log(folder, rows, by_hand)
    gradebook.write_csv(folder / "grades.csv", rows, full=False)
    gradebook.write_csv(folder / "grades_by_question.csv", rows)
    policies.write_late_days(folder, rows)
    if course:
        formgrader.write(course, assignment, graded, rows, given)
    title = assignment.exam.title
    for record, row in zip(graded, rows, strict=True):
        name = f"{records.file_name(record['student'])}.html"
        page = feedback.html(record, title, penalty=row["late_submission_penalty"], late=row["late_notes"])
        records.write_text(folder / "feedback" / name, page)
    release = "\n".join(cell.source for cell in assignment.cells if cell.kind == "code")
    teams = {student.id: student.team or student.id for student in students}
    alike = [
        pair
        for pair in similarity.pairs(graded, release)
        if teams.get(pair[0], pair[0]) != teams.get(pair[1], pair[1])
    ]
    gradebook.write_table(folder / "similarity.csv", ["first", "second", "shared", "fingerprints"], alike)
    records.write_text(folder / "summary.html", summary.summary(title, rows, graded, alike))
    if assignment.exam.leaderboard:
        page = summary.leaderboard(title, assignment.exam.leaderboard[1], graded)
        records.write_text(folder / "leaderboard.html", page)
    return rows
