"""Ways to open the course without a set-up: the first cell, links to hosts, containers."""

import json
import os
import re
import shutil
import subprocess
import venv
from pathlib import Path

import nbformat
import pytest
import yaml

from rs_course import cli
from rs_course.commands.setup import pins
from rs_course.execution import ways_in

_ROOT = Path(__file__).resolve().parents[1]
_NOTEBOOKS = sorted((_ROOT / "notebooks").glob("[0-9]*.ipynb"))


@pytest.mark.parametrize("path", _NOTEBOOKS, ids=[path.stem for path in _NOTEBOOKS])
def test_each_lesson_begins_with_the_set_up_cell(path):
    title, cell = nbformat.read(path, as_version=4).cells[:2]
    repository = ways_in.repository_of(_ROOT)
    assert ways_in.TAG in cell.metadata.tags and cell.source == ways_in.setup_source(repository)
    assert ("Open this lesson in" in title.source) == (repository is not None)


def test_the_cell_does_nothing_where_the_course_is(monkeypatch, capsys):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("it called a program"))
    exec(ways_in.setup_source(None), {})
    assert capsys.readouterr().out == ""


def _wheel(folder: Path, name: str, version: str, requires=()) -> None:
    """A wheel with one module and nothing else, as small as pip takes it."""
    import zipfile

    needs = "".join(f"Requires-Dist: {other}\n" for other in requires)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", f"version = {version!r}\n")
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.mark.slow
def test_the_cell_installs_the_course_and_keeps_the_hosts_torch(tmp_path):
    """With real pip and small packages: the index has a newer torch, and the course's other needs are met."""
    index = tmp_path / "index"
    index.mkdir()
    for version in ("1.0", "2.0"):
        _wheel(index, "torch", version)
    _wheel(index, "helper", "1.0", ["torch"])
    _wheel(index, "rs_course", "1.0.0", ["torch", "helper"])
    venv.create(tmp_path / "host", with_pip=True)
    python = tmp_path / "host" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PIP_"))}
    environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}

    def run(*command, **more):
        return subprocess.run(
            command, env=environment | more, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    assert run(python, "-m", "pip", "install", "-q", "torch==1.0").returncode == 0
    asked = run(python, "-c", ways_in.setup_source(None))
    assert asked.returncode == 1 and "Set RS_COURSE_SOURCE" in asked.stderr
    check = "\nimport rs_course, torch, helper\nprint(rs_course.version, torch.version)"
    wheel = str(index / "rs_course-1.0.0-py3-none-any.whl")
    done = run(python, "-c", ways_in.setup_source(None) + check, RS_COURSE_SOURCE=wheel)
    assert done.returncode == 0, done.stderr
    told, versions = done.stdout.strip().splitlines()
    assert versions == "1.0.0 1.0"
    assert told.startswith("The course was installed from") and "kept" in told
    again = run(python, "-c", ways_in.setup_source(None) + check)
    assert again.stdout.strip() == "1.0.0 1.0"


def test_one_command_tells_every_file_the_address(tmp_path, monkeypatch, capsys):
    for name in ("pyproject.toml", "README.md", "CITATION.cff"):
        shutil.copy(_ROOT / name, tmp_path)
    (tmp_path / "notebooks").mkdir()
    shutil.copy(_NOTEBOOKS[0], tmp_path / "notebooks")
    ways_in.write(tmp_path, None)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    monkeypatch.setattr("rs_course.commands.publish.checkout_dir", lambda: tmp_path)
    assert cli.main(["address", "some-one/rs-course"]) == 0
    assert ways_in.repository_of(tmp_path) == "some-one/rs-course"
    title, cell = nbformat.read(tmp_path / "notebooks" / _NOTEBOOKS[0].name, as_version=4).cells[:2]
    assert "git+https://github.com/some-one/rs-course" in cell.source
    assert f"github/some-one/rs-course/blob/main/notebooks/{_NOTEBOOKS[0].name}" in title.source
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "\n\nOpen the first lesson in [Colab](https://colab.research.google.com/" in readme
    cited = yaml.safe_load((tmp_path / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["repository-code"] == "https://github.com/some-one/rs-course"
    assert cli.main(["address", "another/name"]) == 0
    ways_in.write(tmp_path, None)
    assert {path: path.read_bytes() for path in before} == before
    assert cli.main(["address", "https://example.org/x"]) == 1
    assert "give OWNER/NAME" in capsys.readouterr().err


def test_versions_agree_and_the_citation_can_be_read():
    import tomllib

    import rs_course

    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = yaml.safe_load((_ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert rs_course.__version__ == project["version"] == str(cited["version"])
    assert f"\n## {rs_course.__version__}\n" in (_ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert {"cff-version", "message", "title", "authors", "license", "date-released"} <= set(cited)
    assert f"version = {{{rs_course.__version__}}}" in (_ROOT / "docs" / "researchers.md").read_text("utf-8")


def test_containers_make_the_documented_set_up():
    """Each says the command of the README; ``.ci/newcomer`` runs it from a clean clone and draws a tile."""
    command = "python3 -m rs_course.cli setup"
    assert f"RUN {command}\n" in (_ROOT / "Dockerfile").read_text(encoding="utf-8")
    container = json.loads((_ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert container["onCreateCommand"] == command
    assert command in (_ROOT / ".ci" / "newcomer").read_text(encoding="utf-8")
    assert f"tree/notebooks/{_NOTEBOOKS[0].name}" in (_ROOT / "Dockerfile").read_text(encoding="utf-8")
    binder = yaml.safe_load((_ROOT / ".binder" / "environment.yml").read_text(encoding="utf-8"))
    pinned = pins(_ROOT / "constraints.txt")
    for line in binder["dependencies"]:
        if re.match(r"(pytorch-cpu|numpy)=", line):
            name, version = line.split("=")
            assert pinned[name.replace("pytorch-cpu", "torch")] == version
    for name in (".ci/newcomer", ".ci/newest", ".binder/postBuild"):
        subprocess.run(["bash", "-n", _ROOT / name], check=True)


def test_workflows_and_forms_are_yaml():
    for path in (_ROOT / ".github").rglob("*.yml"):
        assert yaml.safe_load(path.read_text(encoding="utf-8")), path
    assert yaml.safe_load((_ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
