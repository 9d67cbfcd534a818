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

from rs_course.grading import mounts
from rs_course.grading.inside import calls

_IMAGE = "localhost/rs-course-empty:1"
_GRACE_S = 120


def engine() -> str | None:
    """The first of podman and docker that answers here, or ``None``."""
    for name in ("podman", "docker"):
        if shutil.which(name) and _call([name, "version"]).returncode == 0:
            return name
    return None


def why_not() -> str | None:
    """Reason why containers cannot be used on this machine, or ``None`` if they can."""
    if platform.system() != "Linux" or platform.machine() not in calls.AUDIT:
        return "the system-call filter knows only Linux on x86-64 and arm64"
    name = engine()
    if name is None:
        return "neither podman nor docker works here (start the docker service, or install podman)"
    if failed := _make_image(name):
        return f"{name} fails with “{failed}”"
    trial = _call([*command(name, "rs-course-" + secrets.token_hex(6), (), 16), mounts.PYTHON, "-c", ""])
    return f"{name} fails with “{_last_words(trial)}”" if trial.returncode else None


def command(name: str, container: str, preload: tuple[str, ...], disk_mb: int) -> list[str]:
    """The call that runs a command in a container which shows what :mod:`.mounts` lists."""
    words = [name, "run", "--rm", "-i", "--name", container, "--pull", "never", "--network", "none"]
    words += ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    # On SELinux the container may otherwise not read files of this machine, which are mounted read-only.
    words += ["--security-opt", "label=disable", "--user", "1000:1000", "--hostname", "grader"]
    words += ["--tmpfs", f"/tmp:rw,mode=1777,size={disk_mb}m", "--workdir", "/tmp"]
    words += ["--tmpfs", f"/dev/shm:rw,mode=1777,size={disk_mb}m"]
    for key, value in mounts.environment().items():
        words += ["--env", f"{key}={value}"]
    pairs, covered = mounts.read_only(preload)
    for source, target in pairs:
        words += ["--volume", f"{source}:{target}:ro"]
    for target in covered:
        words += ["--tmpfs", f"{target}:ro,size=4k"]
    return [*words, _IMAGE]


class Container:
    """One container a job."""

    nested = False

    def __init__(self, preload: tuple[str, ...]):
        self.preload, self.name = preload, engine()

    def close(self) -> None:
        """Nothing stays between two jobs."""

    def execute(self, request: dict, job_file, results) -> dict:
        """Run one job; returns the report of ``inside/zygote.py``."""
        # Processes of the same user elsewhere on this machine would count as well.
        request = {**request, "nested": False, "limits": {**request["limits"], "threads": None}}
        container = "rs-course-" + secrets.token_hex(6)
        words = command(self.name, container, self.preload, request["disk_mb"])
        try:
            done = subprocess.run(
                [*words, *mounts.COMMAND, "-", *self.preload],
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
    """Import an image with no file in it, once; returns what went wrong."""
    if _call([name, "image", "inspect", _IMAGE]).returncode == 0:
        return None
    empty = io.BytesIO()
    tarfile.open(fileobj=empty, mode="w").close()
    made = _call([name, "import", "-", _IMAGE], input=empty.getvalue())
    return _last_words(made) if made.returncode else None


def _call(words, **kwargs):
    try:
        return subprocess.run(words, capture_output=True, timeout=120, **kwargs)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(words, 1, b"", str(error).encode())


def _last_words(done):
    return done.stderr.decode(errors="replace").strip()[-300:]
