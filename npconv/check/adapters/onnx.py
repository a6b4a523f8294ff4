"""Every operator as an ONNX model, for whatever runs ONNX: gradients only where ONNX has operators that are just them.

A `Value` stands for an array of the model to be; what is done with it adds nodes to a list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from npconv.check.adapters import Unsupported
from npconv.check.adapters.definitions import arguments, definitions
from npconv.check.adapters.framework import Framework, each
from npconv.check.adapters.padding import Pair, pair, sides, windows
from npconv.geometry import Array
from npconv.testing.gradients import Tree


@dataclass(frozen=True)
class Value:
    """The array of that name among those of a model with these nodes; its shape is known where an operator asks for it."""

    nodes: list[Any]
    name: str
    shape: tuple[int, ...]

    def then(self, kind: str, *inputs: Value | str | None, shape: tuple[int, ...] = (), **attributes: Any) -> Value:
        """The result of a node whose first input is this one; one that is left out is "", or None at the end."""
        names = [one.name if isinstance(one, Value) else one for one in inputs if one is not None]
        return self.node(kind, self.name, *names, shape=shape, **attributes)

    def node(self, kind: str, *inputs: str, shape: tuple[int, ...] = (), **attributes: Any) -> Value:
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return Value(self.nodes, name, shape)

    def integers(self, *values: int) -> Value:
        return self.node("Constant", value_ints=values)

    def number(self, value: float) -> Value:
        """A number in the dtype of this array."""
        return self.node("Constant", value_float=value).then("CastLike", self)

    def __getitem__(self, key: tuple[slice, ...]) -> Value:
        """The first so many along each of the axes."""
        stops = {axis: part.stop for axis, part in enumerate(key) if part.stop is not None}
        if not stops:
            return self
        bounds = self.integers(*(0 for _ in stops)), self.integers(*stops.values()), self.integers(*stops)
        return self.then("Slice", *bounds, shape=tuple(stops.get(axis, n) for axis, n in enumerate(self.shape)))

    def __add__(self, other: Value) -> Value:
        return self.then("Add", other, shape=self.shape)


def _window(padding: Any, stride: Any) -> dict[str, Any]:
    """Strides and padding as attributes; "same" in ONNX's own words, and pads with all beginnings before all ends."""
    auto = {"same": "SAME_UPPER", "same_lower": "SAME_LOWER", "valid": "VALID"}
    if isinstance(padding, str):
        return {"strides": pair(stride), "auto_pad": auto[padding]}
    (top, bottom), (left, right) = sides(padding, (), ())
    return {"strides": pair(stride), "pads": (top, left, bottom, right)}


def _reach(kernel: tuple[int, ...], dilation: Any) -> tuple[int, ...]:
    """What a dilated kernel covers."""
    return tuple((k - 1) * d + 1 for k, d in zip(kernel, pair(dilation), strict=True))


def _size(
    size: tuple[int, ...], kernel: tuple[int, ...], stride: Any, padding: Any, ceil_mode: bool = False
) -> tuple[int, ...]:
    axes = zip(size, kernel, pair(stride), sides(padding, size, kernel, stride), strict=True)
    return tuple(windows(*axis, ceil_mode) for axis in axes)


