"""Transplant the answers of a submitted notebook into the pristine release.

Only the *answers* of a submission count. They are found by ``grade_id`` (else by cell id, else by the
function that they define) and put into a fresh copy of the release, so deleted, edited, duplicated or
reordered checks and games with points and metadata have no effect. What people do to notebooks is undone:
an answer may be split, copied, merged with another, of another type, or without its metadata. Prose that
cannot be found is never a zero: it waits for a person, with all prose that belongs to no cell.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from functools import lru_cache

from rs_course.grading.notebook_files import MAX_BYTES, Cell, Unreadable, read, read_file

__all__ = ["MAX_BYTES", "Cell", "Transplant", "Unreadable"]
__all__ += ["defined_names", "read", "read_file", "transplant", "without_magics"]

_FENCE = re.compile(r"\s*```[\w ]*\n(.*?)\n?```\s*", re.S)
_LINKED = re.compile(r"""!\[[^\]]*\]\(\s*<?([^)\s>]+)|<img[^>]+src\s*=\s*["']?([^"'\s>]+)""", re.I)
_RECOGNIZABLE = 20
_WORD = re.compile(r"[^\W\d_]{2,}")
# Characters of the pictures that code has drawn, beside what is attached.
_MAX_DRAWN = 8 * 2**20
# A syntax tree takes hundreds of times the memory of its source, and no answer is as long as this.
_LONGEST_CODE = 200_000


@dataclass
class Transplant:
    """The release with a student's answers."""

    # ``[{"id", "source"}]`` to execute: setup cells and code answers, in the order of the release
    cells: list = field(default_factory=list)
    # ``grade_id`` → source of every answer that was found, prose and work on tasks too. Prose whose cell is
    # missing is there too, with whatever could be it.
    answers: dict = field(default_factory=dict)
    untouched: set = field(default_factory=set)  # ``grade_id`` of answers that are still the stub, or missing
    # ``grade_id`` of prose → its pictures as the notebook format keeps them: ``{name: {media type: base64}}``
    attachments: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)  # what was unusual, one sentence each, for the record
    # Names that the student defined outside the answer cells, which are not run
    elsewhere: set = field(default_factory=set)


def transplant(release: list[Cell], submitted: list[Cell]) -> Transplant:
    """Put the answers of a submission into the cells of the release."""
    result, search = Transplant(), _Search(release, submitted)
    for cell in release:
        if cell.is_task and (work := search.work_on(cell)):
            result.answers[cell.grade_id] = _joined_prose(work)
            _keep_figures(result, cell, work)
    answers = [cell for cell in release if cell.is_answer]
    found = {cell.grade_id: search.by_mark(cell, result.notes) for cell in answers}
    for cell in answers:
        if cell.kind == "code":
            _take_code(result, search, cell, found[cell.grade_id])
    for cell in answers:
        if cell.kind != "code":
            _take_prose(result, search, cell, found[cell.grade_id])
    _ask_about_empty_prose(result, [cell.grade_id for cell in answers if cell.kind != "code"])
    for cell in release:
        if cell.is_setup:
            result.cells.append({"id": cell.grade_id or cell.cell_id or "setup", "source": cell.source})
        elif cell.is_answer and cell.kind == "code":
            source = result.answers.get(cell.grade_id, cell.source)
            result.cells.append({"id": cell.grade_id, "source": source})
    for cell in search.unclaimed():
        if cell.kind == "code":
            result.elsewhere |= _bound_names(cell.source)
    return result


def marks(release: list[Cell]) -> list[str]:
    """Pieces of text of which an answered notebook holds at least one: ids and definitions of answers."""
    answers = [cell for cell in release if cell.is_answer or cell.is_task]
    names = {name for cell in answers if cell.kind == "code" for name in defined_names(cell.source)}
    return [*(f'"{cell.grade_id}"' for cell in answers), *sorted(f"def {name}(" for name in names)]


