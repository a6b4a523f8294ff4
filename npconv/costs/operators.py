"""The cost of every operator in closed form: each function takes what the operator takes, with shapes in the place of arrays."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Literal, NamedTuple

from npconv.costs.cost import Cost, Direction, Shape, bilinear_cost, check_options, convolution_cost, map_cost, traffic
from npconv.geometry import (
    Conv2dGeometry,
    IntOrPair,
    OctavePath,
    Padding,
    Pool2dGeometry,
    UpsampleGeometry,
    check_shuffle_groups,
    ghost_channels,
    integer,
    octave_channels,
    octave_joints,
    octave_paths,
    octave_pooling,
    pair,
    shape,
)

# --- convolutions ------------------------------------------------------------------------------------------------


def conv2d(
    x_shape: Shape,
    w_shape: Shape,
    *,
    bias: bool = False,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    direction: Direction = "forward",
    count_padding: bool = True,
    itemsize: int = 4,
) -> Cost:
    """Standard or group convolution: ``N * O * P * Q * (C / groups) * kh * kw`` multiply-accumulates.

    Parameters
    ----------
    x_shape, w_shape : (N, C, H, W), (O, C / groups, kh, kw)
    stride, padding, dilation, groups
        As in `npconv.conv2d`; errors too.
    bias, direction, count_padding, itemsize
        See the top of `npconv.costs`.

    Notes
    -----
    Without the padding's taps, ``P * kh`` becomes the number of pairs (p, r) for which row ``p*stride + r*dilation - pad``
    is in the image, and ``Q * kw`` likewise. MobileNets (arXiv 1704.04861), section 3.1, equation 2.

    Examples
    --------
    >>> conv2d((1, 512, 14, 14), (512, 512, 3, 3), padding=1).macs  # MobileNets, table 3: 462 million
    462422016
    >>> conv2d((1, 1, 3, 3), (1, 1, 3, 3), padding=1, count_padding=False).macs  # (2 + 3 + 2)**2
    49
    """
    geometry = Conv2dGeometry.of(x_shape, w_shape, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return convolution_cost(geometry, bias, direction, count_padding, itemsize)


def depthwise_conv2d(
    x_shape: Shape,
    w_shape: Shape,
    *,
    bias: bool = False,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    direction: Direction = "forward",
    count_padding: bool = True,
    itemsize: int = 4,
) -> Cost:
    """Depthwise convolution of x (N, C, H, W) with w (C * m, 1, kh, kw): ``N * C * m * P * Q * kh * kw``.

    The other arguments are those of `conv2d`. MobileNets (arXiv 1704.04861), section 3.1, equation 4.

    >>> depthwise_conv2d((1, 512, 14, 14), (512, 1, 3, 3), padding=1).macs
    903168
    """
    geometry = Conv2dGeometry.of_depthwise(x_shape, w_shape, stride=stride, padding=padding, dilation=dilation)
    return convolution_cost(geometry, bias, direction, count_padding, itemsize)


def pointwise_conv2d(
    x_shape: Shape,
    w_shape: Shape,
    *,
    bias: bool = False,
    stride: IntOrPair = 1,
    groups: int = 1,
    direction: Direction = "forward",
    itemsize: int = 4,
) -> Cost:
    """Pointwise convolution of x (N, C, H, W) with w (O, C / groups, 1, 1): ``N * O * P * Q * C / groups``.

    The other arguments are those of `conv2d`.

    >>> pointwise_conv2d((1, 512, 14, 14), (512, 512, 1, 1)).macs
    51380224
    """
    w_sizes = shape("w", w_shape, "OCHW")
    if w_sizes[2:] != (1, 1):
        raise ValueError(f"w must have a kernel of 1 x 1, shape (O, C / groups, 1, 1), got {w_sizes}")
    geometry = Conv2dGeometry.of(x_shape, w_sizes, stride=stride, groups=groups)
    return convolution_cost(geometry, bias, direction, True, itemsize)


def linear(
    x_shape: Shape, w_shape: Shape, *, bias: bool = False, direction: Direction = "forward", itemsize: int = 4
) -> Cost:
    """A fully connected layer on x (N, C) with w (O, C): ``N * C * O``; see `conv2d` for the other arguments.

    >>> linear((1, 1024), (1000, 1024), bias=True)
    Cost(macs=1024000, parameters=1025000, elements_in=1024, elements_out=1000, bytes_moved=4108096)
    """
    batch, in_features = shape("x", x_shape, "NC")
    out_features, w_features = shape("w", w_shape, "OC")
    if w_features != in_features:
        raise ValueError(f"w must have the {in_features} features of x on axis 1, got {w_features} in {tuple(w_shape)}")
    return bilinear_cost(
        macs=batch * in_features * out_features,
        x=batch * in_features,
        w=out_features * in_features,
        b=out_features if bias else 0,
        y=batch * out_features,
        direction=direction,
        itemsize=itemsize,
    )


def separable_conv2d(
    x_shape: Shape,
    w_shape: Shape,
    *,
    multiplier: int = 1,
    bias: bool = False,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    direction: Direction = "forward",
    count_padding: bool = True,
    itemsize: int = 4,
) -> Cost:
    """The depthwise separable convolution that replaces a standard one of w (O, C, kh, kw): depthwise, then pointwise.

    Its kernels are (C * multiplier, 1, kh, kw) and (O, C * multiplier, 1, 1). The other arguments are those of `conv2d`.
    MobileNets (arXiv 1704.04861), section 3.1, equation 5.

    >>> separable_conv2d((1, 512, 14, 14), (512, 512, 3, 3), padding=1)[:2]  # table 3: 52.3 and 0.27 million
    (52283392, 266752)
    """
    standard = Conv2dGeometry.of(x_shape, w_shape, stride=stride, padding=padding, dilation=dilation)
    filters = standard.in_channels * integer("multiplier", multiplier, minimum=1)
    kernel = standard.kernel_height, standard.kernel_width
    depthwise = Conv2dGeometry.of_depthwise(
        x_shape, (filters, 1, *kernel), stride=stride, padding=padding, dilation=dilation
    )
    pointwise = Conv2dGeometry.of(depthwise.y_shape, (standard.out_channels, filters, 1, 1))
    return convolution_cost(depthwise, False, direction, count_padding, itemsize) + convolution_cost(
        pointwise, bias, direction, count_padding, itemsize
    )


def ghost_conv2d(
    x_shape: Shape,
    w_shape: Shape,
    *,
    ratio: int = 2,
    cheap_kernel: IntOrPair = 3,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    direction: Direction = "forward",
    count_padding: bool = True,
    itemsize: int = 4,
) -> Cost:
    """The ghost convolution that replaces a standard one of w (n, C / groups, kh, kw), the ratio s being `ratio`.

    m = ceil(n / s) primary maps cost ``N * m * P * Q * (C / groups) * kh * kw``; their m * (s - 1) ghosts, filtered d x d
    with d = `cheap_kernel`, cost ``N * m * (s - 1) * P * Q * d * d``, those that are cut at the end included. The other
    arguments are those of `conv2d`. GhostNet (arXiv 1911.11907), section 3.1.

    >>> ghost_conv2d((1, 64, 8, 8), (32, 64, 3, 3), ratio=2, padding=1).macs  # 64 * (16*64*9 + 16*9)
    599040
    """
    standard = Conv2dGeometry.of(x_shape, w_shape, stride=stride, padding=padding, dilation=dilation, groups=groups)
    maps, ghosts = ghost_channels(standard.out_channels, ratio)
    primary = Conv2dGeometry.of(
        x_shape, (maps, *standard.w_shape[1:]), stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    total = convolution_cost(primary, False, direction, count_padding, itemsize)
    if ghosts:
        cheap_shape = (ghosts, 1, *pair("cheap_kernel", cheap_kernel, minimum=1))
        cheap = Conv2dGeometry.of_depthwise(primary.y_shape, cheap_shape, padding="same")
        total += convolution_cost(cheap, False, direction, count_padding, itemsize)
        if direction == "input_grad":  # a primary map is read by the output and by its ghosts
            total += add(primary.y_shape, itemsize=itemsize)
    return total


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


# --- operators without multiply-accumulates ----------------------------------------------------------------------


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

    >>> max_pool2d((1, 1, 4, 4), 2, direction="input_grad").elements_in
    20
    """
    geometry = Pool2dGeometry.of(x_shape, kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)
    return map_cost(geometry.x_shape, geometry.y_shape, direction, itemsize, grad_reads_x=True)


