"""Depthwise separable convolution: y = pointwise_conv2d(depthwise_conv2d(x, w_depthwise), w_pointwise, b)."""

from __future__ import annotations

from npconv.geometry import Array, SeparableGeometry
from npconv.reference.depthwise import depthwise_conv2d, depthwise_conv2d_input_grad, depthwise_conv2d_weight_grad
from npconv.reference.pointwise import pointwise_conv2d, pointwise_conv2d_input_grad, pointwise_conv2d_weight_grad


def separable_conv2d(
    x: Array, w_depthwise: Array, w_pointwise: Array, b: Array | None, geometry: SeparableGeometry
) -> Array:
    """Each channel is filtered, then the channels are mixed, with nothing in between."""
    filtered = depthwise_conv2d(x, w_depthwise, None, None, geometry.depthwise)
    return pointwise_conv2d(filtered, w_pointwise, b, None, geometry.pointwise)


def separable_conv2d_grad(
    dy: Array, x: Array, w_depthwise: Array, w_pointwise: Array, geometry: SeparableGeometry
) -> tuple[Array, Array, Array]:
    """(dx, dw_depthwise, dw_pointwise): the chain rule, with the filtered map made again."""
    filtered = depthwise_conv2d(x, w_depthwise, None, None, geometry.depthwise)
    dw_pointwise = pointwise_conv2d_weight_grad(dy, filtered, geometry.pointwise)
    dfiltered = pointwise_conv2d_input_grad(dy, w_pointwise, geometry.pointwise)
    dw_depthwise = depthwise_conv2d_weight_grad(dfiltered, x, geometry.depthwise)
    return depthwise_conv2d_input_grad(dfiltered, w_depthwise, geometry.depthwise), dw_depthwise, dw_pointwise
