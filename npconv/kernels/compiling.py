"""How the loops are compiled, and what they may assume of their arrays."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np

from npconv.geometry import Array


def compiled(loop: Callable[..., None]) -> Callable[..., None]:
    """Compile `loop` on its first call for each dtype, in parallel over `prange`, and keep the result on disk.

    Division follows IEEE (error_model="numpy"). Never fastmath: NaN and infinity have to come out where the reference
    has them.
    """
    return numba.njit(parallel=True, cache=True, error_model="numpy")(loop)


def contiguous(array: Array) -> Array:
    """`array` in C order and writeable, copied only if it is not: each layout would be one more compilation."""
    return np.require(array, requirements=["C", "W"])


def configuration() -> dict[str, str]:
    """What `npconv.show_config` prints of this backend."""
    from llvmlite import binding

    return {
        "Numba": numba.__version__,
        "threads": f"{numba.get_num_threads()}",
        "threading layer": _threading_layer(),
        "kernel cache": os.environ.get("NUMBA_CACHE_DIR") or str(Path(__file__).with_name("__pycache__")),
        "vector width": f"{_vector_bits()} bits ({binding.get_host_cpu_name()})",
    }


def _threading_layer() -> str:
    try:
        return str(numba.threading_layer())
    except ValueError:  # no parallel loop has run yet
        return f"{numba.config.THREADING_LAYER} (not started)"


def _vector_bits() -> int:
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    return 512 if features.get("avx512f") else 256 if features.get("avx2") else 128
