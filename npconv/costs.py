"""Costs in closed form: multiply-accumulates, parameters and memory traffic of every operator, and the papers' ratios.

The cost of an operator is asked for as the operator is called, with shapes in the place of arrays:

    y    = npconv.conv2d(x, w, stride=2, padding=1)
    cost = costs.conv2d(x.shape, w.shape, stride=2, padding=1)  # from npconv import costs

`separable_conv2d`, `octave_conv2d` and `ghost_conv2d` take the shapes of the standard convolution that they replace and
the paper's own numbers (multiplier, alpha, ratio); they cost the sum of their parts. What all functions share:

direction : "forward", "input_grad" or "weight_grad"
    A convolution's three directions do the same products, each summed over other indices. Where an operator has no
    weights, its weight gradient costs nothing. Gradients of composites use the forward's intermediate maps, kept.
count_padding : bool
    The papers, and PyTorch, count every tap of every window (True). XLA leaves out the taps that fall on padding (False).
bias : bool
    One more parameter per output channel. Its additions are no multiply-accumulates.
itemsize : int
    Bytes per number: 4 for float32.

Pooling, batch norm, activations, shuffles, up-sampling and additions cost no multiply-accumulates, as in all four
papers, but they do move memory. `count` walks a whole model.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import prod
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np

from npconv import backends
from npconv.geometry import (
    Array,
    Conv2dGeometry,
    IntOrPair,
    Padding,
    Pool2dGeometry,
    UpsampleGeometry,
    check_shuffle_groups,
    fraction,
    ghost_channels,
    integer,
    octave_channels,
    pair,
    positive,
    shape,
)

Direction: TypeAlias = Literal["forward", "input_grad", "weight_grad"]
Shape: TypeAlias = Sequence[int]


class Cost(NamedTuple):
    """What some work costs; ``a + b`` is the cost of doing both, ``sum(costs, Cost())`` that of doing all.

    Attributes
    ----------
    macs : int
        Multiply-accumulates: products that are added up. What all four papers call Mult-Adds or FLOPs.
    parameters : int
        Numbers that are learned; counted in the forward direction only, so that a training step has them once.
    elements_in, elements_out : int
        Numbers in the maps that are read and written: inputs and outputs, and in the gradients theirs.
    bytes_moved : int
        Compulsory memory traffic: each array, weights included, is read or written once, and whole.

    >>> Cost(macs=10, bytes_moved=4) + Cost(macs=2, bytes_moved=4)
    Cost(macs=12, parameters=0, elements_in=0, elements_out=0, bytes_moved=8)
    """

    macs: int = 0
    parameters: int = 0
    elements_in: int = 0
    elements_out: int = 0
    bytes_moved: int = 0

    @property
    def flops(self) -> int:
        """Floating-point operations: 2 per multiply-accumulate."""
        return 2 * self.macs

    @property
    def arithmetic_intensity(self) -> float:
        """FLOPs per byte moved; 0 where nothing is moved."""
        return self.flops / self.bytes_moved if self.bytes_moved else 0.0

    def __add__(self, other: object) -> Cost:  # a sum of numbers, where a plain tuple would become longer
        if not isinstance(other, Cost):
            return NotImplemented
        return Cost(*(a + b for a, b in zip(self, other, strict=True)))


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
    return _convolution(geometry, bias, direction, count_padding, itemsize)


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
    return _convolution(geometry, bias, direction, count_padding, itemsize)


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
    return _convolution(geometry, bias, direction, True, itemsize)


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
    return _bilinear(
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
    return _convolution(depthwise, False, direction, count_padding, itemsize) + _convolution(
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
    total = _convolution(primary, False, direction, count_padding, itemsize)
    if ghosts:
        cheap_shape = (ghosts, 1, *pair("cheap_kernel", cheap_kernel, minimum=1))
        cheap = Conv2dGeometry.of_depthwise(primary.y_shape, cheap_shape, padding="same")
        total += _convolution(cheap, False, direction, count_padding, itemsize)
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
    paths = _octave_paths(
        standard.x_shape,
        in_channels,
        {
            (source, target): (out_channels[target], in_channels[source] // groups, *kernel)
            for source, target in ((0, 0), (0, 1), (1, 0), (1, 1))
            if in_channels[source] and out_channels[target]
        },
        partial(Conv2dGeometry.of, padding=padding, dilation=dilation, groups=groups),
        stride,
        stride_mode,
    )
    return _octave(paths, bias, direction, count_padding, itemsize)


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
    paths = _octave_paths(
        standard.x_shape,
        channels,
        {(i, i): (channels[i] * multiplier, 1, *kernel) for i in (0, 1) if channels[i]},
        partial(Conv2dGeometry.of_depthwise, padding=padding, dilation=dilation),
        stride,
        stride_mode,
    )
    return _octave(paths, bias, direction, count_padding, itemsize)


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
    return _map(geometry.x_shape, geometry.y_shape, direction, itemsize)


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
    return _map(geometry.x_shape, geometry.y_shape, direction, itemsize, grad_reads_x=True)


def global_avg_pool2d(x_shape: Shape, *, direction: Direction = "forward", itemsize: int = 4) -> Cost:
    """The traffic of `npconv.global_avg_pool2d`.

    >>> global_avg_pool2d((1, 8, 7, 7)).elements_out
    8
    """
    batch, channels, height, width = shape("x", x_shape, "NCHW")
    return _map((batch, channels, height, width), (batch, channels, 1, 1), direction, itemsize)


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
    return _map(geometry.x_shape, geometry.y_shape, direction, itemsize)


def channel_shuffle(x_shape: Shape, groups: int, *, direction: Direction = "forward", itemsize: int = 4) -> Cost:
    """The traffic of `npconv.channel_shuffle`, and of its inverse: every number is read and written.

    >>> channel_shuffle((1, 6, 1, 1), groups=2).bytes_moved
    48
    """
    x_sizes = shape("x", x_shape, "NCHW")
    check_shuffle_groups(x_sizes[1], groups)
    return _map(x_sizes, x_sizes, direction, itemsize)


def activation(x_shape: Shape, *, direction: Direction = "forward", itemsize: int = 4) -> Cost:
    """The traffic of ReLU, ReLU6, hard sigmoid and hard swish on x of any shape; their gradients read dy and x.

    >>> activation((2, 3), direction="input_grad").bytes_moved
    72
    """
    x_sizes = _any_shape(x_shape)
    return _map(x_sizes, x_sizes, direction, itemsize, grad_reads_x=True)


def add(x_shape: Shape, *, direction: Direction = "forward", itemsize: int = 4) -> Cost:
    """The traffic of a sum of two maps of one shape; its gradient is dy for both, which moves nothing.

    >>> add((2, 3)).bytes_moved
    72
    """
    size = prod(_any_shape(x_shape))
    _check(direction, itemsize)
    return _cost(2 * size, size, 0, itemsize) if direction == "forward" else Cost()


def batch_norm2d(
    x_shape: Shape, *, batch_statistics: bool = False, direction: Direction = "forward", itemsize: int = 4
) -> Cost:
    """The traffic of `npconv.batch_norm2d` with fixed statistics, or with the batch's own; gamma and beta are parameters.

    The batch's own statistics take one more reading of x. One pass over dy and x gives all gradients: the input
    gradient has its traffic, the weight gradient only what it writes, dgamma and dbeta (fixed: dmean and dvar too).

    >>> batch_norm2d((1, 8, 2, 2))
    Cost(macs=0, parameters=16, elements_in=32, elements_out=32, bytes_moved=384)
    """
    x_sizes = shape("x", x_shape, "NCHW")
    size, channels = prod(x_sizes), x_sizes[1]
    _check(direction, itemsize)
    if direction == "forward":
        normalised = _cost(size, size, 4 * channels, itemsize, parameters=2 * channels)
        return normalised + _cost(size, 0, 2 * channels, itemsize) if batch_statistics else normalised
    if direction == "input_grad":
        return _cost(2 * size, size, 3 * channels, itemsize)
    return _cost(0, 0, (2 if batch_statistics else 4) * channels, itemsize)


# --- the papers' ratios ------------------------------------------------------------------------------------------


def separable_ratio(out_channels: int, kernel: IntOrPair) -> float:
    """Separable over standard convolution, in multiply-accumulates: ``1/N + 1/Dk**2``, N being `out_channels`.

    Stride 1 or not: both have the same outputs. MobileNets (arXiv 1704.04861), section 3.1.

    >>> separable_ratio(512, 3)  # 8 to 9 times less
    0.1130642361111111
    """
    kernel_height, kernel_width = pair("kernel", kernel, minimum=1)
    return 1 / integer("out_channels", out_channels, minimum=1) + 1 / (kernel_height * kernel_width)


def separable_macs(
    in_channels: int, out_channels: int, kernel: int, size: int, *, alpha: float = 1.0, rho: float = 1.0
) -> float:
    """A separable layer under both multipliers: ``Dk**2 * aM * (rDf)**2 + aM * aN * (rDf)**2``.

    `alpha`, the width, scales the channels: the cost falls with about its square, exactly so in the pointwise part.
    `rho`, the resolution, scales the map's `size`: the cost falls with exactly its square. The formula rounds nothing, so
    the cost is a real number. MobileNets (arXiv 1704.04861), sections 3.3 and 3.4.

    >>> separable_macs(512, 512, 3, 14, alpha=0.75)  # table 3: 29.6 million
    29578752.0
    """
    m = integer("in_channels", in_channels, minimum=1) * positive("alpha", alpha)
    n = integer("out_channels", out_channels, minimum=1) * positive("alpha", alpha)
    pixels = (integer("size", size, minimum=1) * positive("rho", rho)) ** 2
    return (integer("kernel", kernel, minimum=1) ** 2 * m + m * n) * pixels


def ghost_speedup(in_channels: int, kernel: int, *, ratio: int = 2, cheap_kernel: int = 3) -> float:
    """r_s, standard over ghost convolution in multiply-accumulates: ``c*k*k / (c*k*k/s + (s-1)*d*d/s)``.

    c = `in_channels`, k = `kernel`, s = `ratio`, d = `cheap_kernel`; exact where s divides the output channels.
    GhostNet (arXiv 1911.11907), section 3.1.

    >>> ghost_speedup(64, 3, ratio=2, cheap_kernel=7)
    1.8432
    """
    standard = integer("in_channels", in_channels, minimum=1) * integer("kernel", kernel, minimum=1) ** 2
    s = integer("ratio", ratio, minimum=1)
    return s * standard / (standard + (s - 1) * integer("cheap_kernel", cheap_kernel, minimum=1) ** 2)


def ghost_compression(in_channels: int, kernel: int, *, ratio: int = 2, cheap_kernel: int = 3) -> float:
    """r_c, standard over ghost convolution in parameters: it equals `ghost_speedup`, since the map's size cancels there.

    >>> ghost_compression(64, 3, ratio=2, cheap_kernel=7)
    1.8432
    """
    return ghost_speedup(in_channels, kernel, ratio=ratio, cheap_kernel=cheap_kernel)


def ghost_speedup_approximation(in_channels: int, *, ratio: int = 2) -> float:
    """The paper's approximation of r_s and r_c, ``s*c / (s + c - 1)``: exact for d = k, and about s where s is far below c.

    >>> ghost_speedup_approximation(64, ratio=2)
    1.9692307692307693
    """
    c, s = integer("in_channels", in_channels, minimum=1), integer("ratio", ratio, minimum=1)
    return s * c / (s + c - 1)


def octave_cost_ratio(alpha_in: float, alpha_out: float) -> float:
    """Octave over standard convolution, in multiply-accumulates: ``1 - 3/4 * (a + b - a*b)`` for a = alpha_in, b = alpha_out.

    That is (1-a)(1-b) from high to high, and a(1-b), (1-a)b, ab at a quarter of the pixels. Exact for stride 1, even
    sizes and whole channels. Drop an Octave (arXiv 1904.05049), table 1.

    >>> octave_cost_ratio(0.5, 0.5)
    0.4375
    """
    a, b = fraction("alpha_in", alpha_in), fraction("alpha_out", alpha_out)
    return 1 - 0.75 * (a + b - a * b)


def octave_memory_ratio(alpha: float) -> float:
    """Octave over plain feature map, in numbers stored: ``1 - 3/4 * alpha``.

    It is also the cost ratio of a depthwise octave convolution, and of one with stride 2 in stride_mode "pool".
    Drop an Octave (arXiv 1904.05049), table 1.

    >>> octave_memory_ratio(0.5)
    0.625
    """
    return 1 - 0.75 * fraction("alpha", alpha)


def resnet_unit_macs(channels: int, bottleneck: int, height: int, width: int) -> int:
    """A ResNet bottleneck unit: ``hw(2cm + 9m**2)`` for c channels, m in the bottleneck. ShuffleNet (arXiv 1707.01083), section 3.2.

    >>> resnet_unit_macs(240, 60, 28, 28)
    47980800
    """
    return resnext_unit_macs(channels, bottleneck, height, width, groups=1)


def resnext_unit_macs(channels: int, bottleneck: int, height: int, width: int, *, groups: int) -> int:
    """A ResNeXt unit, its 3x3 in `groups`: ``hw(2cm + 9m**2/g)``. ShuffleNet (arXiv 1707.01083), section 3.2.

    >>> resnext_unit_macs(256, 128, 1, 1, groups=32)  # the 1x1 are 65536 of it, 93.4 %
    70144
    """
    c, m, pixels = _unit(channels, bottleneck, height, width)
    return pixels * (2 * c * m + 9 * m * (m // check_shuffle_groups(m, groups)))


def shufflenet_unit_macs(channels: int, bottleneck: int, height: int, width: int, *, groups: int) -> int:
    """A ShuffleNet unit, its 1x1 in `groups`: ``hw(2cm/g + 9m)``. ShuffleNet (arXiv 1707.01083), section 3.2.

    >>> shufflenet_unit_macs(240, 60, 28, 28, groups=3)
    7949760
    """
    c, m, pixels = _unit(channels, bottleneck, height, width)
    check_shuffle_groups(m, groups)
    return pixels * (2 * (c // check_shuffle_groups(c, groups)) * m + 9 * m)


# --- a whole model -----------------------------------------------------------------------------------------------


class Model(Protocol):
    """What `count` needs of a model: every layer of `npconv.nn` is one."""

    def eval(self) -> Any:
        """Switch to evaluation mode."""

    def forward(self, x: Array) -> Any:
        """Call `npconv` operators."""

    def named_params(self) -> Iterable[tuple[str, Array]]:
        """(name, array) of everything that is learned."""


class CallCost(NamedTuple):
    """One call of a primitive: its name, the kind of work, the shapes of the map it read first and of its output, its cost.

    A convolution's kind tells what it is, not how it was called: "depthwise" for one input channel per group and more
    than one group, else "pointwise" for a 1 x 1 kernel, else "group" or "standard".
    """

    primitive: str
    kind: str
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    cost: Cost


class ModelCost(NamedTuple):
    """The cost of one forward pass: `calls` in the order in which they ran, and the model's `parameters`.

    What a model does outside the operators is not among the calls: adding branches, concatenating, scaling by a gate.
    It costs no multiply-accumulates in the papers' count, only traffic; see `add`.
    """

    calls: tuple[CallCost, ...]
    parameters: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return sum(call.cost.macs for call in self.calls)

    @property
    def flops(self) -> int:
        """Floating-point operations: 2 per multiply-accumulate."""
        return 2 * self.macs

    @property
    def bytes_moved(self) -> int:
        """Compulsory traffic of the calls, each on its own."""
        return sum(call.cost.bytes_moved for call in self.calls)

    @property
    def macs_by_kind(self) -> dict[str, int]:
        """Multiply-accumulates of each kind of work that has any, the largest first."""
        kinds: Counter[str] = Counter()
        for call in self.calls:
            kinds[call.kind] += call.cost.macs
        return {kind: macs for kind, macs in kinds.most_common() if macs}


def count(model: Model, input_shape: Shape, *, count_padding: bool = True) -> ModelCost:
    """The cost of one evaluation of `model` on an input of `input_shape` (N, C, H, W).

    A copy of the model runs once, on zeros, in evaluation mode and on the current backend, and the closed-form costs of
    the primitives that it calls are listed. The model itself is left as it is: mode, statistics, what its layers keep.

    >>> import npconv
    >>> class Doubled:
    ...     w = np.full((8, 8, 1, 1), 2.0, np.float32)
    ...     def eval(self): ...
    ...     def forward(self, x): return npconv.relu(npconv.pointwise_conv2d(x, self.w))
    ...     def named_params(self): return [("w", self.w)]
    >>> cost = count(Doubled(), (1, 8, 4, 4))
    >>> cost.macs, cost.parameters, [call.kind for call in cost.calls]
    (1024, 64, ['pointwise', 'activation'])
    """
    sizes = shape("input_shape", input_shape, "NCHW")
    params = [array for _, array in model.named_params()]
    zeros = np.zeros(sizes, params[0].dtype if params else np.float32)
    model = copy.deepcopy(model)
    model.eval()
    with backends.record() as calls:
        model.forward(zeros)
    rows = tuple(call_cost(primitive, arguments, count_padding=count_padding) for primitive, arguments in calls)
    return ModelCost(rows, sum(array.size for array in params))


def call_cost(primitive: str, arguments: Sequence[Any], *, count_padding: bool = True) -> CallCost:
    """The cost of one primitive call, as `npconv.backends.record` lists it: forward or gradient, any primitive.

    >>> x = np.zeros((1, 8, 4, 4), np.float32)
    >>> call_cost("relu", (x,))[:4]
    ('relu', 'activation', (1, 8, 4, 4), (1, 8, 4, 4))
    """
    first = arguments[0]
    itemsize, geometry = first.itemsize, arguments[-1]
    operation, direction = _split(primitive)
    forward = direction == "forward"
    match operation:
        case "conv2d" | "depthwise_conv2d" | "pointwise_conv2d":
            bias = forward and arguments[2] is not None
            cost = _convolution(geometry, bias, direction, count_padding, itemsize)
            results = {"forward": geometry.y_shape, "input_grad": geometry.x_shape, "weight_grad": geometry.w_shape}
            kind, out_shape = _kind(geometry), results[direction]
        case "linear":
            bias = forward and arguments[2] is not None
            in_features = arguments[1].shape[1]
            out_features = arguments[1].shape[0] if forward else first.shape[1]
            x_shape, w_shape = (first.shape[0], in_features), (out_features, in_features)
            results = {"forward": (first.shape[0], out_features), "input_grad": x_shape, "weight_grad": w_shape}
            kind, out_shape = "linear", results[direction]
            cost = linear(x_shape, w_shape, bias=bias, direction=direction, itemsize=itemsize)
        case "conv2d_bias_grad" | "linear_bias_grad":
            kind, out_shape = "bias", (first.shape[1],)
            cost = _cost(first.size, 0, first.shape[1], itemsize)
        case "avg_pool2d" | "max_pool2d" | "upsample_nearest2d":
            kind = "upsample" if operation == "upsample_nearest2d" else "pool"
            out_shape = geometry.y_shape if forward else geometry.x_shape
            reads_x = operation == "max_pool2d"
            cost = _map(geometry.x_shape, geometry.y_shape, direction, itemsize, grad_reads_x=reads_x)
        case "global_avg_pool2d":
            x_shape = first.shape if forward else (*first.shape[:2], *arguments[1:])
            kind, out_shape = "pool", (*x_shape[:2], 1, 1) if forward else x_shape
            cost = global_avg_pool2d(x_shape, direction=direction, itemsize=itemsize)
        case "channel_shuffle" | "channel_unshuffle":
            kind, out_shape = "shuffle", first.shape
            cost = channel_shuffle(out_shape, arguments[1], itemsize=itemsize)
        case "relu" | "relu6" | "hard_sigmoid" | "hard_swish":
            kind, out_shape = "activation", first.shape
            cost = activation(out_shape, direction=direction, itemsize=itemsize)
        case "batch_norm2d":
            kind, out_shape = "batch norm", first.shape
            cost = batch_norm2d(out_shape, itemsize=itemsize)
        case "batch_statistics2d":
            kind, out_shape = "batch norm", (first.shape[1],)
            cost = _cost(first.size, 0, 2 * first.shape[1], itemsize)
        case "batch_norm2d_batch_grad" | "batch_norm2d_fixed_grad":
            kind, out_shape, from_batch = "batch norm", first.shape, operation == "batch_norm2d_batch_grad"
            dx, dw = (
                batch_norm2d(out_shape, batch_statistics=from_batch, direction=part, itemsize=itemsize)
                for part in _GRADIENTS
            )
            cost = dx + dw
        case "softmax_cross_entropy":
            logits, labels = arguments[0 if forward else 1], arguments[1 if forward else 2]
            kind, out_shape = "loss", () if forward else logits.shape
            cost = _map(logits.shape, (), direction, itemsize, grad_reads_x=True) + Cost(bytes_moved=labels.nbytes)
        case _:
            raise ValueError(f"primitive must be one that npconv.backends records, got {primitive!r}")
    return CallCost(primitive, kind, first.shape, out_shape, cost)


# --- what the costs above are made of ----------------------------------------------------------------------------

_GRADIENTS: tuple[Direction, Direction] = ("input_grad", "weight_grad")


def _check(direction: Direction, itemsize: int) -> None:
    if direction != "forward" and direction not in _GRADIENTS:
        raise ValueError(f"direction must be 'forward', 'input_grad' or 'weight_grad', got {direction!r}")
    integer("itemsize", itemsize, minimum=1)


def _any_shape(x_shape: Shape) -> tuple[int, ...]:
    """A shape with any number of axes, any of which may be empty."""
    return tuple(integer(f"x[{axis}]", size, minimum=0) for axis, size in enumerate(x_shape))


def _cost(read: int, written: int, other: int, itemsize: int, *, macs: int = 0, parameters: int = 0) -> Cost:
    """The cost of work that reads and writes so many numbers of maps, and so many `other` numbers: weights, statistics."""
    return Cost(macs, parameters, read, written, itemsize * (read + written + other))


def _map(x_shape: Shape, y_shape: Shape, direction: Direction, itemsize: int, *, grad_reads_x: bool = False) -> Cost:
    """An operator without weights; its gradient reads dy, and x too where its slope depends on x."""
    _check(direction, itemsize)
    x, y = prod(x_shape), prod(y_shape)
    if direction == "forward":
        return _cost(x, y, 0, itemsize)
    if direction == "input_grad":
        return _cost(x + y if grad_reads_x else y, x, 0, itemsize)
    return Cost()


def _bilinear(*, macs: int, x: int, w: int, b: int, y: int, direction: Direction, itemsize: int) -> Cost:
    """An operator that is linear in x and in w, arrays of so many numbers: each direction reads two of x, w, y and makes the third."""
    _check(direction, itemsize)
    if direction == "forward":
        return _cost(x, y, w + b, itemsize, macs=macs, parameters=w + b)
    if direction == "input_grad":
        return _cost(y, x, w, itemsize, macs=macs)
    return _cost(x + y, 0, w + b, itemsize, macs=macs)  # db comes out of the same reading of dy


def _convolution(
    geometry: Conv2dGeometry, bias: bool, direction: Direction, count_padding: bool, itemsize: int
) -> Cost:
    g = geometry
    rows = g.out_height * g.kernel_height
    columns = g.out_width * g.kernel_width
    if not count_padding:
        rows = _taps(g.in_height, g.out_height, g.kernel_height, g.stride_height, g.dilation_height, g.pad_top)
        columns = _taps(g.in_width, g.out_width, g.kernel_width, g.stride_width, g.dilation_width, g.pad_left)
    return _bilinear(
        macs=g.batch * g.out_channels * g.in_channels_per_group * rows * columns,
        x=prod(g.x_shape),
        w=prod(g.w_shape),
        b=g.out_channels if bias else 0,
        y=prod(g.y_shape),
        direction=direction,
        itemsize=itemsize,
    )


def _taps(size: int, out: int, kernel: int, stride: int, dilation: int, pad: int) -> int:
    """How many (p, r) of one axis hit the image: 0 <= p * stride + r * dilation - pad < size."""
    total = 0
    for r in range(kernel):
        begin = pad - r * dilation  # p * stride must be in [begin, begin + size)
        first = max(-(-begin // stride), 0)
        last = min((begin + size - 1) // stride, out - 1)
        total += max(last - first + 1, 0)
    return total


def _unit(channels: int, bottleneck: int, height: int, width: int) -> tuple[int, int, int]:
    """(c, m, h * w) of a residual unit, checked."""
    pixels = integer("height", height, minimum=1) * integer("width", width, minimum=1)
    return integer("channels", channels, minimum=1), integer("bottleneck", bottleneck, minimum=1), pixels


def _kind(geometry: Conv2dGeometry) -> str:
    if geometry.groups > 1 and geometry.in_channels_per_group == 1:
        return "depthwise"
    if (geometry.kernel_height, geometry.kernel_width) == (1, 1):
        return "pointwise"
    return "group" if geometry.groups > 1 else "standard"


def _split(primitive: str) -> tuple[str, Direction]:
    """A primitive's operator and direction: "linear_input_grad" is "linear" and "input_grad"."""
    for direction in _GRADIENTS:
        if primitive.endswith(f"_{direction}"):
            return primitive.removesuffix(f"_{direction}"), direction
    return primitive, "forward"


