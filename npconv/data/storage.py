"""Room for many images: in memory, or where they are many in a file that the system maps into memory."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import Array, check_array, check_fits
from npconv.printable import printable

LARGE = 1 << 30  # bytes; larger arrays are files that the system reads page by page and drops again
MOST_CHANNELS = 4  # grey, grey and alpha, colour, colour and alpha
CHUNK = 1024  # images that are worked on at a time


def allocate(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """An array to be filled: an ordinary one, or above `LARGE` bytes one in an unnamed file of the temporary folder.

    Raises MemoryError or ValueError where memory or the temporary folder has no room for it, before anything is read.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= LARGE:
        check_fits("the images", size, 1)
        return np.empty(shape, dtype)
    folder = tempfile.gettempdir()
    room = shutil.disk_usage(folder).free
    if size > room:
        raise ValueError(
            f"the images must fit into {printable(folder)}, where {room / 1e9:.1f} GB are free, got {size / 1e9:.1f} GB: "
            "the variable TMPDIR names another folder"
        )
    with tempfile.TemporaryFile() as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)  # else a full disk would be met in the middle, by a signal
        else:
            file.truncate(size)
        return np.memmap(file, dtype, "r+", shape=shape)  # the map outlives the name and the file object


def planar(images: Array) -> Array:
    """A view of images (N, H, W), (N, C, H, W) or (N, H, W, C) as (N, C, H, W).

    The channels are last where the last axis has at most 4 places and the second one more.

    >>> planar(np.zeros((2, 8, 8, 3))).shape
    (2, 3, 8, 8)
    """
    if isinstance(images, np.ndarray) and images.ndim == 3:
        images = images[:, None]
    _, channels, _, width = check_array("images", images, "NCHW")
    return images.transpose(0, 3, 1, 2) if width <= MOST_CHANNELS < channels else images


def chunks(count: int, size: int = CHUNK) -> Iterator[slice]:
    """The slices of `count` images, at most `size` each.

    >>> list(chunks(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
