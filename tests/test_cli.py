"""The command line: help for every command, one sentence for an error, the traceback on request."""

import argparse
import re
import shlex
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import rs_course
from rs_course import cli


def test_importing_the_package_is_light():
    code = (
        "import sys, rs_course.cli, rs_course.plots, rs_course.quiz, rs_course.widgets, rs_course.check\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'pandas', 'sklearn', 'matplotlib', 'IPython'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_each_command_is_there_and_has_help(name, capsys):
    module, _ = cli.COMMANDS[name]
    if find_spec(module) is None:
        pytest.fail(f"rs-course {name} is listed, but {module} does not exist")
    with pytest.raises(SystemExit) as exit_:
        cli.main([name, "--help"])
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    assert f"usage: rs-course {name}" in shown
    assert f"rs-course {name}" in shown.partition("\nexamples:\n  ")[2], "its docstring shows no call"


def test_the_examples_are_calls_that_the_commands_take():
    """Each is read by the parser itself, so that an option that went away would be found."""
    for name, (module, _) in cli.COMMANDS.items():
        parser = argparse.ArgumentParser(prog=f"rs-course {name}")
        cli.describe(parser, name, import_module(module))
        for line in parser.epilog.splitlines()[1:]:
            call = re.split(r" {2,}", line.strip())[0].rpartition(" && ")[2]
            if call.startswith(f"{parser.prog} "):
                parser.parse_args(shlex.split(call)[2:])


def _command(monkeypatch, error):
    import types

    def doctor(_args):
        raise error

    module = types.SimpleNamespace(doctor=doctor, doctor_arguments=lambda parser: None, __doc__="")
    monkeypatch.setattr(cli, "import_module", lambda name: module)


def test_errors_are_one_sentence(monkeypatch, capsys):
    _command(monkeypatch, ValueError("what was wrong; what to do."))
    monkeypatch.delenv("RS_COURSE_TRACEBACK", raising=False)
    assert cli.main(["doctor"]) == 1
    assert capsys.readouterr().err == "rs-course: what was wrong; what to do.\n"
    monkeypatch.setenv("RS_COURSE_TRACEBACK", "1")
    with pytest.raises(ValueError):
        cli.main(["doctor"])


def test_a_missing_library_leads_to_the_set_up(monkeypatch, capsys):
    monkeypatch.delenv("RS_COURSE_TRACEBACK", raising=False)
    _command(monkeypatch, ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert cli.main(["doctor"]) == 1
    assert "torch is not installed here; `python3 -m rs_course.cli setup`" in capsys.readouterr().err
    _command(monkeypatch, ModuleNotFoundError("No module named 'rs_course.x'", name="rs_course.x"))
    with pytest.raises(ModuleNotFoundError):
        cli.main(["doctor"])


def test_interruption_has_its_own_status(monkeypatch, capsys):
    _command(monkeypatch, KeyboardInterrupt())
    assert cli.main(["doctor"]) == 130
    assert "what was finished is kept" in capsys.readouterr().err


def test_unknown_commands_list_the_known_ones(capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["dance"])
    assert exit_.value.code == 2
    assert "doctor" in capsys.readouterr().err


def test_the_module_is_the_command_and_tells_its_version():
    command = [sys.executable, "-m", "rs_course", "--version"]
    assert subprocess.check_output(command, text=True) == f"rs-course {rs_course.__version__}\n"
    declared = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text())
    assert declared["project"]["version"] == rs_course.__version__


def test_the_cache_is_listed_and_cleaned(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RS_COURSE_CACHE", str(tmp_path))
    for name in ("simulated/1/x.npy", "embeddings.sqlite", "embeddings.sqlite-wal", "fetched/eurosat/a.zip",
                 "fetched/rsicd/b.zip", "thesis.txt"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(300_000))

    def left():
        return sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))

    assert cli.main(["cache"]) == 0
    listing = capsys.readouterr().out
    assert "0.6 MB  embeddings.sqlite" in listing and "0.3 MB    fetched/eurosat" in listing
    assert cli.main(["cache", "clean"]) == 0
    assert left() == ["fetched/eurosat/a.zip", "fetched/rsicd/b.zip", "thesis.txt"]
    assert cli.main(["cache", "clean", "fetched/eurosat"]) == 0
    assert left() == ["fetched/rsicd/b.zip", "thesis.txt"]
    capsys.readouterr()
    for wrong in ("thesis.txt", "fetched/../thesis.txt", "/etc"):
        assert cli.main(["cache", "clean", wrong]) == 1
        assert re.search("is no part of the cache|unsafe path", capsys.readouterr().err)
    assert cli.main(["cache", "clean", "fetched/rsicd", "fetched/rsidc"]) == 1
    assert "there is no fetched/rsidc" in capsys.readouterr().err and len(left()) == 2
    assert cli.main(["cache", "list", "fetched"]) == 1 and "takes names" in capsys.readouterr().err
    assert cli.main(["cache", "clean", "fetched"]) == 0 and left() == ["thesis.txt"]
