"""What a cost is, and the three forms that all costs have: traffic alone, a map to a map, a product of two arrays."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal, NamedTuple, TypeAlias

from npconv.geometry import Conv2dGeometry, flag, integer, word

Direction: TypeAlias = Literal["forward", "input_grad", "weight_grad"]
Shape: TypeAlias = Sequence[int]

GRADIENTS: tuple[Direction, Direction] = ("input_grad", "weight_grad")


class Cost(NamedTuple):
    """What some work costs; ``a + b`` is the cost of doing both, ``sum(costs, Cost())`` that of doing all.

    Attributes
    ----------
    macs : int
        Multiply-accumulates: products that are added up. What all four papers call Mult-Adds or FLOPs.
    parameters : int
        Numbers that are learned; counted in the forward direction only, so that a training step has them once.
    elements_in, elements_out : int
        Numbers in the maps that are read and written: inputs and outputs, and in the gradients theirs.
    bytes_moved : int
        Compulsory memory traffic: each array, weights included, is read or written once, and whole.

    >>> Cost(macs=10, bytes_moved=4) + Cost(macs=2, bytes_moved=4)
    Cost(macs=12, parameters=0, elements_in=0, elements_out=0, bytes_moved=8)
    """

    macs: int = 0
    parameters: int = 0
    elements_in: int = 0
    elements_out: int = 0
    bytes_moved: int = 0

    @property
    def flops(self) -> int:
        """Floating-point operations: 2 per multiply-accumulate."""
        return 2 * self.macs

    @property
    def arithmetic_intensity(self) -> float:
        """FLOPs per byte moved; 0 where nothing is moved."""
        return self.flops / self.bytes_moved if self.bytes_moved else 0.0

    def __add__(self, other: object) -> Cost:  # a sum of numbers, where a plain tuple would become longer
        if not isinstance(other, Cost):
            return NotImplemented
        return Cost(*(a + b for a, b in zip(self, other, strict=True)))


class CallCost(NamedTuple):
    """The cost of one call of a primitive, with what was called.

    Attributes
    ----------
    primitive : str
        Its name in `npconv.backends`, as "conv2d" or "conv2d_input_grad".
    kind : str
        A convolution's kind tells what it is, not how it was called: "depthwise" for one input channel per group and more
        than one group, else "pointwise" for a 1 x 1 kernel, else "group" or "standard".
    in_shape, out_shape : tuple of int
        Of the map that it reads first, and of its first result.
    groups : int
    cost : Cost
    """

    primitive: str
    kind: str
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    groups: int
    cost: Cost


def check_options(direction: Direction, itemsize: int) -> None:
    """Raise unless there is such a direction, and numbers of so many bytes."""
    word("direction", direction, "forward", *GRADIENTS)
    integer("itemsize", itemsize, minimum=1)


def traffic(read: int, written: int, other: int, itemsize: int, *, macs: int = 0, parameters: int = 0) -> Cost:
    """The cost of work that reads and writes so many numbers of maps, and so many `other` numbers: weights, statistics."""
    return Cost(macs, parameters, read, written, int(itemsize) * (read + written + other))


def map_cost(
    x_shape: Shape, y_shape: Shape, direction: Direction, itemsize: int, *, grad_reads_x: bool = False
) -> Cost:
    """An operator without weights; its gradient reads dy, and x too where its slope depends on x."""
    check_options(direction, itemsize)
    x, y = prod(x_shape), prod(y_shape)
    if direction == "forward":
        return traffic(x, y, 0, itemsize)
    if direction == "input_grad":
        return traffic(x + y if grad_reads_x else y, x, 0, itemsize)
    return Cost()


def bilinear_cost(*, macs: int, x: int, w: int, b: int, y: int, direction: Direction, itemsize: int) -> Cost:
    """An operator that is linear in x and in w, arrays of so many numbers: each direction reads two of x, w, y and makes the third."""
    check_options(direction, itemsize)
    if direction == "forward":
        return traffic(x, y, w + b, itemsize, macs=macs, parameters=w + b)
    if direction == "input_grad":
        return traffic(y, x, w, itemsize, macs=macs)
    return traffic(x + y, 0, w + b, itemsize, macs=macs)  # db comes out of the same reading of dy


def convolution_cost(
    geometry: Conv2dGeometry, bias: bool, direction: Direction, count_padding: bool, itemsize: int
) -> Cost:
    """A convolution of any kind: ``N * O * C / groups`` times the pairs (p, r) of its rows and those (q, s) of its columns."""
    g = geometry
    bias = flag("bias", bias)
    rows = g.out_height * g.kernel_height
    columns = g.out_width * g.kernel_width
    if not flag("count_padding", count_padding):
        rows = _taps(g.in_height, g.out_height, g.kernel_height, g.stride_height, g.dilation_height, g.pad_top)
        columns = _taps(g.in_width, g.out_width, g.kernel_width, g.stride_width, g.dilation_width, g.pad_left)
    return bilinear_cost(
        macs=g.batch * g.out_channels * g.in_channels_per_group * rows * columns,
        x=prod(g.x_shape),
        w=prod(g.w_shape),
        b=g.out_channels if bias else 0,
        y=prod(g.y_shape),
        direction=direction,
        itemsize=itemsize,
    )


def _taps(size: int, out: int, kernel: int, stride: int, dilation: int, pad: int) -> int:
    """How many (p, r) of one axis hit the image: 0 <= p * stride + r * dilation - pad < size."""
    total = 0
    for r in range(kernel):
        begin = pad - r * dilation  # p * stride must be in [begin, begin + size)
        first = max(-(-begin // stride), 0)
        last = min((begin + size - 1) // stride, out - 1)
        total += max(last - first + 1, 0)
    return total
