"""The cost of octave convolutions: the sum of their paths, each pooled, convolved and up-sampled, where two meet added."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

from npconv.costs.cost import Cost, Direction, Shape, convolution_cost, map_cost, traffic
from npconv.costs.maps import add
from npconv.geometry import (
    Conv2dGeometry,
    IntOrPair,
    OctavePath,
    Padding,
    Pool2dGeometry,
    UpsampleGeometry,
    check_shuffle_groups,
    octave_channels,
    octave_joints,
    octave_paths,
    octave_pooling,
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
    parameters are those of the standard convolution, for every alpha. The other arguments are those of `conv2d`, and
    `stride_mode` that of `npconv.octave_conv2d`. Drop an Octave (arXiv 1904.05049), sections 3.2 and 3.3.

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
    steps = _octave_steps(
        standard.x_shape,
        in_channels,
        {
            source + target: (outputs, inputs // groups, *kernel)
            for source, inputs in zip("hl", in_channels, strict=True)
            for target, outputs in zip("hl", out_channels, strict=True)
            if inputs and outputs
        },
        partial(Conv2dGeometry.of, padding=padding, dilation=dilation, groups=groups),
        stride,
        stride_mode,
    )
    return _sum_of_steps(steps, bias, direction, count_padding, itemsize)


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

    Every channel stays in its frequency. The other arguments are those of `octave_conv2d`.
    Drop an Octave (arXiv 1904.05049), section 3.3.

    >>> octave_depthwise_conv2d((1, 8, 4, 4), (8, 1, 3, 3), alpha=0.5, padding=1).macs  # (4*16 + 4*4) * 9
    720
    """
    standard = Conv2dGeometry.of_depthwise(x_shape, w_shape, stride=stride, padding=padding, dilation=dilation)
    kernel = standard.kernel_height, standard.kernel_width
    channels = octave_channels(standard.in_channels, alpha)
    multiplier = standard.out_channels_per_group
    steps = _octave_steps(
        standard.x_shape,
        channels,
        {
            path: (number * multiplier, 1, *kernel)
            for path, number in zip(("hh", "ll"), channels, strict=True)
            if number
        },
        partial(Conv2dGeometry.of_depthwise, padding=padding, dilation=dilation),
        stride,
        stride_mode,
    )
    return _sum_of_steps(steps, bias, direction, count_padding, itemsize)


class _Step(NamedTuple):
    """A path of an octave convolution with the sizes of its three parts."""

    path: OctavePath
    pool: Pool2dGeometry
    convolution: Conv2dGeometry
    upsample: UpsampleGeometry


def _octave_steps(
    x_shape: tuple[int, ...],
    in_channels: tuple[int, int],
    w_shapes: dict[str, Shape],
    convolution: Callable[..., Conv2dGeometry],
    stride: IntOrPair,
    stride_mode: str,
) -> list[_Step]:
    """The paths whose kernels are `w_shapes`, by name, once their maps are known to fit together."""
    paths, strides = octave_paths(stride, stride_mode)
    batch, _, height, width = x_shape
    sizes = (height, width), (-(-height // 2), -(-width // 2))
    out_sizes: dict[int, tuple[int, int]] = {}
    steps = []
    for path in paths:
        if path.name not in w_shapes:
            continue
        _, pool = octave_pooling(path, w_shapes, (batch, in_channels[path.source], *sizes[path.source]))
        geometry = convolution(pool.y_shape, w_shapes[path.name], stride=strides)
        full = geometry.out_height * path.repeat, geometry.out_width * path.repeat
        size = out_sizes.setdefault(path.target, full)
        steps.append(_Step(path, pool, geometry, UpsampleGeometry.of(geometry.y_shape, path.repeat, size)))
    if len(out_sizes) == 2 and out_sizes[1] != tuple(-(-length // 2) for length in out_sizes[0]):
        raise ValueError(
            f"padding must keep the outputs an octave apart, got a high output of {out_sizes[0]} and a low one of {out_sizes[1]}"
        )
    return steps


def _sum_of_steps(steps: list[_Step], bias: bool, direction: Direction, count_padding: bool, itemsize: int) -> Cost:
    """Steps that make one map at its own resolution, or backwards read one, are one convolution; more are added to it."""
    forward, total = direction == "forward", Cost()
    for path, pool, _, upsample in steps:
        if path.pool > 1:
            total += map_cost(pool.x_shape, pool.y_shape, direction, itemsize)
        if path.repeat > 1:
            total += map_cost(upsample.x_shape, upsample.y_shape, direction, itemsize)
    if bias and direction != "input_grad":  # one per output
        for channels in {step.path.target: step.convolution.out_channels for step in steps}.values():
            total += traffic(0, 0, channels, itemsize, parameters=channels if forward else 0)
    ends = [(path.target, path.repeat) if forward else (path.source, path.pool) for path, *_ in steps]
    joints = octave_joints(
        [(*end, step.convolution) for end, step in zip(ends, steps, strict=True)],
        "in_channels_per_group" if forward else "out_channels_per_group",
    )
    met: set[int] = set()
    for places, convolution in joints:
        total += convolution_cost(convolution, False, direction, count_padding, itemsize)
        step, end = steps[places[0]], ends[places[0]][0]
        if end in met and direction != "weight_grad":
            total += add(step.upsample.y_shape if forward else step.pool.x_shape, itemsize=itemsize)
        met.add(end)
    return total
