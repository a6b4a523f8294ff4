"""Every operator as an ONNX graph, for whatever runs ONNX: gradients only where ONNX has operators that are just them.

A graph is a list of nodes; each function appends what it needs and returns the names of its results. `feeds` are the
arrays that the graph reads, by name: those of the operator's arguments that are not None, and dy for a gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import onnx
from onnx import helper

from npconv.check.adapters.padding import pair, sides
from npconv.geometry import Array

Nodes: TypeAlias = list[Any]
Feeds: TypeAlias = dict[str, Array]


# --- nodes -------------------------------------------------------------------------------------------------------


def node(nodes: Nodes, kind: str, *inputs: str, **attributes: Any) -> str:
    """Append a node with one result, whose name is returned; an input that is left out is ""."""
    name = f"{kind}_{len(nodes)}"
    nodes.append(helper.make_node(kind, inputs, [name], **attributes))
    return name


def integers(nodes: Nodes, *values: int) -> str:
    return node(nodes, "Constant", value_ints=values)


def number(nodes: Nodes, value: float, like: str) -> str:
    """A number in the dtype of the array named `like`."""
    return node(nodes, "CastLike", node(nodes, "Constant", value_float=value), like)


def window(padding: Any, stride: Any) -> dict[str, Any]:
    """Strides and padding as attributes; "same" in ONNX's own words, and pads with all beginnings before all ends."""
    auto = {"same": "SAME_UPPER", "same_lower": "SAME_LOWER", "valid": "VALID"}
    if isinstance(padding, str):
        return {"strides": pair(stride), "auto_pad": auto[padding]}
    (top, bottom), (left, right) = sides(padding, (), ())
    return {"strides": pair(stride), "pads": (top, left, bottom, right)}


