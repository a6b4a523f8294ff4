"""ShuffleNet (Zhang et al., arXiv 1707.01083): grouped pointwise convolutions, and a channel shuffle between them."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import flag, integer, is_word, positive, shown
from npconv.models.blocks import classifier, conv_block
from npconv.nn import (
    AvgPool2d,
    BatchNorm2d,
    ChannelShuffle,
    Concat,
    DepthwiseConv2d,
    Layer,
    MaxPool2d,
    PointwiseConv2d,
    ReLU,
    Residual,
    Sequential,
    SqueezeExcite,
)

# True is the paper's permutation, "inverse" the one of the authors' code.
Shuffle: TypeAlias = bool | Literal["inverse"]


def shuffle_unit(
    in_channels: int,
    out_channels: int,
    *,
    groups: int,
    stride: int = 1,
    group_first: bool = True,
    shuffle: Shuffle = True,
    squeeze_excite: bool = False,
    reduction: int = 16,
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
    shuffle : bool or "inverse"
        Whether the shuffle is there; without it the groups never mix, section 4.1.2. "inverse" is the inverse permutation,
        `npconv.channel_unshuffle`: the authors' code reshapes the channels to (n, groups) where the paper has (groups, n).
        Both mix all groups at the same cost, but the weights of one are of no use to the other.
    squeeze_excite : bool
        Whether y goes through squeeze and excite at last, from out_channels to out_channels // `reduction` and back. The
        paper leaves open both where it stands and the reduction; with these the network has the published cost.
    reduction : int
    rng, dtype
        As in `npconv.nn.Conv2d`.

    Returns
    -------
    Layer, x (N, in_channels, H, W) to y (N, out_channels, ceil(H / stride), ceil(W / stride))

    Raises
    ------
    TypeError, ValueError
        Channels, groups or stride that do not fit together, or no such shuffle.

    Notes
    -----
    As in the authors' code the pooled x comes first and the pool counts its padding. There the ReLU stands before the
    concatenation, in the paper after it; since x comes from a ReLU, that is the same.

    Examples
    --------
    >>> import numpy as np
    >>> shuffle_unit(24, 48, groups=3, stride=2, rng=np.random.default_rng(0))(np.zeros((1, 24, 5, 5), np.float32)).shape
    (1, 48, 3, 3)
    """
    groups = integer("groups", groups, minimum=1)
    if integer("out_channels", out_channels, minimum=1) % (4 * groups):
        raise ValueError(
            f"out_channels must be a multiple of 4 * groups, got out_channels={out_channels}, groups={groups}"
        )
    stride = integer("stride", stride, minimum=1)
    if stride > 2:
        raise ValueError(f"stride must be 1 or 2, got stride={shown(stride)}")
    if stride == 1 and in_channels != out_channels:
        raise ValueError(
            f"in_channels must be out_channels = {out_channels} at stride 1, got in_channels={in_channels}"
        )
    if stride == 2 and in_channels >= out_channels:
        raise ValueError(
            f"in_channels must be below out_channels = {out_channels} at stride 2, got in_channels={in_channels}"
        )
    if not isinstance(shuffle, bool | np.bool_) and not is_word(shuffle, ("inverse",)):
        raise ValueError(f"shuffle must be True, False or 'inverse', got shuffle={shown(shuffle)}")
    reduction = integer("reduction", reduction, minimum=1)
    bottleneck = out_channels // 4
    made = out_channels if stride == 1 else out_channels - in_channels
    main = Sequential(
        compress=PointwiseConv2d(
            in_channels,
            bottleneck,
            groups=groups if flag("group_first", group_first) else 1,
            bias=False,
            rng=rng,
            dtype=dtype,
        ),
        bn1=BatchNorm2d(bottleneck, dtype=dtype),
        relu=ReLU(),
        # The inverse of dealing out g groups of n channels is to deal out n groups of g.
        **({"shuffle": ChannelShuffle(bottleneck // groups if shuffle == "inverse" else groups)} if shuffle else {}),
        depthwise=DepthwiseConv2d(bottleneck, 3, stride=stride, padding=1, bias=False, rng=rng, dtype=dtype),
        bn2=BatchNorm2d(bottleneck, dtype=dtype),
        expand=PointwiseConv2d(bottleneck, made, groups=groups, bias=False, rng=rng, dtype=dtype),
        bn3=BatchNorm2d(made, dtype=dtype),
    )
    unit: dict[str, Layer] = {}
    if stride == 1:
        unit["sum"] = Residual(main)
    else:
        pool = AvgPool2d(3, stride=2, padding=1, count_include_pad=True)
        unit["concat"] = Concat(shortcut=pool, main=main)
    unit["relu"] = ReLU()
    if flag("squeeze_excite", squeeze_excite):
        unit["squeeze_excite"] = SqueezeExcite(out_channels, max(out_channels // reduction, 1), rng=rng, dtype=dtype)
    return Sequential(**unit)


# Channels of stage 2 by groups, table 1; stages 3 and 4 have twice and four times as many.
STAGE2_CHANNELS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}


def shufflenet_v1(
    groups: int = 3,
    scale: float = 1.0,
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    shuffle: Shuffle = True,
    squeeze_excite: bool = False,
    reduction: int = 16,
    shallow: bool = False,
    stem_channels: int | None = None,
    fc_bias: bool = True,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """ShuffleNet, table 1 of the paper; the sizes are those of a 224 x 224 image.

    ======== ============================ ====== ====== ====== ====== ====== ======== ========
    layer    what                         g = 1  g = 2  g = 3  g = 4  g = 8  stride   output
    ======== ============================ ====== ====== ====== ====== ====== ======== ========
    stem     conv 3x3, batch norm, ReLU   24     24     24     24     24     2        112x112
    pool     max pool 3x3                 24     24     24     24     24     2        56x56
    stage2   4 units                      144    200    240    272    384    2, 1 ... 28x28
    stage3   8 units                      288    400    480    544    768    2, 1 ... 14x14
    stage4   4 units                      576    800    960    1088   1536   2, 1 ... 7x7
    head     global average pool, linear  ..     ..     ..     ..     ..     ..       1x1
    ======== ============================ ====== ====== ====== ====== ====== ======== ========

    Parameters
    ----------
    groups : 1, 2, 3, 4 or 8
        Of the pointwise convolutions, but the first one of stage 2, which has too few channels to be grouped.
    scale : float
        The network is "ShuffleNet scale x": every number of channels but the first and the last is the table's times
        scale. A stage's must be a multiple of 4 * groups; so 0.5 and 0.25 are not to be had with 2 or 4 groups.
    num_classes, in_channels : int
    shuffle, squeeze_excite, reduction
        Of all units, as in `shuffle_unit`.
    shallow : bool
        Whether the stages have half of their units: 2, 4 and 2.
    stem_channels : int, optional
        A multiple of groups. By default 24 * scale, or the next multiple above it, but 24 at scale 1.5: so in the authors'
        code, and so the published costs. Only the paper's 13 million at scale 0.25 come of 12 where this has 6.
    fc_bias : bool
        Whether the linear layer has a bias. In the authors' code it has none, in most others' it has.
    rng, dtype
        As in `npconv.nn.Conv2d`.

    Returns
    -------
    Sequential, x (N, in_channels, H, W) to logits (N, num_classes)

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range, numbers of channels that do not fit together.

    Notes
    -----
    The channels are shuffled as in the paper; the authors' code, and so the weights that they published, have the inverse
    permutation: ``shuffle="inverse"``.
    In the paper the "0.5x shallow" network has 40 million multiply-accumulates, which are those of about
    ``shufflenet_v1(3, 0.75, shallow=True, stem_channels=12)`` rather than of scale 0.5.

    Examples
    --------
    >>> import numpy as np
    >>> shufflenet_v1(3, rng=np.random.default_rng(0)).parameter_count()
    1865728
    """
    groups = integer("groups", groups, minimum=1)
    if groups not in STAGE2_CHANNELS:
        raise ValueError(f"groups must be 1, 2, 3, 4 or 8, got groups={groups}")
    scale = positive("scale", scale)
    num_classes = integer("num_classes", num_classes, minimum=1)
    stage2 = round(min(STAGE2_CHANNELS[groups] * scale, 2.0**63))  # which no array has
    if stage2 == 0 or stage2 % (4 * groups):
        raise ValueError(
            f"scale must make the {STAGE2_CHANNELS[groups]} channels of stage 2 a multiple of 4 * groups, "
            f"got scale={scale}, groups={groups}: {stage2} channels"
        )
    if stem_channels is None:
        stem_channels = 24 if scale == 1.5 else math.ceil(round(24 * scale) / groups) * groups
    elif integer("stem_channels", stem_channels, minimum=1) % groups or stem_channels >= stage2:
        raise ValueError(
            f"stem_channels must be a multiple of groups={groups} below the {stage2} channels of stage 2, "
            f"got stem_channels={stem_channels}"
        )
    made: dict[str, Any] = {"rng": rng, "dtype": dtype}
    options = {
        "groups": groups,
        "shuffle": shuffle,
        "squeeze_excite": squeeze_excite,
        "reduction": reduction,
        **made,
    }
    repeats = (2, 4, 2) if flag("shallow", shallow) else (4, 8, 4)
    return Sequential(
        stem=conv_block(in_channels, stem_channels, stride=2, **made),
        pool=MaxPool2d(3, stride=2, padding=1),
        stage2=_stage(stem_channels, stage2, repeats[0], group_first=False, **options),
        stage3=_stage(stage2, 2 * stage2, repeats[1], **options),
        stage4=_stage(2 * stage2, 4 * stage2, repeats[2], **options),
        head=classifier(4 * stage2, num_classes, bias=fc_bias, **made),
    )


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

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> tiny_shufflenet(rng=np.random.default_rng(0))(np.zeros((2, 1, 8, 8), np.float32)).shape
    (2, 10)
    """
    num_classes = integer("num_classes", num_classes, minimum=1)
    made: dict[str, Any] = {"rng": rng, "dtype": dtype}
    options = {"groups": groups, **made}
    return Sequential(
        stem=conv_block(in_channels, 24, stride=stem_stride, **made),
        stage1=_stage(24, 96, 2, group_first=False, **options),
        stage2=_stage(96, 192, 2, **options),
        head=classifier(192, num_classes, **made),
    )


def _stage(in_channels: int, out_channels: int, units: int, *, group_first: bool = True, **options: Any) -> Layer:
    """A unit of stride 2 and the others of stride 1; `options` are those of `shuffle_unit`."""
    first = shuffle_unit(in_channels, out_channels, stride=2, group_first=group_first, **options)
    return Sequential(first, *(shuffle_unit(out_channels, out_channels, **options) for _ in range(units - 1)))
