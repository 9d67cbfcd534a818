"""Records: one JSON file per submission, written atomically, that everything else is made from."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from rs_course.files import atomic_write

# Raise it whenever a change of this package may change a grade: stored records are then made anew.
ENGINE = "3"
# Values in JSON from outside that are parsed; each takes up to some hundred bytes of memory then.
MOST_VALUES = 1_000_000
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def key(submission: bytes, assignment: str, seed: str) -> str:
    """Hash of everything that a grade depends on.

    Args:
        submission: Bytes of the notebook.
        assignment: Fingerprint of the release notebook and the exam.
        seed: The exam's secret seed; only its hash is stored.
    """
    digest = hashlib.sha256()
    for part in (ENGINE.encode(), assignment.encode(), seed.encode(), submission):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file, in UTF-8 and with its line ends as they are, completely or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file completely or not at all."""
    with atomic_write(path) as partial:
        partial.write_bytes(data)


def write(path: Path, record: dict) -> None:
    """Store a record.

    Raises:
        OSError: It cannot be written; what was there before is untouched.
    """
    write_text(path, json.dumps(record, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def clean(value):
    """A plain value whose texts every file and page can hold: no lone surrogates, no control characters."""
    if isinstance(value, str):
        return _CONTROL.sub("\ufffd", value.encode("utf-8", "replace").decode())
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value


def count_values(data: bytes) -> int:
    """At least as many as the values in a piece of JSON, without parsing it."""
    # Every value but the first follows one of these; some stand in texts, which errs on the safe side.
    return 1 + sum(data.count(sign) for sign in (b",", b"[", b"{", b":"))


def read(path: Path) -> dict | None:
    """A stored record, or ``None`` where there is none that can be read."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and "key" in record else None


def file_name(student: str) -> str:
    """A file name for a student id: readable, safe on every system, and different for different ids."""
    safe = re.sub(r"[^A-Za-z0-9._@-]", "_", student)[:80].strip(".") or "_"
    return safe if safe == student else f"{safe}-{hashlib.sha256(student.encode()).hexdigest()[:8]}"


def score(record: dict) -> float:
    """Points of a record: the automatic ones and what has been given by hand."""
    automatic = sum(question["score"] for question in record["questions"])
    return round(automatic + sum(item["score"] or 0.0 for item in record["manual"]), 6)


def max_score(record: dict) -> float:
    """Points that could be reached."""
    return round(sum(item["points"] for item in (*record["questions"], *record["manual"])), 6)
