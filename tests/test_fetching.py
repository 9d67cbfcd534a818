"""Fetching from a local server: verified, resumed, by hand, from a mirror, offline."""

import hashlib
import io
import json
import queue
import re
import shutil
import socket
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from file_server import serve

from rs_course import cli, fetching, paths, registry
from rs_course.commands import machine


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


A, B, WEIGHTS = b"first file" * 1000, b"second file" * 1000, zipped({"model/unet/config.json": b"{}"})


@pytest.fixture
def small_registry(tmp_path, monkeypatch):
    """Four entries, one of each way to get a file, in a registry of their own."""
    common = {
        "kind": "checkpoint",
        "title": "T",
        "what": "w",
        "licence": "l",
        "citation": "c",
        "homepage": "h",
    }
    entries = {
        "pinned": {
            **common,
            "title": "Pinned",
            "files": [
                {"path": "a.bin", "url": None, "bytes": len(A), "sha256": sha(A)},
                {"path": "sub/b.bin", "url": None, "bytes": None, "sha256": None, "unknown": "not published"},
            ],
            "alternatives": [{"path": "small.bin", "bytes": 4, "sha256": sha(b"tiny"), "what": "subset"}],
        },
        "archive": {
            **common,
            "title": "Archive",
            "files": [{"path": "w.zip", "url": None, "bytes": None, "sha256": sha(WEIGHTS), "unpack": True}],
        },
        "listed": {
            **common,
            "title": "Listed",
            "hub": {"repo": "someone/model", "revision": None, "only": ["*.json", "unet/*.bin"]},
        },
        "hashed": {
            **common,
            "title": "Hashed",
            "hub": {"repo": "someone/b", "revision": "c0", "only": ["*.bin"], "sha256": {"w.bin": sha(A)}},
        },
        "unpinned-archive": {
            **common,
            "files": [{"path": "w.tar", "url": None, "bytes": None, "sha256": None, "unpack": True}],
        },
        "drive": {
            **common,
            "title": "Drive",
            "beside": {"only": ["words/*", "*.yaml"], "what": "a folder words"},
            "manual_download": {"page": "https://drive.example/file", "why": "a browser is needed"},
            "files": [{"path": "last.ckpt", "url": None, "bytes": None, "sha256": None}],
        },
    }
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "registry.json").write_text(json.dumps({"entries": entries}))
    monkeypatch.setattr(paths, "data_dir", lambda: tmp_path / "data")
    monkeypatch.setenv("RS_COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RS_COURSE_MIRROR", raising=False)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    registry.entries.cache_clear()
    yield tmp_path / "cache" / "fetched"
    registry.entries.cache_clear()


@pytest.fixture
def mirror():
    with serve({"pinned/a.bin": A, "pinned/sub/b.bin": B, "archive/w.zip": WEIGHTS}) as server:
        yield server


# Fetching


def test_fetch_verifies_records_and_is_idempotent(small_registry, mirror):
    said = []
    files = fetching.fetch("pinned", mirror=mirror.url, progress=said.append)
    assert [file.read_bytes() for file in files] == [A, B]
    receipt = registry.get("pinned").receipt()
    assert receipt["sub/b.bin"] == {
        "bytes": len(B),
        "sha256": sha(B),
        "from": f"{mirror.url}/pinned/sub/b.bin",
    }
    assert any(f"recorded SHA-256 {sha(B)} on this first use" in line for line in said)
    asked = len(mirror.requests)
    (small_registry / "pinned" / ".fetch.lock").unlink(missing_ok=True)
    assert fetching.fetch("pinned", mirror=mirror.url, progress=said.append) == files
    assert len(mirror.requests) == asked and "already" in said[-1]
    assert not (small_registry / "pinned" / ".fetch.lock").exists()  # nothing is written for it


