"""Slide decks of the lessons, from the slide marks of their cells, as pages that need no network.

A cell marked ``slide`` or ``subslide`` begins a slide, ``fragment`` and ``-`` go on with it, ``skip`` is left
out. A slide holds one idea: when the next cell would not fit below what stands there, it begins another one
that goes on under the same heading. A picture stands above or beside the first lines of its code.
"""

from __future__ import annotations

import base64
import io
import re
import shutil
from dataclasses import dataclass, field
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from rs_course.execution.book import Lesson
from rs_course.execution.pages import QUESTION, TEMPLATES, add_mathjax, render
from rs_course.execution.runner import hides_outputs
from rs_course.plots import ALT_CLASS

if TYPE_CHECKING:
    from nbformat import NotebookNode

# A slide of 1280 by 720 has room for about this many lines of 24 pixels below its heading.
_LINES = 21
_CHARACTERS = 88
_LONG_CODE = 16  # lines; more of it is folded to its first lines


@dataclass
class Slide:
    """What stands on one slide: pieces of HTML, and the lines they take."""

    pieces: list[str] = field(default_factory=list)
    lines: float = 0.0
    heading: str = ""

    @property
    def asks(self) -> bool:
        """Whether it is an exercise: a heading with a pencil, or a paragraph that begins so."""
        return bool(re.search(r"&#9998;|<strong>Exercise", self.pieces[0]))

    @property
    def waits(self) -> bool:
        """Whether it says nothing without the code that follows: a heading alone, or an exercise."""
        below = re.sub(r"<h\d.*?</h\d>", "", "".join(self.pieces), flags=re.S).strip()
        return len(self.pieces) == 1 and (not below or self.asks)


def write(lessons: list[Lesson], folder: Path) -> Path:
    """Write one page per lesson, an index, and the shared files; returns the index's path."""
    _shared(folder / "shared")
    decks = {lesson.name: deck(lesson.notebook) for lesson in lessons}
    for lesson in lessons:
        page = folder / f"{lesson.name}.html"
        render("slides.html", page, title=lesson.title, stacks=decks[lesson.name])
    listed = [
        (lesson, sum(map(len, stacks)), _sections(stacks))
        for lesson, stacks in zip(lessons, decks.values(), strict=True)
    ]
    return render("slides_index.html", folder / "index.html", title=QUESTION, listed=listed)


def _sections(stacks: list[list[Slide]]) -> list[tuple[str, str]]:
    """Places and headings of the slides that begin a section."""
    slides = [(f"{n}/{m}", slide) for n, stack in enumerate(stacks) for m, slide in enumerate(stack)]
    return [(place, slide.heading) for place, slide in slides if slide.pieces[0].startswith("<h2")]


def deck(notebook: NotebookNode) -> list[list[Slide]]:
    """Stacks of slides: each stack goes down, the next one stands to its right."""
    stacks: list[list[Slide]] = []
    for cell in notebook.cells:
        mark = cell.metadata.get("slideshow", {}).get("slide_type") or "-"
        if mark in ("skip", "notes"):
            continue
        if mark != "slide" and hides_outputs(cell):
            mark = "subslide"  # the answer does not stand on the slide that asks
        for html, lines, heading in _pieces(cell):
            if not stacks or mark == "slide":
                stacks.append([Slide()])
            elif _begins_anew(stacks[-1][-1], lines, heading, mark):
                stacks[-1].append(Slide(heading=stacks[-1][-1].heading))
            slide = stacks[-1][-1]
            if slide.heading and not slide.pieces and not heading:
                slide.pieces.append(f'<p class="again">{slide.heading}</p>')
            slide.pieces.append(html)
            slide.lines += lines
            slide.heading = heading or slide.heading
            mark = "-"
    # A heading whose quiz or panel stays in the lesson is no slide.
    kept = [[slide for slide in stack if slide.asks or not slide.waits] for stack in stacks]
    return [stack for stack in kept if stack]


def _begins_anew(slide: Slide, lines: float, heading: str, mark: str) -> bool:
    if not slide.pieces or heading or slide.lines + lines > _LINES:
        return bool(slide.pieces)
    # Code belongs to the heading or exercise above it; a prediction stands before its answer.
    return mark == "subslide" and not slide.waits


def _pieces(cell):
    """``(HTML, lines, heading)`` of what a cell puts on slides; a long text in several pieces."""
    if cell.cell_type == "markdown":
        yield from _prose(cell.source)
    elif cell.cell_type == "code" and not _stays_in_the_lesson(cell):
        yield from _code(cell)


def _stays_in_the_lesson(cell) -> bool:
    """A quiz or a panel of buttons; not a picture, whose words, film or answers stand behind it as HTML."""
    shown = [output.get("data", {}) for output in cell.outputs if not _is_folded(output)]
    pages = [data["text/html"] for data in shown if "text/html" in data and "image/png" not in data]
    return any(ALT_CLASS not in "".join(page) for page in pages)


def _is_folded(output) -> bool:
    """A film or answers: a slide shows the still that stands before it."""
    return "".join(output.get("data", {}).get("text/html", "")).startswith("<details>")


