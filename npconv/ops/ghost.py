"""Ghost convolution: a few primary maps by convolution, the others from them by a cheap depthwise filter."""

from __future__ import annotations

import numpy as np

from npconv import backends
from npconv.geometry import Array, Conv2dGeometry, IntOrPair, Padding, check_array, check_shape, ghost_channels, integer
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
    kept = _check(w_primary, w_cheap, out_channels)
    geometry = Conv2dGeometry.of(
        check_array("x", x, "NCHW"),
        w_primary.shape,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    if w_cheap is None:
        return backends.call("conv2d", x, w_primary, None, geometry)
    # Both halves are written where they belong: another copy of y takes as long as making the ghosts.
    batch, maps, height, width = geometry.y_shape
    y = backends.empty_map((batch, maps + len(w_cheap), height, width), x.dtype)
    primary = backends.call("conv2d", x, w_primary, None, geometry, out=y[:, :maps])
    backends.call("depthwise_conv2d", primary, w_cheap, None, _cheap(geometry, w_cheap), out=y[:, maps:])
    return y[:, :kept]


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

    Examples
    --------
    >>> import numpy as np
    >>> x, one = np.full((1, 1, 1, 1), 2.0), np.ones((1, 1, 1, 1))
    >>> dx, dw_primary, dw_cheap = ghost_conv2d_backward(np.ones((1, 2, 1, 1)), x, one, 10 * one)
    >>> dx.item(), dw_primary.item(), dw_cheap.item()
    (11.0, 22.0, 2.0)
    """
    kept = _check(w_primary, w_cheap, out_channels)
    geometry = Conv2dGeometry.of(
        check_array("x", x, "NCHW"),
        w_primary.shape,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    batch, maps, height, width = geometry.y_shape
    for name, array in (("dy", dy), ("y", dy if y is None else y)):
        check_shape(name, array, (batch, kept, height, width), "that of the output")
    dprimary, dw_cheap = dy, None
    if w_cheap is not None:
        primary = backends.call("conv2d", x, w_primary, None, geometry) if y is None else y[:, :maps]
        dghosts = dy[:, maps:]
        if kept < maps + len(w_cheap):
            dghosts = np.zeros((batch, len(w_cheap), height, width), dy.dtype)
            dghosts[:, : kept - maps] = dy[:, maps:]
        cheap = _cheap(geometry, w_cheap)
        dw_cheap = backends.call("depthwise_conv2d_weight_grad", dghosts, primary, cheap)
        dprimary = backends.call("depthwise_conv2d_input_grad", dghosts, w_cheap, cheap)
        dprimary = backends.accumulate(dprimary, dy[:, :maps])
    dx = backends.call("conv2d_input_grad", dprimary, w_primary, geometry)
    dw_primary = backends.call("conv2d_weight_grad", dprimary, x, geometry)
    return dx, dw_primary, dw_cheap


def _cheap(primary: Conv2dGeometry, w_cheap: Array) -> Conv2dGeometry:
    """The geometry of the cheap operation on the primary maps."""
    return Conv2dGeometry.of_depthwise(primary.y_shape, w_cheap.shape, padding="same")


def _check(w_primary: Array, w_cheap: Array | None, out_channels: int | None) -> int:
    """The output's channels, once the two kernels and the cut are known to belong together."""
    maps = check_array("w_primary", w_primary, "OCHW")[0]
    ghosts = 0
    if w_cheap is not None:
        w_cheap_shape = check_array("w_cheap", w_cheap, "OCHW")
        ghosts = w_cheap_shape[0]
        if w_cheap_shape[1] != 1 or ghosts % maps:
            raise ValueError(
                f"w_cheap must have the shape (m * (ratio - 1), 1, dh, dw) with m = {maps} primary maps, got {w_cheap_shape}"
            )
    if out_channels is None:
        return maps + ghosts
    out_channels = integer("out_channels", out_channels, minimum=1)
    ratio = 1 + ghosts // maps
    if ghost_channels(out_channels, ratio)[0] != maps:
        raise ValueError(
            f"out_channels must be in [{(maps - 1) * ratio + 1}, {maps * ratio}] for {maps} primary maps at ratio {ratio}, "
            f"got out_channels={out_channels}"
        )
    return out_channels
