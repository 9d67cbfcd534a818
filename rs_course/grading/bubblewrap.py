"""The isolation of Linux machines with bubblewrap: a warm sandbox, in which every submission has its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess

from rs_course.grading import mounts

_GRACE_S = 30
# What of /proc tells about the whole machine.
_MACHINE = (
    *("loadavg", "meminfo", "stat", "vmstat", "uptime", "locks", "interrupts", "softirqs", "schedstat"),
    *("diskstats", "zoneinfo", "buddyinfo", "pagetypeinfo", "slabinfo", "kallsyms", "cmdline", "keys"),
)


def why_not() -> str | None:
    """Reason why bubblewrap cannot be used on this machine, or ``None`` if it can."""
    if reason := mounts.why_no_filter():
        return reason
    if shutil.which("bwrap") is None:
        return "the program bwrap is not installed"
    trial = subprocess.run(
        ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"], capture_output=True, text=True, timeout=60
    )
    if trial.returncode:
        return f"bwrap fails with “{trial.stderr.strip()[:200]}”"
    return None


def command(preload: tuple[str, ...]) -> list[str]:
    """The bubblewrap call: what :mod:`.mounts` lists, read-only, and nothing else."""
    words = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1", "--clearenv"]
    # A user other than 0, for whom a map in a nested user namespace needs no capability.
    words += ["--cap-drop", "ALL", "--uid", "1000", "--gid", "1000", "--hostname", "grader"]
    for name, value in mounts.environment().items():
        words += ["--setenv", name, value]
    pairs, covered = mounts.read_only(preload)
    for source, target in pairs:
        words += ["--ro-bind", source, target]
    for target in covered:
        words += ["--tmpfs", target, "--remount-ro", target]
    words += ["--size", str(256 * 2**20), "--tmpfs", "/tmp", "--proc", "/proc", "--tmpfs", "/dev"]
    for name in ("null", "zero", "full", "random", "urandom"):
        words += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    words += ["--size", str(256 * 2**20), "--tmpfs", "/dev/shm"]
    for name in _MACHINE:
        if os.path.exists(f"/proc/{name}"):
            words += ["--ro-bind", "/dev/null", f"/proc/{name}"]
    # Nothing that outlives a submission may be writable: what one leaves there the next one would find.
    return [*words, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]


class Bubblewrap:
    """One bubblewrap, started when first needed; a new one for each job where the system cannot nest."""

    def __init__(self, preload: tuple[str, ...], *, warm: bool):
        self.preload, self.warm, self.nested = preload, warm, False
        self._process = self._control = None
        self._greeted = False

    def close(self) -> None:
        """End the sandbox and everything in it."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stderr.close()
        self._process = self._control = None
        self._greeted = False

    def execute(self, request: dict, job_file, results) -> dict:
        """Run one job; returns the report of ``inside/zygote.py``."""
        self.start()
        self._greet()
        files = [job_file.fileno(), results.fileno()]
        report = None
        try:
            socket.send_fds(self._control, [json.dumps({**request, "nested": self.nested}).encode()], files)
            # Whoever watches inside ends the job in time; how long that takes by the clock here is up to
            # what else this machine does.
            self._control.settimeout(20 * request["watch"]["wall_s"] + _GRACE_S)
            answer = self._control.recv(1 << 16)
            report = json.loads(answer) if answer else None
        except OSError:
            pass
        if report is None or not self.nested:
            self.close()
        return report or {"fault": "its sandbox was killed, as happens when memory runs out"}

    def start(self) -> None:
        """Start the sandbox without waiting until it is warm."""
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        self._control, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        number = inner.fileno()
        self._process = subprocess.Popen(
            [*command(self.preload), *mounts.COMMAND, str(number), *self.preload],
            pass_fds=[number],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        inner.close()

    def _greet(self):
        """Wait until the sandbox is warm."""
        if self._greeted:
            return
        self._control.settimeout(600)
        hello = self._control.recv(1 << 16)
        if not hello:
            message = self._process.stderr.read().decode(errors="replace").strip()[-500:]
            self.close()
            raise OSError(f"the sandbox did not start: {message}")
        self.nested = self.warm and json.loads(hello)["nested"]
        self._greeted = True
