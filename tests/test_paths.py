"""Where the shipped data, the cache and the notebooks lie."""

from pathlib import Path

from rs_course import paths


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
