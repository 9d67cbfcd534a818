"""A warm interpreter in a sandbox that forks one sealed child for each submission.

Importing torch takes longer than running a small notebook, so it is done once. Why a fork is safe here:

* *Nothing to inherit.* This process runs in a sandbox with an environment of its own and sees only the
  interpreter, some packages and these files. It never reads a job: the two files of a job are passed on to
  the child as descriptors; here only the length of the results is looked at. So its memory holds no
  submission, input or result that a later child could find, and a child keeps no descriptor but these two.
* *One thread.* Preloading must not start a thread (thread pools are limited to one, and this is counted
  before every fork), so no lock can be left locked in the child.
* *No way back.* The child enters its own user, process, mount, network and IPC namespaces: it cannot name,
  signal or trace this process or a sibling; its ``/tmp`` and ``/dev/shm`` are new and everything else is
  read-only; ``/proc`` is empty. A filter refuses new processes, programs and sockets. The child is process
  1 of its namespace, so when it dies or is killed the kernel ends whatever it had started, and its files
  vanish with its mounts.

Where the system forbids nested namespaces the host is told (``"nested": false``) and takes a new sandbox for
each submission instead: slower, equally closed but for ``/proc``, which shows the child and this process;
the child can neither read nor signal it.
"""

import contextlib
import ctypes
import importlib
import json
import os
import shutil
import site
import socket
import sys

sys.path.append("/packages")

import runner
import seccomp
import watch

_PR_SET_CHILD_SUBREAPER = 36


def serve(control):
    """Answer jobs on the socket ``control`` until the host closes it."""
    # A child's middle process exits at once; the child itself then becomes ours to wait for.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    control.send(json.dumps({"nested": _threads() == 1 and _can_nest()}).encode())
    while True:
        message, files, _, _ = socket.recv_fds(control, 1 << 16, 2)
        if not message:
            return
        report = supervise(json.loads(message), files)
        for file in files:
            os.close(file)
        control.send(json.dumps(report).encode())


def answer_once():
    """One job for a host that cannot hand over descriptors, as a container's cannot.

    Standard input is the request, one line, and the job; standard output the report, one line, and the
    results.
    """
    files = [os.memfd_create("job"), os.memfd_create("results")]
    request = json.loads(sys.stdin.buffer.readline())
    with os.fdopen(os.dup(files[0]), "wb") as job:
        shutil.copyfileobj(sys.stdin.buffer, job)
    os.lseek(files[0], 0, os.SEEK_SET)
    report = supervise(request, files)
    sys.stdout.buffer.write(json.dumps(report).encode() + b"\n")
    os.lseek(files[1], 0, os.SEEK_SET)
    with os.fdopen(files[1], "rb") as results:
        shutil.copyfileobj(results, sys.stdout.buffer)


def supervise(request, files):
    """Run one child to its end; returns how it ended, and what it used.

    The report's ``fault`` says what the machine failed to do; it is no fault of the child's.
    """
    if not request["nested"]:  # the child could look at this process
        seccomp.die_first()
        seccomp.hide()
    read_pid, write_pid = os.pipe()
    first = os.fork()
    if first == 0:
        try:
            _become_child(request, files, write_pid)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.write(write_pid, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(1)
    os.close(write_pid)
    # The child closes the pipe with a word in it once every door behind it is closed.
    with os.fdopen(read_pid) as stream:
        text = stream.read()
    if "sealed" not in text:
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()
        return {"fault": f"no process could be started for it: {text[:200]}"}
    if request["nested"]:
        os.waitpid(first, 0)
    child = int(text.replace("sealed", "")) if request["nested"] else first
    # A nested child's folders have their limit from the kernel; others are its own where they are mounts, and
    # else those of a whole machine that is thrown away.
    folders = [] if request["nested"] else filter(os.path.ismount, ("/tmp", "/dev/shm"))
    reason, status, usage, seconds = watch.wait(child, files[1], {**request["watch"], "folders": [*folders]})
    return {
        "status": status,
        "reason": reason,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "wall_s": seconds,
        "memory_mb": usage.ru_maxrss // 1024,
    }


def _become_child(request, files, pipe):
    mapped = seccomp.mapped_bytes()  # while /proc is still in sight
    seccomp.close_all_but({0, 1, 2, *files, pipe})
    seccomp.die_first()
    if request["nested"]:
        if _threads() != 1:
            return
        seccomp.enter_namespaces()
        child = os.fork()
        if child:
            os.write(pipe, str(child).encode())
            os._exit(0)
        seccomp.fresh_file_system(request["disk_mb"], request["files"])
    os.dup2(files[0], 0)
    os.dup2(files[1], 1)
    for file in files:
        os.close(file)
    os.makedirs("/tmp/home", exist_ok=True)
    os.chdir("/tmp/home")
    sys.argv[:] = [""]

    def close_doors():
        seccomp.hide()
        seccomp.limit(mapped=mapped, **request["limits"])
        seccomp.drop_privileges()
        seccomp.filter_system_calls()
        os.write(pipe, b"sealed")
        os.close(pipe)

    runner.main(ready=close_doors)


def load_reader():
    """Give the runner what reads notebooks, and forget the name ``rs_course``, which answers do not have."""
    sys.path.insert(0, "/grader/reading")
    runner.notebooks = importlib.import_module("rs_course.grading.notebooks")
    sys.path.pop(0)
    for name in [name for name in sys.modules if name.split(".")[0] == "rs_course"]:
        del sys.modules[name]


def _threads():
    return len(os.listdir("/proc/self/task"))


def _can_nest():
    pid = os.fork()
    if pid == 0:
        try:
            seccomp.enter_namespaces()
            if os.fork() == 0:
                seccomp.fresh_file_system(1, 100)
                os._exit(0)
            os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
        except OSError:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


if __name__ == "__main__":
    # What "site" gives every interactive Python; it is not loaded, because it would look for more packages.
    site.setquit()
    site.sethelper()
    load_reader()
    for name in sys.argv[2:]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if sys.argv[1] == "-":
        answer_once()
    else:
        serve(socket.socket(fileno=int(sys.argv[1])))
