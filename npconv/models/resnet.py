"""ResNet (He et al., arXiv 1512.03385 and 1603.05027), the baseline of standard convolutions that the papers transform.

Also ResNeXt (Xie et al., arXiv 1611.05431), which is ResNet with group convolutions, and Ghost-ResNet-50 (Han et al.,
arXiv 1911.11907), which is ResNet with its convolutions replaced. Those for small images are in `npconv.models.resnet_cifar`.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import Array, Padding, check_shape, flag, integer, word
from npconv.models.blocks import classifier, conv_block, stage
from npconv.nn import (
    BatchNorm2d,
    Conv2d,
    Layer,
    MaxPool2d,
    PointwiseConv2d,
    ReLU,
    Residual,
    Sequential,
    SqueezeExcite,
    replace_convs,
)

Version: TypeAlias = Literal["v1", "v2"]
Shortcut: TypeAlias = Literal["projection", "zeros"]

BLOCKS = {26: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3)}

# --- blocks ------------------------------------------------------------------------------------------------------


def basic_block(
    in_channels: int,
    out_channels: int,
    *,
    stride: int = 1,
    shortcut: Shortcut = "projection",
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Layer:
    """ResNet's basic block: two 3x3 convolutions and a shortcut around them.

    ``y = relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))``; conv1 has the stride.

    Parameters
    ----------
    in_channels, out_channels, stride : int
    shortcut : "projection" or "zeros"
        What it is where the identity does not fit, section 4.1: "projection", a 1x1 convolution with the stride and a
        batch norm (the paper's option B), or "zeros", `ZeroPadShortcut` (option A, for CIFAR-10).
    rng, dtype
        As in `npconv.nn.Conv2d`.

    Returns
    -------
    Layer, x (N, in_channels, H, W) to y (N, out_channels, ceil(H / stride), ceil(W / stride))

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range; "zeros" with fewer output than input channels.

    Notes
    -----
    He et al. (arXiv 1512.03385), figure 5, on the left.

    Examples
    --------
    >>> import numpy as np
    >>> basic_block(8, 16, stride=2, rng=np.random.default_rng(0))(np.zeros((1, 8, 5, 5), np.float32)).shape
    (1, 16, 3, 3)
    """
    word("shortcut", shortcut, "projection", "zeros")
    main = two_convolutions(in_channels, out_channels, stride=stride, rng=rng, dtype=dtype)
    around: Layer | None = None
    if (stride, in_channels) != (1, out_channels):
        if shortcut == "projection":
            around = Sequential(
                conv=PointwiseConv2d(in_channels, out_channels, stride=stride, bias=False, rng=rng, dtype=dtype),
                bn=BatchNorm2d(out_channels, dtype=dtype),
            )
        else:
            around = ZeroPadShortcut(in_channels, out_channels, stride=stride)
    return Sequential(sum=Residual(main, around), relu=ReLU())


def bottleneck_block(
    in_channels: int,
    bottleneck: int,
    out_channels: int,
    *,
    stride: int = 1,
    stride_last: bool = False,
    groups: int = 1,
    squeeze_excite: bool = False,
    version: Version = "v1",
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Layer:
    """ResNet's bottleneck block: a 1x1 convolution, a 3x3 one, a 1x1 one, and a shortcut around them.

    version "v1" (arXiv 1512.03385, figure 5): ``relu(main + shortcut)``, each convolution followed by its batch norm, all
    but the last by a ReLU too; version "v2" (arXiv 1603.05027, figure 4e): ``main + shortcut``, each convolution after its
    batch norm and ReLU.

    Parameters
    ----------
    in_channels : int
    bottleneck : int
        Channels that the 3x3 convolution reads and makes.
    out_channels : int
    stride : int
    stride_last : bool
        Whether the last convolution has the stride, instead of the 3x3 one as in Torch's ResNet.
    groups : int
        Of the 3x3 convolution: ResNeXt's cardinality.
    squeeze_excite : bool
        Whether main ends with `npconv.nn.SqueezeExcite` (arXiv 1709.01507), reduced to out_channels // 16. Its gate is a
        hard sigmoid, there a sigmoid, which costs the same.
    version : "v1" or "v2"
    rng, dtype
        As in `npconv.nn.Conv2d`.

    Returns
    -------
    Layer, x (N, in_channels, H, W) to y (N, out_channels, ceil(H / stride), ceil(W / stride))

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Notes
    -----
    The shortcut is the identity at stride 1 with in_channels = out_channels, else a 1x1 convolution with the stride. In
    version "v2" it has its own batch norm and ReLU before it, as in the code of Drop an Octave; the paper shares main's.

    Examples
    --------
    >>> import numpy as np
    >>> bottleneck_block(8, 4, 16, stride=2, rng=np.random.default_rng(0))(np.zeros((1, 8, 5, 5), np.float32)).shape
    (1, 16, 3, 3)
    """
    word("version", version, "v1", "v2")
    made: dict[str, Any] = {"bias": False, "rng": rng, "dtype": dtype}
    strides = (1, stride) if flag("stride_last", stride_last) else (stride, 1)
    convolutions: tuple[Layer, ...] = (
        PointwiseConv2d(in_channels, bottleneck, **made),
        Conv2d(bottleneck, bottleneck, 3, stride=strides[0], padding=1, groups=groups, **made),
        PointwiseConv2d(bottleneck, out_channels, stride=strides[1], **made),
    )
    main: dict[str, Layer] = {}
    for place, conv in enumerate(convolutions, 1):
        if version == "v1":
            main[f"conv{place}"] = conv
            main[f"bn{place}"] = BatchNorm2d(out_channels if place == 3 else bottleneck, dtype=dtype)
            if place < 3:
                main[f"relu{place}"] = ReLU()
        else:
            main[f"bn{place}"] = BatchNorm2d(in_channels if place == 1 else bottleneck, dtype=dtype)
            main[f"relu{place}"] = ReLU()
            main[f"conv{place}"] = conv
    if flag("squeeze_excite", squeeze_excite):
        main["squeeze_excite"] = SqueezeExcite(out_channels, max(out_channels // 16, 1), rng=rng, dtype=dtype)
    shortcut = None
    if (stride, in_channels) != (1, out_channels):
        projection = PointwiseConv2d(in_channels, out_channels, stride=stride, **made)
        if version == "v1":
            shortcut = Sequential(conv=projection, bn=BatchNorm2d(out_channels, dtype=dtype))
        else:
            shortcut = Sequential(bn=BatchNorm2d(in_channels, dtype=dtype), relu=ReLU(), conv=projection)
    total = Residual(Sequential(**main), shortcut)
    return Sequential(sum=total, relu=ReLU()) if version == "v1" else Sequential(sum=total)


class ZeroPadShortcut(Layer):
    """ResNet's option A: every stride-th pixel, and zeros as further channels; it learns nothing.

    Parameters
    ----------
    in_channels, out_channels, stride : int
        out_channels at least in_channels.

    Notes
    -----
    arXiv 1512.03385, section 4.1. The paper does not say where the zeros stand; here it is behind the channels of x.

    Examples
    --------
    >>> import numpy as np
    >>> ZeroPadShortcut(1, 2, stride=2)(np.ones((1, 1, 3, 3)))[0].sum(axis=(1, 2))
    array([4., 0.])
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.in_channels = integer("in_channels", in_channels, minimum=1)
        self.out_channels = integer("out_channels", out_channels, minimum=1)
        self.stride = integer("stride", stride, minimum=1)
        if out_channels < in_channels:
            raise ValueError(
                f"out_channels must be at least in_channels = {in_channels}, got out_channels={out_channels}"
            )

    def forward(self, x: Array) -> Array:
        batch, channels, height, width = x.shape
        check_shape("x", x, (batch, self.in_channels, height, width), "in_channels on axis 1")
        picked = x[:, :, :: self.stride, :: self.stride]
        y = np.zeros((batch, self.out_channels, *picked.shape[2:]), x.dtype)
        y[:, :channels] = picked
        self._keep(x.shape, y.shape)
        return y

    def backward(self, dy: Array) -> Array:
        """The pixels that were left out get 0, the channels that were zeros give nothing."""
        x_shape, y_shape = self._recall()
        check_shape("dy", dy, y_shape, "that of the output")
        dx = np.zeros(x_shape, dy.dtype)
        dx[:, :, :: self.stride, :: self.stride] = dy[:, : self.in_channels]
        return dx


def two_convolutions(
    in_channels: int,
    out_channels: int,
    *,
    stride: int,
    padding: Padding = 1,
    bias: bool = False,
    rng: np.random.Generator,
    dtype: DTypeLike,
) -> Sequential:
    """The main branch of a basic block."""
    made: dict[str, Any] = {"padding": padding, "bias": bias, "rng": rng, "dtype": dtype}
    return Sequential(
        conv1=Conv2d(in_channels, out_channels, 3, stride=stride, **made),
        bn1=BatchNorm2d(out_channels, dtype=dtype),
        relu1=ReLU(),
        conv2=Conv2d(out_channels, out_channels, 3, **made),
        bn2=BatchNorm2d(out_channels, dtype=dtype),
    )


# --- networks for ImageNet ---------------------------------------------------------------------------------------


def resnet(
    depth: int = 50,
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    version: Version = "v1",
    groups: int = 1,
    group_width: int = 64,
    squeeze_excite: bool = False,
    channels: int = 64,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """ResNet of bottleneck blocks, table 1 of the paper; the sizes are those of a 224 x 224 image.

    ======== ================================ ========== ======== ======== ====== =================
    layer    what                             bottleneck channels stride   output blocks of depth
                                                                                  26 50 101 152 200
    ======== ================================ ========== ======== ======== ====== =================
    stem     conv 7x7, batch norm, ReLU,                 64       2        56x56
             max pool 3x3                                         2
    stage1   bottleneck blocks                64         256      1        56x56  2  3  3   3   3
    stage2   bottleneck blocks                128        512      2        28x28  2  4  4   8   24
    stage3   bottleneck blocks                256        1024     2        14x14  2  6  23  36  36
    stage4   bottleneck blocks                512        2048     2        7x7    2  3  3   3   3
    last     batch norm, ReLU (only in v2)               2048              7x7
    head     global average pool, linear                 classes           1x1
    ======== ================================ ========== ======== ======== ====== =================

    The first block of a stage has its stride, in the 3x3 convolution and in the projection.

    Parameters
    ----------
    depth : 26, 50, 101, 152 or 200
    num_classes, in_channels : int
    version : "v1" or "v2"
        "v2" has pre-activation blocks, see `bottleneck_block`.
    groups, group_width : int
        ResNeXt: the 3x3 convolutions have `groups` groups, and in stage1 of `group_width` channels each, which double from
        stage to stage. ResNeXt-50 32x4d is ``resnet(50, groups=32, group_width=4)``.
    squeeze_excite : bool
        Whether each block has a squeeze-and-excite, see `bottleneck_block`.
    channels : int
        Of the stem, where the paper has 64; the blocks give 4, 8, 16 and 32 times as many.
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
    Layer by layer the version "v1" is torchvision's ``resnet50``, ``resnet101``, ``resnet152``, ``resnext50_32x4d``.

    Examples
    --------
    >>> import numpy as np
    >>> net = resnet(26, 10, channels=8, rng=np.random.default_rng(0))
    >>> net.children()["stage4"].children()["0"].children()["sum"].children()["shortcut"]
    Sequential
      conv: PointwiseConv2d(128, 256, stride=2, bias=False)
      bn: BatchNorm2d(256)
    """
    num_classes = integer("num_classes", num_classes, minimum=1)
    if integer("depth", depth, minimum=1) not in BLOCKS:
        raise ValueError(f"depth must be one of {', '.join(map(str, BLOCKS))}, got {depth}")
    channels = integer("channels", channels, minimum=1)
    groups = integer("groups", groups, minimum=1)
    bottleneck = integer("group_width", group_width, minimum=1) * groups * channels // 64
    made: dict[str, Any] = {"rng": rng, "dtype": dtype}
    options = {"groups": groups, "squeeze_excite": squeeze_excite, "version": version, **made}
    stem = conv_block(in_channels, channels, 7, stride=2, padding=3, **made)
    net: dict[str, Layer] = {"stem": Sequential(**stem.children(), pool=MaxPool2d(3, stride=2, padding=1))}
    into = channels
    for place, repeats in enumerate(BLOCKS[depth]):
        sizes = bottleneck * 2**place, 4 * channels * 2**place
        stride = 2 if place else 1  # stage1 reads what the stem has pooled
        net[f"stage{place + 1}"] = stage(bottleneck_block, into, *sizes, repeats=repeats, stride=stride, **options)
        into = sizes[-1]
    if version == "v2":
        net["last"] = Sequential(bn=BatchNorm2d(into, dtype=dtype), relu=ReLU())
    return Sequential(**net, head=classifier(into, num_classes, **made))


def ghost_resnet50(
    ratio: int = 2,
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    cheap_kernel: int = 3,
    keep_projections: bool = False,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """Ghost-ResNet-50 (GhostNet, arXiv 1911.11907): ResNet-50 with ghost modules for all convolutions but the first.

    Parameters
    ----------
    ratio : int
        s: how many maps come of one convolution; 2 and 4 in the paper.
    num_classes, in_channels : int
    cheap_kernel : int
        d: of the depthwise convolutions.
    keep_projections : bool
        Whether the projection shortcuts stay convolutions; the authors' code replaces them too.
    rng, dtype
        As in `npconv.nn.Conv2d`.

    Returns
    -------
    Sequential, x (N, in_channels, H, W) to logits (N, num_classes); its parts are those of `resnet`

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Notes
    -----
    The multiply-accumulates are the table's; its 13.0 and 6.5 million parameters are not those of this network.

    Examples
    --------
    >>> import numpy as np
    >>> ghost_resnet50(rng=np.random.default_rng(0)).parameter_count()
    13953512
    """
    plain = resnet(50, num_classes, in_channels, rng=rng, dtype=dtype)
    keep = ("*.shortcut.conv",) if flag("keep_projections", keep_projections) else ()
    return replace_convs(plain, "ghost", ratio=ratio, cheap_kernel=cheap_kernel, keep=keep, rng=rng)
