"""The three descriptions of the environment agree: pyproject.toml, constraints.txt, environment.yml."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rs_course.commands import setup

_ROOT = Path(__file__).resolve().parents[1]
_PINS = {canonicalize_name(name): version for name, version in setup.pins(_ROOT / "constraints.txt").items()}
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
_ALWAYS = set(_PROJECT["optional-dependencies"]) - set(setup.ON_REQUEST)
_CONDA = yaml.safe_load((_ROOT / "environment.yml").read_text())["dependencies"]


def test_each_requirement_is_pinned():
    wanted = [_PROJECT["dependencies"], *_PROJECT["optional-dependencies"].values()]
    names = {canonicalize_name(Requirement(line).name) for lines in wanted for line in lines}
    assert names - set(_PINS) == set()


def test_conda_takes_the_same_versions():
    different_names = {"pytorch-cpu": "torch"}
    for line in _CONDA:
        if isinstance(line, str) and not line.startswith(("python=", "pip")):
            name, version = line.split("=")
            assert _PINS[canonicalize_name(different_names.get(name, name))] == version


def test_conda_installs_the_rest_from_the_same_constraints():
    (pip,) = [line["pip"] for line in _CONDA if isinstance(line, dict)]
    (editable,) = [line for line in pip if line.startswith("-e")]
    extras = re.search(r"\[(.*)\]", editable)[1].split(",")
    assert set(extras) == _ALWAYS
    assert "-c constraints.txt" in pip


def test_setup_installs_all_extras_but_those_on_request():
    assert set(setup.EXTRAS) == _ALWAYS
    assert set(_PROJECT["optional-dependencies"]) >= set(setup.ON_REQUEST)
