"""A small HTTP server on 127.0.0.1 that can resume, refuse to resume, and break off."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """Serves ``files`` (path -> bytes).

    Attributes:
        url: Base address.
        requests: ``(path, Range header or None)`` of every request so far.
        break_after: Number of body bytes after which the next responses break off, one entry per response.
        ranges: Whether range requests are honoured.
    """

    def __init__(self, files):
        self.files = files
        self.requests = []
        self.break_after = []
        self.ranges = True
        self.url = ""


@contextmanager
def serve(files):
    """Run a :class:`FileServer` for the length of a ``with`` block."""
    state = FileServer(files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path, asked = self.path.lstrip("/"), self.headers.get("Range")
            state.requests.append((path, asked))
            if path not in state.files:
                self.send_error(404)
                return
            content = state.files[path]
            tag = f'"{hash(content)}"'
            start = 0
            if asked and state.ranges and self.headers.get("If-Range", tag) == tag:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start and start >= len(content):
                self.send_error(416)
                return
            body = content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", tag)
            self.end_headers()
            if state.break_after:
                body = body[: state.break_after.pop(0)]
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
