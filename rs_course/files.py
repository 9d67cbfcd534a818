"""Files: written whole or not at all, known by their SHA-256, not a web page in a file's place, filled from a
template, and brought over HTTP.

The download (progress, resume after an interruption, a sentence when the network says no) is written by hand,
because pooch begins a broken one again, and huggingface_hub's snapshots know neither a plain mirror nor one
receipt for hubs, archives and files that were brought by hand.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a path to write to; the file gets its name at the end, or is removed after an error.

    Whatever kills the process or the machine, ``path`` is complete or what it was before.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield partial
        with open(partial, "r+b") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file, whole or not at all."""
    with atomic_write(path) as partial:
        partial.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8, with its line ends as they are, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, content: Any, **options) -> None:
    """Write a JSON file, whole or not at all; ``options`` are those of ``json.dumps``."""
    write_text(path, json.dumps(content, **{"indent": 1, **options}) + "\n")


@functools.cache
def templates(folder: Path) -> Environment:
    """The jinja2 templates of a folder: every value is escaped, an unknown name is an error."""
    import jinja2  # here, because few who use files need templates

    loader = jinja2.FileSystemLoader(folder)
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, as hexadecimal digits: what the registry and the caches know a file by."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_text(file: Path, what: str = "the file") -> None:
    """Refuse what stands in for a file that was asked for.

    Raises:
        ValueError: A pointer of Git LFS, or a web page: the answer of a login or an error page.
    """
    with open(file, "rb") as stream:
        start = stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(
            f"{file} is a Git LFS pointer, not {what}: run `git lfs pull` where it was cloned, or fetch it "
            "again."
        )
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        raise ValueError(
            f"{file} is a web page, not {what}: the download was answered with a login or error page."
        )


def stamp(path: str | Path) -> tuple:
    """(path, size, time) of a file or of each file of a folder: what changes with it, without reading it."""
    root = Path(path)
    files = sorted(file for file in root.rglob("*") if file.is_file()) if root.is_dir() else [root]
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)


_CHUNK = 1 << 20
_ATTEMPTS = 4
_TIMEOUT = 30  # seconds without a byte
_NETWORK = (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError, EOFError)


def download(url: str, target: Path, *, size: int | None = None) -> Path:
    """Download one file, continuing ``<target>.part`` where an earlier attempt stopped.

    Args:
        url: HTTP(S) address.
        target: Where the complete file goes; it appears there only when it is complete.
        size: Exact size, if known; another size is an error.

    Raises:
        OSError: The server cannot be reached, does not have the file, or broke off too often.
        ValueError: The file is complete but has another size.
    """
    part = target.with_name(target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(_ATTEMPTS):
        try:
            _continue(url, part)
            break
        except urllib.error.HTTPError as error:
            raise OSError(_refused(url, error)) from None
        except _NETWORK as error:
            if attempt + 1 == _ATTEMPTS or not part.exists():
                raise OSError(unreachable(url, error)) from error
            time.sleep(2**attempt / 4)
    found = part.stat().st_size
    if size is not None and found != size:
        part.unlink()
        raise ValueError(f"{url} has {found:,} bytes instead of {size:,}: the source changed or is damaged.")
    os.replace(part, target)
    return target


def read_json(url: str) -> Any:
    """A JSON document from the network.

    Raises:
        OSError: It cannot be fetched or is not JSON.
    """
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise OSError(_refused(url, error)) from None
    except _NETWORK as error:
        raise OSError(unreachable(url, error)) from error
    except (ValueError, RecursionError):
        raise OSError(f"{url} answers with something that is not JSON: check the mirror's address.") from None


def _refused(url: str, error: urllib.error.HTTPError) -> str:
    return f"{url} answers {error.code} ({error.reason}): check the name or the mirror."


def unreachable(url: str, error: Exception) -> str:
    """What to tell a person whose download failed."""
    host = urllib.parse.urlsplit(url).netloc
    reason = getattr(error, "reason", None) or error
    return (
        f"{host} cannot be reached ({reason}): check the network, name a mirror with --mirror, or bring the "
        "file by hand and use --from; what was downloaded so far is kept."
    )


def _continue(url: str, part: Path):
    """Append to ``part`` what is missing; start over where the server cannot resume or has another file."""
    from tqdm.auto import tqdm

    tag_file = part.with_name(part.name + ".etag")
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "rs-course"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        if tag_file.exists():
            request.add_header("If-Range", tag_file.read_text(encoding="utf-8"))
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to send: the part is complete
            return
        raise
    with response:
        resumed = response.status == 206
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        if tag := response.headers.get("ETag"):
            tag_file.write_text(tag, encoding="utf-8")
        name = part.name.removesuffix(".part")
        bar = tqdm(total=total, initial=have, desc=name, unit="B", unit_scale=True, disable=None, leave=False)
        with bar, open(part, "ab" if resumed else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and part.stat().st_size < total:
        raise EOFError("the connection broke off")
    tag_file.unlink(missing_ok=True)
