"""ShuffleNet (Zhang et al., arXiv 1707.01083): grouped pointwise convolutions, and a channel shuffle between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import integer
from npconv.nn import (
    AvgPool2d,
    BatchNorm2d,
    ChannelShuffle,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    Linear,
    PointwiseConv2d,
    ReLU,
    Residual,
    Sequential,
)


def shuffle_unit(
    in_channels: int,
    out_channels: int,
    *,
    groups: int,
    stride: int = 1,
    group_first: bool = True,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Layer:
    """ShuffleNet's unit, figure 2: a bottleneck of out_channels / 4 channels.

    ``main = bn3(expand(bn2(depthwise(shuffle(relu(bn1(compress(x))))))))``

    compress and expand are pointwise convolutions in groups; no ReLU follows the depthwise convolution. At stride 1
    ``y = relu(x + main)``, at stride 2 ``y = relu(concatenate([avg_pool(x), main]))``: there main makes the channels that
    the pooled x, 3x3 with padding 1, does not already have.

    Parameters
    ----------
    in_channels : int
        `out_channels` at stride 1, fewer at stride 2.
    out_channels : int
        A multiple of 4 * groups.
    groups : int
        Of both pointwise convolutions.
    stride : 1 or 2
    group_first : bool
        Whether compress is grouped; in the first unit of stage 2 it is not, section 3.2.
    rng, dtype
        As in `npconv.nn.Conv2d`.

    Returns
    -------
    Layer, x (N, in_channels, H, W) to y (N, out_channels, ceil(H / stride), ceil(W / stride))

    Raises
    ------
    TypeError, ValueError
        Channels, groups or stride that do not fit together.

    Notes
    -----
    As in the authors' code the pooled x comes first and the pool counts its padding. There the ReLU stands before the
    concatenation, in the paper after it; since x comes from a ReLU, that is the same.
    """
    groups = integer("groups", groups, minimum=1)
    if integer("out_channels", out_channels, minimum=1) % (4 * groups):
        raise ValueError(
            f"out_channels must be a multiple of 4 * groups, got out_channels={out_channels}, groups={groups}"
        )
    if stride not in (1, 2):
        raise ValueError(f"stride must be 1 or 2, got stride={stride!r}")
    if stride == 1 and in_channels != out_channels:
        raise ValueError(
            f"in_channels must be out_channels = {out_channels} at stride 1, got in_channels={in_channels}"
        )
    if stride == 2 and in_channels >= out_channels:
        raise ValueError(
            f"in_channels must be below out_channels = {out_channels} at stride 2, got in_channels={in_channels}"
        )
    bottleneck = out_channels // 4
    made = out_channels if stride == 1 else out_channels - in_channels
    main = Sequential(
        compress=PointwiseConv2d(
            in_channels, bottleneck, groups=groups if group_first else 1, bias=False, rng=rng, dtype=dtype
        ),
        bn1=BatchNorm2d(bottleneck, dtype=dtype),
        relu=ReLU(),
        shuffle=ChannelShuffle(groups),
        depthwise=DepthwiseConv2d(bottleneck, 3, stride=stride, padding=1, bias=False, rng=rng, dtype=dtype),
        bn2=BatchNorm2d(bottleneck, dtype=dtype),
        expand=PointwiseConv2d(bottleneck, made, groups=groups, bias=False, rng=rng, dtype=dtype),
        bn3=BatchNorm2d(made, dtype=dtype),
    )
    if stride == 1:
        return Sequential(sum=Residual(main), relu=ReLU())
    pool = AvgPool2d(3, stride=2, padding=1, count_include_pad=True)
    return Sequential(concat=Concat(shortcut=pool, main=main), relu=ReLU())


def tiny_shufflenet(
    num_classes: int = 10,
    in_channels: int = 1,
    *,
    groups: int = 3,
    stem_stride: int = 1,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """A ShuffleNet of two stages for small images.

    ======== ================================ ======== ========
    layer    what                             channels stride
    ======== ================================ ======== ========
    stem     conv 3x3, batch norm, ReLU       24       stem_stride
    stage1.0 unit, compress not grouped       96       2
    stage1.1 unit                             96       1
    stage2.0 unit                             192      2
    stage2.1 unit                             192      1
    head     global average pool, linear      classes
    ======== ================================ ======== ========

    Parameters
    ----------
    num_classes, in_channels, stem_stride : int
    groups : 1, 2, 3, 4, 6, 8, 12 or 24
    rng, dtype
        As in `npconv.nn.Conv2d`.

    Returns
    -------
    Sequential, x (N, in_channels, H, W) to logits (N, num_classes)
    """
    num_classes = integer("num_classes", num_classes, minimum=1)
    return Sequential(
        stem=Sequential(
            conv=Conv2d(in_channels, 24, 3, stride=stem_stride, padding=1, bias=False, rng=rng, dtype=dtype),
            bn=BatchNorm2d(24, dtype=dtype),
            relu=ReLU(),
        ),
        stage1=Sequential(
            shuffle_unit(24, 96, groups=groups, stride=2, group_first=False, rng=rng, dtype=dtype),
            shuffle_unit(96, 96, groups=groups, rng=rng, dtype=dtype),
        ),
        stage2=Sequential(
            shuffle_unit(96, 192, groups=groups, stride=2, rng=rng, dtype=dtype),
            shuffle_unit(192, 192, groups=groups, rng=rng, dtype=dtype),
        ),
        head=Sequential(
            pool=GlobalAvgPool2d(), flatten=Flatten(), linear=Linear(192, num_classes, rng=rng, dtype=dtype)
        ),
    )
