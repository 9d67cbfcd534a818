"""A warm interpreter inside bubblewrap that forks one sealed child for each submission.

Importing torch takes longer than running a small notebook, so it is done once. Why a fork is safe here:

* *Nothing to inherit.* This process runs inside bubblewrap with a cleared environment and sees the
  interpreter and these files only. It never reads a job: the two files of a job are passed on to the child
  as descriptors, and closed here. So its memory holds no submission, input or result that a later child
  could find.
* *One thread.* Preloading must not start a thread (thread pools are limited to one, and this is counted
  before every fork), so no lock can be left locked in the child.
* *No way back.* The child enters its own user, process, mount, network and IPC namespaces: it cannot name,
  signal or trace this process or a sibling; its ``/tmp`` and ``/dev/shm`` are new and everything else is
  read-only; ``/proc`` is empty. A filter refuses new processes, programs and sockets. The child is process
  1 of its namespace, so when it dies or is killed the kernel ends whatever it had started, and its files
  vanish with its mounts.

Where the system forbids nested namespaces the host is told (``"nested": false``) and takes a new bubblewrap
for each submission instead: slower, equally closed.
"""

import contextlib
import ctypes
import importlib
import json
import os
import select
import socket
import sys
import time

import runner
import seal

_PR_SET_CHILD_SUBREAPER = 36
_START_FAILED = 97


def serve(control, preload):
    """Answer jobs on the socket ``control`` until the host closes it."""
    for name in preload:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    # A child's middle process exits at once; the child itself then becomes ours to wait for.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    control.send(json.dumps({"nested": _threads() == 1 and _can_nest()}).encode())
    while True:
        message, files, _, _ = socket.recv_fds(control, 1 << 16, 2)
        if not message:
            return
        report = supervise(json.loads(message), files)
        control.send(json.dumps(report).encode())


def supervise(request, files):
    """Run one child to its end; returns its wait status, whether it was killed for time, and what it used."""
    started = time.monotonic()
    read_pid, write_pid = os.pipe()
    first = os.fork()
    if first == 0:
        try:
            os.close(read_pid)
            _become_child(request, files, write_pid)
        finally:
            os._exit(_START_FAILED)
    os.close(write_pid)
    for file in files:
        os.close(file)
    if request["nested"]:
        os.waitpid(first, 0)
        with os.fdopen(read_pid) as stream:
            text = stream.read()
        if not text:
            return {"status": _START_FAILED << 8, "timeout": False, "cpu_s": 0, "wall_s": 0, "memory_mb": 0}
        child = int(text)
    else:
        os.close(read_pid)
        child = first
    ended = os.pidfd_open(child)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    timeout = not poll.poll(request["wall_s"] * 1000)
    if timeout:
        os.kill(child, 9)
    _, status, usage = os.wait4(child, 0)
    os.close(ended)
    return {
        "status": status,
        "timeout": timeout,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "wall_s": time.monotonic() - started,
        "memory_mb": usage.ru_maxrss // 1024,
    }


def _become_child(request, files, write_pid):
    mapped = seal.mapped_bytes()  # while /proc is still in sight
    if request["nested"]:
        if _threads() != 1:
            return
        seal.enter_namespaces()
        child = os.fork()
        if child:
            os.write(write_pid, str(child).encode())
            os._exit(0)
        seal.fresh_file_system(request["disk_mb"], request["keep"])
    os.dup2(files[0], 0)
    os.dup2(files[1], 1)
    os.closerange(3, 256)
    os.makedirs("/tmp/home", exist_ok=True)
    os.chdir("/tmp/home")
    sys.argv[:] = [""]

    def close_doors():
        seal.limit(mapped=mapped, **request["limits"])
        seal.drop_privileges()
        seal.filter_system_calls()

    runner.main(ready=close_doors)


def _threads():
    return len(os.listdir("/proc/self/task"))


def _can_nest():
    pid = os.fork()
    if pid == 0:
        try:
            seal.enter_namespaces()
            if os.fork() == 0:
                seal.fresh_file_system(1)
                os._exit(0)
            os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
        except OSError:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
