"""Models as ONNX files, which ONNX Runtime and other tools run without npconv.

Each layer becomes the operators that it is made of; the arrays keep their dotted names. Operator set 15 is the oldest that
has all of them in today's form, so that old runtimes read the files too.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from npconv import __version__, nn
from npconv.backends import backend
from npconv.geometry import Array, Conv2dGeometry, Pool2dGeometry, UpsampleGeometry, octave_paths, shape
from npconv.models.ghostnet import ClippedSqueezeExcite, UnitClip
from npconv.models.resnet import ZeroPadShortcut
from npconv.nn.replace import OctaveSqueezeExcite

if TYPE_CHECKING:
    from onnx import ModelProto

OPERATOR_SET = 15
IR_VERSION = 8  # of the file format: the first that comes with this operator set


def export(model: nn.Layer, path: str | PathLike[str], image_shape: Sequence[int]) -> None:
    """Write `model`, in evaluation mode, to the file `path`; an existing one is replaced. The rest is as in `convert`.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    Path(path).write_bytes(convert(model, image_shape).SerializeToString())


def convert(model: nn.Layer, image_shape: Sequence[int]) -> ModelProto:
    """`model`, in evaluation mode, as an ONNX model with the input ``x`` (N, C, H, W), for any N, and the output ``y``.

    Parameters
    ----------
    model : layer
        Left as it is. Batch norms stay; fold them before, by `npconv.nn.fold_batch_norm`, for the faster network.
    image_shape : (C, H, W)
        Of the images. Padding and octave maps are worked out for it, so another size needs another file.

    Returns
    -------
    onnx.ModelProto
        Of operator set 15, its dtype the model's, known to the ONNX checker to be whole and of matching shapes. The
        parameters and running statistics are initializers under their dotted names.

    Raises
    ------
    ImportError
        onnx is not installed.
    TypeError
        `model` is no layer, or has a layer that is not known here; the message names it.
    ValueError
        The model does not take such images, or takes or gives more than one map.

    Notes
    -----
    Hard sigmoid and hard swish are written out, as ``clip(x + 3, 0, 6) / 6``: the factor 1/6 of ONNX's own is a float32.
    Batch norm's eps is one too, which moves float64 results by some 1e-13.
    """
    try:
        import onnx
    except ImportError:
        raise ImportError(
            "export needs the package onnx, which is not installed: pip install 'npconv[check]'"
        ) from None
    if not isinstance(model, nn.Layer):
        raise TypeError(f"model must be a Layer, got {type(model).__name__}")
    image = shape("image_shape", image_shape, "CHW")
    dtype = next((array.dtype for _, array in model.named_params()), np.dtype(np.float32))
    with backend("numpy"):  # no image at all: says, in the layers' own words, where the shapes do not fit
        y = copy.deepcopy(model).eval().forward(np.zeros((0, *image), dtype))
    if not isinstance(y, np.ndarray):
        raise ValueError(f"model must give one array, got {type(y).__name__}")

    graph = _Graph()
    result = _emit(model, _Map("x", image), _Place(graph, "", dtype))
    graph.nodes.append(onnx.helper.make_node("Identity", [result.name], ["y"], name="y"))
    element = onnx.helper.np_dtype_to_tensor_dtype(dtype)
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "npconv",
            [onnx.helper.make_tensor_value_info("x", element, ["N", *image])],
            [onnx.helper.make_tensor_value_info("y", element, ["N", *y.shape[1:]])],
            [onnx.numpy_helper.from_array(array, name) for name, array in graph.arrays.items()],
        ),
        producer_name="npconv",
        producer_version=__version__,
        opset_imports=[onnx.helper.make_opsetid("", OPERATOR_SET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(proto, full_check=True)
    return proto


# --- the graph ---------------------------------------------------------------------------------------------------


class _Map(NamedTuple):
    """The name of a feature map in the graph, and its shape without the batch."""

    name: str
    shape: tuple[int, ...]


class _Pair(NamedTuple):
    """An octave map; an absent frequency is None."""

    high: _Map | None
    low: _Map | None


class _Graph:
    """Nodes in the order in which they run, and the arrays that they read."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.arrays: dict[str, Array] = {}
        self.names: set[str] = set()


class _Place(NamedTuple):
    """Where a layer's nodes go: the graph, the layer's dotted path, and the model's dtype."""

    graph: _Graph
    path: str
    dtype: np.dtype[Any]

    def inside(self, name: str) -> _Place:
        """The place of a part of the layer."""
        return self._replace(path=f"{self.path}.{name}" if self.path else name)

    def array(self, name: str, array: Array) -> str:
        """An array of the layer, under its dotted name."""
        full = self.inside(name).path
        self.graph.arrays[full] = np.ascontiguousarray(array)
        return full

    def number(self, value: float) -> str:
        """A scalar of the model's dtype; equal ones are one."""
        self.graph.arrays[f"number {value}"] = np.array(value, self.dtype)
        return f"number {value}"

    def integers(self, *values: int) -> str:
        """Sizes or indices; equal ones are one."""
        name = f"integers {' '.join(map(str, values))}"
        self.graph.arrays[name] = np.array(values, np.int64)
        return name

    def node(self, kind: str, inputs: Sequence[str], y_shape: Sequence[int], **attributes: Any) -> _Map:
        """Append a node of ONNX's operator `kind`, and return what it gives."""
        from onnx import helper

        name = stem = self.inside(kind).path
        count = 1
        while name in self.graph.names:
            count += 1
            name = f"{stem}{count}"
        self.graph.names.add(name)
        self.graph.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return _Map(name, tuple(y_shape))


def _each(function: Callable[..., _Map], *maps: Any) -> Any:
    """`function` of plain maps or of each frequency of octave maps; an absent frequency stays absent."""
    if not isinstance(maps[0], _Pair):
        return function(*maps)
    frequencies = zip(*maps, strict=True)
    return _Pair(*(None if parts[0] is None else function(*parts) for parts in frequencies))


# --- operators ---------------------------------------------------------------------------------------------------


def _convolution(to: _Place, x: _Map, w: str, b: str | None, **options: Any) -> _Map:
    """Convolution with the arrays `w` and `b` of the graph."""
    g = Conv2dGeometry.of((1, *x.shape), to.graph.arrays[w].shape, **options)
    return to.node(
        "Conv",
        [x.name, w] if b is None else [x.name, w, b],
        g.y_shape[1:],
        kernel_shape=[g.kernel_height, g.kernel_width],
        strides=[g.stride_height, g.stride_width],
        dilations=[g.dilation_height, g.dilation_width],
        pads=[g.pad_top, g.pad_left, g.pad_bottom, g.pad_right],
        group=g.groups,
    )


def _pool(to: _Place, kind: str, x: _Map, **options: Any) -> _Map:
    """Pooling. The windows that ceil mode adds reach into padding of the right size, which both kinds leave out of account.

    ONNX's own ceil mode is not used: its runtimes differ in when the last window starts, and in what it divides by.
    """
    counted = options.pop("count_include_pad", False)
    g = Pool2dGeometry.of((1, *x.shape), **options)
    rows = _reach(g.out_height, g.stride_height, g.kernel_height, g.in_height, g.pad_top, g.pad_bottom)
    columns = _reach(g.out_width, g.stride_width, g.kernel_width, g.in_width, g.pad_left, g.pad_right)
    pads = [g.pad_top, g.pad_left, rows, columns]
    if counted and any(pads):  # real zeros, which count, and behind them what ceil mode overhangs, which does not
        zeros = [g.pad_top, g.pad_left, g.pad_bottom, g.pad_right]
        padded = (x.shape[0], g.pad_top + g.in_height + g.pad_bottom, g.pad_left + g.in_width + g.pad_right)
        amounts = to.integers(0, 0, *zeros[:2], 0, 0, *zeros[2:])
        x = to.node("Pad", [x.name, amounts, to.number(0)], padded)
        pads = [0, 0, rows - g.pad_bottom, columns - g.pad_right]
    return to.node(
        kind,
        [x.name],
        g.y_shape[1:],
        kernel_shape=[g.kernel_height, g.kernel_width],
        strides=[g.stride_height, g.stride_width],
        pads=pads,
    )


def _reach(out: int, stride: int, kernel: int, size: int, before: int, after: int) -> int:
    """The padding behind an axis: the layer's own, or more where the last window reaches further."""
    return max(after, (out - 1) * stride + kernel - size - before)


def _upsample(to: _Place, x: _Map, scale: Any, size: Any) -> _Map:
    g = UpsampleGeometry.of((1, *x.shape), scale, size)
    scales = f"scales {g.scale_height} {g.scale_width}"
    to.graph.arrays[scales] = np.array([1, 1, g.scale_height, g.scale_width], np.float32)
    whole = (x.shape[0], g.in_height * g.scale_height, g.in_width * g.scale_width)
    y = to.node(
        "Resize",
        [x.name, "", scales],
        whole,
        mode="nearest",
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )
    return _slice(to, y, g.y_shape[1:]) if whole != g.y_shape[1:] else y


def _slice(to: _Place, x: _Map, y_shape: Sequence[int], *, start: Sequence[int] = (0, 0, 0), step: int = 1) -> _Map:
    """x (C, H, W) from `start` on, of the shape `y_shape`, every `step`-th row and column."""
    steps = (1, step, step)
    ends = [first + (size - 1) * by + 1 for first, size, by in zip(start, y_shape, steps, strict=True)]
    indices = [to.integers(*values) for values in (start, ends, (1, 2, 3), steps)]
    return to.node("Slice", [x.name, *indices], y_shape)


def _concatenate(to: _Place, maps: Sequence[_Map]) -> _Map:
    channels = sum(part.shape[0] for part in maps)
    return to.node("Concat", [part.name for part in maps], (channels, *maps[0].shape[1:]), axis=1)


def _multiply(to: _Place, x: _Map, gate: _Map) -> _Map:
    return to.node("Mul", [x.name, gate.name], x.shape)


def _hard_sigmoid(to: _Place, x: _Map) -> _Map:
    moved = to.node("Add", [x.name, to.number(3)], x.shape)
    clipped = to.node("Clip", [moved.name, to.number(0), to.number(6)], x.shape)
    return to.node("Div", [clipped.name, to.number(6)], x.shape)


# --- layers ------------------------------------------------------------------------------------------------------


_EMITTERS: dict[type[nn.Layer], Callable[[Any, Any, _Place], Any]] = {}


def _emits(*kinds: type[nn.Layer]) -> Callable[[Any], Any]:
    """Make the decorated function the one for layers of these `kinds`, and not for their subclasses, which may do otherwise."""

    def register(function: Any) -> Any:
        _EMITTERS.update(dict.fromkeys(kinds, function))
        return function

    return register


def _emit(layer: nn.Layer, x: Any, to: _Place) -> Any:
    """Append the nodes of `layer` on the map x, and return the map that they give."""
    if type(layer) not in _EMITTERS:
        raise TypeError(
            f"model must be made of layers that export knows, got {to.path or 'model'}: {type(layer).__name__}"
        )
    return _EMITTERS[type(layer)](layer, x, to)


@_emits(nn.Sequential)
def _sequential_layer(layer: nn.Sequential, x: Any, to: _Place) -> Any:
    for name, child in layer.children().items():
        x = _emit(child, x, to.inside(name))
    return x


@_emits(nn.Residual)
def _residual_layer(layer: nn.Residual, x: Any, to: _Place) -> Any:
    branches = [_emit(child, x, to.inside(name)) for name, child in layer.children().items()]
    return _each(lambda y, carried: to.node("Add", [y.name, carried.name], y.shape), *branches)


@_emits(nn.Concat)
def _concat_layer(layer: nn.Concat, x: Any, to: _Place) -> Any:
    branches = [_emit(child, x, to.inside(name)) for name, child in layer.children().items()]
    return _each(lambda *maps: _concatenate(to, maps), *branches)


@_emits(nn.PerFrequency, nn.OctaveBatchNorm2d)
def _per_frequency_layer(layer: nn.PerFrequency, x: Any, to: _Place) -> Any:
    if not isinstance(x, _Pair):
        return _emit(layer.high, x, to.inside("high"))
    return _Pair(
        None if x.high is None else _emit(layer.high, x.high, to.inside("high")),
        None if x.low is None else _emit(layer.low, x.low, to.inside("low")),
    )


@_emits(nn.Identity, nn.Dropout)  # in evaluation
def _identity_layer(layer: nn.Layer, x: Any, to: _Place) -> Any:
    return x


@_emits(nn.Conv2d, nn.DepthwiseConv2d, nn.PointwiseConv2d)
def _conv2d_layer(layer: nn.Conv2d | nn.DepthwiseConv2d | nn.PointwiseConv2d, x: _Map, to: _Place) -> _Map:
    options = {name: getattr(layer, name) for name in layer.options}
    if isinstance(layer, nn.DepthwiseConv2d):
        options["groups"] = layer.channels
    arrays = {name: to.array(name, array) for name, array in layer.params.items()}
    return _convolution(to, x, arrays["w"], arrays.get("b"), **options)


@_emits(nn.SeparableConv2d)
def _separable_conv2d_layer(layer: nn.SeparableConv2d, x: _Map, to: _Place) -> _Map:
    options = {name: getattr(layer, name) for name in layer.options}
    arrays = {name: to.array(name, array) for name, array in layer.params.items()}
    x = _convolution(to, x, arrays["w_depthwise"], None, groups=layer.in_channels, **options)
    return _convolution(to, x, arrays["w_pointwise"], arrays.get("b"))


@_emits(nn.OctaveConv2d, nn.OctaveDepthwiseConv2d)
def _octave_conv2d_layer(layer: nn.OctaveConv2d | nn.OctaveDepthwiseConv2d, x: Any, to: _Place) -> Any:
    """The paths that the layer has, summed where they meet; a frequency's bias goes with the first path that leads there."""
    x = x if isinstance(x, _Pair) else _Pair(x, None)
    arrays = {name: to.array(name, array) for name, array in layer.params.items()}
    paths, strides = octave_paths(layer.stride, layer.stride_mode)
    options: dict[str, Any] = {"stride": strides, "padding": layer.padding, "dilation": layer.dilation}
    y: list[_Map | None] = [None, None]
    for path in paths:
        if f"w_{path.name}" not in arrays:
            continue
        part, total = x[path.source], y[path.target]
        assert part is not None  # the layer was just tried on such a map
        groups = part.shape[0] if isinstance(layer, nn.OctaveDepthwiseConv2d) else layer.groups
        bias = arrays.get(f"b_{'low' if path.target else 'high'}") if total is None else None
        if path.pool > 1:
            part = _pool(to, "AveragePool", part, kernel=path.pool, ceil_mode=True)
        part = _convolution(to, part, arrays[f"w_{path.name}"], bias, groups=groups, **options)
        if path.repeat > 1:
            part = _upsample(to, part, path.repeat, None if total is None else total.shape[1:])
        y[path.target] = part if total is None else to.node("Add", [total.name, part.name], part.shape)
    return y[0] if y[1] is None else _Pair(*y)


@_emits(nn.GhostModule)
def _ghost_module_layer(layer: nn.GhostModule, x: _Map, to: _Place) -> _Map:
    y = _emit(layer.primary, x, to.inside("primary"))
    if "cheap" not in layer.children():
        return y
    y = _concatenate(to, [y, _emit(layer.cheap, y, to.inside("cheap"))])
    kept = (layer.out_channels, *y.shape[1:])
    return _slice(to, y, kept) if kept != y.shape else y


@_emits(nn.SqueezeExcite, ClippedSqueezeExcite)
def _squeeze_excite_layer(layer: nn.SqueezeExcite, x: _Map, to: _Place) -> _Map:
    return _multiply(to, x, _emit(layer.gate, x, to.inside("gate")))


@_emits(OctaveSqueezeExcite)
def _octave_squeeze_excite_layer(layer: OctaveSqueezeExcite, x: Any, to: _Place) -> Any:
    """One gate of the means of all channels, cut into that of each frequency."""
    if not isinstance(x, _Pair):
        return _multiply(to, x, _emit(layer.gate, x, to.inside("gate")))
    means = [to.node("GlobalAveragePool", [part.name], (part.shape[0], 1, 1)) for part in x if part is not None]
    gate = _emit(layer.gate, _concatenate(to, means), to.inside("gate"))
    y: list[_Map | None] = []
    first = 0
    for part in x:
        if part is None:
            y.append(None)
            continue
        y.append(_multiply(to, part, _slice(to, gate, (part.shape[0], 1, 1), start=(first, 0, 0))))
        first += part.shape[0]
    return _Pair(*y)


@_emits(nn.BatchNorm2d)
def _batch_norm2d_layer(layer: nn.BatchNorm2d, x: _Map, to: _Place) -> _Map:
    arrays = [to.array(name, array) for name, array in layer.state().items()]  # gamma, beta, running mean and variance
    return to.node("BatchNormalization", [x.name, *arrays], x.shape, epsilon=layer.eps)


@_emits(nn.ReLU)
def _relu_layer(layer: nn.ReLU, x: _Map, to: _Place) -> _Map:
    return to.node("Relu", [x.name], x.shape)


@_emits(nn.ReLU6)
def _relu6_layer(layer: nn.ReLU6, x: _Map, to: _Place) -> _Map:
    return to.node("Clip", [x.name, to.number(0), to.number(6)], x.shape)


@_emits(UnitClip)
def _unit_clip_layer(layer: UnitClip, x: _Map, to: _Place) -> _Map:
    return to.node("Clip", [x.name, to.number(0), to.number(1)], x.shape)


@_emits(nn.HardSigmoid)
def _hard_sigmoid_layer(layer: nn.HardSigmoid, x: _Map, to: _Place) -> _Map:
    return _hard_sigmoid(to, x)


@_emits(nn.HardSwish)
def _hard_swish_layer(layer: nn.HardSwish, x: _Map, to: _Place) -> _Map:
    return _multiply(to, x, _hard_sigmoid(to, x))


@_emits(nn.AvgPool2d)
def _avg_pool2d_layer(layer: nn.AvgPool2d, x: _Map, to: _Place) -> _Map:
    return _pool(to, "AveragePool", x, **{name: getattr(layer, name) for name in layer.options})


@_emits(nn.MaxPool2d)
def _max_pool2d_layer(layer: nn.MaxPool2d, x: _Map, to: _Place) -> _Map:
    return _pool(to, "MaxPool", x, **{name: getattr(layer, name) for name in layer.options})


@_emits(nn.GlobalAvgPool2d)
def _global_avg_pool2d_layer(layer: nn.GlobalAvgPool2d, x: _Map, to: _Place) -> _Map:
    return to.node("GlobalAveragePool", [x.name], (x.shape[0], 1, 1))


@_emits(nn.Upsample)
def _upsample_layer(layer: nn.Upsample, x: _Map, to: _Place) -> _Map:
    return _upsample(to, x, layer.scale, layer.size)


@_emits(nn.ChannelShuffle)
def _channel_shuffle_layer(layer: nn.ChannelShuffle, x: _Map, to: _Place) -> _Map:
    channels, height, width = x.shape
    dealt = (layer.groups, channels // layer.groups, height, width)  # a size of 0 stands for the batch
    y = to.node("Reshape", [x.name, to.integers(0, *dealt)], dealt)
    y = to.node("Transpose", [y.name], (dealt[1], dealt[0], height, width), perm=[0, 2, 1, 3, 4])
    return to.node("Reshape", [y.name, to.integers(0, *x.shape)], x.shape)


@_emits(nn.Flatten)
def _flatten_layer(layer: nn.Flatten, x: _Map, to: _Place) -> _Map:
    return to.node("Flatten", [x.name], (math.prod(x.shape),), axis=1)


@_emits(nn.Linear)
def _linear_layer(layer: nn.Linear, x: _Map, to: _Place) -> _Map:
    arrays = [to.array(name, array) for name, array in layer.params.items()]
    return to.node("Gemm", [x.name, *arrays], (layer.out_features,), transB=1)


@_emits(ZeroPadShortcut)
def _zero_pad_shortcut_layer(layer: ZeroPadShortcut, x: _Map, to: _Place) -> _Map:
    channels, height, width = x.shape
    picked = (channels, -(-height // layer.stride), -(-width // layer.stride))
    y = _slice(to, x, picked, step=layer.stride) if layer.stride > 1 else x
    zeros = to.integers(0, 0, 0, 0, 0, layer.out_channels - channels, 0, 0)
    return to.node("Pad", [y.name, zeros, to.number(0)], (layer.out_channels, *picked[1:]))
