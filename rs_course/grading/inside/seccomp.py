"""Close the doors of a process on Linux: resource limits, own namespaces, and the filter of system calls.

Everything goes through :mod:`ctypes`, so it works in a process that has already imported torch. The filter
lets a student's code have what numerics, files of its own, threads and asyncio need.

Everything that is not named here is refused, also what future kernels add. What is left out on purpose:

* new processes and programs, sockets (a pair of connected ones serves asyncio's event loop), namespaces,
  mounts, tracing, and every way to change one's limits or identity;
* what another submission could notice, and so be told by: locks, leases and watches on shared files
  (``flock``, most of ``fcntl``, inotify), what is in the page cache (``mincore``, ``fadvise64``), free memory
  and disk (``sysinfo``, ``statfs``), System V and POSIX message queues;
* memory that no limit counts: ``memfd_create``, large pipes, extended attributes.

Numbers are those of x86-64 and arm64 (asm-generic), from the kernel's headers; ``-`` where arm64 has none.
"""

import contextlib
import ctypes
import os
import platform
import resource
import struct

_ALLOWED = """
read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, preadv 295 69,
pwritev 296 70, preadv2 327 286, pwritev2 328 287, lseek 8 62, close 3 57, close_range 436 436, dup 32 23,
dup2 33 -, dup3 292 24, open 2 -, openat 257 56, creat 85 -, stat 4 -, lstat 6 -, fstat 5 80,
newfstatat 262 79, statx 332 291, access 21 -, faccessat 269 48, faccessat2 439 439, getdents 78 -,
getdents64 217 61, readlink 89 -, readlinkat 267 78, getcwd 79 17, chdir 80 49, fchdir 81 50, mkdir 83 -,
mkdirat 258 34, rmdir 84 -, unlink 87 -, unlinkat 263 35, rename 82 -, renameat 264 38, renameat2 316 276,
link 86 -, linkat 265 37, symlink 88 -, symlinkat 266 36, umask 95 166, truncate 76 45, ftruncate 77 46,
fallocate 285 47, fsync 74 82, fdatasync 75 83, getxattr 191 8, lgetxattr 192 9, fgetxattr 193 10,
listxattr 194 11, llistxattr 195 12, flistxattr 196 13, sendfile 40 71, poll 7 -, ppoll 271 73, select 23 -,
pselect6 270 72, epoll_create 213 -, epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -,
epoll_pwait 281 22, epoll_pwait2 441 441, eventfd 284 -, eventfd2 290 19, pipe 22 -, pipe2 293 59,
sendto 44 206, recvfrom 45 207, shutdown 48 210, getsockname 51 204, getpeername 52 205, getsockopt 55 209,
brk 12 214, munmap 11 215, mremap 25 216, mmap 9 222, mprotect 10 226, msync 26 227, futex 202 98,
set_robust_list 273 99, rseq 334 293, membarrier 324 283, arch_prctl 158 -, sched_yield 24 124,
sched_getaffinity 204 123, sched_setaffinity 203 122, sched_getparam 143 121, sched_getscheduler 145 120,
sched_get_priority_max 146 125, sched_get_priority_min 147 126, getpriority 140 141, getcpu 309 168,
rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigpending 127 136,
rt_sigtimedwait 128 137, rt_sigsuspend 130 133, sigaltstack 131 132, pause 34 -, restart_syscall 219 128,
getitimer 36 102, alarm 37 -, setitimer 38 103, nanosleep 35 101, clock_nanosleep 230 115,
clock_gettime 228 113, clock_getres 229 114, gettimeofday 96 169, time 201 -, times 100 153,
getrusage 98 165, getrlimit 97 163, getrandom 318 278, getpid 39 172, gettid 186 178, getppid 110 173,
getuid 102 174, geteuid 107 175, getgid 104 176, getegid 108 177, getresuid 118 148, getresgid 120 150,
getgroups 115 158, getpgrp 111 -, getpgid 121 155, getsid 124 156, capget 125 90, uname 63 160,
wait4 61 260, waitid 247 95, exit 60 93, exit_group 231 94
"""

# These do nothing and say that all went well. Modes and times of a submission's own files do not matter;
# those of the devices under /dev are this machine's, and whoever grades as root owns them.
_PRETENDED = """
chmod 90 -, fchmod 91 52, fchmodat 268 53, utime 132 -, utimes 235 -, futimesat 261 -, utimensat 280 88
"""

