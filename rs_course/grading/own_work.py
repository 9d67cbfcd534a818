"""Whether an answer is its student's own: what submissions share beyond chance, and a line to be explained.

Fingerprints of the answers are compared pair by pair, after Schleimer, Wilkerson and Aiken, "Winnowing: local
algorithms for document fingerprinting", SIGMOD 2003: names, numbers and strings are replaced by their kind,
every run of ``K`` tokens is hashed, and of each window of ``WINDOW`` hashes the smallest is kept. Before that
the code is put into a plain form: what does nothing is dropped, and code inside a string, encoded or not,
counts as code.

Two findings make a pair. Either most of what one of them wrote *and most of the class did not* is the same;
or all that they wrote is nearly the same, however many others wrote it too, so that a ring of copies does
not pass for the usual way to solve a question. Only what nearly everyone wrote is left out of that.

Whoever wrote an answer can say what would change without one of its lines; whoever only handed it in often
cannot. That line depends on the code alone, so the notebook shows the student the same one that the grader
shows whoever marks the explanation.
"""

from __future__ import annotations

import ast
import base64
import binascii
import hashlib
import io
import keyword
import textwrap
import tokenize
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator

from rs_course.grading.notebooks import without_magics

K, WINDOW = 12, 6
_LEAST, _LEAST_AS_A_WHOLE, _AS_A_WHOLE = 5, 10, 0.85
_ALIKE = 0.6  # smallest share of common fingerprints, of the smaller set
_SHORTEST, _MOST = 16, 50_000
# What runs text as code, or leads to it. An attribute such as ``model.eval`` is something else.
_RUNS_TEXT = {
    *("exec", "eval", "compile", "__import__", "builtins", "importlib", "marshal"),
    *("__builtins__", "__self__", "__globals__", "__subclasses__"),
}
_SKIPPED = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
_SKIPPED |= {tokenize.ENDMARKER, tokenize.ENCODING}
_NOT_PARSED = (SyntaxError, ValueError, RecursionError, MemoryError)
_NOT_ASKED = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
_NOT_ASKED += (ast.Pass, ast.Raise, ast.Global, ast.Nonlocal)


def fingerprint(source: str) -> set[int]:
    """Winnowed hashes of Python source; independent of names, numbers, comments, layout and no-ops."""
    return set().union(*(_winnowed(text) for text in _plain(source)), set())


def _winnowed(source):
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


def _plain(source: str) -> Iterator[str]:
    """The code without what does nothing, then each piece of code that stands in a string of it."""
    waiting, left = [source[:_MOST]], _MOST
    while waiting:
        text = waiting.pop()
        try:
            tree = ast.parse(without_magics(text))
            nodes = list(ast.walk(tree))
            constants = (node for node in nodes if isinstance(node, ast.Constant))
            for hidden in (hidden for node in constants for hidden in _texts(node)):
                # All together at most so much: packed code may claim to be endless, or hold itself.
                if (left := left - len(hidden)) < 0:
                    break
                if _is_code(hidden):
                    waiting.append(hidden)
            yield ast.unparse(_WithoutNoOps(nodes).visit(tree))
        except _NOT_PARSED:
            yield text


def _texts(node) -> Iterator[str]:
    """What a constant says, read as it stands and through the usual encodings."""
    value = node.value
    if isinstance(value, str):
        yield value
        value = value.encode("utf-8", "replace")
    if not isinstance(value, bytes) or len(value) < _SHORTEST:
        return
    layers = [value]
    for decode in (base64.b64decode, base64.b85decode, base64.b32decode, binascii.unhexlify):
        try:
            layers.append(decode(value.strip()))
        except ValueError:
            continue
    for layer in layers:
        yield layer.decode("utf-8", "replace")
        try:
            unpacked = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(layer, _MOST)
            yield unpacked.decode("utf-8", "replace")
        except zlib.error:
            continue


def _is_code(text):
    """Whether a text is Python that does something: a word or a sentence is not."""
    if len(text) < _SHORTEST:
        return False
    try:
        found = ast.walk(ast.parse(text))
    except _NOT_PARSED:
        return False
    return any(isinstance(node, ast.Call | ast.FunctionDef | ast.Assign | ast.Return) for node in found)


class _WithoutNoOps(ast.NodeTransformer):
    """Drops statements without effect, dead branches, annotations, and arithmetic that changes nothing."""

    def __init__(self, nodes):
        self._read = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        self._in_functions = 0

    def generic_visit(self, node):
        super().generic_visit(node)
        for field in ("body", "orelse", "finalbody"):
            if isinstance(block := getattr(node, field, None), list):
                needed = field == "body" and not isinstance(node, ast.Module)
                setattr(node, field, self._useful(block) or ([ast.Pass()] if needed else []))
        return node

    def _useful(self, block):
        kept = []
        for statement in block:
            if isinstance(statement, ast.If) and isinstance(statement.test, ast.Constant):
                kept += statement.body if statement.test.value else statement.orelse
            elif not self._is_no_op(statement):
                kept.append(statement)
        # Nothing behind one of these is reached.
        leaves = ast.Return | ast.Raise | ast.Break | ast.Continue
        ends = (number for number, statement in enumerate(kept, start=1) if isinstance(statement, leaves))
        return kept[: next(ends, None)]

    def _is_no_op(self, statement):
        match statement:
            case ast.Pass() | ast.Expr(value=ast.Constant() | ast.Name()) | ast.Assert(test=ast.Constant()):
                return True
            case ast.Expr(value=ast.Call(func=ast.Name(id="print"))):
                return True
            case ast.While(test=ast.Constant(value=False | 0 | None)):
                return True
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                # At the top level a variable may be the answer.
                unread = self._in_functions and name not in self._read
                return unread or (isinstance(value, ast.Name) and value.id == name)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                return not any((alias.asname or alias.name.split(".")[0]) in self._read for alias in names)
        return False

    def visit_BinOp(self, node):
        self.generic_visit(node)
        match node:
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=ast.Constant(value=0)):
                return left
            case ast.BinOp(left=left, op=ast.Mult() | ast.Div(), right=ast.Constant(value=1)):
                return left
        return node

    def visit_AnnAssign(self, node):
        self.generic_visit(node)
        return ast.copy_location(ast.Assign([node.target], node.value), node) if node.value else None

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_FunctionDef(self, node):
        node.returns = None
        self._in_functions += 1
        self.generic_visit(node)
        self._in_functions -= 1
        return node


