"""What MobileNet is compared with in its paper: the same network of full convolutions, and one with fewer layers."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import Padding
from npconv.models.blocks import conv_block
from npconv.models.mobilenet import AFTER, BEFORE, FIVE_ALIKE, STEM, Activation, network, separable_block
from npconv.nn import Sequential


def conv_mobilenet(
    width: float = 1.0,
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    activation: Activation = "relu6",
    padding: Padding = "same",
    eps: float = 1e-3,
    momentum: float = 0.1,
    dropout: float = 1e-3,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """MobileNet with full convolutions, the "Conv MobileNet" of table 4: what separable convolutions are compared with.

    It is `mobilenet_v1`, with its arguments, where each separable block is one 3x3 convolution of the same channels and
    stride.

    ======== ================================ ======== ======== ========
    layer    what                             channels stride   output
    ======== ================================ ======== ======== ========
    stem     conv 3x3, batch norm, ReLU6      32       2        112x112
    block1   conv 3x3, batch norm, ReLU6      64       1        112x112
    block2   conv 3x3, batch norm, ReLU6      128      2        56x56
    block3   conv 3x3, batch norm, ReLU6      128      1        56x56
    block4   conv 3x3, batch norm, ReLU6      256      2        28x28
    block5   conv 3x3, batch norm, ReLU6      256      1        28x28
    block6   conv 3x3, batch norm, ReLU6      512      2        14x14
    block7   conv 3x3, batch norm, ReLU6      512      1        14x14
    block8   conv 3x3, batch norm, ReLU6      512      1        14x14
    block9   conv 3x3, batch norm, ReLU6      512      1        14x14
    block10  conv 3x3, batch norm, ReLU6      512      1        14x14
    block11  conv 3x3, batch norm, ReLU6      512      1        14x14
    block12  conv 3x3, batch norm, ReLU6      1024     2        7x7
    block13  conv 3x3, batch norm, ReLU6      1024     1        7x7
    head     global average pool, dropout,    classes           1x1
             linear
    ======== ================================ ======== ======== ========

    Parameters
    ----------
    width, num_classes, in_channels, activation, padding, eps, momentum, dropout, rng, dtype
        As in `mobilenet_v1`.

    Returns
    -------
    Sequential, x (N, in_channels, H, W) to logits (N, num_classes)

    Raises
    ------
    TypeError, ValueError
        As by `mobilenet_v1`.

    Examples
    --------
    >>> import numpy as np
    >>> conv_mobilenet(0.25, rng=np.random.default_rng(0)).children()["block2"].children()["conv"]
    Conv2d(16, 32, 3, stride=2, padding='same', bias=False)
    """
    return network(
        STEM,
        (*BEFORE, *FIVE_ALIKE, *AFTER),
        conv_block,
        width=width,
        num_classes=num_classes,
        in_channels=in_channels,
        activation=activation,
        padding=padding,
        eps=eps,
        momentum=momentum,
        dropout=dropout,
        rng=rng,
        dtype=dtype,
    )


def shallow_mobilenet(
    width: float = 1.0,
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    activation: Activation = "relu6",
    padding: Padding = "same",
    eps: float = 1e-3,
    momentum: float = 0.1,
    dropout: float = 1e-3,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """MobileNet without the five 14x14x512 blocks, the "Shallow MobileNet" of table 5: what a thinner one is compared with.

    It is `mobilenet_v1`, with its arguments, where block7 to block11 are left out and the last two follow as block7 and
    block8.

    ======== ================================ ======== ======== ========
    layer    what                             channels stride   output
    ======== ================================ ======== ======== ========
    stem     conv 3x3, batch norm, ReLU6      32       2        112x112
    block1   separable block                  64       1        112x112
    block2   separable block                  128      2        56x56
    block3   separable block                  128      1        56x56
    block4   separable block                  256      2        28x28
    block5   separable block                  256      1        28x28
    block6   separable block                  512      2        14x14
    block7   separable block                  1024     2        7x7
    block8   separable block                  1024     1        7x7
    head     global average pool, dropout,    classes           1x1
             linear
    ======== ================================ ======== ======== ========

    Parameters
    ----------
    width, num_classes, in_channels, activation, padding, eps, momentum, dropout, rng, dtype
        As in `mobilenet_v1`.

    Returns
    -------
    Sequential, x (N, in_channels, H, W) to logits (N, num_classes)

    Raises
    ------
    TypeError, ValueError
        As by `mobilenet_v1`.

    Examples
    --------
    >>> import numpy as np
    >>> len(shallow_mobilenet(0.25, rng=np.random.default_rng(0)).children())
    10
    """
    return network(
        STEM,
        (*BEFORE, *AFTER),
        separable_block,
        width=width,
        num_classes=num_classes,
        in_channels=in_channels,
        activation=activation,
        padding=padding,
        eps=eps,
        momentum=momentum,
        dropout=dropout,
        rng=rng,
        dtype=dtype,
    )
