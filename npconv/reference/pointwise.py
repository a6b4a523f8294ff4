"""Pointwise (1x1) convolution, grouped or not: at every pixel a matrix product, y[n,g,o,p,q] = sum over c of x[n,g,c, p*stride, q*stride] * w[g,o,c]."""

from __future__ import annotations

import numpy as np

from npconv.geometry import Array, Conv2dGeometry
from npconv.reference.activations import activated


def pointwise_conv2d(x: Array, w: Array, b: Array | None, activation: str | None, geometry: Conv2dGeometry) -> Array:
    """Mixes channels, never pixels: each group's matrix w[g] times that group's channels, at the pixels that the stride keeps."""
    y = np.einsum("ngcpq,goc->ngopq", _kept(x, geometry), _w(w, geometry), optimize=True).reshape(geometry.y_shape)
    return activated(y if b is None else y + b[:, None, None], activation)


def pointwise_conv2d_input_grad(dy: Array, w: Array, geometry: Conv2dGeometry) -> Array:
    """dx[n,g,c, p*stride, q*stride] = sum over o of dy[n,g,o,p,q] * w[g,o,c]; pixels that the stride skipped get 0."""
    dx = np.zeros(geometry.x_shape, dy.dtype)
    _kept(dx, geometry)[...] = np.einsum("ngopq,goc->ngcpq", _by_group(dy, geometry), _w(w, geometry), optimize=True)
    return dx


def pointwise_conv2d_weight_grad(dy: Array, x: Array, geometry: Conv2dGeometry) -> Array:
    """dw[g,o,c] = sum over n, p, q of dy[n,g,o,p,q] * x[n,g,c, p*stride, q*stride]: y is linear in w."""
    dw = np.einsum("ngcpq,ngopq->goc", _kept(x, geometry), _by_group(dy, geometry), optimize=True)
    return dw.reshape(geometry.w_shape)


def _by_group(array: Array, geometry: Conv2dGeometry) -> Array:
    """Axis 1, the channels, as two: the group and the channel in it. A view where the array is C-contiguous."""
    batch, channels, height, width = array.shape
    return array.reshape(batch, geometry.groups, channels // geometry.groups, height, width)


def _kept(x: Array, geometry: Conv2dGeometry) -> Array:
    """The pixels (p * stride, q * stride) by group, (n, g, c, p, q): a view into x where x is C-contiguous."""
    return _by_group(x, geometry)[..., :: geometry.stride_height, :: geometry.stride_width]


def _w(w: Array, geometry: Conv2dGeometry) -> Array:
    """w (O, C/groups, 1, 1) as (g, o, c)."""
    return w.reshape(geometry.groups, geometry.out_channels_per_group, geometry.in_channels_per_group)
