"""Serve the marking pages to this machine's own browser, and save what is typed there."""

from __future__ import annotations

import contextlib
import json
import secrets
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from rs_course.grading.marking import Marking

_MOST_BYTES = 200_000


def make(marking: Marking, port: int = 0) -> tuple[ThreadingHTTPServer, str]:
    """A server for 127.0.0.1 only, and the secret address of its index.

    Args:
        marking: What is marked.
        port: 0 for any free one.

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
        for name, value in (
            ("Content-Security-Policy", policy),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
        ):
            self.send_header(name, value)
        # A page that was closed meanwhile does not wait for the answer.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_):
        """Nothing: the terminal is for the instructor."""
