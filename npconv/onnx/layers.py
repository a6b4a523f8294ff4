"""What each layer becomes: one function for each kind of layer, by the layer's type."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from npconv import nn
from npconv.geometry import octave_paths
from npconv.models.resnet import ZeroPadShortcut
from npconv.nn.attention import UnitClip
from npconv.onnx.graph import (
    Map,
    Pair,
    Place,
    concatenate,
    convolution,
    each,
    hard_sigmoid,
    multiply,
    pool,
    slice_map,
    upsample,
)

_EMITTERS: dict[type[nn.Layer], Callable[[Any, Any, Place], Any]] = {}


def _emits(*kinds: type[nn.Layer]) -> Callable[[Any], Any]:
    """Make the decorated function the one for layers of these `kinds`, and not for their subclasses, which may do otherwise."""

    def register(function: Any) -> Any:
        _EMITTERS.update(dict.fromkeys(kinds, function))
        return function

    return register


def emit(layer: nn.Layer, x: Any, to: Place) -> Any:
    """Append the nodes of `layer` on the map x, and return the map that they give."""
    if type(layer) not in _EMITTERS:
        raise TypeError(
            f"model must be made of layers that export knows, got {to.path or 'model'}: {type(layer).__name__}"
        )
    return _EMITTERS[type(layer)](layer, x, to)


@_emits(nn.Sequential)
def _sequential_layer(layer: nn.Sequential, x: Any, to: Place) -> Any:
    for name, child in layer.children().items():
        x = emit(child, x, to.inside(name))
    return x


@_emits(nn.Residual)
def _residual_layer(layer: nn.Residual, x: Any, to: Place) -> Any:
    branches = [emit(child, x, to.inside(name)) for name, child in layer.children().items()]
    return each(lambda y, carried: to.node("Add", [y.name, carried.name], y.shape), *branches)


@_emits(nn.Concat)
def _concat_layer(layer: nn.Concat, x: Any, to: Place) -> Any:
    branches = [emit(child, x, to.inside(name)) for name, child in layer.children().items()]
    return each(lambda *maps: concatenate(to, maps), *branches)


@_emits(nn.PerFrequency, nn.OctaveBatchNorm2d)
def _per_frequency_layer(layer: nn.PerFrequency, x: Any, to: Place) -> Any:
    if not isinstance(x, Pair):
        return emit(layer.high, x, to.inside("high"))
    return Pair(
        None if x.high is None else emit(layer.high, x.high, to.inside("high")),
        None if x.low is None else emit(layer.low, x.low, to.inside("low")),
    )


@_emits(nn.Identity, nn.Dropout)  # in evaluation
def _identity_layer(layer: nn.Layer, x: Any, to: Place) -> Any:
    return x


@_emits(nn.Conv2d, nn.DepthwiseConv2d, nn.PointwiseConv2d)
def _conv2d_layer(layer: nn.Conv2d | nn.DepthwiseConv2d | nn.PointwiseConv2d, x: Map, to: Place) -> Map:
    options = {name: getattr(layer, name) for name in layer.options}
    if isinstance(layer, nn.DepthwiseConv2d):
        options["groups"] = layer.channels
    arrays = {name: to.array(name, array) for name, array in layer.params.items()}
    return convolution(to, x, arrays["w"], arrays.get("b"), **options)


@_emits(nn.SeparableConv2d)
def _separable_conv2d_layer(layer: nn.SeparableConv2d, x: Map, to: Place) -> Map:
    options = {name: getattr(layer, name) for name in layer.options}
    arrays = {name: to.array(name, array) for name, array in layer.params.items()}
    x = convolution(to, x, arrays["w_depthwise"], None, groups=layer.in_channels, **options)
    return convolution(to, x, arrays["w_pointwise"], arrays.get("b"))


@_emits(nn.OctaveConv2d, nn.OctaveDepthwiseConv2d)
def _octave_conv2d_layer(layer: nn.OctaveConv2d | nn.OctaveDepthwiseConv2d, x: Any, to: Place) -> Any:
    """The paths that the layer has, summed where they meet; a frequency's bias goes with the first path that leads there."""
    x = x if isinstance(x, Pair) else Pair(x, None)
    arrays = {name: to.array(name, array) for name, array in layer.params.items()}
    paths, strides = octave_paths(layer.stride, layer.stride_mode)
    options: dict[str, Any] = {"stride": strides, "padding": layer.padding, "dilation": layer.dilation}
    y: list[Map | None] = [None, None]
    for path in paths:
        if f"w_{path.name}" not in arrays:
            continue
        part, total = x[path.source], y[path.target]
        assert part is not None  # the layer was just tried on such a map
        groups = part.shape[0] if isinstance(layer, nn.OctaveDepthwiseConv2d) else layer.groups
        bias = arrays.get(f"b_{'low' if path.target else 'high'}") if total is None else None
        if path.pool > 1:
            part = pool(to, "AveragePool", part, kernel=path.pool, ceil_mode=True)
        part = convolution(to, part, arrays[f"w_{path.name}"], bias, groups=groups, **options)
        if path.repeat > 1:
            part = upsample(to, part, path.repeat, None if total is None else total.shape[1:])
        y[path.target] = part if total is None else to.node("Add", [total.name, part.name], part.shape)
    return y[0] if y[1] is None else Pair(*y)


