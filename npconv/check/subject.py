"""A convolution as a black box that adds up products of our choice: what the probes of its arithmetic are made with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from npconv.check.bfloat16 import NAME, dtype_named
from npconv.geometry import Array, integer
from npconv.workers import WorkerError

Forward: TypeAlias = Callable[..., Array]
OPERATORS = ("conv2d", "depthwise_conv2d", "pointwise_conv2d")


class NoAnswerError(Exception):
    """Why a probe says nothing: the function raised, or what it returned cannot be its result."""


class Subject:
    """`forward` on problems of one shape, so that an algorithm that is chosen by shape is the same in all probes.

    Whatever the operator is, x is (N, C, H, W), w is (O, C, k, k), and y is their convolution at stride 1 with the size
    of x: a depthwise convolution gets the one channel of x once for each of its filters.

    Parameters
    ----------
    forward : callable
        With the signature of the operator `op` of `npconv.ops`, on NumPy arrays.
    op : one of `OPERATORS`
    dtype : float16, bfloat16, float32 or float64
        Of the arrays that it is given.
    batch, channels, out_channels, size : int
        Images, channels of each, filters, and rows and columns of an image.

    Raises
    ------
    TypeError, ValueError
        For an argument that is none of these, or shapes too small for the probes.
    """

    def __init__(
        self,
        forward: Forward,
        *,
        op: str = "conv2d",
        dtype: DTypeLike = np.float32,
        batch: int = 2,
        channels: int = 32,
        out_channels: int = 16,
        size: int = 16,
    ) -> None:
        if op not in OPERATORS:
            raise ValueError(f"op must be one of {', '.join(map(repr, OPERATORS))}, got {op!r}")
        self.forward = forward
        self.op = op
        self.dtype: np.dtype[Any] = dtype_named(dtype)
        self.batch = integer("batch", batch, minimum=2)
        self.channels = 1 if op == "depthwise_conv2d" else integer("channels", channels, minimum=1)
        self.out_channels = integer("out_channels", out_channels, minimum=1)
        self.size = integer("size", size, minimum=10)  # two tiles of the largest Winograd transforms in use
        self.kernel = 1 if op == "pointwise_conv2d" else 3
        self.pad = self.kernel // 2
        self.x_shape = self.batch, self.channels, self.size, self.size
        self.w_shape = self.out_channels, self.channels, self.kernel, self.kernel
        self.terms = self.channels * self.kernel**2
        if self.terms < 9:
            raise ValueError(f"channels must be at least 9 for a pointwise convolution, got channels={channels}")

    def __call__(self, x: Array, w: Array) -> Array:
        """y in float64, for x (any N, C, H, W) and w (O, C, k, k). Raises NoAnswerError where there is none."""
        with np.errstate(all="ignore"):  # of the probes' own casts, and of a subject written in NumPy
            arrays = x.astype(self.dtype), w.astype(self.dtype)
            try:
                y: object = self._call(*arrays)
            except WorkerError as error:  # what was raised, or came about, in the process of the function
                raise NoAnswerError(f"raised {error.name}: {error}" if error.name else str(error)) from error
            except Exception as error:
                raise NoAnswerError(f"raised {type(error).__name__}: {error}") from error
            if not isinstance(y, np.ndarray) or (y.dtype.kind != "f" and y.dtype != self.dtype):
                raise NoAnswerError(f"returned no array of floats but {getattr(y, 'dtype', type(y).__name__)}")
            expected = (len(x), len(w), *x.shape[2:])
            if y.shape != expected:
                raise NoAnswerError(f"returned the shape {y.shape} instead of {expected}")
            return y.astype(np.float64)

    @property
    def stored_bits(self) -> int:
        """The bits after the leading one that its arrays keep."""
        return 7 if self.dtype.name == NAME else int(np.finfo(self.dtype).nmant)

    def _call(self, x: Array, w: Array) -> Array:
        if self.op == "pointwise_conv2d":
            return self.forward(x, w)
        if self.op == "depthwise_conv2d":
            return self.forward(np.repeat(x, len(w), axis=1), w, padding=self.pad)
        return self.forward(x, w, padding=self.pad)

    def replaced(self, forward: Forward) -> Subject:
        """Another function on the same problems."""
        other = copy(self)
        other.forward = forward
        return other

    def convolve(self, x: Array, w: Array) -> Array:
        """y (E, F, H, W) of any number E of images and F of filters, in calls of the one shape filled up with zeros."""
        y = np.empty((len(x), len(w), *x.shape[2:]))
        for n in range(0, len(x), self.batch):
            for o in range(0, len(w), self.out_channels):
                images, filters = x[n : n + self.batch], w[o : o + self.out_channels]
                result = self(_filled(images, self.batch), _filled(filters, self.out_channels))
                y[n : n + self.batch, o : o + self.out_channels] = result[: len(images), : len(filters)]
        return y

    def sums(self, windows: Array, kernels: Array) -> Array:
        """The sums of products (E, F) of `windows` (E, K) and `kernels` (F, K), terms in the order (channel, row, column).

        Windows are laid side by side in images, and the outputs at their centres are read.
        """
        across = self.size // self.kernel
        images = -(-len(windows) // across**2)
        grid = _filled(windows, images * across**2).reshape(
            images, across, across, self.channels, self.kernel, self.kernel
        )
        side = across * self.kernel
        x = np.zeros((images, self.channels, self.size, self.size))
        x[:, :, :side, :side] = grid.transpose(0, 3, 1, 4, 2, 5).reshape(images, self.channels, side, side)
        y = self.convolve(x, kernels.reshape(-1, self.channels, self.kernel, self.kernel))
        centres = slice(self.kernel // 2, side, self.kernel)
        return y[:, :, centres, centres].transpose(0, 2, 3, 1).reshape(-1, len(kernels))[: len(windows)]

    def at(self, terms: Sequence[int]) -> Array:
        """For each of the `terms` a window, or a kernel, that is 1 there and 0 elsewhere."""
        windows = np.zeros((len(terms), self.terms))
        windows[np.arange(len(terms)), terms] = 1
        return windows

    def some(self, rng: np.random.Generator, count: int = 1) -> Array:
        """Such windows for `count` different terms."""
        return self.at(rng.choice(self.terms, count, replace=False).tolist())


def _filled(array: Array, length: int) -> Array:
    """`array` with zeros behind it, `length` long."""
    return np.concatenate([array, np.zeros((length - len(array), *array.shape[1:]))])