def test_an_interrupted_fetch_goes_on(small_registry, mirror):
    mirror.break_after = [10**6, 4000, 0, 0, 0]  # a.bin complete, b.bin broken for good
    with pytest.raises(OSError, match="what was downloaded so far is kept"):
        fetching.fetch("pinned", mirror=mirror.url, progress=lambda line: None)
    assert not registry.get("pinned").local_files()
    fetching.fetch("pinned", mirror=mirror.url, progress=lambda line: None)
    assert mirror.requests[-1] == ("pinned/sub/b.bin", "bytes=4000-")
    assert [path for path, _ in mirror.requests].count("pinned/a.bin") == 1


def test_a_wrong_hash_is_removed_and_named(small_registry, mirror):
    mirror.files["pinned/a.bin"] = A[:-1] + b"!"
    with pytest.raises(
        ValueError, match=r"a\.bin of Pinned has the SHA-256 .*… instead of .*…: it was removed"
    ):
        fetching.fetch("pinned", mirror=mirror.url)
    assert not (small_registry / "pinned" / "a.bin").exists()


def test_trust_on_first_use_holds_the_second_time(small_registry, mirror):
    fetching.fetch("pinned", mirror=mirror.url, progress=lambda line: None)
    (small_registry / "pinned" / "sub" / "b.bin").unlink()
    mirror.files["pinned/sub/b.bin"] = B[::-1]
    with pytest.raises(ValueError, match=r"sub/b\.bin of Pinned has the SHA-256"):
        fetching.fetch("pinned", mirror=mirror.url, progress=lambda line: None)


def test_an_archive_is_unpacked_and_removed(small_registry, mirror):
    (root,) = fetching.fetch("archive", mirror=mirror.url)
    assert root == small_registry / "archive" / "model"  # the archive's own folder is stepped into
    assert (root / "unet" / "config.json").read_text() == "{}"
    assert not (small_registry / "archive" / "w.zip").exists()


def test_an_interrupted_unpacking_is_done_again(small_registry, mirror, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(fetching, "unpack", lambda archive, folder: 1 / 0)
        fetching.fetch("archive", mirror=mirror.url)
    assert not registry.get("archive").local_files()
    asked = len(mirror.requests)
    fetching.fetch("archive", mirror=mirror.url, progress=lambda line: None)
    assert (small_registry / "archive" / "model" / "unet" / "config.json").exists()
    assert len(mirror.requests) == asked  # the verified archive was still there


def test_an_archive_that_climbs_out_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "evil.zip").write_bytes(zipped({"../evil.txt": b"x"}))
    with pytest.raises(ValueError, match="unsafe path"):
        fetching.unpack(tmp_path / "in" / "evil.zip", tmp_path / "in")
    assert not (tmp_path / "evil.txt").exists()


def test_the_hubs_listing_gives_commit_and_hashes(small_registry, monkeypatch):
    tree = [
        {"type": "directory", "path": "unet"},
        {"type": "file", "path": "model_index.json", "size": 2},
        {"type": "file", "path": "unet/weights.bin", "size": len(A), "lfs": {"oid": sha(A), "size": len(A)}},
        {"type": "file", "path": "picture.png", "size": 10},
    ]
    files = {
        "api/models/someone/model": json.dumps({"sha": "c0ffee"}).encode(),
        "api/models/someone/model/tree/c0ffee?recursive=true": json.dumps(tree).encode(),
        "someone/model/resolve/c0ffee/model_index.json": b"{}",
        "someone/model/resolve/c0ffee/unet/weights.bin": A,
    }
    with serve(files) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        fetched = fetching.fetch("listed", progress=lambda line: None)
        assert [file.name for file in fetched] == ["model_index.json", "weights.bin"]
        assert "c0ffee" in registry.get("listed").receipt()["unet/weights.bin"]["from"]
        shutil.rmtree(small_registry / "listed")
        files["someone/model/resolve/c0ffee/unet/weights.bin"] = A[:-1] + b"!"
        with pytest.raises(ValueError, match=r"unet/weights\.bin of Listed has the SHA-256"):
            fetching.fetch("listed", progress=lambda line: None)