@_emits(nn.GhostModule)
def _ghost_module_layer(layer: nn.GhostModule, x: Map, to: Place) -> Map:
    y = emit(layer.primary, x, to.inside("primary"))
    if "cheap" not in layer.children():
        return y
    y = concatenate(to, [y, emit(layer.cheap, y, to.inside("cheap"))])
    kept = (layer.out_channels, *y.shape[1:])
    return slice_map(to, y, kept) if kept != y.shape else y


@_emits(nn.SqueezeExcite)
def _squeeze_excite_layer(layer: nn.SqueezeExcite, x: Any, to: Place) -> Any:
    """Of an octave map one gate of the means of all channels, cut into that of each frequency."""
    if not isinstance(x, Pair):
        return multiply(to, x, emit(layer.gate, x, to.inside("gate")))
    means = [to.node("GlobalAveragePool", [part.name], (part.shape[0], 1, 1)) for part in x if part is not None]
    gate = emit(layer.gate, concatenate(to, means), to.inside("gate"))
    y: list[Map | None] = []
    first = 0
    for part in x:
        if part is None:
            y.append(None)
            continue
        y.append(multiply(to, part, slice_map(to, gate, (part.shape[0], 1, 1), start=(first, 0, 0))))
        first += part.shape[0]
    return Pair(*y)


@_emits(nn.BatchNorm2d)
def _batch_norm2d_layer(layer: nn.BatchNorm2d, x: Map, to: Place) -> Map:
    arrays = [to.array(name, array) for name, array in layer.state().items()]  # gamma, beta, running mean and variance
    return to.node("BatchNormalization", [x.name, *arrays], x.shape, epsilon=layer.eps)


@_emits(nn.ReLU)
def _relu_layer(layer: nn.ReLU, x: Map, to: Place) -> Map:
    return to.node("Relu", [x.name], x.shape)


@_emits(nn.ReLU6)
def _relu6_layer(layer: nn.ReLU6, x: Map, to: Place) -> Map:
    return to.node("Clip", [x.name, to.number(0), to.number(6)], x.shape)


@_emits(UnitClip)
def _unit_clip_layer(layer: UnitClip, x: Map, to: Place) -> Map:
    return to.node("Clip", [x.name, to.number(0), to.number(1)], x.shape)


@_emits(nn.HardSigmoid)
def _hard_sigmoid_layer(layer: nn.HardSigmoid, x: Map, to: Place) -> Map:
    return hard_sigmoid(to, x)


@_emits(nn.HardSwish)
def _hard_swish_layer(layer: nn.HardSwish, x: Map, to: Place) -> Map:
    return multiply(to, x, hard_sigmoid(to, x))


@_emits(nn.AvgPool2d)
def _avg_pool2d_layer(layer: nn.AvgPool2d, x: Map, to: Place) -> Map:
    return pool(to, "AveragePool", x, **{name: getattr(layer, name) for name in layer.options})


@_emits(nn.MaxPool2d)
def _max_pool2d_layer(layer: nn.MaxPool2d, x: Map, to: Place) -> Map:
    return pool(to, "MaxPool", x, **{name: getattr(layer, name) for name in layer.options})


@_emits(nn.GlobalAvgPool2d)
def _global_avg_pool2d_layer(layer: nn.GlobalAvgPool2d, x: Map, to: Place) -> Map:
    return to.node("GlobalAveragePool", [x.name], (x.shape[0], 1, 1))


@_emits(nn.Upsample)
def _upsample_layer(layer: nn.Upsample, x: Map, to: Place) -> Map:
    return upsample(to, x, layer.scale, layer.size)


@_emits(nn.ChannelShuffle)
def _channel_shuffle_layer(layer: nn.ChannelShuffle, x: Map, to: Place) -> Map:
    channels, height, width = x.shape
    dealt = (layer.groups, channels // layer.groups, height, width)  # a size of 0 stands for the batch
    y = to.node("Reshape", [x.name, to.integers(0, *dealt)], dealt)
    y = to.node("Transpose", [y.name], (dealt[1], dealt[0], height, width), perm=[0, 2, 1, 3, 4])
    return to.node("Reshape", [y.name, to.integers(0, *x.shape)], x.shape)


@_emits(nn.Flatten)
def _flatten_layer(layer: nn.Flatten, x: Map, to: Place) -> Map:
    return to.node("Flatten", [x.name], (math.prod(x.shape),), axis=1)


@_emits(nn.Linear)
def _linear_layer(layer: nn.Linear, x: Map, to: Place) -> Map:
    arrays = [to.array(name, array) for name, array in layer.params.items()]
    return to.node("Gemm", [x.name, *arrays], (layer.out_features,), transB=1)


@_emits(ZeroPadShortcut)
def _zero_pad_shortcut_layer(layer: ZeroPadShortcut, x: Map, to: Place) -> Map:
    channels, height, width = x.shape
    picked = (channels, -(-height // layer.stride), -(-width // layer.stride))
    y = slice_map(to, x, picked, step=layer.stride) if layer.stride > 1 else x
    zeros = to.integers(0, 0, 0, 0, 0, layer.out_channels - channels, 0, 0)
    return to.node("Pad", [y.name, zeros, to.number(0)], (layer.out_channels, *picked[1:]))
