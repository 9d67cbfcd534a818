"""The registry's facts: complete, honest about what is unknown, and told in a table."""

import re

import pytest

from rs_course import cli, datasets, registry
from rs_course.files import sha256


def test_every_entry_is_complete():
    for entry in registry.entries().values():
        assert entry.kind in registry.KINDS and entry.licence and entry.citation and entry.homepage
        assert entry.files or entry.hub
        for file in entry.files:
            assert file.url or entry.manual_download, file
            assert file.url is None or file.url.startswith("https://")
            assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
            assert (file.sha256 and file.bytes) or file.unknown, f"{file.path}: say why a fact is missing"
        if entry.hub and entry.hub["revision"] is None:
            assert entry.hub["unknown"]


def test_the_promised_names_are_there():
    assert registry.names("dataset") == ["eurosat", "resisc45", "ucm-captions", "rsicd"]
    assert {"diffusionsat-256", "diffusionsat-512", "text2earth", "text2earth-inpainting", "crsdiff"} <= set(
        registry.names("checkpoint")
    )
    assert {"git-rsclip", "remoteclip-vit-b-32", "openclip-vit-b-32", "dsclora"} <= set(registry.names())


def test_memory_follows_from_the_parameters():
    assert registry.get("crsdiff").memory == pytest.approx(3.1e9, rel=0.02)  # 16-bit weights


def test_every_network_tells_its_memory_and_it_fits_the_size_of_its_files():
    """A published file of weights alone holds two or four bytes for each parameter."""
    for entry in registry.entries().values():
        assert (entry.memory is None) == (entry.kind == "dataset"), entry.name
        if entry.kind == "scorer" and entry.size:
            assert entry.size / entry.memory == pytest.approx(round(entry.size / entry.memory), rel=0.01)


def test_the_two_shared_subsets_are_known_by_their_hash(shared):
    for file, name in (("eurosat.tar", "eurosat"), ("ucm_png.tar", "ucm-captions")):
        assert registry.identify(sha256(shared / "data" / file)).name == name


def test_unknown_names():
    with pytest.raises(ValueError, match="nothing named 'eurosatt' to fetch: use one of eurosat, resisc45"):
        registry.get("eurosatt")


def test_real_table_fits_a_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RS_COURSE_CACHE", str(tmp_path))
    assert cli.main(["fetch", "--list"]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in registry.names())
    assert max(len(line) for line in table.splitlines()[:-1]) <= 100


def test_a_data_set_that_was_not_fetched_says_how(tmp_path, monkeypatch):
    monkeypatch.setenv("RS_COURSE_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"RSICD is not on this machine: run 'rs-course fetch rsicd'"):
        datasets.load("rsicd")
