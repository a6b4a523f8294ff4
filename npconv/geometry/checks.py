"""Numbers, pairs, shapes and arrays, each found to be right by itself."""

from __future__ import annotations

import contextlib
import difflib
import functools
import math
import operator
from collections.abc import Container, Iterable, Sequence
from typing import Any, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Pair: TypeAlias = tuple[int, int]
IntOrPair: TypeAlias = "int | Sequence[int]"

LONGEST_SHOWN = 200  # characters of a value in a message
MOST_NAMES = 12  # in a message
LARGEST = 2**31 - 1  # of any size or step: products of two still fit the kernels' 64-bit indices
FLOAT_DTYPES = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64))
_BOOLS = bool, np.bool_
_NUMBERS = int, float, np.integer, np.floating
_SEQUENCES = Sequence, np.ndarray


# --- values in general -------------------------------------------------------------------------------------------


def shown(value: object) -> str:
    """What an error says that it got: `value` as Python writes it, in one line, and cut where it is long.

    >>> shown("same"), shown(np.zeros((1, 2, 2))), shown(10**5000)
    ("'same'", 'array([[[0., 0.], [0., 0.]]])', 'int')
    """
    try:
        text = " ".join(repr(value).split())
    except Exception:  # an integer of too many digits, or whatever a foreign class does
        return type(value).__name__
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def some(names: Iterable[str]) -> str:
    """The names with commas between, the first of many: a message is no longer than a screen.

    >>> some(["gamma", "beta"]), some(map(str, range(100)))
    ('gamma, beta', '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 88 more')
    """
    listed = list(names)
    more = f" and {len(listed) - MOST_NAMES} more" if len(listed) > MOST_NAMES else ""
    return ", ".join(listed[:MOST_NAMES]) + more if listed else "none"


def is_word(value: object, words: Container[str]) -> bool:
    """Whether `value` is one of `words`: a string, for an array would be compared with each, number by number."""
    return isinstance(value, str) and value in words


def word(name: str, value: object, *words: str) -> None:
    """Raise ValueError unless `value` is one of two or more `words`."""
    if not is_word(value, words):
        listed = f"{', '.join(map(repr, words[:-1]))} or {words[-1]!r}"
        raise ValueError(f"{name} must be {listed}, got {shown(value)}")


