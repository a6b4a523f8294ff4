"""ResNet's basic blocks (He et al., arXiv 1512.03385): the baseline of standard convolutions that the papers transform."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import integer
from npconv.nn import (
    BatchNorm2d,
    Conv2d,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    Linear,
    PointwiseConv2d,
    ReLU,
    Residual,
    Sequential,
)


def basic_block(
    in_channels: int,
    out_channels: int,
    *,
    stride: int = 1,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Layer:
    """ResNet's basic block: two 3x3 convolutions and a shortcut around them.

    ``y = relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))``; conv1 has the stride. The shortcut is the identity where
    that fits, else a 1x1 convolution with the stride and a batch norm (the paper's option B, section 4.1).

    Parameters
    ----------
    in_channels, out_channels, stride : int
    rng, dtype
        As in `npconv.nn.Conv2d`.

    Returns
    -------
    Layer, x (N, in_channels, H, W) to y (N, out_channels, ceil(H / stride), ceil(W / stride))
    """
    main = Sequential(
        conv1=Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False, rng=rng, dtype=dtype),
        bn1=BatchNorm2d(out_channels, dtype=dtype),
        relu1=ReLU(),
        conv2=Conv2d(out_channels, out_channels, 3, padding=1, bias=False, rng=rng, dtype=dtype),
        bn2=BatchNorm2d(out_channels, dtype=dtype),
    )
    shortcut = None
    if stride != 1 or in_channels != out_channels:
        shortcut = Sequential(
            conv=PointwiseConv2d(in_channels, out_channels, stride=stride, bias=False, rng=rng, dtype=dtype),
            bn=BatchNorm2d(out_channels, dtype=dtype),
        )
    return Sequential(sum=Residual(main, shortcut), relu=ReLU())


def tiny_resnet(
    num_classes: int = 10,
    in_channels: int = 1,
    *,
    stem_stride: int = 1,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """A ResNet of three basic blocks for small images.

    ======== ================================ ======== ========
    layer    what                             channels stride
    ======== ================================ ======== ========
    stem     conv 3x3, batch norm, ReLU       16       stem_stride
    block1   basic block                      16       1
    block2   basic block, projected shortcut  32       2
    block3   basic block                      32       1
    head     global average pool, linear      classes
    ======== ================================ ======== ========

    Parameters
    ----------
    num_classes, in_channels, stem_stride : int
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
        block1=basic_block(16, 16, rng=rng, dtype=dtype),
        block2=basic_block(16, 32, stride=2, rng=rng, dtype=dtype),
        block3=basic_block(32, 32, rng=rng, dtype=dtype),
        head=Sequential(
            pool=GlobalAvgPool2d(), flatten=Flatten(), linear=Linear(32, num_classes, rng=rng, dtype=dtype)
        ),
    )
