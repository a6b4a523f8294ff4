"""The cost of operators without multiply-accumulates, which is the maps that they read and write."""

from __future__ import annotations

from math import prod

from npconv.costs.cost import Cost, Direction, Shape, check_options, map_cost, traffic
from npconv.geometry import (
    IntOrPair,
    Padding,
    Pool2dGeometry,
    UpsampleGeometry,
    check_shuffle_groups,
    flag,
    integer,
    is_sequence,
    shape,
    shown,
)


def avg_pool2d(
    x_shape: Shape,
    kernel: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    direction: Direction = "forward",
    itemsize: int = 4,
) -> Cost:
    """The traffic of `npconv.avg_pool2d`: x is read and y written, or dy read and dx written.

    Parameters
    ----------
    x_shape : (N, C, H, W)
    kernel, stride, padding, ceil_mode
        As in `npconv.avg_pool2d`.
    direction, itemsize
        See the top of `npconv.costs`.

    Returns
    -------
    Cost

    Raises
    ------
    TypeError, ValueError
        As by `npconv.avg_pool2d`; no such direction, an itemsize below 1.

    Examples
    --------
    >>> avg_pool2d((1, 1, 4, 4), 2)
    Cost(macs=0, parameters=0, elements_in=16, elements_out=4, bytes_moved=80)
    """
    geometry = Pool2dGeometry.of(x_shape, kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)
    return map_cost(geometry.x_shape, geometry.y_shape, direction, itemsize)


def max_pool2d(
    x_shape: Shape,
    kernel: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    direction: Direction = "forward",
    itemsize: int = 4,
) -> Cost:
    """The traffic of `npconv.max_pool2d`; its gradient reads x again, to find each window's largest pixel.

    Parameters
    ----------
    x_shape : (N, C, H, W)
    kernel, stride, padding, ceil_mode
        As in `npconv.max_pool2d`.
    direction, itemsize
        See the top of `npconv.costs`.

    Returns
    -------
    Cost

    Raises
    ------
    TypeError, ValueError
        As by `npconv.max_pool2d`; no such direction, an itemsize below 1.

    Examples
    --------
    >>> max_pool2d((1, 1, 4, 4), 2, direction="input_grad").elements_in
    20
    """
    geometry = Pool2dGeometry.of(x_shape, kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)
    return map_cost(geometry.x_shape, geometry.y_shape, direction, itemsize, grad_reads_x=True)


def global_avg_pool2d(x_shape: Shape, *, direction: Direction = "forward", itemsize: int = 4) -> Cost:
    """The traffic of `npconv.global_avg_pool2d`.

    Parameters
    ----------
    x_shape : (N, C, H, W)
    direction, itemsize
        See the top of `npconv.costs`.

    Returns
    -------
    Cost

    Raises
    ------
    TypeError, ValueError
        No such shape or direction, an itemsize below 1.

    Examples
    --------
    >>> global_avg_pool2d((1, 8, 7, 7)).elements_out
    8
    """
    batch, channels, height, width = shape("x", x_shape, "NCHW")
    return map_cost((batch, channels, height, width), (batch, channels, 1, 1), direction, itemsize)


def upsample_nearest2d(
    x_shape: Shape,
    scale: IntOrPair = 2,
    *,
    size: IntOrPair | None = None,
    direction: Direction = "forward",
    itemsize: int = 4,
) -> Cost:
    """The traffic of `npconv.upsample_nearest2d`.

    Parameters
    ----------
    x_shape : (N, C, H, W)
    scale, size
        As in `npconv.upsample_nearest2d`.
    direction, itemsize
        See the top of `npconv.costs`.

    Returns
    -------
    Cost

    Raises
    ------
    TypeError, ValueError
        As by `npconv.upsample_nearest2d`; no such direction, an itemsize below 1.

    Examples
    --------
    >>> upsample_nearest2d((1, 1, 2, 2), 2).elements_out
    16
    """
    geometry = UpsampleGeometry.of(x_shape, scale, size)
    return map_cost(geometry.x_shape, geometry.y_shape, direction, itemsize)


