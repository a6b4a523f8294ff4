"""Depthwise convolution, one input channel per group: y[n,g,o,p,q] = sum over r, s of x[n,g, p*stride + r*dilation - pad, ...] * w[g,o,r,s].

Input channel g makes the output channels g*m .. g*m + m-1, m being the channel multiplier.
"""

from __future__ import annotations

import numpy as np

from npconv.geometry import Array, Conv2dGeometry
from npconv.reference.activations import activated
from npconv.reference.windows import input_windows, scatter_windows


def depthwise_conv2d(x: Array, w: Array, b: Array | None, activation: str | None, geometry: Conv2dGeometry) -> Array:
    """Every channel is filtered by itself: nothing is summed over channels."""
    y = np.einsum("ngpqrs,gors->ngopq", input_windows(x, geometry.axes), _w(w, geometry)).reshape(geometry.y_shape)
    return activated(y if b is None else y + b[:, None, None], activation)


def depthwise_conv2d_input_grad(dy: Array, w: Array, geometry: Conv2dGeometry) -> Array:
    """dx[n,g,h,w] = sum over o and all (p, r), (q, s) that met at (h, w) of dy[n,g,o,p,q] * w[g,o,r,s].

    As in the standard convolution: every product x * w of y hands dy * w back to its x.
    """
    products = np.einsum("ngopq,gors->ngpqrs", _by_group(dy, geometry), _w(w, geometry))
    return scatter_windows(products, geometry.axes)


def depthwise_conv2d_weight_grad(dy: Array, x: Array, geometry: Conv2dGeometry) -> Array:
    """dw[g,o,r,s] = sum over n, p, q of dy[n,g,o,p,q] * x[n,g, p*stride + r*dilation - pad, ...]: y is linear in w."""
    by_row = np.einsum("ngpqrs,ngopq->gorsnp", input_windows(x, geometry.axes), _by_group(dy, geometry), order="C")
    dw = by_row.sum(axis=(4, 5))  # in pairs, as they lie beside each other
    return dw.reshape(geometry.w_shape)


def _by_group(dy: Array, geometry: Conv2dGeometry) -> Array:
    """dy (N, C*m, P, Q) as (n, g, o, p, q)."""
    batch, _, *out_size = geometry.y_shape
    return dy.reshape(batch, geometry.groups, geometry.out_channels_per_group, *out_size)


def _w(w: Array, geometry: Conv2dGeometry) -> Array:
    """w (C*m, 1, R, S) as (g, o, R, S)."""
    return w.reshape(geometry.groups, geometry.out_channels_per_group, geometry.kernel_height, geometry.kernel_width)
