"""The isolation of machines without bubblewrap: a container, or on Gradescope another user, for each run.

The image is empty: the container sees what :mod:`.mounts` lists, as a bubblewrap does, so nothing has to be
downloaded or built. The job goes in through standard input and the results come out through standard output;
inside, the same supervisor, limits and system-call filter are at work. Each run imports torch anew.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import subprocess
import sys
import tarfile
import tempfile
from functools import lru_cache
from pathlib import Path

from rs_course.grading import mounts

_IMAGE = "localhost/rs-course-empty:2"
_GRACE_S = 120
USER, GRADER = 65534, Path("/grader")  # "nobody", on every Linux; what "setup.sh" puts there


def engine() -> str | None:
    """``"podman"`` or ``"docker"``, whichever works here, or ``None``."""
    return _survey()[0]


def why_not() -> str | None:
    """Reason why containers cannot be used on this machine, or ``None`` if they can."""
    return _survey()[1]


@lru_cache
def _survey():
    if reason := mounts.why_no_filter():
        return None, reason
    failures = []
    for name in ("podman", "docker"):
        if shutil.which(name):
            if not (failed := _trial(name)):
                return name, None
            failures.append(f"{name} fails with “{failed}”")
    return None, "; ".join(failures) or "neither podman nor docker is installed"


def _trial(name):
    """Start the interpreter in a container; returns what went wrong."""
    if failed := _make_image(name):
        return failed
    with tempfile.TemporaryDirectory() as empty:
        words = command(name, "rs-course-" + secrets.token_hex(6), (), 16, empty)
        done = _call([*words, mounts.PYTHON, "-c", ""])
    return _last_words(done) if done.returncode else None


def command(name: str, container: str, preload: tuple[str, ...], disk_mb: int, empty: str) -> list[str]:
    """The call that runs a command in a container which shows what :mod:`.mounts` lists.

    Args:
        name: ``"podman"`` or ``"docker"``.
        container: What the container is called.
        preload: Modules that answers may import.
        disk_mb: Size of each folder for temporary files.
        empty: An empty folder, to cover others with.
    """
    words = [name, "run", "--rm", "-i", "--name", container, "--pull", "never", "--network", "none"]
    words += ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    # Engines ask for more than some machines let them have. Threads are counted inside, see ``watch.py``.
    for limit in ("nproc=30000:30000", "nofile=1024:1024", "core=0:0"):
        words += ["--ulimit", limit]
    # On SELinux the container may otherwise not read files of this machine, which are mounted read-only.
    words += ["--security-opt", "label=disable", "--user", "1000:1000", "--hostname", "grader"]
    words += ["--tmpfs", f"/tmp:rw,mode=1777,size={disk_mb}m", "--shm-size", f"{disk_mb}m"]
    for key, value in mounts.environment().items():
        words += ["--env", f"{key}={value}"]
    pairs, covered = mounts.read_only(preload)
    for source, target in pairs:
        words += ["--volume", f"{source}:{target}:ro"]
    for target in covered:
        words += ["--volume", f"{empty}:{target}:ro"]
    return [*words, _IMAGE]


class _OncePerJob:
    """A new process tree for each job: in through standard input, results out through standard output."""

    nested = False
    _what = "its process"

    def __init__(self, preload: tuple[str, ...]):
        self.preload = preload

    def close(self) -> None:
        """Nothing stays between two jobs."""

    def execute(self, request: dict, job_file, results) -> dict:
        """Run one job; returns the report of ``inside/zygote.py``."""
        # Processes of the same user elsewhere on this machine would count as well.
        request = {**request, "nested": False, "limits": {**request["limits"], "threads": None}}
        words, options = self._command(request["disk_mb"])
        try:
            done = subprocess.run(
                words,
                input=json.dumps(request).encode() + b"\n" + job_file.read(),
                capture_output=True,
                timeout=20 * request["watch"]["wall_s"] + _GRACE_S,
                **options,
            )
        except subprocess.TimeoutExpired:
            self._abandon(words)
            return {"fault": f"{self._what} did not answer"}
        report, _, rest = done.stdout.partition(b"\n")
        if done.returncode or not report:
            return {"fault": f"{self._what} ended early: {_last_words(done)}"}
        results.write(rest)
        results.flush()
        return json.loads(report)

    def _abandon(self, words):
        """End what outlives the process that was waited for."""


class Container(_OncePerJob):
    """One container a job."""

    _what = "its container"

    def __init__(self, preload: tuple[str, ...]):
        super().__init__(preload)
        self.name = engine()
        self._empty = tempfile.TemporaryDirectory(prefix="rs-course-empty-")

    def _command(self, disk_mb):
        container = "rs-course-" + secrets.token_hex(6)
        words = command(self.name, container, self.preload, disk_mb, self._empty.name)
        return [*words, *mounts.COMMAND, "-", *self.preload], {}

    def _abandon(self, words):
        _call([self.name, "kill", words[words.index("--name") + 1]])


class AnotherUser(_OncePerJob):
    """The isolation of a machine that is thrown away after one submission, as a container of Gradescope is.

    The grader runs as root and starts the code as a user who owns nothing, under the same supervisor, limits
    and system-call filter as elsewhere. Namespaces are not needed: what only root may read (the seed, the
    exam, the results) the code cannot read, and nobody comes after it who could find what it leaves behind.
    What everyone may read there is in sight.
    """

    def _command(self, disk_mb):
        words = [sys.executable, "-s", "-B", str(GRADER / "zygote.py"), "-", *self.preload]
        environment = {**mounts.ENVIRONMENT, "HOME": "/tmp", "MPLCONFIGDIR": "/tmp", "PATH": "/usr/bin"}
        who = {"user": USER, "group": USER, "extra_groups": (), "start_new_session": True}
        return words, {"env": environment, "cwd": "/", **who}


def why_no_other_user() -> str | None:
    """Reason why code cannot run as another user on this machine, or ``None`` if it can."""
    if reason := mounts.why_no_filter():
        return reason
    if os.geteuid() != 0:
        return "only root can start a program as another user"
    if not (GRADER / "zygote.py").is_file():
        return f"{GRADER}/ lacks the files that setup.sh of “rs-course release --gradescope” puts there"
    return None


def _make_image(name):
    """Import an image that holds ``/tmp`` alone, once; returns what went wrong."""
    if _call([name, "image", "inspect", _IMAGE]).returncode == 0:
        return None
    empty = io.BytesIO()
    folder = tarfile.TarInfo("tmp")
    # Docker gives the folder that it mounts here the mode of the one that it covers.
    folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
    with tarfile.open(fileobj=empty, mode="w") as archive:
        archive.addfile(folder)
    made = _call([name, "import", "-", _IMAGE], input=empty.getvalue())
    return _last_words(made) if made.returncode else None


def _call(words, **kwargs):
    try:
        return subprocess.run(words, capture_output=True, timeout=120, **kwargs)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(words, 1, b"", str(error).encode())


def _last_words(done):
    return done.stderr.decode(errors="replace").strip()[-300:]