def test_an_interrupted_hub_fetch_is_not_complete_and_keeps_its_commit(small_registry, monkeypatch):
    tree = [{"type": "file", "path": name, "size": 2} for name in ("a.json", "b.json")]
    files = {
        "api/models/someone/model": json.dumps({"sha": "first"}).encode(),
        "api/models/someone/model/tree/first?recursive=true": json.dumps(tree).encode(),
        "someone/model/resolve/first/a.json": b"{}",
    }
    with serve(files) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(OSError, match=r"b\.json answers 404"):
            fetching.fetch("listed", progress=lambda line: None)
        assert not registry.get("listed").local_files()
        files["api/models/someone/model"] = json.dumps({"sha": "second"}).encode()
        files["someone/model/resolve/first/b.json"] = b"{}"
        assert len(fetching.fetch("listed", progress=lambda line: None)) == 2


def test_a_fetched_folder_is_a_mirror(small_registry, tmp_path, monkeypatch):
    with serve({"listed/receipt.json": b"", "listed/unet/w.bin": A}) as server:
        row = {"unet/w.bin": {"bytes": len(A), "sha256": sha(A), "from": "x"}}
        server.files["listed/receipt.json"] = json.dumps(row).encode()
        monkeypatch.setenv("RS_COURSE_MIRROR", server.url + "/")
        assert fetching.fetch("listed")[0].read_bytes() == A


def test_a_mirror_that_has_only_the_subset(small_registry):
    row = {"small.bin": {"bytes": 4, "sha256": sha(b"tiny"), "from": "x"}}
    files = {"pinned/receipt.json": json.dumps(row).encode(), "pinned/small.bin": b"tiny"}
    with serve(files) as server:
        fetched = fetching.fetch("pinned", mirror=server.url, progress=lambda line: None)
    assert fetched == [small_registry / "pinned" / "small.bin"]


def test_too_little_disk_space(small_registry, mirror, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 99, 1))
    with pytest.raises(
        OSError, match=r"Pinned needs 10 kB in .*, 1 B are free: make room or set RS_COURSE_CACHE"
    ):
        fetching.fetch("pinned", mirror=mirror.url)
    assert not any(path.endswith(".bin") for path, _ in mirror.requests)


def test_offline_names_mirror_and_from(small_registry):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(OSError, match=r"cannot be reached .*--mirror.*--from"):
        fetching.fetch("pinned", mirror=address)


# A list of files that somebody else wrote


def receipt(**files) -> bytes:
    rows = {path: {"bytes": len(content), "sha256": sha(content)} for path, content in files.items()}
    return json.dumps(rows).encode()


@pytest.mark.parametrize("path", ["../../../outside.json", "/outside.json", "..\\outside.json", "C:/o.json"])
def test_a_mirror_cannot_write_outside_the_cache(small_registry, tmp_path, path):
    files = {"listed/receipt.json": receipt(**{path: A}), f"listed/{path}": A}
    unsafe = pytest.raises(ValueError, match=r"is no list of fetched files .*unsafe path")
    with serve(files) as server, unsafe:
        fetching.fetch("listed", mirror=server.url)
    assert not list(tmp_path.rglob("*outside.json")) and not registry.get("listed").local_files()


def test_a_mirror_cannot_replace_what_the_registry_writes_there_or_add_files(small_registry):
    unsafe = pytest.raises(ValueError, match=r"unsafe path 'receipt\.json'")
    with serve({"listed/receipt.json": receipt(**{"receipt.json": A})}) as server, unsafe:
        fetching.fetch("listed", mirror=server.url)
    files = {"listed/receipt.json": receipt(**{"run.py": A, "a.json": B}), "listed/a.json": B}
    with serve(files) as server:
        fetched = fetching.fetch("listed", mirror=server.url, progress=lambda line: None)
    assert [path.name for path in fetched] == ["a.json"]


