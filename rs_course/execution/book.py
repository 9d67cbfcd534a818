"""Sources of the book, assembled from a checkout and the executed notebooks, and the call of Sphinx.

The folder of sources mirrors the checkout, so that a link between two files of the repository is a link
between two pages: ``docs/*.md`` become the root; ``notebooks/``, ``data/DATA.md``, ``assignments/README.md``
and the pages at the top keep their places.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from rs_course.execution.pages import add_mathjax, pictures_of, promise_of, read_record, thumbnail, title_of
from rs_course.execution.runner import TAG, hides_outputs, normalise

if TYPE_CHECKING:
    from nbformat import NotebookNode

_PAGES = (
    "README.md",
    "CHANGELOG.md",
    "CITATION.cff",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "assignments/README.md",
    "data/DATA.md",
)
_NEEDED = ("sphinx", "myst_nb", "sphinx_book_theme", "sphinx_design", "sphinx_copybutton")

# What Binder allows at most, and what JupyterLab's server may take of it (96 MiB when it has started).
_BINDER_BYTES, _SERVER_BYTES = 2e9, 150 * 2**20


@dataclass(frozen=True)
class Lesson:
    """One executed notebook and the record of its run."""

    name: str
    title: str
    notebook: object
    record: dict


def executed(build: Path, sources: Path) -> list[Lesson]:
    """Read the executed notebooks and check that they belong to the ones in the checkout.

    Raises:
        FileNotFoundError: A notebook was not executed.
        ValueError: A notebook failed, or was changed since it was executed.
    """
    import nbformat

    lessons = []
    for path in sorted(sources.glob("[0-9]*.ipynb")):
        done = build / "notebooks" / path.name
        record = read_record(done.with_suffix(".json"))
        if not done.is_file() or record is None:
            raise FileNotFoundError(f"{path.name} was not executed into {build}; run `make course` first.")
        if record["error"]:
            raise ValueError(f"{path.name} failed ({record['error']}); mend it and run `make course`.")
        notebook, source = nbformat.read(done, as_version=4), nbformat.read(path, as_version=4)
        notebook.cells = [cell for cell in notebook.cells if _is_read(cell)]
        read = [cell.source for cell in source.cells if _is_read(cell)]
        if [cell.source for cell in notebook.cells] != read:
            raise ValueError(f"{path.name} was changed since it was executed; run `make course` again.")
        notebook = normalise(notebook)
        lessons.append(Lesson(path.stem, title_of(notebook, path.stem), notebook, record))
    return lessons


def _is_read(cell) -> bool:
    """Not the parameters that papermill set, nor the set-up cell: that is for whoever opens the notebook."""
    return not {"injected-parameters", TAG} & set(cell.metadata.get("tags", []))


def assemble(root: Path, lessons: list[Lesson], folder: Path) -> None:
    """Write everything but the reference into the folder of sources."""
    import nbformat

    shutil.copytree(root / "docs", folder, ignore=shutil.ignore_patterns("__pycache__", "make_picture.py"))
    for page in _PAGES:
        (folder / page).parent.mkdir(exist_ok=True)
        # The pages of docs/ lie at the root of the sources.
        text = (root / page).read_text(encoding="utf-8").replace("](docs/", "](")
        (folder / page).write_text(text, encoding="utf-8")
    add_mathjax(folder / "_static")
    pictures = folder / "_static" / "lessons"
    for place in (folder / "notebooks", folder / "generated", pictures):
        place.mkdir()
    texts = {}
    for lesson in lessons:
        for cell in lesson.notebook.cells:
            if hides_outputs(cell):
                cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-output"]
        nbformat.write(lesson.notebook, folder / "notebooks" / f"{lesson.name}.ipynb")
        texts |= alternative_texts(lesson.notebook)
        (pictures / f"{lesson.name}.png").write_bytes(thumbnail(lesson.notebook))
    (folder / "alternative_texts.json").write_text(json.dumps(texts), encoding="utf-8")
    (folder / "generated" / "lessons.md").write_text(_cards(lessons), encoding="utf-8")
    (folder / "generated" / "times.md").write_text(_times(lessons), encoding="utf-8")


def alternative_texts(notebook: NotebookNode) -> dict[str, str]:
    """SHA-256 of each picture to its alternative text: myst-nb names a picture's file by that hash."""
    return {hashlib.sha256(png).hexdigest(): alt for png, alt in pictures_of(notebook)}


