"""How the loops are compiled, and what they may assume of their arrays."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np

from npconv.geometry import Array
from npconv.kernels.simd import VECTOR_BITS


def compiled(loop: Callable[..., None]) -> Callable[..., None]:
    """Compile `loop` on its first call for each dtype, in parallel over `prange`, and keep the result on disk.

    Division follows IEEE (error_model="numpy"). Never fastmath: NaN and infinity have to come out where the reference
    has them.
    """
    return numba.njit(parallel=True, cache=True, error_model="numpy")(loop)


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