def test_a_pinned_hash_wins_over_a_mirrors_receipt(small_registry):
    files = {"hashed/receipt.json": receipt(**{"w.bin": B}), "hashed/w.bin": B}
    with serve(files) as server:
        with pytest.raises(ValueError, match=r"w\.bin of Hashed has the SHA-256 .*: it was removed"):
            fetching.fetch("hashed", mirror=server.url, progress=lambda line: None)
        assert not (small_registry / "hashed" / "w.bin").exists()
        files["hashed/receipt.json"], files["hashed/w.bin"] = b"{}", A
        assert len(fetching.fetch("hashed", mirror=server.url, progress=lambda line: None)) == 1


def test_a_receipt_with_another_hash_than_the_registrys_verifies_nothing(small_registry):
    folder = small_registry / "pinned"
    folder.mkdir(parents=True)
    (folder / "a.bin").write_bytes(A[::-1])
    (folder / "receipt.json").write_bytes(receipt(**{"a.bin": A[::-1]}))
    assert not registry.get("pinned").verified(registry.get("pinned").files[0])


def test_a_hub_that_answers_in_another_form(small_registry, monkeypatch):
    with serve({"api/models/someone/model": b"[]"}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(OSError, match="answers in a form that is not the hub's"):
            fetching.fetch("listed")


@pytest.mark.parametrize(("entry", "name"), [("pinned", "receipt.json"), ("listed", "listing.json")])
def test_a_damaged_list_in_the_cache_is_named(small_registry, entry, name):
    (small_registry / entry).mkdir(parents=True)
    (small_registry / entry / name).write_text("{")
    with pytest.raises(ValueError, match=rf"{name} is damaged: delete it"):
        fetching.fetch(entry, mirror="http://127.0.0.1:9", progress=lambda line: None)
    assert re.search(rf"{entry} +damaged", machine.table())
    told = {row[0]: row for row in machine._cached(None)}
    assert told[entry][1] == "its list of files is damaged" and name in told[entry][2]
    assert told["not here"][2] is None


def test_a_mirror_that_is_a_folder_leads_to_from(small_registry, tmp_path):
    with pytest.raises(ValueError, match=r"begins with http:// .*--from"):
        fetching.fetch("pinned", mirror=str(tmp_path))


def test_a_page_in_place_of_a_file_without_a_hash_is_not_trusted(small_registry, mirror):
    mirror.files["pinned/sub/b.bin"] = b"\n<!DOCTYPE html><title>Sign in</title>"
    with pytest.raises(ValueError, match=r"is a web page, not the file: .* it was removed"):
        fetching.fetch("pinned", mirror=mirror.url, progress=lambda line: None)
    mirror.files["pinned/sub/b.bin"] = B
    assert fetching.fetch("pinned", mirror=mirror.url, progress=lambda line: None)


def test_an_archive_that_cannot_be_unpacked_is_not_recorded(small_registry, tmp_path):
    (tmp_path / "w.tar").write_bytes(b"no archive")
    for _ in range(2):  # the second time, no recorded hash stands in the way
        with pytest.raises(ValueError, match="w\\.tar was not taken over"):
            fetching.fetch("unpinned-archive", source=tmp_path / "w.tar", progress=lambda line: None)
    (tmp_path / "w.tar").write_bytes(WEIGHTS)
    assert fetching.fetch("unpinned-archive", source=tmp_path / "w.tar", progress=lambda line: None)
    assert (tmp_path / "w.tar").exists()  # it is the user's


def test_an_archive_with_a_damaged_member_is_kept_and_named(small_registry, tmp_path):
    damaged = bytearray(WEIGHTS)
    damaged[WEIGHTS.index(b"{}")] ^= 1
    (tmp_path / "w.tar").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"w\.tar is damaged at model/unet/config\.json \(Bad CRC"):
        fetching.fetch("unpinned-archive", source=tmp_path / "w.tar", progress=lambda line: None)
    assert (tmp_path / "w.tar").exists() and not registry.get("unpinned-archive").local_files()


