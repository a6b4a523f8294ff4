"""Layers made of layers: one after the other, a sum of two branches, a concatenation of branches.

Branches may give octave maps: then each frequency is added or concatenated by itself.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from npconv.geometry import shown
from npconv.nn.layer import Layer
from npconv.ops import OctaveMap, relu6_backward, relu_backward
from npconv.ops.branches import add, concatenate, concatenate_backward
from npconv.ops.normalization import NormActivation


class Identity(Layer):
    """Nothing: y is x, and dx is dy."""

    def forward(self, x: Any) -> Any:
        return x

    def backward(self, dy: Any) -> Any:
        return dy


class _Container(Layer):
    """Layers by name: those without one are called by their place, "0", "1", ..."""

    def __init__(self, *layers: Layer, **named_layers: Layer) -> None:
        super().__init__()
        self._layers = {str(place): layer for place, layer in enumerate(layers)} | named_layers
        check_parts(self._layers)

    def children(self) -> dict[str, Layer]:
        return dict(self._layers)


class Sequential(_Container):
    """Layers one after the other: ``y = last(...(second(first(x))))``; without any, the identity.

    A `Residual`, a `Concat` or, in training, a `BatchNorm2d` and a `ReLU` or `ReLU6` directly behind it run as one, to the
    same numbers: the former by its `forward_activated`, the latter not at all. So do those of a `PerFrequency`.

    Parameters
    ----------
    *layers, **named_layers : Layer
        Unnamed ones first, called "0", "1", ...

    Raises
    ------
    TypeError, ValueError
        Something is not a Layer; a layer stands in two places.

    Examples
    --------
    >>> import numpy as np
    >>> from npconv.nn import Linear, ReLU
    >>> rng = np.random.default_rng(0)
    >>> net = Sequential(hidden=Linear(4, 8, rng=rng), relu=ReLU(), out=Linear(8, 2, rng=rng))
    >>> net
    Sequential
      hidden: Linear(4, 8)
      relu: ReLU()
      out: Linear(8, 2)
    >>> net(np.zeros((1, 4), np.float32)).shape, [name for name, _ in net.named_params()]
    ((1, 2), ['hidden.w', 'hidden.b', 'out.w', 'out.b'])
    """

    def forward(self, x: Any) -> Any:
        steps = list(_steps(list(self._layers.values())))
        for layer, activation in steps:
            x = layer(x, activation)
        self._keep(*(layer for layer, _ in steps))
        return x

    def backward(self, dy: Any) -> Any:
        for layer in reversed(self._recall()):
            dy = layer.backward(dy)
        return dy

    def backward_params(self, dy: Any) -> None:
        """Back to the first layer, of which the parameters' gradients alone are wanted."""
        first, *others = self._recall() or (Identity(),)
        for layer in reversed(others):
            dy = layer.backward(dy)
        first.backward_params(dy)


def _steps(layers: Sequence[Layer]) -> Iterator[tuple[Any, NormActivation | None]]:
    """The layers that run, each with the activation that it runs too, which stands behind it and does not."""
    taken: Layer | None = None
    for layer, behind in itertools.zip_longest(layers, layers[1:]):
        if layer is taken:
            continue
        activation = layer.taken_over(behind) if behind else None
        taken = behind if activation else None
        yield layer, activation


class Residual(Layer):
    """The sum of two branches: ``y = main(x) + shortcut(x)``; without a shortcut, ``main(x) + x``.

    ValueError where the branches do not give the same shape. Children: ``main`` and, if given, ``shortcut``.

    >>> import numpy as np
    >>> y = Residual(Identity())(np.ones((1, 1, 1, 2)))
    >>> y
    array([[[[2., 2.]]]])
    """

    def __init__(self, main: Layer, shortcut: Layer | None = None) -> None:
        super().__init__()
        self.main = main
        self.shortcut = Identity() if shortcut is None else shortcut
        check_parts({"main": self.main, "shortcut": self.shortcut})

    def forward(self, x: Any) -> Any:
        return self.forward_activated(x, None)

    def forward_activated(self, x: Any, activation: NormActivation | None) -> Any:
        """``activation(forward(x))``, the sum and its activation in one go over memory; so inside a `Sequential`."""
        y, carried = self.main(x), self.shortcut(x)
        shapes = _each(np.shape, y), _each(np.shape, carried)
        if shapes[0] != shapes[1]:
            raise ValueError(f"main and shortcut must give the same shape, got {shapes[0]} and {shapes[1]}")
        total = _each(functools.partial(add, activation=activation), y, carried)
        self._keep(activation, total if activation else None)
        return total

    def taken_over(self, behind: Layer) -> NormActivation | None:
        """The activation that `behind` is."""
        activation: NormActivation | None = behind.as_activation()
        return activation if type(self) is Residual else None

    def backward(self, dy: Any) -> Any:
        """x was read twice: its gradient is the sum of both branches'. The activation's is seen in its output too."""
        activation, y = self._recall()
        if activation:
            dy = _each(relu_backward if activation == "relu" else relu6_backward, dy, y)
        return _each(add, self.main.backward(dy), self.shortcut.backward(dy))


