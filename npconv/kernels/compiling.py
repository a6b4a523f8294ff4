"""How the loops are compiled, and what they may assume of their arrays."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np

from npconv.geometry import Array
from npconv.kernels.simd import VECTOR_BITS

SMALL = 4096  # elements of a first argument below which waking other threads takes longer than the work: 2 ms on a busy machine

_forked = False  # whether this process is the child of one in which kernels may have run
_one_at_a_time = threading.Lock()


def _note_the_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_the_fork)


def compiled(loop: Callable[..., None]) -> Callable[..., None]:
    """Compile `loop` on its first call for each dtype, in parallel over `prange`, and keep the result on disk.

    Division follows IEEE (error_model="numpy"). Never fastmath: NaN and infinity have to come out where the reference
    has them.

    Calls are safe from any thread and after a fork, which Numba's own are not: the layer "workqueue" ends the process
    when two threads call at once, so there they take turns; and "omp" ends a forked child, so a child runs the same loop
    without threads, compiled for itself.
    """
    parallel = numba.njit(parallel=True, cache=True, error_model="numpy")(loop)
    serial = numba.njit(error_model="numpy")(loop)  # not kept on disk, where it would take the place of the other

    @functools.wraps(loop)
    def run(*arguments: Any) -> None:
        if _forked:
            serial(*arguments)
        elif _threads_may_meet():
            threads = numba.get_num_threads()
            if arguments[0].size >= SMALL or threads == 1:
                parallel(*arguments)
                return
            numba.set_num_threads(1)
            try:
                parallel(*arguments)
            finally:
                numba.set_num_threads(threads)
        else:
            with _one_at_a_time:
                parallel(*arguments)

    return run


def _threads_may_meet() -> bool:
    """Whether two threads may run kernels at once: not before a first run has decided the threading layer."""
    try:
        return numba.threading_layer() != "workqueue"
    except ValueError:
        return False


def contiguous(array: Array) -> Array:
    """`array` in C order, aligned and writeable, copied only if it is not: each layout would be one more compilation."""
    return np.require(array, requirements=["C", "A", "W"])


_kept = threading.local()


def scratch(dtype: Any, size: int) -> Array:
    """Memory for each of Numba's threads, (threads, size), not set to anything, until this thread asks again.

    It is kept between calls, because fresh pages cost more than many a convolution: 1 MiB took 0.2 ms on one machine.
    """
    needed = numba.get_num_threads() * size
    name = np.dtype(dtype).name
    flat = getattr(_kept, name, None)
    if flat is None or flat.size < needed:
        flat = np.empty(needed, dtype)
        setattr(_kept, name, flat)
    return flat[:needed].reshape(-1, size)


def configuration() -> dict[str, str]:
    """What `npconv.show_config` prints of this backend."""
    from llvmlite import binding

    return {
        "Numba": numba.__version__,
        "threads": f"{numba.get_num_threads()}",
        "threading layer": _threading_layer(),
        "kernel cache": os.environ.get("NUMBA_CACHE_DIR") or str(Path(__file__).with_name("__pycache__")),
        "vector width": f"{VECTOR_BITS} bits ({binding.get_host_cpu_name()})",
    }


def _threading_layer() -> str:
    try:
        return str(numba.threading_layer())
    except ValueError:  # no parallel loop has run yet
        return f"{numba.config.THREADING_LAYER} (not started)"
