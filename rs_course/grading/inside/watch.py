"""Watch one process from outside and end it when it breaks a limit that it could talk itself out of.

A student's code can block signals, so the time of its steps is measured here too. Time is what the process
*had*: seconds of processor time, and seconds by a clock that stands still while its main thread waits for a
processor. So a busy machine does not change a grade. That a step has ended shows in the file of results,
which grows; code that fakes this gains no more than the whole run's limit.
"""

import os
import select
import signal
import time

_TICK_S = 0.05


def wait(pid, results, limits):
    """Wait until a child process is over.

    Args:
        pid: The process.
        results: Descriptor of the file that grows with each step's begin and end; from its first growth on
            time counts.
        limits: ``step_s``, ``idle_s`` (by the clock above, in one step), ``wall_s`` (the same, for the whole
            run), ``threads``, and new ``files`` in each of ``folders``.

    Returns:
        Why it was ended, or ``None``; its wait status; its resource usage; its seconds by the clock above.
    """
    ended = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    clock = _Clock(pid)
    size, cpu, own, started, reminded = 0, 0.0, 0.0, None, False
    most_files = {folder: _files(folder) + limits["files"] for folder in limits["folders"]}
    reason = None
    while not poll.poll(_TICK_S * 1000):
        now_cpu, now_own = clock.cpu(), clock.own()
        if (now := os.fstat(results).st_size) != size:
            size, cpu, own, reminded = now, now_cpu, now_own, False
            started = now_own if started is None else started
        if started is None:
            continue
        # The runner's own timer comes first; this is for code that fights it off.
        if now_cpu - cpu > 1.2 * limits["step_s"] + 1:
            reason = "step"
        elif now_own - own > limits["idle_s"] and not reminded:
            os.kill(pid, signal.SIGALRM)
            own, reminded = now_own, True
        elif reminded and now_own - own > 0.1 * limits["idle_s"] + 1:
            reason = "idle"
        elif now_own - started > limits["wall_s"]:
            reason = "run"
        elif clock.threads() > limits["threads"]:
            reason = "threads"
        elif any(_files(folder) > most for folder, most in most_files.items()):
            reason = "files"
        if reason:
            os.kill(pid, signal.SIGKILL)
            break
    # The clock goes back when a long wait is booked at its end.
    seconds = max(0.0, clock.own() - (started or 0.0))
    _, status, usage = os.wait4(pid, 0)
    os.close(ended)
    return reason, status, usage, seconds


def _files(folder):
    found = os.statvfs(folder)
    return found.f_files - found.f_ffree


class _Clock:
    """What one process used; it answers 0 for a process that is over."""

    def __init__(self, pid):
        self._folder, self._started = f"/proc/{pid}", time.monotonic()
        self._cpu = (~pid << 3) | 2  # clock_getcpuclockid(3)

    def cpu(self):
        """Processor seconds of all its threads."""
        try:
            return time.clock_gettime(self._cpu)
        except OSError:
            return 0.0

    def own(self):
        """Seconds since it was started less those that its main thread waited for a processor."""
        elapsed = time.monotonic() - self._started
        try:
            with open(f"{self._folder}/schedstat", encoding="utf-8") as stream:
                return elapsed - int(stream.read().split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            return elapsed

    def threads(self):
        """How many threads it has."""
        try:
            return os.stat(f"{self._folder}/task").st_nlink - 2
        except OSError:
            return 0