def _prose(source: str):
    """A text as pieces that fit: cut before headings, and between paragraphs where it is long."""
    from nbconvert.filters import markdown2html

    # Folded hints and solutions belong to the lesson; a slide cannot be folded out in a lecture hall.
    source = re.sub(r"<details>.*?</details>", "", source, flags=re.S).strip()
    parts, heading = [cut for part in re.split(r"\n\s*\n(?![ \t])", source) for cut in _cut(part)], ""
    group: list[str] = []
    for part in [*parts, None]:
        starts = part is not None and part.startswith("#")
        alone = len(group) == 1 and group[0].startswith("#")  # a heading stays with what follows
        full = part is not None and not alone and _lines("\n\n".join([*group, part])) > _LINES
        if group and (part is None or starts or full):
            text = "\n\n".join(group)
            html = re.sub(r'<a class="anchor-link".*?</a>', "", markdown2html(text))
            yield html, _lines(text), heading
            group, heading = [], ""
        if part is not None:
            if starts:
                heading = re.sub(r"[#*`✎]|\$.*?\$", "", part.split("\n")[0]).strip()
            group.append(part)


def _cut(part: str) -> list[str]:
    """A long table in pieces, each with its head."""
    rows = 10
    head, body = part.split("\n")[:2], part.split("\n")[2:]
    if not part.startswith("|") or len(body) <= rows + 2:
        return [part]
    return ["\n".join([*head, *body[start : start + rows]]) for start in range(0, len(body), rows)]


def _lines(text: str) -> float:
    """Lines that a Markdown text takes on a slide."""
    total = 0.0
    for line in re.sub(r"\]\([^)]*\)|[*`]", "", text).split("\n\n"):
        rows = line.split("\n")
        block = line.lstrip().startswith(("|", "-", "*", "1.", "```")) or "\n|" in line
        wrapped = [max(1, -(-len(row) // _CHARACTERS)) for row in (rows if block else [" ".join(rows)])]
        total += sum(wrapped) * (1.35 if "|" in line else 1.0) + 0.6
        total += 1.5 * line.count("$$") + (1.2 if line.startswith("#") else 0)
    return total


def _code(cell):
    """Code with its first picture: a wide one above, another one beside it; then what else it shows."""
    from nbconvert.filters import Highlight2HTML

    pictures, texts, tables = [], [], []
    for output in cell.outputs:
        data = {} if _is_folded(output) else output.get("data", {})
        if "image/png" in data:
            alt = output.metadata.get("image/png", {}).get("alt") or cell.metadata.get("alt", "")
            pictures.append((data["image/png"].strip(), escape(alt)))
        elif "text/markdown" in data:
            tables.append(data["text/markdown"])
        elif text := output.get("text") or data.get("text/plain"):
            said = text.rstrip().splitlines()
            said = said if len(said) <= _LONG_CODE else [*said[: _LONG_CODE - 1], "…"]
            texts.append(f"<pre>{escape(chr(10).join(said))}</pre>")
    sizes = [Image.open(io.BytesIO(base64.b64decode(encoded))).size for encoded, _ in pictures]
    wide = bool(sizes) and sizes[0][0] / sizes[0][1] > 1.6
    rows, most = cell.source.splitlines(), _LONG_CODE if not sizes else 5 if wide else 10
    rows = rows if len(rows) <= most else [*rows[: most - 1], "…"]
    code = Highlight2HTML(pygments_lexer="ipython3")("\n".join(rows))
    code = f'<div class="code">{code}</div>' + "".join(texts)
    told = 0.9 * sum(text.count("\n") + 1 for text in texts)
    if not pictures:
        yield code, _code_lines(rows, 115) + told, ""
    elif wide:
        shown, lines = _picture(pictures[0], sizes[0], 1240, 430)
        yield f'<div class="wide">{shown}</div>{code}', lines + _code_lines(rows, 115) + told, ""
    else:
        shown, lines = _picture(pictures[0], sizes[0], 700, 600)
        html = f'<div class="pair"><div>{code}</div><div class="shown">{shown}</div></div>'
        yield html, max(lines + 0.5, _code_lines(rows, 52) + told), ""
    for picture, size in zip(pictures[1:], sizes[1:], strict=True):
        shown, lines = _picture(picture, size, 1240, 600)
        yield f'<div class="wide">{shown}</div>', max(lines, _LINES / 2 + 1), ""  # one picture a slide
    for table in tables:
        yield from _prose(table)


def _picture(picture: tuple[str, str], size: tuple[int, int], width: int, height: int) -> tuple[str, float]:
    """A picture that fits into ``width`` × ``height`` pixels, and the lines that it takes."""
    encoded, alt = picture
    html = f'<img alt="{alt}" style="max-height: {height}px" src="data:image/png;base64,{encoded}">'
    return html, min(height, width * size[1] / size[0]) / 33


def _code_lines(rows: list[str], width: int) -> float:
    return 0.75 * sum(max(1, -(-len(row) // width)) for row in rows) + 0.8


def _shared(folder: Path) -> None:
    """reveal.js from the package that carries it, MathJax, and the style of the decks."""
    if (found := find_spec("sphinx_revealjs")) is None:
        raise RuntimeError(
            "sphinx_revealjs missing: `make slides` installs what the slides need, and so does "
            "`pip install -e .[book] -c constraints.txt`."
        )
    reveal = Path(found.origin).parent / "_static" / "revealjs"
    folder.mkdir(exist_ok=True)
    for source in (
        reveal / "dist" / "reveal.css",
        reveal / "dist" / "reveal.js",
        reveal / "plugin" / "notes" / "notes.js",
        TEMPLATES / "slides.css",
    ):
        shutil.copyfile(source, folder / source.name)
    add_mathjax(folder)
