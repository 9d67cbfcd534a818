"""Close the doors of a process on Linux: resource limits, own namespaces, and the filter of system calls.

Everything goes through :mod:`ctypes`, so it works in a process that has already imported torch.
"""

import contextlib
import ctypes
import os
import platform
import resource
import struct

import calls

_NEW_NAMESPACES = (
    0x20000 | 0x4000000 | 0x8000000 | 0x10000000 | 0x20000000 | 0x40000000
)  # ns uts ipc user pid net
_RDONLY, _NOSUID, _NODEV, _REMOUNT = 1, 2, 4, 32
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP, _PR_SET_DUMPABLE = 22, 38, 24, 4


def mapped_bytes() -> int:
    """Address space that this process uses already, mostly for the warm imports."""
    with open("/proc/self/statm", encoding="utf-8") as statm:
        return int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def limit(*, mapped, cpu_s, memory_mb, file_mb, threads):
    """Set limits of this process; ``memory_mb`` counts on top of ``mapped`` bytes.

    ``threads`` is ``None`` where other processes of the same user would be counted with it.
    """
    resource.setrlimit(resource.RLIMIT_AS, (mapped + memory_mb * 2**20,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_s), int(cpu_s) + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_mb * 2**20,) * 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_STACK, (8 * 2**20, 8 * 2**20))
    # Since Linux 5.14 it counts within a user namespace. Root is exempt, so the supervisor counts as well.
    kernel = tuple(map(int, platform.release().split("-")[0].split(".")[:2]))
    if threads is not None and kernel >= (5, 14):
        resource.setrlimit(resource.RLIMIT_NPROC, (threads, threads))


def close_all_but(keep):
    """Close every descriptor that is not in ``keep``, however high its number."""
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor not in keep:
            with contextlib.suppress(OSError):  # the one that listed the folder is gone already
                os.close(descriptor)


def die_first():
    """Let the kernel choose this process when memory runs out, rather than the grader."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="utf-8") as stream:
        stream.write("1000")


def hide():
    """Keep a process of the same user from reading, tracing or steering this one through ``/proc``.

    Nor is its memory handed to the machine's collector of crashes when it crashes.
    """
    _call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)


def enter_namespaces():
    """Give the next child of this process user, mount, pid, network, IPC and UTS namespaces of its own.

    Raises:
        OSError: The system forbids unprivileged user namespaces.
    """
    user, group = os.getuid(), os.getgid()
    _call("unshare", _NEW_NAMESPACES)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="utf-8") as stream:
            stream.write(text)


def fresh_file_system(disk_mb, files):
    """Cover every writable folder with an empty one of its own, and ``/proc`` with ``cpuinfo`` alone."""
    # torch asks for the processor's features when it first needs them, and refuses to work without.
    with open("/proc/cpuinfo", "rb") as stream:
        processor = stream.read()
    for target in (b"/tmp", b"/dev/shm"):
        options = f"size={disk_mb}m,nr_inodes={files}".encode()
        _call("mount", b"tmpfs", target, b"tmpfs", _NOSUID | _NODEV, options)
    _call("mount", b"tmpfs", b"/proc", b"tmpfs", _NOSUID | _NODEV, b"size=4m")
    with open("/proc/cpuinfo", "wb") as stream:
        stream.write(processor)
    _call("mount", b"tmpfs", b"/proc", b"tmpfs", _RDONLY | _NOSUID | _NODEV | _REMOUNT, b"size=4m")


def drop_privileges():
    """Give up every capability, for good, of this process and whatever it may start."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(64):
        if libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0):
            break
    header = struct.pack("=Ii", 0x20080522, 0)
    if libc.capset(header, bytes(24)):
        raise OSError(ctypes.get_errno(), "capset")
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def filter_system_calls():
    """Refuse what :mod:`calls` does not allow; the filter cannot be taken off again."""
    lines = calls.program(platform.machine(), os.getpid())
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    filter_ = struct.pack("HxxxxxxP", len(lines), ctypes.addressof(code))
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _call("prctl", _PR_SET_SECCOMP, 2, ctypes.create_string_buffer(filter_), 0, 0)


def _call(name, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*(_wide(value) for value in arguments)):
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def _wide(value):
    return ctypes.c_ulong(value) if isinstance(value, int) else value
