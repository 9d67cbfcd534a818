"""Ways to open a lesson without an installation: the set-up cell of each notebook, and links to hosts.

The address of the repository stands in ``pyproject.toml`` (``[project.urls]``) and nowhere else by hand:
``rs-course address OWNER/NAME`` writes it into the notebooks, the README and ``CITATION.cff``.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat

from rs_course.execution import normalise

TAG = "setup"
_TEMPLATE = Path(__file__).with_name("templates") / "setup_cell.py"
_LINKS = re.compile(r"\n\nOpen this lesson in \[Colab\].*$", re.S)
HOSTS = {
    "Colab": "https://colab.research.google.com/github/{repository}/blob/main/{path}",
    "Kaggle": "https://kaggle.com/kernels/welcome?src=https://github.com/{repository}/blob/main/{path}",
    "Binder": "https://mybinder.org/v2/gh/{repository}/main?urlpath=lab/tree/{path}",
}


def setup_source(repository: str | None) -> str:
    """The set-up cell: it installs the course where it is missing, and does nothing where it is there."""
    source = _TEMPLATE.read_text(encoding="utf-8").strip()
    address = f"git+https://github.com/{repository}" if repository else ""
    return source.replace('"RS_COURSE_SOURCE", ""', f'"RS_COURSE_SOURCE", "{address}"')


def links(repository: str, path: str) -> str:
    """One line that opens a file of the repository on each host."""
    shown = [f"[{host}]({url.format(repository=repository, path=path)})" for host, url in HOSTS.items()]
    return f"Open this lesson in {', '.join(shown[:-1])} or {shown[-1]}."


def write_notebook(path: Path, repository: str | None) -> None:
    """Bring set-up cell and links of one notebook up to date; nothing is executed."""
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if TAG not in cell.metadata.get("tags", [])]
    title = cells[0]
    title.source = _LINKS.sub("", title.source)
    if repository:
        title.source += "\n\n" + links(repository, f"notebooks/{path.name}")
    cell = nbformat.v4.new_code_cell(setup_source(repository), id="setup-cell")
    cell.metadata.update({"slideshow": {"slide_type": "skip"}, "tags": [TAG]})
    notebook.cells = [title, cell, *cells[1:]]
    normalise.write(notebook, path)


def repository_of(root: Path) -> str | None:
    """OWNER/NAME as ``pyproject.toml`` tells it, or ``None`` while the course is not published."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^Repository = "https://github\.com/([^"]+)"', text, re.M)
    return found[1] if found else None


def write(root: Path, repository: str | None) -> None:
    """Write the address into every file that tells it."""
    project = root / "pyproject.toml"
    text = re.sub(r'\[project\.urls\]\nRepository = "[^"]*"\n\n', "", project.read_text(encoding="utf-8"))
    citation = root / "CITATION.cff"
    cited = re.sub(r'repository-code: "[^"]*"\n', "", citation.read_text(encoding="utf-8"))
    readme = root / "README.md"
    told = re.sub(r"(<!-- hosts -->\n)\nOpen .*\n\n", r"\1", readme.read_text(encoding="utf-8"))
    if repository:
        url = f"https://github.com/{repository}"
        text = text.replace("[project.scripts]", f'[project.urls]\nRepository = "{url}"\n\n[project.scripts]')
        cited = cited.replace("license: MIT\n", f'repository-code: "{url}"\nlicense: MIT\n')
        lesson = min((root / "notebooks").glob("[0-9]*.ipynb"))
        first = links(repository, f"notebooks/{lesson.name}").replace("this lesson", "the first lesson")
        told = told.replace(
            "<!-- hosts -->\n", f"<!-- hosts -->\n\n{first}\n\n"
        )  # no links in a line of HTML
    for path, content in ((project, text), (citation, cited), (readme, told)):
        path.write_text(content, encoding="utf-8")
    for path in sorted((root / "notebooks").glob("[0-9]*.ipynb")):
        write_notebook(path, repository)
