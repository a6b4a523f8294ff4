"""Where arrays begin: large ones start at a cache line, because vectors that cross one take twice as long to load and to store."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np

from npconv.geometry import SURE, Array, check_fits

CACHE_LINE = 64  # bytes
PAGE = 4096


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """Like np.empty, whose large arrays begin 16 bytes after the start of a cache line: up to 20 % slower for a pointwise convolution.

    To find a place for a smaller one than a page takes longer, 0.7 us, than to go over it.
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape)
    if size * dtype.itemsize < PAGE:
        return np.empty(shape, dtype)
    if size * dtype.itemsize > SURE:
        check_fits(f"an array of the shape {shape}", size, dtype.itemsize)
    flat = np.empty(size + CACHE_LINE // dtype.itemsize, dtype)
    address = ctypes.addressof(ctypes.c_char.from_buffer(flat.data))  # flat.ctypes.data takes 0.8 us, this 0.4
    start = -address % CACHE_LINE // dtype.itemsize
    return flat[start : start + size].reshape(shape)


def aligned(array: Array) -> Array:
    """A copy in C order that begins where `empty` puts it."""
    copy = empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def is_channels_last(x: Array) -> bool:
    """Whether the channels of a pixel of x (N, C, H, W) lie beside each other, and nothing else between the pixels.

    A map of one channel, or of one pixel, can be both in C order and channels-last; it is channels-last here.
    """
    return x.transpose(0, 2, 3, 1).flags.c_contiguous


def lies_channels_last(x: Array) -> bool:
    """Whether x is channels-last, or a part of such a map: the channels of a pixel lie beside each other, whatever else does."""
    return is_channels_last(x) or (x.shape[1] > 1 and x.strides[1] == x.itemsize)


def is_slice_of_channels(x: Array) -> bool:
    """Whether x is a slice of channels of a channels-last map: its pixels have one distance, and channels beside each other."""
    _, channels, height, width = x.shape
    image, channel, row, pixel = x.strides
    return (
        (channels == 1 or channel == x.itemsize)
        and (width == 1 or height == 1 or row == width * pixel)
        and (len(x) == 1 or image == (height * row if height > 1 else width * pixel))
        and width > 1
        and pixel >= channels * x.itemsize
    )


def empty_channels_last(shape: tuple[int, ...], dtype: Any) -> Array:
    """Like `empty`, a map of the shape (N, C, H, W), in channels-last order."""
    batch, channels, height, width = shape
    return empty((batch, height, width, channels), dtype).transpose(0, 3, 1, 2)


def pixel_rows(x: Array) -> Array:
    """A view of a channels-last map (N, C, H, W) as (N * H * W, C): one row of numbers for each pixel."""
    batch, channels, height, width = x.shape
    return x.transpose(0, 2, 3, 1).reshape(batch * height * width, channels)


def empty_like(x: Array) -> Array:
    """An array of x's shape and dtype: channels-last where x is, else in C order."""
    channels_last = x.ndim == 4 and is_channels_last(x)
    return empty_channels_last(x.shape, x.dtype) if channels_last else empty(x.shape, x.dtype)


def flat(x: Array) -> Array:
    """All numbers of an array that is channels-last, or in C order, one after the other as they lie: a view."""
    return x.transpose(0, 2, 3, 1).reshape(-1) if x.ndim == 4 and is_channels_last(x) else x.reshape(-1)
