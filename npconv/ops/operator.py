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

NUMPY_TYPES = np.ndarray, np.generic

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def operator(
    *array_names: str, trees: Collection[str] = ()
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Make a function an operator on the arguments in `array_names`: arrays, tuples of arrays for those that are among `trees`
    too, or None where that is the default.

    Before the function runs, the arrays are known to share one of float16, float32 and float64 (TypeError otherwise), are
    of the machine's byte order, and those that are maps (N, C, H, W), whose names do not begin with w, have the memory
    order in which the current backend computes. What the function returns leaves in the order of the first of them, or of
    the map that this is a part of.
    Float16 arrays arrive as float32, and what is returned as float32 leaves as float16: a composite rounds once, at its
    end, not after each of its parts.
    """

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        parameters = inspect.signature(function).parameters
        places = tuple((name, list(parameters).index(name)) for name in array_names)
        optional = frozenset(name for name in array_names if parameters[name].default is None)
        # A backward returns one gradient for each array after dy, any other operator a map, or a kernel's gradient.
        is_backward = function.__name__.endswith("_backward")
        returned = array_names[1:] if is_backward else ("w" if function.__name__.endswith("weight_grad") else "y",)

        @functools.wraps(function)
        def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            arrays: list[tuple[str, object]] = []
            for name, place in places:
                value = args[place] if place < len(args) else kwargs.get(name)
                if value is None and (name in optional or (name not in kwargs and place >= len(args))):
                    continue  # a missing required argument is left to Python's own message
                if isinstance(value, tuple) and name in trees:
                    arrays.extend(_named_leaves(name, value))
                else:
                    arrays.append((name, value))
            if not arrays:
                return _finished(function(*args, **kwargs))
            half = check_dtypes(arrays) == np.float16
            order = None if backends.diverts_numbers() else backends.computes_channels_last()
            new_args, new_kwargs = list(args), dict(kwargs)
            for name, place in places:
                if place < len(args):
                    new_args[place] = _prepared(name, args[place], half, order)
                elif name in kwargs:
                    new_kwargs[name] = _prepared(name, kwargs[name], half, order)
            result: Any = _finished(function(*new_args, **new_kwargs))  # type: ignore[arg-type]
            if half:
                result = _convert(result, np.float32, np.float16)
            first = arrays[0][1]
            if order is None or not isinstance(first, np.ndarray):
                return result
            wanted = first.ndim == 4 and lies_channels_last(first)
            if len(returned) > 1 and isinstance(result, tuple):
                result = tuple(map(functools.partial(_ordered, wanted), returned, result))
            else:
                result = _ordered(wanted, returned[0], result)
            return result

        return checked

    return decorate


def _prepared(name: str, value: Any, half: bool, channels_last: bool | None) -> Any:
    """An argument as the backend takes it; None for no order of its own."""
    if isinstance(value, tuple):
        leaves = [_prepared(name, leaf, half, channels_last) for leaf in value]
        return type(value)(*leaves) if hasattr(value, "_fields") else tuple(leaves)
    if not isinstance(value, np.ndarray):
        return value
    if type(value) is np.memmap:
        value = value.view(np.ndarray)
    if not value.dtype.isnative:
        value = value.astype(value.dtype.newbyteorder("="))
    if half:
        value = value.astype(np.float32)
    if channels_last is not None and value.ndim == 4 and not name.startswith("w"):
        value = backends.in_order(value, channels_last)
    return value


def _ordered(channels_last: bool, name: str, result: Any) -> Any:
    """A result in the order that is wanted; what is named w is no map, and in C order."""
    if isinstance(result, tuple):
        leaves = [_ordered(channels_last, name, leaf) for leaf in result]
        return type(result)(*leaves) if hasattr(result, "_fields") else tuple(leaves)
    if not isinstance(result, np.ndarray):
        return result
    if name.startswith("w") or result.ndim != 4:
        return np.asarray(result, order="C")
    return backends.in_order(result, channels_last)


def _named_leaves(name: str, value: tuple[object, ...]) -> Iterator[tuple[str, object]]:
    """(name, array) for every array of a tuple that is not None: x[0] of a tuple, w.hh of a named one."""
    fields = getattr(value, "_fields", None)
    for index, leaf in enumerate(value):
        if leaf is not None:
            yield f"{name}.{fields[index]}" if fields else f"{name}[{index}]", leaf


def _finished(result: Any) -> Any:
    """NumPy's scalars as arrays without axes."""
    if isinstance(result, NUMPY_TYPES):
        return np.asarray(result)
    if isinstance(result, tuple):
        leaves = [_finished(leaf) for leaf in result]
        return type(result)(*leaves) if hasattr(result, "_fields") else tuple(leaves)
    return result


def _convert(value: Any, old: type, new: type) -> Any:
    """`value` with every `old` array in it as a `new` one; overflow to infinity is what a narrower float does."""
    if isinstance(value, np.ndarray) and value.dtype == old:
        with np.errstate(over="ignore"):
            return value.astype(new)
    if isinstance(value, tuple):
        leaves = [_convert(leaf, old, new) for leaf in value]
        return type(value)(*leaves) if hasattr(value, "_fields") else tuple(leaves)
    return value
