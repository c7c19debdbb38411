"""Landlock: the kernel's own fence around a process's files and signals, set by the process itself and never lifted.

Linux 5.13 and later, when it is switched on. No library is needed: three system calls by ctypes. Source: the kernel's
`include/uapi/linux/landlock.h` and its userspace-api documentation.
"""

import contextlib
import ctypes
import os
import stat
from collections.abc import Iterable
from functools import lru_cache

CREATE, ADD, RESTRICT = 444, 445, 446  # system calls, the same on every architecture since 5.13
ASK_VERSION = 1
BENEATH = 1

WRITE_FILE, READ_FILE, READ_DIR = 1 << 1, 1 << 2, 1 << 3
CHANGE_DIR = sum(1 << bit for bit in range(4, 13))  # remove and make files, folders, sockets, links, devices
REFER, TRUNCATE = 1 << 13, 1 << 14  # since versions 2 and 3
READ = READ_FILE | READ_DIR
FILE_RIGHTS = WRITE_FILE | READ_FILE | TRUNCATE  # that a rule for a single file may name
SCOPE_SIGNAL, SIGNALS_SINCE = 1 << 1, 6  # signals reach nobody outside

_libc = ctypes.CDLL(None, use_errno=True)


class LandlockError(OSError):
    """The kernel did not take the fence."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled_fs", ctypes.c_uint64), ("handled_net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


@lru_cache(maxsize=1)
def version() -> int:
    """Return the version of the kernel's Landlock, 0 where there is none."""
    return max(0, int(_libc.syscall(CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(ASK_VERSION))))


def rights_to_write(kernel: int) -> int:
    """Return the rights that Landlock *kernel* (its version) knows of changing files."""
    return WRITE_FILE | CHANGE_DIR | (REFER if kernel >= 2 else 0) | (TRUNCATE if kernel >= 3 else 0)


def restrict(writable: Iterable[str], readable: Iterable[str] | None) -> None:
    """Let this process, from now on, change files only in *writable*, and read only these and *readable* (None: all).

    Signals then reach only processes that it makes. Paths that are not there are left out. Call it in a process of one
    thread, after `privileges.give_up`: other threads stay outside, and root could look around the fence. Raises
    LandlockError; nothing is restricted then.
    """
    kernel = version()
    changes = rights_to_write(kernel)
    handled = changes if readable is None else changes | READ
    ruleset = _create(handled, kernel)
    try:
        for path in readable or ():
            _allow(ruleset, path, READ)
        for path in writable:
            _allow(ruleset, path, handled)
        _call(RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _create(handled: int, kernel: int) -> int:
    attributes = _Ruleset(handled, 0, SCOPE_SIGNAL if kernel >= SIGNALS_SINCE else 0)
    size = 24 if kernel >= SIGNALS_SINCE else 8  # older kernels know the first member alone
    return _call(CREATE, ctypes.byref(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0))


def _allow(ruleset: int, path: str, rights: int) -> None:
    with contextlib.suppress(FileNotFoundError, PermissionError, NotADirectoryError):
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            rights &= -1 if stat.S_ISDIR(os.fstat(descriptor).st_mode) else FILE_RIGHTS
            rule = _Beneath(rights, descriptor)
            _call(ADD, ctypes.c_int(ruleset), ctypes.c_int(BENEATH), ctypes.byref(rule), ctypes.c_uint32(0))
        finally:
            os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        raise LandlockError(ctypes.get_errno(), f"landlock system call {number}")
    return result
