"""GhostNet (Han et al., arXiv 1911.11907): bottlenecks of ghost modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import flag, fraction, integer, positive, word
from npconv.models.blocks import classifier, conv_block, dropout_layer
from npconv.nn import (
    BatchNorm2d,
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
from npconv.nn.attention import Squash

Variant: TypeAlias = Literal["torch", "tensorflow"]


def make_divisible(value: float, divisor: int = 4) -> int:
    """The multiple of `divisor` nearest to `value`, halves upwards, but not below `divisor`, nor below 0.9 * value.

    The rounding of every scaled number of channels in the authors' code.

    Parameters
    ----------
    value : float above 0
    divisor : int

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        value is not a number above 0, or divisor is no int of at least 1.

    Notes
    -----
    The rounding of every scaled number of channels in the authors' published code, which has it from that of MobileNet V2.

    Examples
    --------
    >>> [make_divisible(value) for value in (18, 33, 30, 5.8, 1)]
    [20, 32, 32, 8, 4]
    """
    value = positive("value", value)
    divisor = integer("divisor", divisor, minimum=1)
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def ghostnet_channels(channels: int, width: float, variant: Variant = "torch") -> int:
    """`channels` under the width multiplier: a multiple of 4, by the rule of the authors' PyTorch or TensorFlow code.

    PyTorch's is ``make_divisible(channels * width, 4)``. TensorFlow's is the multiple of 4 nearest to int(channels * width),
    which is taken as 8 at least, halves to the even multiple.

    Parameters
    ----------
    channels : int
    width : float above 0
    variant : "torch" or "tensorflow"

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        channels is no int of at least 1, width is not a number above 0, or there is no such variant.

    Examples
    --------
    >>> [(ghostnet_channels(c, 1.1), ghostnet_channels(c, 1.1, "tensorflow")) for c in (16, 24, 72, 184)]
    [(16, 16), (28, 24), (80, 80), (204, 200)]
    """
    scaled = integer("channels", channels, minimum=1) * positive("width", width)
    if _checked(variant) == "torch":
        return make_divisible(scaled)
    return round(max(int(scaled), 8) / 4) * 4


def ghost_bottleneck(
    in_channels: int,
    expanded_channels: int,
    out_channels: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    squeeze_excite: bool = False,
    ratio: int = 2,
    variant: Variant = "torch",
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
    ratio : int
        Of the ghost modules.
    variant : "torch" or "tensorflow"
        Of squeeze and excite: the authors' PyTorch code has make_divisible(expanded_channels / 4) reduced channels and the
        gate hard_sigmoid, their TensorFlow code has expanded_channels // 4 and the gate clipped to [0, 1].
    rng, dtype
        As in `npconv.nn.Conv2d`.

    Returns
    -------
    Layer, x (N, in_channels, H, W) to y (N, out_channels, ceil(H / stride), ceil(W / stride)) for an odd kernel

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> ghost_bottleneck(8, 16, 12, stride=2, rng=np.random.default_rng(0))(np.zeros((1, 8, 5, 5), np.float32)).shape
    (1, 12, 3, 3)
    """

    def depthwise(channels: int) -> Layer:
        return DepthwiseConv2d(channels, kernel, stride=stride, padding=kernel // 2, bias=False, rng=rng, dtype=dtype)

    _checked(variant)
    main: dict[str, Layer] = {}
    main["expand"] = GhostModule(in_channels, expanded_channels, ratio=ratio, rng=rng, dtype=dtype)
    if stride != 1:
        main["depthwise"] = depthwise(expanded_channels)
        main["bn"] = BatchNorm2d(expanded_channels, dtype=dtype)
    if flag("squeeze_excite", squeeze_excite):
        torch = variant == "torch"
        reduced = make_divisible(expanded_channels / 4) if torch else max(expanded_channels // 4, 1)
        squash: Squash = "hard_sigmoid" if torch else "clip"
        main["squeeze_excite"] = SqueezeExcite(expanded_channels, reduced, squash=squash, rng=rng, dtype=dtype)
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


class _Row(NamedTuple):
    """One bottleneck of a table."""

    expanded: int
    out: int
    squeeze_excite: bool
    stride: int
    kernel: int = 3


# Table 1; the kernels, which it does not print, are the authors' code's.
_ROWS = (
    _Row(16, 16, False, 1),
    _Row(48, 24, False, 2),
    _Row(72, 24, False, 1),
    _Row(72, 40, True, 2, 5),
    _Row(120, 40, True, 1, 5),
    _Row(240, 80, False, 2),
    _Row(200, 80, False, 1),
    _Row(184, 80, False, 1),
    _Row(184, 80, False, 1),
    _Row(480, 112, True, 1),
    _Row(672, 112, True, 1),
    _Row(672, 160, True, 2, 5),
    _Row(960, 160, False, 1, 5),
    _Row(960, 160, True, 1, 5),
    _Row(960, 160, False, 1, 5),
    _Row(960, 160, True, 1, 5),
)
_TINY_ROWS = (_Row(16, 16, False, 1), _Row(48, 24, False, 2), _Row(72, 24, True, 1), _Row(72, 40, True, 2))


def ghostnet(
    width: float = 1.0,
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    variant: Variant = "torch",
    ratio: int = 2,
    dropout: float = 0.2,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """GhostNet, table 1 of the paper; the sizes are those of a 224 x 224 image.

    ======== ================================ ======== ======== === ====== ====== ========
    layer    what                             expanded channels SE  kernel stride output
    ======== ================================ ======== ======== === ====== ====== ========
    stem     conv 3x3, batch norm, ReLU                16                  2      112x112
    block1   ghost bottleneck                 16       16           3      1      112x112
    block2   ghost bottleneck                 48       24           3      2      56x56
    block3   ghost bottleneck                 72       24           3      1      56x56
    block4   ghost bottleneck                 72       40       yes 5      2      28x28
    block5   ghost bottleneck                 120      40       yes 5      1      28x28
    block6   ghost bottleneck                 240      80           3      2      14x14
    block7   ghost bottleneck                 200      80           3      1      14x14
    block8   ghost bottleneck                 184      80           3      1      14x14
    block9   ghost bottleneck                 184      80           3      1      14x14
    block10  ghost bottleneck                 480      112      yes 3      1      14x14
    block11  ghost bottleneck                 672      112      yes 3      1      14x14
    block12  ghost bottleneck                 672      160      yes 5      2      7x7
    block13  ghost bottleneck                 960      160          5      1      7x7
    block14  ghost bottleneck                 960      160      yes 5      1      7x7
    block15  ghost bottleneck                 960      160          5      1      7x7
    block16  ghost bottleneck                 960      160      yes 5      1      7x7
    conv     conv 1x1, batch norm, ReLU                960                        7x7
    head     global average pool, conv 1x1             1280                       1x1
             to 1280, ReLU, dropout, linear            classes
    ======== ================================ ======== ======== === ====== ====== ========

    The kernel is that of the depthwise convolutions between the ghost modules and in the shortcut, so it is idle where a
    bottleneck has neither.

    Parameters
    ----------
    width : float
        The width multiplier, 0.5, 1, 1.1 or 1.3 in the paper: every number of channels but the first, the 1280 and the
        last is `ghostnet_channels` of the table's.
    num_classes, in_channels : int
    variant : "torch" or "tensorflow"
        Which of the authors' two programs this is, where they differ: the rounding of `ghostnet_channels`; squeeze and excite
        as in `ghost_bottleneck`; and the head, whose 1x1 convolution has a bias in "torch", a batch norm in "tensorflow".
        The paper's 164 million multiply-accumulates at width 1.1 come of "tensorflow" alone.
    ratio : int
        Of the ghost modules, 2 in the paper.
    dropout : float in [0, 1)
        Before the linear layer, by default the authors'; at 0 there is no such layer.
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
    >>> ghostnet(rng=np.random.default_rng(0)).parameter_count()
    5182508
    """
    num_classes = integer("num_classes", num_classes, minimum=1)
    dropout = fraction("dropout", dropout, below_one=True)
    stem, last = (ghostnet_channels(channels, width, variant) for channels in (16, 960))
    rows = [
        row._replace(
            expanded=ghostnet_channels(row.expanded, width, variant), out=ghostnet_channels(row.out, width, variant)
        )
        for row in _ROWS
    ]
    options: dict[str, Any] = {"rng": rng, "dtype": dtype}
    return Sequential(
        stem=conv_block(in_channels, stem, stride=2, **options),
        **_bottlenecks(stem, rows, ratio=ratio, variant=variant, **options),
        conv=_pointwise_block(rows[-1].out, last, **options),
        head=Sequential(
            pool=GlobalAvgPool2d(),
            pointwise=PointwiseConv2d(last, 1280, bias=variant == "torch", **options),
            **({} if variant == "torch" else {"bn": BatchNorm2d(1280, dtype=dtype)}),
            relu=ReLU(),
            flatten=Flatten(),
            **dropout_layer(dropout, rng),
            linear=Linear(1280, num_classes, **options),
        ),
    )


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

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> tiny_ghostnet(rng=np.random.default_rng(0))(np.zeros((2, 1, 8, 8), np.float32)).shape
    (2, 10)
    """
    num_classes = integer("num_classes", num_classes, minimum=1)
    options: dict[str, Any] = {"rng": rng, "dtype": dtype}
    return Sequential(
        stem=conv_block(in_channels, 16, stride=stem_stride, **options),
        **_bottlenecks(16, _TINY_ROWS, ratio=ratio, **options),
        conv=_pointwise_block(40, 120, **options),
        head=classifier(120, num_classes, **options),
    )


def _bottlenecks(in_channels: int, rows: Sequence[_Row], **options: Any) -> dict[str, Layer]:
    """A bottleneck for each row, by name; `options` are those of `ghost_bottleneck` that no row has."""
    blocks: dict[str, Layer] = {}
    for place, row in enumerate(rows, 1):
        blocks[f"block{place}"] = ghost_bottleneck(
            in_channels,
            row.expanded,
            row.out,
            kernel=row.kernel,
            stride=row.stride,
            squeeze_excite=row.squeeze_excite,
            **options,
        )
        in_channels = row.out
    return blocks


def _pointwise_block(in_channels: int, out_channels: int, *, rng: np.random.Generator, dtype: DTypeLike) -> Layer:
    """The 1x1 convolution behind the bottlenecks, with batch norm and ReLU."""
    return Sequential(
        pointwise=PointwiseConv2d(in_channels, out_channels, bias=False, rng=rng, dtype=dtype),
        bn=BatchNorm2d(out_channels, dtype=dtype),
        relu=ReLU(),
    )


def _checked(variant: Variant) -> Variant:
    """`variant`, once it is known to be one."""
    word("variant", variant, "torch", "tensorflow")
    return variant