class _Search:
    """The cells of a submission, and which of them have been claimed by an answer."""

    def __init__(self, release, submitted):
        self.submitted = submitted
        self.ids = {cell.grade_id for cell in release if cell.is_answer}
        self._other_ids = {c.grade_id for c in release if c.grade_id and not c.is_answer}
        self._given = {_normal(cell.source) for cell in release}
        self._claimed: set[int] = set()

    def _is_given(self, cell):
        return _normal(cell.source) in self._given or cell.grade_id in self._other_ids

    def recognized(self) -> bool:
        """Whether a text of the release is in the submission, so that it is the assignment's notebook."""
        return any(
            len(text) >= _RECOGNIZABLE and text in self._given
            for text in (_normal(cell.source) for cell in self.submitted)
        )

    def by_mark(self, cell, notes) -> list[Cell]:
        """Cells with the ``grade_id`` of an answer, else with its cell id; they are claimed."""
        found = [n for n, s in enumerate(self.submitted) if s.grade_id == cell.grade_id]
        if not found and cell.cell_id:
            cells = enumerate(self.submitted)
            found = [n for n, s in cells if s.cell_id == cell.cell_id and s.grade_id not in self.ids]
            if found:
                notes.append(f"The cell {cell.grade_id} had lost its grade_id; it was found by its cell id.")
        self._claimed.update(found)
        return [self.submitted[n] for n in found]

    def beside(self, found) -> list[Cell]:
        """The student's own code cells next to an answer, up to the next cells of the assignment."""
        mine = [n for n, s in enumerate(self.submitted) if any(s is one for one in found)]
        near: set[int] = set()
        for place in mine:
            for way in (range(place - 1, -1, -1), range(place + 1, len(self.submitted))):
                for n in way:
                    if self._is_given(self.submitted[n]) or self.submitted[n].grade_id in self.ids:
                        break
                    near.add(n)
        return [self.submitted[n] for n in sorted(near - set(mine)) if self.submitted[n].kind == "code"]

    def by_names(self, names) -> tuple[list[Cell], bool]:
        """Code that defines any of the names, if it defines all of them together: cells that belong to no
        answer, else those of another answer; and whether it is the latter."""
        for others in (False, True):
            found = [
                n
                for n, s in enumerate(self.submitted)
                if (n in self._claimed) is others
                and s.kind == "code"
                and not self._is_given(s)
                and names & defined_names(s.source)
            ]
            if names and names <= set().union(*(defined_names(self.submitted[n].source) for n in found)):
                self._claimed.update(found)
                return [self.submitted[n] for n in found], others
        return [], False

    def rest_of(self, cell, source) -> str | None:
        """The next cell's text, where it continues code that was cut in two."""
        place = self.submitted.index(cell) + 1
        if place == len(self.submitted) or place in self._claimed:
            return None
        following = self.submitted[place]
        if following.kind != "code" or self._is_given(following):
            return None
        if _tree(source) is not None and _tree(following.source) is not None:
            return None
        if _tree(f"{source}\n{following.source}") is None:
            return None
        self._claimed.add(place)
        return following.source

    def work_on(self, task) -> list[Cell]:
        """What was written below a task: the cells up to the next one that belongs to the assignment."""
        below = [n for n, s in enumerate(self.submitted) if s.grade_id == task.grade_id]
        work = []
        for n in range(below[0] + 1, len(self.submitted)) if below else ():
            if self.submitted[n].grade_id is not None:
                break
            if not self._is_given(self.submitted[n]):
                work.append(self.submitted[n])
                self._claimed.add(n)
        return work

    def unclaimed(self) -> list[Cell]:
        """Cells of the student's own that belong to no answer."""
        return [s for n, s in enumerate(self.submitted) if n not in self._claimed and not self._is_given(s)]


