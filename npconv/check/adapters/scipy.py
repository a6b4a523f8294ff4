"""Convolutions and max pooling in SciPy, forward only: correlations of planes by `scipy.signal`, summed one after another."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import scipy
from scipy import ndimage, signal, special

from npconv.check.adapters import Unsupported
from npconv.check.adapters.framework import Framework
from npconv.check.adapters.padding import Pair, sides, windows
from npconv.testing.gradients import Array, Tree

CONVOLUTIONS = "conv2d", "depthwise_conv2d", "pointwise_conv2d", "separable_conv2d", "ghost_conv2d"


class SciPy(Framework):
    NAME = "SciPy"
    VERSION = str(scipy.__version__)
    ERRORS, REFUSALS = (
        (RuntimeError, ValueError),
        ("Unsupported type", "not supported"),
    )  # signal's words, and ndimage's
    IMPORTS = ("import functools", "from scipy import ndimage, signal, special")
    OPERATORS: tuple[str, ...] = (*CONVOLUTIONS, "max_pool2d", "softmax_cross_entropy")
    METHOD = "direct"

    def convolution(
        self, x: Array, w: Array, b: Array | None, stride: Pair, padding: Any, dilation: Pair, groups: int
    ) -> Array:
        """Every position's correlation, of which the stride keeps some; the kernel is dilated by zeros, as the image is padded."""
        rows, columns = sides(padding, x.shape[2:], w.shape[2:], stride, dilation)
        x = np.pad(x, ((0, 0), (0, 0), rows, columns))
        across, down = dilation
        kernel = np.zeros((*w.shape[:2], (w.shape[2] - 1) * across + 1, (w.shape[3] - 1) * down + 1), w.dtype)
        kernel[:, :, ::across, ::down] = w
        step = tuple(slice(None, None, s) for s in stride)
        ins, outs = w.shape[1], w.shape[0] // groups

        def pixel_sums(image: Array, o: int) -> Array:
            first = o // outs * ins
            planes = (signal.correlate(image[first + c], kernel[o, c], "valid", self.METHOD)[step] for c in range(ins))
            return functools.reduce(np.add, planes)

        size = [(length - k) // s + 1 for length, k, s in zip(x.shape[2:], kernel.shape[2:], stride, strict=True)]
        y = np.array([[pixel_sums(image, o) for o in range(len(w))] for image in x], x.dtype)
        y = y.reshape(len(x), len(w), *size)  # for an empty batch, too
        return y if b is None else y + b[:, None, None]

    def concatenate(self, maps: list[Array]) -> Array:
        return np.concatenate(maps, axis=1)

    def max_pool(self, x: Array, kernel: Pair, stride: Pair, padding: Any, ceil_mode: bool) -> Array:
        """A running maximum, of which the stride keeps some windows."""
        pads = sides(padding, x.shape[2:], kernel, stride)
        axes = zip(x.shape[2:], kernel, stride, pads, strict=True)
        kept = tuple(slice(0, (windows(*axis, ceil_mode) - 1) * axis[2] + 1, axis[2]) for axis in axes)
        margins = ((0, 0), (0, 0), *((low, k) for k, (low, _) in zip(kernel, pads, strict=True)))
        # SciPy centres a window at its size // 2; moved by as much, it begins at its pixel.
        origin = (0, 0, *(-(k // 2) for k in kernel))
        padded = np.pad(x, margins, constant_values=-np.inf)
        maxima = ndimage.maximum_filter(padded, (1, 1, *kernel), mode="constant", cval=-np.inf, origin=origin)
        return np.ascontiguousarray(maxima[(..., *kept)])

    def softmax_cross_entropy(self, logits: Array, labels: Array, *, label_smoothing: float = 0.0) -> Array:
        likelihood = special.log_softmax(logits, axis=1)
        chosen = likelihood[np.arange(len(labels)), labels]
        loss = -((1 - label_smoothing) * chosen + label_smoothing * likelihood.mean(axis=1)).mean()
        return np.asarray(loss, logits.dtype)

    # --- the adapter ---------------------------------------------------------------------------------------------

    @property
    def DIRECTIONS(self) -> dict[str, tuple[str, ...]]:  # noqa: N802
        return dict.fromkeys(self.OPERATORS, ("forward",))

    def backward(self, op: str, dy: Tree, args: tuple[Tree, ...], options: dict[str, Any]) -> tuple[Tree, ...]:
        raise Unsupported("SciPy has no gradients")

    def result_lines(self, op: str, options: dict[str, Any], y: str, direction: str) -> list[str]:
        if direction == "backward":
            raise Unsupported("SciPy has no gradients")
        return [f"got = {y}"]


class SciPyFFT(SciPy):
    """The same convolutions by fast Fourier transforms."""

    NAME = "SciPy (FFT)"
    OPERATORS = CONVOLUTIONS
    METHOD = "fft"


SCIPY, FFT = SciPy(), SciPyFFT()
