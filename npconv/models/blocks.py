"""What the papers do not differ in: a convolution with its batch norm and activation, a stage of blocks, the classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import IntOrPair, Padding
from npconv.nn import BatchNorm2d, Conv2d, Dropout, Flatten, GlobalAvgPool2d, Layer, Linear, ReLU, Sequential


def conv_block(
    in_channels: int,
    out_channels: int,
    kernel: IntOrPair = 3,
    *,
    stride: int = 1,
    padding: Padding = 1,
    bias: bool = False,
    activation: Callable[[], Layer] = ReLU,
    eps: float = 1e-5,
    momentum: float = 0.1,
    rng: np.random.Generator,
    dtype: DTypeLike,
) -> Sequential:
    """Convolution, batch norm, activation, as ``conv``, ``bn`` and ``relu``: the stem of every network here."""
    made: dict[str, Any] = {"rng": rng, "dtype": dtype}
    return Sequential(
        conv=Conv2d(in_channels, out_channels, kernel, stride=stride, padding=padding, bias=bias, **made),
        bn=BatchNorm2d(out_channels, eps=eps, momentum=momentum, dtype=dtype),
        relu=activation(),
    )


def conv_chain(
    in_channels: int, rows: Iterable[tuple[int, int]], *, rng: np.random.Generator, dtype: DTypeLike
) -> Sequential:
    """A `conv_block` for each (channels, stride) of `rows`, laid flat: ``conv1``, ``bn1``, ``relu1``, ``conv2``, ..."""
    layers: dict[str, Layer] = {}
    for place, (out_channels, stride) in enumerate(rows, 1):
        block = conv_block(in_channels, out_channels, stride=stride, rng=rng, dtype=dtype)
        layers |= {f"{name}{place}": layer for name, layer in block.children().items()}
        in_channels = out_channels
    return Sequential(**layers)


def stage(
    block: Callable[..., Layer], in_channels: int, *sizes: int, repeats: int, stride: int, **options: Any
) -> Sequential:
    """`repeats` blocks ``block(channels, *sizes)``, where sizes ends with the output channels; the first has the stride."""
    first = block(in_channels, *sizes, stride=stride, **options)
    return Sequential(first, *(block(sizes[-1], *sizes, **options) for _ in range(repeats - 1)))


def classifier(
    channels: int,
    num_classes: int,
    *,
    dropout: float = 0.0,
    bias: bool = True,
    rng: np.random.Generator,
    dtype: DTypeLike,
) -> Sequential:
    """Global average pool, dropout unless its rate is 0, linear layer: maps (N, channels, H, W) to logits (N, num_classes)."""
    return Sequential(
        pool=GlobalAvgPool2d(),
        flatten=Flatten(),
        **dropout_layer(dropout, rng),
        linear=Linear(channels, num_classes, bias=bias, rng=rng, dtype=dtype),
    )


def dropout_layer(rate: float, rng: np.random.Generator) -> dict[str, Layer]:
    """The layer by its name, ``dropout``; none where nothing is dropped."""
    return {"dropout": Dropout(rate, rng=rng)} if rate else {}
