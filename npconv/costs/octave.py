"""The cost of octave convolutions: the sum of their paths, each pooled, convolved and up-sampled, where two meet added."""

from __future__ import annotations

from typing import Literal

from npconv.costs.composites import octave_calls, total
from npconv.costs.cost import Cost, Direction, Shape
from npconv.geometry import (
    Conv2dGeometry,
    IntOrPair,
    OctaveGeometry,
    OctaveWeight,
    Padding,
    check_shuffle_groups,
    octave_channels,
)


def octave_conv2d(
    x_shape: Shape,
    w_shape: Shape,
    *,
    alpha_in: float,
    alpha_out: float,
    bias: bool = False,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    stride_mode: Literal["pool", "conv"] = "pool",
    direction: Direction = "forward",
    count_padding: bool = True,
    itemsize: int = 4,
) -> Cost:
    """The octave convolution that replaces a standard one of x (N, C, H, W) with w (O, C / groups, kh, kw).

    Of C channels int(alpha_in * C) are low, at half the size, and of O int(alpha_out * O). The cost is that of the up to
    four convolutions between them, with the traffic of pooling, of up-sampling and of adding where two paths meet. The
    parameters are those of the standard convolution, for every alpha.

    Parameters
    ----------
    x_shape, w_shape : (N, C, H, W), (O, C / groups, kh, kw)
    alpha_in, alpha_out : float in [0, 1]
    stride_mode : "pool" or "conv"
        As in `npconv.octave_conv2d`.
    bias, stride, padding, dilation, groups, direction, count_padding, itemsize
        As in `npconv.costs.conv2d`.

    Returns
    -------
    Cost

    Raises
    ------
    TypeError, ValueError
        As by `npconv.costs.conv2d`; an alpha outside of [0, 1], groups that do not divide a frequency's channels.

    Notes
    -----
    Drop an Octave (arXiv 1904.05049), sections 3.2 and 3.3.

    Examples
    --------
    >>> standard, half = {"alpha_in": 0, "alpha_out": 0}, {"alpha_in": 0.5, "alpha_out": 0.5}
    >>> shapes = (1, 8, 4, 4), (8, 8, 3, 3)
    >>> octave_conv2d(*shapes, padding=1, **half).macs / octave_conv2d(*shapes, padding=1, **standard).macs
    0.4375
    """
    standard = Conv2dGeometry.of(x_shape, w_shape, stride=stride, padding=padding, dilation=dilation, groups=groups)
    kernel = standard.kernel_height, standard.kernel_width
    in_channels = octave_channels(standard.in_channels, alpha_in)
    out_channels = octave_channels(standard.out_channels, alpha_out)
    for channels in (*in_channels, *out_channels):  # every path has the groups
        check_shuffle_groups(channels, groups)
    kernels = {
        source + target: (outputs, inputs // groups, *kernel)
        for source, inputs in zip("hl", in_channels, strict=True)
        for target, outputs in zip("hl", out_channels, strict=True)
        if inputs and outputs
    }
    geometry = OctaveGeometry.of(
        _shapes(standard.x_shape, in_channels),
        tuple(kernels.get(path, ()) for path in OctaveWeight._fields),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        stride_mode=stride_mode,
    )
    return total(octave_calls(geometry, bias, direction, count_padding, itemsize))


def octave_depthwise_conv2d(
    x_shape: Shape,
    w_shape: Shape,
    *,
    alpha: float,
    bias: bool = False,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    stride_mode: Literal["pool", "conv"] = "pool",
    direction: Direction = "forward",
    count_padding: bool = True,
    itemsize: int = 4,
) -> Cost:
    """The octave convolution that replaces a depthwise one of x (N, C, H, W) with w (C * m, 1, kh, kw).

    Every channel stays in its frequency.

    Parameters
    ----------
    x_shape, w_shape : (N, C, H, W), (C * m, 1, kh, kw)
    alpha : float in [0, 1]
        int(alpha * C) channels are low, at half the size.
    stride_mode : "pool" or "conv"
        As in `npconv.octave_conv2d`.
    bias, stride, padding, dilation, direction, count_padding, itemsize
        As in `npconv.costs.conv2d`.

    Returns
    -------
    Cost

    Raises
    ------
    TypeError, ValueError
        As by `npconv.costs.depthwise_conv2d`; an alpha outside of [0, 1].

    Notes
    -----
    Drop an Octave (arXiv 1904.05049), section 3.3.

    Examples
    --------
    >>> octave_depthwise_conv2d((1, 8, 4, 4), (8, 1, 3, 3), alpha=0.5, padding=1).macs  # (4*16 + 4*4) * 9
    720
    """
    standard = Conv2dGeometry.of_depthwise(x_shape, w_shape, stride=stride, padding=padding, dilation=dilation)
    kernel = standard.kernel_height, standard.kernel_width
    channels = octave_channels(standard.in_channels, alpha)
    multiplier = standard.out_channels_per_group
    kernels = {
        path: (number * multiplier, 1, *kernel) for path, number in zip(("hh", "ll"), channels, strict=True) if number
    }
    geometry = OctaveGeometry.of(
        _shapes(standard.x_shape, channels),
        tuple(kernels.get(path, ()) for path in OctaveWeight._fields),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=None,
        stride_mode=stride_mode,
    )
    return total(octave_calls(geometry, bias, direction, count_padding, itemsize))


def _shapes(x_shape: tuple[int, ...], channels: tuple[int, int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The two maps of x, with so many channels; () where there are none."""
    batch, _, height, width = x_shape
    sizes = (height, width), (-(-height // 2), -(-width // 2))
    high, low = ((batch, number, *size) if number else () for number, size in zip(channels, sizes, strict=True))
    return high, low
