"""The cost of a whole model: it is walked once, on shapes alone, and every call of a primitive is costed."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np

from npconv import backends
from npconv.costs import convolutions, maps
from npconv.costs.cost import GRADIENTS, Cost, Direction, Shape, convolution_cost, map_cost, traffic
from npconv.costs.text import html_table, text_table
from npconv.geometry import Array, Conv2dGeometry, shape


class Model(Protocol):
    """What `count` needs of a model. Every layer of `npconv.nn` is one, and has `named_layers` besides."""

    def eval(self) -> Any:
        """Switch to evaluation mode."""

    def forward(self, x: Array) -> Any:
        """Call `npconv` operators."""

    def named_params(self) -> Iterable[tuple[str, Array]]:
        """(name, array) of everything that is learned."""


class CallCost(NamedTuple):
    """One call of a primitive: its name, the kind of work, the shapes of the map it read first and of its output, its cost.

    A convolution's kind tells what it is, not how it was called: "depthwise" for one input channel per group and more
    than one group, else "pointwise" for a 1 x 1 kernel, else "group" or "standard".
    """

    primitive: str
    kind: str
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    groups: int
    cost: Cost


class LayerCost(NamedTuple):
    """What one layer of a model costs by itself, the layers in it not counted.

    Attributes
    ----------
    layer : str
        Its dotted path in the model, "" being the model itself.
    name : str
        Its class.
    out_shapes : tuple of shapes
        Of the map that it made; two for an octave map.
    parameters : int
        Numbers that it learns.
    calls : tuple of CallCost
        The primitives that it called, in order.
    """

    layer: str
    name: str
    out_shapes: tuple[tuple[int, ...], ...]
    parameters: int
    calls: tuple[CallCost, ...]

    @property
    def cost(self) -> Cost:
        """The sum of its calls, with its own count of parameters: a bias that is added outside a primitive is one."""
        return sum((call.cost for call in self.calls), Cost())._replace(parameters=self.parameters)

    @property
    def elements_out(self) -> int:
        """How many numbers the layer's output has."""
        return sum(map(prod, self.out_shapes))

    @property
    def kind(self) -> str:
        """The kind of its costliest call."""
        return max(self.calls, key=lambda call: call.cost.macs).kind if self.calls else ""

    @property
    def groups(self) -> int:
        """The most groups that one of its calls has."""
        return max((call.groups for call in self.calls), default=1)


class ModelCost(NamedTuple):
    """The cost of one forward pass, and the counts that papers print under one name.

    What a model does outside the operators is not among the calls: adding branches, concatenating, scaling by a gate.
    It costs no multiply-accumulates in the papers' count, only traffic; see `add`.

    Attributes
    ----------
    layers : tuple of LayerCost
        The layers that have calls or parameters of their own, in the order in which they finished.
    parameters : int
        All numbers that are learned: kernels, matrices, biases, batch norm's gamma and beta. Running statistics are not.
    weights : int
        Numbers in kernels and matrices alone.
    """

    layers: tuple[LayerCost, ...]
    parameters: int
    weights: int

    def __str__(self) -> str:
        return text_table(self._table(), numbers=3)

    def _repr_html_(self) -> str:
        return html_table(self._table(), numbers=3)

    def _table(self) -> list[tuple[str, ...]]:
        """A row for each layer that computes or learns something, and the total."""
        rows = [("layer", "kind", "output", "parameters", "MACs", "share")]
        for layer in self.layers:
            output = " + ".join("x".join(map(str, shape[1:])) for shape in layer.out_shapes)
            about = layer.layer or layer.name, layer.kind, output
            rows.append((*about, *self._numbers(layer.parameters, layer.cost.macs)))
        return [*rows, ("all", "", "", *self._numbers(self.parameters, self.macs))]

    def _numbers(self, parameters: int, macs: int) -> tuple[str, str, str]:
        return f"{parameters:,}", f"{macs:,}", f"{macs / self.macs if self.macs else 0.0:.1%}"

    @property
    def calls(self) -> tuple[CallCost, ...]:
        """All calls, layer by layer."""
        return tuple(call for layer in self.layers for call in layer.calls)

    @property
    def macs(self) -> int:
        """Multiply-accumulates, of convolutions and fully connected layers."""
        return sum(call.cost.macs for call in self.calls)

    @property
    def conv_macs(self) -> int:
        """Multiply-accumulates of convolutions alone."""
        return sum(call.cost.macs for call in self.calls if call.kind != "linear")

    @property
    def flops(self) -> int:
        """Floating-point operations: 2 per multiply-accumulate."""
        return 2 * self.macs

    @property
    def folded_parameters(self) -> int:
        """Parameters once batch norm is folded away: each gamma is gone into a kernel, each beta is a bias."""
        return self.parameters - sum(call.cost.parameters for call in self.calls if call.kind == "batch norm") // 2

    @property
    def bytes_moved(self) -> int:
        """Compulsory traffic of the calls, each on its own."""
        return sum(call.cost.bytes_moved for call in self.calls)

    @property
    def macs_by_kind(self) -> dict[str, int]:
        """Multiply-accumulates of each kind of work that has any, the largest first."""
        kinds: Counter[str] = Counter()
        for call in self.calls:
            kinds[call.kind] += call.cost.macs
        return {kind: macs for kind, macs in kinds.most_common() if macs}


