"""Run a student's code where it can neither see nor reach anything but its inputs.

The host side of :mod:`rs_course.grading.inside`: it starts bubblewrap with a warm interpreter, hands it
jobs, and reads back plain results. The design is explained in ``inside/zygote.py``.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import site
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from rs_course.grading.inside import seal

INSIDE = Path(__file__).parent / "inside"
_FILES = ("codec.py", "runner.py", "seal.py", "zygote.py")
_GRACE_S = 10
BUBBLEWRAP, PROCESS = "bubblewrap", "process"


@dataclass(frozen=True)
class Limits:
    """What one submission may use; reaching a limit fails the step that reached it and nothing else.

    Attributes:
        step_s: Processor seconds of one cell, and of all calls of one question.
        wall_s: Seconds of one run of the submission by the clock.
        memory_mb: Memory beyond what the imports take.
        disk_mb: Temporary files, all together.
        result_mb: Everything that is handed back.
        output_bytes: Printed text kept for one cell.
    """

    step_s: float = 30.0
    wall_s: float = 300.0
    memory_mb: int = 3000
    disk_mb: int = 256
    result_mb: int = 64
    output_bytes: int = 20_000


@dataclass
class Outcome:
    """What one run left behind.

    Attributes:
        events: The JSON lines of the runner, in order; untrusted.
        ended: ``"finished"``, or a sentence's end such as ``"was stopped after 60 s"``.
    """

    events: list = field(default_factory=list)
    ended: str = "finished"
    cpu_s: float = 0.0
    wall_s: float = 0.0
    memory_mb: int = 0


def require(isolation: str) -> None:
    """Refuse an isolation that this machine cannot give.

    Raises:
        ValueError: Unknown name.
        RuntimeError: ``"bubblewrap"`` does not work here; the sentence says what to do.
    """
    if isolation == PROCESS:
        return
    if isolation != BUBBLEWRAP:
        raise ValueError(f"Isolation is {BUBBLEWRAP!r} or {PROCESS!r}, not {isolation!r}.")
    if reason := why_no_bubblewrap():
        raise RuntimeError(
            f"Submissions cannot be isolated here: {reason}; grade on a Linux machine with bubblewrap "
            "(apt install bubblewrap), or say --isolation=process if you trust every submission."
        )


def why_no_bubblewrap() -> str | None:
    """Reason why bubblewrap cannot be used on this machine, or ``None`` if it can."""
    if not seal.supported():
        return "the system-call filter knows only Linux on x86-64 and arm64"
    if shutil.which("bwrap") is None:
        return "the program bwrap is not installed"
    trial = subprocess.run(
        ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"], capture_output=True, text=True, timeout=60
    )
    if trial.returncode:
        return f"bwrap fails with “{trial.stderr.strip()[:200]}”"
    return None


class Sandbox:
    """A place for student code; one submission at a time. Use it as a context manager.

    Args:
        isolation: ``"bubblewrap"`` or ``"process"`` (none: only time is limited, for code that you trust).
        preload: Modules to import once, ahead of all submissions.
        warm: Fork each submission from one warm interpreter where the system allows it.
    """

    def __init__(self, isolation: str = BUBBLEWRAP, *, preload=("numpy", "torch"), warm: bool = True):
        require(isolation)
        self.isolation, self.preload, self.warm = isolation, tuple(preload), warm
        self._process = self._control = None
        self.nested = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """End the sandbox and everything in it."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._control = None

    def run(self, job: dict, limits: Limits) -> Outcome:
        """Run one job (see ``inside/runner.py``); never raises for what the student's code does."""
        groups = {probe["group"] for probe in job["probes"]}
        # Only code that fights off the interruption of its step meets this one.
        cpu_s = int(limits.step_s * (len(job["cells"]) + len(groups))) + 5
        with tempfile.TemporaryFile() as job_file, tempfile.TemporaryFile() as results:
            payload = {**job, "seconds": limits.step_s, "output_bytes": limits.output_bytes}
            job_file.write(json.dumps(payload).encode())
            job_file.seek(0)
            execute = self._run_process if self.isolation == PROCESS else self._run_bubblewrap
            report = execute(job_file, results, limits, cpu_s)
            results.seek(0)
            events = _read_events(results.read(limits.result_mb * 2**20 + 1))
        return Outcome(
            events,
            _how_it_ended(report, limits, cpu_s, events),
            report["cpu_s"],
            report["wall_s"],
            report["memory_mb"],
        )

    def _run_bubblewrap(self, job_file, results, limits, cpu_s):
        if self._process is None or self._process.poll() is not None:
            self._start()
        request = {
            "nested": self.nested,
            "wall_s": limits.wall_s,
            "disk_mb": limits.disk_mb,
            "keep": [folder for folder in _interpreter_folders() if folder.startswith("/tmp/")],
            "limits": {
                "cpu_s": cpu_s,
                "memory_mb": limits.memory_mb,
                "file_mb": limits.result_mb,
            },
        }
        try:
            socket.send_fds(
                self._control, [json.dumps(request).encode()], [job_file.fileno(), results.fileno()]
            )
            self._control.settimeout(limits.wall_s + _GRACE_S)
            answer = self._control.recv(1 << 16)
            report = json.loads(answer) if answer else None
        except OSError:
            report = None
        if report is None or not self.nested:
            self.close()
        return report or {"status": 9, "timeout": True, "cpu_s": 0.0, "wall_s": limits.wall_s, "memory_mb": 0}

    def _start(self):
        self.close()
        self._control, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        number = inner.fileno()
        command = [
            *bubblewrap_command(),
            sys.executable,
            "-s",
            "-B",
            "/grader/zygote.py",
            str(number),
            *self.preload,
        ]
        self._process = subprocess.Popen(
            command,
            pass_fds=[number],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        inner.close()
        self._control.settimeout(300)
        hello = self._control.recv(1 << 16)
        if not hello:
            message = self._process.stderr.read().decode(errors="replace").strip()[-500:]
            self.close()
            raise RuntimeError(f"The sandbox did not start: {message}")
        self.nested = self.warm and json.loads(hello)["nested"]

    def _run_process(self, job_file, results, limits, cpu_s):
        """A plain child process: its time is limited, what it may see and use is not."""
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-B", str(INSIDE / "runner.py")],
            stdin=job_file,
            stdout=results,
            stderr=subprocess.DEVNULL,
            start_new_session=os.name == "posix",
            env={**os.environ, **_ENVIRONMENT, "HOME": str(Path.home())},
        )
        try:
            process.wait(limits.wall_s)
            timeout = False
        except subprocess.TimeoutExpired:
            timeout = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.name == "posix":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        code = process.wait()
        status = -code if code < 0 else code << 8
        return {
            "status": status,
            "timeout": timeout,
            "cpu_s": 0.0,
            "wall_s": time.monotonic() - started,
            "memory_mb": 0,
        }


