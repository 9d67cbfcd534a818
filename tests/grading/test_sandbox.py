"""Between two submissions in one warm sandbox nothing passes, and nothing of this machine is in sight."""

import os
from pathlib import Path

import pytest

from rs_course.grading.sandbox import Limits, Sandbox

_WRITABLE = """
import os
writable = []
for root, folders, files in os.walk("/"):
    if root.startswith(("/proc", "/sys")) or root.count("/") > 6:
        folders.clear()
        continue
    try:
        open(os.path.join(root, "message"), "w").close()
        writable.append(root)
    except OSError:
        pass
"""
LIMITS = Limits(step_s=30, wall_s=120, memory_mb=400, disk_mb=16)


def _value(place, code, call, limits=LIMITS):
    job = {
        "cells": [{"id": "cell", "source": code}],
        "probes": [{"id": "probe", "group": "probe", "call": call, "inputs": {}}],
    }
    outcome = place.run(job, limits)
    (event,) = [event for event in outcome.events if event.get("probe") == "probe"]
    assert "value" in event, event
    return event["value"]


def test_only_what_vanishes_is_writable(place):
    assert set(_value(place, _WRITABLE, "sorted(writable)")) <= {"/tmp", "/tmp/home", "/dev/shm"}


def test_next_submission_finds_nothing(place):
    leave = (
        "import os\nfor place in ('/tmp', '/dev/shm'):\n    open(place + '/message', 'w').write('answer: 4')"
    )
    assert _value(place, leave, "os.path.exists('/tmp/message')") is True
    seen = _value(place, "import os", "[os.listdir('/tmp'), os.listdir('/dev/shm'), os.listdir('/tmp/home')]")
    assert seen == [["home"], [], []]


def test_nothing_of_the_host_is_in_sight(place):
    home = str(Path.home())
    code = "import os\ndef look(p):\n    return os.listdir(p) if os.path.isdir(p) else []"
    assert _value(place, code, "os.listdir('/proc')") == ["cpuinfo"]
    assert _value(place, code, "os.getpid()") == 1
    assert set(_value(place, code, "sorted(os.environ)")).isdisjoint(
        {"USER", "LOGNAME", "SSH_AUTH_SOCK", "OLDPWD", "PYTHONPATH"}
    )
    seen = set(_value(place, code, f"look({home!r})"))
    assert seen.isdisjoint(name for name in os.listdir(home) if not name.startswith(".py"))
    course = Path(__file__).resolve().parents[2]
    assert (
        _value(place, code, f"look({str(course / 'rs_course')!r}) + look({str(course / 'assignments')!r})")
        == []
    )
    assert (
        _value(place, code, "[name for name in ('/etc/passwd', '/etc/hostname') if os.path.exists(name)]")
        == []
    )


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("", "len(open('/etc/passwd').read()) > 0"),
        ("import subprocess", "subprocess.run(['true']).returncode == 0"),
        ("import socket", "socket.socket() is not None"),
        ("import os", "os.fork() > 0 or os._exit(0)"),
    ],
)
def test_the_same_works_without_isolation(code, call):
    """The control: what the hostile submissions fail to do is possible in a plain process."""
    assert _value(Sandbox("process"), code, call) is True


@pytest.mark.skipif(os.name != "posix", reason="processes of this kind exist on POSIX only")
def test_everything_ends_with_the_sandbox(isolated):
    place = Sandbox(preload=("numpy",))
    _value(place, "", "1")
    process = place._place._process
    assert process.poll() is None
    place.close()
    assert process.poll() is not None


def test_memory_counts_on_top_of_the_imports(place):
    """200 MB fit into a limit of 400 MB whatever was imported before; 600 MB do not."""
    assert (
        _value(place, "import numpy as np", "int(np.ones(200 * 2**20, np.uint8).sum()) == 200 * 2**20")
        is True
    )
    job = {
        "cells": [{"id": "c", "source": "import numpy as np\nx = np.ones(600 * 2**20, np.uint8)"}],
        "probes": [],
    }
    (error,) = [event["error"] for event in place.run(job, LIMITS).events if "error" in event]
    assert error["family"] == "MemoryError"
