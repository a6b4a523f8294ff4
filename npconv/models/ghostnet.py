"""GhostNet (Han et al., arXiv 1911.11907): bottlenecks of ghost modules."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import integer, positive
from npconv.nn import (
    BatchNorm2d,
    Conv2d,
    DepthwiseConv2d,
    Flatten,
    GhostModule,
    GlobalAvgPool2d,
    Layer,
    Linear,
    PointwiseConv2d,
    ReLU,
    Residual,
    Sequential,
    SqueezeExcite,
)


def make_divisible(value: float, divisor: int = 4) -> int:
    """The multiple of `divisor` nearest to `value`, halves upwards, but not below `divisor`, nor below 0.9 * value.

    The rounding of every scaled number of channels in the authors' code. Raises TypeError or ValueError where value is
    not a number above 0 or divisor is no int of at least 1.

    >>> [make_divisible(value) for value in (18, 33, 30, 5.8, 1)]
    [20, 32, 32, 8, 4]
    """
    value = positive("value", value)
    divisor = integer("divisor", divisor, minimum=1)
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def ghost_bottleneck(
    in_channels: int,
    expanded_channels: int,
    out_channels: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    squeeze_excite: bool = False,
    ratio: int = 2,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Layer:
    """GhostNet's bottleneck, section 3.2, figure 3: expand and project by ghost modules, with a shortcut around them.

    ``main = project(squeeze_excite(bn(depthwise(expand(x)))))``, ``y = main + shortcut(x)``, with no ReLU after the sum

    The depthwise convolution and its batch norm stand there at stride 2 only. The shortcut is the identity at stride 1 with
    in_channels = out_channels, else a depthwise convolution with the stride, a pointwise one, and batch norm after each.

    Parameters
    ----------
    in_channels, expanded_channels, out_channels, stride : int
    kernel : int
        Of the depthwise convolutions; within the ghost modules it is 1 and 3.
    squeeze_excite : bool
        With make_divisible(expanded_channels / 4) reduced channels.
    ratio : int
        Of the ghost modules.
    rng, dtype
        As in `npconv.nn.Conv2d`.

    Returns
    -------
    Layer, x (N, in_channels, H, W) to y (N, out_channels, ceil(H / stride), ceil(W / stride)) for an odd kernel
    """

    def depthwise(channels: int) -> Layer:
        return DepthwiseConv2d(channels, kernel, stride=stride, padding=kernel // 2, bias=False, rng=rng, dtype=dtype)

    main: dict[str, Layer] = {}
    main["expand"] = GhostModule(in_channels, expanded_channels, ratio=ratio, rng=rng, dtype=dtype)
    if stride != 1:
        main["depthwise"] = depthwise(expanded_channels)
        main["bn"] = BatchNorm2d(expanded_channels, dtype=dtype)
    if squeeze_excite:
        reduced = make_divisible(expanded_channels / 4)
        main["squeeze_excite"] = SqueezeExcite(expanded_channels, reduced, rng=rng, dtype=dtype)
    main["project"] = GhostModule(expanded_channels, out_channels, ratio=ratio, activation=False, rng=rng, dtype=dtype)
    shortcut = None
    if stride != 1 or in_channels != out_channels:
        shortcut = Sequential(
            depthwise=depthwise(in_channels),
            bn1=BatchNorm2d(in_channels, dtype=dtype),
            pointwise=PointwiseConv2d(in_channels, out_channels, bias=False, rng=rng, dtype=dtype),
            bn2=BatchNorm2d(out_channels, dtype=dtype),
        )
    return Residual(Sequential(**main), shortcut)


def tiny_ghostnet(
    num_classes: int = 10,
    in_channels: int = 1,
    *,
    ratio: int = 2,
    stem_stride: int = 1,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """A GhostNet of four bottlenecks for small images.

    ======== ================================ ======== ======== === ========
    layer    what                             expanded channels SE  stride
    ======== ================================ ======== ======== === ========
    stem     conv 3x3, batch norm, ReLU                16           stem_stride
    block1   ghost bottleneck                 16       16           1
    block2   ghost bottleneck                 48       24           2
    block3   ghost bottleneck                 72       24       yes 1
    block4   ghost bottleneck                 72       40       yes 2
    conv     conv 1x1, batch norm, ReLU                120
    head     global average pool, linear               classes
    ======== ================================ ======== ======== === ========

    Parameters
    ----------
    num_classes, in_channels, stem_stride : int
    ratio : int
        Of the ghost modules.
    rng, dtype
        As in `npconv.nn.Conv2d`.

    Returns
    -------
    Sequential, x (N, in_channels, H, W) to logits (N, num_classes)
    """
    num_classes = integer("num_classes", num_classes, minimum=1)
    return Sequential(
        stem=Sequential(
            conv=Conv2d(in_channels, 16, 3, stride=stem_stride, padding=1, bias=False, rng=rng, dtype=dtype),
            bn=BatchNorm2d(16, dtype=dtype),
            relu=ReLU(),
        ),
        block1=ghost_bottleneck(16, 16, 16, ratio=ratio, rng=rng, dtype=dtype),
        block2=ghost_bottleneck(16, 48, 24, stride=2, ratio=ratio, rng=rng, dtype=dtype),
        block3=ghost_bottleneck(24, 72, 24, squeeze_excite=True, ratio=ratio, rng=rng, dtype=dtype),
        block4=ghost_bottleneck(24, 72, 40, stride=2, squeeze_excite=True, ratio=ratio, rng=rng, dtype=dtype),
        conv=Sequential(
            pointwise=PointwiseConv2d(40, 120, bias=False, rng=rng, dtype=dtype),
            bn=BatchNorm2d(120, dtype=dtype),
            relu=ReLU(),
        ),
        head=Sequential(
            pool=GlobalAvgPool2d(), flatten=Flatten(), linear=Linear(120, num_classes, rng=rng, dtype=dtype)
        ),
    )
