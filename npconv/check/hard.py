"""Hand-picked hard problems: where other implementations have been wrong, or take another way than usual."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from npconv.check.case import divisible
from npconv.geometry import Pair
from npconv.ops import OctaveBias, OctaveMap, OctaveWeight
from npconv.testing import Problem, Tree


class Window(NamedTuple):
    """A kernel on an image, with the options of the convolution or pooling."""

    batch: int
    channels: int
    size: Pair
    kernel: Pair
    options: dict[str, Any]


WINDOWS: dict[str, Window] = {
    "floor case": Window(2, 3, (8, 9), (3, 3), {"stride": 2}),
    "floor case by several rows": Window(1, 2, (13, 12), (2, 2), {"stride": 5}),
    "floor case with padding and dilation": Window(1, 3, (9, 8), (3, 2), {"stride": 3, "padding": 1, "dilation": 2}),
    "same at stride 2, even size": Window(2, 3, (8, 8), (3, 3), {"stride": 2, "padding": "same"}),
    "same at stride 3": Window(1, 3, (10, 11), (5, 4), {"stride": 3, "padding": "same"}),
    "same_lower at stride 2": Window(2, 3, (8, 7), (3, 4), {"stride": 2, "padding": "same_lower"}),
    "same, even kernel": Window(1, 4, (6, 7), (2, 4), {"padding": "same"}),
    "same, stride larger than the kernel": Window(1, 2, (9, 9), (1, 2), {"stride": 3, "padding": "same"}),
    "dilation with same": Window(1, 3, (9, 8), (3, 2), {"padding": "same", "dilation": 2}),
    "dilation with same at stride 2": Window(
        1, 2, (9, 10), (3, 3), {"stride": 2, "padding": "same", "dilation": (2, 3)}
    ),
    "different dilations": Window(1, 2, (9, 9), (3, 2), {"dilation": (3, 1)}),
    "different strides": Window(1, 3, (9, 9), (3, 3), {"stride": (1, 3), "padding": 1}),
    "a different padding on each side": Window(1, 3, (5, 6), (4, 3), {"padding": ((0, 2), (1, 0))}),
    "huge padding": Window(1, 2, (2, 3), (3, 3), {"padding": 9}),
    "kernel as large as the image": Window(2, 3, (5, 6), (5, 6), {}),
    "kernel larger than the image": Window(1, 2, (3, 3), (7, 5), {"padding": 3}),
    "one row": Window(1, 3, (6, 9), (1, 7), {"padding": (0, 3)}),
    "one column": Window(1, 3, (9, 6), (7, 1), {"padding": (3, 0)}),
    "one pixel": Window(3, 5, (1, 1), (1, 1), {}),
    "24 channels": Window(1, 24, (7, 7), (3, 3), {"padding": 1}),
    "a size that nothing tiles": Window(1, 17, (33, 31), (3, 3), {"padding": 1}),
    "no image": Window(0, 3, (5, 5), (3, 3), {"padding": 1}),
    "many images": Window(9, 2, (4, 4), (3, 3), {"padding": 1}),
}

OCTAVES: dict[str, tuple[Pair, Pair, Pair, dict[str, Any]]] = {
    # (high, low) input channels, (high, low) output channels, rows and columns of the high map, options
    "odd size": ((2, 2), (3, 1), (7, 5), {"padding": 1}),
    "odd size, pooled first": ((2, 2), (2, 2), (7, 9), {"padding": 1, "stride": 2}),
    "rows that 4 does not divide, pooled first": ((3, 1), (1, 3), (10, 6), {"padding": 1, "stride": 2}),
    "strided convolutions": ((2, 2), (2, 2), (8, 8), {"padding": 1, "stride": 2, "stride_mode": "conv"}),
    "high only in": ((4, 0), (2, 2), (6, 6), {"padding": "same"}),
    "low only in": ((0, 4), (2, 2), (6, 6), {"padding": "same"}),
    "high only out": ((2, 2), (4, 0), (6, 6), {"padding": "same"}),
    "low only out": ((2, 2), (0, 4), (6, 6), {"padding": "same"}),
    "dilation with same": ((2, 1), (1, 2), (8, 8), {"padding": "same", "dilation": 2}),
    "no image": ((2, 2), (2, 2), (6, 6), {"padding": 1}),
    "24 channels": ((12, 12), (12, 12), (8, 8), {"padding": 1}),
    "a million numbers": ((2, 2), (8, 8), (330, 330), {"padding": 1}),
}

SHAPES: dict[str, tuple[int, ...]] = {
    "no image": (0, 3, 4, 4),
    "one pixel": (1, 4, 1, 1),
    "24 channels": (2, 24, 3, 5),
    "a size that nothing tiles": (3, 12, 9, 7),
    "one column": (2, 6, 13, 1),
}


def hard(op: str) -> list[tuple[str, Problem, str | None]]:
    """(label, problem, kind of numbers) of every hard problem that `op` has; all numbers are 0 here."""
    rows = [(label, divisible(Problem(op, args, options)), None) for label, args, options in _PROBLEMS[op](op)]
    return [*rows, *_long_sums(op)]


def _long_sums(op: str) -> Iterator[tuple[str, Problem, str | None]]:
    """Sums of thousands of terms, of which few are not 0 and need many digits."""
    for channels in (512, 1024):
        if op == "conv2d":
            args, options = (_z(1, channels, 4, 4), _z(6, channels, 3, 3), None), {"padding": 1}
        elif op == "pointwise_conv2d":
            args, options = (_z(1, 9 * channels, 2, 3), _z(4, 9 * channels, 1, 1), None), {}
        elif op == "linear":
            args, options = (_z(2, 9 * channels), _z(4, 9 * channels), None), {}
        else:
            return
        for kind in ("x: 12 bits", "w: 12 bits", "dy: 12 bits"):
            yield f"{9 * channels} terms, {kind}", Problem(op, args, options), kind


_Rows: TypeAlias = Iterator[tuple[str, tuple[Tree, ...], dict[str, Any]]]


def _z(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


def _conv2d(op: str) -> _Rows:
    for number, (label, (batch, channels, size, kernel, options)) in enumerate(WINDOWS.items()):
        bias = _z(5) if number % 2 else None
        yield label, (_z(batch, channels, *size), _z(5, channels, *kernel), bias), options
    for label, groups, ins, outs in (
        ("groups of several channels", 3, 2, 4),
        ("groups with a multiplier", 4, 1, 3),
        ("as many groups as channels", 6, 1, 1),
        ("24 channels in 3 groups", 3, 8, 8),
        ("groups of one output", 4, 3, 1),
    ):
        w, b = _z(groups * outs, ins, 3, 3), _z(groups * outs)
        yield label, (_z(2, groups * ins, 6, 7), w, b), {"padding": 1, "groups": groups, "stride": 2}
    yield "4608 terms", (_z(1, 512, 4, 4), _z(6, 512, 3, 3), None), {"padding": 1}
    yield "a million numbers", (_z(1, 2, 330, 320), _z(10, 2, 3, 3), None), {"padding": 1}


def _depthwise_conv2d(op: str) -> _Rows:
    for number, (label, (batch, channels, size, kernel, options)) in enumerate(WINDOWS.items()):
        multiplier = 1 + number % 3
        bias = _z(channels * multiplier) if number % 2 else None
        yield label, (_z(batch, channels, *size), _z(channels * multiplier, 1, *kernel), bias), options
    yield "a million numbers", (_z(1, 10, 330, 320), _z(10, 1, 3, 3), None), {"padding": 1}


def _pointwise_conv2d(op: str) -> _Rows:
    for label, (batch, channels, height, width) in SHAPES.items():
        for groups in (1, channels):
            x, w = _z(batch, channels, height, width), _z(2 * channels, channels // groups, 1, 1)
            yield f"{label}, groups {groups}", (x, w, _z(2 * channels)), {"groups": groups}
            yield f"{label}, groups {groups}, stride 2", (x, w, None), {"groups": groups, "stride": 2}
    yield "a million numbers", (_z(1, 4, 330, 320), _z(10, 4, 1, 1), None), {}


def _separable_conv2d(op: str) -> _Rows:
    for number, (label, (batch, channels, size, kernel, options)) in enumerate(WINDOWS.items()):
        middles = channels * (1 + number % 2)
        kernels = _z(middles, 1, *kernel), _z(4, middles, 1, 1)
        yield label, (_z(batch, channels, *size), *kernels, _z(4) if number % 2 else None), options
    yield "a million numbers", (_z(1, 4, 330, 320), _z(4, 1, 3, 3), _z(10, 4, 1, 1), None), {"padding": 1}


def _ghost_conv2d(op: str) -> _Rows:
    for number, (label, (batch, channels, size, kernel, options)) in enumerate(WINDOWS.items()):
        cheap = (2, 3, 5)[number % 3]
        kernels = _z(4, channels, *kernel), _z(4, 1, cheap, cheap)
        yield label, (_z(batch, channels, *size), *kernels), options | {"out_channels": 8 - number % 2}
    for ratio in (1, 3, 4):
        ghosts = _z(3 * (ratio - 1), 1, 3, 3) if ratio > 1 else None
        yield f"ratio {ratio}", (_z(2, 4, 5, 6), _z(3, 4, 1, 1), ghosts), {}
    yield "a million numbers", (_z(1, 3, 330, 320), _z(5, 3, 1, 1), _z(5, 1, 3, 3)), {}


def _octave_conv2d(op: str) -> _Rows:
    for number, (label, (ins, outs, (height, width), options)) in enumerate(OCTAVES.items()):
        batch = 0 if label == "no image" else 2
        sizes = (height, width), (-(-height // 2), -(-width // 2))
        x = OctaveMap(*(_z(batch, count, *size) if count else None for count, size in zip(ins, sizes, strict=True)))
        if op == "octave_conv2d":
            w = OctaveWeight(*(_z(o, i, 3, 3) if i and o else None for i in ins for o in outs))
        else:
            multiplier = max(o // i for i, o in zip(ins, outs, strict=True) if i) or 1
            high, low = (i * multiplier for i in ins)
            w = OctaveWeight(hh=_z(high, 1, 3, 3) if high else None, ll=_z(low, 1, 3, 3) if low else None)
            outs = high, low
        b = OctaveBias(*(_z(count) if count else None for count in outs)) if number % 2 else None
        yield label, (x, w, b), options


def _pool2d(op: str) -> _Rows:
    for label, (batch, channels, size, kernel, options) in WINDOWS.items():
        if "dilation" in options or max(kernel) > 4 or label == "huge padding":
            continue
        pooling = {"kernel": kernel, "stride": 1} | options
        yield label, (_z(batch, channels, *size),), pooling
        yield f"{label}, ceil mode", (_z(batch, channels, *size),), pooling | {"ceil_mode": True}
    yield "a million numbers", (_z(1, 10, 330, 320),), {"kernel": 3, "stride": 1, "padding": 1}


def _global_avg_pool2d(op: str) -> _Rows:
    for label, shape in SHAPES.items():
        yield label, (_z(*shape),), {}


def _upsample_nearest2d(op: str) -> _Rows:
    for label, shape in SHAPES.items():
        yield label, (_z(*shape),), {"scale": 2}
        cropped = (shape[2] * 3 - 1, shape[3] * 2 - 1)
        yield f"{label}, cropped", (_z(*shape),), {"scale": (3, 2), "size": cropped}
    yield "a million numbers", (_z(1, 10, 165, 160),), {"scale": 2}


def _channel_shuffle(op: str) -> _Rows:
    for label, shape in SHAPES.items():
        for groups in {1, shape[1], *(divisor for divisor in (2, 3) if shape[1] % divisor == 0)}:
            yield f"{label}, groups {groups}", (_z(*shape),), {"groups": groups}
    yield "a million numbers", (_z(1, 12, 300, 300),), {"groups": 3}


def _elementwise(op: str) -> _Rows:
    for label, shape in SHAPES.items():
        yield label, (_z(*shape),), {}
    yield "no axes", (_z(),), {}
    yield "a million numbers", (_z(1, 10, 330, 320),), {}


def _batch_norm2d(op: str) -> _Rows:
    for label, shape in SHAPES.items():
        vectors = [_z(shape[1])] * 4
        yield f"{label}, fixed statistics", (_z(*shape), *vectors), {"eps": 1e-5}
        if shape[0]:
            yield f"{label}, the batch's statistics", (_z(*shape), *vectors[:2], None, None), {"eps": 1e-3}
    yield "a million numbers", (_z(1, 10, 330, 320), *[_z(10)] * 4), {}


def _linear(op: str) -> _Rows:
    for batch, ins, outs in ((0, 3, 2), (1, 1, 1), (1, 1000, 10), (17, 33, 31), (24, 24, 24), (1000, 4, 1001)):
        yield f"{batch} rows, {ins} to {outs}", (_z(batch, ins), _z(outs, ins), _z(outs)), {}


def _softmax_cross_entropy(op: str) -> _Rows:
    for batch, classes in ((1, 1), (1, 1000), (17, 10), (5, 2)):
        labels = np.arange(batch) % classes
        for smoothing in (0.0, 0.1):
            options = {"labels": labels, "label_smoothing": smoothing}
            yield f"{batch} rows of {classes} classes, smoothing {smoothing}", (_z(batch, classes),), options


_PROBLEMS: dict[str, Callable[[str], _Rows]] = {
    "conv2d": _conv2d,
    "depthwise_conv2d": _depthwise_conv2d,
    "pointwise_conv2d": _pointwise_conv2d,
    "separable_conv2d": _separable_conv2d,
    "octave_conv2d": _octave_conv2d,
    "octave_depthwise_conv2d": _octave_conv2d,
    "ghost_conv2d": _ghost_conv2d,
    "channel_shuffle": _channel_shuffle,
    "channel_unshuffle": _channel_shuffle,
    "avg_pool2d": _pool2d,
    "max_pool2d": _pool2d,
    "global_avg_pool2d": _global_avg_pool2d,
    "upsample_nearest2d": _upsample_nearest2d,
    "batch_norm2d": _batch_norm2d,
    "relu": _elementwise,
    "relu6": _elementwise,
    "hard_sigmoid": _elementwise,
    "hard_swish": _elementwise,
    "linear": _linear,
    "softmax_cross_entropy": _softmax_cross_entropy,
}
OPERATORS: tuple[str, ...] = tuple(_PROBLEMS)
"""Every operator that has a backward."""
