"""Ghost convolution: a few primary maps by convolution, the others from them by a cheap depthwise filter."""

from __future__ import annotations

from typing import Any

from npconv.backends import primitives
from npconv.geometry import Array, GhostGeometry, IntOrPair, Padding, check_array
from npconv.ops.operator import operator


@operator("x", "w_primary", "w_cheap")
def ghost_conv2d(
    x: Array,
    w_primary: Array,
    w_cheap: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    out_channels: int | None = None,
) -> Array:
    """Ghost convolution: m primary maps, then s - 1 ghosts of each, cut to `out_channels`.

    ``primary = conv2d(x, w_primary)``, ``ghosts = depthwise_conv2d(primary, w_cheap, padding="same")``,
    ``y = concatenate([primary, ghosts], axis=1)[:, :out_channels]``

    Parameters
    ----------
    x : array (N, C, H, W)
        float16, float32 or float64, like all arrays here; never modified.
    w_primary : array (m, C / groups, kh, kw)
        m = ceil(out_channels / s) for the ratio s: see `ghost_channels`.
    w_cheap : array (m * (s - 1), 1, dh, dw), or None for s = 1
        The d x d filters of the cheap operation; its stride is 1.
    stride, padding, dilation, groups
        Of the primary convolution, as in `conv2d`.
    out_channels : int, optional
        More than (m - 1) * s and at most m * s; by default m * s, nothing is cut.

    Returns
    -------
    array (N, out_channels, P, Q)

    Raises
    ------
    TypeError, ValueError
        As in `conv2d`; also where w_cheap is not (m * (s - 1), 1, dh, dw) or out_channels cannot be cut from m * s maps.

    Notes
    -----
    GhostNet (arXiv 1911.11907), section 3.1, equations 2 and 3. The formula there interleaves each map and its ghosts;
    here, as in the published code, all primary maps come first. Batch norm and ReLU belong to the layer, `nn.GhostModule`.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([1.0, 2.0]).reshape(1, 2, 1, 1)
    >>> w_primary = np.array([[1.0, 1.0], [0.0, 1.0]]).reshape(2, 2, 1, 1)
    >>> ghost_conv2d(x, w_primary, np.full((2, 1, 1, 1), 10.0), out_channels=3).ravel()
    array([ 3.,  2., 30.])
    """
    geometry = _geometry(
        x,
        w_primary,
        w_cheap,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        out_channels=out_channels,
    )
    return primitives.ghost_conv2d(x, w_primary, w_cheap, geometry)


@operator("dy", "x", "w_primary", "w_cheap", "y")
def ghost_conv2d_backward(
    dy: Array,
    x: Array,
    w_primary: Array,
    w_cheap: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    out_channels: int | None = None,
    y: Array | None = None,
) -> tuple[Array, Array, Array | None]:
    """The gradients (dx, dw_primary, dw_cheap) of `ghost_conv2d` for dy (N, out_channels, P, Q).

    A primary map is read twice, by the output and by its ghosts: its gradient is the sum of both. Filters whose ghosts
    were cut get the gradient 0. `y`, the forward's output, saves computing the primary maps again where it is given. The
    other arguments and the errors are the forward's.

    Parameters
    ----------
    dy : array (N, O, P, Q)
        The gradient of the result, of its shape and dtype.
    x : array (N, C, H, W)
        float16, float32 or float64, all of one dtype; never modified.
    w_primary, w_cheap : arrays
        As in `ghost_conv2d`.
    stride, padding, dilation, groups, out_channels, y
        As in `ghost_conv2d`.

    Returns
    -------
    dx, dw_primary, dw_cheap : arrays
        Of the shapes and the dtype of x, w_primary, w_cheap; None where an argument is None.

    Raises
    ------
    TypeError, ValueError
        As in `ghost_conv2d`; also where dy has another shape or dtype than the result.

    Notes
    -----
    GhostNet (arXiv 1911.11907), section 3.1, equations 2 and 3.
    ``npconv explain ghost_conv2d`` derives it.

    Examples
    --------
    >>> import numpy as np
    >>> x, one = np.full((1, 1, 1, 1), 2.0), np.ones((1, 1, 1, 1))
    >>> dx, dw_primary, dw_cheap = ghost_conv2d_backward(np.ones((1, 2, 1, 1)), x, one, 10 * one)
    >>> dx.item(), dw_primary.item(), dw_cheap.item()
    (11.0, 22.0, 2.0)
    """
    geometry = _geometry(
        x,
        w_primary,
        w_cheap,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        out_channels=out_channels,
    )
    geometry.check_output("dy", dy)
    if y is not None:
        geometry.check_output("y", y)
    return primitives.ghost_conv2d_grad(dy, x, w_primary, w_cheap, y, geometry)


def _geometry(x: Array, w_primary: Array, w_cheap: Array | None, **options: Any) -> GhostGeometry:
    """The geometry of these arrays, once the two kernels and the cut are known to belong together."""
    return GhostGeometry.of(
        check_array("x", x, "NCHW"),
        check_array("w_primary", w_primary, "OCHW"),
        None if w_cheap is None else check_array("w_cheap", w_cheap, "OCHW"),
        **options,
    )
