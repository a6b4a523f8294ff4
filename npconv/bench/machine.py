"""The machine's limits, measured in the same run as everything else: what a time is a share of."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from npconv.bench.processes import environment
from npconv.costs import Cost
from npconv.workers import Worker

MOVED = tuple(4**power << 10 for power in range(3, 10))  # bytes: 64 KiB to 256 MiB


class Machine(NamedTuple):
    """What so many threads of this machine can do.

    Attributes
    ----------
    threads : int
    flops : float
        Floating-point operations per second, two for each fused multiply-add in registers.
    copies : tuple of (bytes, bytes per second)
        Of copies of several sizes, bytes read and bytes written both counted: small ones stay in a core's own cache,
        the largest goes to memory.
    product : float
        Seconds of a plain matrix product, which says how much of a second thread this machine gives.
    """

    threads: int
    flops: float
    copies: tuple[tuple[int, float], ...]
    product: float

    def bandwidth(self, moved: int) -> float:
        """Bytes per second of a copy that moves as many bytes as work does: what its traffic may be compared with."""
        sizes, rates = zip(*self.copies, strict=True)
        return float(np.interp(math.log(max(moved, 1)), np.log(sizes), rates))

    def limit(self, cost: Cost) -> float:
        """The seconds that work of this cost takes at least, were it at the peak, or its arrays just copied."""
        return max(cost.flops / self.flops, self._moving(cost))

    def is_memory_bound(self, cost: Cost) -> bool:
        """Whether moving the arrays takes longer than computing."""
        return self._moving(cost) > cost.flops / self.flops

    def _moving(self, cost: Cost) -> float:
        return cost.bytes_moved / self.bandwidth(cost.bytes_moved)


def measure(threads: int, dtype: str) -> Machine:
    """Measure this machine in processes of their own."""
    with Worker(environment=environment(threads)) as worker:
        flops = worker.call("npconv.bench.peaks:flops_per_second", threads, dtype)
        copies = [(moved, worker.call("npconv.bench.peaks:bytes_per_second", threads, moved)) for moved in MOVED]
    # in another process: the threads of NumPy's library and those of Numba would wait for each other
    with Worker(environment=environment(threads)) as worker:
        product = worker.call("npconv.bench.peaks:product_seconds", dtype)
    return Machine(threads, flops, tuple(copies), product)
