"""Between two submissions in one warm sandbox nothing passes, and nothing of this machine is in sight."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rs_course.grading import isolation
from rs_course.grading.sandbox import Limits, MachineFault, Sandbox

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


def test_no_descriptor_of_the_grader_is_left_over(isolated):
    """The control socket's number is high when many files are open; a submission must not speak on it."""
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(300)]
    try:
        with Sandbox(preload=("numpy",)) as crowded:
            code = (
                "import os\ndef is_open(n):\n    try: os.fstat(n)\n    except OSError: return False\n"
                "    return True"
            )
            # 0 to 2 are the null device, the fourth takes the results.
            assert _value(crowded, code, "[n for n in range(5000) if is_open(n)]") == [0, 1, 2, 3]
    finally:
        for descriptor in opened:
            os.close(descriptor)


def test_only_what_answers_need_is_there(place):
    code = "import os, importlib.util\ndef there(name): return importlib.util.find_spec(name) is not None"
    assert _value(place, code, "[n for n in ('numpy', 'matplotlib', 'IPython') if not there(n)]") == []
    others = ("rs_course", "sklearn", "scipy", "transformers", "diffusers", "jupyterlab", "pip")
    assert _value(place, code, f"[name for name in {others} if there(name)]") == []
    models = "[f for _, _, files in os.walk('/') for f in files if f.endswith(('.safetensors', '.ipynb'))]"
    assert _value(place, code, models) == []
    assert set(_value(place, code, "os.listdir('/')")) <= {
        *("python", "packages", "grader", "usr", "lib", "lib64", "etc", "tmp", "proc", "dev")
    }


def test_what_reads_notebooks_needs_nothing_else_of_the_course():
    """Inside a sandbox there are these files alone."""
    folder = Path(isolation.__file__).parent
    code = "import importlib.abc, sys\n"
    code += f"shown = {tuple(path[:-3] for path in isolation.READERS)}\n"
    code += f"sys.path.insert(0, {str(folder.parents[1])!r})\nimport rs_course.grading.notebooks\n"
    code += "print([m for m in sys.modules if m.startswith('rs_course.grading.') and m[18:] not in shown])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_threads_are_limited_together(place):
    """Ten times as many threads as allowed; what counts is that they are never all there."""
    code = (
        "import threading, time\nthreading.stack_size(2**16)\nfor _ in range(640):\n"
        "    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
    )
    job = {"cells": [{"id": "c", "source": code}], "probes": []}
    outcome = place.run(job, LIMITS)
    failed = [event["error"]["message"] for event in outcome.events if "error" in event]
    assert "64 threads" in outcome.ended or "start new thread" in failed[0]


def test_time_is_what_the_process_had(place):
    """Four busy processes and a fortieth of the time limit that waiting for them would break."""
    job = {"cells": [{"id": "c", "source": "sum(i for i in range(6 * 10**6))\n'done'"}], "probes": []}
    spin = [sys.executable, "-c", "import os\nos.nice(-5) if os.getuid() == 0 else None\nwhile True: pass"]
    others = [subprocess.Popen(spin) for _ in range(4)]
    try:
        outcome = place.run(job, replace(LIMITS, step_s=4.0, wall_s=4.0))
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert outcome.ended == "finished" and outcome.events[1]["output"] == "'done'\n"


def test_all_steps_together_have_a_limit(place):
    burn = (
        "import signal, time\nsignal.signal(signal.SIGPROF, signal.SIG_IGN)\nend = time.process_time() + 60\n"
        "while time.process_time() < end: pass"
    )
    job = {"cells": [{"id": str(n), "source": burn} for n in range(9)], "probes": []}
    outcome = place.run(job, replace(LIMITS, step_s=30.0, total_s=2.0))
    assert outcome.ended == "was stopped after 2 s of processor time" and outcome.cpu_s < 4


def test_a_process_killed_from_outside_runs_again(isolated):
    """As when memory runs out: the sandbox is killed while a submission is at work, by no fault of it."""
    with Sandbox(preload=("numpy",)) as made:
        _value(made, "", "1")
        timer = threading.Timer(0.5, made._place._process.send_signal, [signal.SIGKILL])
        timer.start()
        assert _value(made, "import time\ntime.sleep(1.5)", "2") == 2
        timer.join()


