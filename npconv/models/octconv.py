"""Octave networks (Chen et al., "Drop an Octave", arXiv 1904.05049): residual networks of octave convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import integer, octave_channels
from npconv.nn import (
    BatchNorm2d,
    Conv2d,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    Linear,
    OctaveBatchNorm2d,
    OctaveConv2d,
    PerFrequency,
    ReLU,
    Residual,
    Sequential,
)
from npconv.ops.octave import StrideMode


def octave_block(
    in_channels: int,
    out_channels: int,
    *,
    alpha_in: float,
    alpha_out: float,
    stride: int = 1,
    stride_mode: StrideMode = "pool",
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Layer:
    """ResNet's basic block with octave convolutions, each frequency with its own batch norm and ReLU.

    ``y = relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))``; conv1 leads from alpha_in to alpha_out and has the stride.
    The shortcut is the identity where that fits, else a 1x1 octave convolution and a batch norm. With both alphas 0 this is
    `npconv.models.basic_block`, except that stride 2 pools first unless `stride_mode` is "conv".

    Parameters
    ----------
    in_channels, out_channels : int
        Of both frequencies together.
    alpha_in, alpha_out : float in [0, 1]
        0 and alpha in the network's first block, alpha and 0 in its last one, where the map is a plain array.
    stride : int
    stride_mode : "pool" or "conv"
        As in `npconv.octave_conv2d`.
    rng, dtype
        As in `npconv.nn.Conv2d`.

    Returns
    -------
    Layer, of `npconv.OctaveMap`, or of plain arrays where alpha gives the low frequency no channels

    Notes
    -----
    Sections 3.2 and 4.1 of the paper: every convolution of a block becomes an octave convolution, the projection included.
    """

    options: dict[str, Any] = {"bias": False, "stride_mode": stride_mode, "rng": rng, "dtype": dtype}
    main = Sequential(
        conv1=OctaveConv2d(
            in_channels, out_channels, 3, alpha_in=alpha_in, alpha_out=alpha_out, stride=stride, padding=1, **options
        ),
        bn1=OctaveBatchNorm2d(out_channels, alpha=alpha_out, dtype=dtype),
        relu1=PerFrequency(ReLU(), ReLU()),
        conv2=OctaveConv2d(
            out_channels, out_channels, 3, alpha_in=alpha_out, alpha_out=alpha_out, padding=1, **options
        ),
        bn2=OctaveBatchNorm2d(out_channels, alpha=alpha_out, dtype=dtype),
    )
    shortcut = None
    if stride != 1 or octave_channels(in_channels, alpha_in) != octave_channels(out_channels, alpha_out):
        shortcut = Sequential(
            conv=OctaveConv2d(
                in_channels, out_channels, 1, alpha_in=alpha_in, alpha_out=alpha_out, stride=stride, **options
            ),
            bn=OctaveBatchNorm2d(out_channels, alpha=alpha_out, dtype=dtype),
        )
    return Sequential(sum=Residual(main, shortcut), relu=PerFrequency(ReLU(), ReLU()))


def tiny_octave(
    num_classes: int = 10,
    in_channels: int = 1,
    *,
    alpha: float = 0.5,
    stem_stride: int = 1,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """A residual network of octave convolutions for small images: `tiny_resnet` with its blocks in two frequencies.

    ======== ================================ ======== ============== ========
    layer    what                             channels alpha in, out  stride
    ======== ================================ ======== ============== ========
    stem     conv 3x3, batch norm, ReLU       16                      stem_stride
    block1   octave block                     16       0, alpha       1
    block2   octave block                     32       alpha, alpha   2
    block3   octave block                     32       alpha, 0       1
    head     global average pool, linear      classes
    ======== ================================ ======== ============== ========

    Parameters
    ----------
    num_classes, in_channels, stem_stride : int
    alpha : float in [0, 1]
        The share of the low frequency.
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
        block1=octave_block(16, 16, alpha_in=0, alpha_out=alpha, rng=rng, dtype=dtype),
        block2=octave_block(16, 32, alpha_in=alpha, alpha_out=alpha, stride=2, rng=rng, dtype=dtype),
        block3=octave_block(32, 32, alpha_in=alpha, alpha_out=0, rng=rng, dtype=dtype),
        head=Sequential(
            pool=GlobalAvgPool2d(), flatten=Flatten(), linear=Linear(32, num_classes, rng=rng, dtype=dtype)
        ),
    )
