"""Where a student's code runs: what a sandbox shows, and the kinds of places that show it.

A sandbox shows this Python, the packages that answers may import, system libraries, nothing else. The course
itself, its models, other packages and everything of this machine are not there at all, so there is nothing
to cover up. Inside, everything lies at the same places on every machine: ``/python``, ``/packages`` and
``/grader``. The place is a bubblewrap, which stays warm, or for each run a container or another user; the
same supervisor, limits and system-call filter are at work in all of them.
"""

from __future__ import annotations

import io
import json
import os
import platform
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from functools import lru_cache
from importlib import metadata
from pathlib import Path

INSIDE = Path(__file__).parent / "inside"
# IPython reads the magics of a cell; matplotlib, because answers draw.
ALWAYS = ("numpy", "IPython", "matplotlib")
# Scripts, no package: they are bound in one by one, import nothing of rs_course, and may be read by every
# student, so they hold no expected value, no tolerance and no check.
_FILES = ("codec.py", "runner.py", "seccomp.py", "watch.py", "zygote.py")
# What reads the answers out of a notebook keeps its place in the package: see ``zygote.load_reader``.
READERS = ("notebooks.py", "notebook_files.py")

# One thread each, so that the warm interpreter may be forked and processes, not threads, share the cores.
ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
ENVIRONMENT |= {"MPLBACKEND": "Agg", "PYTHONHASHSEED": "0", "LANG": "C.UTF-8"}
_AT_HOME = {"HOME": "/tmp", "MPLCONFIGDIR": "/tmp"}
PYTHON = "/python/bin/python"
COMMAND = (PYTHON, "-s", "-S", "-B", "/grader/zygote.py")
_SEEN = {**ENVIRONMENT, **_AT_HOME, "PYTHONHOME": "/python", "LD_LIBRARY_PATH": "/python/lib"}
_SEEN |= {"PATH": "/python/bin"}  # and no other variable


def why_no_filter() -> str | None:
    """Reason why the system-call filter (``inside/seccomp.py``) does not work here, or ``None``."""
    if platform.system() == "Linux" and platform.machine() in ("x86_64", "aarch64"):
        return None
    return "the system-call filter knows only Linux on x86-64 and arm64"


@lru_cache
def read_only(modules: tuple[str, ...]) -> tuple[list[tuple[str, str]], list[str]]:
    """What to mount read-only for answers that import these modules: pairs of a path here and its place
    inside, in their order; and places inside to cover with an empty folder."""
    pairs, covered = _interpreter()
    packages = [(str(path), f"/packages/{name}") for name, path in _packages((*ALWAYS, *modules))]
    return [*pairs, *_libraries(), *packages, *grader_files()], covered


def grader_files() -> list[tuple[str, str]]:
    """Pairs of a file of the course that runs inside and its place there, under ``/grader``."""
    pairs = [(str(INSIDE / name), f"/grader/{name}") for name in _FILES]
    readers = [path for name in READERS if (path := INSIDE.parent / name).exists()]
    return pairs + [(str(path), f"/grader/reading/rs_course/grading/{path.name}") for path in readers]


def _interpreter():
    base, standard = Path(sys.base_prefix), Path(sysconfig.get_path("stdlib"))
    pairs = [(os.path.realpath(sys.executable), PYTHON)]
    # Shared libraries that the interpreter was linked with lie beside the standard library; the lib folder of
    # /usr is the whole system's.
    places = [standard] if base == Path("/usr") else sorted({base / "lib", standard.parent})
    pairs += [(str(place), f"/python/{place.relative_to(base)}") for place in places]
    found = [
        path
        for place in {standard, *(base / "lib").glob("python3*")}
        for name in ("site-packages", "dist-packages")
        if (path := place / name).is_dir() and any(path.is_relative_to(shown) for shown in places)
    ]
    return pairs, [f"/python/{path.relative_to(base)}" for path in found]


def _libraries():
    """The loader and the system's shared libraries."""
    triplet = sysconfig.get_config_var("MULTIARCH") or ""
    folders = [f"/usr/lib/{triplet}", f"/lib/{triplet}"]  # Debian and its kin
    if not triplet or not os.path.isdir(folders[0]):
        folders = ["/usr/lib64", "/lib64"] if os.path.isdir("/usr/lib64") else ["/usr/lib", "/lib"]
    loaders = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"]
    missing = [path for path in loaders if os.path.dirname(path) not in folders]
    return [(os.path.realpath(p), p) for p in (*folders, *missing, "/etc/ld.so.cache") if os.path.exists(p)]


def _packages(modules):
    """Top-level files and folders of the distributions that these modules come from and depend on."""
    from packaging.requirements import Requirement

    waiting, seen, places = [module.split(".")[0] for module in modules], set(), {}
    while waiting:
        name = waiting.pop()
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            waiting += [n for n in _distributions().get(name, ()) if n not in seen and n != name]
            seen.add(name)
            continue
        if (known := distribution.name.lower()) in seen:
            continue
        seen.add(known)
        for line in (distribution.read_text("RECORD") or "").splitlines():
            top, _, rest = line.partition(",")[0].strip('"').partition("/")
            if top == "__pycache__":  # of a module that is a single file
                top = f"{top}/{rest}"
            if top not in places and top != ".." and not top.endswith(".pth"):
                places[top] = Path(str(distribution.locate_file(top)))
        requirements = map(Requirement, distribution.requires or ())
        waiting += [r.name for r in requirements if not r.marker or r.marker.evaluate({"extra": ""})]
    return sorted((top, path) for top, path in places.items() if top and path.exists())


_distributions = lru_cache(metadata.packages_distributions)


# --- Bubblewrap --------------------------------------------------------------------------------------------

