"""One line of a student's own answer, picked by rule, to be explained in words.

Whoever wrote an answer can say what would change without one of its lines; whoever only handed it in often
cannot. The line depends on the code alone, so the notebook shows the student the same one that the grader
shows whoever marks the explanation.
"""

from __future__ import annotations

import ast
import hashlib
import textwrap

_NO_CHOICE = (
    *(ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef),
    *(ast.Pass, ast.Raise, ast.Global, ast.Nonlocal),
)


def choose(source: str, function: str) -> str | None:
    """The line of ``function`` that is to be explained.

    Args:
        source: Code that defines it, with comments, magics and other functions as they are.
        function: Its name.

    Returns:
        The line in normal form, of a statement over several lines the first; ``None`` if the code does not
        parse, or nothing in the function could be asked about.
    """
    try:
        lines = _lines(source, function)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    digest = hashlib.sha256("\n".join(lines).encode("utf-8", "replace")).digest()
    return lines[int.from_bytes(digest[:8], "big") % len(lines)] if lines else None


def _lines(source: str, function: str) -> list[str]:
    """The statements that could be asked about, in their order."""
    plain = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))]
    tree = ast.parse(textwrap.dedent("\n".join(plain)))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == function]
    inside = [node for part in found[-1].body for node in ast.walk(part)] if found else []
    told = [node for node in inside if isinstance(node, ast.stmt) and _tells(node)]
    # A bare return is asked about only where there is nothing else.
    told = [node for node in told if not isinstance(node, ast.Return)] or told
    return [ast.unparse(node).splitlines()[0] for node in sorted(told, key=lambda node: node.lineno)]


def _tells(node: ast.stmt) -> bool:
    """Not a docstring, an import, a stub, or an empty statement."""
    return not isinstance(node, _NO_CHOICE) and not (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )
