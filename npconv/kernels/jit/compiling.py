"""How the loops are compiled, and what they may assume of their arrays.

Of Numba's inner workings this file reads the dispatcher's `_cache`, which knows the folder; the rest is in the other files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import binding

from npconv.geometry import Array
from npconv.kernels.jit import releases
from npconv.kernels.jit.announcing import announce
from npconv.kernels.jit.cache import keep_on_disk
from npconv.kernels.jit.launching import launched, threading_layer
from npconv.kernels.jit.linking import link_before_optimizing

LOOPS: list[Any] = []  # every compiled loop, as Numba's dispatcher


def _vector_bits() -> int:
    features = binding.get_host_cpu_features()
    return 512 if features.get("avx512f") else 256 if features.get("avx2") else 128


VECTOR_BITS = _vector_bits()


def compiled(*, terms: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Compile a loop on its first call for each dtype, in parallel over `prange`, and keep the result on disk.

    `terms` says how much work an element of its largest array is: 1 where it is copied or scaled, MANY where the loop
    sums many terms; what is too little work for more than one thread runs on one. Division follows IEEE
    (error_model="numpy"). Never fastmath: NaN and infinity have to come out where the reference has them. Calls are safe
    from any thread and after a fork (`launching`).
    """

    def compile_(loop: Callable[..., None]) -> Callable[..., None]:
        parallel = numba.njit(parallel=True, error_model="numpy")(loop)
        serial = numba.njit(error_model="numpy")(loop)
        for dispatcher, variant in ((parallel, "parallel"), (serial, "serial")):
            if releases.may_link():
                link_before_optimizing(dispatcher)
            if releases.may_cache():
                keep_on_disk(dispatcher, variant)
            announce(dispatcher)
        LOOPS.append(parallel)
        return launched(loop, parallel, serial, terms)

    return compile_


def contiguous(array: Array) -> Array:
    """`array` in C order, aligned and writeable, copied only if it is not: each layout would be one more compilation."""
    return array if array.flags.carray else np.require(array, requirements=["C", "A", "W"])


def cache_folder() -> str | None:
    """Where compiled loops are kept, or None where no folder can be written, or Numba is newer than `releases` knows."""
    folder: str | None = LOOPS[0]._cache.cache_path
    return folder


def _no_cache() -> str:
    return "none: no folder can be written" if releases.may_cache() else "none: this Numba was not tested"


def configuration() -> dict[str, str]:
    """What `npconv.show_config` prints of this backend."""
    return {
        "Numba": numba.__version__ + releases.limits(),
        "threads": f"{numba.get_num_threads()}",
        "threading layer": threading_layer(),
        "kernel cache": cache_folder() or _no_cache(),
        "vector width": f"{VECTOR_BITS} bits ({binding.get_host_cpu_name()})",
    }
