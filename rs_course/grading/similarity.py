"""Which submissions share more code than chance: fingerprints of the answers, compared pair by pair.

Winnowing after Schleimer, Wilkerson and Aiken, "Winnowing: local algorithms for document fingerprinting",
SIGMOD 2003: names, numbers and strings are replaced by their kind, every run of ``K`` tokens is hashed, and
of each window of ``WINDOW`` hashes the smallest is kept. What the release or most of the class has in
common is left out.
"""

from __future__ import annotations

import io
import keyword
import tokenize
import zlib
from collections import Counter

K, WINDOW = 12, 6
_SKIPPED = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
    tokenize.ENCODING,
}


def fingerprint(source: str) -> set[int]:
    """Winnowed hashes of Python source; independent of names, numbers, comments and layout."""
    tokens = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type in _SKIPPED:
                continue
            is_name = token.type == tokenize.NAME and not keyword.iskeyword(token.string)
            kinds = {tokenize.NUMBER: "0", tokenize.STRING: "s"}
            tokens.append("n" if is_name else kinds.get(token.type, token.string))
    except (tokenize.TokenError, SyntaxError, ValueError):
        pass  # Code that does not parse is compared as far as it goes.
    hashes = [zlib.crc32(" ".join(tokens[i : i + K]).encode()) for i in range(len(tokens) - K + 1)]
    return {min(hashes[i : i + WINDOW]) for i in range(max(1, len(hashes) - WINDOW + 1)) if hashes}


def pairs(
    graded: list[dict], release: str = "", *, at_least: float = 0.6
) -> list[tuple[str, str, float, int]]:
    """Suspiciously similar pairs, most similar first.

    Args:
        graded: Records.
        release: Source of the release, whose code nobody copied.
        at_least: Smallest share of common fingerprints (of the smaller set).

    Returns:
        ``(student, student, share, common fingerprints)``. A pair is a reason to read both, never a
        verdict: short answers to a narrow question are alike by nature.
    """
    known = fingerprint(release)
    prints = {
        record["student"]: set().union(*(fingerprint(text) for text in _code(record)), set()) - known
        for record in graded
    }
    # What more than a third of a large class wrote is the usual way to write it.
    counts = Counter(value for values in prints.values() for value in values)
    usual = {value for value, count in counts.items() if len(prints) >= 6 and count > max(2, len(prints) / 3)}
    prints = {student: values - usual for student, values in prints.items()}
    names = sorted(student for student, values in prints.items() if len(values) >= 5)
    found = []
    for number, first in enumerate(names):
        for second in names[number + 1 :]:
            common = len(prints[first] & prints[second])
            share = common / min(len(prints[first]), len(prints[second]))
            if share >= at_least:
                found.append((first, second, round(share, 3), common))
    return sorted(found, key=lambda pair: (-pair[2], -pair[3], pair[0], pair[1]))


def _code(record):
    prose = {item["question"] for item in record["manual"]}
    return [text for question, text in record.get("answers", {}).items() if question not in prose]