def pairs(graded: list[dict], release: str = "") -> list[tuple[str, str, float, int]]:
    """Suspiciously similar pairs, most similar first: ``(student, student, share, common fingerprints)``.

    A pair is a reason to read both, never a verdict: short answers to a narrow question are alike by nature.

    Args:
        graded: Records.
        release: Source of the release, whose code nobody copied.
    """
    known = fingerprint(release)
    prints = {
        record["student"]: set().union(*(fingerprint(text) for text in _code(record).values()), set()) - known
        for record in graded
    }
    prints = {student: values for student, values in sorted(prints.items()) if values}
    unusual = _without(prints, 1 / 3, of_at_least=6)
    whole = _without(prints, 0.9, of_at_least=6)
    names, found = list(prints), []
    for number, first in enumerate(names):
        for second in names[number + 1 :]:
            common, share = _shared(unusual[first], unusual[second])
            all_common, all_share = _shared(whole[first], whole[second])
            # As a whole, the larger one counts: a part that is alike is no finding of this kind.
            larger = max(len(whole[first]), len(whole[second]))
            if all_common >= _LEAST_AS_A_WHOLE and all_common / larger >= _AS_A_WHOLE:
                found.append((first, second, round(all_share, 3), all_common))
            elif share >= _ALIKE:
                found.append((first, second, round(share, 3), common))
    return sorted(found, key=lambda pair: (-pair[2], -pair[3], pair[0], pair[1]))


def runs_text(graded: list[dict]) -> list[tuple[str, str, str]]:
    """Answers that run text as code, of which no comparison can see what it says: ``(student, question, what
    it uses)``, in the order of the records."""
    found = []
    for record in graded:
        for question, text in _code(record).items():
            for code in _plain(text):
                try:
                    nodes = list(ast.walk(ast.parse(code)))
                except _NOT_PARSED:
                    continue
                names = {node.id for node in nodes if isinstance(node, ast.Name)}
                names |= {node.name.split(".")[0] for node in nodes if isinstance(node, ast.alias)}
                names |= {(n.module or "").split(".")[0] for n in nodes if isinstance(n, ast.ImportFrom)}
                names |= {n.attr for n in nodes if isinstance(n, ast.Attribute) and n.attr.startswith("__")}
                if used := sorted(names & _RUNS_TEXT):
                    found.append((record["student"], question, ", ".join(used)))
                    break
    return found


def _without(prints, share, *, of_at_least):
    """The fingerprints less those that more than a share of a large enough class has."""
    counts = Counter(value for values in prints.values() for value in values)
    most = max(2, share * len(prints)) if len(prints) >= of_at_least else len(prints)
    usual = {value for value, count in counts.items() if count > most}
    return {student: values - usual for student, values in prints.items()}


def _shared(first, second):
    smaller = min(len(first), len(second))
    if smaller < _LEAST:
        return 0, 0.0
    common = len(first & second)
    return common, common / smaller


def rings(alike: Iterable[tuple]) -> list[list[str]]:
    """Students that pairs connect, largest group first: who copied from whom is not in the code."""
    group: dict[str, set[str]] = {}
    for first, second, *_ in alike:
        merged = group.get(first, {first}) | group.get(second, {second})
        for student in merged:
            group[student] = merged
    unique = {id(members): sorted(members) for members in group.values()}
    return sorted(unique.values(), key=lambda members: (-len(members), members))


def _code(record):
    prose = {item["question"] for item in record["manual"]}
    return {name: text for name, text in record.get("answers", {}).items() if name not in prose}


def line_to_explain(source: str, function: str) -> str | None:
    """The line of a student's ``function`` that is to be explained.

    Args:
        source: Code that defines it, with comments, magics and other functions as they are.
        function: Its name.

    Returns:
        The line in normal form, of a statement over several lines the first; ``None`` if the code does not
        parse, or nothing in the function could be asked about.
    """
    try:
        lines = _lines(source, function)
    except _NOT_PARSED:
        return None
    digest = hashlib.sha256("\n".join(lines).encode("utf-8", "replace")).digest()
    return lines[int.from_bytes(digest[:8], "big") % len(lines)] if lines else None


def _lines(source, function):
    """The statements that could be asked about, in their order."""
    tree = ast.parse(textwrap.dedent(without_magics(source)))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == function]
    inside = [node for part in found[-1].body for node in ast.walk(part)] if found else []
    told = [node for node in inside if isinstance(node, ast.stmt) and _tells(node)]
    # A bare return is asked about only where there is nothing else.
    told = [node for node in told if not isinstance(node, ast.Return)] or told
    return [ast.unparse(node).splitlines()[0] for node in sorted(told, key=lambda node: node.lineno)]


def _tells(node):
    """Not a docstring, an import, a stub, or an empty statement."""
    says = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return not says and not isinstance(node, _NOT_ASKED)