def _cards(lessons: list[Lesson]) -> str:
    cards = []
    for lesson in lessons:
        alt = next(pictures_of(lesson.notebook))[1]
        cards += [
            f":::{{grid-item-card}} {lesson.title}",
            f":img-top: /_static/lessons/{lesson.name}.png",
            f":img-alt: {alt}",
            f":link: /notebooks/{lesson.name}",
            ":link-type: doc",
            promise_of(lesson.notebook),
            ":::",
        ]
    return "\n".join(["::::{grid} 1 2 2 3", ":gutter: 3", "", *cards, "::::", ""])


def _times(lessons: list[Lesson]) -> str:
    rows = [
        f"| [{lesson.title}](/notebooks/{lesson.name}.ipynb) | {lesson.record['profile']} "
        f"| {lesson.record['seconds']:.0f} s | {lesson.record['peak_bytes'] / 2**20:,.0f} MiB |"
        for lesson in lessons
    ]
    head = ["| lesson | profile | time | peak memory |", "| --- | --- | --: | --: |"]
    room = _BINDER_BYTES - _SERVER_BYTES
    larger = [lesson.title for lesson in lessons if lesson.record["peak_bytes"] > room]
    fitting = f"each but {'; '.join(larger)}" if larger else "each of them"
    told = f"Binder's 2 GB, less {_SERVER_BYTES / 2**20:.0f} MiB for JupyterLab, are enough for {fitting}, "
    told += "one at a time."
    return "\n".join([*head, *rows, "", told, ""])


def leave_out_drawing(folder: Path) -> None:
    """Take the page that draws, and what leads to it, out of the sources."""
    (folder / "draw.md").unlink()
    shutil.rmtree(folder / "_static" / "draw")
    index = folder / "index.md"
    text = index.read_text(encoding="utf-8").replace("\ndraw\n", "\n")
    index.write_text(re.sub(r"<!-- draw -->.*?<!-- end -->\n", "", text, flags=re.S), encoding="utf-8")


# Classes that a user holds in hand without importing them: what the public functions return.
_RETURNED = {"checkpoints": ["rs_course.checkpoints.checkpoint.Checkpoint"]}


def write_reference(folder: Path) -> None:
    """Write a page for each public package, made from its docstrings, one of the commands, and the list."""
    packages, seen = public_packages(), set()
    folder.mkdir(exist_ok=True)
    for module in packages:
        name = module.__name__.rpartition(".")[2]
        (folder / f"{name}.md").write_text(page(module, _RETURNED.get(name, []), seen), encoding="utf-8")
    (folder / "commands.md").write_text(commands_page(), encoding="utf-8")
    rows = [f"| [](/api/{m.__name__.rpartition('.')[2]}.md) | {first_paragraph(m)} |" for m in packages]
    index = (folder / "index.md").read_text(encoding="utf-8")
    (folder / "index.md").write_text(index.replace("<!-- packages -->", "\n".join(rows)), encoding="utf-8")


def public_packages() -> list[ModuleType]:
    """The packages that ``rs_course`` names as its own, asked in a fresh interpreter.

    Here other modules were imported too, and would look like names of the package.
    """
    ask = "import rs_course; print(*(name for name in dir(rs_course) if name[0] != '_'))"
    answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    values = [import_module(f"rs_course.{name}") for name in answer.stdout.split()]
    return sorted(values, key=lambda module: module.__name__)


def names_of(module: ModuleType) -> list[str]:
    """Public functions, classes and constants of a module: ``__all__``, or what is defined below it."""
    listed = getattr(module, "__all__", None)
    found = []
    for name in sorted(listed or dir(module)):
        value = getattr(module, name)
        if name.startswith("_") or isinstance(value, ModuleType):
            continue
        home = getattr(value, "__module__", None)
        if listed or name.isupper() or (isinstance(home, str) and home.startswith(module.__name__)):
            found.append(name)
    return found


def modules_of(package: ModuleType) -> list[ModuleType]:
    """Submodules that are public names of a package, such as ``rs_course.metrics.image``."""
    values = [getattr(package, name) for name in dir(package) if not name.startswith("_")]
    return [
        value
        for value in values
        if isinstance(value, ModuleType) and value.__name__.startswith(f"{package.__name__}.")
    ]


