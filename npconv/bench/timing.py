"""What runs inside a peer's process: a case is prepared once, then timed turn by turn.

Imports NumPy and the peer; called through `npconv.workers`, whose process this module's state belongs to.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from npconv.bench.cases import Arrays, Case, Direction
from npconv.bench.networks import COMPARED, TOLERANCE, Network, Pass
from npconv.bench.peers import OWN, PLACES
from npconv.geometry import Array
from npconv.testing.bounds import rigorous_bound
from npconv.workers import find

REST = 0.005  # seconds before a turn, in which the threads of the process that had the turn before stop spinning

_prepared: list[Callable[[], Any]] = []


def prepare(
    place: str, threads: int, case: Case | Network, direction: Direction | Pass, seed: int, dtype: str
) -> list[Array]:
    """Get the case ready, run it once, and return its values: outputs, or gradients of inputs and then of weights."""
    _prepared.clear()
    maker = _peer(place, threads)
    if isinstance(case, Network):
        values = _network_values(maker, case, direction, seed)
        work = maker.network(case, direction, seed, dtype)
        work.run()
    else:
        work = maker.work(case, direction, case.arrays(seed, dtype))
        values = work.numpy(work.run())
    _prepared.append(work.run)
    return values


class Expected(NamedTuple):
    """A value in float64, and how far from it a result may be: see `npconv.testing.bounds`."""

    exact: Array
    bound: Array


def expect(threads: int, case: Case | Network, direction: Direction | Pass, seed: int, dtype: str) -> list[Expected]:
    """What `prepare` has to return, computed in float64."""
    if isinstance(case, Network):
        values = _network_values(_peer(PLACES[OWN], threads), case, direction, seed)
        largest = max(float(np.abs(value).max()) for value in values)  # some gradients are 0 but for rounding
        return [Expected(value, np.full(value.shape, TOLERANCE * largest)) for value in values]
    arrays = case.arrays(seed, dtype)
    wide = Arrays(*(tuple(array.astype(np.float64) for array in group) for group in arrays))
    absolute = Arrays(*(tuple(np.abs(array) for array in group) for group in wide))
    own = _peer(PLACES[OWN], threads)
    exact, magnitude = (work.numpy(work.run()) for work in (own.work(case, direction, a) for a in (wide, absolute)))
    return [
        # the "exact" value is itself rounded in float64
        Expected(value, rigorous_bound(size, case.terms, dtype) + rigorous_bound(size, case.terms, np.float64))
        for value, size in zip(exact, magnitude, strict=True)
    ]


def measure(seconds: float) -> list[float]:
    """The times of single calls of what was prepared, for about so many seconds; at least one, and few where one is long."""
    (run,) = _prepared
    time.sleep(REST)
    begin = time.perf_counter()
    run()  # caches, pages and threads as the calls after it find them
    times: list[float] = []
    while not times or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def _network_values(peer: Any, case: Network, direction: Any, seed: int) -> list[Array]:
    """In float64 and for few images: a network's float32 values differ by more than a bound could tell from a mistake."""
    work = peer.network(case._replace(batch=COMPARED), direction, seed, "float64")
    values: list[Array] = work.numpy(work.run())
    return values


@functools.cache
def _peer(place: str, threads: int) -> Any:
    """The peer of that module and class, made once: its framework takes seconds to import."""
    return find(place)(threads)
