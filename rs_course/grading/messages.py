"""What a record says about mistakes: in fixed sentences wherever the inputs are hidden."""

from __future__ import annotations

import re

from rs_course.grading.exam import Check

UNREADABLE = "the result could not be read"
_NOT_PLAIN = "the result is not made of numbers, text, lists, dicts, arrays or tensors"
_OUT_OF_TIME = "your code took too long: it was stopped by the limit on processor time"
# What a hidden check may name: enough to find a mistake, too little to spell out the inputs with.
_NAMED = ("TypeError", "ValueError", "IndexError", "KeyError", "RuntimeError", "MemoryError")
_FIXED = frozenset(
    (
        *("", "not done yet", UNREADABLE, _NOT_PLAIN, _OUT_OF_TIME, "your code stopped with an error"),
        *(f"your code stopped with {name}" for name in _NAMED),
    )
)


def fixed(message: str, check: Check, sentences: frozenset[str]) -> str:
    """What a hidden check says: a sentence of ours or of the exam's, never one made from the result."""
    if message in _FIXED or message in check.mistakes or message in sentences:
        return message
    return "the result is not the expected one"


def sentence(error: object, *, shown: bool) -> str:
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
    text = (
        f"your code stopped with {str(error.get('type', family))[:80]}: {str(error.get('message', ''))[:500]}"
    )
    return f"{text} ({line})" if (line := str(error.get("line", ""))[:300]) else text


def mark_hard_coded(checks: list[dict]) -> None:
    """Right on every public input and wrong in value on every hidden one: say what that usually means."""
    public = [item for item in checks if item["public"]]
    hidden = [item for item in checks if not item["public"]]
    if public and hidden and all(item["score"] == item["points"] for item in public):
        wrong_value = "the values are not the expected ones"
        if all(item["score"] == 0 and item["message"] == wrong_value for item in hidden):
            for item in hidden:
                item["message"] = "right on the public example, wrong on new inputs: is an answer hard-coded?"


def missing(message: str, checks: list[dict]) -> tuple[str | None, str | None]:
    """The name, or else the module, that the messages say is missing."""
    texts = "\n".join([message, *(item["message"] for item in checks)])
    found = re.search(r"name '(\w+)' is not defined|No module named '(\w+)", texts)
    return found.groups() if found else (None, None)
