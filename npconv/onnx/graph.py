"""The graph that grows while a model is written down, and the operators that several layers are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from npconv.geometry import Array, Conv2dGeometry, Pool2dGeometry, UpsampleGeometry


class Map(NamedTuple):
    """The name of a feature map in the graph, and its shape without the batch."""

    name: str
    shape: tuple[int, ...]


class Pair(NamedTuple):
    """An octave map; an absent frequency is None."""

    high: Map | None
    low: Map | None


class Graph:
    """Nodes in the order in which they run, and the arrays that they read."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.arrays: dict[str, Array] = {}
        self.names: set[str] = set()


class Place(NamedTuple):
    """Where a layer's nodes go: the graph, the layer's dotted path, and the model's dtype."""

    graph: Graph
    path: str
    dtype: np.dtype[Any]

    def inside(self, name: str) -> Place:
        """The place of a part of the layer."""
        return self._replace(path=f"{self.path}.{name}" if self.path else name)

    def array(self, name: str, array: Array) -> str:
        """An array of the layer, under its dotted name."""
        full = self.inside(name).path
        self.graph.arrays[full] = np.ascontiguousarray(array)
        return full

    def number(self, value: float) -> str:
        """A scalar of the model's dtype; equal ones are one."""
        self.graph.arrays[f"number {value}"] = np.array(value, self.dtype)
        return f"number {value}"

    def integers(self, *values: int) -> str:
        """Sizes or indices; equal ones are one."""
        name = f"integers {' '.join(map(str, values))}"
        self.graph.arrays[name] = np.array(values, np.int64)
        return name

    def node(self, kind: str, inputs: Sequence[str], y_shape: Sequence[int], **attributes: Any) -> Map:
        """Append a node of ONNX's operator `kind`, and return what it gives."""
        from onnx import helper

        name = stem = self.inside(kind).path
        count = 1
        while name in self.graph.names:
            count += 1
            name = f"{stem}{count}"
        self.graph.names.add(name)
        self.graph.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return Map(name, tuple(y_shape))


def each(function: Callable[..., Map], *maps: Any) -> Any:
    """`function` of plain maps or of each frequency of octave maps; an absent frequency stays absent."""
    if not isinstance(maps[0], Pair):
        return function(*maps)
    frequencies = zip(*maps, strict=True)
    return Pair(*(None if parts[0] is None else function(*parts) for parts in frequencies))


# --- operators ---------------------------------------------------------------------------------------------------


def convolution(to: Place, x: Map, w: str, b: str | None, **options: Any) -> Map:
    """Convolution with the arrays `w` and `b` of the graph."""
    g = Conv2dGeometry.of((1, *x.shape), to.graph.arrays[w].shape, **options)
    return to.node(
        "Conv",
        [x.name, w] if b is None else [x.name, w, b],
        g.y_shape[1:],
        kernel_shape=[g.kernel_height, g.kernel_width],
        strides=[g.stride_height, g.stride_width],
        dilations=[g.dilation_height, g.dilation_width],
        pads=[g.pad_top, g.pad_left, g.pad_bottom, g.pad_right],
        group=g.groups,
    )


def pool(to: Place, kind: str, x: Map, **options: Any) -> Map:
    """Pooling. The windows that ceil mode adds reach into padding of the right size, which both kinds leave out of account.

    ONNX's own ceil mode is not used: its runtimes differ in when the last window starts, and in what it divides by.
    """
    counted = options.pop("count_include_pad", False)
    g = Pool2dGeometry.of((1, *x.shape), **options)
    rows = _reach(g.out_height, g.stride_height, g.kernel_height, g.in_height, g.pad_top, g.pad_bottom)
    columns = _reach(g.out_width, g.stride_width, g.kernel_width, g.in_width, g.pad_left, g.pad_right)
    pads = [g.pad_top, g.pad_left, rows, columns]
    if counted and any(pads):  # real zeros, which count, and behind them what ceil mode overhangs, which does not
        zeros = [g.pad_top, g.pad_left, g.pad_bottom, g.pad_right]
        padded = (x.shape[0], g.pad_top + g.in_height + g.pad_bottom, g.pad_left + g.in_width + g.pad_right)
        amounts = to.integers(0, 0, *zeros[:2], 0, 0, *zeros[2:])
        x = to.node("Pad", [x.name, amounts, to.number(0)], padded)
        pads = [0, 0, rows - g.pad_bottom, columns - g.pad_right]
    return to.node(
        kind,
        [x.name],
        g.y_shape[1:],
        kernel_shape=[g.kernel_height, g.kernel_width],
        strides=[g.stride_height, g.stride_width],
        pads=pads,
    )


def _reach(out: int, stride: int, kernel: int, size: int, before: int, after: int) -> int:
    """The padding behind an axis: the layer's own, or more where the last window reaches further."""
    return max(after, (out - 1) * stride + kernel - size - before)


def upsample(to: Place, x: Map, scale: Any, size: Any) -> Map:
    """Every pixel repeated `scale` times, and what is above `size`, if given, cut off: ONNX's own Resize takes one of the two."""
    g = UpsampleGeometry.of((1, *x.shape), scale, size)
    scales = f"scales {g.scale_height} {g.scale_width}"
    to.graph.arrays[scales] = np.array([1, 1, g.scale_height, g.scale_width], np.float32)
    whole = (x.shape[0], g.in_height * g.scale_height, g.in_width * g.scale_width)
    y = to.node(
        "Resize",
        [x.name, "", scales],
        whole,
        mode="nearest",
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )
    return slice_map(to, y, g.y_shape[1:]) if whole != g.y_shape[1:] else y


def slice_map(to: Place, x: Map, y_shape: Sequence[int], *, start: Sequence[int] = (0, 0, 0), step: int = 1) -> Map:
    """x (C, H, W) from `start` on, of the shape `y_shape`, every `step`-th row and column."""
    steps = (1, step, step)
    ends = [first + (size - 1) * by + 1 for first, size, by in zip(start, y_shape, steps, strict=True)]
    indices = [to.integers(*values) for values in (start, ends, (1, 2, 3), steps)]
    return to.node("Slice", [x.name, *indices], y_shape)


def concatenate(to: Place, maps: Sequence[Map]) -> Map:
    """Maps of one size, one behind the other along the channels."""
    channels = sum(part.shape[0] for part in maps)
    return to.node("Concat", [part.name for part in maps], (channels, *maps[0].shape[1:]), axis=1)


def multiply(to: Place, x: Map, gate: Map) -> Map:
    """x times a gate of its shape, or one that has a number for each channel."""
    return to.node("Mul", [x.name, gate.name], x.shape)


def hard_sigmoid(to: Place, x: Map) -> Map:
    """``clip(x + 3, 0, 6) / 6``, written out: ONNX's own has a float32 of 1/6 in it."""
    moved = to.node("Add", [x.name, to.number(3)], x.shape)
    clipped = to.node("Clip", [moved.name, to.number(0), to.number(6)], x.shape)
    return to.node("Div", [clipped.name, to.number(6)], x.shape)
