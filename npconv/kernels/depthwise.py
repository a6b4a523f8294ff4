"""Depthwise convolution, one input channel per group: the lanes of a vector are channels, and nothing is summed over them."""

from __future__ import annotations

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.standard import conv2d, conv2d_input_grad, conv2d_weight_grad


def depthwise_conv2d(x: Array, w: Array, b: Array | None, activation: str | None, geometry: Conv2dGeometry) -> Array:
    """Every channel is filtered by itself."""
    return conv2d(x, w, b, activation, geometry)


def depthwise_conv2d_input_grad(dy: Array, w: Array, geometry: Conv2dGeometry) -> Array:
    """dx, for each phase of the stride."""
    return conv2d_input_grad(dy, w, geometry)


def depthwise_conv2d_weight_grad(dy: Array, x: Array, geometry: Conv2dGeometry) -> Array:
    """dw, a sum over all pixels for each tap."""
    return conv2d_weight_grad(dy, x, geometry)
