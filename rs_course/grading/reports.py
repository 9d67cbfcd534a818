"""What is made from records: feedback for each student, pages about the class, and every table.

All of it is made anew from all records, so nothing is stale or doubled. Of hidden checks a student sees the
points and the mistakes they name, which are fixed sentences of the exam; never their inputs, calls or names,
nor anything that the student's own code printed while it held them. Pages come from the templates of
``templates/``: one style, and every value escaped.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from collections import defaultdict
from html import escape
from pathlib import Path

from rs_course.files import templates, write_text
from rs_course.grading import formgrader, gradebook, own_work, records
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
    gradebook.log_changes(folder, rows, by_hand)
    gradebook.write_csv(folder / "grades.csv", rows, full=False)
    gradebook.write_csv(folder / "grades_by_question.csv", rows)
    policies.write_late_days(folder, rows)
    if course:
        formgrader.write(course, assignment, graded, rows, given)
    title = assignment.exam.title
    for record, row in zip(graded, rows, strict=True):
        name = f"{records.file_name(record['student'])}.html"
        text = feedback(record, title, penalty=row["late_submission_penalty"], late=row["late_notes"])
        write_text(folder / "feedback" / name, text)
    release = "\n".join(cell.source for cell in assignment.cells if cell.kind == "code")
    teams = {student.id: student.team for student in students if student.team}
    alike = own_work.pairs(graded, release)
    alike = [pair for pair in alike if teams.get(pair[0], pair[0]) != teams.get(pair[1], pair[1])]
    gradebook.write_table(folder / "similarity.csv", ["first", "second", "shared", "fingerprints"], alike)
    write_text(folder / "summary.html", summary(title, rows, graded, alike))
    if assignment.exam.leaderboard:
        text = leaderboard(title, assignment.exam.leaderboard[1], graded)
        write_text(folder / "leaderboard.html", text)
    return rows


def alias(student: str, salt: str) -> str:
    """Name on the leaderboard, known to its owner from the feedback.

    ``salt`` is ``seed_sha256`` of the record: without it an alias could be found by trying the class list.
    """
    return "tile-" + hashlib.sha256(f"{salt}/{student}".encode()).hexdigest()[:6]


def feedback(record: dict, title: str, *, penalty: float = 0.0, late: str = "") -> str:
    """The feedback page of one record, to which points given by hand are already applied; ``penalty`` is lost
    for being late, of which the policy says ``late``.
    """
    return render(
        "feedback.html",
        title=f"{title}: {record['student']}",
        record=record | {"answers": defaultdict(str, record["answers"])},
        raw=records.score(record),
        most=records.max_score(record),
        waiting=sum(item["points"] for item in record["manual"] if item["score"] is None),
        penalty=penalty,
        late=late,
        alias=alias(record["student"], record["seed_sha256"]),
        findings=_findings,
    )


def _findings(question):
    """What is said of a question: whether it is good, and the sentence."""
    if "automatic" in question:
        said = f"set by hand, the checks gave {question['automatic']:g}. {question['comment']}"
        yield True, said.strip()
    if question["message"]:
        yield False, question["message"]
    for check in question["checks"]:
        if check["public"]:
            good = check["score"] == check["points"]
            yield good, f"{check['name']}: {'right' if good else check['message']}"
    if hidden := [check for check in question["checks"] if not check["public"]]:
        reached, most = sum(c["score"] for c in hidden), sum(c["points"] for c in hidden)
        yield reached == most, f"hidden checks: {reached:g} of {most:g} points"
        yield from ((False, text) for text in dict.fromkeys(c["message"] for c in hidden if c["message"]))


def summary(title: str, rows: list[dict], graded: list[dict], alike: list[tuple]) -> str:
    """Scores, questions, failures, what waits for a hand, and similar pairs: ``rows`` come from
    :func:`.gradebook.rows`, ``alike`` from :func:`.own_work.pairs`.
    """
    present = [row for row in rows if row["status"] != "unassigned"]
    scores = [row["score"] for row in present if row["status"] != "grader error"]

    def chosen(*statuses):
        found = [row for row in rows if row["status"] in statuses]
        return [[row["student_id"], row["reason"] or "prose"] for row in found]

    groups = [members for members in own_work.rings(alike) if len(members) > 2]
    grouped = {student for members in groups for student in members}
    return render(
        "summary.html",
        title=f"{title}: the class",
        top=rows[0]["max_score"] if rows else 0.0,
        unassigned=chosen("unassigned"),
        scores=scores,
        median=statistics.median(scores or [0]),
        mean=statistics.fmean(scores or [0]),
        waiting=chosen("needs manual grading"),
        failed=chosen(*{row["status"] for row in present} - {"graded", "needs manual grading"}),
        questions=_questions(graded),
        pairs=len(alike),
        groups=[[len(group), ", ".join(group)] for group in groups],
        runs_text=own_work.runs_text(graded),
        alone=[pair for pair in alike if pair[0] not in grouped],
        isolation=sorted({record["isolation"] for record in graded}),
    )


def _questions(graded):
    lines, reasons = [], {record["reason"] for record in graded}
    names = dict.fromkeys(q["question"] for r in graded for q in (*r["questions"], *r["manual"]))
    for name in names:
        every = [(r["status"], q) for r in graded for q in (*r["questions"], *r["manual"])]
        items = [(status, q) for status, q in every if q["question"] == name]
        # Who handed in nothing is no part of how hard a question is.
        scores = [q["score"] for status, q in items if status == "graded"]
        known = [score for score in scores if score is not None]
        waiting = len(scores) - len(known)
        messages = [c["message"] for _, q in items for c in q.get("checks", [])]
        wrong = [text for text in messages if text not in ("", "not answered", "not done yet", *reasons)]
        common = statistics.mode(wrong) if wrong else ""
        mean = f"{statistics.fmean(known):.2f}" if any(known) or (known and not waiting) else "–"
        mean += f" ({waiting} waiting)" if waiting else ""
        lines.append([name, mean, f"{items[0][1]['points']:g}", common[:120]])
    return lines


def leaderboard(title: str, label: str, graded: list[dict]) -> str:
    """Ranks on the hidden inputs under aliases; equal values share a rank."""
    # What is no number has no rank, and would stop the page for everyone.
    entries = [r for r in graded if r["leaderboard"] is not None and math.isfinite(r["leaderboard"])]
    entries.sort(key=lambda r: (-r["leaderboard"], alias(r["student"], r["seed_sha256"])))
    values = [r["leaderboard"] for r in entries]
    names = [alias(r["student"], r["seed_sha256"]) for r in entries]
    lines = [[values.index(v) + 1, name, f"{v:.3f}"] for name, v in zip(names, values, strict=True)]
    return render("leaderboard.html", title=f"{title}: leaderboard", lines=lines, values=values, label=label)


def render(template: str, **values) -> str:
    """A page from a template of ``templates/``; every value is escaped."""
    made = templates(Path(__file__).parent / "templates")
    return made.get_template(template).render(histogram=histogram, **values)


def histogram(values: list[float], top: float, label: str, *, bins: int = 10) -> str:
    """A histogram from 0 to ``top`` as inline SVG, with the counts as text."""
    counts = [0] * bins
    for value in values:
        counts[min(int(bins * max(value, 0) / top), bins - 1) if top > 0 else 0] += 1
    most, step, height = max([*counts, 1]), 52, 120
    parts = []
    for number, count in enumerate(counts):
        tall = height * count / most
        left, top_of_bar = 10 + number * step, 20 + height - tall
        parts.append(f'<rect x="{left}" y="{top_of_bar:.1f}" width="{step - 6}" height="{tall:.1f}"/>')
        if count:
            parts.append(f'<text x="{left + step / 2 - 6:.0f}" y="{15 + height - tall:.1f}">{count}</text>')
        parts.append(f'<text x="{left}" y="{height + 36}">{top * number / bins:.3g}</text>')
    parts.append(f'<text x="{10 + bins * step - 8}" y="{height + 36}">{top:.3g}</text>')
    said = (
        f"{top * n / bins:.3g} to {top * (n + 1) / bins:.3g}: {count}"
        for n, count in enumerate(counts)
        if count
    )
    box, summary = f"0 0 {30 + bins * step} {height + 44}", escape(f"{label}: {', '.join(said)}")
    return f'<svg viewBox="{box}" role="img" aria-label="{summary}">{"".join(parts)}</svg>'
