"""Training on several processes at once, each with its share of every batch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from npconv.geometry import Array

# How the launchers of MPI tell a process how many there are: MPICH and Intel, Open MPI, Slurm.
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


class Processes(Protocol):
    """The processes of one training, and which of them this is.

    Attributes
    ----------
    rank, size : int
        This is number `rank` of `size` processes, counted from 0.
    """

    rank: int
    size: int

    def total(self, array: Array) -> Array:
        """The sum of the arrays that all processes give, added in the order of their ranks, in float64."""

    def abort(self) -> None:
        """End all processes, after one of them has failed."""


class _Alone:
    """The only process."""

    rank, size = 0, 1

    def total(self, array: Array) -> Array:
        return array

    def abort(self) -> None:
        return


class _World:
    """All processes that MPI has started."""

    def __init__(self, communicator: Any) -> None:
        self.communicator = communicator
        self.rank: int = communicator.Get_rank()
        self.size: int = communicator.Get_size()

    def total(self, array: Array) -> Array:
        """Gathered and then added by each process: MPI's own sum may be made in any order."""
        every = np.empty((self.size, array.size), np.float64)
        self.communicator.Allgather(np.ascontiguousarray(array, np.float64).ravel(), every)
        result = every[0].copy()
        for other in every[1:]:
            result += other
        return result.reshape(array.shape)

    def abort(self) -> None:
        self.communicator.Abort(1)


def alone() -> Processes:
    """This process, by itself.

    Returns
    -------
    Processes

    Examples
    --------
    >>> alone().rank, alone().size
    (0, 1)
    """
    return _Alone()


def world() -> Processes:
    """The processes that ``mpiexec -n SIZE`` has started; this one alone where none did.

    Returns
    -------
    Processes

    Raises
    ------
    ImportError
        Several were started, and mpi4py is missing.

    Examples
    --------
    >>> world().size
    1
    """
    started = max(int(os.environ.get(name, "1")) for name in SIZES)
    if started == 1:
        return alone()
    try:
        from mpi4py import MPI
    except ImportError:
        raise ImportError(
            f"several processes need mpi4py, which is not installed, got {started} of them: pip install 'npconv[mpi]'"
        ) from None
    return _World(MPI.COMM_WORLD)


def share(count: int, processes: Processes) -> slice:
    """The part of `count` images that this process works on: in the order of the ranks, as equal as can be.

    >>> share(10, alone())
    slice(0, 10, None)
    """
    least, more = divmod(count, processes.size)
    start = processes.rank * least + min(processes.rank, more)
    return slice(start, start + least + (processes.rank < more))


def add_up(arrays: Sequence[Array], numbers: Sequence[float], processes: Processes) -> list[float]:
    """Replace each of `arrays` by the sum of all processes' and return the sums of `numbers`: one message, one order."""
    if processes.size == 1:
        return list(numbers)
    flat = np.concatenate([*(array.ravel() for array in arrays), np.array(numbers)], dtype=np.float64)
    total = processes.total(flat)
    start = 0
    for array in arrays:
        array[...] = total[start : start + array.size].reshape(array.shape)
        start += array.size
    return [float(number) for number in total[start:]]
