"""The isolation of machines without bubblewrap: a container of podman or docker for each run.

The image is empty: the container sees what :mod:`.mounts` lists, as a bubblewrap does, so nothing has to be
downloaded or built. The job goes in through standard input and the results come out through standard output;
inside, the same supervisor, limits and system-call filter are at work. Each run imports torch anew.
"""

from __future__ import annotations

import io
import json
import platform
import secrets
import shutil
import subprocess
import tarfile
import tempfile
from functools import lru_cache

from rs_course.grading import mounts
from rs_course.grading.inside import calls

_IMAGE = "localhost/rs-course-empty:2"
_GRACE_S = 120


def engine() -> str | None:
    """``"podman"`` or ``"docker"``, whichever works here, or ``None``."""
    return _survey()[0]


def why_not() -> str | None:
    """Reason why containers cannot be used on this machine, or ``None`` if they can."""
    return _survey()[1]


@lru_cache
def _survey():
    if platform.system() != "Linux" or platform.machine() not in calls.AUDIT:
        return None, "the system-call filter knows only Linux on x86-64 and arm64"
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


class Container:
    """One container a job."""

    nested = False

    def __init__(self, preload: tuple[str, ...]):
        self.preload, self.name = preload, engine()
        self._empty = tempfile.TemporaryDirectory(prefix="rs-course-empty-")

    def close(self) -> None:
        """Nothing stays between two jobs."""

    def execute(self, request: dict, job_file, results) -> dict:
        """Run one job; returns the report of ``inside/zygote.py``."""
        # Processes of the same user elsewhere on this machine would count as well.
        request = {**request, "nested": False, "limits": {**request["limits"], "threads": None}}
        container = "rs-course-" + secrets.token_hex(6)
        try:
            done = subprocess.run(
                [
                    *command(self.name, container, self.preload, request["disk_mb"], self._empty.name),
                    *mounts.COMMAND,
                    "-",
                    *self.preload,
                ],
                input=json.dumps(request).encode() + b"\n" + job_file.read(),
                capture_output=True,
                timeout=20 * request["watch"]["wall_s"] + _GRACE_S,
            )
        except subprocess.TimeoutExpired:
            _call([self.name, "kill", container])
            return {"fault": "its container did not answer"}
        report, _, rest = done.stdout.partition(b"\n")
        if done.returncode or not report:
            return {"fault": f"its container ended early: {_last_words(done)}"}
        results.write(rest)
        results.flush()
        return json.loads(report)


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
