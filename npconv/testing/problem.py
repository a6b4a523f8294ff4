"""One call of an operator, as plain data: what random problems, error bounds and the cross-check are about."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from npconv import ops
from npconv.geometry import Array
from npconv.testing.gradients import Tree, map_arrays


@functools.cache  # it is asked for at every case of the cross-check, thousands of times
def signature(op: str) -> inspect.Signature:
    """What an operator is called with."""
    return inspect.signature(getattr(ops, op))


class Problem(NamedTuple):
    """One call of an operator, ``op(*args, **options)``.

    Attributes
    ----------
    op : str
        The operator's name in `npconv`.
    args : tuple
        Its arrays, in its order: arrays, None, or tuples of those.
    options : dict
        Everything else, by name.
    unit : int
        In a problem of whole numbers, those that the operator divides are multiples of it, so that quotients, too, are exact;
        `dy` must be a multiple of it as well.
    """

    op: str
    args: tuple[Tree, ...]
    options: dict[str, Any]
    unit: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        """What the operator calls each of `args`."""
        return tuple(signature(self.op).parameters)[: len(self.args)]

    def forward(self) -> Tree:
        """y, on the current backend."""
        return getattr(ops, self.op)(*self.args, **self.options)

    def backward(self, dy: Tree) -> Tree:
        """One gradient per argument, or the gradient where there is one argument, on the current backend."""
        return getattr(ops, f"{self.op}_backward")(dy, *self.args, **self.options)

    def map(self, function: Callable[[Array], Array]) -> Problem:
        """The same problem with `function` applied to every array of its arguments."""
        return self._replace(args=map_arrays(function, self.args))
