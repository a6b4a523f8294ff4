"""Every operator in tinygrad: the same names, arguments and options on tensors, gradients by `Tensor.gradient`.

tinygrad compiles what it runs, for which it calls clang, or what CC names. Where it finds no device that it can compile
for, it is left with its device PYTHON, which interprets the same programs, slowly, on Python's numbers.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from tinygrad import Device, Tensor
from tinygrad.helpers import DEV, PARALLEL

from npconv.check.adapters import Unsupported
from npconv.check.adapters.definitions import arguments, call, definitions
from npconv.check.adapters.padding import pair, sides
from npconv.testing.gradients import Array, Tree, map_arrays

NAME = "tinygrad"

try:
    Device.DEFAULT  # noqa: B018 - the first look at it searches for a device that works
except RuntimeError:  # none does: set here, for the variable of the environment was read when tinygrad was imported
    DEV.value = "PYTHON"
PARALLEL.value = 0  # its pool of compiling processes is slower for one operator, and hangs where one of them fails

Maps: TypeAlias = tuple[Any, Any]
"""(high, low), either None where it has no channels."""


# --- convolutions ------------------------------------------------------------------------------------------------


def conv2d(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    rows, columns = sides(padding, x.shape[2:], w.shape[2:], stride, dilation)
    return x.conv2d(w, b, groups, pair(stride), pair(dilation), (*columns, *rows))


def depthwise_conv2d(x: Tensor, w: Tensor, b: Tensor | None = None, **options: Any) -> Tensor:
    return conv2d(x, w, b, groups=x.shape[1], **options)


def pointwise_conv2d(x: Tensor, w: Tensor, b: Tensor | None = None, *, stride: Any = 1, groups: int = 1) -> Tensor:
    return x.conv2d(w, b, groups, pair(stride))


def separable_conv2d(
    x: Tensor, w_depthwise: Tensor, w_pointwise: Tensor, b: Tensor | None = None, **options: Any
) -> Tensor:
    return depthwise_conv2d(x, w_depthwise, **options).conv2d(w_pointwise, b)


def ghost_conv2d(
    x: Tensor, w_primary: Tensor, w_cheap: Tensor | None = None, *, out_channels: int | None = None, **options: Any
) -> Tensor:
    primary = conv2d(x, w_primary, **options)
    if w_cheap is None:
        return primary
    return primary.cat(depthwise_conv2d(primary, w_cheap, padding="same"), dim=1)[:, :out_channels]


def octave_conv2d(
    x: Maps,
    w: tuple[Tensor | None, ...],
    b: Maps | None = None,
    *,
    stride: Any = 1,
    stride_mode: str = "pool",
    **options: Any,
) -> Maps:
    """Equation 4 of the OctConv paper; with stride 2 in the mode "pool", the published code."""
    (high, low), (hh, hl, lh, ll) = x, w
    pooled_first = stride_mode == "pool" and pair(stride) == (2, 2)
    pooled = None if hl is None else octave_pool(high, 4 if pooled_first else 2)
    if pooled_first:
        stride = 1
        high = None if hh is None else octave_pool(high, 2)
    y_high = None if hh is None else conv2d(high, hh, stride=stride, **options)
    if lh is not None:
        part = conv2d(low, lh, stride=stride, **options)
        if not pooled_first:  # else the low map has the high output's size as it is
            part = upsample_nearest2d(part, 2, size=None if y_high is None else y_high.shape[2:])
        y_high = part if y_high is None else y_high + part
    y_low = None
    if ll is not None:
        y_low = conv2d(octave_pool(low, 2) if pooled_first else low, ll, stride=stride, **options)
    if hl is not None:
        part = conv2d(pooled, hl, stride=stride, **options)
        y_low = part if y_low is None else y_low + part
    return octave_bias(y_high, y_low, b)


def octave_depthwise_conv2d(
    x: Maps,
    w: tuple[Tensor | None, ...],
    b: Maps | None = None,
    *,
    stride: Any = 1,
    stride_mode: str = "pool",
    **options: Any,
) -> Maps:
    """Each frequency by itself: no path from one to the other."""
    high, low = x
    if stride_mode == "pool" and pair(stride) == (2, 2):
        high, low = (None if a is None else octave_pool(a, 2) for a in x)
        stride = 1
    y_high, y_low = (
        None if a is None else depthwise_conv2d(a, kernel, stride=stride, **options)
        for a, kernel in zip((high, low), (w[0], w[3]), strict=True)
    )
    return octave_bias(y_high, y_low, b)


def octave_pool(x: Tensor, factor: int) -> Tensor:
    return x.avg_pool2d((factor, factor), ceil_mode=True, count_include_pad=False)


def octave_bias(high: Tensor | None, low: Tensor | None, b: Maps | None) -> Maps:
    high, low = (
        y if y is None or bias is None else y + bias.reshape(1, -1, 1, 1)
        for y, bias in zip((high, low), b or (None, None), strict=True)
    )
    return high, low


# --- moves, pools, and the rest of a network ---------------------------------------------------------------------


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    batch, channels, height, width = x.shape
    return x.reshape(batch, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape)


def channel_unshuffle(x: Tensor, groups: int) -> Tensor:
    return channel_shuffle(x, x.shape[1] // groups)


def avg_pool2d(
    x: Tensor,
    kernel: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> Tensor:
    stride = pair(kernel if stride is None else stride)
    rows, columns = sides(padding, x.shape[2:], pair(kernel), stride)
    return x.avg_pool2d(pair(kernel), stride, 1, (*columns, *rows), ceil_mode, count_include_pad)


def max_pool2d(x: Tensor, kernel: Any, *, stride: Any = None, padding: Any = 0, ceil_mode: bool = False) -> Tensor:
    stride = pair(kernel if stride is None else stride)
    rows, columns = sides(padding, x.shape[2:], pair(kernel), stride)
    return x.max_pool2d(pair(kernel), stride, 1, (*columns, *rows), ceil_mode)


def global_avg_pool2d(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)


def upsample_nearest2d(x: Tensor, scale: Any = 2, *, size: Any = None) -> Tensor:
    rows, columns = (length * factor for length, factor in zip(x.shape[2:], pair(scale), strict=True))
    height, width = (rows, columns) if size is None else pair(size)
    return x.interpolate((rows, columns), mode="nearest")[:, :, :height, :width]


def batch_norm2d(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor | None = None,
    var: Tensor | None = None,
    *,
    eps: float = 1e-5,
) -> Tensor:
    if mean is None or var is None:
        mean = x.mean((0, 2, 3))
        var = (x - mean.reshape(1, -1, 1, 1)).square().mean((0, 2, 3))
    return x.batchnorm(gamma, beta, mean, (var + eps).rsqrt())


def relu(x: Tensor) -> Tensor:
    return x.relu()


def relu6(x: Tensor) -> Tensor:
    return x.relu6()


def hard_sigmoid(x: Tensor) -> Tensor:
    return x.hardsigmoid()


def hard_swish(x: Tensor) -> Tensor:
    return x.hardswish()


def linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    return x.linear(w.T, b)


def softmax_cross_entropy(logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    return logits.sparse_categorical_crossentropy(labels, label_smoothing=label_smoothing)


# --- the adapter -------------------------------------------------------------------------------------------------

FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        conv2d,
        depthwise_conv2d,
        pointwise_conv2d,
        separable_conv2d,
        octave_conv2d,
        octave_depthwise_conv2d,
        ghost_conv2d,
        channel_shuffle,
        channel_unshuffle,
        avg_pool2d,
        max_pool2d,
        global_avg_pool2d,
        upsample_nearest2d,
        batch_norm2d,
        relu,
        relu6,
        hard_sigmoid,
        hard_swish,
        linear,
        softmax_cross_entropy,
    )
}
OPERATORS = tuple(FUNCTIONS)
DIRECTIONS = dict.fromkeys(OPERATORS, ("forward", "backward"))


def version() -> str:
    return importlib.metadata.version("tinygrad")


def arithmetic_settings() -> dict[str, str]:
    return {"device": str(Device.DEFAULT), "Winograd": "on" if os.environ.get("WINO", "0") != "0" else "off"}


def forward(op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> Tree:
    with _words():
        y = FUNCTIONS[op](*map_arrays(_tensor, args), **_tensors(options))
    return tuple(None if a is None else _array(a) for a in y) if isinstance(y, tuple) else _array(y)


def backward(op: str, dy: Tree, args: tuple[Tree, ...], options: dict[str, Any]) -> tuple[Tree, ...]:
    tensors: list[Tensor] = []

    def tensor(array: Array) -> Tensor:
        tensors.append(_tensor(array))
        return tensors[-1]

    with _words():
        y = FUNCTIONS[op](*map_arrays(tensor, args), **_tensors(options))
    if isinstance(y, tuple):
        products = [(a * _tensor(d)).sum() for a, d in zip(y, dy, strict=True) if a is not None]
        found = sum(products[1:], products[0]).gradient(*tensors)
    else:
        found = y.gradient(*tensors, gradient=_tensor(dy))
    Tensor.realize(*found)
    gradients = iter(found)
    result: tuple[Tree, ...] = map_arrays(lambda _: _array(next(gradients)), args)
    return result


def _tensors(options: dict[str, Any]) -> dict[str, Any]:
    return {name: map_arrays(_tensor, value) for name, value in options.items()}


def _tensor(array: Array) -> Tensor:
    return Tensor(np.ascontiguousarray(array).reshape(array.shape))  # the first makes an axis where there is none


def _array(tensor: Tensor) -> Array:
    """A constant has no device yet, and tinygrad would take the CPU, with a compiler or not."""
    return np.asarray(tensor.clone(Device.DEFAULT).numpy())


@contextlib.contextmanager
def _words() -> Iterator[None]:
    """tinygrad's own words for the pool that it refuses."""
    try:
        yield
    except AssertionError as error:
        if "kernel size cannot be greater than actual input size" not in str(error):
            raise
        raise Unsupported(str(error)) from error


