"""Layers that keep what they have learned while the rest of a network learns."""

from __future__ import annotations

from npconv.geometry import shown
from npconv.nn.layer import Layer

FROZEN = "frozen"  # an attribute of the layers that are


def is_frozen(layer: Layer) -> bool:
    """Whether the layer is left as it is by optimisers, and stays in evaluation mode; see `Sequential.freeze`.

    Parameters
    ----------
    layer : Layer

    Returns
    -------
    bool

    Raises
    ------
    TypeError
        `layer` is no layer.

    Examples
    --------
    >>> from npconv import nn
    >>> net = nn.Sequential(stem=nn.BatchNorm2d(2), head=nn.BatchNorm2d(2))
    >>> net.freeze("stem")
    >>> is_frozen(net.stem), is_frozen(net.head)
    (True, False)
    """
    if not isinstance(layer, Layer):
        raise TypeError(f"layer must be a Layer, got {shown(layer)}")
    return FROZEN in vars(layer)


def wholly_frozen(layer: Layer) -> bool:
    """Whether nothing in `layer` learns: all layers with parameters in it are frozen."""
    return all(is_frozen(one) or not one.params for _, one in layer.named_layers())