_GRACE_S = 30  # beyond the time that a run may take
# What of /proc tells about the whole machine.
_MACHINE = (
    *("loadavg", "meminfo", "stat", "vmstat", "uptime", "locks", "interrupts", "softirqs", "schedstat"),
    *("diskstats", "zoneinfo", "buddyinfo", "pagetypeinfo", "slabinfo", "kallsyms", "cmdline", "keys"),
)


def why_no_bubblewrap() -> str | None:
    """Reason why bubblewrap cannot be used on this machine, or ``None`` if it can."""
    if reason := why_no_filter():
        return reason
    if shutil.which("bwrap") is None:
        return "the program bwrap is not installed"
    trial = subprocess.run(
        ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"], capture_output=True, text=True, timeout=60
    )
    return f"bwrap fails with “{trial.stderr.strip()[:200]}”" if trial.returncode else None


def _bubblewrap_command(preload):
    """The bubblewrap call: what :func:`read_only` lists, read-only, and nothing else."""
    words = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1", "--clearenv"]
    # A user other than 0, for whom a map in a nested user namespace needs no capability.
    words += ["--cap-drop", "ALL", "--uid", "1000", "--gid", "1000", "--hostname", "grader"]
    for name, value in _SEEN.items():
        words += ["--setenv", name, value]
    pairs, covered = read_only(preload)
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
    """One bubblewrap, started when first needed, in which each submission has a sandbox of its own; a new one
    for each job where the system cannot nest."""

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
            [*_bubblewrap_command(self.preload), *COMMAND, str(number), *self.preload],
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


# --- Containers and other users ----------------------------------------------------------------------------

_IMAGE = "localhost/rs-course-empty:2"
_GRACE_TO_START_S = 120
USER, GRADER = 65534, Path("/grader")  # "nobody", on every Linux; what "setup.sh" puts there


@lru_cache
def container_engine() -> tuple[str | None, str | None]:
    """``"podman"`` or ``"docker"``, whichever works here, else the reason why neither does."""
    if reason := why_no_filter():
        return None, reason
    failures = []
    for name in filter(shutil.which, ("podman", "docker")):
        if not (failed := _trial(name)):
            return name, None
        failures.append(f"{name} fails with “{failed}”")
    return None, "; ".join(failures) or "neither podman nor docker is installed"


def _trial(name):
    """Start the interpreter in a container; returns what went wrong."""
    if failed := _make_image(name):
        return failed
    with tempfile.TemporaryDirectory() as empty:
        words = _container_command(name, "rs-course-" + secrets.token_hex(6), (), 16, empty)
        done = _call([*words, PYTHON, "-c", ""])
    return _last_words(done) if done.returncode else None


def _container_command(name, container, preload, disk_mb, empty):
    """The call that runs a command in a container; ``empty`` is a folder to cover others with."""
    words = [name, "run", "--rm", "-i", "--name", container, "--pull", "never", "--network", "none"]
    words += ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    # Engines ask for more than some machines let them have. Threads are counted inside, see ``watch.py``.
    for limit in ("nproc=30000:30000", "nofile=1024:1024", "core=0:0"):
        words += ["--ulimit", limit]
    # On SELinux the container may otherwise not read files of this machine, which are mounted read-only.
    words += ["--security-opt", "label=disable", "--user", "1000:1000", "--hostname", "grader"]
    words += ["--tmpfs", f"/tmp:rw,mode=1777,size={disk_mb}m", "--shm-size", f"{disk_mb}m"]
    for key, value in _SEEN.items():
        words += ["--env", f"{key}={value}"]
    pairs, covered = read_only(preload)
    for source, target in pairs:
        words += ["--volume", f"{source}:{target}:ro"]
    for target in covered:
        words += ["--volume", f"{empty}:{target}:ro"]
    return [*words, _IMAGE]


class _OncePerJob:
    """A new process tree for each job: in through standard input, results out through standard output."""

    _what = "its process"

    def __init__(self, preload: tuple[str, ...]):
        self.preload = preload

    def close(self) -> None:
        """Nothing stays between two jobs."""

    def execute(self, request: dict, job_file, results) -> dict:
        # Processes of the same user elsewhere on this machine would count as well.
        request = {**request, "nested": False, "limits": {**request["limits"], "threads": None}}
        words, options = self._command(request["disk_mb"])
        try:
            done = subprocess.run(
                words,
                input=json.dumps(request).encode() + b"\n" + job_file.read(),
                capture_output=True,
                timeout=20 * request["watch"]["wall_s"] + _GRACE_TO_START_S,
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
    """One container a job.

    The image is empty: the container sees what :func:`read_only` lists, so nothing has to be downloaded or
    built. Each run imports torch anew.
    """

    _what = "its container"

    def __init__(self, preload: tuple[str, ...]):
        super().__init__(preload)
        self.name = container_engine()[0]
        self._empty = tempfile.TemporaryDirectory(prefix="rs-course-empty-")

    def _command(self, disk_mb):
        container = "rs-course-" + secrets.token_hex(6)
        words = _container_command(self.name, container, self.preload, disk_mb, self._empty.name)
        return [*words, *COMMAND, "-", *self.preload], {}

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
        environment = {**ENVIRONMENT, **_AT_HOME, "PATH": "/usr/bin"}
        who = {"user": USER, "group": USER, "extra_groups": (), "start_new_session": True}
        return words, {"env": environment, "cwd": "/", **who}


def why_no_other_user() -> str | None:
    """Reason why code cannot run as another user on this machine, or ``None`` if it can."""
    if reason := why_no_filter():
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
    empty, folder = io.BytesIO(), tarfile.TarInfo("tmp")
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