class Onnx(Framework):
    """What runs a model is left to its subclasses: `run`, and as text `RUN`, which makes `results` of `model` and `feeds`."""

    RUN: str

    def convolution(
        self, x: Value, w: Value, b: Value | None, stride: Pair, padding: Any, dilation: Pair, groups: int
    ) -> Value:
        size = _size(x.shape[2:], _reach(w.shape[2:], dilation), stride, padding)
        attributes = _window(padding, stride) | {"dilations": dilation, "group": groups}
        return x.then("Conv", w, b, **attributes, shape=(x.shape[0], w.shape[0], *size))

    def concatenate(self, maps: list[Value]) -> Value:
        channels = sum(one.shape[1] for one in maps)
        return maps[0].then("Concat", *maps[1:], axis=1, shape=(maps[0].shape[0], channels, *maps[0].shape[2:]))

    def biased(self, y: Value | None, b: Value | None) -> Value | None:
        return y if y is None or b is None else y + b.then("Unsqueeze", b.integers(1, 2))

    def reshape(self, x: Value, shape: tuple[int, ...]) -> Value:
        return x.then("Reshape", x.integers(*shape), allowzero=1, shape=shape)

    def transpose(self, x: Value, axes: tuple[int, ...]) -> Value:
        return x.then("Transpose", perm=axes, shape=tuple(x.shape[axis] for axis in axes))

    def pool(
        self, kind: str, x: Value, kernel: Pair, stride: Pair, padding: Any, ceil_mode: bool, **attributes: Any
    ) -> Value:
        """ceil_mode goes with pads only, and "same" rounds up by itself."""
        places = _window(0 if padding == "valid" else padding, stride)
        if ceil_mode and "pads" in places:
            attributes |= {"ceil_mode": 1}  # of which ONNX counts ceil((padded size - kernel) / stride) + 1 windows
            for length, k, step, (low, high) in zip(x.shape[2:], kernel, stride, sides(padding, (), ()), strict=True):
                if (low + length + high - k) // -step >= 1:
                    pixels = f"{low} + {length} + {high} pixels"
                    raise Unsupported(f"ONNX counts no window of {k} on {pixels} at stride {step}")
        shape = (*x.shape[:2], *_size(x.shape[2:], kernel, stride, padding, ceil_mode))
        return x.then(kind, kernel_shape=kernel, **places, **attributes, shape=shape)

    def average_pool(
        self, x: Value, kernel: Pair, stride: Pair, padding: Any, ceil_mode: bool, count_include_pad: bool
    ) -> Value:
        counted = int(count_include_pad)
        return self.pool("AveragePool", x, kernel, stride, padding, ceil_mode, count_include_pad=counted)

    def max_pool(self, x: Value, kernel: Pair, stride: Pair, padding: Any, ceil_mode: bool) -> Value:
        return self.pool("MaxPool", x, kernel, stride, padding, ceil_mode)

    def global_avg_pool2d(self, x: Value) -> Value:
        return x.then("GlobalAveragePool")

    def repeat(self, x: Value, scale: Pair) -> Value:
        scales = x.node("Constant", value_floats=(1.0, 1.0, *map(float, scale)))
        nearest = {"coordinate_transformation_mode": "asymmetric", "mode": "nearest", "nearest_mode": "floor"}
        shape = (*x.shape[:2], x.shape[2] * scale[0], x.shape[3] * scale[1])
        return x.then("Resize", "", scales, **nearest, shape=shape)

    def normalise(
        self, x: Value, gamma: Value, beta: Value, mean: Value | None, var: Value | None, eps: float
    ) -> Value:
        if mean is not None and var is not None:
            return x.then("BatchNormalization", gamma, beta, mean, var, epsilon=eps)
        # In training mode the last two inputs are what the running statistics were: y does not depend on them. They are
        # made here and not fed, as ONNX Runtime writes the new ones over its caller's arrays.
        zeros = beta.then("Sub", beta).name
        inputs, results = [x.name, gamma.name, beta.name, zeros, zeros], ["y", "running_mean", "running_var"]
        x.nodes.append(helper.make_node("BatchNormalization", inputs, results, epsilon=eps, training_mode=1))
        return Value(x.nodes, "y", x.shape)

    def relu(self, x: Value) -> Value:
        return x.then("Relu")

    def relu6(self, x: Value) -> Value:
        return x.then("Clip", x.number(0.0), x.number(6.0))

    def hard_sigmoid(self, x: Value) -> Value:
        return x.then("HardSigmoid", alpha=1 / 6, beta=0.5)

    def hard_swish(self, x: Value) -> Value:
        return x.then("HardSwish")

    def linear(self, x: Value, w: Value, b: Value | None = None) -> Value:
        return x.then("Gemm", w, b, transB=1)

    def softmax_cross_entropy(self, logits: Value, labels: Value, *, label_smoothing: float = 0.0) -> Value:
        """ONNX's loss knows no label smoothing: the even part of the target is a loss of its own."""
        loss = logits.then("SoftmaxCrossEntropyLoss", labels.then("Cast", to=onnx.TensorProto.INT64))
        if label_smoothing == 0:
            return loss
        even = logits.then("LogSoftmax", axis=1).then("ReduceMean", keepdims=0)
        loss = loss.then("Mul", logits.number(1 - label_smoothing))
        return loss.then("Sub", even.then("Mul", logits.number(label_smoothing)))

    # --- gradients -----------------------------------------------------------------------------------------------

    def conv2d_backward(
        self,
        dy: Value,
        x: Value,
        w: Value,
        b: Value | None = None,
        *,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> tuple[Value | None, ...]:
        """dx is a transposed convolution of dy; dw the convolution of x with dy, stride and dilation having changed places.

        For dw the batch is what is summed over, so it takes the place of the channels.
        """
        (batch, channels, *size), taps, reach = x.shape, w.shape[2:], _reach(w.shape[2:], dilation)
        (top, bottom), (left, right) = sides(padding, x.shape[2:], taps, stride, dilation)
        outputs = _size(x.shape[2:], reach, stride, ((top, bottom), (left, right)))
        read = [(n - 1) * step + k for n, step, k in zip(outputs, pair(stride), reach, strict=True)]
        beyond = (size[0] + top + bottom - read[0], size[1] + left + right - read[1])  # rows and columns never read
        dy = Value(dy.nodes, dy.name, (batch, w.shape[0], *outputs))
        common: dict[str, Any] = {"pads": (top, left, bottom, right), "group": groups}
        placed = {"strides": pair(stride), "dilations": pair(dilation), "output_padding": beyond}
        dx = dy.then("ConvTranspose", w, **placed, **common)

        by_group = self.reshape(x, (batch, groups, channels // groups, *size))
        images = self.transpose(by_group, (2, 1, 0, 3, 4))
        images = self.reshape(images, (channels // groups, groups * batch, *size))
        exchanged = {"strides": pair(dilation), "dilations": pair(stride)}
        shape = (channels // groups, w.shape[0], *taps)  # as soon as it is cut to so many taps
        dw = images.then("Conv", self.transpose(dy, (1, 0, 2, 3)), **exchanged, **common, shape=shape)
        dw = self.transpose(dw[:, :, : taps[0], : taps[1]], (1, 0, 2, 3))
        db = None if b is None else dy.then("ReduceSum", dy.integers(0, 2, 3), keepdims=0)
        return dx, dw, db

    def depthwise_conv2d_backward(
        self, dy: Value, x: Value, w: Value, b: Value | None = None, **options: Any
    ) -> tuple[Value | None, ...]:
        return self.conv2d_backward(dy, x, w, b, **options, groups=x.shape[1])

    pointwise_conv2d_backward = conv2d_backward

    # --- the adapter ---------------------------------------------------------------------------------------------

    @property
    def DIRECTIONS(self) -> dict[str, tuple[str, ...]]:  # noqa: N802
        both = ("forward", "backward")
        return {op: both if hasattr(self, f"{op}_backward") else both[:1] for op in self.OPERATORS}

    def run(self, model: Any, feeds: dict[str, Array]) -> list[Array]:
        """The results of the model."""
        raise NotImplementedError

    def forward(self, op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> Tree:
        nodes, feeds, y = self.graph(op, args, options, "forward")
        return self._values(nodes, feeds, y)

    def backward(self, op: str, dy: Tree, args: tuple[Tree, ...], options: dict[str, Any]) -> tuple[Tree, ...]:
        nodes, feeds, gradients = self.graph(op, args, options, "backward")
        result: tuple[Tree, ...] = self._values(nodes, feeds | {"dy": dy}, gradients)
        return result

    def _values(self, nodes: list[Any], feeds: dict[str, Array], results: Any) -> Tree:
        values = iter(self.run(model(nodes, feeds, names_of(results)), feeds))
        return each(lambda _: next(values), results)

    def graph(
        self, op: str, args: tuple[Tree, ...], options: dict[str, Any], direction: str
    ) -> tuple[list[Any], dict[str, Array], Any]:
        """The nodes of a model, the arrays that it reads by their names, all but dy, and the results as `Value`s."""
        nodes: list[Any] = []
        feeds: dict[str, Array] = {}

        def value(name: str, tree: Tree) -> Any:
            if isinstance(tree, tuple) and name in _PARTS:
                return tuple(map(value, _PARTS[name], tree))
            if not isinstance(tree, np.ndarray):
                return tree
            feeds[name] = tree
            return Value(nodes, name, tree.shape)

        function, given = getattr(self, op if direction == "forward" else f"{op}_backward", None), []
        if function is None:
            raise Unsupported(f"ONNX has no gradients, nor operators that are those of {op}")
        if direction == "backward":
            given = [Value(nodes, "dy", ())]
        given += map(value, arguments(op), args)  # trailing arguments may be left out
        results = function(*given, **{name: value(name, option) for name, option in options.items()})
        results = results if direction == "forward" else results[: len(args)]
        read = {name for node in nodes for name in node.input}
        return nodes, {name: array for name, array in feeds.items() if name in read}, results

    def source(self, op: str, args: tuple[Tree, ...], options: dict[str, Any], direction: str) -> str:
        nodes, feeds, results = self.graph(op, args, options, direction)
        parts = {name: f"{tree}[{place}]" for tree, names in _PARTS.items() for place, name in enumerate(names)}
        given = [*feeds, *(["dy"] if direction == "backward" else [])]
        lines = [
            *self.IMPORTS,
            "from onnx import helper",
            "nodes = [",
            *(f"    {_node_text(node)}," for node in nodes),
            "]",
            f"feeds = {{{', '.join(f'{name!r}: {parts.get(name, name)}' for name in given)}}}",
            definitions(model),
            f"model = model(nodes, feeds, {names_of(results)})",
            self.RUN,
            "results = iter(results)",
            f"got = {_text(results)}",
        ]
        return "\n".join(lines)


_PARTS = {"x": ("x_high", "x_low"), "w": ("hh", "hl", "lh", "ll"), "b": ("b_high", "b_low")}
"""The names of an octave convolution's arrays."""


def model(nodes: list[Any], feeds: dict[str, Array], outputs: list[str]) -> Any:
    """The model of these nodes; its outputs have the dtype of the first array, and the shape that they get."""
    kinds = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in feeds.items()}
    inputs = [helper.make_tensor_value_info(name, kinds[name], array.shape) for name, array in feeds.items()]
    results = [helper.make_tensor_value_info(name, next(iter(kinds.values())), None) for name in outputs]
    graph = helper.make_graph(nodes, "check", inputs, results)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def names_of(results: Any) -> list[str]:
    """Those of a tree of values."""
    names: list[str] = []
    each(lambda value: names.append(value.name), results)
    return names


def _text(results: Any) -> str:
    """The tree with the next of `results` in the place of each value."""
    if isinstance(results, tuple):
        return f"({', '.join(map(_text, results))},)"
    return "None" if results is None else "next(results)"


def _node_text(node: Any) -> str:
    """The node as code that makes it."""

    def text(value: Any) -> str:
        if isinstance(value, bytes):
            return repr(value.decode())
        if isinstance(value, float):
            return str(np.float32(value))
        return str(value) if isinstance(value, int) else f"[{', '.join(map(text, value))}]"

    attributes = [f", {each.name}={text(helper.get_attribute_value(each))}" for each in node.attribute]
    return f"helper.make_node({node.op_type!r}, {list(node.input)}, {list(node.output)}{''.join(attributes)})"


class Reference(Onnx):
    """ONNX's reference evaluator, which is NumPy."""

    NAME = "ONNX reference"
    VERSION = str(onnx.__version__)
    IMPORTS = ("from onnx.reference import ReferenceEvaluator",)
    RUN = "results = ReferenceEvaluator(model).run(None, feeds)"

    def run(self, model: Any, feeds: dict[str, Array]) -> list[Array]:
        return list(ReferenceEvaluator(model).run(None, feeds))


REFERENCE = Reference()
