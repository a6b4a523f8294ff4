"""Whether arrays will fit into memory: asked before any work, for a system that runs out of it ends processes without a word."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

SURE = 1 << 28  # bytes that are taken without a question; to ask takes 30 us
_GIB = 1 << 30


def check_fits(what: str, numbers: int, itemsize: int) -> None:
    """Raise MemoryError unless an array of so many numbers of so many bytes, `what` in the message, fits into free memory.

    >>> check_fits("y", 10**18, 4)
    Traceback (most recent call last):
        ...
    MemoryError: y must fit into memory, got 3725290298.5 GiB for ... GiB that are free
    """
    size = numbers * itemsize
    if size > SURE and size > (free := free_bytes()):
        raise MemoryError(
            f"{what} must fit into memory, got {size / _GIB:.1f} GiB for {free / _GIB:.1f} GiB that are free"
        )


def free_bytes() -> float:
    """Memory that this process may still take, swap not counted; infinite where the system does not say."""
    return min(_answers(), default=math.inf)


def _answers() -> Iterator[float]:
    """What the machine has: free, as Linux says it, or in all; what the process's limit leaves of address space (`ulimit -v`); and
    what its container has left, of the two kinds there are.
    """
    with contextlib.suppress(OSError, AttributeError, ValueError):
        yield float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        yield int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) * 1024.0
    with contextlib.suppress(ImportError, OSError, ValueError):  # no such limits on Windows
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
            yield float(limit - pages * resource.getpagesize())
    groups = Path("/sys/fs/cgroup")
    for allowed, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):  # "max" is no number and no limit
            yield float((groups / allowed).read_text(encoding="ascii")) - float(
                (groups / used).read_text(encoding="ascii")
            )
