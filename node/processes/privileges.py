"""What a process gives up for good: rights by programs that it starts, and root's powers."""

import ctypes
import os

PR_SET_NO_NEW_PRIVS = 38
CAPABILITY_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3: 64 bits
KEPT = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: files of others, as far as the fence allows

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Half(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def give_up() -> None:
    """Keep of root's powers only KEPT, and gain none by setuid programs. The calling thread. Raises OSError."""
    header, halves = _Header(CAPABILITY_VERSION, 0), (_Half * 2)()
    _check(_libc.capget(ctypes.byref(header), halves), "capget")
    for half, kept in zip(halves, (KEPT & 0xFFFFFFFF, KEPT >> 32), strict=True):
        half.permitted &= kept
        half.effective &= kept
        half.inheritable = 0
    _check(_libc.capset(ctypes.byref(header), halves), "capset")
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


def _check(result: int, name: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
