"""Ghost convolution: primary = conv2d(x, w_primary), ghosts = depthwise_conv2d(primary, w_cheap), y = both one after the other, cut."""

from __future__ import annotations

import numpy as np

from npconv.geometry import Array, GhostGeometry
from npconv.reference.depthwise import depthwise_conv2d, depthwise_conv2d_input_grad, depthwise_conv2d_weight_grad
from npconv.reference.standard import conv2d, conv2d_input_grad, conv2d_weight_grad


def ghost_conv2d(x: Array, w_primary: Array, w_cheap: Array | None, geometry: GhostGeometry) -> Array:
    """All primary maps come first, then the s - 1 ghosts of each, of which the last may be cut."""
    primary = conv2d(x, w_primary, None, None, geometry.primary)
    if w_cheap is None or geometry.cheap is None:
        return primary
    ghosts = depthwise_conv2d(primary, w_cheap, None, None, geometry.cheap)
    return np.concatenate([primary, ghosts], axis=1)[:, : geometry.out_channels]


def ghost_conv2d_grad(
    dy: Array, x: Array, w_primary: Array, w_cheap: Array | None, y: Array | None, geometry: GhostGeometry
) -> tuple[Array, Array, Array | None]:
    """(dx, dw_primary, dw_cheap). A primary map is read by the output and by its ghosts: its gradient is the sum of both.

    Ghosts that were cut have the gradient 0. The primary maps are those of y, the output, where it is given.
    """
    maps = geometry.primary.out_channels
    dprimary, dw_cheap = dy[:, :maps], None
    if w_cheap is not None and geometry.cheap is not None:
        primary = conv2d(x, w_primary, None, None, geometry.primary) if y is None else y[:, :maps]
        cut = maps + len(w_cheap) - geometry.out_channels
        dghosts = np.pad(dy[:, maps:], ((0, 0), (0, cut), (0, 0), (0, 0)))
        dw_cheap = depthwise_conv2d_weight_grad(dghosts, primary, geometry.cheap)
        dprimary = dprimary + depthwise_conv2d_input_grad(dghosts, w_cheap, geometry.cheap)
    dx = conv2d_input_grad(dprimary, w_primary, geometry.primary)
    return dx, conv2d_weight_grad(dprimary, x, geometry.primary), dw_cheap
