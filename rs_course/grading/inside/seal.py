"""Close the doors of a process on Linux: resource limits, own namespaces, and a filter of system calls.

Everything goes through :mod:`ctypes`, so it works in a process that has already imported torch.
"""

import ctypes
import os
import platform
import struct

_NEW_NAMESPACES = (
    0x20000 | 0x4000000 | 0x8000000 | 0x10000000 | 0x20000000 | 0x40000000
)  # ns uts ipc user pid net
_RDONLY, _NOSUID, _NODEV, _REMOUNT, _BIND, _RECURSIVE = 1, 2, 4, 32, 4096, 16384
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP = 22, 38, 24

# System calls that no assignment needs. New processes and programs are refused, which also bounds what all
# of a submission's processes together may take: there is only one. x86-64 and arm64 numbers, from the
# kernel's tables.
_DENIED = {
    "x86_64": "57 58 59 322 101 165 166 155 161 272 308 175 313 176 321 298 323 425 426 427 310 311 434 438 "
    "424 250 248 249 319 447 29 30 31 64 68 240 303 304 428 429 430 431 432 433 442 41 246 320 169 153",
    "aarch64": "221 281 117 40 39 41 51 97 268 105 273 106 280 241 282 425 426 427 270 271 434 438 424 219 "
    "217 218 279 447 194 195 196 190 186 180 264 265 428 429 430 431 432 433 442 198 104 294 142 58",
}
# audit architecture, clone, clone3
_ARCHITECTURE = {"x86_64": (0xC000003E, 56, 435), "aarch64": (0xC00000B7, 220, 435)}
_CLONE_THREAD = 0x10000
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38


def supported() -> bool:
    """Whether :func:`filter_system_calls` knows this processor."""
    return platform.system() == "Linux" and platform.machine() in _ARCHITECTURE


def mapped_bytes() -> int:
    """Address space that this process uses already, mostly for the warm imports."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def limit(*, mapped, cpu_s, memory_mb, file_mb):
    """Set limits of this process; ``memory_mb`` counts on top of ``mapped`` bytes."""
    import resource  # POSIX only, and the host imports this module on any system.

    resource.setrlimit(resource.RLIMIT_AS, (mapped + memory_mb * 2**20,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_s), int(cpu_s) + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_mb * 2**20,) * 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_STACK, (8 * 2**20, 8 * 2**20))


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
        with open(f"/proc/self/{name}", "w") as stream:
            stream.write(text)


def fresh_file_system(disk_mb, keep=()):
    """Cover every writable folder with an empty one of its own, and ``/proc`` with ``cpuinfo`` alone.

    The read-only folders in ``keep`` (an interpreter that lies under ``/tmp``) are brought back into the new
    ``/tmp``.
    """
    # torch asks for the processor's features when it first needs them, and refuses to work without.
    with open("/proc/cpuinfo", "rb") as stream:
        processor = stream.read()
    kept = [(os.open(folder, os.O_PATH), folder) for folder in keep]
    for target, options in (("/tmp", f"size={disk_mb}m"), ("/dev/shm", f"size={disk_mb}m")):
        _call("mount", b"tmpfs", target.encode(), b"tmpfs", _NOSUID | _NODEV, options.encode())
    for folder, path in kept:
        os.makedirs(path, exist_ok=True)
        _call("mount", f"/proc/self/fd/{folder}".encode(), path.encode(), None, _BIND | _RECURSIVE, None)
        os.close(folder)
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
    """Refuse ``_DENIED`` and every new process with "operation not permitted"; threads stay possible.

    The filter is a classic BPF program over ``struct seccomp_data`` (see seccomp(2)); it cannot be taken
    off again.
    """
    machine = platform.machine()
    audit, clone, clone3 = _ARCHITECTURE[machine]
    load, equal, at_least, has_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    program = [(load, 0, 0, 4), (equal, 1, 0, audit), (give, 0, 0, _KILL), (load, 0, 0, 0)]
    # The 32-bit "x32" numbers of x86-64 start here; they would be a second door to the same calls.
    program += [(at_least, 0, 1, 0x40000000), (give, 0, 0, _KILL)]
    for number in map(int, _DENIED[machine].split()):
        program += [(equal, 0, 1, number), (give, 0, 0, _ERRNO | _EPERM)]
    # clone3 keeps its flags in memory, out of a filter's sight; ENOSYS makes the C library fall back to
    # clone.
    program += [(equal, 0, 1, clone3), (give, 0, 0, _ERRNO | _ENOSYS)]
    program += [(equal, 0, 3, clone), (load, 0, 0, 16), (has_bit, 1, 0, _CLONE_THREAD)]
    program += [(give, 0, 0, _ERRNO | _EPERM), (give, 0, 0, _ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    filter_ = struct.pack(
        "HxxxxxxP" if ctypes.sizeof(ctypes.c_void_p) == 8 else "HxxP", len(program), ctypes.addressof(code)
    )
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _call("prctl", _PR_SET_SECCOMP, 2, ctypes.create_string_buffer(filter_), 0, 0)


def _call(name, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*(_wide(value) for value in arguments)):
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def _wide(value):
    return ctypes.c_ulong(value) if isinstance(value, int) else value
