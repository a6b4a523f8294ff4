"""The sizes of a convolution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from npconv.geometry.axis import Axis
from npconv.geometry.checks import IntOrPair, Pair, check_shape, integer, kept, pair, shape
from npconv.geometry.padding import Padding, Sides, explicit_padding, output_size, padding_form


class Conv2dGeometry(NamedTuple):
    """Every size of one 2-D convolution; make one with `Conv2dGeometry.of`, which checks that they fit together.

    Output pixel (p, q) reads input row ``p * stride_height + r * dilation_height - pad_top`` at kernel row r, and the
    column likewise; rows and columns outside the input are 0.
    """

    batch: int
    groups: int
    in_channels_per_group: int
    out_channels_per_group: int
    in_height: int
    in_width: int
    out_height: int
    out_width: int
    kernel_height: int
    kernel_width: int
    stride_height: int
    stride_width: int
    dilation_height: int
    dilation_width: int
    pad_top: int
    pad_bottom: int
    pad_left: int
    pad_right: int

    @classmethod
    def of(
        cls,
        x_shape: Sequence[int],
        w_shape: Sequence[int],
        *,
        stride: IntOrPair = 1,
        padding: Padding = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
    ) -> Conv2dGeometry:
        """The geometry of x (N, C, H, W) convolved with w (O, C/groups, kh, kw)."""
        return _convolution(
            shape("x", x_shape, "NCHW"),
            shape("w", w_shape, "OCHW"),
            pair("stride", stride, minimum=1),
            padding_form(padding),
            pair("dilation", dilation, minimum=1),
            integer("groups", groups, minimum=1),
        )

    @classmethod
    def of_depthwise(
        cls,
        x_shape: Sequence[int],
        w_shape: Sequence[int],
        *,
        stride: IntOrPair = 1,
        padding: Padding = 0,
        dilation: IntOrPair = 1,
    ) -> Conv2dGeometry:
        """The geometry of x (N, C, H, W) convolved with w (C * m, 1, kh, kw), one group per channel."""
        x_sizes, w_sizes = shape("x", x_shape, "NCHW"), shape("w", w_shape, "OCHW")
        channels = x_sizes[1]
        if w_sizes[1] != 1 or w_sizes[0] % channels:
            raise ValueError(
                f"w must have the shape (C * multiplier, 1, kh, kw) with C = {channels} channels of x, got {w_sizes}"
            )
        strides, dilations = pair("stride", stride, minimum=1), pair("dilation", dilation, minimum=1)
        return _convolution(x_sizes, w_sizes, strides, padding_form(padding), dilations, channels)

    @property
    def in_channels(self) -> int:
        return self.groups * self.in_channels_per_group

    @property
    def out_channels(self) -> int:
        return self.groups * self.out_channels_per_group

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        return self.batch, self.in_channels, self.in_height, self.in_width

    @property
    def w_shape(self) -> tuple[int, int, int, int]:
        return self.out_channels, self.in_channels_per_group, self.kernel_height, self.kernel_width

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        return self.batch, self.out_channels, self.out_height, self.out_width

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """Its rows and its columns."""
        return (
            Axis(
                self.in_height,
                self.out_height,
                self.kernel_height,
                self.stride_height,
                self.dilation_height,
                self.pad_top,
            ),
            Axis(
                self.in_width, self.out_width, self.kernel_width, self.stride_width, self.dilation_width, self.pad_left
            ),
        )

    def numbers(self, laid_out: bool) -> int:
        """How many numbers the convolution and its gradients need room for: those of the largest array, and what is made beside it.

        Where it is `laid_out`, as by the reference, windows are regular in a larger map, and beside it each has its own pixels, but
        for a depthwise convolution's, which are looked at where they are.
        """
        largest = max(map(math.prod, (self.x_shape, self.w_shape, self.y_shape)))
        if not laid_out:
            return largest
        windows = self.out_height * self.out_width * self.kernel_height * self.kernel_width
        plane = math.prod(axis.length for axis in self.axes)
        pixels = plane + (0 if self.groups == self.in_channels > 1 else windows)
        return max(largest, self.batch * self.in_channels * pixels)

    def check_bias(self, b: object) -> None:
        """Raise unless `b` is None or one number per output channel."""
        if b is not None:
            check_shape("b", b, (self.out_channels,), "one number per output channel")

    def check_dy(self, dy: object) -> None:
        """Raise unless `dy` has the shape of the output."""
        check_shape("dy", dy, self.y_shape, "that of the output")


@kept
def _convolution(
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    strides: Pair,
    padding: Sides | str,
    dilations: Pair,
    groups: int,
) -> Conv2dGeometry:
    """The geometry of arguments each of which is right by itself."""
    batch, in_channels, in_height, in_width = x_shape
    out_channels, in_channels_per_group, kernel_height, kernel_width = w_shape
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            "groups must divide in_channels and out_channels, "
            f"got groups={groups}, in_channels={in_channels}, out_channels={out_channels}"
        )
    if in_channels_per_group != in_channels // groups:
        raise ValueError(
            f"w must have in_channels / groups = {in_channels // groups} channels on axis 1, "
            f"got {in_channels_per_group} in shape {w_shape} with in_channels={in_channels}, groups={groups}"
        )
    kernel = kernel_height, kernel_width
    rows, columns = explicit_padding(padding, (in_height, in_width), kernel, strides, dilations)
    return Conv2dGeometry(
        batch,
        groups,
        in_channels_per_group,
        out_channels // groups,
        in_height,
        in_width,
        output_size("height", in_height, kernel_height, strides[0], dilations[0], rows),
        output_size("width", in_width, kernel_width, strides[1], dilations[1], columns),
        kernel_height,
        kernel_width,
        *strides,
        *dilations,
        *rows,
        *columns,
    )
