"""Average, maximum and global average pooling."""

from __future__ import annotations

from npconv.backends import primitives
from npconv.geometry import Array, IntOrPair, Padding, Pool2dGeometry, check_array, check_shape, flag
from npconv.ops.operator import operator


@operator("x")
def avg_pool2d(
    x: Array,
    kernel: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> Array:
    """The mean of each window: ``y[n,c,p,q] = mean over r, s of x[n,c, p*stride + r - pad, q*stride + s - pad]``.

    Parameters
    ----------
    x : array (N, C, H, W)
        float16, float32 or float64; never modified.
    kernel, stride : int or (rows, columns)
        The stride is the kernel where not given.
    padding
        As in `conv2d`, but smaller than the kernel.
    ceil_mode : bool
        Add the last, incomplete window where there is one; so a kernel larger than the padded input has one window, which
        PyTorch refuses.
    count_include_pad : bool
        Divide by the window's size with its padding counted (PyTorch's default) rather than by the number of true pixels
        (TensorFlow's rule, and the default here). What ceil mode overhangs is never counted.

    Returns
    -------
    array (N, C, P, Q)
        P = floor((H + top + bottom - kernel) / stride) + 1, ceil in ceil mode, and Q likewise.

    Raises
    ------
    TypeError, ValueError
        As in `conv2d`; also padding that is not smaller than the kernel.

    Notes
    -----
    A standard operator.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[[[1.0, 3.0, 5.0]]]])
    >>> avg_pool2d(x, (1, 2), ceil_mode=True)
    array([[[[2., 5.]]]])
    """
    geometry = Pool2dGeometry.of(
        check_array("x", x, "NCHW"), kernel, stride=stride, padding=padding, ceil_mode=ceil_mode
    )
    return primitives.avg_pool2d(x, flag("count_include_pad", count_include_pad), geometry)


@operator("dy", "x")
def avg_pool2d_backward(
    dy: Array,
    x: Array,
    kernel: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> Array:
    """The gradient dx of `avg_pool2d` for dy (N, C, P, Q): each pixel's shares of the windows that it is in.

    Parameters
    ----------
    dy : array (N, C, P, Q)
        The gradient of the result, of its shape and dtype.
    x : array (N, C, H, W)
        float16, float32 or float64, all of one dtype; never modified.
    kernel, stride, padding, ceil_mode, count_include_pad
        As in `avg_pool2d`.

    Returns
    -------
    dx : array
        Of the shape and the dtype of x.

    Raises
    ------
    TypeError, ValueError
        As in `avg_pool2d`; also where dy has another shape or dtype than the result.

    Notes
    -----
    A standard operator.
    ``npconv explain avg_pool2d`` derives it.

    Examples
    --------
    >>> import numpy as np
    >>> avg_pool2d_backward(np.array([[[[2.0, 5.0]]]]), np.zeros((1, 1, 1, 3)), (1, 2), ceil_mode=True)
    array([[[[1., 1., 5.]]]])
    """
    geometry = Pool2dGeometry.of(
        check_array("x", x, "NCHW"), kernel, stride=stride, padding=padding, ceil_mode=ceil_mode
    )
    geometry.check_dy(dy)
    return primitives.avg_pool2d_input_grad(dy, flag("count_include_pad", count_include_pad), geometry)


@operator("x")
def max_pool2d(
    x: Array,
    kernel: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
) -> Array:
    """The largest pixel of each window: ``y[n,c,p,q] = max over r, s of x[n,c, p*stride + r - pad, q*stride + s - pad]``.

    Padding never wins and NaN always does. Parameters, result and errors are those of `avg_pool2d`.

    Parameters
    ----------
    x : array (N, C, H, W)
        float16, float32 or float64, all of one dtype; never modified.
    kernel, stride, padding, ceil_mode
        As in `avg_pool2d`.

    Returns
    -------
    array (N, C, P, Q)
        Of the sizes of `avg_pool2d`.

    Raises
    ------
    TypeError, ValueError
        As in `avg_pool2d`.

    Notes
    -----
    A standard operator.

    Examples
    --------
    >>> import numpy as np
    >>> max_pool2d(np.array([[[[-1.0, -3.0, -5.0]]]]), (1, 3), stride=2, padding=(0, 1))
    array([[[[-1., -3.]]]])
    """
    geometry = Pool2dGeometry.of(
        check_array("x", x, "NCHW"), kernel, stride=stride, padding=padding, ceil_mode=ceil_mode
    )
    return primitives.max_pool2d(x, geometry)


@operator("dy", "x")
def max_pool2d_backward(
    dy: Array,
    x: Array,
    kernel: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
) -> Array:
    """The gradient dx of `max_pool2d` for dy (N, C, P, Q): each window's first largest pixel, in row order, gets its dy.

    Parameters
    ----------
    dy : array (N, C, P, Q)
        The gradient of the result, of its shape and dtype.
    x : array (N, C, H, W)
        float16, float32 or float64, all of one dtype; never modified.
    kernel, stride, padding, ceil_mode
        As in `max_pool2d`.

    Returns
    -------
    dx : array
        Of the shape and the dtype of x.

    Raises
    ------
    TypeError, ValueError
        As in `max_pool2d`; also where dy has another shape or dtype than the result.

    Notes
    -----
    A standard operator.
    ``npconv explain max_pool2d`` derives it.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[[[-1.0, -3.0, -5.0]]]])
    >>> max_pool2d_backward(np.array([[[[10.0, 20.0]]]]), x, (1, 3), stride=2, padding=(0, 1))
    array([[[[10., 20.,  0.]]]])
    """
    geometry = Pool2dGeometry.of(
        check_array("x", x, "NCHW"), kernel, stride=stride, padding=padding, ceil_mode=ceil_mode
    )
    geometry.check_dy(dy)
    return primitives.max_pool2d_input_grad(dy, x, geometry)


@operator("x")
def global_avg_pool2d(x: Array) -> Array:
    """The mean of each plane, as (N, C, 1, 1): ``y[n,c,0,0] = mean over h, w of x[n,c,h,w]``.

    Raises TypeError or ValueError where x is no float array (N, C, H, W).

    Parameters
    ----------
    x : array (N, C, H, W)
        float16, float32 or float64, all of one dtype; never modified.

    Returns
    -------
    array (N, C, 1, 1)

    Raises
    ------
    TypeError, ValueError
        x is no float array of 4 axes, or an empty one.

    Notes
    -----
    Lin, Chen and Yan (arXiv 1312.4400), section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> global_avg_pool2d(np.array([[[[1.0, 3.0]]]]))
    array([[[[2.]]]])
    """
    check_array("x", x, "NCHW")
    return primitives.global_avg_pool2d(x)


@operator("dy", "x")
def global_avg_pool2d_backward(dy: Array, x: Array) -> Array:
    """The gradient dx of `global_avg_pool2d` for dy (N, C, 1, 1): dy / (H * W) at every pixel.

    Parameters
    ----------
    dy : array (N, C, 1, 1)
        The gradient of the result, of its shape and dtype.
    x : array (N, C, H, W)
        float16, float32 or float64, all of one dtype; never modified.

    Returns
    -------
    dx : array
        Of the shape and the dtype of x.

    Raises
    ------
    TypeError, ValueError
        As in `global_avg_pool2d`; also where dy has another shape or dtype than the result.

    Notes
    -----
    Lin, Chen and Yan (arXiv 1312.4400), section 3.2.
    ``npconv explain global_avg_pool2d`` derives it.

    Examples
    --------
    >>> import numpy as np
    >>> global_avg_pool2d_backward(np.array([[[[4.0]]]]), np.zeros((1, 1, 1, 2)))
    array([[[[2., 2.]]]])
    """
    batch, channels, height, width = check_array("x", x, "NCHW")
    check_shape("dy", dy, (batch, channels, 1, 1), "one number per plane of x")
    return primitives.global_avg_pool2d_input_grad(dy, height, width)
