"""Layers made of layers: one after the other, a sum of two branches, a concatenation of branches.

Branches may give octave maps: then each frequency is added or concatenated by itself.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, overload

import numpy as np

from npconv.nn.composite import ERRORS, Composite, check_parts, locate, refuse_unknown
from npconv.nn.freezing import wholly_frozen
from npconv.nn.layer import Layer
from npconv.ops import OctaveMap, relu6_backward, relu_backward
from npconv.ops.branches import add, concatenate, concatenate_backward
from npconv.ops.epilogue import Epilogue


class Identity(Layer):
    """Nothing: y is x, and dx is dy.

    Notes
    -----
    The layer of PyTorch that has this name.

    Examples
    --------
    >>> import numpy as np
    >>> Identity()(np.array([-1.0, 2.0]))
    array([-1.,  2.])
    """

    def forward(self, x: Any) -> Any:
        return x

    def backward(self, dy: Any) -> Any:
        return dy


class _Container(Composite):
    """Layers by name: those without one are called by their place, "0", "1", ...

    They are attributes, items by path or by place, and a sequence: ``net.head``, ``net["stage2.0"]``, ``net[-1]``,
    ``net[:3]``, ``len(net)``, ``for layer in net``. ``net.head = layer`` and ``net[0] = layer`` replace one.
    """

    _layers: dict[str, Layer]

    def __init__(self, *layers: Layer, **named_layers: Layer) -> None:
        super().__init__()
        self._layers = {str(place): layer for place, layer in enumerate(layers)} | named_layers
        check_parts(self._layers)

    def children(self) -> dict[str, Layer]:
        return dict(self._layers)

    def __getattr__(self, name: str) -> Any:
        layers = vars(self).get("_layers", {})
        if name not in layers:
            raise AttributeError(f"{type(self).__name__} has no attribute or layer {name!r}")
        return layers[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self).get("_layers", {}):
            self.replace(name, value)
            return
        refuse_unknown(self, name, value)
        super().__setattr__(name, value)

    def __len__(self) -> int:
        return len(self._layers)

    def __bool__(self) -> bool:  # a network is one, however many layers it has
        return True

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._layers.values())

    @overload
    def __getitem__(self, key: int | str) -> Layer: ...
    @overload
    def __getitem__(self, key: slice) -> Sequential: ...
    def __getitem__(self, key: int | str | slice) -> Layer:
        if isinstance(key, str):
            return self.layer_at(key)
        if isinstance(key, slice):
            return Sequential(**dict(list(self._layers.items())[key]))
        return self._layers[self._name_at(key)]

    def __setitem__(self, key: int | str, layer: Layer) -> None:
        self.replace(key if isinstance(key, str) else self._name_at(key), layer)

    def _name_at(self, place: int) -> str:
        names = list(self._layers)
        try:
            return names[place]
        except IndexError:
            raise IndexError(f"there is no layer {place} among {len(names)}") from None

    def _put(self, name: str, layer: Layer) -> None:
        self._layers[name] = layer


class Sequential(_Container):
    """Layers one after the other: ``y = last(...(second(first(x))))``; without any, the identity.

    A `ReLU` or `ReLU6` directly after certain layers is computed by these layers, with the same result and one sweep over memory
    less: after a `Residual` or a `Concat`, in training after a `BatchNorm2d`, and in evaluation after a `Conv2d`, `DepthwiseConv2d` or
    `PointwiseConv2d`. The same holds in a `PerFrequency`.

    Parameters
    ----------
    *layers, **named_layers : Layer
        Unnamed ones first, called "0", "1", ...

    Raises
    ------
    TypeError, ValueError
        Something is not a Layer; a layer stands in two places.

    Notes
    -----
    The container of PyTorch that has this name.

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
        steps = list(_steps(self._layers))
        for name, layer, activation in steps:
            try:  # costs nothing where nothing is raised
                x = layer(x, activation)
            except ERRORS as error:
                locate(error, name)
                raise
        self._keep(*((name, layer) for name, layer, _ in steps))
        return x

    def backward(self, dy: Any) -> Any:
        for name, layer in reversed(self._recall()):
            try:
                dy = layer.backward(dy)
            except ERRORS as error:
                locate(error, name)
                raise
        return dy

    def backward_params(self, dy: Any) -> None:
        """Back to the first layer that learns, of which the parameters' gradients alone are wanted."""
        steps = list(self._recall())
        while steps and wholly_frozen(steps[0][1]):
            steps.pop(0)
        for place, (name, layer) in reversed(list(enumerate(steps))):
            try:
                if place:
                    dy = layer.backward(dy)
                else:
                    layer.backward_params(dy)
            except ERRORS as error:
                locate(error, name)
                raise


def _steps(named: dict[str, Layer]) -> Iterator[tuple[str, Any, Epilogue | None]]:
    """The layers that run, each with the activation that it computes too; the layer of that activation is left out."""
    taken: Layer | None = None
    layers = list(named.values())
    for name, layer, following in itertools.zip_longest(named, layers, layers[1:]):
        if layer is taken:
            continue
        activation = layer.taken_over(following) if following else None
        taken = following if activation else None
        yield name, layer, activation


