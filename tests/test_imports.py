"""What may import what: the rule of CONTRIBUTING.md, read off the sources."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rs_course

_PACKAGE = Path(__file__).resolve().parents[1] / "rs_course"
# A checkpoint samples itself, and scorers and metrics load networks as checkpoints do.
_KNOT = frozenset({"alignment", "metrics", "checkpoints", "sampling"})


def _rooms() -> set[str]:
    return {
        path.stem for path in _PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }


def _imported(tree, package: list[str]):
    """Absolute dotted names that a module imports, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def arrows(sources: dict[str, str], rooms: set[str]) -> dict[str, set[str]]:
    """Room to the rooms it imports, from file names relative to the package and their text."""
    found = {room: set() for room in rooms}
    for name, text in sources.items():
        path = Path(name)
        room = path.parts[0].removesuffix(".py")
        for imported in _imported(ast.parse(text), ["rs_course", *path.parts[:-1]]):
            parts = imported.split(".")
            if parts[0] == "rs_course" and len(parts) > 1 and parts[1] in rooms - {room}:
                found[room].add(parts[1])
    return found


def circles(graph: dict[str, set[str]]) -> set[frozenset]:
    """Groups of rooms that reach each other."""

    def reached(room):
        seen, todo = set(), [room]
        while todo:
            new = graph[todo.pop()] - seen
            seen |= new
            todo += new
        return seen

    reach = {room: reached(room) for room in graph}
    return {frozenset({b for b in reach[a] if a in reach[b]}) for a in graph if a in reach[a]}


@pytest.fixture(scope="module")
def graph():
    sources = {
        path.relative_to(_PACKAGE).as_posix(): path.read_text(encoding="utf-8")
        for path in _PACKAGE.rglob("*.py")
    }
    return arrows(sources, _rooms())


def test_rooms_import_each_other_one_way_but_for_one_knot(graph):
    for circle in circles(graph):
        assert circle <= _KNOT, f"these rooms import each other: {', '.join(sorted(circle))}"


def test_no_room_imports_the_commands(graph):
    assert {room for room, imports in graph.items() if "commands" in imports} <= {"cli"}


def test_the_reading_of_imports_sees_what_it_should():
    sources = {
        "a/x.py": "def f():\n    from rs_course.b import g",
        "b/y.py": "from .. import c",
        "c.py": "import os",
    }
    found = arrows(sources, {"a", "b", "c"})
    assert found == {"a": {"b"}, "b": {"c"}, "c": set()}
    assert circles(found) == set()
    assert circles({**found, "c": {"a"}}) == {frozenset("abc")}


def test_importing_the_package_loads_neither_torch_nor_a_notebook_library():
    code = (
        "import sys, rs_course\n"
        "heavy = ('torch', 'diffusers', 'IPython', 'ipywidgets', 'matplotlib')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("package", rs_course.__all__)
def test_each_package_gives_its_names_to_a_star_import(package):
    names: dict = {}
    exec(f"from rs_course.{package} import *", names)
    module = getattr(rs_course, package)
    assert set(getattr(module, "__all__", ())) <= names.keys()
    assert set(getattr(module, "__all__", ())) <= set(dir(module))


def test_help_lists_functions_that_are_not_loaded_yet():
    code = "import pydoc, rs_course.metrics as m; print(pydoc.plain(pydoc.render_doc(m)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for name in ("psnr(pred: ", "fid(real: ", "precision_recall("):
        assert f"\n    {name}" in shown, name


def test_a_name_that_a_package_lacks_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"rs_course\.metrics attribute nothing"):
        rs_course.metrics.nothing  # noqa: B018
