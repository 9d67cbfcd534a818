"""What each student gets back: points, what was wrong and why, and no hidden check.

Of hidden checks a student sees the points and the mistakes they name, which are fixed sentences of the
exam; never their inputs, calls or names, nor anything that the student's own code printed while it held
them.
"""

from __future__ import annotations

import hashlib
from html import escape

from rs_course.grading import records
from rs_course.grading.pages import bar, page


def alias(student: str, salt: str) -> str:
    """Name on the leaderboard, known to its owner from the feedback.

    Args:
        student: Student id.
        salt: ``seed_sha256`` of the record: without it an alias could be found by trying the class list.
    """
    return "tile-" + hashlib.sha256(f"{salt}/{student}".encode()).hexdigest()[:6]


def html(record: dict, title: str, *, penalty: float = 0.0, late: str = "") -> str:
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