def conv(
    nodes: Nodes,
    *inputs: str,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> str:
    return node(nodes, "Conv", *inputs, **window(padding, stride), dilations=pair(dilation), group=groups)


# --- convolutions ------------------------------------------------------------------------------------------------


def conv2d(nodes: Nodes, feeds: Feeds, **options: Any) -> str:
    return conv(nodes, *feeds, **options)


def depthwise_conv2d(nodes: Nodes, feeds: Feeds, **options: Any) -> str:
    return conv(nodes, *feeds, **options, groups=feeds["x"].shape[1])


def separable_conv2d(nodes: Nodes, feeds: Feeds, **options: Any) -> str:
    filtered = conv(nodes, "x", "w_depthwise", **options, groups=feeds["x"].shape[1])
    return conv(nodes, filtered, *(name for name in feeds if name in ("w_pointwise", "b")))


def ghost_conv2d(nodes: Nodes, feeds: Feeds, *, out_channels: int | None = None, **options: Any) -> str:
    primary = conv(nodes, "x", "w_primary", **options)
    if "w_cheap" not in feeds:
        return primary
    ghosts = conv(nodes, primary, "w_cheap", padding="same", groups=len(feeds["w_primary"]))
    y = node(nodes, "Concat", primary, ghosts, axis=1)
    return y if out_channels is None else first(nodes, y, (out_channels,), (1,))


def octave_conv2d(
    nodes: Nodes, feeds: Feeds, *, stride: Any = 1, stride_mode: str = "pool", **options: Any
) -> tuple[str | None, str | None]:
    """Equation 4 of the OctConv paper; with stride 2 in the mode "pool", the published code."""
    pooled_first = stride_mode == "pool" and pair(stride) == (2, 2)
    stride = 1 if pooled_first else stride
    high: list[str] = []
    low: list[str] = []
    if "hh" in feeds:
        x = octave_pool(nodes, "x_high", 2) if pooled_first else "x_high"
        high.append(conv(nodes, x, "hh", stride=stride, **options))
    if "lh" in feeds:
        part = conv(nodes, "x_low", "lh", stride=stride, **options)
        if not pooled_first:  # else the low map has the high output's size as it is
            part = repeat(nodes, part, (2, 2))
            if high:
                size = node(nodes, "Shape", high[0], start=2)
                part = node(nodes, "Slice", part, integers(nodes, 0, 0), size, integers(nodes, 2, 3))
        high.append(part)
    if "ll" in feeds:
        x = octave_pool(nodes, "x_low", 2) if pooled_first else "x_low"
        low.append(conv(nodes, x, "ll", stride=stride, **options))
    if "hl" in feeds:
        x = octave_pool(nodes, "x_high", 4 if pooled_first else 2)
        low.append(conv(nodes, x, "hl", stride=stride, **options))
    return octave_sum(nodes, feeds, "b_high", high), octave_sum(nodes, feeds, "b_low", low)


def octave_depthwise_conv2d(
    nodes: Nodes, feeds: Feeds, *, stride: Any = 1, stride_mode: str = "pool", **options: Any
) -> tuple[str | None, str | None]:
    """Each frequency by itself: no path from one to the other."""
    pooled_first = stride_mode == "pool" and pair(stride) == (2, 2)
    y: list[str | None] = []
    for x, w, b in (("x_high", "hh", "b_high"), ("x_low", "ll", "b_low")):
        parts = []
        if x in feeds:
            pooled = octave_pool(nodes, x, 2) if pooled_first else x
            step = 1 if pooled_first else stride
            parts.append(conv(nodes, pooled, w, stride=step, **options, groups=feeds[x].shape[1]))
        y.append(octave_sum(nodes, feeds, b, parts))
    return y[0], y[1]


def octave_pool(nodes: Nodes, x: str, factor: int) -> str:
    both = (factor, factor)
    return node(nodes, "AveragePool", x, kernel_shape=both, strides=both, ceil_mode=1, count_include_pad=0)


def octave_sum(nodes: Nodes, feeds: Feeds, bias: str, parts: list[str]) -> str | None:
    """Whatever there is of two paths that meet, and of the bias of their output."""
    if parts and bias in feeds:
        parts = [*parts, node(nodes, "Unsqueeze", bias, integers(nodes, 1, 2))]
    return (node(nodes, "Sum", *parts) if len(parts) > 1 else parts[0]) if parts else None


# --- moves, pools, and the rest of a network ---------------------------------------------------------------------


def first(nodes: Nodes, x: str, counts: tuple[int, ...], axes: tuple[int, ...]) -> str:
    """The first so many along each of the axes."""
    starts = integers(nodes, *(0 for _ in axes))
    return node(nodes, "Slice", x, starts, integers(nodes, *counts), integers(nodes, *axes))


def repeat(nodes: Nodes, x: str, scale: tuple[int, int]) -> str:
    """Each pixel so many times."""
    scales = node(nodes, "Constant", value_floats=(1.0, 1.0, *map(float, scale)))
    nearest = {"coordinate_transformation_mode": "asymmetric", "mode": "nearest", "nearest_mode": "floor"}
    return node(nodes, "Resize", x, "", scales, **nearest)


def channel_shuffle(nodes: Nodes, feeds: Feeds, *, groups: int) -> str:
    batch, channels, *size = feeds["x"].shape
    grouped = node(nodes, "Reshape", "x", integers(nodes, batch, groups, channels // groups, *size), allowzero=1)
    mixed = node(nodes, "Transpose", grouped, perm=(0, 2, 1, 3, 4))
    return node(nodes, "Reshape", mixed, integers(nodes, batch, channels, *size), allowzero=1)


def channel_unshuffle(nodes: Nodes, feeds: Feeds, *, groups: int) -> str:
    return channel_shuffle(nodes, feeds, groups=feeds["x"].shape[1] // groups)


def pool(nodes: Nodes, kind: str, kernel: Any, stride: Any, padding: Any, ceil_mode: bool, **attributes: Any) -> str:
    """ceil_mode goes with pads only, and "same" rounds up by itself."""
    places = window(0 if padding == "valid" else padding, kernel if stride is None else stride)
    ceil = int(ceil_mode and "pads" in places)
    return node(nodes, kind, "x", kernel_shape=pair(kernel), **places, ceil_mode=ceil, **attributes)


def avg_pool2d(
    nodes: Nodes,
    feeds: Feeds,
    *,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> str:
    return pool(nodes, "AveragePool", kernel, stride, padding, ceil_mode, count_include_pad=int(count_include_pad))


def max_pool2d(
    nodes: Nodes, feeds: Feeds, *, kernel: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False
) -> str:
    return pool(nodes, "MaxPool", kernel, stride, padding, ceil_mode)


def global_avg_pool2d(nodes: Nodes, feeds: Feeds) -> str:
    return node(nodes, "GlobalAveragePool", "x")


def upsample_nearest2d(nodes: Nodes, feeds: Feeds, *, scale: Any = 2, size: Any = None) -> str:
    y = repeat(nodes, "x", pair(scale))
    return y if size is None else first(nodes, y, pair(size), (2, 3))


def batch_norm2d(nodes: Nodes, feeds: Feeds, *, eps: float = 1e-5) -> str:
    if "mean" in feeds:
        return node(nodes, "BatchNormalization", *feeds, epsilon=eps)
    # In training mode the last two inputs are what the running statistics were: y does not depend on them. They are made
    # here and not fed, as ONNX Runtime writes the new ones over its caller's arrays.
    zeros = node(nodes, "Sub", "beta", "beta")
    inputs, results = ["x", "gamma", "beta", zeros, zeros], ["y", "running_mean", "running_var"]
    nodes.append(helper.make_node("BatchNormalization", inputs, results, epsilon=eps, training_mode=1))
    return "y"


def relu(nodes: Nodes, feeds: Feeds) -> str:
    return node(nodes, "Relu", "x")


def relu6(nodes: Nodes, feeds: Feeds) -> str:
    return node(nodes, "Clip", "x", number(nodes, 0.0, "x"), number(nodes, 6.0, "x"))


def hard_sigmoid(nodes: Nodes, feeds: Feeds) -> str:
    return node(nodes, "HardSigmoid", "x", alpha=1 / 6, beta=0.5)


def hard_swish(nodes: Nodes, feeds: Feeds) -> str:
    return node(nodes, "HardSwish", "x")


def linear(nodes: Nodes, feeds: Feeds) -> str:
    return node(nodes, "Gemm", *feeds, transB=1)


def softmax_cross_entropy(nodes: Nodes, feeds: Feeds, *, label_smoothing: float = 0.0) -> str:
    """ONNX's loss knows no label smoothing: the even part of the target is a loss of its own."""
    labels = node(nodes, "Cast", "labels", to=onnx.TensorProto.INT64)
    loss = node(nodes, "SoftmaxCrossEntropyLoss", "logits", labels)
    if label_smoothing == 0:
        return loss
    even = node(nodes, "ReduceMean", node(nodes, "LogSoftmax", "logits", axis=1), keepdims=0)
    loss = node(nodes, "Mul", loss, number(nodes, 1 - label_smoothing, "logits"))
    return node(nodes, "Sub", loss, node(nodes, "Mul", even, number(nodes, label_smoothing, "logits")))


# --- gradients ---------------------------------------------------------------------------------------------------


def conv2d_backward(
    nodes: Nodes, feeds: Feeds, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> tuple[str, ...]:
    """dx is a transposed convolution of dy; dw the convolution of x with dy, stride and dilation having changed places.

    For dw the batch is what is summed over, so it takes the place of the channels.
    """
    (batch, channels, *size), (*_, height, width), dy = feeds["x"].shape, feeds["w"].shape, feeds["dy"]
    strides, dilations = pair(stride), pair(dilation)
    (top, bottom), (left, right) = sides(padding, (size[0], size[1]), (height, width), stride, dilation)
    pads = (top, left, bottom, right)
    reached = [
        (outputs - 1) * step + distance * (taps - 1) + 1
        for outputs, step, distance, taps in zip(dy.shape[2:], strides, dilations, (height, width), strict=True)
    ]
    beyond = (size[0] + top + bottom - reached[0], size[1] + left + right - reached[1])  # rows and columns never read
    attributes = {"strides": strides, "dilations": dilations, "pads": pads, "group": groups}
    dx = node(nodes, "ConvTranspose", "dy", "w", **attributes, output_padding=beyond)

    by_group = node(nodes, "Reshape", "x", integers(nodes, batch, groups, channels // groups, *size), allowzero=1)
    swapped = node(nodes, "Transpose", by_group, perm=(2, 1, 0, 3, 4))
    images = node(nodes, "Reshape", swapped, integers(nodes, channels // groups, groups * batch, *size), allowzero=1)
    kernels = node(nodes, "Transpose", "dy", perm=(1, 0, 2, 3))
    attributes = {"strides": dilations, "dilations": strides, "pads": pads, "group": groups}
    taps = first(nodes, node(nodes, "Conv", images, kernels, **attributes), (height, width), (2, 3))
    dw = node(nodes, "Transpose", taps, perm=(1, 0, 2, 3))

    if "b" not in feeds:
        return dx, dw
    return dx, dw, node(nodes, "ReduceSum", "dy", integers(nodes, 0, 2, 3), keepdims=0)


def depthwise_conv2d_backward(nodes: Nodes, feeds: Feeds, **options: Any) -> tuple[str, ...]:
    return conv2d_backward(nodes, feeds, **options, groups=feeds["x"].shape[1])


# --- by name -----------------------------------------------------------------------------------------------------

FORWARD: dict[str, Callable[..., Any]] = {
    "conv2d": conv2d,
    "depthwise_conv2d": depthwise_conv2d,
    "pointwise_conv2d": conv2d,
    "separable_conv2d": separable_conv2d,
    "octave_conv2d": octave_conv2d,
    "octave_depthwise_conv2d": octave_depthwise_conv2d,
    "ghost_conv2d": ghost_conv2d,
    "channel_shuffle": channel_shuffle,
    "channel_unshuffle": channel_unshuffle,
    "avg_pool2d": avg_pool2d,
    "max_pool2d": max_pool2d,
    "global_avg_pool2d": global_avg_pool2d,
    "upsample_nearest2d": upsample_nearest2d,
    "batch_norm2d": batch_norm2d,
    "relu": relu,
    "relu6": relu6,
    "hard_sigmoid": hard_sigmoid,
    "hard_swish": hard_swish,
    "linear": linear,
    "softmax_cross_entropy": softmax_cross_entropy,
}
BACKWARD: dict[str, Callable[..., Any]] = {
    "conv2d": conv2d_backward,
    "depthwise_conv2d": depthwise_conv2d_backward,
    "pointwise_conv2d": conv2d_backward,
}