def test_two_processes_note_their_files_in_one_receipt(small_registry):
    entry = registry.get("pinned")
    files = [registry.File(f"{k}.bin") for k in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda file: entry.record(file, sha(A), 1, "here"), files))
    assert set(entry.receipt()) == {file.path for file in files}


def test_two_fetches_of_one_thing_wait_for_each_other(small_registry, mirror):
    said = queue.Queue()
    with ThreadPoolExecutor(1) as pool:
        with fetching._alone(registry.get("pinned"), said.put):
            second = pool.submit(fetching.fetch, "pinned", mirror=mirror.url, progress=said.put)
            assert said.get(timeout=60) == "Another process is fetching Pinned: waiting for it."
            assert not second.done() and not mirror.requests
        assert len(second.result(timeout=60)) == 2


# By hand


def test_a_file_brought_by_hand_is_recognised_by_its_content(small_registry, tmp_path):
    (tmp_path / "renamed").write_bytes(A)
    said = []
    assert fetching.fetch("pinned", source=tmp_path / "renamed", progress=said.append) == []
    assert said[-1] == "Still missing for Pinned: sub/b.bin."
    (tmp_path / "x.bin").write_bytes(b"tiny")
    fetching.fetch("pinned", source=tmp_path / "x.bin", progress=said.append)
    assert registry.require("pinned") == [small_registry / "pinned" / "small.bin"]
    assert registry.get("pinned").fallback().what == "subset"


def test_the_whole_can_be_fetched_where_a_subset_is(small_registry, mirror, tmp_path):
    (tmp_path / "x.bin").write_bytes(b"tiny")
    fetching.fetch("pinned", source=tmp_path / "x.bin", progress=lambda line: None)
    assert len(fetching.fetch("pinned", mirror=mirror.url, progress=lambda line: None)) == 2
    assert registry.get("pinned").fallback() is None


def test_a_file_without_published_hash_is_recognised_by_name(small_registry, tmp_path):
    (tmp_path / "last.ckpt").write_bytes(B)
    said = []
    assert fetching.fetch("drive", source=tmp_path / "last.ckpt", progress=said.append)[0].read_bytes() == B
    assert any("recorded SHA-256" in line for line in said)


def test_what_goes_along_with_a_file_is_taken_and_its_absence_told(small_registry, tmp_path):
    (tmp_path / "usb" / "words").mkdir(parents=True)
    (tmp_path / "usb" / "last.ckpt").write_bytes(B)
    said = []
    fetching.fetch("drive", source=tmp_path / "usb" / "last.ckpt", progress=said.append)
    assert said[-1] == "Drive also needs a folder words."
    (tmp_path / "usb" / "words" / "vocab.json").write_text("{}")
    (tmp_path / "usb" / "notes.txt").write_text("not wanted")
    fetching.fetch("drive", source=tmp_path / "usb", progress=said.append)
    assert (small_registry / "drive" / "words" / "vocab.json").exists()
    assert not (small_registry / "drive" / "notes.txt").exists()
    assert "also needs" not in said[-1]
    with pytest.raises(ValueError, match=r"is not a file of Drive, which wants last\.ckpt"):
        fetching.fetch("drive", source=tmp_path / "usb" / "words")


def test_another_file_does_not_cost_the_one_that_is_here(small_registry, tmp_path):
    (tmp_path / "last.ckpt").write_bytes(B)
    fetching.fetch("drive", source=tmp_path / "last.ckpt", progress=lambda line: None)
    (tmp_path / "last.ckpt").write_bytes(A)
    with pytest.raises(ValueError, match=r"not taken over: .*, recorded on its first use"):
        fetching.fetch("drive", source=tmp_path / "last.ckpt", progress=lambda line: None)
    assert [file.read_bytes() for file in registry.require("drive")] == [B]
    assert (tmp_path / "last.ckpt").exists()


