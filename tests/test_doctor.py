"""rs-course doctor: status 1 exactly when something needed is missing, with the command that mends it."""

import argparse

import pytest

from rs_course import cli
from rs_course.commands import machine


def _sections(monkeypatch, *rows):
    def section(_args):
        """Section"""
        yield from rows

    for name in ("_versions", "_machine", "_shipped", "_cached", "_optional"):
        monkeypatch.setattr(machine, name, section)


def test_status_says_whether_something_is_missing(monkeypatch, capsys):
    _sections(monkeypatch, ("torch", "2.13.0", None))
    assert cli.main(["doctor"]) == 0
    assert "nothing that is needed is missing" in capsys.readouterr().out
    _sections(monkeypatch, ("torch", "not installed", "do this"))
    assert cli.main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "MISSING torch" in out
    assert "mend: do this" in out


def test_reports_this_machine(capsys):
    cli.main(["doctor"])
    out = capsys.readouterr().out
    for word in ("python", "torch", "memory", "GiB free", "device", "cache", "chromium"):
        assert word in out


def test_pins_are_compared(monkeypatch):
    monkeypatch.setattr(machine, "version", lambda name: "0.0.1+cpu")
    rows = {name: (state, remedy) for name, state, remedy in machine._versions(None)}
    state, remedy = rows["pins"]
    assert "torch 0.0.1 instead of" in state
    assert "setup" in remedy


def test_local_labels_do_not_count_as_another_version(monkeypatch):
    monkeypatch.setattr(machine, "version", lambda name: "2.13.0+cpu")
    assert machine._installed("torch") == "2.13.0"


def test_little_memory_or_disk_is_named(monkeypatch):
    monkeypatch.setattr(machine, "_MEMORY_BYTES", 2**60)
    monkeypatch.setattr(machine, "_DISK_BYTES", 2**60)
    rows = {name: remedy for name, _, remedy in machine._machine(argparse.Namespace(full=False))}
    assert "4 GiB or more" in rows["memory"]
    assert "free some space" in rows["disk"]


def test_cached_data_is_listed(tmp_path, monkeypatch):
    from rs_course import registry

    monkeypatch.setenv("RS_COURSE_CACHE", str(tmp_path))
    names = [name for name, _, _ in machine._cached(None)]
    assert names == ["not here", "cache"]
    entry = registry.get("crsdiff")
    entry.folder.mkdir(parents=True)
    for file in entry.files:
        (entry.folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        (entry.folder / file.path).write_bytes(bytes(2_000_000))
    rows = {name: (state, remedy) for name, state, remedy in machine._cached(None)}
    assert rows["crsdiff"] == (entry.title, None)
    assert rows["not here"][0].startswith(f"{len(registry.names()) - 1} ")
    assert str(tmp_path) in rows["cache"][0]


def test_full_needs_a_gpu(monkeypatch):
    import torch

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("this machine has a GPU")
    monkeypatch.setattr("rs_course.commands.setup.gpu_present", lambda: False)
    assert machine._device(gpu_needed=False) == ("cpu", None)
    assert "GPU" in machine._device(gpu_needed=True)[1]
    monkeypatch.setattr("rs_course.commands.setup.gpu_present", lambda: True)
    assert "--force" in machine._device(gpu_needed=False)[1]
