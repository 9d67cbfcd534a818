"""Records: one JSON file per submission, written atomically, that everything else is made from.

What a record says about mistakes are fixed sentences wherever the inputs are hidden.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Collection, Container, Iterable
from pathlib import Path
from typing import Any

from rs_course.files import write_json

# Raise it whenever a change of this package may change a grade: stored records are then made anew.
ENGINE = "3"
# Values in JSON from outside that are parsed; each takes up to some hundred bytes of memory then.
MOST_VALUES = 1_000_000
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
UNREADABLE = "the result could not be read"
_NOT_PLAIN = "the result is not made of numbers, text, lists, dicts, arrays or tensors"
_OUT_OF_TIME = "your code took too long: it was stopped by the limit on processor time"
# What a hidden check may name: enough to find a mistake, too little to spell out the inputs with.
_NAMED = ("TypeError", "ValueError", "IndexError", "KeyError", "RuntimeError", "MemoryError")
_FIXED = {"", "not done yet", UNREADABLE, _NOT_PLAIN, _OUT_OF_TIME, "your code stopped with an error"}
_FIXED |= {f"your code stopped with {name}" for name in _NAMED}


def key(submission: bytes, assignment: str, seed: str) -> str:
    """Hash of what a grade depends on: the notebook, the fingerprint of release and exam, the secret seed."""
    digest = hashlib.sha256()
    for part in (ENGINE.encode(), assignment.encode(), seed.encode(), submission):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def write(path: Path, record: dict) -> None:
    """Store a record.

    Raises:
        OSError: It cannot be written; what was there before is untouched.
    """
    write_json(path, record, ensure_ascii=False, sort_keys=True)


def pack(files: Iterable[tuple[str, bytes]], *, programs: Collection[str] = ()) -> bytes:
    """A zip with fixed dates, so that the same files give the same bytes; ``programs`` may be executed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files:
            entry = zipfile.ZipInfo(name, (2000, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100755 if name in programs else 0o100644) << 16
            # Weights do not compress.
            method = zipfile.ZIP_STORED if name.endswith(".safetensors") else zipfile.ZIP_DEFLATED
            archive.writestr(entry, data, method)
    return stream.getvalue()


def clean(value: Any):
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


def fixed_sentence(message: str, *known: Container[str]) -> str:
    """What a hidden check says: a sentence of ours or of the exam's, never one made from the result."""
    if any(message in sentences for sentences in (_FIXED, *known)):
        return message
    return "the result is not the expected one"


def error_sentence(error: object, *, shown: bool) -> str:
    """An exception as a sentence; in the closed run only its family, if it is a common one."""
    if not isinstance(error, dict):
        return "your code stopped with an error"
    family = str(error.get("family", "an error"))[:80]
    if family == "NotImplementedError":
        return "not done yet"
    if family == "OutOfTime":
        return _OUT_OF_TIME
    if not shown:
        if family == "NotPlain":
            return _NOT_PLAIN
        return f"your code stopped with {family if family in _NAMED else 'an error'}"
    kind, message, line = (str(error.get(k, d)) for k, d in (("type", family), ("message", ""), ("line", "")))
    text = f"your code stopped with {kind[:80]}: {message[:500]}"
    return f"{text} ({line[:300]})" if line else text


def mark_hard_coded(checks: list[dict]) -> None:
    """Right on every public input and wrong in value on every hidden one: say what that usually means."""
    public = [item for item in checks if item["public"]]
    hidden = [item for item in checks if not item["public"]]
    if public and hidden and all(item["score"] == item["points"] for item in public):
        wrong_value = "the values are not the expected ones"
        if all(item["score"] == 0 and item["message"] == wrong_value for item in hidden):
            for item in hidden:
                item["message"] = "right on the public example, wrong on new inputs: is an answer hard-coded?"


def missing_name(message: str, checks: list[dict]) -> tuple[str | None, str | None]:
    """The name, or else the module, that the messages say is missing."""
    texts = "\n".join([message, *(item["message"] for item in checks)])
    found = re.search(r"name '(\w+)' is not defined|No module named '(\w+)", texts)
    return found.groups() if found else (None, None)