def source(op: str, options: dict[str, Any], direction: str) -> str:
    names = f"({', '.join(arguments(op))},)"
    octave = op.startswith("octave")
    functions, y = _expression(op, options)
    labels = [f"{name} = Tensor({name})" for name, value in options.items() if isinstance(value, np.ndarray)]
    lines = [
        "from tinygrad import Device, Tensor",
        *functions,
        "def each(f, a): return tuple(each(f, part) for part in a) if isinstance(a, tuple) else None if a is None else f(a)",
        "def array(tensor): return np.asarray(tensor.clone(Device.DEFAULT).numpy())  # a constant has no device",
        *labels,
    ]
    if direction == "forward":
        lines += [f"{names} = each(Tensor, {names})", f"got = each(array, {y})"]
        return "\n".join(lines)
    lines += [
        "tensors = []",
        f"{names} = each(lambda a: tensors.append(Tensor(a)) or tensors[-1], {names})",
        f"y = {y}",
    ]
    if octave:
        lines += [
            "products = [(a * Tensor(d)).sum() for a, d in zip(y, dy) if a is not None]",
            "gradients = iter(sum(products[1:], products[0]).gradient(*tensors))",
        ]
    else:
        lines += ["gradients = iter(y.gradient(*tensors, gradient=Tensor(dy)))"]
    lines += [f"got = each(lambda _: array(next(gradients)), {names})"]
    return "\n".join(lines)


def _expression(op: str, options: dict[str, Any]) -> tuple[list[str], str]:
    """The definitions, and y: without definitions where tinygrad has a method for just that."""
    padding = options.get("padding", 0)
    if op not in ("conv2d", "depthwise_conv2d", "pointwise_conv2d") or padding in ("same", "same_lower"):
        return [definitions(FUNCTIONS[op])], call(op, arguments(op), options)
    rows, columns = sides(padding, (), ())
    keywords = {
        "stride": pair(options.get("stride", 1)),
        "dilation": pair(options.get("dilation", 1)),
        "padding": (*columns, *rows),
    }
    groups = "x.shape[1]" if op == "depthwise_conv2d" else options.get("groups", 1)
    return [], call(
        "x.conv2d",
        ("w", "b", f"groups={groups}"),
        keywords,
        {"stride": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0)},
    )