def nearest(given: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` where some of the `known` words are like the one that was `given`, or have it in them.

    >>> nearest("resnt", ["tiny_mobilenet", "resnet"]), nearest("mobilenet", ["tiny_mobilenet", "resnet"]), nearest("x", ["y"])
    ('; did you mean resnet?', '; did you mean tiny_mobilenet?', '')
    """
    words = list(known)
    near = difflib.get_close_matches(given.replace("-", "_").lower(), words, n=3, cutoff=0.6)
    near += [word for word in words if given and given.lower() in word and word not in near][:3]
    return f"; did you mean {' or '.join(near)}?" if near else ""


def one_of(name: str, given: str, known: Iterable[str]) -> str:
    """`given`, which is among `known`; ValueError otherwise, with all of them and the nearest ones.

    >>> one_of("OP", "conv2d", ["conv2d", "linear"])
    'conv2d'
    >>> one_of("OP", "conf2d", ["conv2d", "linear"])
    Traceback (most recent call last):
        ...
    ValueError: OP must be one of conv2d, linear, got 'conf2d'; did you mean conv2d?
    """
    words = list(known)
    if is_word(given, words):
        return given
    hint = nearest(given, words) if isinstance(given, str) else ""
    raise ValueError(f"{name} must be one of {', '.join(words)}, got {shown(given)}{hint}")


def flag(name: str, value: object) -> bool:
    """`value` as True or False, which it must be: what else is true in Python is more likely to be in the wrong place."""
    if not isinstance(value, _BOOLS):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


# --- numbers -----------------------------------------------------------------------------------------------------


def integer(name: str, value: object, *, minimum: int | None = None) -> int:
    """`value` as an int of at least `minimum`. Python and NumPy integers are welcome; bools and floats are not."""
    least = -LARGEST if minimum is None else minimum
    if type(value) is int and least <= value <= LARGEST:
        return value  # nearly always; small convolutions wait for these checks
    try:
        if isinstance(value, _BOOLS):
            raise TypeError
        result = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {shown(value)}") from None
    if result < least:
        raise ValueError(f"{name} must be at least {least}, got {name}={shown(result)}")
    if result > LARGEST:
        raise ValueError(f"{name} must be at most {LARGEST}, got {name}={shown(result)}")
    return result


def _number(name: str, value: object) -> float:
    if isinstance(value, (*_BOOLS, np.timedelta64)) or not isinstance(value, _NUMBERS):
        raise TypeError(f"{name} must be a number, got {shown(value)}")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def positive(name: str, value: object, *, zero: bool = False) -> float:
    """`value` as a finite float above 0, or at least 0 where `zero`."""
    result = _number(name, value)
    if not (0.0 < result < float("inf") or (zero and result == 0.0)):
        raise ValueError(f"{name} must be finite and {'at least' if zero else 'above'} 0, got {name}={result}")
    return result


def fraction(name: str, value: object, *, below_one: bool = False) -> float:
    """`value` as a float in [0, 1], or in [0, 1) where `below_one`."""
    result = _number(name, value)
    if not 0.0 <= result <= 1.0 or (below_one and result == 1.0):
        raise ValueError(f"{name} must be in [0, 1{')' if below_one else ']'}, got {name}={result}")
    return result


def is_sequence(value: object) -> TypeGuard[Sequence[Any]]:
    """Whether `value` has members to be looked at one by one, as a tuple, a list or an array has, and a string here has not."""
    kind = type(value)  # which says it sooner than an abstract class does
    if kind is tuple or kind is int:
        return kind is tuple
    return isinstance(value, _SEQUENCES) and not isinstance(value, str | bytes) and getattr(value, "ndim", 1) > 0


def pair(name: str, value: object, *, minimum: int) -> Pair:
    """`value` as (rows, columns): an int counts for both."""
    if type(value) is int and minimum <= value <= LARGEST:
        return value, value
    if not is_sequence(value):
        both = integer(name, value, minimum=minimum)
        return both, both
    if len(value) != 2:
        raise ValueError(f"{name} must be an int or (rows, columns), got {shown(value)}")
    return integer(name, value[0], minimum=minimum), integer(name, value[1], minimum=minimum)


# --- shapes and arrays -------------------------------------------------------------------------------------------


def shape(name: str, value: object, letters: str) -> tuple[int, ...]:
    """`value` as a tuple of sizes, one for each of `letters`; only the batch, N, may be 0."""
    if type(value) is tuple and len(value) == len(letters):
        for size in value:
            if type(size) is not int or not 0 < size <= LARGEST:
                break
        else:
            return value  # that of an array that is not empty
    if not is_sequence(value):
        raise TypeError(f"{name} must be a tuple of {len(letters)} ints, got {shown(value)}")
    if len(value) != len(letters):
        raise ValueError(f"{name} must have {len(letters)} sizes ({', '.join(letters)}), got {shown(tuple(value))}")
    sizes = tuple(integer(f"{name}[{axis}]", size) for axis, size in enumerate(value))
    for letter, size in zip(letters, sizes, strict=True):
        if size < (0 if letter == "N" else 1):
            raise ValueError(
                f"{name} must have no empty axis but the batch, got shape {sizes} for ({', '.join(letters)})"
            )
    return sizes


def is_plain(value: object) -> TypeGuard[Array]:
    """Whether `value` is a NumPy array, also one in a file, and no subclass, whose numbers may mean something else.

    The numbers under a mask would be read, and a matrix has another product and no other number of axes.
    """
    kind = type(value)
    return kind is np.ndarray or kind is np.memmap


def check_plain(name: str, value: object) -> Array:
    """`value`, once it is known to be a plain NumPy array."""
    if not is_plain(value):
        plain = "plain " if isinstance(value, np.ndarray) else ""
        raise TypeError(f"{name} must be a {plain}NumPy array, got {type(value).__name__}")
    return value


def check_array(name: str, array: object, letters: str) -> tuple[int, ...]:
    """The shape of `array`, once it is known to be a plain NumPy array with one axis for each of `letters`."""
    array = check_plain(name, array)
    if array.ndim != len(letters):
        raise ValueError(
            f"{name} must have {len(letters)} axes ({', '.join(letters)}), got {array.ndim} in shape {array.shape}"
        )
    if 0 < array.size <= LARGEST:  # then so is each axis
        return array.shape
    return shape(name, array.shape, letters)


def check_shape(name: str, array: object, expected: tuple[int, ...], meaning: str) -> None:
    """Raise unless `array` is a plain NumPy array of the `expected` shape; `meaning` says what that shape is."""
    array = check_plain(name, array)
    if array.shape != expected:
        raise ValueError(f"{name} must have the shape {expected} ({meaning}), got {array.shape}")


def check_dtypes(arrays: Sequence[tuple[str, object]]) -> np.dtype[Any]:
    """The one float dtype that all the named `arrays` share."""
    first_name, first_dtype = "", None
    for name, array in arrays:
        dtype = array.dtype if type(array) is np.ndarray else check_plain(name, array).dtype
        if dtype is first_dtype:
            continue  # nearly always
        if not dtype.isnative:
            dtype = dtype.newbyteorder("=")  # whose numbers these are, in files from elsewhere
        if dtype not in FLOAT_DTYPES:
            raise TypeError(f"{name} must be float16, float32 or float64, got dtype {dtype}")
        if first_dtype is None:
            first_name, first_dtype = name, dtype
        elif dtype != first_dtype:
            raise TypeError(f"{name} must have the dtype of {first_name}, got {dtype} with {first_name} {first_dtype}")
    if first_dtype is None:
        raise TypeError("at least one array is needed, got none")
    return first_dtype


def check_dtype(dtype: object) -> np.dtype[Any]:
    """`dtype` as a NumPy dtype, one that the operators know."""
    with contextlib.suppress(Exception):  # NumPy has many kinds for what it knows no dtype for, which is refused below
        known = np.dtype(dtype)  # type: ignore[call-overload]
        if known in FLOAT_DTYPES:
            return known
    raise TypeError(f"dtype must be float16, float32 or float64, got {shown(dtype)}")


def check_rng(rng: object) -> np.random.Generator:
    """`rng`, once it is known to be a NumPy Generator."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, got {type(rng).__name__}")
    return rng


# A geometry takes longer to find than a small convolution, and is wanted again and again. Equal arguments have to mean the
# same: so each is checked, and put in its one form, before it comes here. Elsewhere 1, 1.0 and True are equal, and not all right.
kept = functools.lru_cache(maxsize=4096)
