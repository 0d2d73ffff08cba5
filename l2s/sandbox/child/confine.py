"""Gives up rights for good, before the first line of model-written code runs.

Afterwards the process can start no process or thread, open no socket, signal no other process, write no file, and read
little more than the standard library. So nothing needs to be watched.
"""

from __future__ import annotations

import ctypes
import os
import resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..policy import Policy

# linux/prctl.h, linux/landlock.h, linux/capability.h; the Landlock numbers are the same on every architecture
PR_SET_PDEATHSIG = 1
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
LANDLOCK_CREATE_RULESET_VERSION = 1
LANDLOCK_RULE_PATH_BENEATH = 1
READ_FILE, READ_DIR = 1 << 2, 1 << 3
LAST_FILE_RIGHT = {1: 12, 2: 13, 3: 14, 4: 14}  # number of rights by ABI; 15 from ABI 5 on
CAPABILITY_VERSION_3 = 0x20080522
SIGKILL = 9  # importing the module `signal` would take longer than running all of this

libc = ctypes.CDLL(None, use_errno=True)


def confine(policy: Policy) -> None:
    """Apply every part of `policy`. The system call filter comes last, because it forbids the calls of the others.

    Raises:
        OSError: the kernel refuses a part; the process must end.
    """
    _limit_resources(policy["cpu_seconds"], policy["memory_bytes"])
    if policy["user"] is not None:
        _become(policy["user"])
    _prctl(PR_SET_PDEATHSIG, SIGKILL)  # after the change of user, which would reset it
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    if policy["readable"]:
        _restrict_files(policy["readable"], policy["listable"])
    _drop_capabilities()
    _install_filter(policy["syscall_filter"])


def _limit_resources(cpu_seconds: int, memory_bytes: int) -> None:
    limits = {
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_NPROC: 0,  # the kernel exempts root from this; the system call filter exempts nobody
    }
    for kind, limit in limits.items():
        _, hard = resource.getrlimit(kind)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (limit, limit))


def _become(user: int) -> None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


class _RulesetAttr(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathBeneathAttr(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def _restrict_files(readable: list[str], listable: list[str]) -> None:
    """Landlock: allow only reading in or below `readable`, and listing folders at or below `listable`."""
    abi = _syscall(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_CREATE_RULESET_VERSION)
    attr = _RulesetAttr((1 << LAST_FILE_RIGHT.get(abi, 15) + 1) - 1)  # all rights this kernel knows are handled
    ruleset = _syscall(LANDLOCK_CREATE_RULESET, ctypes.byref(attr), ctypes.sizeof(attr), 0)
    for path in readable:
        _allow(ruleset, path, READ_FILE)
    for path in listable:
        _allow(ruleset, path, READ_DIR)
    _syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rule = _PathBeneathAttr(rights, fd)
    _syscall(LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    os.close(fd)


def _drop_capabilities() -> None:
    """Empty the capability sets. Then root's uid grants only access to root's own files."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    empty = (ctypes.c_uint32 * 6)()
    _check(libc.capset(header, empty), "capset")


class _Filter(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _install_filter(program: bytes) -> None:
    _prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(_Filter(len(program) // 8, program)))


def _prctl(option: int, *arguments: object) -> None:
    padding = [ctypes.c_ulong(0)] * (4 - len(arguments))
    _check(libc.prctl(option, *(ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments), *padding), "prctl")


def _syscall(number: int, *arguments: object) -> int:
    return _check(libc.syscall(ctypes.c_long(number), *arguments), f"system call {number}")


def _check(result: int, what: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return int(result)
