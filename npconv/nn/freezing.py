"""Layers that keep what they have learned while the rest of a network learns."""

from __future__ import annotations

from npconv.nn.layer import Layer

FROZEN = "frozen"  # an attribute of the layers that are


def is_frozen(layer: Layer) -> bool:
    """Whether the layer is left as it is by optimisers, and stays in evaluation mode; see `Sequential.freeze`."""
    return FROZEN in vars(layer)


def wholly_frozen(layer: Layer) -> bool:
    """Whether nothing in `layer` learns: all layers with parameters in it are frozen."""
    return all(is_frozen(one) or not one.params for _, one in layer.named_layers())
