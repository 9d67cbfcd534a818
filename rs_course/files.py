"""Files: written whole or not at all, known by their SHA-256, and not a web page in a file's place."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


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


def write_json(path: str | Path, content: Any, **options) -> None:
    """Write a JSON file, whole or not at all; ``options`` are those of ``json.dumps``."""
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(content, **{"indent": 1, **options}) + "\n", encoding="utf-8")


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
