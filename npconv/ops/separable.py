"""Depthwise separable convolution: a depthwise convolution, then a pointwise one."""

from __future__ import annotations

from typing import Any

from npconv.backends import primitives
from npconv.geometry import Array, IntOrPair, Padding, SeparableGeometry, check_array
from npconv.ops.operator import operator


@operator("x", "w_depthwise", "w_pointwise", "b")
def separable_conv2d(
    x: Array,
    w_depthwise: Array,
    w_pointwise: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
) -> Array:
    """Depthwise separable convolution: filter each channel, then mix the channels, with nothing in between.

    ``y = pointwise_conv2d(depthwise_conv2d(x, w_depthwise), w_pointwise, b)``

    Parameters
    ----------
    x : array (N, C, H, W)
        float16, float32 or float64, like all arrays here; never modified.
    w_depthwise : array (C * m, 1, kh, kw)
    w_pointwise : array (O, C * m, 1, 1)
    b : array (O,), optional
    stride, padding, dilation
        Of the depthwise part, as in `conv2d`.

    Returns
    -------
    array (N, O, P, Q)

    Raises
    ------
    TypeError, ValueError
        As in `depthwise_conv2d` and `pointwise_conv2d`.

    Notes
    -----
    MobileNets (arXiv 1704.04861), section 3.1. MobileNet itself puts batch norm and ReLU after each part; this operator
    is Keras's ``SeparableConv2D``.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([1.0, 2.0]).reshape(1, 2, 1, 1)
    >>> separable_conv2d(x, np.full((2, 1, 1, 1), 3.0), np.ones((1, 2, 1, 1)))
    array([[[[9.]]]])
    """
    geometry = _geometry(x, w_depthwise, w_pointwise, b, stride=stride, padding=padding, dilation=dilation)
    return primitives.separable_conv2d(x, w_depthwise, w_pointwise, b, geometry)


@operator("dy", "x", "w_depthwise", "w_pointwise", "b")
def separable_conv2d_backward(
    dy: Array,
    x: Array,
    w_depthwise: Array,
    w_pointwise: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
) -> tuple[Array, Array, Array, Array | None]:
    """The gradients (dx, dw_depthwise, dw_pointwise, db) of `separable_conv2d` for dy (N, O, P, Q).

    The other arguments and the errors are the forward's. The depthwise result is computed again, not kept.

    Parameters
    ----------
    dy : array (N, O, P, Q)
        The gradient of the result, of its shape and dtype.
    x : array (N, C, H, W)
        float16, float32 or float64, all of one dtype; never modified.
    w_depthwise, w_pointwise, b : arrays
        As in `separable_conv2d`.
    stride, padding, dilation
        As in `separable_conv2d`.

    Returns
    -------
    dx, dw_depthwise, dw_pointwise, db : arrays
        Of the shapes and the dtype of x, w_depthwise, w_pointwise, b; None where an argument is None.

    Raises
    ------
    TypeError, ValueError
        As in `separable_conv2d`; also where dy has another shape or dtype than the result.

    Notes
    -----
    MobileNets (arXiv 1704.04861), section 3.1.
    ``npconv explain separable_conv2d`` derives it.

    Examples
    --------
    >>> import numpy as np
    >>> x, ones = np.array([1.0, 2.0]).reshape(1, 2, 1, 1), np.ones((1, 2, 1, 1))
    >>> dx, dw_depthwise, dw_pointwise, db = separable_conv2d_backward(np.ones((1, 1, 1, 1)), x, np.full((2, 1, 1, 1), 3.0), ones)
    >>> dx.ravel(), dw_depthwise.ravel(), dw_pointwise.ravel()
    (array([3., 3.]), array([1., 2.]), array([3., 6.]))
    """
    geometry = _geometry(x, w_depthwise, w_pointwise, b, stride=stride, padding=padding, dilation=dilation)
    geometry.pointwise.check_dy(dy)
    dx, dw_depthwise, dw_pointwise = primitives.separable_conv2d_grad(dy, x, w_depthwise, w_pointwise, geometry)
    db = None if b is None else primitives.conv2d_bias_grad(dy)
    return dx, dw_depthwise, dw_pointwise, db


def _geometry(x: Array, w_depthwise: Array, w_pointwise: Array, b: Array | None, **options: Any) -> SeparableGeometry:
    """The geometry of these arrays, once both parts are known to fit together: before either has begun."""
    geometry = SeparableGeometry.of(
        check_array("x", x, "NCHW"),
        check_array("w_depthwise", w_depthwise, "OCHW"),
        check_array("w_pointwise", w_pointwise, "OCHW"),
        **options,
    )
    geometry.pointwise.check_bias(b)
    return geometry