# One thread each, so that the warm interpreter may be forked and processes, not threads, share the cores.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "PYTHONHASHSEED": "0",
    "LANG": "C.UTF-8",
}


def bubblewrap_command() -> list[str]:
    """The bubblewrap call: the interpreter and the files of ``inside``, read-only, and nothing else."""
    command = [
        "bwrap",
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
        "--cap-drop",
        "ALL",
    ]
    # A user other than 0, for whom a map in a nested user namespace needs no capability.
    command += ["--uid", "1000", "--gid", "1000"]
    for name, value in {**_ENVIRONMENT, "HOME": "/tmp", "MPLCONFIGDIR": "/tmp", "PATH": "/usr/bin"}.items():
        command += ["--setenv", name, value]
    for path in (
        "/usr",
        "/lib",
        "/lib32",
        "/lib64",
        "/bin",
        "/etc/ld.so.cache",
        "/etc/alternatives",
        "/etc/fonts",
    ):
        if os.path.islink(path):
            command += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            command += ["--ro-bind", path, path]
    # Before the folders below, one of which may itself lie under /tmp.
    command += ["--size", str(Limits().disk_mb * 2**20), "--tmpfs", "/tmp"]
    folders = _interpreter_folders()
    for folder in folders:
        if not folder.startswith("/usr/"):
            command += ["--ro-bind", folder, folder]
    # An installed course would show its reference solutions; cover it with an empty folder.
    package = str(INSIDE.parents[1])
    if any(package.startswith(folder + os.sep) for folder in (*folders, "/usr")):
        command += ["--tmpfs", package, "--remount-ro", package]
    for name in _FILES:
        command += ["--ro-bind", str(INSIDE / name), f"/grader/{name}"]
    # Nothing that outlives a submission may be writable: what one leaves there the next one would find.
    command += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev", "--remount-ro", "/"]
    return [*command, "--chdir", "/tmp"]


def _interpreter_folders() -> list[str]:
    """Where this Python and its packages lie."""
    folders = {sys.prefix, sys.base_prefix}
    folders.add(os.path.dirname(os.path.dirname(os.path.realpath(sys.executable))))
    if site.ENABLE_USER_SITE and os.path.isdir(site.getusersitepackages()):
        folders.add(site.getusersitepackages())
    return sorted(folders)


def _read_events(raw: bytes) -> list:
    """The complete lines that are JSON objects; a torn line, or what a student wrote instead, is left out."""
    events = []
    for line in raw.split(b"\n"):
        with contextlib.suppress(ValueError, RecursionError):
            event = json.loads(line)
            if isinstance(event, dict):
                events.append(event)
    return events


def _how_it_ended(report, limits, cpu_s, events):
    if any(event.get("finished") is True for event in events):
        return "finished"
    if report["timeout"]:
        return f"was stopped after {limits.wall_s:g} s"
    code = os.waitstatus_to_exitcode(report["status"]) if os.name == "posix" else report["status"] >> 8
    if code < 0 and report["cpu_s"] >= cpu_s - 1:
        return f"was stopped after {cpu_s} s of processor time"
    if code < 0:
        return f"ended the process (signal {signal.Signals(-code).name})"
    return f"ended the process (exit status {code})"