def test_what_the_machine_cannot_do_is_said_to_be_its_fault(place, monkeypatch):
    monkeypatch.setattr("rs_course.grading.sandbox.time.sleep", lambda seconds: None)
    tried = []

    def killed(*_):
        tried.append(1)
        return {"status": int(signal.SIGKILL), "reason": None, "cpu_s": 0.1, "wall_s": 1.0, "memory_mb": 9}

    monkeypatch.setattr(place._place, "execute", killed)
    with pytest.raises(MachineFault, match="was killed, as happens when memory runs out"):
        place.run({"cells": [], "probes": []}, LIMITS)
    assert len(tried) == 3


def test_no_temporary_folder_is_needed(place, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/nonexistent")
    assert _value(place, "", "3") == 3


def test_a_notebook_of_gigabytes_costs_its_reader_only(place):
    from rs_course.grading.notebooks import Unreadable

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    with pytest.raises(Unreadable, match=r"memory|cells, more than"):
        place.read(b'{"cells": []}', b'{"cells": [' + b"{}," * 13_000_000 + b"{}]}")
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 300
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    "line",
    [
        """b'{"probe": "probe", "value": [' + b'[],' * 3_000_000 + b'0]}\\n'""",
        """b'{"probe": "probe", "value": [[],[],[],[]]}\\n' * 100_000""",
    ],
)
def test_results_of_millions_of_values_are_not_parsed(place, line):
    """21 million empty lists, 64 MB, would take 7 GB in the grader."""
    flood = (
        f"import os\nline = {line}\nfor d in range(3, 256):\n    try: os.write(d, line)\n"
        "    except OSError: pass"
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    job = {"cells": [{"id": "cell", "source": flood}], "probes": []}
    outcome = place.run(job, LIMITS)
    assert len(outcome.events) <= 10_000 and outcome.events[0] == {"begin": "cell"}
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 200


def test_the_devices_of_this_machine_cannot_be_changed(place):
    """As root, who owns them, a submission could take everyone's /dev/null away."""
    names = ["full", "null", "random", "urandom", "zero"]
    code = "import os\nnames = sorted(n for n in os.listdir('/dev') if n != 'shm')"
    assert _value(place, code, "names") == names
    before = {name: (os.stat(f"/dev/{name}").st_mode, os.stat(f"/dev/{name}").st_mtime) for name in names}
    change = code + "\nfor n in names:\n    os.chmod(f'/dev/{n}', 0)\n    os.utime(f'/dev/{n}', (5, 5))"
    assert _value(place, change, "open('/dev/null', 'wb').write(b'x')") == 1
    assert {n: (os.stat(f"/dev/{n}").st_mode, os.stat(f"/dev/{n}").st_mtime) for n in names} == before


@pytest.fixture(scope="module")
def cold(isolated):
    """Where namespaces cannot be nested, submission and supervisor see each other's processes."""
    with Sandbox(preload=("numpy",), warm=False) as made:
        yield made


_TRY = """
import os
def refused(change, *a):
    try: change(*a)
    except OSError: return True
"""


def test_without_nesting_the_supervisor_is_out_of_reach(cold):
    assert _value(cold, _TRY, "os.getpid()") > 1, "the supervisor is process 1"
    assert _value(cold, _TRY, "[refused(os.kill, 1, s) for s in (0, 9, 15, 19)]") == [True] * 4
    assert (
        _value(cold, _TRY, "[refused(open, f'/proc/1/{n}', 'rb') for n in ('mem', 'environ', 'maps')]")
        == [True] * 3
    )
    assert _value(cold, _TRY, "refused(os.readlink, '/proc/1/fd/3')") is True
    assert _value(cold, _TRY, "refused(os.kill, os.getpid(), 9)") is True
    machine = "[refused(open, f'/proc/{n}') for n in ('loadavg', 'meminfo', 'locks', 'stat')]"
    assert _value(cold, _TRY, machine) == [True] * 4
    assert _value(cold, _WRITABLE, "sorted(writable)") == ["/dev/shm", "/tmp", "/tmp/home"]


def test_without_nesting_files_are_counted_by_the_supervisor(cold):
    code = "import time\nfor i in range(3000): open(f'/tmp/{i}', 'w').close()\ntime.sleep(9)"
    outcome = cold.run({"cells": [{"id": "c", "source": code}], "probes": []}, replace(LIMITS, files=500))
    assert outcome.ended == "was stopped because it made more than 500 files"
