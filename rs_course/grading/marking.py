"""Prose and figures of a class, question by question, on one page of this machine's own browser.

All answers to a question stand one after the other, without names and in an order of their own for each
question, beside the criteria of the mark scheme. Whatever is typed goes into ``manual.csv`` at once, which
is where points count; a comment that has no points yet, and which criteria were met, into ``marking.json``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from filelock import FileLock

from rs_course.files import write_text
from rs_course.grading import gradebook, notebook_files, notebooks, records
from rs_course.grading.reports import render

_SCHEME = re.compile(r"^\s*===\s*BEGIN MARK SCHEME\s*===[^\n]*\n(.*?)^\s*===\s*END MARK SCHEME", re.S | re.M)
_CRITERION = re.compile(r"^\s*[-*]\s*(\d+(?:[.,]\d+)?)\s*:\s*(.+)$", re.M)
_IMAGE = re.compile(
    r"!\[([^\]\n]{0,300})\]\("
    r"(data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]+|attachment:[^)\s]{1,300})[^)\n]{0,300}\)"
)


@dataclass(frozen=True)
class Question:
    """A question that is marked by hand."""

    grade_id: str  # its name
    points: float  # what can be reached
    prompt: str  # the text above the answer in the student version
    reference: str  # the source's own answer
    criteria: list[tuple[float, str]]  # ``(points, text)`` of each line ``- 1.5: …`` of the mark scheme


def questions(release: bytes, source: bytes | None) -> list[Question]:
    """The questions marked by hand; without the source notebook there are no criteria."""
    schemes = {cell.grade_id: cell.source for cell in notebooks.read(source)[0]} if source else {}
    found, prompt = [], ""
    for cell in notebooks.read(release)[0]:
        if cell.is_manual:
            text = schemes.get(cell.grade_id, "")
            scheme = _SCHEME.search(text)
            criteria = _CRITERION.findall(scheme.group(1)) if scheme else []
            lines = [(float(points.replace(",", ".")), line.strip()) for points, line in criteria]
            reference = text[: scheme.start()].strip() if scheme else ""
            prompt = cell.source if cell.is_task else prompt
            points = float(cell.nbgrader.get("points", 0))
            found.append(Question(cell.grade_id, points, prompt.strip(), reference, lines))
        prompt = cell.source if cell.kind == "markdown" else prompt
    return found


class Marking:
    """The answers of a class that a person marks.

    Args:
        folder: ``grades/NAME``, with ``records/`` and ``manual.csv``.
        asked: From :func:`questions`.
        names: Show whose answer it is; otherwise neither the page nor its addresses tell.
    """

    def __init__(self, folder: Path, asked: list[Question], *, names: bool = False):
        self.folder, self.names = folder, names
        self.questions = {question.grade_id: question for question in asked}
        self._records, self._read_at = [], -1
        self.load()

    def load(self) -> None:
        """Read the records, anew if the grader has run since."""
        try:
            # A record is replaced as a whole, which touches the folder.
            changed_at = (self.folder / "records").stat().st_mtime_ns
        except OSError:
            changed_at = 0
        if changed_at == self._read_at:
            return
        self._read_at = changed_at
        found = (records.read(path) for path in sorted((self.folder / "records").glob("*.json")))
        self._records = [record for record in found if record]
        if not self._records:
            raise FileNotFoundError(f"{self.folder} holds no records: run “rs-course grade” first.")

    def answers(self, question: str) -> list[dict]:
        """What waits for points or has some, in an order that has nothing to do with the class list."""
        given, drafts = gradebook.read_manual(self.folder / "manual.csv"), self._drafts().get(question, {})
        found = []
        for record in self._records:
            student = record["student"]
            for item in record["manual"]:
                points, comment = given.get((student, question), ("", ""))
                if item["question"] != question or (item["score"] is not None and points == ""):
                    continue
                draft = drafts.get(student, {})
                text, figures = _figures(item)
                answer = {"key": self._key(record, question), "student": student if self.names else ""}
                answer |= {"text": text, "figures": figures, "points": points}
                answer |= {"comment": comment or draft.get("comment", "")}
                found.append(answer | {"criteria": draft.get("criteria", [])})
        return sorted(found, key=lambda answer: answer["key"])

    def save(self, question: str, key: str, points: str, comment: str, criteria: list[int]) -> None:
        """Store what was typed for one answer; empty points take it back.

        Raises:
            ValueError: No such answer, or points that cannot be given.
        """
        self.load()
        asked = self.questions[question]
        student = next((r["student"] for r in self._records if self._key(r, question) == key), None)
        if student is None:
            raise ValueError("This answer is no longer there: reload the page.")
        try:
            number = float(points.strip().replace(",", ".")) if points.strip() else ""
            if number != "" and not 0 <= number <= asked.points:
                raise ValueError
        except ValueError:
            raise ValueError(f"Points go from 0 to {asked.points:g}, not {points.strip()[:20]!r}.") from None
        # Two people may mark at the same time.
        with FileLock(self.folder / ".marking.json.lock"):
            drafts = self._drafts()
            drafts.setdefault(question, {})[student] = {"comment": comment, "criteria": criteria}
            write_text(self.folder / "marking.json", json.dumps(drafts, indent=1, ensure_ascii=False))
            given = (number, "" if number == "" else comment)
            changed = {(student, question): given}
            gradebook.write_manual(self.folder / "manual.csv", self._records, changed=changed)

    def index(self, nonce: str) -> str:
        """The page that lists the questions."""
        lines = []
        for question in self.questions.values():
            answers = self.answers(question.grade_id)
            marked = sum(answer["points"] != "" for answer in answers)
            lines.append({"question": question, "marked": marked, "all": len(answers)})
        return render("marking_index.html", nonce=nonce, title=f"Marking: {self.folder.name}", lines=lines)

    def page(self, question: str, nonce: str) -> str:
        """The page of one question; ``nonce`` names the one script that its policy lets run."""
        asked, answers = self.questions[question], self.answers(question)
        title = f"{self.folder.name}: {question}"
        return render("marking.html", title=title, nonce=nonce, question=asked, answers=answers)

    def _key(self, record, question):
        text = f"{record['seed_sha256']}/{question}/{record['student']}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _drafts(self):
        try:
            drafts = json.loads((self.folder / "marking.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return drafts if isinstance(drafts, dict) else {}


def _figures(item):
    """The text, with numbers where pictures stood, and the pictures as addresses that hold their own data."""
    attached, figures = item.get("attachments") or {}, []
    data = {
        name: f"data:{mime};base64,{''.join(content.split())}"
        for name, bundle in attached.items()
        for mime, content in (bundle.items() if isinstance(bundle, dict) else ())
        if mime in notebook_files.PICTURES and isinstance(content, str)
    }

    def take(match):
        address = match.group(2)
        if address.startswith("attachment:"):
            address = data.pop(unquote(address.removeprefix("attachment:")), "")
        figures.append((match.group(1), "".join(address.split())))
        return f"[figure {len(figures)}]"

    text = _IMAGE.sub(take, item.get("answer", ""))
    figures += list(data.items())
    return text, figures


_MOST_BYTES = 200_000


def serve(marking: Marking, port: int = 0) -> tuple[ThreadingHTTPServer, str]:
    """A server for 127.0.0.1 only, at a port or at any free one (0), and the secret address of its index.

    Raises:
        OSError: The port is taken.
    """
    token = secrets.token_urlsafe(16)
    handler = type("Handler", (_Handler,), {"marking": marking, "token": token})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    return server, f"http://127.0.0.1:{server.server_address[1]}/{token}/"


class _Handler(BaseHTTPRequestHandler):
    marking: Marking
    token: str

    def do_GET(self):
        question = self._question()
        if question is None:
            return self._send(404, "There is nothing here: use the address that the command printed.")
        self.marking.load()
        nonce = secrets.token_urlsafe(16)
        page = self.marking.page(question, nonce) if question else self.marking.index(nonce)
        return self._send(200, page, "text/html", nonce)

    def do_POST(self):
        question = self._question()
        length = int(self.headers.get("Content-Length") or 0)
        if not question or self.headers.get_content_type() != "application/json" or length > _MOST_BYTES:
            return self._send(404, "There is nothing here.")
        try:
            said = json.loads(self.rfile.read(length))
            criteria = [int(number) for number in said["criteria"]]
            self.marking.save(question, str(said["key"]), str(said["points"]), str(said["comment"]), criteria)
        except (ValueError, KeyError, TypeError, OSError) as error:
            return self._send(400, f"Not saved: {error}")
        return self._send(200, f"saved {datetime.now():%H:%M:%S}")

    def _question(self):
        """The question that the address names, ``""`` for the index, ``None`` without the token."""
        token, _, name = unquote(self.path.partition("?")[0]).lstrip("/").partition("/")
        known = secrets.compare_digest(token.encode(), self.token.encode())
        return name if known and (not name or name in self.marking.questions) else None

    def _send(self, status, text, kind="text/plain", nonce="none"):
        body = text.encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        # What a student wrote is text on these pages; were it ever more, it still could not run or send.
        policy = f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; "
        policy += "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
        headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
        headers |= {"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
        for name, value in headers.items():
            self.send_header(name, value)
        # A page that was closed meanwhile does not wait for the answer.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_):
        """Nothing: the terminal is for the instructor."""
