"""What all operators share: their arrays have one float dtype, and float16 is computed in float32 and rounded once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator
from typing import Any, ParamSpec, TypeVar

import numpy as np

from npconv import backends
from npconv.geometry import check_dtypes
from npconv.memory import lies_channels_last

HALF = np.dtype(np.float16)

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def operator(
    *array_names: str, trees: Collection[str] = (), either_order: bool = False
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Make a function an operator on the arguments in `array_names`: arrays, tuples of arrays for those that are among `trees`
    too, or None where that is the default.

    Before the function runs, the arrays are known to share one of float16, float32 and float64 (TypeError otherwise), are
    of the machine's byte order, and those that are maps (N, C, H, W), whose names do not begin with w, have the memory
    order in which the current backend computes; where it computes in `either_order`, that of the first of them. What the
    function returns leaves in the order of the first of them, or of the map that this is a part of.
    Float16 arrays arrive as float32, and what is returned as float32 leaves as float16: a composite rounds once, at its
    end, not after each of its parts.
    """

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        parameters = inspect.signature(function).parameters
        places = tuple((name, list(parameters).index(name), _may_be_map(name)) for name in array_names)
        optional = frozenset(name for name in array_names if parameters[name].default is None)
        # A backward returns one gradient for each array after dy, any other operator a map, or a kernel's gradient.
        is_backward = function.__name__.endswith("_backward")
        returned = array_names[1:] if is_backward else ("w" if function.__name__.endswith("weight_grad") else "y",)
        maps_returned = tuple(map(_may_be_map, returned))

        @functools.wraps(function)
        def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            arrays: list[tuple[str, object]] = []
            for name, place, _ in places:
                value = args[place] if place < len(args) else kwargs.get(name)
                if value is None and (name in optional or (name not in kwargs and place >= len(args))):
                    continue  # a missing required argument is left to Python's own message
                if isinstance(value, tuple) and name in trees:
                    arrays.extend(_named_leaves(name, value))
                else:
                    arrays.append((name, value))
            if not arrays:
                return _returned(function(*args, **kwargs), False, None)
            dtype = check_dtypes(arrays)
            half = dtype == HALF
            first = arrays[0][1]
            wanted = isinstance(first, np.ndarray) and first.ndim == 4 and lies_channels_last(first)
            order = None if backends.diverts_numbers() else backends.computes_channels_last()
            if order and either_order:
                order = wanted
            prepared: list[Any] = list(args)
            for name, place, is_map in places:
                if place < len(args):
                    if half or not _is_ready(args[place], dtype, order if is_map else None):
                        prepared[place] = _prepared(args[place], half, order if is_map else None)
                elif name in kwargs:
                    kwargs[name] = _prepared(kwargs[name], half, order if is_map else None)
            result: Any = function(*prepared, **kwargs)
            if order is None or not isinstance(first, np.ndarray):
                return _returned(result, half, None)
            if len(returned) > 1 and isinstance(result, tuple):
                gradients = zip(result, maps_returned, strict=False)  # where b is absent, so may be db
                return tuple([_returned(value, half, wanted if is_map else False) for value, is_map in gradients])  # type: ignore[return-value]
            return _returned(result, half, wanted if maps_returned[0] else False)

        return checked

    return decorate


def _may_be_map(name: str) -> bool:
    """Whether an array of this name is a map, where it has four axes: a convolution's weights have four, too."""
    return not name.startswith("w")


def _is_ready(value: Any, dtype: np.dtype[Any], channels_last: bool | None) -> bool:
    """Whether the backend takes an argument of that dtype as it is: seen at a glance, for nearly always it does."""
    if type(value) is not np.ndarray or value.dtype is not dtype:
        return value is None
    if channels_last is None or value.ndim != 4:
        return True
    return channels_last and value.transpose(0, 2, 3, 1).flags.c_contiguous and value.flags.aligned


def _prepared(value: Any, half: bool, channels_last: bool | None) -> Any:
    """An argument as the backend takes it; None for no order of its own."""
    if type(value) is not np.ndarray:
        if isinstance(value, tuple):
            leaves = [_prepared(leaf, half, channels_last) for leaf in value]
            return type(value)(*leaves) if hasattr(value, "_fields") else tuple(leaves)
        if type(value) is not np.memmap:
            return value
        value = value.view(np.ndarray)
    if not value.dtype.isnative:
        value = value.astype(value.dtype.newbyteorder("="))
    if half:
        value = value.astype(np.float32)
    return value if channels_last is None or value.ndim != 4 else backends.in_order(value, channels_last)


def _returned(value: Any, half: bool, channels_last: bool | None) -> Any:
    """A result as the operator's caller gets it: an array, also of one number, and float16 where the arguments were.

    Maps are in the order that is wanted, what is no map in C order; None where the order does not matter. That float16
    overflows to infinity is what a narrower float does.
    """
    if type(value) is not np.ndarray:
        if isinstance(value, tuple):
            leaves = [_returned(leaf, half, channels_last) for leaf in value]
            return type(value)(*leaves) if hasattr(value, "_fields") else tuple(leaves)
        if not isinstance(value, np.generic):
            return value
        value = np.asarray(value)
    if half and value.dtype == np.float32:
        with np.errstate(over="ignore"):
            value = value.astype(HALF)
    if channels_last is None or (value.ndim != 4 and value.flags.c_contiguous):
        return value
    return np.asarray(value, order="C") if value.ndim != 4 else backends.in_order(value, channels_last)


def _named_leaves(name: str, value: tuple[object, ...]) -> Iterator[tuple[str, object]]:
    """(name, array) for every array of a tuple that is not None: x[0] of a tuple, w.hh of a named one."""
    fields = getattr(value, "_fields", None)
    for index, leaf in enumerate(value):
        if leaf is not None:
            yield f"{name}.{fields[index]}" if fields else f"{name}[{index}]", leaf
