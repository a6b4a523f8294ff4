"""What containers share: their layers by path, replaced and frozen by path, and errors that say in which layer they arose."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Mapping
from typing import Any

from npconv.geometry import shown, some
from npconv.nn.freezing import FROZEN, is_frozen
from npconv.nn.layer import AnyLayer, Layer


class Composite(Layer):
    """A layer made of layers that are there by name, ``net["stage2.0.conv"]``, and can be replaced and frozen.

    >>> import numpy as np
    >>> from npconv import models, nn
    >>> net = models.tiny_mobilenet(num_classes=10, rng=np.random.default_rng(0))
    >>> net["head.linear"]
    Linear(128, 10)
    >>> net.replace("head.linear", nn.Linear(128, 3, rng=np.random.default_rng(0)))
    >>> net.freeze("stem.*", "block1.*")
    >>> net["head.linear"], nn.is_frozen(net["stem.conv"])
    (Linear(128, 3), True)
    """

    def layer_at(self, path: str) -> Layer:
        """The layer at a dotted path of names; KeyError, with the nearest ones, where there is none."""
        if not isinstance(path, str):
            raise TypeError(f"path must be a text, got {shown(path)}")
        layer: Layer = self
        names = path.split(".")
        for depth, name in enumerate(names):
            children = layer.children()
            if name not in children:
                raise KeyError(_no_such(name, ".".join(names[:depth]), layer))
            layer = children[name]
        return layer

    def __getitem__(self, path: str) -> Layer:
        return self.layer_at(path)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and path in {name for name, _ in self.named_layers() if name}

    def replace(self, path: str, layer: Layer) -> None:
        """Put `layer` in the place of that at the dotted `path`.

        Raises
        ------
        KeyError
            There is no such place.
        TypeError, ValueError
            It is no layer, or one that stands in the network already.
        """
        if not isinstance(path, str):
            raise TypeError(f"path must be a text, got {shown(path)}")
        parent_path, _, name = path.rpartition(".")
        parent = self.layer_at(parent_path) if parent_path else self
        if name not in parent.children():
            raise KeyError(_no_such(name, parent_path, parent))
        if not isinstance(layer, Layer):
            raise TypeError(f"layer must be a Layer, got {shown(layer)}")
        inside = {id(one) for _, one in self.named_layers()}
        if any(id(one) in inside for _, one in layer.named_layers()):
            raise ValueError(f"a layer must stand in one place, got one for {path} that stands in the network already")
        layer._set_training(parent.training)
        parent._put(name, layer) if isinstance(parent, Composite) else setattr(parent, name, layer)

    def _put(self, name: str, layer: Layer) -> None:
        """Make `layer` the child of this name, which is there."""
        super().__setattr__(name, layer)

    def freeze(self, *patterns: str) -> None:
        """Keep the layers whose path is, or matches, one of `patterns`: ``"stem.*"`` is all in ``stem``, ``"*"`` everything.

        Optimisers leave their parameters as they are, and they stay in evaluation mode: batch norm uses its running
        statistics, dropout drops nothing. `unfreeze` undoes it. Raises ValueError where a pattern matches no layer.
        """
        for layer in self._matching(patterns):
            setattr(layer, FROZEN, True)
            layer.training = False

    def unfreeze(self, *patterns: str) -> None:
        """Let the layers that `freeze` kept learn again; by default all."""
        for layer in self._matching(patterns or ("*",)):
            if is_frozen(layer):
                delattr(layer, FROZEN)
                layer.training = self.training

    def _matching(self, patterns: tuple[str, ...]) -> list[Layer]:
        named = {path: layer for path, layer in self.named_layers() if path}
        found: dict[str, Layer] = {}
        for pattern in patterns:
            if not isinstance(pattern, str):
                raise TypeError(f"a pattern must be a text, got {shown(pattern)}")
            matched = [path for path in named if fnmatch.fnmatchcase(path, pattern)]
            if not matched:
                raise ValueError(f"a pattern must match a layer, got {pattern!r} for {some(named)}")
            for path in matched:
                found |= {inner: one for inner, one in named.items() if f"{inner}.".startswith(f"{path}.")}
        return list(found.values())

    def _set_training(self: AnyLayer, training: bool) -> AnyLayer:
        for _, layer in self.named_layers():
            layer.training = training and not is_frozen(layer)
        return self


def _no_such(name: str, parent: str, layer: Layer) -> str:
    children = list(layer.children())
    near = difflib.get_close_matches(name, children, 1)
    where = f" in {parent}" if parent else ""
    hint = f", did you mean {near[0]!r}?" if near else f", which has {some(children)}"
    return f"there is no layer {name!r}{where}{hint}"


ERRORS = ValueError, TypeError, RuntimeError  # which say where they arose


def locate(error: Exception, name: str) -> None:
    """Let `error` begin with the path of the layer that it arose in, of which `name` is the outer end."""
    where, what = getattr(error, "where", ()), getattr(error, "what", str(error))
    error.where, error.what = (name, *where), what  # type: ignore[attr-defined]
    error.args = (f"{'.'.join((name, *where))}: {what}",)


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


def refuse_unknown(container: Layer, name: str, value: Any) -> None:
    """Raise where a layer is set as an attribute that is no child: it would never run."""
    if isinstance(value, Layer):
        raise AttributeError(f"{type(container).__name__} has no layer {name!r} to be set, got {value!r} for it")
