"""Nearest-neighbour up-sampling."""

from __future__ import annotations

from npconv.backends import primitives
from npconv.geometry import Array, IntOrPair, UpsampleGeometry, check_array
from npconv.ops.operator import operator


@operator("x")
def upsample_nearest2d(x: Array, scale: IntOrPair = 2, *, size: IntOrPair | None = None) -> Array:
    """Repeat every pixel: ``y[n,c,p,q] = x[n,c, p // scale, q // scale]``.

    Parameters
    ----------
    x : array (N, C, H, W)
        float16, float32 or float64; never modified.
    scale : int or (rows, columns)
        At least 1.
    size : int or (rows, columns), optional
        Crop to this size; it must be more than (H - 1) * scale and at most H * scale, and the columns likewise.

    Returns
    -------
    array (N, C, H * scale, W * scale), or as cropped

    Raises
    ------
    TypeError, ValueError
        x is no float array of 4 axes; scale is below 1; size crops a whole input pixel or more.

    Notes
    -----
    The up-sampling of OctConv (arXiv 1904.05049), section 3.2; cropping is what odd sizes need.

    Examples
    --------
    >>> import numpy as np
    >>> upsample_nearest2d(np.array([[[[1.0, 2.0]]]]), 2, size=(2, 3))
    array([[[[1., 1., 2.],
             [1., 1., 2.]]]])
    """
    geometry = UpsampleGeometry.of(check_array("x", x, "NCHW"), scale, size)
    return primitives.upsample_nearest2d(x, geometry)


@operator("dy", "x")
def upsample_nearest2d_backward(dy: Array, x: Array, scale: IntOrPair = 2, *, size: IntOrPair | None = None) -> Array:
    """The gradient dx of `upsample_nearest2d`: each pixel's sum of dy over the block that it became.

    Parameters
    ----------
    dy : array (N, C, P, Q)
        The gradient of the result, of its shape and dtype.
    x : array (N, C, H, W)
        float16, float32 or float64, all of one dtype; never modified.
    scale, size
        As in `upsample_nearest2d`.

    Returns
    -------
    dx : array
        Of the shape and the dtype of x.

    Raises
    ------
    TypeError, ValueError
        As in `upsample_nearest2d`; also where dy has another shape or dtype than the result.

    Notes
    -----
    A standard operator.
    ``npconv explain upsample_nearest2d`` derives it.

    Examples
    --------
    >>> import numpy as np
    >>> upsample_nearest2d_backward(np.ones((1, 1, 2, 3)), np.zeros((1, 1, 1, 2)), 2, size=(2, 3))
    array([[[[4., 2.]]]])
    """
    geometry = UpsampleGeometry.of(check_array("x", x, "NCHW"), scale, size)
    geometry.check_dy(dy)
    return primitives.upsample_nearest2d_input_grad(dy, geometry)
