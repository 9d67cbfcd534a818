"""Pages about the whole class: for the instructor a summary, for everyone a leaderboard without names."""

from __future__ import annotations

import math
import statistics

from rs_course.grading.feedback import alias
from rs_course.grading.pages import histogram, page, table
from rs_course.grading.similarity import rings


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
    groups = [members for members in rings(alike) if len(members) > 2]
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
