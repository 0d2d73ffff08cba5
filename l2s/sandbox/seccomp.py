"""The system call filter of the worker: a list of allowed calls, so that forgotten ones are forbidden.

A Python process that only computes needs few calls. Left out on purpose: starting processes and threads (clone, fork,
execve), all sockets, signals to others (kill, tgkill, and fcntl's F_SETOWN), every change to a file system (Landlock
does not cover chmod and utime), limits and parent-death signal (prlimit64, prctl), ioctl, ptrace, and namespaces.
"""

from __future__ import annotations

import platform
import struct

from l2s.errors import UserError

# name: number on x86_64, number on aarch64 (asm/unistd.h); None where the call does not exist
ALLOWED: dict[str, tuple[int, int | None]] = {
    # memory
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "mremap": (25, 216), "madvise": (28, 233),
    "brk": (12, 214),
    # files, as far as they can be opened
    "open": (2, None), "openat": (257, 56), "close": (3, 57), "read": (0, 63), "readv": (19, 65), "pread64": (17, 67),
    "write": (1, 64), "writev": (20, 66), "lseek": (8, 62), "getdents64": (217, 61), "getcwd": (79, 17),
    "fstat": (5, 80), "newfstatat": (262, 79), "statx": (332, 291), "stat": (4, None), "lstat": (6, None),
    "access": (21, None), "faccessat": (269, 48), "faccessat2": (439, 439),
    # descriptors
    "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24), "pipe": (22, None), "pipe2": (293, 59),
    "select": (23, None), "pselect6": (270, 72), "poll": (7, None), "ppoll": (271, 73),
    # its own signals and timers
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132),
    "restart_syscall": (219, 128), "alarm": (37, None), "pause": (34, None), "setitimer": (38, 103),
    "getitimer": (36, 102),
    # time and waiting
    "futex": (202, 98), "sched_yield": (24, 124), "nanosleep": (35, 101), "clock_nanosleep": (230, 115),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "gettimeofday": (96, 169), "time": (201, None),
    "times": (100, 153), "getrusage": (98, 165),
    # asking about itself
    "getpid": (39, 172), "getppid": (110, 173), "gettid": (186, 178), "getuid": (102, 174), "geteuid": (107, 175),
    "getgid": (104, 176), "getegid": (108, 177), "sched_getaffinity": (204, 123), "uname": (63, 160),
    "getrandom": (318, 278),
    # the end
    "exit": (60, 93), "exit_group": (231, 94),
}  # fmt: skip
FCNTL = (72, 25)
FCNTL_COMMANDS = (0, 1, 2, 3, 1030)  # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, AUDIT_ARCH of linux/audit.h

# linux/bpf_common.h and linux/seccomp.h
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
NUMBER, ARCHITECTURE, SECOND_ARGUMENT = 0, 4, 24  # offsets in struct seccomp_data, low word first
ALLOW, FORBID, KILL = 0x7FFF0000, 0x00050000 | 1, 0x80000000  # FORBID: the call fails with EPERM


def build_filter(machine: str | None = None) -> bytes:
    """The filter for this machine, or the named one, as an array of `struct sock_filter`.

    Raises:
        UserError: the system call numbers of the machine are not known.
    """
    machine = machine or platform.machine()
    if machine not in MACHINES:
        raise UserError(f"sandbox: no system call filter for {machine}; known: {', '.join(MACHINES)}")
    column, architecture = MACHINES[machine]
    code = [_load(ARCHITECTURE), _skip_unless(architecture, 1, otherwise=0), _return(KILL), _load(NUMBER)]
    for call in ALLOWED.values():
        number = call[column]
        if number is not None:
            code += [_skip_unless(number, 0, otherwise=1), _return(ALLOW)]
    code += [_skip_unless(FCNTL[column], 0, otherwise=1 + 2 * len(FCNTL_COMMANDS)), _load(SECOND_ARGUMENT)]
    for command in FCNTL_COMMANDS:
        code += [_skip_unless(command, 0, otherwise=1), _return(ALLOW)]
    return b"".join([*code, _return(FORBID)])


def _load(offset: int) -> bytes:
    return struct.pack("=HBBI", LOAD, 0, 0, offset)


def _skip_unless(value: int, equal: int, *, otherwise: int) -> bytes:
    """Skip `equal` instructions if the loaded word is `value`, else `otherwise`."""
    return struct.pack("=HBBI", JUMP_IF_EQUAL, equal, otherwise, value)


def _return(action: int) -> bytes:
    return struct.pack("=HBBI", RETURN, 0, 0, action)