def count(model: Model, input_shape: Shape, *, count_padding: bool = True) -> ModelCost:
    """The cost of one evaluation of `model` on an input of `input_shape` (N, C, H, W).

    A copy of the model runs once, in evaluation mode, with something in the backend's place that lists each call's
    closed-form cost and answers with zeros of the right shape: nothing is convolved, so large networks take hardly longer
    than small ones. The model itself is left as it is: mode, statistics, what its layers keep.

    >>> import npconv
    >>> class Doubled:
    ...     w = np.full((8, 8, 1, 1), 2.0, np.float32)
    ...     def eval(self): ...
    ...     def forward(self, x): return npconv.relu(npconv.pointwise_conv2d(x, self.w))
    ...     def named_params(self): return [("w", self.w)]
    >>> cost = count(Doubled(), (1, 8, 4, 4))
    >>> cost.macs, cost.parameters, [call.kind for call in cost.calls]
    (1024, 64, ['pointwise', 'activation'])
    """
    sizes = shape("input_shape", input_shape, "NCHW")
    params = dict(model.named_params())
    dtype = next(iter(params.values())).dtype if params else np.dtype(np.float32)
    copied = copy.deepcopy(model, {id(array): array for array in params.values()})  # evaluation only reads them
    copied.eval()
    walk = _Walk(copied, params, count_padding)
    with backends.divert(walk.call):
        copied.forward(np.zeros(sizes, dtype))
    walk.end()
    weights = sum(array.size for array in params.values() if array.ndim > 1)
    return ModelCost(tuple(walk.layers), sum(array.size for array in params.values()), weights)


class _Walk:
    """One run of a model of its own: which layer is at work, what it has called so far, and the layers that are done."""

    def __init__(self, model: Any, params: dict[str, Array], count_padding: bool) -> None:
        self.layers: list[LayerCost] = []
        self._count_padding = count_padding
        self._running: list[list[CallCost]] = []  # the calls of each layer that is at work, the innermost last
        own: Counter[str] = Counter()
        for name, array in params.items():
            own[name.rpartition(".")[0]] += array.size
        if hasattr(model, "named_layers"):
            self._watching = [layer for _, layer in model.named_layers()]
            for path, layer in model.named_layers():
                layer.forward = self._watched(layer, path, own[path])
        else:
            self._watching = [model]
            model.forward = self._watched(model, "", own.total())

    def end(self) -> None:
        """Let go of the layers: one that has its own forward as an attribute outlives its last reference."""
        for layer in self._watching:
            del layer.forward

    def call(self, primitive: str, *arguments: Any) -> Any:
        """In the place of the backend."""
        row = call_cost(primitive, arguments, count_padding=self._count_padding)
        self._running[-1].append(row)
        dtype = arguments[0].dtype
        result = np.zeros(row.out_shape, dtype)
        more = _MORE_RESULTS.get(primitive, 0)
        return (result, *(np.zeros(row.in_shape[1:2], dtype) for _ in range(more))) if more else result

    def _watched(self, layer: Any, path: str, parameters: int) -> Callable[[Any], Any]:
        """The layer's forward, with its calls and its output written down."""
        forward, name = layer.forward, type(layer).__name__

        def watched(x: Any) -> Any:
            self._running.append([])
            y = forward(x)
            calls = self._running.pop()
            if calls or parameters:
                parts = y if isinstance(y, tuple) else (y,)
                shapes = tuple(part.shape for part in parts if part is not None)
                self.layers.append(LayerCost(path, name, shapes, parameters, tuple(calls)))
            return y

        return watched


# Primitives that return more than the array of `out_shape`: so many more, one number per channel each.
_MORE_RESULTS = {
    "batch_statistics2d": 1,
    "batch_norm2d_batch": 2,
    "batch_norm2d_batch_grad": 2,
    "batch_norm2d_fixed_grad": 4,
}


