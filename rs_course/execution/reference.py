"""The book's reference: a page for each public package, made from its docstrings, and one of the commands."""

from __future__ import annotations

import argparse
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

# Classes that a user holds in hand without importing them: what the public functions return.
_RETURNED = {"checkpoints": ["rs_course.checkpoints.checkpoint.Checkpoint"]}


def write(folder: Path) -> None:
    """Write the pages, and into ``index.md`` the table that lists them."""
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


def names_of(module) -> list[str]:
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


def modules_of(package) -> list[ModuleType]:
    """Submodules that are public names of a package, such as ``rs_course.metrics.image``."""
    values = [getattr(package, name) for name in dir(package) if not name.startswith("_")]
    return [
        value
        for value in values
        if isinstance(value, ModuleType) and value.__name__.startswith(f"{package.__name__}.")
    ]


def page(package, returned=(), seen=None) -> str:
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


def _short(value, width: int = 90) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= width else text[: width - 1] + "…"


def _prose(module) -> list[str]:
    """A module's docstring; an indented paragraph is a table or a sketch and stays as it was typed."""
    text = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(module.__doc__ or "")):
        if paragraph.startswith(" ") and not (text and text[-1].endswith("::")):
            text.append("::")
        text.append(paragraph)
    return ["```{eval-rst}", f".. currentmodule:: {module.__name__}", "", "\n\n".join(text), "```"]


def first_paragraph(module) -> str:
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