class Residual(Composite):
    """The sum of two branches: ``y = main(x) + shortcut(x)``; without a shortcut, ``main(x) + x``.

    Children: ``main`` and, if given, ``shortcut``.

    Parameters
    ----------
    main : Layer
    shortcut : Layer, optional

    Raises
    ------
    TypeError, ValueError
        One is no Layer; in `forward`, branches that give maps of different shapes.

    Notes
    -----
    He et al., Deep Residual Learning (arXiv 1512.03385), equation 2.

    Examples
    --------
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

    def forward_activated(self, x: Any, activation: Epilogue | None) -> Any:
        """``activation(forward(x))``, the sum and its activation in one go over memory; so inside a `Sequential`."""
        y, carried = (_forward(name, layer, x) for name, layer in self.children().items())
        shapes = _each(np.shape, y), _each(np.shape, carried)
        if shapes[0] != shapes[1]:
            raise ValueError(f"main and shortcut must give the same shape, got {shapes[0]} and {shapes[1]}")
        total = _each(functools.partial(add, activation=activation), y, carried)
        self._keep(activation, total if activation else None)
        return total

    def taken_over(self, following: Layer) -> Epilogue | None:
        """The activation that `following` is."""
        activation: Epilogue | None = following.as_activation()
        return activation if type(self) is Residual else None

    def backward(self, dy: Any) -> Any:
        """x was read twice: its gradient is the sum of both branches'. The activation's is seen in its output too."""
        activation, y = self._recall()
        if activation:
            dy = _each(relu_backward if activation == "relu" else relu6_backward, dy, y)
        return _each(add, self.main.backward(dy), self.shortcut.backward(dy))


class Concat(_Container):
    """The outputs of all branches, one after the other along the channels: ``y = concatenate([branch(x), ...], axis=1)``.

    Parameters
    ----------
    *branches, **named_branches : Layer
        As the layers of `Sequential`. All read the same x (N, C, H, W).

    Raises
    ------
    TypeError, ValueError
        There is no branch, or one is no Layer; in `forward`, branches that give maps of different sizes.

    Notes
    -----
    The inception modules of Szegedy et al. (arXiv 1409.4842); here ShuffleNet's unit of stride 2 (arXiv 1707.01083, figure 2c).

    Examples
    --------
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

    def forward_activated(self, x: Any, activation: Epilogue | None) -> Any:
        """``activation(forward(x))`` in one go over memory; so inside a `Sequential`."""
        parts = [_forward(name, branch, x) for name, branch in self._layers.items()]
        shapes = [_each(np.shape, part) for part in parts]
        sizes = [_each(lambda shape: (shape[0], *shape[2:]), shape) for shape in shapes]
        if any(size != sizes[0] for size in sizes):
            raise ValueError(f"branches must give maps of one size, got {', '.join(map(str, shapes))}")
        y = _each(lambda *maps: concatenate(maps, activation=activation), *parts)
        self._keep(shapes, _each(np.shape, y), activation, y if activation else None)
        return y

    def taken_over(self, following: Layer) -> Epilogue | None:
        """The activation that `following` is."""
        activation: Epilogue | None = following.as_activation()
        return activation if type(self) is Concat else None

    def backward(self, dy: Any) -> Any:
        """Each branch gets its channels of dy; x was read by all, so its gradient is the sum of theirs."""
        shapes, y_shape, activation, y = self._recall()
        if _each(np.shape, dy) != y_shape:
            raise ValueError(f"dy must have the shape of the output, {y_shape}, got {_each(np.shape, dy)}")
        dparts = _split(dy, y, shapes, activation)
        gradients = [branch.backward(dpart) for branch, dpart in zip(self._layers.values(), dparts, strict=True)]
        return _each(lambda *maps: functools.reduce(add, maps), *gradients)


def _forward(name: str, layer: Layer, x: Any) -> Any:
    """``layer(x)``, whose errors say its name."""
    try:
        return layer(x)
    except ERRORS as error:
        locate(error, name)
        raise


def _each(function: Callable[..., Any], *maps: Any) -> Any:
    """`function` of plain maps or, where they are octave maps, of each frequency; an absent frequency stays absent."""
    if not isinstance(maps[0], OctaveMap):
        return function(*maps)
    frequencies = zip(*maps, strict=True)
    return OctaveMap(*(None if parts[0] is None else function(*parts) for parts in frequencies))


def _split(dy: Any, y: Any, shapes: list[Any], activation: Epilogue | None) -> list[Any]:
    """dy cut along the channels into maps of these shapes, each 0 where the activation that made y is flat."""
    if dy is None:
        return [None] * len(shapes)
    if isinstance(dy, OctaveMap):
        seen = (None, None) if y is None else y
        parts = [_split(dy[place], seen[place], [shape[place] for shape in shapes], activation) for place in range(2)]
        return [OctaveMap(*pair) for pair in zip(*parts, strict=True)]
    return list(concatenate_backward(dy, [shape[1] for shape in shapes], y, activation=activation))
