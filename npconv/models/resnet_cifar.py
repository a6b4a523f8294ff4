"""ResNets for small images: that of CIFAR-10 (He et al., arXiv 1512.03385, section 4.2), its ghost form, MLPerf Tiny's, a tiny one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import integer
from npconv.models.blocks import classifier, conv_block, stage
from npconv.models.resnet import Shortcut, basic_block, two_convolutions
from npconv.nn import Layer, PointwiseConv2d, ReLU, Residual, Sequential, replace_convs


def resnet_cifar(
    depth: int = 56,
    num_classes: int = 10,
    in_channels: int = 3,
    *,
    shortcut: Shortcut = "zeros",
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """ResNet of basic blocks for CIFAR-10, section 4.2 of the paper; the sizes are those of a 32 x 32 image.

    ======== ================================ ======== ======== ======
    layer    what                             channels stride   output
    ======== ================================ ======== ======== ======
    stem     conv 3x3, batch norm, ReLU       16       1        32x32
    stage1   n basic blocks                   16       1        32x32
    stage2   n basic blocks                   32       2        16x16
    stage3   n basic blocks                   64       2        8x8
    head     global average pool, linear      classes           1x1
    ======== ================================ ======== ======== ======

    Parameters
    ----------
    depth : int
        6n + 2: 20, 32, 44, 56 and 110 in the paper.
    num_classes, in_channels : int
    shortcut : "zeros" or "projection"
        In the first blocks of stage2 and stage3, see `basic_block`; the paper's for CIFAR-10 is "zeros".
    rng, dtype
        As in `npconv.nn.Conv2d`.

    Returns
    -------
    Sequential, x (N, in_channels, H, W) to logits (N, num_classes)

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> net = resnet_cifar(20, rng=np.random.default_rng(0))
    >>> net.children()["stage2"].children()["0"].children()["sum"].children()["shortcut"]
    ZeroPadShortcut(16, 32, stride=2)
    """
    num_classes = integer("num_classes", num_classes, minimum=1)
    repeats, rest = divmod(integer("depth", depth, minimum=8) - 2, 6)
    if rest:
        raise ValueError(f"depth must be 6 * n + 2, got {depth}")
    made: dict[str, Any] = {"rng": rng, "dtype": dtype}
    options = {"repeats": repeats, "shortcut": shortcut, **made}
    return Sequential(
        stem=conv_block(in_channels, 16, **made),
        stage1=stage(basic_block, 16, 16, stride=1, **options),
        stage2=stage(basic_block, 16, 32, stride=2, **options),
        stage3=stage(basic_block, 32, 64, stride=2, **options),
        head=classifier(64, num_classes, **made),
    )


def ghost_resnet56(
    ratio: int = 2,
    num_classes: int = 10,
    in_channels: int = 3,
    *,
    cheap_kernel: int = 3,
    keep_first: bool = True,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """Ghost-ResNet-56 (GhostNet, arXiv 1911.11907, table 6): `resnet_cifar` with ghost modules for its convolutions.

    Parameters
    ----------
    ratio : int
        s: how many maps come of one convolution.
    num_classes, in_channels : int
    cheap_kernel : int
        d: of the depthwise convolutions.
    keep_first : bool
        Whether the first convolution stays one; the paper does not say.
    rng, dtype
        As in `npconv.nn.Conv2d`.

    Returns
    -------
    Sequential, x (N, in_channels, H, W) to logits (N, num_classes); its parts are those of `resnet_cifar`

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Notes
    -----
    The table's 63 million multiply-accumulates are those of the primary convolutions alone.

    Examples
    --------
    >>> import numpy as np
    >>> ghost_resnet56(rng=np.random.default_rng(0)).parameter_count()
    438154
    """
    plain = resnet_cifar(56, num_classes, in_channels, rng=rng, dtype=dtype)
    return replace_convs(plain, "ghost", ratio=ratio, cheap_kernel=cheap_kernel, keep_first=keep_first, rng=rng)


def resnet8(
    num_classes: int = 10,
    in_channels: int = 3,
    *,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """MLPerf Tiny's network for image classification; the sizes are those of a CIFAR-10 image of 32 x 32.

    ======== ================================ ======== ======== ======
    layer    what                             channels stride   output
    ======== ================================ ======== ======== ======
    stem     conv 3x3, batch norm, ReLU       16       1        32x32
    stack1   basic block                      16       1        32x32
    stack2   basic block, projected shortcut  32       2        16x16
    stack3   basic block, projected shortcut  64       2        8x8
    head     global average pool, linear      classes           1x1
    ======== ================================ ======== ======== ======

    As in its Keras code all convolutions have biases and padding "same", and no batch norm follows the projections.

    Parameters
    ----------
    num_classes, in_channels : int
    rng, dtype
        As in `npconv.nn.Conv2d`.

    Returns
    -------
    Sequential, x (N, in_channels, H, W) to logits (N, num_classes)

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Notes
    -----
    Banbury et al., MLPerf Tiny Benchmark, arXiv 2106.07597.

    Examples
    --------
    >>> import numpy as np
    >>> resnet8(rng=np.random.default_rng(0))(np.zeros((2, 3, 32, 32), np.float32)).shape
    (2, 10)
    """
    num_classes = integer("num_classes", num_classes, minimum=1)

    made: dict[str, Any] = {"rng": rng, "dtype": dtype}
    options = {"padding": "same", "bias": True, **made}

    def block(into: int, out: int, stride: int) -> Layer:
        main = two_convolutions(into, out, stride=stride, **options)
        projection = None if stride == 1 else PointwiseConv2d(into, out, stride=stride, **made)
        return Sequential(sum=Residual(main, projection), relu=ReLU())

    return Sequential(
        stem=conv_block(in_channels, 16, **options),
        stack1=block(16, 16, 1),
        stack2=block(16, 32, 2),
        stack3=block(32, 64, 2),
        head=classifier(64, num_classes, **made),
    )


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

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> tiny_resnet(rng=np.random.default_rng(0))(np.zeros((2, 1, 8, 8), np.float32)).shape
    (2, 10)
    """
    num_classes = integer("num_classes", num_classes, minimum=1)
    made: dict[str, Any] = {"rng": rng, "dtype": dtype}
    return Sequential(
        stem=conv_block(in_channels, 16, stride=stem_stride, **made),
        block1=basic_block(16, 16, **made),
        block2=basic_block(16, 32, stride=2, **made),
        block3=basic_block(32, 32, **made),
        head=classifier(32, num_classes, **made),
    )
