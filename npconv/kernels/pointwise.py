"""Pointwise (1x1) convolution, grouped or not: a convolution whose kernel has one tap."""

from __future__ import annotations

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.standard import conv2d, conv2d_input_grad, conv2d_weight_grad


def pointwise_conv2d(x: Array, w: Array, b: Array | None, activation: str | None, geometry: Conv2dGeometry) -> Array:
    """A matrix product of pixels and weights."""
    return conv2d(x, w, b, activation, geometry)


def pointwise_conv2d_input_grad(dy: Array, w: Array, geometry: Conv2dGeometry) -> Array:
    """A matrix product of dy's pixels and weights; pixels that the stride skipped get 0."""
    return conv2d_input_grad(dy, w, geometry)


def pointwise_conv2d_weight_grad(dy: Array, x: Array, geometry: Conv2dGeometry) -> Array:
    """The sum of outer products of x's pixels and dy's."""
    return conv2d_weight_grad(dy, x, geometry)