class _OctavePath(NamedTuple):
    """One way through an octave convolution, from the map `source` to `target`, 0 being high and 1 low."""

    source: int
    target: int
    pool: Pool2dGeometry
    convolution: Conv2dGeometry
    upsample: UpsampleGeometry


# (source, target): the factors by which the path pools before its convolution and up-samples after it.
_EQUATION_4 = {(0, 0): (1, 1), (0, 1): (2, 1), (1, 0): (1, 2), (1, 1): (1, 1)}
_POOLED_FIRST = {(0, 0): (2, 1), (0, 1): (4, 1), (1, 0): (1, 1), (1, 1): (2, 1)}


def _octave_paths(
    x_shape: tuple[int, ...],
    in_channels: tuple[int, int],
    w_shapes: dict[tuple[int, int], Shape],
    convolution: Callable[..., Conv2dGeometry],
    stride: IntOrPair,
    stride_mode: str,
) -> list[_OctavePath]:
    """The paths whose kernels are `w_shapes`, by (source, target), once their maps are known to fit together."""
    if stride_mode not in ("pool", "conv"):
        raise ValueError(f"stride_mode must be 'pool' or 'conv', got {stride_mode!r}")
    strides = pair("stride", stride, minimum=1)
    pooled_first = stride_mode == "pool" and strides != (1, 1)
    if pooled_first and strides != (2, 2):
        raise ValueError(f"stride must be 1 or 2 in stride_mode 'pool', got stride={stride!r}")
    batch, _, height, width = x_shape
    sizes = (height, width), (-(-height // 2), -(-width // 2))
    out_sizes: dict[int, tuple[int, int]] = {}
    paths = []
    for (source, target), w_shape in w_shapes.items():
        factor, scale = (_POOLED_FIRST if pooled_first else _EQUATION_4)[source, target]
        pool = Pool2dGeometry.of((batch, in_channels[source], *sizes[source]), factor, ceil_mode=True)
        geometry = convolution(pool.y_shape, w_shape, stride=1 if pooled_first else strides)
        size = out_sizes.setdefault(target, (geometry.out_height * scale, geometry.out_width * scale))
        paths.append(_OctavePath(source, target, pool, geometry, UpsampleGeometry.of(geometry.y_shape, scale, size)))
    if len(out_sizes) == 2 and out_sizes[1] != tuple(-(-length // 2) for length in out_sizes[0]):
        raise ValueError(
            f"padding must keep the outputs an octave apart, got a high output of {out_sizes[0]} and a low one of {out_sizes[1]}"
        )
    return paths


def _octave(paths: list[_OctavePath], bias: bool, direction: Direction, count_padding: bool, itemsize: int) -> Cost:
    total = Cost()
    sources: set[int] = set()
    targets: set[int] = set()
    for source, target, pool, geometry, upsample in paths:
        first_there = target not in targets  # one bias per output
        total += _convolution(geometry, bias and first_there, direction, count_padding, itemsize)
        if pool.kernel_height > 1:
            total += _map(pool.x_shape, pool.y_shape, direction, itemsize)
        if upsample.scale_height > 1:
            total += _map(upsample.x_shape, upsample.y_shape, direction, itemsize)
        if direction == "forward" and not first_there:  # the second path to an output is added to the first
            total += add(upsample.y_shape, itemsize=itemsize)
        if direction == "input_grad" and source in sources:  # and so are the gradients of a map that two paths read
            total += add(pool.x_shape, itemsize=itemsize)
        sources.add(source)
        targets.add(target)
    return total
