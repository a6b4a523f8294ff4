"""What the machine can do at most: fused multiply-adds in registers, a copy of a large array, a matrix product.

Numba kernels of its own, so that the peak does not depend on the kernels that are measured against it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

CHAINS = 12  # independent sums: more than latency x units (4 x 2) of today's cores, and few enough for 16 registers
MATRIX = 1024
SECONDS = 0.1


def _vector_bits() -> int:
    features = binding.get_host_cpu_features()
    return 512 if features.get("avx512f") else 256 if features.get("avx2") else 128


VECTOR_BITS = _vector_bits()


def _chains(typing_context: Any, values: Any, steps: Any) -> Any:
    """`steps` fused multiply-adds of one vector on each of `CHAINS` accumulators, which are added up into `values`."""
    lanes = VECTOR_BITS // values.dtype.bitwidth

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        vector = ir.VectorType(context.get_data_type(signature.args[0].dtype), lanes)
        place = builder.bitcast(array.data, vector.as_pointer())
        bytes_per_element = signature.args[0].dtype.bitwidth // 8
        name = f"llvm.fma.v{lanes}f{signature.args[0].dtype.bitwidth}"
        fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
        start = builder.load(place, align=bytes_per_element)
        # mem2reg turns these slots into registers: their address is never taken
        totals = [cgutils.alloca_once_value(builder, builder.fmul(start, start)) for _ in range(CHAINS)]
        with cgutils.for_range(builder, arguments[1], intp=ir.IntType(64)):
            for total in totals:
                builder.store(builder.call(fma, [start, builder.load(total), start]), total)
        result = builder.load(totals[0])
        for total in totals[1:]:
            result = builder.fadd(result, builder.load(total))
        builder.store(result, place, align=bytes_per_element)
        return context.get_dummy_value()

    return types.void(values, types.intp), generate


multiply_add = intrinsic(_chains)


def _multiply_add_on_all(values: Any, steps: Any) -> None:
    for thread in prange(values.shape[0]):
        multiply_add(values[thread], steps)


def _copy_on_all(target: Any, source: Any) -> None:
    for block in prange(source.shape[0]):
        for i in range(source.shape[1]):
            target[block, i] = source[block, i]


multiply_add_on_all: Any = njit(parallel=True, cache=True)(_multiply_add_on_all)
copy_on_all: Any = njit(parallel=True, cache=True)(_copy_on_all)


def flops_per_second(threads: int, dtype: str) -> float:
    """Two for each fused multiply-add, on so many of Numba's threads."""
    lanes = VECTOR_BITS // (8 * np.dtype(dtype).itemsize)
    values = np.full((threads, max(lanes, 64)), 0.5, dtype)  # each row on cache lines of its own; the sums tend to 1
    steps = 1_000_000
    return 2 * threads * steps * CHAINS * lanes / _least(lambda: multiply_add_on_all(values, steps))


def bytes_per_second(threads: int, moved: int) -> float:
    """Read and written, by a copy that moves so many bytes in all, on so many of Numba's threads."""
    source = np.ones((threads, moved // 2 // 4 // threads), np.float32)
    target = np.zeros_like(source)
    return 2 * source.nbytes / _least(lambda: copy_on_all(target, source))


def product_seconds(dtype: str) -> float:
    """NumPy's product of two square matrices, on as many threads as its library was given by the environment."""
    a = np.random.default_rng(0).standard_normal((MATRIX, MATRIX)).astype(dtype)
    return _least(lambda: a @ a)


def _least(work: Callable[[], Any]) -> float:
    """The least of many times, after a first run: a limit is what the machine does when nothing disturbs it."""
    work()
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(times) < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)
