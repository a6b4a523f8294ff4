"""What all operators share: their arrays have one float dtype, and float16 is computed in float32 and rounded once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import numpy as np

from npconv.geometry import check_dtypes

NUMPY_TYPES = np.ndarray, np.generic

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def operator(*array_names: str) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Make a function an operator on the arguments in `array_names`: arrays, tuples of arrays, or None where that is the default.

    Before the function runs, the arrays are known to share one of float16, float32 and float64 (TypeError otherwise).
    Float16 arrays arrive as float32, and what is returned as float32 leaves as float16: a composite rounds once, at its
    end, not after each of its parts.
    """

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        parameters = inspect.signature(function).parameters
        places = tuple((name, list(parameters).index(name)) for name in array_names)
        optional = frozenset(name for name in array_names if parameters[name].default is None)

        @functools.wraps(function)
        def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            arrays: list[tuple[str, object]] = []
            for name, place in places:
                value = args[place] if place < len(args) else kwargs.get(name)
                if value is None and (name in optional or (name not in kwargs and place >= len(args))):
                    continue  # a missing required argument is left to Python's own message
                if isinstance(value, tuple):
                    arrays.extend(_named_leaves(name, value))
                else:
                    arrays.append((name, value))
            if not arrays or check_dtypes(arrays) != np.float16:
                return _finished(function(*args, **kwargs))
            wide_args = [_convert(value, np.float16, np.float32) for value in args]
            wide_kwargs = {name: _convert(value, np.float16, np.float32) for name, value in kwargs.items()}
            result = function(*wide_args, **wide_kwargs)
            return _convert(_finished(result), np.float32, np.float16)

        return checked

    return decorate


def _named_leaves(name: str, value: tuple[object, ...]) -> Iterator[tuple[str, object]]:
    """(name, array) for every array of a tuple that is not None: x[0] of a tuple, w.hh of a named one."""
    fields = getattr(value, "_fields", None)
    for index, leaf in enumerate(value):
        if leaf is not None:
            yield f"{name}.{fields[index]}" if fields else f"{name}[{index}]", leaf


def _finished(result: Any) -> Any:
    """Every array of a result in C order, and NumPy's scalars as arrays without axes: what a backend made of it is its affair."""
    if isinstance(result, NUMPY_TYPES):
        return np.asarray(result, order="C")
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
