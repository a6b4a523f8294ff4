"""Pointwise (1x1) convolution, grouped or not: at every pixel a matrix product, y[n,g,o,p,q] = sum over c of x[n,g,c, p*stride, q*stride] * w[g,o,c]."""

from __future__ import annotations

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.standard import conv2d, conv2d_input_grad, conv2d_weight_grad


def pointwise_conv2d(x: Array, w: Array, b: Array | None, geometry: Conv2dGeometry) -> Array:
    """The standard convolution with one tap is this matrix product already: see `standard`."""
    return conv2d(x, w, b, geometry)


def pointwise_conv2d_input_grad(dy: Array, w: Array, geometry: Conv2dGeometry) -> Array:
    """The standard convolution's, as above."""
    return conv2d_input_grad(dy, w, geometry)


def pointwise_conv2d_weight_grad(dy: Array, x: Array, geometry: Conv2dGeometry) -> Array:
    """The standard convolution's, as above."""
    return conv2d_weight_grad(dy, x, geometry)
