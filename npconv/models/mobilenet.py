"""MobileNet (Howard et al., arXiv 1704.04861): networks of depthwise separable convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import Padding, fraction, integer, positive, word
from npconv.models.blocks import classifier, conv_block
from npconv.nn import BatchNorm2d, DepthwiseConv2d, Layer, PointwiseConv2d, ReLU, ReLU6, Sequential

Activation: TypeAlias = Literal["relu6", "relu"]


def scaled_channels(channels: int, width: float) -> int:
    """`channels` under the width multiplier, section 3.3: int(width * channels), and 8 at least, as in the authors' code.

    Parameters
    ----------
    channels : int
    width : float above 0

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        channels is no int of at least 1, or width is not a number above 0.

    Examples
    --------
    >>> [scaled_channels(32, width) for width in (1, 0.75, 0.5, 0.1)]
    [32, 24, 16, 8]
    """
    scaled = integer("channels", channels, minimum=1) * positive("width", width)
    return max(integer("width * channels", int(min(scaled, 2.0**63))), 8)  # infinite at a width of 1e308


def separable_block(
    in_channels: int,
    out_channels: int,
    *,
    stride: int = 1,
    kernel: int = 3,
    padding: Padding | None = None,
    activation: Callable[[], Layer] = ReLU,
    eps: float = 1e-5,
    momentum: float = 0.1,
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
    eps, momentum : float
        Of both batch norms, as in `npconv.nn.BatchNorm2d`.
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
    >>> separable_block(8, 16, stride=2, rng=np.random.default_rng(0))(np.zeros((1, 8, 5, 5), np.float32)).shape
    (1, 16, 3, 3)
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
        bn1=BatchNorm2d(in_channels, eps=eps, momentum=momentum, dtype=dtype),
        relu1=activation(),
        pointwise=PointwiseConv2d(in_channels, out_channels, bias=False, rng=rng, dtype=dtype),
        bn2=BatchNorm2d(out_channels, eps=eps, momentum=momentum, dtype=dtype),
        relu2=activation(),
    )


# (channels, stride) of the stem and of the blocks of table 1.
STEM = (32, 2)
BEFORE = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2))
FIVE_ALIKE = ((512, 1),) * 5
AFTER = ((1024, 2), (1024, 1))


def mobilenet_v1(
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
    """MobileNet, table 1 of the paper; the sizes are those of a 224 x 224 image.

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
    block7   separable block                  512      1        14x14
    block8   separable block                  512      1        14x14
    block9   separable block                  512      1        14x14
    block10  separable block                  512      1        14x14
    block11  separable block                  512      1        14x14
    block12  separable block                  1024     2        7x7
    block13  separable block                  1024     1        7x7
    head     global average pool, dropout,    classes           1x1
             linear
    ======== ================================ ======== ======== ========

    The resolution multiplier of section 3.4 is the size of the images: 224, 192, 160 or 128 in the paper.

    Parameters
    ----------
    width : float
        The width multiplier alpha of section 3.3, 1, 0.75, 0.5 or 0.25 in the paper: every number of channels but the
        first and the last is `scaled_channels` of the table's.
    num_classes, in_channels : int
    activation : "relu6" or "relu"
        The authors' code has ReLU6 where the paper writes ReLU.
    padding : "same" or 1
        Of all 3x3 convolutions. "same" is TensorFlow's, and so the authors'; ports to PyTorch pad by 1 on every side, which
        at stride 2 reads other pixels. The sizes of all maps are the same.
    eps, momentum : float
        Of all batch norms, as in `npconv.nn.BatchNorm2d`. eps is the authors'; their decay of 0.9997 is a momentum of
        0.0003, which needs some ten thousand steps to forget how the statistics began.
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

    Notes
    -----
    Table 1 prints stride 2 for the last depthwise convolution, whose output it gives the size of its input: it is 1.
    ``mobilenet_v1(0.25, 2, activation="relu")`` at 96 x 96 is MLPerf Tiny's network for visual wake words, save that there
    the convolutions have biases too, which the batch norms take away again.

    Examples
    --------
    >>> import numpy as np
    >>> net = mobilenet_v1(0.25, rng=np.random.default_rng(0))
    >>> net.parameter_count(), net.children()["block13"].children()["pointwise"]
    (470072, PointwiseConv2d(256, 256, bias=False))
    """
    return network(
        STEM,
        (*BEFORE, *FIVE_ALIKE, *AFTER),
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

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> tiny_mobilenet(rng=np.random.default_rng(0))(np.zeros((2, 1, 8, 8), np.float32)).shape
    (2, 10)
    """
    return network(
        (16, stem_stride),
        ((32, 1), (64, 2), (64, 1), (128, 2)),
        separable_block,
        width=width,
        num_classes=num_classes,
        in_channels=in_channels,
        activation="relu",
        padding=1,
        rng=rng,
        dtype=dtype,
    )


def network(
    stem: tuple[int, int],
    rows: Sequence[tuple[int, int]],
    block: Callable[..., Layer],
    *,
    width: float,
    num_classes: int,
    in_channels: int,
    activation: Activation,
    dropout: float = 0.0,
    rng: np.random.Generator,
    dtype: DTypeLike,
    **options: Any,
) -> Sequential:
    """A stem, a `block` for each of `rows`, all (channels, stride), and a classifier; `options` are those of a block."""
    activations: dict[str, type[Layer]] = {"relu6": ReLU6, "relu": ReLU}
    word("activation", activation, "relu6", "relu")
    num_classes = integer("num_classes", num_classes, minimum=1)
    dropout = fraction("dropout", dropout, below_one=True)
    made: dict[str, Any] = {"rng": rng, "dtype": dtype}
    options |= {"activation": activations[activation], **made}
    channels, stride = scaled_channels(stem[0], width), stem[1]
    layers: dict[str, Layer] = {"stem": conv_block(in_channels, channels, stride=stride, **options)}
    for place, (table_channels, stride) in enumerate(rows, 1):
        out_channels = scaled_channels(table_channels, width)
        layers[f"block{place}"] = block(channels, out_channels, stride=stride, **options)
        channels = out_channels
    return Sequential(**layers, head=classifier(channels, num_classes, dropout=dropout, **made))
