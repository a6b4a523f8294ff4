"""One call of a function, and all that it does besides: what it changes, shares, overwrites, and whether it does so again.

It runs where the function does: in this process, or in that of an `npconv.check.isolation.Isolated`.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from npconv.check.arrays import adapted
from npconv.check.memory import Packed, owner
from npconv.geometry import Array
from npconv.testing import Tree, map_arrays, named_arrays

AGAIN = 2.0
"""What the numbers of the call in between are multiplied by: its results are others."""


class Observed(NamedTuple):
    """The value of a call, which is a copy, and what else it did.

    Attributes
    ----------
    value : tree of arrays
    changed, aliased : tuple of int
        The numbers of the arguments' arrays that are not what they were, and that a result shares memory with.
    overwritten : bool
        Whether a result that was kept is another after a call with other numbers. Asked only if told so.
    unrepeatable : bool
        Whether the same call gave other bits. Asked only if told so.
    """

    value: Tree
    changed: tuple[int, ...] = ()
    aliased: tuple[int, ...] = ()
    overwritten: bool = False
    unrepeatable: bool = False


def observe(
    function: Callable[..., Tree],
    args: tuple[Tree, ...],
    options: dict[str, Any],
    *,
    again: bool = False,
) -> Observed:
    """Call ``function(*args, **options)``, on arrays of the library that it asks for; what it raises is raised here.

    Parameters
    ----------
    again : bool
        Whether to call it twice more: with other numbers, then with the same.
    """
    function = adapted(function)
    if again:
        doubled = map_arrays(lambda array: np.asarray(array * AGAIN, array.dtype), args)
        repeated = map_arrays(lambda array: Packed.of(array).array(), args)  # another order may give other bits
        options_again = {name: map_arrays(np.copy, value) for name, value in options.items()}
    arrays = arrays_of(args, options)
    before = [_state(array) for array in arrays]
    kept = _called(function, args, options)
    changed = tuple(number for number, array in enumerate(arrays) if _state(array) != before[number])
    aliased = tuple(number for number, array in enumerate(arrays) if any(_shared(array, one) for one in _leaves(kept)))
    value = _copied(kept)
    if not again:
        return Observed(value, changed, aliased)
    overwritten, unrepeatable = False, False
    with contextlib.suppress(Exception):  # what it cannot do with other numbers is found with them
        _called(function, doubled, options)
        overwritten = not _same(kept, value)
        unrepeatable = not _same(_called(function, repeated, options_again), value)
    return Observed(value, changed, aliased, overwritten, unrepeatable)


def arrays_of(args: tuple[Tree, ...], options: dict[str, Any]) -> list[Array]:
    """All arrays of a call; views, which keep their shape whatever is done to the arrays themselves."""
    return [array.view() for _, array in named_arrays((args, tuple(options.values())))]


def _called(function: Callable[..., Tree], args: tuple[Tree, ...], options: dict[str, Any]) -> Any:
    process = os.getpid()
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # a warning is no result; as an error it would be an exception
            return function(*args, **options)
    finally:
        if os.getpid() != process:  # a fork of the function's, which must not go on with the check
            os._exit(0)


def _state(array: Array) -> tuple[bytes, tuple[int, ...]]:
    """Its numbers, and what lies between them."""
    return owner(array).tobytes(), array.shape


def _shared(array: Array, result: Array) -> bool:
    if not np.may_share_memory(array, result):
        return False
    try:
        return np.shares_memory(array, result, max_work=100_000)  # type: ignore[arg-type]  # any number is allowed
    except np.exceptions.TooHardError:
        return True


def _leaves(value: Any) -> list[Array]:
    """The arrays of a result, in tuples and lists."""
    if isinstance(value, (tuple, list)):
        return [array for part in value for array in _leaves(part)]
    return [np.asarray(value)] if isinstance(value, (np.ndarray, np.generic)) else []


def _copied(value: Any) -> Any:
    """The result with arrays of its own."""
    if isinstance(value, (tuple, list)):
        parts = [_copied(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return np.array(value, order="C") if isinstance(value, np.ndarray) else value


def _same(one: Any, other: Any) -> bool:
    pairs = list(zip(_leaves(one), _leaves(other), strict=False))
    return all(a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)
