"""The isolation of a machine that is thrown away after one submission, as a container of Gradescope is.

The grader runs as root and starts the code as a user who owns nothing, under the same supervisor, limits and
system-call filter as elsewhere: no network, no new process, no signal to others. Namespaces are not needed:
what only root may read (the seed, the exam, the results) the code cannot read, and nobody comes after it
who could find what it leaves behind. What everyone may read there is in sight.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from rs_course.grading import mounts
from rs_course.grading.inside import calls

# "nobody", on every Linux.
USER = 65534
GRADER = Path("/grader")
_GRACE_S = 120


def why_not() -> str | None:
    """Reason why code cannot run as another user on this machine, or ``None`` if it can."""
    if platform.system() != "Linux" or platform.machine() not in calls.AUDIT:
        return "the system-call filter knows only Linux on x86-64 and arm64"
    if os.geteuid() != 0:
        return "only root can start a program as another user"
    if not (GRADER / "zygote.py").is_file():
        return f"{GRADER}/ lacks the files that setup.sh of “rs-course release --gradescope” puts there"
    return None


class AnotherUser:
    """One process tree a job."""

    nested = False

    def __init__(self, preload: tuple[str, ...]):
        self.preload = preload

    def close(self) -> None:
        """Nothing stays between two jobs."""

    def execute(self, request: dict, job_file, results) -> dict:
        """Run one job; returns the report of ``inside/zygote.py``."""
        # Processes of the same user in other containers of the machine would count as well.
        request = {**request, "nested": False, "limits": {**request["limits"], "threads": None}}
        try:
            done = subprocess.run(
                [sys.executable, "-s", "-B", str(GRADER / "zygote.py"), "-", *self.preload],
                input=json.dumps(request).encode() + b"\n" + job_file.read(),
                capture_output=True,
                timeout=20 * request["watch"]["wall_s"] + _GRACE_S,
                env={**mounts.ENVIRONMENT, "HOME": "/tmp", "MPLCONFIGDIR": "/tmp", "PATH": "/usr/bin"},
                cwd="/",
                user=USER,
                group=USER,
                extra_groups=(),
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            return {"fault": "its process did not answer"}
        report, _, rest = done.stdout.partition(b"\n")
        if done.returncode or not report:
            words = done.stderr.decode(errors="replace").strip()[-300:]
            return {"fault": f"its process ended early: {words}"}
        results.write(rest)
        results.flush()
        return json.loads(report)
