"""Downloads over a real local HTTP server: complete, resumed, restarted, refused."""

import socket
import subprocess
import sys
import time

import pytest
from file_server import serve

from rs_course import files as module
from rs_course.files import download, read_json

CONTENT = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def server():
    with serve({"big.bin": CONTENT, "list.json": b'{"sha": "abc"}', "text.html": b"<html>"}) as state:
        yield state


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


@pytest.fixture
def closed_port():
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def test_a_whole_file(server, tmp_path):
    target = download(f"{server.url}/big.bin", tmp_path / "a" / "big.bin", size=len(CONTENT))
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["big.bin"]  # no .part, no .etag


def test_a_broken_connection_is_resumed_with_a_range(server, tmp_path):
    server.break_after = [300_000, 200_000]
    assert download(f"{server.url}/big.bin", tmp_path / "big.bin").read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, "bytes=300000-", "bytes=500000-"]


def test_giving_up_keeps_the_part_and_the_next_call_continues(server, tmp_path):
    server.break_after = [100_000, 0, 0, 0]
    with pytest.raises(OSError, match=r"cannot be reached .*what was downloaded so far is kept"):
        download(f"{server.url}/big.bin", tmp_path / "big.bin")
    assert (tmp_path / "big.bin.part").stat().st_size == 100_000 and not (tmp_path / "big.bin").exists()
    download(f"{server.url}/big.bin", tmp_path / "big.bin")
    assert server.requests[-1] == ("big.bin", "bytes=100000-")
    assert (tmp_path / "big.bin").read_bytes() == CONTENT


def test_a_killed_process_loses_nothing(tmp_path):
    with serve({"big.bin": CONTENT}) as server:
        script = (
            "import os; from pathlib import Path; from rs_course import files\n"
            "files._CHUNK = 4096\n"
            "write = open\n"
            "class Killed:\n"
            "    def __init__(self, *a): self.file = write(*a)\n"
            "    def __enter__(self): return self\n"
            "    def __exit__(self, *a): self.file.close()\n"
            "    def write(self, chunk):\n"
            "        self.file.write(chunk); self.file.flush()\n"
            "        if self.file.tell() >= 400_000: os.kill(os.getpid(), 9)\n"
            "files.open = Killed\n"
            f"files.download('{server.url}/big.bin', Path(r'{tmp_path}') / 'big.bin')\n"
        )
        assert subprocess.run([sys.executable, "-c", script], check=False).returncode != 0
        kept = (tmp_path / "big.bin.part").stat().st_size
        assert 400_000 <= kept < len(CONTENT)
        download(f"{server.url}/big.bin", tmp_path / "big.bin")
        assert server.requests[-1] == ("big.bin", f"bytes={kept}-")
    assert (tmp_path / "big.bin").read_bytes() == CONTENT


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.ranges = False
    server.break_after = [300_000]
    assert download(f"{server.url}/big.bin", tmp_path / "big.bin").read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_starts_over(server, tmp_path):
    server.break_after = [300_000, 0, 0, 0]
    with pytest.raises(OSError):
        download(f"{server.url}/big.bin", tmp_path / "big.bin")
    server.files["big.bin"] = CONTENT[::-1]
    assert download(f"{server.url}/big.bin", tmp_path / "big.bin").read_bytes() == CONTENT[::-1]


def test_a_part_that_is_already_complete(server, tmp_path):
    (tmp_path / "big.bin.part").write_bytes(CONTENT)
    assert download(f"{server.url}/big.bin", tmp_path / "big.bin").read_bytes() == CONTENT


def test_another_size_is_refused(server, tmp_path):
    with pytest.raises(ValueError, match=r"has 1,048,576 bytes instead of 5: the source changed"):
        download(f"{server.url}/big.bin", tmp_path / "big.bin", size=5)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_one_sentence(server, tmp_path):
    with pytest.raises(OSError, match=r"none\.bin answers 404 \(Not Found\): check the name or the mirror"):
        download(f"{server.url}/none.bin", tmp_path / "none.bin")
    assert len(server.requests) == 1


def test_offline_is_one_sentence(closed_port, tmp_path):
    with pytest.raises(OSError, match=r"127\.0\.0\.1:\d+ cannot be reached .*--mirror.*--from") as caught:
        download(f"{closed_port}/big.bin", tmp_path / "big.bin")
    assert "\n" not in str(caught.value)


def test_json(server, closed_port):
    assert read_json(f"{server.url}/list.json") == {"sha": "abc"}
    with pytest.raises(OSError, match="not JSON: check the mirror's address"):
        read_json(f"{server.url}/text.html")
    with pytest.raises(OSError, match=r"none\.json answers 404"):
        read_json(f"{server.url}/none.json")
    with pytest.raises(OSError, match="cannot be reached"):
        read_json(f"{closed_port}/list.json")


def test_the_timeout_is_finite():
    assert 0 < module._TIMEOUT < 120