def channel_shuffle(x_shape: Shape, groups: int, *, direction: Direction = "forward", itemsize: int = 4) -> Cost:
    """The traffic of `npconv.channel_shuffle`, and of its inverse: every number is read and written.

    Parameters
    ----------
    x_shape : (N, C, H, W)
    groups : int
        Divides C.
    direction, itemsize
        See the top of `npconv.costs`.

    Returns
    -------
    Cost

    Raises
    ------
    TypeError, ValueError
        As by `npconv.channel_shuffle`; no such direction, an itemsize below 1.

    Examples
    --------
    >>> channel_shuffle((1, 6, 1, 1), groups=2).bytes_moved
    48
    """
    x_sizes = shape("x", x_shape, "NCHW")
    check_shuffle_groups(x_sizes[1], groups)
    return map_cost(x_sizes, x_sizes, direction, itemsize)


def activation(x_shape: Shape, *, direction: Direction = "forward", itemsize: int = 4) -> Cost:
    """The traffic of `npconv.relu`, `npconv.relu6`, `npconv.hard_sigmoid` and `npconv.hard_swish`; their gradients read dy and x.

    Parameters
    ----------
    x_shape : sequence of int
        With any number of axes.
    direction, itemsize
        See the top of `npconv.costs`.

    Returns
    -------
    Cost

    Raises
    ------
    TypeError, ValueError
        No such shape or direction, an itemsize below 1.

    Examples
    --------
    >>> activation((2, 3), direction="input_grad").bytes_moved
    72
    """
    x_sizes = _any_shape(x_shape)
    return map_cost(x_sizes, x_sizes, direction, itemsize, grad_reads_x=True)


def add(x_shape: Shape, *, direction: Direction = "forward", itemsize: int = 4) -> Cost:
    """The traffic of a sum of two maps of one shape, as in `npconv.nn.Residual`; its gradient is dy for both, which moves nothing.

    Parameters
    ----------
    x_shape : sequence of int
        With any number of axes.
    direction, itemsize
        See the top of `npconv.costs`.

    Returns
    -------
    Cost

    Raises
    ------
    TypeError, ValueError
        No such shape or direction, an itemsize below 1.

    Notes
    -----
    The sum at the end of a residual unit (arXiv 1512.03385).

    Examples
    --------
    >>> add((2, 3)).bytes_moved
    72
    """
    size = prod(_any_shape(x_shape))
    check_options(direction, itemsize)
    return traffic(2 * size, size, 0, itemsize) if direction == "forward" else Cost()


def batch_norm2d(
    x_shape: Shape, *, batch_statistics: bool = False, direction: Direction = "forward", itemsize: int = 4
) -> Cost:
    """The traffic of `npconv.batch_norm2d` with fixed statistics, or with the batch's own; gamma and beta are parameters.

    Each array counts once: the batch's own statistics, which are written, take no more reading of x, a channel of which
    stays in the cache. One pass over dy and x gives all gradients: the input gradient has its traffic, the weight gradient
    only what it writes, dgamma and dbeta (fixed: dmean and dvar too).

    Parameters
    ----------
    x_shape : (N, C, H, W)
    batch_statistics : bool
        Whether mean and variance are the batch's own, so that they have no gradients.
    direction, itemsize
        See the top of `npconv.costs`.

    Returns
    -------
    Cost

    Raises
    ------
    TypeError, ValueError
        No such shape or direction, an itemsize below 1.

    Examples
    --------
    >>> batch_norm2d((1, 8, 2, 2))
    Cost(macs=0, parameters=16, elements_in=32, elements_out=32, bytes_moved=384)
    """
    x_sizes = shape("x", x_shape, "NCHW")
    size, channels = prod(x_sizes), x_sizes[1]
    check_options(direction, itemsize)
    if direction == "forward":
        return traffic(size, size, 4 * channels, itemsize, parameters=2 * channels)
    if direction == "input_grad":
        return traffic(2 * size, size, 3 * channels, itemsize)
    return traffic(0, 0, (2 if flag("batch_statistics", batch_statistics) else 4) * channels, itemsize)


def _any_shape(x_shape: Shape) -> tuple[int, ...]:
    """A shape with any number of axes, any of which may be empty."""
    if not is_sequence(x_shape):
        raise TypeError(f"x must be a tuple of ints, got {shown(x_shape)}")
    return tuple(integer(f"x[{axis}]", size, minimum=0) for axis, size in enumerate(x_shape))