class Concat(_Container):
    """The outputs of all branches, one behind the other along the channels: ``y = concatenate([branch(x), ...], axis=1)``.

    Branches are given as the layers of `Sequential`. ValueError where they do not give maps of one size, or there is none.

    >>> import numpy as np
    >>> from npconv.nn import ReLU
    >>> Concat(Identity(), ReLU())(np.full((1, 1, 1, 1), -2.0)).ravel()
    array([-2.,  0.])
    """

    def __init__(self, *branches: Layer, **named_branches: Layer) -> None:
        super().__init__(*branches, **named_branches)
        if not self._layers:
            raise ValueError("branches must be at least one layer, got none")

    def forward(self, x: Any) -> Any:
        return self.forward_activated(x, None)

    def forward_activated(self, x: Any, activation: NormActivation | None) -> Any:
        """``activation(forward(x))`` in one go over memory; so inside a `Sequential`."""
        parts = [branch(x) for branch in self._layers.values()]
        shapes = [_each(np.shape, part) for part in parts]
        sizes = [_each(lambda shape: (shape[0], *shape[2:]), shape) for shape in shapes]
        if any(size != sizes[0] for size in sizes):
            raise ValueError(f"branches must give maps of one size, got {', '.join(map(str, shapes))}")
        y = _each(lambda *maps: concatenate(maps, activation=activation), *parts)
        self._keep(shapes, _each(np.shape, y), activation, y if activation else None)
        return y

    def taken_over(self, behind: Layer) -> NormActivation | None:
        """The activation that `behind` is."""
        activation: NormActivation | None = behind.as_activation()
        return activation if type(self) is Concat else None

    def backward(self, dy: Any) -> Any:
        """Each branch gets its channels of dy; x was read by all, so its gradient is the sum of theirs."""
        shapes, y_shape, activation, y = self._recall()
        if _each(np.shape, dy) != y_shape:
            raise ValueError(f"dy must have the shape of the output, {y_shape}, got {_each(np.shape, dy)}")
        dparts = _split(dy, y, shapes, activation)
        gradients = [branch.backward(dpart) for branch, dpart in zip(self._layers.values(), dparts, strict=True)]
        return _each(lambda *maps: functools.reduce(add, maps), *gradients)


def check_parts(parts: Mapping[str, Layer]) -> None:
    """Raise unless all `parts` are layers, no layer in two places: one keeps a single last forward."""
    for name, layer in parts.items():
        if not isinstance(layer, Layer):
            raise TypeError(f"{name} must be a Layer, got {shown(layer)}")
    places: dict[int, str] = {}
    for name, part in parts.items():
        for path, layer in part.named_layers():
            place = f"{name}.{path}" if path else name
            if id(layer) in places:
                raise ValueError(
                    f"a layer must stand in one place, got {type(layer).__name__} at {places[id(layer)]} and {place}"
                )
            places[id(layer)] = place


def _each(function: Callable[..., Any], *maps: Any) -> Any:
    """`function` of plain maps or, where they are octave maps, of each frequency; an absent frequency stays absent."""
    if not isinstance(maps[0], OctaveMap):
        return function(*maps)
    frequencies = zip(*maps, strict=True)
    return OctaveMap(*(None if parts[0] is None else function(*parts) for parts in frequencies))


def _split(dy: Any, y: Any, shapes: list[Any], activation: NormActivation | None) -> list[Any]:
    """dy cut along the channels into maps of these shapes, each 0 where the activation that made y is flat."""
    if dy is None:
        return [None] * len(shapes)
    if isinstance(dy, OctaveMap):
        seen = (None, None) if y is None else y
        parts = [_split(dy[place], seen[place], [shape[place] for shape in shapes], activation) for place in range(2)]
        return [OctaveMap(*pair) for pair in zip(*parts, strict=True)]
    return list(concatenate_backward(dy, [shape[1] for shape in shapes], y, activation=activation))
