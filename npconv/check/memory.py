"""The same numbers in memory in every way that NumPy knows, and arrays sent to another process as they lie."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import numpy as np

from npconv.geometry import Array

C_ORDER = "C order"
ZERO_STRIDES = "zero strides"


def lay_out(array: Array, order: str) -> Array:
    """A new array of the numbers of `array` that lies in memory in one of the orders of `features.MEMORY`.

    What an order leaves between the numbers is NaN: whoever reads it shows it.
    """
    return ORDERS[order](array)


def repeated(array: Array, order: str) -> Array:
    """`array` itself, or for zero strides one whose numbers are the same all along the axis that has them."""
    if order != ZERO_STRIDES or not array.size:
        return array
    return np.broadcast_to(array[_first(array)], array.shape).copy()


def _first(array: Array) -> tuple[slice, ...]:
    """The first entry along the first axis that has several."""
    axis = next((axis for axis, length in enumerate(array.shape) if length > 1), None)
    return tuple(slice(0, 1) if place == axis else slice(None) for place in range(array.ndim))


# Each of these functions stands alone, since reproductions show it.


def channels_last(array: Array) -> Array:
    """Axis 1 varies fastest, as in the memory of an NHWC image."""
    axes = sorted(range(array.ndim), key=lambda axis: axis == 1)
    return array.transpose(axes).copy().transpose(np.argsort(axes))


def transposed(array: Array) -> Array:
    """Axis 0 varies fastest."""
    return np.array(array, order="F")


def strided(array: Array) -> Array:
    """Every second element of every axis of a larger array of NaN."""
    wide = np.full([2 * length + 1 for length in array.shape], np.nan, array.dtype)
    every_second: Any = (..., *(slice(1, None, 2) for _ in array.shape))
    view: Array = wide[every_second]
    view[...] = array
    return view


def negative_strides(array: Array) -> Array:
    """Every axis backwards."""
    backwards: Any = (..., *(slice(None, None, -1) for _ in array.shape))
    flipped: Array = array[backwards].copy()[backwards]
    return flipped


def zero_strides(array: Array) -> Array:
    """The first axis with several entries has one in memory."""
    axis = next((axis for axis, length in enumerate(array.shape) if length > 1), array.ndim)
    once = tuple(slice(0, 1) if place == axis else slice(None) for place in range(array.ndim))
    return np.broadcast_to(array[once].copy(), array.shape)


def unaligned(array: Array) -> Array:
    """Starts one byte after a place where a number of its dtype would."""
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    view: Array = memory.view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def read_only(array: Array) -> Array:
    """A copy that cannot be written to."""
    copy = array.copy()
    copy.setflags(write=False)
    return copy


ORDERS: dict[str, Callable[[Array], Array]] = {
    C_ORDER: lambda array: np.array(array, order="C"),
    "channels-last": channels_last,
    "transposed": transposed,
    "strided": strided,
    "negative strides": negative_strides,
    ZERO_STRIDES: zero_strides,
    "unaligned": unaligned,
    "read-only": read_only,
}
"""How to lay out an array, by the name of the order."""


# --- memory as such ----------------------------------------------------------------------------------------------


def owner(array: Array) -> Array:
    """The bytes that `array` is a view of, gaps between its numbers included."""
    base = array
    while isinstance(base.base, np.ndarray):
        base = base.base
    whole = base.ravel(order="K") if base.flags.forc else np.array(base)
    return whole.view(np.uint8) if whole.size else np.zeros(0, np.uint8)


class Packed(NamedTuple):
    """An array as it lies: `pickle` alone would put its numbers in another order."""

    memory: bytes
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    writeable: bool

    @classmethod
    def of(cls, array: Array) -> Packed:
        """`array` with all of the memory between its lowest and its highest byte."""
        low = sum(min(0, (length - 1) * step) for length, step in zip(array.shape, array.strides, strict=True))
        high = sum(max(0, (length - 1) * step) for length, step in zip(array.shape, array.strides, strict=True))
        if not array.size:
            return cls(b"", 0, array.shape, array.strides, array.dtype, array.flags.writeable)
        start = array.__array_interface__["data"][0] + low
        span = high - low + array.itemsize
        memory = ctypes.string_at(start, span)
        shift = start % 16  # the address decides whether numbers are aligned
        return cls(bytes(shift) + memory, shift - low, array.shape, array.strides, array.dtype, array.flags.writeable)

    def array(self) -> Array:
        """The array, on memory of its own."""
        size = len(self.memory)
        room = np.zeros(size + 16, np.uint8)
        room = room[-room.__array_interface__["data"][0] % 16 :][:size]
        room[...] = np.frombuffer(self.memory, np.uint8)
        if not prod(self.shape):
            return np.zeros(self.shape, self.dtype)
        array = np.ndarray(self.shape, self.dtype, room.data, self.offset, self.strides)
        array.setflags(write=self.writeable)
        return array
