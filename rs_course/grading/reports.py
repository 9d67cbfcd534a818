"""What is made from records: feedback for each student, pages about the class, and every table.

All of it is made anew from all records, so nothing is stale or doubled. Of hidden checks a student sees the
points and the mistakes they name, which are fixed sentences of the exam; never their inputs, calls or names,
nor anything that the student's own code printed while it held them.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from html import escape
from pathlib import Path

from rs_course.grading import formgrader, gradebook, records, similarity
from rs_course.grading import policy as policies
from rs_course.grading.grader import Assignment
from rs_course.grading.html import bar, histogram, page, table
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
        records.write_text(folder / "feedback" / name, text)
    release = "\n".join(cell.source for cell in assignment.cells if cell.kind == "code")
    teams = {student.id: student.team or student.id for student in students}
    alike = [
        pair
        for pair in similarity.pairs(graded, release)
        if teams.get(pair[0], pair[0]) != teams.get(pair[1], pair[1])
    ]
    gradebook.write_table(folder / "similarity.csv", ["first", "second", "shared", "fingerprints"], alike)
    records.write_text(folder / "summary.html", summary(title, rows, graded, alike))
    if assignment.exam.leaderboard:
        text = leaderboard(title, assignment.exam.leaderboard[1], graded)
        records.write_text(folder / "leaderboard.html", text)
    return rows


def alias(student: str, salt: str) -> str:
    """Name on the leaderboard, known to its owner from the feedback.

    Args:
        student: Student id.
        salt: ``seed_sha256`` of the record: without it an alias could be found by trying the class list.
    """
    return "tile-" + hashlib.sha256(f"{salt}/{student}".encode()).hexdigest()[:6]


def feedback(record: dict, title: str, *, penalty: float = 0.0, late: str = "") -> str:
    """The feedback page of one record (with points given by hand already applied).

    Args:
        record: The record.
        title: Title of the assignment.
        penalty: Points lost for being late.
        late: What the policy says about it: days, extension, late days.
    """
    raw, most = records.score(record), records.max_score(record)
    waiting = sum(item["points"] for item in record["manual"] if item["score"] is None)
    provisional = f" so far: provisional, {waiting:g} points wait for marking" if waiting else ""
    parts = [f"<p><strong>{raw - penalty:g} of {most:g} points</strong>{provisional}</p>"]
    parts.append(bar(raw - penalty, most))
    if penalty or late:
        lost = f"{raw:g} points, less {penalty:g} for being late. " if penalty else ""
        parts.append(f"<p>{lost}{escape(late)}</p>")
    if record["reason"]:
        parts.append(f'<p class="bad">Not graded: {escape(record["reason"])}.</p>')
    if record["notes"]:
        parts.append("<ul>" + "".join(f"<li>{escape(note)}</li>" for note in record["notes"]) + "</ul>")
    if record["leaderboard"] is not None:
        name = alias(record["student"], record["seed_sha256"])
        parts.append(
            f"<p>On the leaderboard you are <strong>{name}</strong> with {record['leaderboard']:.3f}.</p>"
        )
    for question in record["questions"]:
        parts.append(_question(question, record["answers"].get(question["question"], "")))
    for item in record["manual"]:
        parts.append(_manual(item))
    digest = record["submission_sha256"]
    parts.append(
        f'<p class="quiet">Submission {digest[:16] if digest else "none"} · graded in isolation: '
        f"{escape(record['isolation'])} · engine {escape(record['versions']['engine'])}.</p>"
    )
    return page(f"{title}: {record['student']}", "\n".join(parts))


def _question(question, answer):
    parts = [f"<h2>{escape(question['question'])} — {question['score']:g} of {question['points']:g}</h2>"]
    parts.append(bar(question["score"], question["points"]))
    lines = []
    if "automatic" in question:
        said = f"set by hand, the checks gave {question['automatic']:g}. {question['comment']}"
        lines.append(("good", said.strip()))
    if question["message"]:
        lines.append(("bad", question["message"]))
    for check in question["checks"]:
        if check["public"]:
            good = check["score"] == check["points"]
            text = f"{check['name']}: {'right' if good else check['message']}"
            lines.append(("good" if good else "bad", text))
    hidden = [check for check in question["checks"] if not check["public"]]
    if hidden:
        reached, most = sum(c["score"] for c in hidden), sum(c["points"] for c in hidden)
        lines.append(("good" if reached == most else "bad", f"hidden checks: {reached:g} of {most:g} points"))
        lines += [("bad", text) for text in dict.fromkeys(c["message"] for c in hidden if c["message"])]
    parts.append(
        "<ul>"
        + "".join(
            f'<li class="{kind}">{"✓" if kind == "good" else "✗"} {escape(text)}</li>' for kind, text in lines
        )
        + "</ul>"
    )
    if question["output"]:
        parts.append(f"<details><summary>Output</summary><pre>{escape(question['output'])}</pre></details>")
    if answer:
        parts.append(f"<details><summary>Your answer</summary><pre>{escape(answer)}</pre></details>")
    return "\n".join(parts)


def _manual(item):
    given = "not marked yet" if item["score"] is None else f"{item['score']:g}"
    parts = [f"<h2>{escape(item['question'])} — {given} of {item['points']:g}</h2>"]
    if item["comment"]:
        parts.append(f"<p>{escape(item['comment'])}</p>")
    if item["answer"]:
        parts.append(f"<details><summary>Your answer</summary><pre>{escape(item['answer'])}</pre></details>")
    return "\n".join(parts)


def summary(title: str, rows: list[dict], graded: list[dict], alike: list[tuple]) -> str:
    """Scores, questions, failures, what waits for a hand, and similar pairs.

    Args:
        title: Name of the assignment.
        rows: From :func:`rs_course.grading.gradebook.rows`.
        graded: The records.
        alike: From :func:`rs_course.grading.similarity.pairs`.
    """
    top = rows[0]["max_score"] if rows else 0.0
    parts = []
    if unassigned := [row for row in rows if row["status"] == "unassigned"]:
        lines = [[row["student_id"], row["reason"]] for row in unassigned]
        parts.append(f"<h2>Files that fit nobody: {len(lines)}</h2>")
        parts.append("<p>Write the id of the student into unassigned.csv and grade again.</p>")
        parts.append(table(["file of", "reason"], lines))
    rows = [row for row in rows if row["status"] != "unassigned"]
    scores, waiting = (
        [row["score"] for row in rows if row["status"] != "grader error"],
        [r for r in rows if r["status"] == "needs manual grading"],
    )
    if scores:
        middle, mean = statistics.median(scores), statistics.fmean(scores)
        provisional = f" · provisional: {len(waiting)} wait for marks" if waiting else ""
        parts.append(
            f"<p>{len(scores)} students · median {middle:.2f}, mean {mean:.2f} of {top:g} points"
            f"{provisional}</p>"
        )
        parts.append(histogram(scores, top, "Scores"))
    parts.append("<h2>Questions</h2>" + _questions(graded))
    for heading, chosen in (
        ("Not graded", [row for row in rows if row["status"] not in ("graded", "needs manual grading")]),
        ("Waiting for points by hand", waiting),
    ):
        lines = [[row["student_id"], row["reason"] or "prose"] for row in chosen]
        parts.append(
            f"<h2>{heading}: {len(lines)}</h2>" + (table(["student", "reason"], lines) if lines else "")
        )
    parts.append(f"<h2>Similar code: {len(alike)} pairs</h2>" + (_similar(alike) if alike else ""))
    isolation = sorted({record["isolation"] for record in graded})
    parts.append(f'<p class="quiet">Isolation: {", ".join(isolation) or "none used"}.</p>')
    return page(f"{title}: the class", "\n".join(parts))


def _similar(alike):
    groups = [members for members in similarity.rings(alike) if len(members) > 2]
    grouped = {student for members in groups for student in members}
    alone = [list(pair) for pair in alike if pair[0] not in grouped]
    parts = ["<p>Read both before you conclude anything: short answers are alike by nature.</p>"]
    if groups:
        parts.append(table(["students", "group"], [[len(group), ", ".join(group)] for group in groups], {0}))
    if alone:
        parts.append(table(["student", "student", "shared", "fingerprints"], alone, {2, 3}))
    return "".join(parts)


def _questions(graded):
    lines, reasons = [], {record["reason"] for record in graded}
    names = dict.fromkeys(q["question"] for r in graded for q in (*r["questions"], *r["manual"]))
    for name in names:
        items = [q for r in graded for q in (*r["questions"], *r["manual"]) if q["question"] == name]
        # Who handed in nothing is no part of how hard a question is.
        items_graded = [
            q
            for r in graded
            if r["status"] == "graded"
            for q in (*r["questions"], *r["manual"])
            if q["question"] == name
        ]
        known = [q["score"] for q in items_graded if q["score"] is not None]
        waiting = len(items_graded) - len(known)
        messages = [c["message"] for q in items for c in q.get("checks", [])]
        wrong = [text for text in messages if text not in ("", "not answered", "not done yet", *reasons)]
        common = statistics.mode(wrong) if wrong else ""
        mean = f"{statistics.fmean(known):.2f}" if any(known) or (known and not waiting) else "–"
        mean += f" ({waiting} waiting)" if waiting else ""
        lines.append([name, mean, f"{items[0]['points']:g}", common[:120]])
    return table(["question", "mean", "points", "most common finding"], lines, {1, 2})


def leaderboard(title: str, label: str, graded: list[dict]) -> str:
    """Ranks on the hidden inputs under aliases; equal values share a rank."""
    # What is no number has no rank, and would stop the page for everyone.
    entries = [r for r in graded if r["leaderboard"] is not None and math.isfinite(r["leaderboard"])]
    entries.sort(key=lambda r: (-r["leaderboard"], alias(r["student"], r["seed_sha256"])))
    values = [r["leaderboard"] for r in entries]
    lines = [
        [values.index(r["leaderboard"]) + 1, alias(r["student"], r["seed_sha256"]), f"{r['leaderboard']:.3f}"]
        for r in entries
    ]
    body = f"<p>{len(lines)} entries, scored on hidden inputs. Your alias stands in your feedback.</p>"
    if values and max(values) > 0:
        body += histogram(values, max(values), label)
    return page(f"{title}: leaderboard", body + table(["rank", "alias", label], lines, {0, 2}))
