"""Ghost convolution: both halves are written where they belong in y, and read there, for each is a slice of its channels."""

from __future__ import annotations

from npconv.geometry import Array, GhostGeometry
from npconv.kernels.branches import accumulate
from npconv.kernels.orders import of_channels_last_maps
from npconv.kernels.standard import conv2d, conv2d_input_grad, conv2d_into, conv2d_weight_grad
from npconv.memory import empty_channels_last


@of_channels_last_maps
def ghost_conv2d(x: Array, w_primary: Array, w_cheap: Array | None, geometry: GhostGeometry) -> Array:
    """All primary maps come first, then the s - 1 ghosts of each, of which the last may be cut."""
    if w_cheap is None or geometry.cheap is None:
        return conv2d(x, w_primary, None, None, geometry.primary)
    batch, maps, height, width = geometry.primary.y_shape
    y = empty_channels_last((batch, maps + len(w_cheap), height, width), x.dtype)
    conv2d_into(x, w_primary, None, None, geometry.primary, y[:, :maps])
    conv2d_into(y[:, :maps], w_cheap, None, None, geometry.cheap, y[:, maps:])
    return y[:, : geometry.out_channels]


@of_channels_last_maps
def ghost_conv2d_grad(
    dy: Array, x: Array, w_primary: Array, w_cheap: Array | None, y: Array | None, geometry: GhostGeometry
) -> tuple[Array, Array, Array | None]:
    """(dx, dw_primary, dw_cheap). The gradient of the ghosts is copied only where some were cut."""
    if w_cheap is None or geometry.cheap is None:
        return conv2d_input_grad(dy, w_primary, geometry.primary), conv2d_weight_grad(dy, x, geometry.primary), None
    maps = geometry.primary.out_channels
    primary = conv2d(x, w_primary, None, None, geometry.primary) if y is None else y[:, :maps]
    dghosts = dy[:, maps:]
    if dghosts.shape[1] < len(w_cheap):
        dghosts = empty_channels_last(geometry.cheap.y_shape, dy.dtype)
        dghosts[:, : dy.shape[1] - maps] = dy[:, maps:]
        dghosts[:, dy.shape[1] - maps :] = 0
    dw_cheap = conv2d_weight_grad(dghosts, primary, geometry.cheap)
    dprimary = conv2d_input_grad(dghosts, w_cheap, geometry.cheap)
    accumulate(dprimary, dy[:, :maps])
    dx = conv2d_input_grad(dprimary, w_primary, geometry.primary)
    return dx, conv2d_weight_grad(dprimary, x, geometry.primary), dw_cheap
