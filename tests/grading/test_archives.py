"""Zips that unpack to gigabytes or hold a million files cost neither memory nor a classmate's submission."""

import io
import random
import resource
import subprocess
import sys
import zipfile

import pytest

from rs_course.grading import handed_in

from .conftest import ANSWERS, as_bytes, notebook

MB = 2**20


def _zip(files, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return buffer.getvalue()


def _bomb(count, size=40 * MB):
    """A zip of ``count`` notebooks that shrink to a hundredth, each below every limit of its own."""
    noise = random.Random(0)
    data = b"".join(noise.randbytes(2048) + bytes(200 * 1024 - 2048) for _ in range(size // (200 * 1024)))
    return _zip({f"{n}.ipynb": data for n in range(count)})


@pytest.fixture(scope="module")
def bombs():
    return _bomb(20)


def test_the_limit_counts_zips_in_zips_together(bombs):
    """Two zips of one student unpack to 1.6 GB: six files of the first are read, the second not opened."""
    assert len(bombs) < 15 * MB
    source = _zip({"eve_1/a.zip": bombs, "eve_1/b.zip": bombs, "ana_2/a.ipynb": as_bytes(notebook(ANSWERS))})
    read, refused, honest = 0, [], None
    for member in handed_in.members(source):
        if member.name.startswith("ana"):
            honest = member.data
        elif isinstance(member.data, bytes):
            read += len(member.data)
        else:
            refused.append(str(member.data))
    assert read <= handed_in.MAX_STUDENT_BYTES and len(refused) == 15
    assert "more than 256 MB were handed in, unpacked" in refused[0]
    assert honest == as_bytes(notebook(ANSWERS))


def test_a_class_with_a_bomb_is_collected_in_little_memory(bombs, tmp_path):
    files = {f"s{n}_assignsubmission_file_/a.ipynb": as_bytes(notebook(ANSWERS)) for n in range(5)}
    (tmp_path / "class.zip").write_bytes(_zip({**files, "eve_assignsubmission_file_/a.zip": bombs}))
    code = (
        "import re, sys\nfrom pathlib import Path\nfrom rs_course.grading import intake\n"
        "found = intake.collect(sys.argv[1], 'tiny', [])\n"
        "print(sum(isinstance(s.data, bytes) and b'double' in s.data for s in found))\n"
        # not ru_maxrss, which begins with the size of the process that started this one
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "class.zip")], capture_output=True, text=True, check=True
    )
    honest, memory_mb = map(int, done.stdout.split())
    assert honest == 5 and memory_mb < 500


def test_a_million_empty_files_are_not_even_listed():
    directory = handed_in._ENTRY + bytes(42)
    source = _zip({"a.ipynb": b"{}"})
    source = source[: source.index(handed_in._ENTRY)] + directory * 1_000_000 + source[-22:]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="holds about 1000000 files"):
        list(handed_in.members(source))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


def test_methods_that_ask_for_gigabytes_are_refused():
    (member,) = handed_in.members(_zip({"a.ipynb": b"x" * 1000}, zipfile.ZIP_LZMA))
    assert "unusual method" in str(member.data)
