"""What ``rs-course run`` shows: executed notebooks as pages, their index, and the page of times."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from rs_course.execution.runner import TAG, without_widget
from rs_course.files import templates

if TYPE_CHECKING:
    from nbformat import NotebookNode

QUESTION = "Is synthetic data from generative models ready for image recognition?"
TEMPLATES = Path(__file__).with_name("templates")
# Draws formulas as SVG and loads nothing more; from the npm package mathjax 3.2.2 (Apache License 2.0), es5/.
MATHJAX = "tex-svg-full.js"  # packed in ``templates``: a third of its size
_THUMBNAIL = (480, 300)


def render(template: str, path: Path, **values) -> Path:
    """Write a page from a template of ``templates/``, every value escaped, and return its path."""
    path.write_text(_to_pages(templates(TEMPLATES).get_template(template).render(**values)), encoding="utf-8")
    return path


def write_page(notebook: NotebookNode, path: Path, title: str) -> None:
    """Write one executed notebook as one page, and MathJax beside it; nothing is loaded from elsewhere."""
    import nbformat
    from nbconvert import HTMLExporter

    page = nbformat.from_dict(notebook)
    # The set-up cell is for whoever opens the notebook; widgets show their fallback.
    page.cells = [cell for cell in page.cells if TAG not in cell.metadata.get("tags", [])]
    for cell in page.cells:
        if cell.cell_type == "code":
            cell.outputs = [without_widget(output) for output in cell.outputs]
    page.metadata["title"] = title
    exporter = HTMLExporter(
        template_name="lab", template_file=str(TEMPLATES / "lesson.html.j2"), mathjax_url=MATHJAX
    )
    html, _ = exporter.from_notebook_node(page)
    path.write_text(_to_pages(_described(html)), encoding="utf-8")
    add_mathjax(path.parent)


def add_mathjax(folder: Path) -> None:
    """Unpack MathJax into a folder where it does not lie yet."""
    if not (folder / MATHJAX).is_file():
        packed = (TEMPLATES / f"{MATHJAX}.gz").read_bytes()
        (folder / MATHJAX).write_bytes(gzip.decompress(packed))


def _to_pages(html: str) -> str:
    """Links from lesson to lesson lead to pages: in a notebook they lead to notebooks."""
    return re.sub(r'(href="\d\d_\w+)\.ipynb', r"\1.html", html)


def _described(html: str) -> str:
    """The page with each picture's words, which stand behind it for JupyterLab, as its alternative text."""
    from bs4 import BeautifulSoup

    from rs_course.plots import ALT_CLASS

    page = BeautifulSoup(html, features="html.parser")
    for words in page.select(f"p.{ALT_CLASS}"):
        picture = words.find_previous("img")
        if picture is not None:
            picture["alt"] = words.get_text().removeprefix("Picture: ")
            words.decompose()
    return str(page)


def title_of(notebook: NotebookNode, default: str) -> str:
    """The notebook's first heading."""
    for cell in notebook.cells:
        for line in cell.source.splitlines() if cell.cell_type == "markdown" else ():
            if line.startswith("# "):
                return line[2:].strip()
    return default


def promise_of(notebook: NotebookNode) -> str:
    """What a reader will have done at the end: the first sentence that says "you …"."""
    prose = " ".join(cell.source for cell in notebook.cells[:3] if cell.cell_type == "markdown")
    found = re.search(r"\byou (?:will )?(.*?)\.(?=[\s*]|$)", " ".join(prose.split()))
    return found[1][:1].upper() + found[1][1:] + "." if found else ""


# What a record holds, and of which kind.
_RECORD = {"name": str, "title": str, "profile": str, "seconds": float, "peak_bytes": int}
_RECORD |= {"error": str | None, "fingerprint": str | None}


def read_record(path: Path) -> dict | None:
    """The record of an execution, or ``None`` where there is none that is whole: the notebook runs again."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return record if all(isinstance(record[key], kind) for key, kind in _RECORD.items()) else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def pictures_of(notebook: NotebookNode):
    """Each PNG of a notebook with its alternative text, in order."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if encoded := output.get("data", {}).get("image/png"):
                alt = output.metadata.get("image/png", {}).get("alt") or cell.metadata.get("alt", "")
                yield base64.b64decode(encoded), alt


def thumbnail(notebook: NotebookNode) -> bytes:
    """The first picture of a lesson, its upper left part in the shape of a card."""
    from PIL import Image

    image = Image.open(io.BytesIO(next(pictures_of(notebook))[0])).convert("RGB")
    width, height = _THUMBNAIL
    scale = max(width / image.width, height / image.height)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.crop((0, 0, width, height)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def write_index(build: Path) -> Path:
    """Write ``index.html`` and ``measured.html`` from what was executed, and return the path of the first."""
    import nbformat

    lessons = []
    for path in sorted((build / "notebooks").glob("*.json")):
        if not (record := read_record(path)):
            continue
        executed, shown = path.with_suffix(".ipynb"), {"promise": "", "picture": "", "alt": ""}
        if executed.is_file():
            notebook = nbformat.read(executed, as_version=4)
            shown["promise"] = promise_of(notebook)
            if first := next(pictures_of(notebook), None):
                shown |= {"picture": base64.b64encode(thumbnail(notebook)).decode(), "alt": first[1]}
        lessons.append(record | shown)
    render("measured.html", build / "measured.html", title="How it was measured", lessons=lessons)
    return render("index.html", build / "index.html", title=QUESTION, lessons=lessons)
