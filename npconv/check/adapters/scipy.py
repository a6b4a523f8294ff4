"""Convolutions and max pooling in SciPy, forward only: correlations of planes by `scipy.signal`, summed one after another."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
from scipy import ndimage, signal, special

from npconv.check.adapters import Unsupported
from npconv.check.adapters.definitions import arguments, call, definitions
from npconv.check.adapters.padding import pair, sides
from npconv.testing.gradients import Array, Tree

NAME = "SciPy"


def conv2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    method: str = "direct",
) -> Array:
    """Every position's correlation, of which the stride keeps some; the kernel is dilated by zeros, as the image is padded."""
    rows, columns = sides(padding, x.shape[2:], w.shape[2:], stride, dilation)
    x = np.pad(x, ((0, 0), (0, 0), rows, columns))
    across, down = pair(dilation)
    kernel = np.zeros((*w.shape[:2], (w.shape[2] - 1) * across + 1, (w.shape[3] - 1) * down + 1), w.dtype)
    kernel[:, :, ::across, ::down] = w
    step = tuple(slice(None, None, s) for s in pair(stride))
    ins, outs = w.shape[1], w.shape[0] // groups

    def pixel_sums(image: Array, o: int) -> Array:
        first = o // outs * ins
        planes = (signal.correlate(image[first + c], kernel[o, c], "valid", method)[step] for c in range(ins))
        return functools.reduce(np.add, planes)

    size = [(length - k) // s + 1 for length, k, s in zip(x.shape[2:], kernel.shape[2:], pair(stride), strict=True)]
    y = np.array([[pixel_sums(image, o) for o in range(len(w))] for image in x], x.dtype)
    y = y.reshape(len(x), len(w), *size)  # for an empty batch, too
    return y if b is None else y + b[:, None, None]


def depthwise_conv2d(x: Array, w: Array, b: Array | None = None, **options: Any) -> Array:
    return conv2d(x, w, b, groups=x.shape[1], **options)


def pointwise_conv2d(x: Array, w: Array, b: Array | None = None, **options: Any) -> Array:
    return conv2d(x, w, b, **options)


def separable_conv2d(
    x: Array, w_depthwise: Array, w_pointwise: Array, b: Array | None = None, *, method: str = "direct", **options: Any
) -> Array:
    return conv2d(depthwise_conv2d(x, w_depthwise, method=method, **options), w_pointwise, b, method=method)


def ghost_conv2d(
    x: Array,
    w_primary: Array,
    w_cheap: Array | None = None,
    *,
    out_channels: int | None = None,
    method: str = "direct",
    **options: Any,
) -> Array:
    primary = conv2d(x, w_primary, method=method, **options)
    if w_cheap is None:
        return primary
    ghosts = depthwise_conv2d(primary, w_cheap, padding="same", method=method)
    return np.concatenate([primary, ghosts], axis=1)[:, :out_channels]


def max_pool2d(x: Array, kernel: Any, *, stride: Any = None, padding: Any = 0, ceil_mode: bool = False) -> Array:
    """A running maximum, of which the stride keeps the windows that start inside the padded image."""
    kernel, stride = pair(kernel), pair(kernel if stride is None else stride)
    pads = sides(padding, x.shape[2:], kernel, stride)
    starts = []
    for length, k, s, (low, high) in zip(x.shape[2:], kernel, stride, pads, strict=True):
        last = length + low - 1 if ceil_mode else length + low + high - k
        complete = -(-max(length + low + high - k, 0) // s) * s
        starts.append(slice(0, min(last, complete) + 1, s))
    x = np.pad(
        x, ((0, 0), (0, 0), *((low, k) for k, (low, _) in zip(kernel, pads, strict=True))), constant_values=-np.inf
    )
    # SciPy centres a window at its size // 2; moved by as much, it begins at its pixel.
    origin = tuple(-(k // 2) for k in kernel)
    maxima = ndimage.maximum_filter(x, (1, 1, *kernel), mode="constant", cval=-np.inf, origin=(0, 0, *origin))
    return np.ascontiguousarray(maxima[:, :, starts[0], starts[1]])


def softmax_cross_entropy(logits: Array, labels: Array, *, label_smoothing: float = 0.0) -> Array:
    likelihood = special.log_softmax(logits, axis=1)
    chosen = likelihood[np.arange(len(labels)), labels]
    loss = -((1 - label_smoothing) * chosen + label_smoothing * likelihood.mean(axis=1)).mean()
    return np.asarray(loss, logits.dtype)


# --- the adapter -------------------------------------------------------------------------------------------------

CONVOLUTIONS: dict[str, Callable[..., Array]] = {
    function.__name__: function
    for function in (conv2d, depthwise_conv2d, pointwise_conv2d, separable_conv2d, ghost_conv2d)
}
"""Those that take the option `method`: "direct" or "fft"."""
FUNCTIONS = CONVOLUTIONS | {function.__name__: function for function in (max_pool2d, softmax_cross_entropy)}
OPERATORS = tuple(FUNCTIONS)
DIRECTIONS = dict.fromkeys(OPERATORS, ("forward",))


def version() -> str:
    return str(scipy.__version__)


def forward(op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> Tree:
    try:
        return FUNCTIONS[op](*args, **options)
    except (RuntimeError, ValueError) as error:
        if "Unsupported type" in str(error) or "not supported" in str(error):  # signal's words, and ndimage's
            raise Unsupported(str(error)) from error
        raise


def backward(op: str, dy: Tree, args: tuple[Tree, ...], options: dict[str, Any]) -> tuple[Tree, ...]:
    raise Unsupported("SciPy has no gradients")


def source(op: str, options: dict[str, Any], direction: str) -> str:
    if direction == "backward":
        raise Unsupported("SciPy has no gradients")
    imports = ["import functools", "import numpy as np", "from scipy import ndimage, signal, special", ""]
    return "\n".join([*imports, definitions(FUNCTIONS[op]), "", f"got = {call(op, arguments(op), options)}"])
