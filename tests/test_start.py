"""rs-course start: the course's files in a folder of one's own, where nothing that one wrote is lost."""

import sysconfig
from pathlib import Path

from rs_course import cli, paths
from rs_course.commands import student

_ROOT = Path(__file__).resolve().parents[1]


def test_a_folder_gets_every_lesson_and_assignment(tmp_path, capsys):
    assert cli.main(["start", str(tmp_path / "my course")]) == 0
    there = {path.relative_to(tmp_path / "my course").as_posix() for path in tmp_path.rglob("*.ipynb")}
    wanted = {path.relative_to(_ROOT).as_posix() for path in _ROOT.glob("notebooks/[0-9]*.ipynb")}
    wanted |= {path.relative_to(_ROOT).as_posix() for path in _ROOT.glob("assignments/release/*/*.ipynb")}
    assert there == wanted
    first = min(_ROOT.glob("notebooks/[0-9]*.ipynb")).name
    assert f"jupyter lab notebooks/{first}" in capsys.readouterr().out
    assert cli.main(["start", str(tmp_path / "my course")]) == 0
    assert "is up to date" in capsys.readouterr().out


def test_the_commands_that_it_names_work_where_the_environment_is_not_active(tmp_path, monkeypatch, capsys):
    programs = Path(sysconfig.get_path("scripts"))
    for path, shown in ((tmp_path, str(programs / "jupyter")), (programs, "jupyter")):
        monkeypatch.setenv("PATH", str(path))
        assert cli.main(["start", str(tmp_path / "my course")]) == 0
        cd, call = capsys.readouterr().out.splitlines()[-2:]
        assert cd.strip() == f'cd "{tmp_path / "my course"}"'
        assert call.strip().startswith(f"{shown} lab notebooks/")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["start", str(tmp_path / "work")]) == 0
    assert f"  cd {tmp_path / 'work'}\n" in capsys.readouterr().out


def test_an_update_brings_what_is_new_and_keeps_what_was_written(tmp_path):
    files = {name: tmp_path / "course" / name for name in ("a.ipynb", "b.ipynb")}
    (tmp_path / "course").mkdir()
    (tmp_path / "work").mkdir()
    for path in files.values():
        path.write_text("version 1", encoding="utf-8")
    assert student.copy(files, tmp_path / "work") == (2, [])
    (tmp_path / "work" / "b.ipynb").write_text("version 1 and my answers", encoding="utf-8")
    for path in files.values():
        path.write_text("version 2", encoding="utf-8")
    assert student.copy(files, tmp_path / "work") == (1, ["b.ipynb"])
    assert (tmp_path / "work" / "a.ipynb").read_text(encoding="utf-8") == "version 2"
    assert (tmp_path / "work" / "b.ipynb").read_text(encoding="utf-8") == "version 1 and my answers"
    # A file of one's own that happens to have a lesson's name was never the course's.
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.ipynb").write_text("mine", encoding="utf-8")
    assert student.copy(files, tmp_path / "other") == (1, ["a.ipynb"])


def test_a_folder_that_cannot_be_written_gets_one_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    assert cli.main(["start", str(tmp_path / "file")]) == 1
    assert "choose another folder" in capsys.readouterr().err


def test_an_installed_package_has_its_own_copy(tmp_path, monkeypatch):
    inside = tmp_path / "rs_course" / "_course" / "notebooks"
    inside.mkdir(parents=True)
    (inside / "00_a.ipynb").write_text("{}", encoding="utf-8")
    (inside / "conftest.py").write_text("", encoding="utf-8")
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path / "rs_course")
    assert paths.course_files() == {"notebooks/00_a.ipynb": inside / "00_a.ipynb"}


def test_the_calls_that_are_shown_to_researchers_run():
    page = (_ROOT / "docs" / "researchers.md").read_text(encoding="utf-8")
    names = {}
    exec(page.split("```python\n")[1].split("```")[0], names)
    assert tuple(names["tiles"].shape) == (4, 3, 64, 64) and tuple(names["sharp"].shape) == (4, 3, 256, 256)
    assert len(names["ledger"]) > 100
