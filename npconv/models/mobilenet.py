"""MobileNet (Howard et al., arXiv 1704.04861): a network of depthwise separable convolutions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import Padding, integer, positive
from npconv.nn import (
    BatchNorm2d,
    Conv2d,
    DepthwiseConv2d,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    Linear,
    PointwiseConv2d,
    ReLU,
    Sequential,
)


def scaled_channels(channels: int, width: float) -> int:
    """`channels` under the width multiplier, section 3.3: int(width * channels), and 8 at least, as in the authors' code.

    Raises TypeError or ValueError where channels is no int of at least 1 or width is not a number above 0.

    >>> [scaled_channels(32, width) for width in (1, 0.75, 0.5, 0.1)]
    [32, 24, 16, 8]
    """
    return max(int(integer("channels", channels, minimum=1) * positive("width", width)), 8)


def separable_block(
    in_channels: int,
    out_channels: int,
    *,
    stride: int = 1,
    kernel: int = 3,
    padding: Padding | None = None,
    activation: Callable[[], Layer] = ReLU,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Layer:
    """MobileNet's block, figure 3: depthwise convolution, batch norm, ReLU, pointwise convolution, batch norm, ReLU.

    Parameters
    ----------
    in_channels, out_channels : int
    stride, kernel, padding
        Of the depthwise convolution; the padding is kernel // 2 where not given. The authors' TensorFlow code has "same",
        which at stride 2 and an even size starts one pixel later.
    activation : function that makes a layer
        The authors' code has `npconv.nn.ReLU6`.
    rng, dtype
        As in `npconv.nn.Conv2d`.

    Returns
    -------
    Layer, x (N, in_channels, H, W) to y (N, out_channels, ceil(H / stride), ceil(W / stride)) for an odd kernel
    """
    return Sequential(
        depthwise=DepthwiseConv2d(
            in_channels,
            kernel,
            stride=stride,
            padding=kernel // 2 if padding is None else padding,
            bias=False,
            rng=rng,
            dtype=dtype,
        ),
        bn1=BatchNorm2d(in_channels, dtype=dtype),
        relu1=activation(),
        pointwise=PointwiseConv2d(in_channels, out_channels, bias=False, rng=rng, dtype=dtype),
        bn2=BatchNorm2d(out_channels, dtype=dtype),
        relu2=activation(),
    )


def tiny_mobilenet(
    num_classes: int = 10,
    in_channels: int = 1,
    *,
    width: float = 1.0,
    stem_stride: int = 1,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """A MobileNet of four separable blocks for small images.

    ======== ================================ ======== ========
    layer    what                             channels stride
    ======== ================================ ======== ========
    stem     conv 3x3, batch norm, ReLU       16       stem_stride
    block1   separable block                  32       1
    block2   separable block                  64       2
    block3   separable block                  64       1
    block4   separable block                  128      2
    head     global average pool, linear      classes
    ======== ================================ ======== ========

    Parameters
    ----------
    num_classes, in_channels, stem_stride : int
    width : float
        The width multiplier: every number of channels but the first and last is `scaled_channels` of the table's.
    rng, dtype
        As in `npconv.nn.Conv2d`.

    Returns
    -------
    Sequential, x (N, in_channels, H, W) to logits (N, num_classes)
    """
    num_classes = integer("num_classes", num_classes, minimum=1)
    c16, c32, c64, c128 = (scaled_channels(channels, width) for channels in (16, 32, 64, 128))
    return Sequential(
        stem=Sequential(
            conv=Conv2d(in_channels, c16, 3, stride=stem_stride, padding=1, bias=False, rng=rng, dtype=dtype),
            bn=BatchNorm2d(c16, dtype=dtype),
            relu=ReLU(),
        ),
        block1=separable_block(c16, c32, rng=rng, dtype=dtype),
        block2=separable_block(c32, c64, stride=2, rng=rng, dtype=dtype),
        block3=separable_block(c64, c64, rng=rng, dtype=dtype),
        block4=separable_block(c64, c128, stride=2, rng=rng, dtype=dtype),
        head=Sequential(
            pool=GlobalAvgPool2d(), flatten=Flatten(), linear=Linear(c128, num_classes, rng=rng, dtype=dtype)
        ),
    )