def test_pointers_of_git_lfs_are_not_taken_over(small_registry, tmp_path):
    (tmp_path / "last.ckpt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    with pytest.raises(ValueError, match="is a Git LFS pointer, not the file: run `git lfs pull`"):
        fetching.fetch("drive", source=tmp_path / "last.ckpt", progress=lambda line: None)


def test_a_repository_brought_in_two_parts(small_registry, tmp_path):
    for part, name in (("one", "a.json"), ("two", "b.json")):
        (tmp_path / part).mkdir()
        (tmp_path / part / name).write_text("{}")
        (tmp_path / part / "receipt.json").write_text("{}")  # of another cache
        fetching.fetch("listed", source=tmp_path / part, progress=lambda line: None)
    assert [path.name for path in registry.require("listed")] == ["a.json", "b.json"]
    (tmp_path / "w.bin").write_bytes(B)
    with pytest.raises(ValueError, match=r"w\.bin of Hashed has the SHA-256"):  # pinned, however it comes
        fetching.fetch("hashed", source=tmp_path / "w.bin", progress=lambda line: None)


def test_a_folder_brought_by_hand(small_registry, tmp_path):
    (tmp_path / "usb" / "unet").mkdir(parents=True)
    (tmp_path / "usb" / "unet" / "w.bin").write_bytes(A)
    (tmp_path / "usb" / "notes.txt").write_text("not wanted")
    assert fetching.fetch("listed", source=tmp_path / "usb", progress=lambda line: None) == [
        small_registry / "listed" / "unet" / "w.bin"
    ]


def test_the_wrong_file_is_refused(small_registry, tmp_path):
    (tmp_path / "a.bin").write_bytes(b"something else")
    with pytest.raises(
        ValueError, match=r"a\.bin is not a file of Pinned, which wants a\.bin, sub/b\.bin, small"
    ):
        fetching.fetch("pinned", source=tmp_path / "a.bin")
    with pytest.raises(FileNotFoundError, match="There is no file or folder"):
        fetching.fetch("pinned", source=tmp_path / "missing.bin")


def test_files_put_into_the_folder_are_verified_when_first_used(small_registry):
    folder = small_registry / "pinned"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.bin").write_bytes(A)
    (folder / "sub" / "b.bin").write_bytes(B)
    assert registry.require("pinned") == [folder / "a.bin", folder / "sub" / "b.bin"]
    assert registry.get("pinned").receipt()["a.bin"]["from"] == "put into the folder by hand"
    (folder / "receipt.json").unlink()
    (folder / "a.bin").write_bytes(A[::-1])
    with pytest.raises(ValueError, match=r"a\.bin of Pinned has the SHA-256"):
        registry.require("pinned")


def test_absent_names_the_command_and_the_folder(small_registry):
    with pytest.raises(FileNotFoundError) as caught:
        registry.require("pinned")
    assert str(caught.value) == (
        "Pinned is not on this machine: run 'rs-course fetch pinned', or put a.bin, sub/b.bin into "
        f"{small_registry / 'pinned'}."
    )
    with pytest.raises(
        FileNotFoundError, match="'rs-course fetch listed --from FOLDER' to copy someone/model"
    ):
        registry.require("listed")


def test_by_hand_only_entries_say_where(small_registry):
    with pytest.raises(
        OSError, match=r"a browser is needed.*https://drive\.example/file.*fetch drive --from FILE"
    ):
        fetching.fetch("drive")


# The command


def test_command_lists_and_fetches(small_registry, mirror, capsys):
    assert cli.main(["fetch", "pinned", "--mirror", mirror.url]) == 0
    assert "Please cite: c." in capsys.readouterr().out
    assert cli.main(["fetch", "--list"]) == 0
    listed = capsys.readouterr().out
    assert re.search(r"pinned +yes", listed) and re.search(r"archive +no", listed)
    assert cli.main(["fetch", "nothing"]) == 1
    assert cli.main(["fetch"]) == 1
    assert "Traceback" not in capsys.readouterr().err
