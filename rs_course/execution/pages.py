"""Executed notebooks as HTML, and the index page that links them with their time and peak memory."""

from __future__ import annotations

import base64
import io
import json
import re
from html import escape
from pathlib import Path

from rs_course.execution.normalise import without_widget

_THUMBNAIL = (480, 300)
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: 0.4rem 0.8rem; border-bottom: 1px solid #ddd; text-align: left; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
td.picture img { width: 12rem; display: block; }
.failed { color: #b03000; }
"""


def write_page(notebook, path: Path, title: str) -> None:
    """Write one executed notebook as one HTML file; only formulas need the network (they load MathJax)."""
    import nbformat
    from nbconvert import HTMLExporter

    page = nbformat.from_dict(notebook)
    for cell in page.cells:
        if cell.cell_type == "code":
            cell.outputs = [without_widget(output) for output in cell.outputs]
    page.metadata.pop("widgets", None)
    page.metadata["title"] = title
    # Widgets show their fallback, so that no page waits for scripts from the network.
    html, _ = HTMLExporter(template_name="lab", require_js_url="", jquery_url="").from_notebook_node(page)
    path.write_text(to_pages(_described(html)), encoding="utf-8")


def to_pages(html: str) -> str:
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


def title_of(notebook, default: str) -> str:
    """The notebook's first heading."""
    for cell in notebook.cells:
        for line in cell.source.splitlines() if cell.cell_type == "markdown" else ():
            if line.startswith("# "):
                return line[2:].strip()
    return default


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


def pictures_of(notebook):
    """Each PNG of a notebook with its alternative text, in order."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if encoded := output.get("data", {}).get("image/png"):
                alt = output.metadata.get("image/png", {}).get("alt") or cell.metadata.get("alt", "")
                yield base64.b64decode(encoded), alt


def thumbnail(notebook) -> bytes:
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
    """Write ``index.html`` from the records beside the executed notebooks and return its path."""
    found = map(read_record, sorted((build / "notebooks").glob("*.json")))
    records = [record for record in found if record]
    rows = "\n".join(_row(record, build) for record in records)
    seconds = sum(record["seconds"] for record in records)
    page = f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>RS Course: executed notebooks</title><style>{_STYLE}</style></head>
<body>
<h1>Is synthetic data from generative models ready for image recognition?</h1>
<p>{len(records)} notebooks, executed in {seconds:.0f} s together. Peak memory is the largest resident memory
of the kernel and its child processes.</p>
<table>
<tr><th></th><th>Notebook</th><th>Profile</th><th class="number">Time</th><th class="number">Peak memory</th>
<th>Result</th></tr>
{rows}
</table>
</body>
</html>
"""
    index = build / "index.html"
    index.write_text(page, encoding="utf-8")
    return index


def _row(record: dict, build: Path) -> str:
    name, title = escape(record["name"]), escape(record["title"])
    executed = build / "notebooks" / f"{record['name']}.ipynb"
    result = "ok" if record["error"] is None else f'<span class="failed">{escape(record["error"])}</span>'
    return (
        f'<tr><td class="picture">{_picture(executed)}</td>'
        f'<td><a href="notebooks/{name}.html">{name}</a><br>{title}</td>'
        f"<td>{escape(record['profile'])}</td>"
        f'<td class="number">{record["seconds"]:.1f} s</td>'
        f'<td class="number">{record["peak_bytes"] / 2**20:,.0f} MiB</td><td>{result}</td></tr>'
    )


def _picture(executed: Path) -> str:
    """The lesson's first picture, small; nothing where it was not drawn."""
    import nbformat

    if not executed.is_file():
        return ""
    notebook = nbformat.read(executed, as_version=4)
    alt = next((text for _, text in pictures_of(notebook)), None)
    if alt is None:
        return ""
    encoded = base64.b64encode(thumbnail(notebook)).decode()
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{encoded}">'
