"""Run a student's code where it can neither see nor reach anything but its inputs.

The host side of :mod:`rs_course.grading.inside`: it starts a sandbox, hands it jobs, and reads back plain
results. The design is explained in ``inside/zygote.py``; what a sandbox shows, in :mod:`.isolation`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from rs_course.grading import notebooks, records
from rs_course.grading.inside import watch
from rs_course.grading.isolation import (
    ENVIRONMENT,
    INSIDE,
    AnotherUser,
    Bubblewrap,
    Container,
    container_engine,
    why_no_bubblewrap,
    why_no_other_user,
)

BUBBLEWRAP, CONTAINER, USER, PROCESS = "bubblewrap", "container", "another user", "process"
ISOLATIONS = (BUBBLEWRAP, CONTAINER, USER, PROCESS)
_TRIES = 3
# Of one run: each cell and check makes two.
_MOST_LINES = 10_000


@dataclass(frozen=True)
class Limits:
    """What one submission may use; reaching a limit fails the step that reached it and nothing else.

    Seconds of a clock that stands still while the code waits for a processor are *own* seconds.

    """

    step_s: float = 30.0  # processor seconds of one cell, and of all calls of one question
    total_s: float = 300.0  # processor seconds of all runs of the submission together
    wall_s: float = 300.0  # own seconds of all runs together; in one step, four times ``step_s``
    memory_mb: int = 3000  # beyond what the imports take
    disk_mb: int = 256  # temporary files, all together
    files: int = 10_000  # how many of them
    threads: int = 64  # at the same time
    result_mb: int = 64  # everything that is handed back
    output_bytes: int = 20_000  # printed text kept for one cell


# For the answers of a notebook to be read out of it, which runs none of its code.
_READING = Limits(step_s=20.0, wall_s=80.0, memory_mb=1500, disk_mb=1, files=10, result_mb=40)


@dataclass
class Outcome:
    """What one run left behind; times and memory are not measured without isolation."""

    events: list  # the JSON lines of the runner, in order; untrusted
    ended: str  # "finished", or a sentence's end such as "was stopped after 60 s"
    fixed: str  # the same without what the code could choose: no exit status, no signal
    cpu_s: float  # processor seconds
    wall_s: float  # own seconds, see :class:`Limits`
    memory_mb: int  # largest resident memory


class MachineFault(RuntimeError):
    """This machine, not the submission, is why it could not be run: no memory, no disk, no process."""


def require(isolation: str) -> None:
    """Refuse an isolation that this machine cannot give.

    Raises:
        ValueError: Unknown name.
        RuntimeError: It does not work here; the sentence says what to do.
    """
    if isolation not in ISOLATIONS:
        raise ValueError(f"Isolation is {', '.join(map(repr, ISOLATIONS))}, not {isolation!r}.")
    if isolation == USER and (reason := why_no_other_user()):
        raise RuntimeError(f"Submissions cannot run as another user here: {reason}.")
    if isolation == CONTAINER and (reason := container_engine()[1]):
        raise RuntimeError(f"Submissions cannot be isolated in containers here: {reason}.")
    if isolation == BUBBLEWRAP and (reason := why_no_bubblewrap()):
        raise RuntimeError(
            f"Submissions cannot be isolated here: {reason}; grade on a Linux machine with bubblewrap "
            "(apt install bubblewrap), say --isolation=container where podman or docker works, or "
            "--isolation=process if you trust every submission."
        )


class Sandbox:
    """A place for student code; one submission at a time. Use it as a context manager.

    Args:
        isolation: ``"bubblewrap"``, ``"container"``, ``"another user"`` (for machines that are thrown away
            after one submission) or ``"process"`` (none: only time is limited, for code that you trust).
        preload: Modules to import once, ahead of all submissions; answers may import these.
        warm: Fork each submission from one warm interpreter where the system allows it.
    """

    def __init__(self, isolation: str = BUBBLEWRAP, *, preload=("numpy", "torch"), warm: bool = True):
        require(isolation)
        self.isolation, self.preload = isolation, tuple(preload)
        if isolation == BUBBLEWRAP:
            self._place = Bubblewrap(self.preload, warm=warm)
        elif isolation == PROCESS:
            self._place = _Process()
        else:
            self._place = {CONTAINER: Container, USER: AnotherUser}[isolation](self.preload)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def start(self) -> None:
        """Let it warm up while something else is done; otherwise this happens at the first job."""
        if self.isolation == BUBBLEWRAP:
            self._place.start()

    def close(self) -> None:
        """End the sandbox and everything in it."""
        self._place.close()

    def versions(self) -> dict[str, str]:
        """What a record tells about this place besides its isolation."""
        return {"container": self._place.name} if self.isolation == CONTAINER else {}

    def run(self, job: dict, limits: Limits) -> Outcome:
        """Run one job (see ``inside/runner.py``); never raises for what the student's code does.

        Raises:
            MachineFault: It could not be run, however often it was tried.
        """
        groups = {probe["group"] for probe in job["probes"]}
        # Only code that fights off the interruption of its step meets this one.
        most = limits.step_s * (len(job["cells"]) + len(groups)) + 5
        payload = {**job, "seconds": limits.step_s, "output_bytes": limits.output_bytes}
        return self._run(json.dumps(payload).encode(), limits, most)

    def read(self, release: bytes, submission: bytes) -> tuple[list[str], notebooks.Transplant]:
        """Notes on what was mended in a submitted notebook, and its answers; limits apply to reading it, too.

        Raises:
            notebooks.Unreadable: It is no notebook.
            MachineFault: It could not be read, however often it was tried.
        """
        if self.isolation == PROCESS:  # trusted: it is parsed here
            cells, notes = notebooks.read(submission)
            return notes, notebooks.transplant(notebooks.read(release)[0], cells)
        header = json.dumps({"read": [len(release), len(submission)]}).encode()
        outcome = self._run(header + b"\n" + release + submission, _READING, _READING.step_s)
        event = outcome.events[-1] if outcome.events else {}
        if "transplant" in event:
            sets = {f.name for f in dataclasses.fields(notebooks.Transplant) if f.default_factory is set}
            found = {name: set(v) if name in sets else v for name, v in event["transplant"].items()}
            return event["notes"], notebooks.Transplant(**found)
        if "unreadable" in event:
            raise notebooks.Unreadable(event["unreadable"])
        if outcome.ended.startswith("was stopped"):
            raise notebooks.Unreadable("reading it takes more time than a notebook should")
        raise MachineFault(f"what reads the notebook {outcome.ended}")

    def _run(self, job, limits, most_cpu_s):
        cpu_s = max(1, int(min(most_cpu_s, limits.total_s)))
        both = {"threads": limits.threads}
        request = {"disk_mb": limits.disk_mb, "files": limits.files}
        request["limits"] = {
            "cpu_s": cpu_s,
            "memory_mb": limits.memory_mb,
            "file_mb": limits.result_mb,
        } | both
        watched = {"step_s": limits.step_s, "idle_s": 4 * limits.step_s, "wall_s": limits.wall_s}
        request["watch"] = watched | both | {"files": limits.files, "folders": []}
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(2 * attempt)  # memory and processes come back when others end
            try:
                with _memory_file() as job_file, _memory_file() as results:
                    job_file.write(job)
                    job_file.flush()
                    job_file.seek(0)
                    report = self._place.execute(request, job_file, results)
                    results.seek(0)
                    events = _read_events(results, limits.result_mb * 2**20)
                fault = report.get("fault") or _unexplained(report, cpu_s)
            except OSError as error:
                fault = f"{type(error).__name__}: {error}"
            if not fault:
                ended, fixed = _how_it_ended(report, limits, cpu_s, events)
                return Outcome(events, ended, fixed, report["cpu_s"], report["wall_s"], report["memory_mb"])
            self.close()
        raise MachineFault(f"this machine could not run it ({fault}); grade it again, with fewer workers")


def _memory_file():
    """A file that no full disk can spoil, where the system has such files."""
    there = hasattr(os, "memfd_create")
    return os.fdopen(os.memfd_create("grading"), "w+b") if there else tempfile.TemporaryFile()


class _Process:
    """A plain child process: its time is limited, what it may see and use is not."""

    def close(self):
        pass

    def execute(self, request, job_file, results):
        limits = request["watch"]
        watched = hasattr(os, "pidfd_open")
        idle_s = None if watched else limits["idle_s"]
        process = subprocess.Popen(
            [sys.executable, "-B", "-c", _RUN_ALONE.format(str(INSIDE), idle_s)],
            stdin=job_file,
            stdout=results,
            stderr=subprocess.DEVNULL,
            start_new_session=os.name == "posix",
            env={**os.environ, **ENVIRONMENT},
        )
        report = {"reason": None, "cpu_s": 0.0, "wall_s": 0.0, "memory_mb": 0}
        if watched:
            report["reason"], status, _, _ = watch.wait(process.pid, results.fileno(), limits)
            process.returncode = os.waitstatus_to_exitcode(status)
        else:
            try:
                process.wait(limits["wall_s"])
            except subprocess.TimeoutExpired:
                report["reason"] = "run"
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.name == "posix":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        code = process.wait()
        return {**report, "status": -code if code < 0 else code << 8}


_RUN_ALONE = "import sys; sys.path.insert(0, {!r}); import runner; runner.main(idle_s={!r})"


def _read_events(stream, most: int) -> list:
    """The complete lines that are JSON objects; a torn line, or what a student wrote instead, is left out.

    Code that has found the file can fill it with millions of lines or values: what an honest run never
    reaches is not read.
    """
    events, left = [], records.MOST_VALUES
    for _ in range(_MOST_LINES):
        line = stream.readline(most)
        if not line.endswith(b"\n"):
            break
        most -= len(line)
        with contextlib.suppress(ValueError, RecursionError):
            left -= records.count_values(line)
            event = json.loads(line) if left > 0 else None
            if isinstance(event, dict):
                events.append(event)
    return events


def _unexplained(report, cpu_s):
    """A kill that no limit explains comes from outside: code in a sandbox cannot send itself SIGKILL."""
    killed = report["status"] & 0x7F == signal.SIGKILL if os.name == "posix" else False
    if killed and not report["reason"] and report["cpu_s"] < cpu_s - 1:
        return "its process was killed, as happens when memory runs out"
    return None


def _how_it_ended(report, limits, cpu_s, events):
    if any(event.get("finished") is True for event in events):
        return "finished", "finished"
    if reason := report["reason"]:
        ended = {
            "step": f"was stopped after {limits.step_s:g} s of processor time",
            "idle": f"was stopped after {4 * limits.step_s:g} s in which it waited",
            "run": f"was stopped after {limits.wall_s:g} s",
            "threads": f"was stopped because it started more than {limits.threads} threads",
            "files": f"was stopped because it made more than {limits.files} files",
        }[reason]
        return ended, ended
    code = os.waitstatus_to_exitcode(report["status"]) if os.name == "posix" else report["status"] >> 8
    if code < 0 and report["cpu_s"] >= cpu_s - 1:
        ended = f"was stopped after {cpu_s} s of processor time"
        return ended, ended
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    return f"ended the process ({how})", "ended the process"