def _take_code(result, search, cell, found):
    stub, names, notes = _normal(cell.source), defined_names(cell.source), result.notes
    if any(one.kind != "code" for one in found):
        notes.append(f"The cell {cell.grade_id} had become text; it was run as code.")
    texts = [text for one in found if _normal(text := _code_of(one)) not in ("", stub)]
    source = _joined_code(texts, cell.grade_id, notes) if texts else None
    if source is not None:
        last = next(one for one in reversed(found) if _code_of(one) == texts[-1])
        if rest := search.rest_of(last, source):
            source = f"{source}\n{rest}"
            notes.append(f"The cell {cell.grade_id} was cut in two; both parts were taken.")
    missing = names - defined_names(source) if source is not None else names
    if missing and (source is None or _tree(source) is not None):
        others, shared = search.by_names(missing)
        if others:
            parts = [*filter(None, [source]), *(other.source for other in others)]
            source = _joined_code(parts, cell.grade_id, [])
            how = "was answered in the cell of another answer" if shared else "had lost its grade_id"
            how = "is not complete in its own cell" if found and not shared else how
            notes.append(f"The cell {cell.grade_id} {how}; it was found by what it defines.")
    if source is not None:
        result.answers[cell.grade_id] = source
        return
    result.untouched.add(cell.grade_id)
    if found:
        result.answers[cell.grade_id] = cell.source
    else:
        notes.append(f"The cell {cell.grade_id} is missing; its stub was used.")


def _take_prose(result, search, cell, found):
    notes = result.notes
    if any(one.kind == "code" for one in found):
        notes.append(f"The cell {cell.grade_id} had become code; it was read as text.")
    stub = _normal(cell.source)
    written = [one for one in found if _normal(one.source) not in ("", stub) or one.figures]
    if not written:
        written = [one for one in search.unclaimed() if _is_prose(one)]
        if written:
            what = f"{cell.grade_id} {'is not filled in' if found else 'is missing'}"
            notes.append(f"The cell {what}; text from other cells of the notebook stands for it.")
    if written:
        if len(found) > 1:
            notes.append(f"The cell {cell.grade_id} occurs {len(found)} times; all of them count.")
        result.answers[cell.grade_id] = _joined_prose(written)
        _keep_figures(result, cell, written, search.beside(found))
    elif found:
        result.answers[cell.grade_id] = cell.source
        result.untouched.add(cell.grade_id)
    else:
        notes.append(
            f"The cell {cell.grade_id} is missing, and no other text was found: look into the notebook."
        )
        if result.answers.keys() - result.untouched or search.recognized():
            result.answers[cell.grade_id] = ""
        else:
            result.untouched.add(cell.grade_id)


def _ask_about_empty_prose(result, ids):
    """Whoever wrote one text may have put two into its cell: a person looks, with the texts beside it."""
    written = [n for n, one in enumerate(ids) if one not in result.untouched and result.answers.get(one)]
    for place, grade_id in enumerate(ids):
        if not written or grade_id not in result.untouched:
            continue
        beside = [max((n for n in written if n < place), default=None)]
        beside.append(min((n for n in written if n > place), default=None))
        texts = [f"[{ids[n]}]\n\n{result.answers[ids[n]]}" for n in beside if n is not None]
        result.answers[grade_id] = "\n\n".join(["[This cell is not filled in; beside it stands]", *texts])
        result.untouched.discard(grade_id)
        result.notes.append(
            f"The cell {grade_id} is not filled in; a person looks whether another one answers it."
        )


def _joined_code(texts, grade_id, notes):
    """One source from several cells: parts of one answer together, of several versions the last."""
    if len(set(texts)) == 1 < len(texts):
        notes.append(f"The cell {grade_id} occurs {len(texts)} times, always the same.")
    texts = list(dict.fromkeys(texts))
    if len(texts) == 1:
        return texts[0]
    whole = "\n".join([texts[0], *(re.sub(r"^%%.*\n?", "", text) for text in texts[1:])])
    running = [text for text in texts if _tree(text) is not None]
    if len(running) < len(texts):
        if _tree(whole) is not None or not running:
            notes.append(f"The cell {grade_id} was split into {len(texts)}; they were put together.")
            return whole
        return _joined_code(running, grade_id, notes)
    kept, later = [], set()
    for text in reversed(texts):
        names = defined_names(text)
        if not names or not names <= later:
            kept.insert(0, text)
        later |= names
    if len(kept) == len(texts):
        notes.append(f"The cell {grade_id} was split into {len(texts)}; they were put together.")
        return whole
    notes.append(f"The cell {grade_id} occurs {len(texts)} times; the last version was taken.")
    return _joined_code(kept, grade_id, []) if len(kept) > 1 else kept[0]


