"""Packages whose names load on first use."""

import importlib
import sys

import pytest


def test_names_and_submodules_load_when_they_are_asked_for(tmp_path, monkeypatch):
    package = tmp_path / "sleepy"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from rs_course import lazy\n"
        "__getattr__, __dir__ = lazy.attach(__name__, {'answer': 'deep'}, ('deep', 'other'))\n"
    )
    (package / "deep.py").write_text("answer = 42\n")
    (package / "other.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    sleepy = importlib.import_module("sleepy")
    assert "sleepy.deep" not in sys.modules
    assert {"answer", "deep", "other"} <= set(dir(sleepy))
    assert sleepy.answer == 42
    assert "sleepy.deep" in sys.modules and "sleepy.other" not in sys.modules
    assert sleepy.other.__name__ == "sleepy.other"
    with pytest.raises(AttributeError, match="module 'sleepy' has no attribute 'nothing'"):
        sleepy.nothing  # noqa: B018
