"""Octave networks (Chen et al., "Drop an Octave", arXiv 1904.05049): residual networks and MobileNet in two frequencies.

The paper's networks are known ones whose convolutions are replaced, and are written so; `octave_block` spells one block out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import integer, octave_channels
from npconv.models.blocks import classifier, conv_block, conv_chain, stage
from npconv.models.mobilenet import mobilenet_v1
from npconv.models.resnet import BLOCKS, Version, bottleneck_block, resnet
from npconv.nn import Layer, OctaveBatchNorm2d, OctaveConv2d, PerFrequency, ReLU, Residual, Sequential, replace_convs
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

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Notes
    -----
    Sections 3.2 and 4.1 of the paper: every convolution of a block becomes an octave convolution, the projection included.

    Examples
    --------
    >>> import numpy as np
    >>> block = octave_block(8, 8, alpha_in=0, alpha_out=0.25, rng=np.random.default_rng(0))
    >>> [y.shape for y in block(np.zeros((1, 8, 6, 6), np.float32))]
    [(1, 6, 6, 6), (1, 2, 3, 3)]
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


def oct_resnet(
    depth: int = 50,
    alpha: float = 0.5,
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    version: Version = "v2",
    groups: int = 1,
    group_width: int = 64,
    squeeze_excite: bool = False,
    channels: int = 64,
    stride_mode: StrideMode = "pool",
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """Oct-ResNet (figure 4 and table 2): `npconv.models.resnet` with octave convolutions up to the first block of stage4.

    ======== ================================ ============== ================ ================
    layer    what                             alpha in, out  high, 224 x 224  low
    ======== ================================ ============== ================ ================
    stem     as in resnet                     0              56x56
    stage1   bottleneck blocks                0, alpha       56x56            28x28
    stage2   bottleneck blocks                alpha, alpha   28x28            14x14
    stage3   bottleneck blocks                alpha, alpha   14x14            7x7
    stage4   bottleneck blocks                alpha, 0       7x7
    last     as in resnet                     0              7x7
    head     as in resnet                     0
    ======== ================================ ============== ================ ================

    In a stage the first convolution and the projection lead from alpha in to alpha out, all others stay at alpha out. The
    low maps of stage4 would be 3.5 pixels wide, too few for a 3x3 kernel. As in the authors' code its 3x3 convolution of
    stride 2 reads pooled maps, see `stride_mode`, though there is no low frequency any more.

    Parameters
    ----------
    depth : 26, 50, 101, 152 or 200
    alpha : float in [0, 1]
        The share of the low frequency; at 0 the network is the plain one.
    num_classes, in_channels, groups, group_width, squeeze_excite, channels
        As in `npconv.models.resnet`; ``squeeze_excite=True`` makes SE-Oct-ResNet. `groups` must divide the channels of each
        frequency of a 3x3 convolution.
    version : "v1" or "v2"
        As in `npconv.models.resnet`: the paper's ablations have the pre-activation blocks of "v2".
    stride_mode : "pool" or "conv"
        As in `npconv.octave_conv2d`.
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
    >>> net = oct_resnet(26, 0.25, 10, channels=8, rng=np.random.default_rng(0))
    >>> net.children()["stage4"].children()["0"].children()["sum"].children()["shortcut"].children()["conv"]
    OctaveConv2d(128, 256, 1, alpha_in=0.25, alpha_out=0, stride=2, bias=False)
    """
    plain = resnet(
        depth,
        num_classes,
        in_channels,
        version=version,
        groups=groups,
        group_width=group_width,
        squeeze_excite=squeeze_excite,
        channels=channels,
        rng=rng,
        dtype=dtype,
    )
    return replace_convs(plain, "octave", alpha=alpha, stride_mode=stride_mode, plain=("stage4.*",), rng=rng)


def oct_resnext(
    depth: int = 50,
    alpha: float = 0.5,
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """Oct-ResNeXt-50 and Oct-ResNeXt-101 32x4d (table 6): `oct_resnet` with 3x3 convolutions in 32 groups, of 4 channels in stage1.

    Each of the four paths has 32 groups, so 32 must divide ``alpha * 128``: 0.25, 0.5 and 0.75 are possible.

    Parameters
    ----------
    depth, alpha, num_classes, in_channels, rng, dtype
        As in `oct_resnet`.

    Returns
    -------
    Sequential, x (N, in_channels, H, W) to logits (N, num_classes)

    Raises
    ------
    TypeError, ValueError
        As by `oct_resnet`.

    Examples
    --------
    >>> import numpy as np
    >>> oct_resnext(rng=np.random.default_rng(0)).parameter_count()
    25025064
    """
    return oct_resnet(depth, alpha, num_classes, in_channels, groups=32, group_width=4, rng=rng, dtype=dtype)


def oct_resnet152_v1f(
    alpha: float = 0.125,
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    squeeze_excite: bool = False,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """The paper's large Oct-ResNet-152, "v1f" in the authors' code; the sizes are those of a 224 x 224 image.

    ======== ================================ ================ ======== =======
    layer    what                             channels         stride   output
    ======== ================================ ================ ======== =======
    stem     3 times conv 3x3, batch norm,    8, 32, 64        1, 2, 1  112x112
             ReLU
    pool     block of convs 1x1, 3x3, 1x1     32, 32, 64       1, 2, 1  56x56
    stage1   3 bottleneck blocks              256              1        56x56
    stage2   8 bottleneck blocks              512              2        28x28
    stage3   36 bottleneck blocks             1024             2        14x14
    stage4   3 bottleneck blocks              2048             2        7x7
    head     global average pool, linear      classes                   1x1
    ======== ================================ ================ ======== =======

    Three convolutions stand for the 7x7 one of `oct_resnet`, a residual block for its max pool, and the last 1x1
    convolution of a block has the stride, not the 3x3 one. The blocks are those of version "v1". stage1 to stage4 have the
    frequencies that they have in `oct_resnet`.

    Parameters
    ----------
    alpha : float in [0, 1]
        The share of the low frequency.
    num_classes, in_channels : int
    squeeze_excite : bool
        Whether each block of the stages has a squeeze-and-excite. The authors' code then also has batch norms without
        parameters before the first convolution and the projection of each block, which are left out here.
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
    >>> list(oct_resnet152_v1f(rng=np.random.default_rng(0)).children())
    ['stem', 'pool', 'stage1', 'stage2', 'stage3', 'stage4', 'head']
    """
    num_classes = integer("num_classes", num_classes, minimum=1)
    made: dict[str, Any] = {"rng": rng, "dtype": dtype}
    options = {"stride_last": True, "squeeze_excite": squeeze_excite, **made}
    net: dict[str, Layer] = {
        "stem": conv_chain(in_channels, ((8, 1), (32, 2), (64, 1)), **made),
        "pool": bottleneck_block(64, 32, 64, stride=2, **made),
    }
    into = 64
    for place, repeats in enumerate(BLOCKS[152]):
        sizes = 64 * 2**place, 256 * 2**place
        stride = 2 if place else 1  # stage1 reads what the block in the pool's place has halved
        net[f"stage{place + 1}"] = stage(bottleneck_block, into, *sizes, repeats=repeats, stride=stride, **options)
        into = sizes[-1]
    plain = Sequential(**net, head=classifier(into, num_classes, **made))
    keep = ("stem.*", "pool.*")
    return replace_convs(plain, "octave", alpha=alpha, keep=keep, plain=("stage4.*",), rng=rng)


def oct_mobilenet_v1(
    width: float = 1.0,
    alpha: float = 0.5,
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    stride_mode: StrideMode = "pool",
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """Oct-MobileNet V1 (table 5): `npconv.models.mobilenet_v1` in two frequencies from block1 to block11.

    The plain network is the one with ReLU, padding 1, eps 1e-5 and no dropout.

    ======== ================================ ============== ==============
    layer    what                             alpha of the   alpha of the
                                              depthwise conv pointwise conv
    ======== ================================ ============== ==============
    stem     as in mobilenet_v1               0
    block1   separable block                  0              0, alpha
    block2   ten times: separable block       alpha          alpha, alpha
    ...
    block11  separable block                  alpha          alpha, 0
    block12  separable block, pooled first    0              0
    block13  separable block                  0              0
    head     as in mobilenet_v1
    ======== ================================ ============== ==============

    Parameters
    ----------
    width : float
        As in `npconv.models.mobilenet_v1`.
    alpha : float in [0, 1]
        The share of the low frequency.
    num_classes, in_channels : int
    stride_mode : "pool" or "conv"
        As in `npconv.octave_conv2d`.
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
    >>> oct_mobilenet_v1(0.25, rng=np.random.default_rng(0)).parameter_count()  # as mobilenet_v1(0.25)
    470072
    """
    # What the authors of the octave code have otherwise than those of MobileNet.
    own: dict[str, Any] = {"activation": "relu", "padding": 1, "eps": 1e-5, "dropout": 0}
    plain = mobilenet_v1(width, num_classes, in_channels, **own, rng=rng, dtype=dtype)
    # What block12 reads is plain then too: a depthwise convolution mixes no frequencies.
    last = ("block12.*", "block13.*")
    return replace_convs(plain, "octave", alpha=alpha, stride_mode=stride_mode, plain=last, rng=rng)


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

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> tiny_octave(rng=np.random.default_rng(0))(np.zeros((2, 1, 8, 8), np.float32)).shape
    (2, 10)
    """
    num_classes = integer("num_classes", num_classes, minimum=1)
    made: dict[str, Any] = {"rng": rng, "dtype": dtype}
    return Sequential(
        stem=conv_block(in_channels, 16, stride=stem_stride, **made),
        block1=octave_block(16, 16, alpha_in=0, alpha_out=alpha, **made),
        block2=octave_block(16, 32, alpha_in=alpha, alpha_out=alpha, stride=2, **made),
        block3=octave_block(32, 32, alpha_in=alpha, alpha_out=0, **made),
        head=classifier(32, num_classes, **made),
    )