def call_cost(primitive: str, arguments: Sequence[Any], *, count_padding: bool = True) -> CallCost:
    """The cost of one call of a primitive, as `npconv.backends.record` lists it: forward or gradient, any primitive.

    >>> x = np.zeros((1, 8, 4, 4), np.float32)
    >>> call_cost("relu", (x,))[:4]
    ('relu', 'activation', (1, 8, 4, 4), (1, 8, 4, 4))
    """
    first = arguments[0]
    itemsize, geometry, groups = first.itemsize, arguments[-1], 1
    operation, direction = _split(primitive)
    forward = direction == "forward"
    match operation:
        case "conv2d" | "depthwise_conv2d" | "pointwise_conv2d":
            bias = forward and arguments[2] is not None
            cost = convolution_cost(geometry, bias, direction, count_padding, itemsize)
            results = {"forward": geometry.y_shape, "input_grad": geometry.x_shape, "weight_grad": geometry.w_shape}
            kind, out_shape, groups = _kind(geometry), results[direction], geometry.groups
        case "linear":
            bias = forward and arguments[2] is not None
            in_features = arguments[1].shape[1]
            out_features = arguments[1].shape[0] if forward else first.shape[1]
            x_shape, w_shape = (first.shape[0], in_features), (out_features, in_features)
            results = {"forward": (first.shape[0], out_features), "input_grad": x_shape, "weight_grad": w_shape}
            kind, out_shape = "linear", results[direction]
            cost = convolutions.linear(x_shape, w_shape, bias=bias, direction=direction, itemsize=itemsize)
        case "conv2d_bias_grad" | "linear_bias_grad":
            kind, out_shape = "bias", (first.shape[1],)
            cost = traffic(first.size, 0, first.shape[1], itemsize)
        case "avg_pool2d" | "max_pool2d" | "upsample_nearest2d":
            kind = "upsample" if operation == "upsample_nearest2d" else "pool"
            out_shape = geometry.y_shape if forward else geometry.x_shape
            reads_x = operation == "max_pool2d"
            cost = map_cost(geometry.x_shape, geometry.y_shape, direction, itemsize, grad_reads_x=reads_x)
        case "global_avg_pool2d":
            x_shape = first.shape if forward else (*first.shape[:2], *arguments[1:])
            kind, out_shape = "pool", (*x_shape[:2], 1, 1) if forward else x_shape
            cost = maps.global_avg_pool2d(x_shape, direction=direction, itemsize=itemsize)
        case "channel_shuffle" | "channel_unshuffle":
            kind, out_shape = "shuffle", first.shape
            cost = maps.channel_shuffle(out_shape, arguments[1], itemsize=itemsize)
        case "relu" | "relu6" | "hard_sigmoid" | "hard_swish":
            kind, out_shape = "activation", first.shape
            cost = maps.activation(out_shape, direction=direction, itemsize=itemsize)
        case "batch_norm2d" | "batch_norm2d_batch":
            kind, out_shape = "batch norm", first.shape
            cost = maps.batch_norm2d(out_shape, itemsize=itemsize)
        case "batch_statistics2d":
            kind, out_shape = "batch norm", (first.shape[1],)
            cost = traffic(first.size, 0, 2 * first.shape[1], itemsize)
        case "batch_norm2d_batch_grad" | "batch_norm2d_fixed_grad":
            kind, out_shape, from_batch = "batch norm", first.shape, operation == "batch_norm2d_batch_grad"
            dx, dw = (
                maps.batch_norm2d(out_shape, batch_statistics=from_batch, direction=part, itemsize=itemsize)
                for part in GRADIENTS
            )
            beta = traffic(0, 0, first.shape[1], itemsize)  # for the activation's mask
            cost = dx + dw + beta
        case "softmax_cross_entropy":
            logits, labels = arguments[0 if forward else 1], arguments[1 if forward else 2]
            kind, out_shape = "loss", () if forward else logits.shape
            cost = map_cost(logits.shape, (), direction, itemsize, grad_reads_x=True) + Cost(bytes_moved=labels.nbytes)
        case _:
            raise ValueError(f"primitive must be one that npconv.backends records, got {primitive!r}")
    return CallCost(primitive, kind, first.shape, out_shape, groups, cost)


def _kind(geometry: Conv2dGeometry) -> str:
    """What `CallCost` says that a convolution is."""
    if geometry.groups > 1 and geometry.in_channels_per_group == 1:
        return "depthwise"
    if (geometry.kernel_height, geometry.kernel_width) == (1, 1):
        return "pointwise"
    return "group" if geometry.groups > 1 else "standard"


def _split(primitive: str) -> tuple[str, Direction]:
    """A primitive's operator and direction: "linear_input_grad" is "linear" and "input_grad"."""
    for direction in GRADIENTS:
        if primitive.endswith(f"_{direction}"):
            return primitive.removesuffix(f"_{direction}"), direction
    return primitive, "forward"
