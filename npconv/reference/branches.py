"""How branches of a network come together, and part: maps added or concatenated, then activated, and channels times a gate."""

from __future__ import annotations

import numpy as np

from npconv.geometry import Array
from npconv.reference.activations import activated, activated_input_grad


def add(x: Array, other: Array, activation: str | None) -> Array:
    """The activation of x + other."""
    return activated(x + other, activation)


def concatenate(parts: tuple[Array, ...], activation: str | None) -> Array:
    """The activation of the parts, one after the other along axis 1."""
    return activated(np.concatenate(parts, axis=1), activation)


def concatenate_input_grad(dy: Array, y: Array, first: int, last: int, activation: str | None) -> Array:
    """The gradient of what was concatenated at the channels from `first` to `last`, or added.

    Where an activation is flat is seen in its output y too: it is at 0 or below, or at 6 or above.
    """
    return activated_input_grad(dy[:, first:last], y[:, first:last], activation).copy()


def scale(x: Array, gate: Array, more: Array | None = None) -> Array:
    """y[n,c] = x[n,c] * gate[n,c], plus more[n,c] if given; gate (N, C, 1, 1)."""
    return x * gate if more is None else x * gate + more


def scale_gate_grad(dy: Array, x: Array) -> Array:
    """dgate[n,c] = sum over h, w of dy[n,c,h,w] * x[n,c,h,w]: a gate moves all pixels of its plane."""
    return (dy * x).sum(axis=(2, 3), keepdims=True)
