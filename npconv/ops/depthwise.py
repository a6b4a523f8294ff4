"""Depthwise convolution: each channel is filtered by itself."""

from __future__ import annotations

from npconv.backends import primitives
from npconv.geometry import Array, Conv2dGeometry, IntOrPair, Padding, check_array
from npconv.ops.epilogue import Epilogue, check_epilogue
from npconv.ops.operator import operator


def _geometry(
    x: Array, w: Array, b: Array | None, stride: IntOrPair, padding: Padding, dilation: IntOrPair
) -> Conv2dGeometry:
    geometry = Conv2dGeometry.of_depthwise(
        check_array("x", x, "NCHW"),
        check_array("w", w, "OCHW"),
        stride=stride,
        padding=padding,
        dilation=dilation,
    )
    geometry.check_bias(b)
    return geometry


@operator("x", "w", "b")
def depthwise_conv2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    activation: Epilogue | None = None,
) -> Array:
    """Depthwise convolution with a channel multiplier m: input channel c makes the output channels c*m .. c*m + m - 1.

    ``y[n,c*m+o,p,q] = b[c*m+o] + sum over r, s of x[n,c, p*stride + r*dilation - pad, q*stride + s*dilation - pad] * w[c*m+o,0,r,s]``

    Parameters
    ----------
    x : array (N, C, H, W)
        float16, float32 or float64, like all arrays here; never modified.
    w : array (C * m, 1, kh, kw)
        PyTorch's layout for ``groups=C``; `npconv.layouts` converts TensorFlow's (kh, kw, C, m).
    b : array (C * m,), optional
    stride, padding, dilation
        As in `conv2d`.
    activation : "relu" or "relu6", optional
        Applied to y before it is written: the same numbers as by `npconv.relu` or `npconv.relu6`, one sweep less.

    Returns
    -------
    array (N, C * m, P, Q)

    Raises
    ------
    TypeError, ValueError
        As in `conv2d`; also where w is not (C * m, 1, kh, kw).

    Notes
    -----
    MobileNets (arXiv 1704.04861), section 3.1, equation 3.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    >>> depthwise_conv2d(x, np.array([1.0, 10.0]).reshape(2, 1, 1, 1))[0]
    array([[[ 1.,  2.]],
    <BLANKLINE>
           [[30., 40.]]])
    """
    geometry = _geometry(x, w, b, stride, padding, dilation)
    check_epilogue(activation)
    return primitives.depthwise_conv2d(x, w, b, activation, geometry)


@operator("dy", "x", "w", "b")
def depthwise_conv2d_backward(
    dy: Array,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
) -> tuple[Array, Array, Array | None]:
    """The gradients (dx, dw, db) of `depthwise_conv2d` for dy (N, C * m, P, Q); db is None where b is None.

    The other arguments and the errors are the forward's.

    Parameters
    ----------
    dy : array (N, O, P, Q)
        The gradient of the result, of its shape and dtype.
    x : array (N, C, H, W)
        float16, float32 or float64, all of one dtype; never modified.
    w, b : arrays
        As in `depthwise_conv2d`.
    stride, padding, dilation
        As in `depthwise_conv2d`.

    Returns
    -------
    dx, dw, db : arrays
        Of the shapes and the dtype of x, w, b; None where an argument is None.

    Raises
    ------
    TypeError, ValueError
        As in `depthwise_conv2d`; also where dy has another shape or dtype than the result.

    Notes
    -----
    MobileNets (arXiv 1704.04861), section 3.1, equation 3.
    ``npconv explain depthwise_conv2d`` derives it.

    Examples
    --------
    >>> import numpy as np
    >>> x, w = np.full((1, 2, 1, 1), 3.0), np.array([1.0, 10.0]).reshape(2, 1, 1, 1)
    >>> dx, dw, db = depthwise_conv2d_backward(np.ones((1, 2, 1, 1)), x, w)
    >>> dx.ravel(), dw.ravel()
    (array([ 1., 10.]), array([3., 3.]))
    """
    geometry = _geometry(x, w, b, stride, padding, dilation)
    geometry.check_dy(dy)
    dx = primitives.depthwise_conv2d_input_grad(dy, w, geometry)
    dw = primitives.depthwise_conv2d_weight_grad(dy, x, geometry)
    db = None if b is None else primitives.conv2d_bias_grad(dy)
    return dx, dw, db
