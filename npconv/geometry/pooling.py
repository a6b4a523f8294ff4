"""The sizes of a pooling and of an up-sampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from npconv.geometry.axis import Axis
from npconv.geometry.checks import IntOrPair, Pair, check_shape, flag, kept, pair, shape
from npconv.geometry.padding import Padding, Sides, explicit_padding, output_size, padding_form


class Pool2dGeometry(NamedTuple):
    """Every size of one 2-D pooling; make one with `Pool2dGeometry.of`, which checks that every window holds a pixel."""

    batch: int
    channels: int
    in_height: int
    in_width: int
    out_height: int
    out_width: int
    kernel_height: int
    kernel_width: int
    stride_height: int
    stride_width: int
    pad_top: int
    pad_bottom: int
    pad_left: int
    pad_right: int

    @classmethod
    def of(
        cls,
        x_shape: Sequence[int],
        kernel: IntOrPair,
        *,
        stride: IntOrPair | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
    ) -> Pool2dGeometry:
        """The geometry of x (N, C, H, W) under windows of `kernel`, `stride` apart (by default the kernel's size).

        `ceil_mode` adds the last, incomplete window, provided that it starts inside the input or its leading padding.
        """
        kernels = pair("kernel", kernel, minimum=1)
        strides = kernels if stride is None else pair("stride", stride, minimum=1)
        return _pooling(
            shape("x", x_shape, "NCHW"), kernels, strides, padding_form(padding), flag("ceil_mode", ceil_mode)
        )

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        return self.batch, self.channels, self.in_height, self.in_width

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        return self.batch, self.channels, self.out_height, self.out_width

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """Its rows and its columns, without the taps that are on padding for every output: they change no sum and no maximum."""
        return (
            Axis(self.in_height, self.out_height, self.kernel_height, self.stride_height, 1, self.pad_top).on_pixels(),
            Axis(self.in_width, self.out_width, self.kernel_width, self.stride_width, 1, self.pad_left).on_pixels(),
        )

    def numbers(self, laid_out: bool) -> int:
        """How many numbers the largest array has that the pooling and its gradient work on; windows too where they are `laid_out`."""
        largest = max(math.prod(self.x_shape), math.prod(self.y_shape))
        if not laid_out:
            return largest
        return max(largest, self.batch * self.channels * math.prod(axis.length for axis in self.axes))

    def check_dy(self, dy: object) -> None:
        """Raise unless `dy` has the shape of the output."""
        check_shape("dy", dy, self.y_shape, "that of the output")


@kept
def _pooling(
    x_shape: tuple[int, ...], kernels: Pair, strides: Pair, padding: Sides | str, ceil_mode: bool
) -> Pool2dGeometry:
    """The geometry of arguments each of which is right by itself."""
    batch, channels, in_height, in_width = x_shape
    sides = explicit_padding(padding, (in_height, in_width), kernels, strides, (1, 1))
    counts = []
    for axis, size, k, s, pads in zip(("height", "width"), (in_height, in_width), kernels, strides, sides, strict=True):
        if max(pads) >= k:
            raise ValueError(
                f"padding must be smaller than the kernel so that every window holds a pixel, "
                f"got padding {pads} with a kernel {axis} of {k}"
            )
        if ceil_mode:
            count = max(-(-(size + sum(pads) - k) // s), 0) + 1
            count -= (count - 1) * s >= size + pads[0]
        else:
            count = output_size(axis, size, k, s, 1, pads)
        counts.append(count)
    out_height, out_width = counts
    return Pool2dGeometry(
        batch, channels, in_height, in_width, out_height, out_width, *kernels, *strides, *sides[0], *sides[1]
    )


class UpsampleGeometry(NamedTuple):
    """Sizes of one nearest-neighbour up-sampling: output pixel (p, q) is input pixel (p // scale_height, q // scale_width)."""

    batch: int
    channels: int
    in_height: int
    in_width: int
    out_height: int
    out_width: int
    scale_height: int
    scale_width: int

    @classmethod
    def of(cls, x_shape: Sequence[int], scale: IntOrPair = 2, size: IntOrPair | None = None) -> UpsampleGeometry:
        """The geometry of x (N, C, H, W) repeated `scale` times, cropped to `size` = (rows, columns) where given.

        `size` may crop less than one input pixel: ceil(size / scale) must be the input's size.
        """
        x_sizes, scales = shape("x", x_shape, "NCHW"), pair("scale", scale, minimum=1)
        return _upsampling(x_sizes, scales, None if size is None else pair("size", size, minimum=1))

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        return self.batch, self.channels, self.in_height, self.in_width

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        return self.batch, self.channels, self.out_height, self.out_width

    def numbers(self, laid_out: bool) -> int:
        """How many numbers the larger map has, `laid_out` or not."""
        return max(math.prod(self.x_shape), math.prod(self.y_shape))

    def check_dy(self, dy: object) -> None:
        """Raise unless `dy` has the shape of the output."""
        check_shape("dy", dy, self.y_shape, "that of the output")


@kept
def _upsampling(x_shape: tuple[int, ...], scales: Pair, size: Pair | None) -> UpsampleGeometry:
    """The geometry of arguments each of which is right by itself."""
    batch, channels, in_height, in_width = x_shape
    out = size or (in_height * scales[0], in_width * scales[1])
    for axis, want, have, s in zip(("height", "width"), out, (in_height, in_width), scales, strict=True):
        if -(-want // s) != have:
            raise ValueError(
                f"size must crop less than one input pixel, so {axis} must be in "
                f"[{(have - 1) * s + 1}, {have * s}], got size={out} for an input {axis} of {have} at scale {s}"
            )
    return UpsampleGeometry(batch, channels, in_height, in_width, *out, *scales)
