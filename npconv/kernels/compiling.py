"""How the loops are compiled, and what they may assume of their arrays."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core.compiler_lock import global_compiler_lock
from numba.np.ufunc import parallel as pool

from npconv.geometry import Array
from npconv.kernels.cache import keep_on_disk
from npconv.kernels.linking import link_before_optimizing
from npconv.kernels.simd import VECTOR_BITS
from npconv.memory import CACHE_LINE, PAGE, empty

LOOPS: list[Any] = []  # every compiled loop, as Numba's dispatcher
SMALL = 4096  # elements of the largest array below which waking other threads takes longer than the work: 2 ms on a busy machine

_forked = False  # whether this process is the child of one in which kernels may have run
_one_at_a_time = threading.Lock()
_layer_allows_it: bool | None = None  # two threads at once; None until Numba has chosen its threading layer


def _note_the_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    # A child made while another thread compiles would wait for ever for Numba's lock, so making it waits for the thread.
    os.register_at_fork(before=global_compiler_lock.acquire, after_in_parent=global_compiler_lock.release)
    os.register_at_fork(after_in_child=global_compiler_lock.release)
    os.register_at_fork(after_in_child=_note_the_fork)

# pip puts TBB where the dynamic loader does not look; Numba finds it once it is loaded. It is the one layer that minds
# neither threads nor forks.
with contextlib.suppress(OSError):
    ctypes.CDLL(str(Path(sys.prefix, "lib", "libtbb.so.12")))


def compiled(loop: Callable[..., None]) -> Callable[..., None]:
    """Compile `loop` on its first call for each dtype, in parallel over `prange`, and keep the result on disk (`cache`).

    Division follows IEEE (error_model="numpy"). Never fastmath: NaN and infinity have to come out where the reference
    has them.

    Calls are safe from any thread and after a fork, which Numba's own are not: the layer "workqueue" ends the process
    when two threads call at once, so there they take turns; and "omp" ends a forked child, so a child runs the same loop
    without threads, compiled for itself.
    """
    parallel = numba.njit(parallel=True, error_model="numpy")(loop)
    serial = numba.njit(error_model="numpy")(loop)
    for dispatcher, variant in ((parallel, "parallel"), (serial, "serial")):
        link_before_optimizing(dispatcher)
        keep_on_disk(dispatcher, variant)
    LOOPS.append(parallel)
    arrays: list[int] = []  # which of the arguments are, from the first call on

    @functools.wraps(loop)
    def run(*arguments: Any) -> None:
        if _forked:
            serial(*arguments)
        elif _threads_may_meet():
            if not arrays:
                arrays.extend(i for i, argument in enumerate(arguments) if isinstance(argument, np.ndarray))
            for i in arrays:  # not the first alone: a map of 2 x 2 with 512 channels has 2 M weights
                if arguments[i].size >= SMALL:
                    parallel(*arguments)
                    return
            # as numba.set_num_threads, which takes 0.9 us to see whether there are any
            threads = pool._get_num_threads()
            pool._set_num_threads(1)
            try:
                parallel(*arguments)
            finally:
                pool._set_num_threads(threads)
        else:
            with _one_at_a_time:
                parallel(*arguments)

    return run


def _threads_may_meet() -> bool:
    """Whether two threads may run kernels at once: not before a first run has decided the threading layer."""
    global _layer_allows_it
    if _layer_allows_it is None:
        with contextlib.suppress(ValueError):
            _layer_allows_it = numba.threading_layer() != "workqueue"
    return bool(_layer_allows_it)


def thread_count() -> int:
    """On how many threads a loop will run: numba.get_num_threads(), which takes 0.6 us, where they are running already."""
    count: int = numba.get_num_threads() if _layer_allows_it is None else pool._get_num_threads()
    return count


def contiguous(array: Array) -> Array:
    """`array` in C order, aligned and writeable, copied only if it is not: each layout would be one more compilation."""
    return array if array.flags.carray else np.require(array, requirements=["C", "A", "W"])


_kept = threading.local()


def scratch(dtype: Any, size: int) -> Array:
    """Memory for each of Numba's threads, (threads, at least size), from a cache line on, not set to anything, until this thread asks again.

    It is kept between calls, because fresh pages cost more than many a convolution: 1 MiB took 0.2 ms on one machine.
    """
    dtype = np.dtype(dtype)
    in_a_line = CACHE_LINE // dtype.itemsize
    size = -(-size // in_a_line) * in_a_line
    needed = thread_count() * size
    flat = getattr(_kept, dtype.char, None)
    if flat is None or flat.size < needed:
        flat = empty((max(needed, PAGE // dtype.itemsize),), dtype)
        setattr(_kept, dtype.char, flat)
    return flat[:needed].reshape(-1, size)


def cache_folder() -> str | None:
    """Where compiled loops are kept, or None where no folder can be written."""
    folder: str | None = LOOPS[0]._cache.cache_path
    return folder


def configuration() -> dict[str, str]:
    """What `npconv.show_config` prints of this backend."""
    from llvmlite import binding

    return {
        "Numba": numba.__version__,
        "threads": f"{numba.get_num_threads()}",
        "threading layer": _threading_layer(),
        "kernel cache": cache_folder() or "none: no folder can be written",
        "vector width": f"{VECTOR_BITS} bits ({binding.get_host_cpu_name()})",
    }


def _threading_layer() -> str:
    try:
        return str(numba.threading_layer())
    except ValueError:  # no parallel loop has run yet
        return f"{numba.config.THREADING_LAYER} (not started)"
