"""Pointwise (1x1) convolution: at every pixel, a matrix over the channels."""

from __future__ import annotations

from npconv.backends import primitives
from npconv.geometry import Array, Conv2dGeometry, IntOrPair, check_array
from npconv.ops.epilogue import Epilogue, check_epilogue
from npconv.ops.operator import operator


def _geometry(x: Array, w: Array, b: Array | None, stride: IntOrPair, groups: int) -> Conv2dGeometry:
    w_shape = check_array("w", w, "OCHW")
    if w_shape[2:] != (1, 1):
        raise ValueError(f"w must have a kernel of 1 x 1, shape (O, C / groups, 1, 1), got {w_shape}")
    geometry = Conv2dGeometry.of(check_array("x", x, "NCHW"), w_shape, stride=stride, groups=groups)
    geometry.check_bias(b)
    return geometry


@operator("x", "w", "b")
def pointwise_conv2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    groups: int = 1,
    activation: Epilogue | None = None,
) -> Array:
    """Pointwise (1x1) convolution, grouped where `groups` > 1: a linear map of the channels, the same at every pixel.

    ``y[n,g,o,p,q] = b[g,o] + sum over c of x[n,g,c, p*stride, q*stride] * w[g,o,c,0,0]``

    Parameters
    ----------
    x : array (N, C, H, W)
        float16, float32 or float64, like all arrays here; never modified.
    w : array (O, C / groups, 1, 1)
    b : array (O,), optional
    stride : int or (rows, columns)
    groups : int
        Divides C and O.
    activation : "relu" or "relu6", optional
        Applied to y before it is written: the same numbers as by `npconv.relu` or `npconv.relu6`, one sweep less.

    Returns
    -------
    array (N, O, P, Q)
        P = ceil(H / stride), Q likewise.

    Raises
    ------
    TypeError, ValueError
        As in `conv2d`; also where the kernel of w is not 1 x 1.

    Notes
    -----
    MobileNets (arXiv 1704.04861), section 3.1; grouped: ShuffleNet (arXiv 1707.01083), section 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([1.0, 2.0]).reshape(1, 2, 1, 1)
    >>> pointwise_conv2d(x, np.array([[1.0, 10.0], [0.0, 3.0]]).reshape(2, 2, 1, 1)).ravel()
    array([21.,  6.])
    """
    geometry = _geometry(x, w, b, stride, groups)
    check_epilogue(activation)
    return primitives.pointwise_conv2d(x, w, b, activation, geometry)


@operator("dy", "x", "w", "b")
def pointwise_conv2d_backward(
    dy: Array, x: Array, w: Array, b: Array | None = None, *, stride: IntOrPair = 1, groups: int = 1
) -> tuple[Array, Array, Array | None]:
    """The gradients (dx, dw, db) of `pointwise_conv2d` for dy (N, O, P, Q); db is None where b is None.

    The other arguments and the errors are the forward's. Pixels that the stride skips get the gradient 0.

    Parameters
    ----------
    dy : array (N, O, P, Q)
        The gradient of the result, of its shape and dtype.
    x : array (N, C, H, W)
        float16, float32 or float64, all of one dtype; never modified.
    w, b : arrays
        As in `pointwise_conv2d`.
    stride, groups
        As in `pointwise_conv2d`.

    Returns
    -------
    dx, dw, db : arrays
        Of the shapes and the dtype of x, w, b; None where an argument is None.

    Raises
    ------
    TypeError, ValueError
        As in `pointwise_conv2d`; also where dy has another shape or dtype than the result.

    Notes
    -----
    MobileNets (arXiv 1704.04861), section 3.1.
    ``npconv explain pointwise_conv2d`` derives it.

    Examples
    --------
    >>> import numpy as np
    >>> x, w = np.array([1.0, 2.0]).reshape(1, 2, 1, 1), np.array([[1.0, 10.0]]).reshape(1, 2, 1, 1)
    >>> dx, dw, db = pointwise_conv2d_backward(np.full((1, 1, 1, 1), 5.0), x, w)
    >>> dx.ravel(), dw.ravel()
    (array([ 5., 50.]), array([ 5., 10.]))
    """
    geometry = _geometry(x, w, b, stride, groups)
    geometry.check_dy(dy)
    dx = primitives.pointwise_conv2d_input_grad(dy, w, geometry)
    dw = primitives.pointwise_conv2d_weight_grad(dy, x, geometry)
    db = None if b is None else primitives.conv2d_bias_grad(dy)
    return dx, dw, db