def page(package: ModuleType, returned: Collection[str] = (), seen: set | None = None) -> str:
    """The page of one package: its own names, then those of its submodules that are not among them.

    Args:
        package: The package.
        returned: Full names of classes that its functions return.
        seen: What was described already; this page's names are added.
    """
    lines = [f"# {package.__name__}", "", *_prose(package), ""]
    seen = set() if seen is None else seen
    lines += _entries(package, seen)
    for name in returned:
        lines += _directive("autoclass", name, [":members:"])
    for module in modules_of(package):
        entries = _entries(module, seen)
        if entries:
            lines += [f"## {module.__name__}", "", *_prose(module), "", *entries]
    return "\n".join(lines) + "\n"


def _entries(module, seen: set) -> list[str]:
    lines = []
    for name in names_of(module):
        value = getattr(module, name)
        if not callable(value):
            lines += [f"`{name}` = `{_short(value)}`", ""]
            continue
        # A class has one place in the whole reference, a function one on each page that offers it.
        key = (id(value), "" if inspect.isclass(value) else module.__name__.split(".")[1])
        if key in seen or not (value.__doc__ or "").strip():
            continue
        seen.add(key)
        kind = "autoclass" if inspect.isclass(value) else "autofunction"
        options = [":members:"] if inspect.isclass(value) else []
        lines += _directive(kind, f"{module.__name__}.{name}", options)
    return lines


def _directive(kind: str, name: str, options) -> list[str]:
    indented = [f"   {option}" for option in options]
    return ["```{eval-rst}", f".. {kind}:: {name}", *indented, "```", ""]


def _short(value) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 90 else text[:89] + "…"


def _prose(module) -> list[str]:
    """A module's docstring; an indented paragraph is a table or a sketch and stays as it was typed."""
    text = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(module.__doc__ or "")):
        if paragraph.startswith(" ") and not (text and text[-1].endswith("::")):
            text.append("::")
        text.append(paragraph)
    return ["```{eval-rst}", f".. currentmodule:: {module.__name__}", "", "\n\n".join(text), "```"]


def first_paragraph(module: ModuleType) -> str:
    """The first paragraph of a module's docstring, without the marks of reStructuredText."""
    text = " ".join(inspect.cleandoc(module.__doc__ or "").partition("\n\n")[0].split())
    return re.sub(r":\w+:`\.?~?([^`]*)`", r"`\1`", text).replace("``", "`").replace("|", "\\|")


def commands_page() -> str:
    """Every command with its arguments, as ``rs-course COMMAND --help`` prints them."""
    from rs_course.cli import COMMANDS, describe

    lines = ["# The command line", "", "`rs-course COMMAND --help` prints the same.", ""]
    for name, (module, summary) in COMMANDS.items():
        parser = argparse.ArgumentParser(prog=f"rs-course {name}", description=summary)
        describe(parser, name, import_module(module))
        lines += [f"## `rs-course {name}`", "", "```text", parser.format_help().rstrip(), "```", ""]
    return "\n".join(lines)


def synchronise(new: Path, folder: Path) -> bool:
    """Make ``folder`` equal to ``new``, touching only files that differ; true if a file had to go."""
    wanted = {path.relative_to(new) for path in new.rglob("*") if path.is_file()}
    for name in wanted:
        target = folder / name
        if not target.is_file() or target.read_bytes() != (new / name).read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(new / name, target)
    gone = [path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder) not in wanted]
    for path in gone:
        path.unlink()
    return bool(gone)


def sphinx(sources: Path, site: Path) -> int:
    """Build the site; returns the number of warnings, which Sphinx prints.

    Raises:
        RuntimeError: Sphinx or an extension is not installed, or the build failed.
    """
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise RuntimeError(
            f"{', '.join(missing)} missing: `make book` installs what the book needs, and so does "
            "`pip install -e .[book] -c constraints.txt`."
        )
    from sphinx.application import Sphinx
    from sphinx.errors import SphinxError

    try:
        app = Sphinx(sources, sources, site, site.parent / "book-doctrees", "html", status=None)
        app.build()
    except SphinxError as error:
        raise RuntimeError(f"Sphinx stopped: {error}") from None
    return app._warncount
