"""What a layer is: a forward, a backward, and by name what it learns, its gradients, its running statistics and its parts."""

from __future__ import annotations

import abc
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from html import escape
from typing import Any, ClassVar, TypeVar

import numpy as np

from npconv.backends import call_layer
from npconv.geometry import Array, some
from npconv.ops.order import native_order

AnyLayer = TypeVar("AnyLayer", bound="Layer")


class Layer(abc.ABC):
    """A function of one feature map that remembers its last input, so that `backward` needs the output's gradient only.

    A feature map is an array, or an `npconv.OctaveMap` where a layer says so. A layer keeps what its backward needs from
    the *last* forward: so it can be in one place of a network only, and a backward belongs to the forward before it.

    A layer made of others has them as attributes; their names joined by dots are the names of `named_layers`,
    `named_params`, `named_grads`, `named_buffers` and `state`.

    Attributes
    ----------
    training : bool
        Whether batch norm uses the batch's statistics and dropout drops; set by `train` and `eval`.
    params : dict of str to array
        What is learned. The arrays are updated in place and never replaced, so a reference to one stays good.
    grads : dict of str to array
        The last backward's gradients, by the names of `params`; each backward overwrites them. Empty before the first.
    buffers : dict of str to array
        What is kept but not learned: running statistics.

    Examples
    --------
    >>> import numpy as np
    >>> import npconv
    >>> class Double(Layer):
    ...     def forward(self, x):
    ...         return 2 * x
    ...     def backward(self, dy):
    ...         return 2 * dy
    >>> net = npconv.nn.Sequential(Double(), npconv.nn.Flatten())
    >>> net(np.ones((1, 1, 1, 2))), net.backward(np.ones((1, 2)))
    (array([[2., 2.]]), array([[[[2., 2.]]]]))
    """

    def __init__(self) -> None:
        self.training = True
        self.params: dict[str, Array] = {}
        self.grads: dict[str, Array] = {}
        self.buffers: dict[str, Array] = {}
        self._kept: tuple[Any, ...] | None = None

    @abc.abstractmethod
    def forward(self, x: Any) -> Any:
        """The layer's output for x."""

    @abc.abstractmethod
    def backward(self, dy: Any) -> Any:
        """The gradient dx for the output's gradient dy, at the last forward's x; the parameters' go to `grads`.

        Raises RuntimeError where no forward came before.
        """

    def backward_params(self, dy: Any) -> None:
        """The gradients of the parameters alone, where dx is not needed because x are the images.

        The first convolution of a network then computes half as much. By default this is `backward`.
        """
        self.backward(dy)

    def taken_over(self, following: Layer) -> Any:
        """The activation that `forward_activated` can compute in place of the layer `following` this one; by default None."""
        return None

    def as_activation(self) -> Any:
        """The name of the activation that this layer is, which the layer before it may compute instead; else None."""
        return None

    def __call__(self, x: Any, activation: Any = None) -> Any:
        """``forward(x)``, or ``forward_activated(x, activation)`` with an activation that `taken_over` gave.

        Containers call their layers in this way, so that `watch_layers` sees the call.
        """
        forward = self.forward
        if activation is not None:
            forward = functools.partial(self.forward_activated, activation=activation)
        return call_layer(self, forward, x)

    def forward_activated(self, x: Any, activation: Any) -> Any:
        """``activation(forward(x))`` in one sweep, of layers that give an activation in `taken_over`."""
        raise NotImplementedError(f"{type(self).__name__} runs no activation along")

    def _keep(self, *values: Any) -> None:
        """Keep what the backward of this forward needs."""
        self._kept = values

    def _recall(self) -> tuple[Any, ...]:
        """What the last forward kept."""
        if self._kept is None:
            raise RuntimeError(f"backward must come after a forward, got none before it in {type(self).__name__}")
        return self._kept

    # --- the parts, by name ---

    def children(self) -> dict[str, Layer]:
        """The layers that this one is made of, by name, in the order in which they were set."""
        # isinstance would ask an abstract class, which takes longer: 246 us to walk a small network's 115 layers, not 156
        return {name: value for name, value in vars(self).items() if Layer in type(value).__mro__}

    def named_layers(self) -> Iterator[tuple[str, Layer]]:
        """(dotted path, layer) of this layer, whose path is empty, and of all layers in it, parents first."""
        yield "", self
        for name, child in self.children().items():
            for path, layer in child.named_layers():
                yield _dotted(name, path), layer

    def named_params(self) -> Iterator[tuple[str, Array]]:
        """(dotted name, array) of every parameter, the live arrays."""
        return self._named("params")

    def named_grads(self) -> Iterator[tuple[str, Array]]:
        """(dotted name, array) of every gradient that a backward has left."""
        return self._named("grads")

    def named_buffers(self) -> Iterator[tuple[str, Array]]:
        """(dotted name, array) of every running statistic, the live arrays."""
        return self._named("buffers")

    def _named(self, kind: str) -> Iterator[tuple[str, Array]]:
        for path, layer in self.named_layers():
            for name, array in getattr(layer, kind).items():
                yield _dotted(path, name), array

    def parameter_count(self) -> int:
        """How many numbers are learned, running statistics not counted."""
        return sum(array.size for _, array in self.named_params())

    # --- state ---

    def state(self) -> dict[str, Array]:
        """All parameters and buffers by dotted name: the live arrays, not copies."""
        return dict(self.named_params()) | dict(self.named_buffers())

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Copy the arrays of `state` into this layer's parameters and buffers, all of them or none.

        Raises
        ------
        TypeError
            `state` is no mapping of names to arrays.
        ValueError
            The names are not exactly those of `state()`, or an array has another shape or dtype; the message lists every
            such name, and the layer is as it was.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state must be a mapping of names to arrays, got {type(state).__name__}")
        for name, array in state.items():
            if not isinstance(array, np.ndarray):
                raise TypeError(f"state must be a mapping of names to arrays, got {name!r}: {type(array).__name__}")
        own = self.state()
        different = [
            f"{name} is {_form(state[name])} for {_form(array)}"
            for name, array in own.items()
            if name in state and _form(state[name]) != _form(array)
        ]
        problems = {
            "missing": [name for name in own if name not in state],
            "extra": [name for name in state if name not in own],
            "different": different,
        }
        if any(problems.values()):
            listed = "; ".join(f"{kind}: {some(names)}" for kind, names in problems.items() if names)
            raise ValueError(f"state must have the layer's names, shapes and dtypes, got {listed}")
        for name, array in own.items():
            array[...] = state[name]

    # --- modes ---

    def train(self: AnyLayer) -> AnyLayer:
        """Set this layer and all in it to training, and return this layer."""
        return self._set_training(True)

    def eval(self: AnyLayer) -> AnyLayer:
        """Set this layer and all in it to evaluation, and return this layer."""
        return self._set_training(False)

    def _set_training(self: AnyLayer, training: bool) -> AnyLayer:
        for _, layer in self.named_layers():
            layer.training = training
        return self

    # --- text ---

    def __repr__(self) -> str:
        """The tree of layers, one per line: each with its sizes, and with the options that are not the default."""
        children, arguments = self.children(), ", ".join(self._arguments())
        lines = [type(self).__name__ + (f"({arguments})" if arguments or not children else "")]
        for name, child in children.items():
            first, *rest = repr(child).splitlines()
            lines += [f"  {name}: {first}", *(f"  {line}" for line in rest)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The tree of layers, for a notebook: what a layer is made of can be folded away."""
        line = f"{escape(repr(self).partition(chr(10))[0])} <small>{self.parameter_count():,} parameters</small>"
        children = self.children()
        if not children:
            return f"<div>{line}</div>"
        inside = "".join(
            f'<div style="margin-left: 1.5em"><b>{escape(name)}</b> {child._repr_html_()}</div>'
            for name, child in children.items()
        )
        return f"<details open><summary>{line}</summary>{inside}</details>"

    def _arguments(self) -> Iterator[str]:
        """The constructor's arguments that the layer has as attributes of the same name."""
        attributes = {name: value for name, value in vars(self).items() if not isinstance(value, Layer)}
        for name, parameter in inspect.signature(type(self)).parameters.items():
            if name not in attributes:
                continue
            value = repr(attributes[name])
            if parameter.kind is not parameter.KEYWORD_ONLY:
                yield value
            elif value != repr(parameter.default):
                yield f"{name}={value}"


class OperatorLayer(Layer):
    """A layer that is one operator: its parameters and options are the operator's arguments, under the same names.

    A subclass gives the operator, its backward and the names of its options, each an attribute of the layer; `params`
    has the operator's array arguments after x, in its order.

    Examples
    --------
    >>> import npconv
    >>> issubclass(npconv.nn.Conv2d, OperatorLayer)
    True
    """

    operator: ClassVar[Callable[..., Any]]
    operator_backward: ClassVar[Callable[..., Any]]
    options: ClassVar[tuple[str, ...]] = ()

    def _options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.options}

    def forward(self, x: Array) -> Array:
        x = native_order(x)  # the first layer turns the images, and all maps after it have their order
        y = self.operator(x, **self.params, **self._options())
        self._keep(x)
        return y

    def backward(self, dy: Array) -> Array:
        (x,) = self._recall()
        gradients = self.operator_backward(dy, x, **self.params, **self._options())
        if not self.params:
            return gradients
        dx, *dparams = gradients
        self.grads.update(zip(self.params, dparams, strict=False))  # an absent bias has the gradient None, at the end
        return dx


def _dotted(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name


def _form(array: Array) -> str:
    return f"{array.dtype} {array.shape}"
