"""How much a handler's process may take: memory, files, the size of a file.

Memory is looked at by the agent (`private_mb` of each process, several times a second): who uses more than the limit
is killed and named. The kernel's own limits would only refuse memory, at an address nobody reads about, and RLIMIT_AS
counts what is reserved and never used: gigabytes with CUDA or shared memory. RLIMIT_DATA, which counts private memory
alone, is set to twice the limit as the wall for what comes faster than a look.
"""

import os
import resource

from wire.resources import Profile

SLACK_MB, TIMES_PROFILE = 1024, 4  # the default: a profile was made with small frames
WALL = 2  # times the limit: what the kernel refuses
FILES = 4096  # open ones
FRAMES_PER_FILE = 1024  # of the largest size: shared memory is made of sparse files, of one size each
MIB = 1 << 20
_PAGE = os.sysconf("SC_PAGE_SIZE")


def memory_mb(configured: int, profile: Profile) -> int:
    """Return the limit of a handler's process in MiB: *configured*, or when that is 0 by its type's profile."""
    largest = max([profile.mem_mb, *(variation.mem_mb for variation in profile.variations)])
    return configured or round(TIMES_PROFILE * largest) + SLACK_MB


def private_mb(pid: int) -> int:
    """Return the MiB that process *pid* uses alone: no files, no shared memory, where frames are. 0: it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            _, resident, shared = file.read().split()[:3]
    except (OSError, ValueError):  # also where there is no /proc: nothing is looked at
        return 0
    return (int(resident) - int(shared)) * _PAGE // MIB


def set_limits(limit_mb: int, max_frame_bytes: int) -> None:
    """Bound this process; 0: its memory is not. What is lower already stays."""
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, FILES)
    _lower(resource.RLIMIT_FSIZE, FRAMES_PER_FILE * max_frame_bytes)
    if limit_mb:
        _lower(resource.RLIMIT_DATA, WALL * limit_mb * MIB)


def _lower(what: int, value: int) -> None:
    soft, hard = (value if now == resource.RLIM_INFINITY else min(now, value) for now in resource.getrlimit(what))
    resource.setrlimit(what, (soft, hard))
