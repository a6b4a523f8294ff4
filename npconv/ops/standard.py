"""Standard and group convolution, with its two gradients also on their own."""

from __future__ import annotations

from collections.abc import Sequence

from npconv.backends import primitives
from npconv.geometry import Array, Conv2dGeometry, IntOrPair, Padding, check_array
from npconv.ops.epilogue import Epilogue, check_epilogue
from npconv.ops.operator import operator


@operator("x", "w", "b")
def conv2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    activation: Epilogue | None = None,
) -> Array:
    """Two-dimensional convolution (cross-correlation, as in every framework), grouped where `groups` > 1.

    ``y[n,g,o,p,q] = b[g,o] + sum over c, r, s of x[n,g,c, p*stride + r*dilation - pad, q*stride + s*dilation - pad] * w[g,o,c,r,s]``

    Parameters
    ----------
    x : array (N, C, H, W)
        float16, float32 or float64, any strides; never modified.
    w : array (O, C / groups, kh, kw)
    b : array (O,), optional
    stride, dilation : int or (rows, columns)
        At least 1. Rows and columns that the last stride does not reach are not read (the floor case).
    padding : int, (rows, columns), ((top, bottom), (left, right)), "valid", "same" or "same_lower"
        Zeros around each plane. "same" is TensorFlow's and ONNX's SAME_UPPER at any stride: ceil(size / stride)
        outputs, the odd pixel of padding at the bottom and right; "same_lower" puts it at the top and left.
    groups : int
        Divides C and O; output group g sees input group g only. ``groups=C`` is the depthwise convolution.
    activation : "relu" or "relu6", optional
        Applied to y before it is written: the same numbers as by `npconv.relu` or `npconv.relu6`, one sweep less.

    Returns
    -------
    array (N, O, P, Q)
        P = floor((H + top + bottom - dilation * (kh - 1) - 1) / stride) + 1, and Q likewise.

    Raises
    ------
    TypeError
        An argument of the wrong type, or arrays of different or non-float dtypes.
    ValueError
        Sizes that do not fit together; the message names the argument, its value and the rule.

    Notes
    -----
    Group convolution: AlexNet; as a building block ResNeXt (arXiv 1611.05431) and ShuffleNet (arXiv 1707.01083).

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> conv2d(x, np.ones((1, 1, 2, 2)))
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    geometry = Conv2dGeometry.of(
        check_array("x", x, "NCHW"),
        check_array("w", w, "OCHW"),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    geometry.check_bias(b)
    check_epilogue(activation)
    return primitives.conv2d(x, w, b, activation, geometry)


@operator("dy", "x", "w", "b")
def conv2d_backward(
    dy: Array,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> tuple[Array, Array, Array | None]:
    """The gradients (dx, dw, db) of `conv2d` for the output gradient dy (N, O, P, Q); db is None where b is None.

    The other arguments and the errors are the forward's.

    Parameters
    ----------
    dy : array (N, O, P, Q)
        The gradient of the result, of its shape and dtype.
    x : array (N, C, H, W)
        float16, float32 or float64, all of one dtype; never modified.
    w, b : arrays
        As in `conv2d`.
    stride, padding, dilation, groups
        As in `conv2d`.

    Returns
    -------
    dx, dw, db : arrays
        Of the shapes and the dtype of x, w, b; None where an argument is None.

    Raises
    ------
    TypeError, ValueError
        As in `conv2d`; also where dy has another shape or dtype than the result.

    Notes
    -----
    As in every framework, a cross-correlation; Dumoulin and Visin, arXiv 1603.07285.
    ``npconv explain conv2d`` derives it.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> dx, dw, db = conv2d_backward(np.ones((1, 1, 2, 2)), x, np.ones((1, 1, 2, 2)))
    >>> dx[0, 0]  # how many windows each pixel is in
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    geometry = Conv2dGeometry.of(
        check_array("x", x, "NCHW"),
        check_array("w", w, "OCHW"),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    geometry.check_bias(b)
    geometry.check_dy(dy)
    dx = primitives.conv2d_input_grad(dy, w, geometry)
    dw = primitives.conv2d_weight_grad(dy, x, geometry)
    db = None if b is None else primitives.conv2d_bias_grad(dy)
    return dx, dw, db


@operator("dy", "w")
def conv2d_input_grad(
    dy: Array,
    w: Array,
    x_shape: Sequence[int],
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Array:
    """The gradient of `conv2d` with respect to x alone, which is the transposed convolution of dy with w.

    ``dx[n,g,c,h,w] = sum over o and all (p, r), (q, s) with p*stride + r*dilation - pad = h, ... of dy[n,g,o,p,q] * w[g,o,c,r,s]``

    `x_shape` (N, C, H, W) is needed because several input sizes can give one output size. The other arguments and the
    errors are those of `conv2d_backward`.

    Parameters
    ----------
    dy : array (N, O, P, Q)
        The gradient of the result, of its shape and dtype.
    w : array (O, C / groups, kh, kw)
        float16, float32 or float64, all of one dtype; never modified.
    x_shape : (N, C, H, W)
    stride, padding, dilation, groups
        As in `conv2d`.

    Returns
    -------
    array (N, C, H, W)
        Of the dtype of dy.

    Raises
    ------
    TypeError, ValueError
        As in `conv2d`; also where dy has another shape or dtype than the result.

    Notes
    -----
    As in every framework, a cross-correlation; Dumoulin and Visin, arXiv 1603.07285.
    ``npconv explain conv2d`` derives it.

    Examples
    --------
    >>> import numpy as np
    >>> conv2d_input_grad(np.ones((1, 1, 1, 2)), np.array([[[[1.0, 2.0]]]]), (1, 1, 1, 4), stride=(1, 2))
    array([[[[1., 2., 1., 2.]]]])
    """
    geometry = Conv2dGeometry.of(
        x_shape, check_array("w", w, "OCHW"), stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    geometry.check_dy(dy)
    return primitives.conv2d_input_grad(dy, w, geometry)


@operator("dy", "x")
def conv2d_weight_grad(
    dy: Array,
    x: Array,
    w_shape: Sequence[int],
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Array:
    """The gradient of `conv2d` with respect to w alone, of the shape `w_shape` (O, C / groups, kh, kw).

    ``dw[g,o,c,r,s] = sum over n, p, q of dy[n,g,o,p,q] * x[n,g,c, p*stride + r*dilation - pad, q*stride + s*dilation - pad]``

    The other arguments and the errors are those of `conv2d_backward`.

    Parameters
    ----------
    dy : array (N, O, P, Q)
        The gradient of the result, of its shape and dtype.
    x : array (N, C, H, W)
        float16, float32 or float64, all of one dtype; never modified.
    w_shape : (O, C / groups, kh, kw)
    stride, padding, dilation, groups
        As in `conv2d`.

    Returns
    -------
    array (O, C / groups, kh, kw)
        Of the dtype of dy.

    Raises
    ------
    TypeError, ValueError
        As in `conv2d`; also where dy has another shape or dtype than the result.

    Notes
    -----
    As in every framework, a cross-correlation; Dumoulin and Visin, arXiv 1603.07285.
    ``npconv explain conv2d`` derives it.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(4.0).reshape(1, 1, 1, 4)
    >>> conv2d_weight_grad(np.ones((1, 1, 1, 2)), x, (1, 1, 1, 2), stride=(1, 2))
    array([[[[2., 4.]]]])
    """
    geometry = Conv2dGeometry.of(
        check_array("x", x, "NCHW"), w_shape, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    geometry.check_dy(dy)
    return primitives.conv2d_weight_grad(dy, x, geometry)
