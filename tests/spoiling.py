"""What makes an argument wrong: values of all kinds, and arrays that are somehow not what they should be."""

from __future__ import annotations

import contextlib
import decimal
import fractions
import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np


class Unready:
    """Raises whatever it is asked."""

    def __index__(self) -> int:
        raise ZeroDivisionError("asked for an index")

    def __float__(self) -> float:
        raise ZeroDivisionError("asked for a float")

    def __len__(self) -> int:
        raise ZeroDivisionError("asked for a length")

    def __bool__(self) -> bool:
        raise ZeroDivisionError("asked for a truth")


VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 5, 255, 2**31 - 1, 2**31, 2**32 + 1, 2**62, 2**63, 2**64, 10**400, -(10**400), -(2**63),
    0.0, -0.0, 0.5, 1.0, 1.5, 2.0, 1e-320, 1e-45, 1e38, 1e39, 1e308, -1e308, float("nan"), float("inf"), -float("inf"), 3 + 4j,
    "", "x", "same", "valid", "same_lower", "forward", "float32", "é\x1b[31m\n", "\udcff", b"same", "9" * 5000, "1",
    (), (1,), (1, 2), (1, 2, 3), (0, 0), (-1, 1), (2**31 - 1, 1), (1, 10**400), (1.0, 2), (None, None), ((1, 2), (3, 4)), ((1, 2), 3),
    ((0, 1), (1, 0), (0, 0)), ((1,), (2,)), ("a", "b"), (((1,),), ((2,),)), (float("nan"), 1), [1, 2], [[1, 2], [3, 4]], [], [[]],
    (1, 4, 6, 6), (0, 4, 6, 6), (1, 4, 0, 6), (1, 4, 2**31 - 1, 2**31 - 1), (2**31 - 1,) * 4, (1, 4, 6.0, 6), (1, 4, "6", 6), [1, 4, 6, 6],
    {}, {1: 2}, {1, 2}, range(2), range(4, 8), slice(None), iter((1, 2)), object, object(), int, len, Unready(), NotImplemented, ...,
    decimal.Decimal("0.5"), decimal.Decimal("NaN"), fractions.Fraction(1, 2), np.ma.masked, np.random.default_rng, np.random.RandomState,
    np.int8(3), np.uint8(255), np.int64(2**62), np.uint64(2**64 - 1), np.float16(2), np.float16("inf"), np.float32("nan"), np.longdouble(1),
    np.bool_(True), np.str_("same"), np.datetime64("now"), np.timedelta64(3, "s"), np.complex64(1), np.void(b"abc"),
    np.array(3), np.array(0.5), np.array([2, 2]), np.array([0.5, 0.5]), np.array([]), np.array([[1, 2], [3, 4]]), np.array("same"),
    np.array(None), np.array([None, 1], object), np.array([1, 10**400], object), np.zeros((1, 4, 6, 5)), np.zeros((2, 4, 6, 5), np.float32),
    np.float16, "float64", "f2", "<f4", ">f8", np.dtype("f4,f8"), np.dtype(object), "bfloat16", "U5", np.longdouble, np.complex64,
]  # fmt: skip


class Subclass(np.ndarray):
    pass


def _cast(dtype: Any) -> Callable[[np.ndarray], Any]:
    def change(array: np.ndarray) -> Any:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return array.astype(dtype) if array.dtype.kind not in "OVMmSU" else array

    return change


def _matrix(array: np.ndarray) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asmatrix(array)


def _filled(value: float) -> Callable[[np.ndarray], Any]:
    def change(array: np.ndarray) -> Any:
        changed = array.copy()
        if array.size and array.dtype.kind in "fiu":
            with contextlib.suppress(OverflowError, ValueError):  # what the dtype cannot hold
                changed.flat[array.size // 2] = value
        return changed

    return change


ARRAY_CHANGES: list[Callable[[np.ndarray], Any]] = [
    *map(_cast, ["f2", "f4", "f8", "g", "i1", "i8", "u8", "?", "c8", "O", "S3", "U3", ">f4", ">f8", "V4"]),
    *map(_filled, [np.nan, np.inf, -np.inf, 1e38, -1e38, 1e-45, -0.0, 1000, -1000, 2.0**62]),
    lambda a: a.astype("i8").view("m8[s]"),
    lambda a: a.astype("i8").view("M8[s]"),
    lambda a: np.zeros(a.shape, [("a", "f4"), ("b", "i4")]),
    lambda a: a[None],
    lambda a: a[..., None],
    lambda a: a[0] if a.ndim else a,
    lambda a: a[:0] if a.ndim else a,
    lambda a: a[..., :0] if a.ndim else a,
    lambda a: a[1:] if a.ndim else a,
    lambda a: a[..., 1:] if a.ndim else a,
    lambda a: a.T,
    lambda a: a.ravel(),
    lambda a: a.sum(),
    lambda a: np.array(a.sum()),
    lambda a: np.repeat(a, 2, axis=0) if a.ndim else a,
    lambda a: np.repeat(a, 2, axis=-1) if a.ndim else a,
    lambda a: a.reshape((1,) * 40 + a.shape) if a.ndim < 10 else a,
    lambda a: a[::-1] if a.ndim else a,
    lambda a: np.broadcast_to(a[:1], a.shape) if a.ndim else a,
    lambda a: np.ma.masked_array(a, mask=True),
    lambda a: a.view(Subclass),
    lambda a: np.recarray(a.shape, a.dtype),
    lambda a: _matrix(a) if a.ndim == 2 else a,
    lambda a: a.tolist(),
    lambda a: list(a) if a.ndim else a,
    lambda a: tuple(a) if a.ndim else a,
    lambda a: memoryview(np.ascontiguousarray(a)),
    lambda a: np.broadcast_to(np.zeros((), "f4"), (2**31, *a.shape[1:])) if a.ndim else a,
    lambda a: np.broadcast_to(np.zeros((), "f4"), (*a.shape[:-1], 2**31)) if a.ndim else a,
    lambda a: np.broadcast_to(np.zeros((), "f4"), (2**15, 2**15, 2**15, 2**15)),
    lambda a: np.broadcast_to(np.zeros((), a.dtype), (0, *a.shape[1:])) if a.ndim else a,
]


def spoiled(value: Any, draw: random.Random) -> Any:
    """A wrong value in the place of `value`, or one that is somehow like it."""
    if isinstance(value, np.ndarray) and draw.random() < 0.7:
        return draw.choice(ARRAY_CHANGES)(value)
    if isinstance(value, tuple) and value and draw.random() < 0.6:
        place = draw.randrange(len(value))
        leaves = [spoiled(leaf, draw) if i == place else leaf for i, leaf in enumerate(value)]
        if draw.random() < 0.1:
            leaves = leaves[:-1] if draw.random() < 0.5 else [*leaves, None]
        if hasattr(value, "_fields") and len(leaves) == len(value):
            return type(value)(*leaves)
        return tuple(leaves)
    if isinstance(value, dict) and value and draw.random() < 0.7:
        changed = dict(value)
        key = draw.choice(list(changed))
        if draw.random() < 0.3:
            del changed[key]
        else:
            changed[key] = spoiled(changed[key], draw)
        return changed
    return draw.choice(VALUES)
