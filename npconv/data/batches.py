"""Batches of a part's images, and an iterator that works in the background."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

import numpy as np

from npconv.geometry import Array, check_array, check_plain, check_rng, check_shape, integer

Item = TypeVar("Item")


def batches(
    images: Array, labels: Array, batch: int, *, rng: np.random.Generator | None = None
) -> Iterator[tuple[Array, Array]]:
    """(images, labels) in parts of at most `batch`, shuffled by `rng`, or in order where that is None.

    The parts differ by at most one image: a last part of a single image would break batch normalisation.

    Parameters
    ----------
    images : array (N, C, H, W)
    labels : array (N,)
    batch : int of at least 1
    rng : numpy.random.Generator, optional

    Returns
    -------
    iterator of (images, labels)
        Of their dtypes and memory orders.

    Examples
    --------
    >>> import numpy as np
    >>> [labels.tolist() for _, labels in batches(np.zeros((5, 1, 2, 2)), np.arange(5), 4)]
    [[0, 1, 2], [3, 4]]
    """
    count, batch = check_array("images", images, "NCHW")[0], integer("batch", batch, minimum=1)
    check_shape("labels", labels, (count,), "one for each image")
    order = np.arange(count) if rng is None else check_rng(rng).permutation(count)
    return ((take(images, part), labels[part]) for part in parts(order, batch))


def parts(order: Array, batch: int) -> list[Array]:
    """`order` cut into parts of at most `batch`, which differ by at most one image."""
    return np.array_split(order, max(batch_count(len(order), batch), 1))


def batch_count(images: int, batch: int) -> int:
    """How many batches of at most `batch` images `batches` makes of this many images.

    Parameters
    ----------
    images : int
    batch : int of at least 1

    Returns
    -------
    int

    Examples
    --------
    >>> batch_count(5, 4)
    2
    """
    return -(-integer("images", images, minimum=0) // integer("batch", batch, minimum=1))


def take(images: Array, index: Array) -> Array:
    """The images (N, C, H, W) at `index`, in the memory order of `images`.

    Parameters
    ----------
    images : array (N, C, H, W)
        Of any dtype.
    index : array (M,) of int

    Returns
    -------
    array (M, C, H, W)
        New, of the dtype of images.

    Examples
    --------
    >>> import numpy as np
    >>> take(np.arange(4.0).reshape(4, 1, 1, 1), np.array([2, 0])).ravel()
    array([2., 0.])
    """
    count = check_array("images", images, "NCHW")[0]
    if check_plain("index", index).ndim != 1 or index.dtype.kind not in "iu":
        raise TypeError(f"index must be integers (M,), got {index.dtype} in shape {index.shape}")
    if index.size and not 0 <= index.min() <= index.max() < count:
        raise ValueError(f"index must be of {count} images, got {index.min()} to {index.max()}")
    if images.flags.c_contiguous:
        return images[index]
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)[index]).transpose(0, 3, 1, 2)


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


def in_background(items: Iterator[Item], ahead: int = 2) -> Iterator[Item]:
    """`items`, made by a thread that is up to `ahead` items before whoever asks for them.

    What it raises is raised at its place in the order. Closing the iterator ends the thread.

    Parameters
    ----------
    items : iterator
    ahead : int of at least 1

    Returns
    -------
    iterator

    Examples
    --------
    >>> list(in_background(iter([1, 2, 3])))
    [1, 2, 3]
    """
    made: queue.Queue[object] = queue.Queue(integer("ahead", ahead, minimum=1))
    closed = threading.Event()

    def put(item: object) -> bool:
        while not closed.is_set():
            try:
                made.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as error:  # whatever it is, the one who waits must hear of it
            put(_Failed(error))
        else:
            put(_END)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True)
    thread.start()
    try:
        while (item := made.get()) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item  # type: ignore[misc]
    finally:
        closed.set()
        thread.join()
