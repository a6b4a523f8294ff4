"""Standard and group convolution: y[n,g,o,p,q] = sum over c, r, s of x[n,g,c, p*stride + r*dilation - pad, ...] * w[g,o,c,r,s]."""

from __future__ import annotations

import numpy as np

from npconv.geometry import Array, Conv2dGeometry
from npconv.reference.activations import activated
from npconv.reference.sums import channel_sums
from npconv.reference.windows import input_windows, scatter_windows


def conv2d(x: Array, w: Array, b: Array | None, activation: str | None, geometry: Conv2dGeometry) -> Array:
    """Each group's output channels see that group's input channels only; with one group this is the standard convolution."""
    y = np.einsum(
        "ngcpqrs,gocrs->ngopq", _by_group(input_windows(x, geometry.axes), geometry), _w(w, geometry), optimize=True
    ).reshape(geometry.y_shape)
    return activated(y if b is None else y + b[:, None, None], activation)


def conv2d_input_grad(dy: Array, w: Array, geometry: Conv2dGeometry) -> Array:
    """dx[n,g,c,h,w] = sum over o and all (p, r), (q, s) that met at (h, w) of dy[n,g,o,p,q] * w[g,o,c,r,s].

    Every product x * w of y hands dy * w back to its x: the transposed convolution. Only these are multiplied, so an
    infinite weight never meets a zero that is no number of the problem.
    """
    products = np.einsum("ngopq,gocrs->ngcpqrs", _by_group(dy, geometry), _w(w, geometry), optimize=True)
    return scatter_windows(products.reshape(geometry.batch, geometry.in_channels, *products.shape[3:]), geometry.axes)


def conv2d_weight_grad(dy: Array, x: Array, geometry: Conv2dGeometry) -> Array:
    """dw[g,o,c,r,s] = sum over n, p, q of dy[n,g,o,p,q] * x[n,g,c, p*stride + r*dilation - pad, ...]: y is linear in w."""
    x_windows = _by_group(input_windows(x, geometry.axes), geometry)
    dy_by_group = _by_group(dy, geometry)
    return np.einsum("ngcpqrs,ngopq->gocrs", x_windows, dy_by_group, optimize=True).reshape(geometry.w_shape)


def conv2d_bias_grad(dy: Array) -> Array:
    """db[o] = sum over n, p, q of dy[n,o,p,q]: b[o] was added to every one of them."""
    return channel_sums(dy)


def _by_group(array: Array, geometry: Conv2dGeometry) -> Array:
    """Axis 1, the channels, as two: the group and the channel in it."""
    batch, channels, *rest = array.shape
    return array.reshape(batch, geometry.groups, channels // geometry.groups, *rest)


def _w(w: Array, geometry: Conv2dGeometry) -> Array:
    """w (O, C/groups, R, S) as (g, o, c, R, S)."""
    return w.reshape(geometry.groups, geometry.out_channels_per_group, *geometry.w_shape[1:])
