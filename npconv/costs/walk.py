"""The cost of a whole model: it is walked once, on shapes alone, and every call of a primitive is costed."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np

from npconv import backends
from npconv.costs.calls import calls_of, unread, zeros_of
from npconv.costs.cost import CallCost, Cost, Shape
from npconv.costs.text import html_table, text_table
from npconv.geometry import Array, shape


class Model(Protocol):
    """What `count` needs of a model. Every layer of `npconv.nn` is one, and has `named_layers` besides."""

    def eval(self) -> Any:
        """Switch to evaluation mode."""

    def forward(self, x: Array) -> Any:
        """Call `npconv` operators."""

    def named_params(self) -> Iterable[tuple[str, Array]]:
        """(name, array) of everything that is learned."""


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

    Adding branches, concatenating them and scaling by a gate cost no multiply-accumulates in the papers' count, only traffic.

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

    Parameters
    ----------
    model : Model
        A layer of `npconv.nn`, or anything else that has these three methods.
    input_shape : (N, C, H, W)
    count_padding : bool
        See the top of `npconv.costs`.

    Returns
    -------
    ModelCost

    Raises
    ------
    TypeError, ValueError
        No such shape, or a model that does not take it.

    Examples
    --------
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
    with backends.divert(walk.call), backends.watch_layers(walk.run):
        walk.run(copied, copied.forward, unread(sizes, dtype))
    weights = sum(array.size for array in params.values() if array.ndim > 1)
    return ModelCost(tuple(walk.layers), sum(array.size for array in params.values()), weights)


class _Walk:
    """One run of a model: which layer is at work, what it has called so far, and the layers that are done."""

    def __init__(self, model: Any, params: dict[str, Array], count_padding: bool) -> None:
        self.layers: list[LayerCost] = []
        self._count_padding = count_padding
        self._running: list[list[CallCost]] = []  # the calls of each layer that is at work, the innermost last
        own: Counter[str] = Counter()
        for name, array in params.items():
            own[name.rpartition(".")[0]] += array.size
        named = dict(model.named_layers()) if hasattr(model, "named_layers") else {}
        self._known = {id(layer): (path, own[path]) for path, layer in named.items()}  # path and parameters of its own
        if not named:
            self._known[id(model)] = "", own.total()

    def call(self, primitive: str, *arguments: Any) -> Any:
        """In the place of the backend: a call belongs to the layer that is at work."""
        self._running[-1].extend(calls_of(primitive, arguments, count_padding=self._count_padding))
        return zeros_of(primitive, *arguments)

    def run(self, layer: Any, forward: Callable[[Any], Any], x: Any) -> Any:
        """Each layer's forward, with its calls and its output written down; layers that have no name belong to the one that calls them."""
        if id(layer) not in self._known:
            return forward(x)
        self._running.append([])
        y = forward(x)
        calls = self._running.pop()
        path, parameters = self._known[id(layer)]
        if calls or parameters:
            parts = y if isinstance(y, tuple) else (y,)
            shapes = tuple(part.shape for part in parts if part is not None)
            self.layers.append(LayerCost(path, type(layer).__name__, shapes, parameters, tuple(calls)))
        return y
