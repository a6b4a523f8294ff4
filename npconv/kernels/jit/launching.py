"""On which threads a compiled loop runs, how these wait, and the memory that each of them has.

Of Numba's inner workings this file uses the compiler's lock (around forks), the module `numba.np.ufunc.parallel`, whose functions
read and set the number of threads of a launch without a check, and that the layer "omp" is GNU's OpenMP on Linux.
"""

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
from llvmlite import binding
from numba.core.compiler_lock import global_compiler_lock
from numba.np.ufunc import parallel as pool

from npconv.geometry import Array
from npconv.memory import CACHE_LINE, PAGE, empty

SMALL = 32768  # numbers to copy below which other threads gain nothing: to wake one takes 50 us, 2 ms on a busy machine
MANY = 4  # so many copied numbers are the work of one that is a sum of many terms, or more
MOST_KEPT = 1 << 27  # bytes of scratch memory of a dtype that a thread keeps
CUTS = 1000  # parts of its scratch memory that a thread remembers
OPENMP = "libgomp.so.1"
ROUNDS = 3000 if binding.get_host_cpu_name().startswith("znver") else 1000  # of waiting: 12 ns on AMD's, 45 on Intel's
WAITING = "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"  # the variables that say how OpenMP's threads wait

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


def _load_openmp() -> bool:
    """Load GNU's OpenMP so that its threads sleep after ROUNDS of waiting; return whether it is too late for that.

    Left alone they spin for 300,000. Beside a process with as many busy threads as there are cores, each launch then lasts
    until the scheduler takes the core from a thread that spins: a network took 468 ms instead of 6, and takes 12 like this.
    ROUNDS last some 40 us, longer than Python takes from one launch to the next: a thread that sleeps by then has to be
    woken for each, which made a network half as fast.

    OpenMP reads its variables once, when it is loaded: so children find nothing set, and where another package loaded it
    before (PyTorch does), it is too late. What users set holds.
    """
    if sys.platform != "linux" or not os.environ.keys().isdisjoint(WAITING):
        return False
    with contextlib.suppress(OSError):
        ctypes.CDLL(OPENMP, mode=os.RTLD_NOLOAD)  # fails where it is not loaded yet
        return True
    os.environ[WAITING[0]] = str(ROUNDS)
    with contextlib.suppress(OSError):  # it is not installed, and Numba takes another layer
        ctypes.CDLL(OPENMP)
    del os.environ[WAITING[0]]
    return False


def _crowd_openmp() -> None:
    """Let the threads of an OpenMP that others loaded sleep early: they do while it has more threads than there are cores.

    So it gets one more than that. They do nothing, once, and sleep until the process ends, as the thread that asked for them
    has to: it owns them. The others sleep after 100 rounds then.
    """
    ready = threading.Event()

    def own() -> None:
        nothing = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)  # free(NULL)
        threads = ctypes.c_uint(len(os.sched_getaffinity(0)) + 1)
        ctypes.CDLL(OPENMP).GOMP_parallel(nothing, None, threads, ctypes.c_uint(0))
        ready.set()
        threading.Event().wait()

    threading.Thread(target=own, name="npconv: idle OpenMP threads", daemon=True).start()
    ready.wait()


_openmp_spins = _load_openmp()

# pip puts TBB where the dynamic loader does not look; Numba finds it once it is loaded. It is the one layer that minds
# neither threads nor forks.
with contextlib.suppress(OSError):
    ctypes.CDLL(str(Path(sys.prefix, "lib", "libtbb.so.12")))


def launched(loop: Callable[..., None], parallel: Any, serial: Any, terms: int) -> Callable[..., None]:
    """The function that kernels call: `loop` compiled for all threads (`parallel`), or for one (`serial`), as the moment asks.

    The parallel one runs on one thread where the largest array's elements, times `terms`, are fewer than SMALL.

    Calls are safe from any thread and after a fork, which Numba's own are not: the layer "workqueue" ends the process
    when two threads call at once, so there they take turns; and "omp" ends a forked child, so a child runs the same loop
    without threads, compiled for itself.
    """
    arrays: list[int] = []  # which of the arguments are, from the first call on

    def share(*arguments: Any) -> None:
        threads = thread_count()
        if threads == 1:
            parallel(*arguments)
            return
        if not arrays:
            arrays.extend(i for i, argument in enumerate(arguments) if isinstance(argument, np.ndarray))
        for i in arrays:  # not the first alone: a map of 2 x 2 with 512 channels has 2 M weights
            if arguments[i].size * terms >= SMALL:
                parallel(*arguments)
                return
        try:
            pool._set_num_threads(1)
            parallel(*arguments)
        finally:
            pool._set_num_threads(threads)

    @functools.wraps(loop)
    def run(*arguments: Any) -> None:
        if _forked:
            serial(*arguments)
        elif _layer_allows_it or _threads_may_meet():
            share(*arguments)
        else:
            with _one_at_a_time:
                share(*arguments)

    return run


def _threads_may_meet() -> bool:
    """Whether two threads may run kernels at once: not before a first run has decided the threading layer."""
    global _layer_allows_it
    if _layer_allows_it is None:
        with contextlib.suppress(ValueError):
            layer = numba.threading_layer()
            if layer == "omp" and _openmp_spins:
                _crowd_openmp()
            _layer_allows_it = layer != "workqueue"
    return bool(_layer_allows_it)


def thread_count() -> int:
    """On how many threads a loop will run: numba.get_num_threads(), which takes 0.6 us, where they are running already."""
    count: int = numba.get_num_threads() if _layer_allows_it is None else pool._get_num_threads()
    return count


def threading_layer() -> str:
    """Which of Numba's layers the threads are, or will be, as `npconv.show_config` says it."""
    try:
        return str(numba.threading_layer())
    except ValueError:  # no parallel loop has run yet
        return f"{numba.config.THREADING_LAYER} (not started)"


class _Kept(threading.local):
    """What this thread keeps: memory by dtype, and the parts of it that were asked for, for to cut them takes 1 us."""

    def __init__(self) -> None:
        self.flat: dict[Any, Array] = {}
        self.cut: dict[tuple[Any, int, int], Array] = {}


_kept = _Kept()


def scratch(dtype: Any, size: int) -> Array:
    """Memory for each of Numba's threads, (threads, at least size), from a cache line on, not set to anything, until this thread asks again.

    It is kept between calls, because fresh pages cost more than many a convolution: 1 MiB took 0.2 ms on one machine. What is more
    than MOST_KEPT is not.
    """
    threads = thread_count()
    cut = _kept.cut.get((dtype, size, threads))
    if cut is not None:
        return cut
    itemsize = np.dtype(dtype).itemsize
    in_a_line = CACHE_LINE // itemsize
    whole = -(-size // in_a_line) * in_a_line
    if threads * whole * itemsize > MOST_KEPT:
        return empty((threads, whole), dtype)
    flat = _kept.flat.get(dtype)
    if flat is None or flat.size < threads * whole:
        flat = empty((max(threads * whole, PAGE // itemsize),), dtype)
        _kept.flat[dtype] = flat
        _kept.cut.clear()  # parts of the memory that is given back
    if len(_kept.cut) > CUTS:
        _kept.cut.clear()
    _kept.cut[dtype, size, threads] = cut = flat[: threads * whole].reshape(threads, whole)
    return cut
