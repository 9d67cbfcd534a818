"""Where the shipped data, the cache and the notebooks lie."""

from pathlib import Path

import pytest

from rs_course import files, paths


def test_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("RS_COURSE_CACHE", str(tmp_path / "here"))
    assert paths.cache_dir() == tmp_path / "here"
    assert not paths.cache_dir().exists()
    monkeypatch.setenv("RS_COURSE_CACHE", "~/there")
    assert paths.cache_dir() == Path.home() / "there"
    monkeypatch.delenv("RS_COURSE_CACHE")
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert paths.cache_dir() == tmp_path / "rs_course"


def test_an_installed_package_uses_its_own_data(monkeypatch, tmp_path):
    assert paths.data_dir() == Path(__file__).resolve().parents[1] / "data"
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path / "rs_course")
    (tmp_path / "rs_course" / "_data").mkdir(parents=True)
    assert paths.data_dir() == tmp_path / "rs_course" / "_data"
    assert paths.notebooks_dir() == Path("notebooks")


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    files.write_json(tmp_path / "new" / "a.json", {"a": 1})
    assert (tmp_path / "new" / "a.json").read_text(encoding="utf-8") == '{\n "a": 1\n}\n'
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "new" / "a.json", {"a": object()})
    with pytest.raises(ZeroDivisionError), files.atomic_write(tmp_path / "new" / "a.json") as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.json"]
    assert (tmp_path / "new" / "a.json").read_text(encoding="utf-8").startswith('{\n "a": 1')


@pytest.mark.parametrize(
    "start", [b"version https://git-lfs.github.com", b"\n <!DOCTYPE html>", b"<?xml version"]
)
def test_what_stands_in_for_a_file_is_refused(tmp_path, start):
    (tmp_path / "w.bin").write_bytes(start)
    with pytest.raises(ValueError, match=r"is a (web page|Git LFS pointer), not the weights: "):
        files.refuse_text(tmp_path / "w.bin", "the weights")
    # A sound safetensors file may begin with a length that looks like white space and a bracket.
    (tmp_path / "w.bin").write_bytes((0x3C20).to_bytes(8, "little") + b"{}")
    files.refuse_text(tmp_path / "w.bin")