def global_avg_pool2d(x_shape: Shape, *, direction: Direction = "forward", itemsize: int = 4) -> Cost:
    """The traffic of `npconv.global_avg_pool2d`.

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

    >>> upsample_nearest2d((1, 1, 2, 2), 2).elements_out
    16
    """
    geometry = UpsampleGeometry.of(x_shape, scale, size)
    return map_cost(geometry.x_shape, geometry.y_shape, direction, itemsize)


def channel_shuffle(x_shape: Shape, groups: int, *, direction: Direction = "forward", itemsize: int = 4) -> Cost:
    """The traffic of `npconv.channel_shuffle`, and of its inverse: every number is read and written.

    >>> channel_shuffle((1, 6, 1, 1), groups=2).bytes_moved
    48
    """
    x_sizes = shape("x", x_shape, "NCHW")
    check_shuffle_groups(x_sizes[1], groups)
    return map_cost(x_sizes, x_sizes, direction, itemsize)


def activation(x_shape: Shape, *, direction: Direction = "forward", itemsize: int = 4) -> Cost:
    """The traffic of ReLU, ReLU6, hard sigmoid and hard swish on x of any shape; their gradients read dy and x.

    >>> activation((2, 3), direction="input_grad").bytes_moved
    72
    """
    x_sizes = _any_shape(x_shape)
    return map_cost(x_sizes, x_sizes, direction, itemsize, grad_reads_x=True)


def add(x_shape: Shape, *, direction: Direction = "forward", itemsize: int = 4) -> Cost:
    """The traffic of a sum of two maps of one shape; its gradient is dy for both, which moves nothing.

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
    return traffic(0, 0, (2 if batch_statistics else 4) * channels, itemsize)


def _any_shape(x_shape: Shape) -> tuple[int, ...]:
    """A shape with any number of axes, any of which may be empty."""
    return tuple(integer(f"x[{axis}]", size, minimum=0) for axis, size in enumerate(x_shape))


# --- the paths of an octave convolution --------------------------------------------------------------------------


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