# Calls whose arguments matter: name → numbers, which argument, and which of its values pass.
# fcntl: duplicate, flags of descriptor and file. ioctl: is it a terminal (not), block or not, close on exec.
# prctl: name of a thread or of a mapping. socketpair: AF_UNIX. prlimit64: reading, with no new limit.
# madvise: everything but advice on pages that others may share (COLD, PAGEOUT).
_BY_VALUE = {
    "fcntl": ((72, 25), 1, (0, 1, 2, 3, 4, 1030)),
    "ioctl": ((16, 29), 1, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)),
    "prctl": ((157, 167), 0, (15, 16, 0x53564D41)),
    "socketpair": ((53, 199), 0, (1,)),
    "madvise": ((28, 233), 2, (0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 22, 23, 25)),
}
# Signals may go to this process alone, and SIGKILL not even there: so it means the machine or a limit.
_TO_ITSELF = {"kill": (62, 129), "tgkill": (234, 131)}
_PRLIMIT64, _CLONE, _CLONE3 = (302, 261), (56, 220), 435
_CLONE_THREAD, _SIGKILL = 0x10000, 9
# From here on calls are new enough that the C library does without one that "is not implemented".
_FIRST_NEW = 424
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOTTY, _ENOSYS = 1, 25, 38
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _GIVE = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data


def program(machine: str, pid: int) -> list[tuple[int, int, int, int]]:
    """The filter as a classic BPF program over ``struct seccomp_data``; see seccomp(2).

    Args:
        machine: A key of ``AUDIT``.
        pid: The process that may send signals to itself.
    """
    column = list(AUDIT).index(machine)
    lines = [(_LOAD, 0, 0, _MACHINE), (_EQUAL, 1, 0, AUDIT[machine]), _give(_KILL), (_LOAD, 0, 0, _NUMBER)]
    # The 32-bit "x32" numbers of x86-64 would be a second door to the same calls.
    lines += [(_AT_LEAST, 0, 1, _X32), _give(_KILL)]
    for table, answer in ((_ALLOWED, _ALLOW), (_PRETENDED, _ERRNO | 0)):
        for entry in table.replace("\n", " ").split(","):
            number = entry.split()[1 + column]
            if number != "-":
                lines += [(_EQUAL, 0, 1, int(number)), _give(answer)]
    for name, (numbers, argument, values) in _BY_VALUE.items():
        passes = [line for value in values for line in ((_EQUAL, 0, 1, value), _give(_ALLOW))]
        refusal = _ENOTTY if name == "ioctl" else _EPERM
        lines += _block(numbers[column], [_argument(argument), *passes, _give(_ERRNO | refusal)])
    for name, numbers in _TO_ITSELF.items():
        signal = _argument(1 if name == "kill" else 2)
        lines += _block(
            numbers[column],
            [
                *(_argument(0), (_EQUAL, 1, 0, pid), _give(_ERRNO | _EPERM)),
                *(signal, (_EQUAL, 0, 1, _SIGKILL), _give(_ERRNO | _EPERM), _give(_ALLOW)),
            ],
        )
    # The new limit is a pointer: both of its halves must be null.
    refused = _give(_ERRNO | _EPERM)
    null = [line for half in (0, 4) for line in (_argument(2, half), (_EQUAL, 1, 0, 0), refused)]
    lines += _block(_PRLIMIT64[column], [*null, _give(_ALLOW)])
    thread = [_argument(0), (_ANY_BIT, 0, 1, _CLONE_THREAD), _give(_ALLOW), _give(_ERRNO | _EPERM)]
    lines += _block(_CLONE[column], thread)
    # clone3 keeps its flags in memory, out of a filter's sight; the C library falls back to clone.
    lines += [(_AT_LEAST, 0, 1, _FIRST_NEW), _give(_ERRNO | _ENOSYS)]
    return [*lines, _give(_ERRNO | _EPERM)]


def _give(answer):
    return (_GIVE, 0, 0, answer)


def _argument(number, half=0):
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * number + half)


def _block(number, lines):
    """``lines``, which end with an answer, for one call; any other call jumps over them."""
    return [(_EQUAL, 0, len(lines), number), *lines]


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
    """Refuse what the tables above do not allow; the filter cannot be taken off again."""
    lines = program(platform.machine(), os.getpid())
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