def _joined_prose(cells):
    return "\n\n".join(dict.fromkeys(cell.source for cell in cells if cell.source.strip()))


def _keep_figures(result, cell, written, beside=()):
    """Pictures attached to the text, then those that code in it or beside it has drawn."""
    from urllib.parse import unquote

    pictures = {name: pair for one in written for name, pair in one.figures.items()}
    bundles = (bundle for kept in result.attachments.values() for bundle in kept.values())
    left = _MAX_DRAWN - sum(len(data) for bundle in bundles for data in bundle.values())
    for pair in (pair for one in (*written, *beside) for pair in one.drawn.values()):
        if (left := left - len(pair[1])) < 0:
            result.notes.append(f"Not all figures beside {cell.grade_id} were kept: there are too many.")
            break
        pictures[f"drawn-{len(pictures) + 1}"] = pair
    if pictures:
        result.attachments[cell.grade_id] = {name: {kind: data} for name, (kind, data) in pictures.items()}
    for one in written:
        for found in _LINKED.finditer(one.source):
            link = found.group(1) or found.group(2)
            kind, _, name = link.partition(":")
            if kind == "data" or (kind == "attachment" and unquote(name) in pictures):
                continue
            result.notes.append(
                f"The figure {link[:80]} of {cell.grade_id} is not in the notebook: it was only linked."
            )


def _is_prose(cell):
    """Text, or a code cell that does nothing but say something: words, comments or strings."""
    if cell.kind != "code":
        return bool(cell.source.strip() or cell.figures)
    tree = _tree(cell.source)
    if tree is None:
        return len(_WORD.findall(cell.source)) >= 5
    return bool(cell.source.strip()) and all(_is_said(node) for node in tree.body)


def _is_said(node):
    """A constant by itself, or a sentence that is printed, displayed or given a name."""
    if not isinstance(node, ast.Expr | ast.Assign):
        return False
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    parts = list(ast.walk(node.value))
    plain = ast.Constant | ast.Call | ast.Name | ast.Attribute | ast.keyword | ast.expr_context
    texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return all(isinstance(part, plain) for part in parts) and len(_WORD.findall(" ".join(texts))) >= 5


def _code_of(cell):
    if cell.kind != "code" and (fenced := _FENCE.fullmatch(cell.source)):
        return fenced.group(1)
    return cell.source


def _normal(source):
    """Source without what editors change by themselves: space at the ends of lines and of the cell."""
    return "\n".join(line.rstrip() for line in source.strip().splitlines())


def without_magics(source: str) -> str:
    """Source without IPython's lines ``%…`` and ``!…``, which are no Python."""
    return "\n".join(line for line in source.splitlines() if not line.lstrip().startswith(("%", "!")))


def _tree(source):
    if len(source) > _LONGEST_CODE:
        return None
    try:
        return ast.parse(without_magics(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


@lru_cache(maxsize=2048)
def defined_names(source: str) -> set[str]:
    """Functions, classes and variables that a cell defines at top level; empty if it does not parse."""
    body = tree.body if (tree := _tree(source)) else []
    defining = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    names = {node.name for node in body if isinstance(node, defining)}
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if _has_value(node) else []
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _has_value(node):
    return isinstance(node, ast.AnnAssign) and node.value is not None


def _bound_names(source):
    """As :func:`defined_names`, with what is imported."""
    body = tree.body if (tree := _tree(source)) else []
    imports = [
        alias for node in body if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names
    ]
    return defined_names(source) | {(alias.asname or alias.name).split(".")[0] for alias in imports}
