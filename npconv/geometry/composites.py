"""The sizes of two convolutions in a row: depthwise separable and ghost convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from npconv.geometry.channels import ghost_channels
from npconv.geometry.checks import IntOrPair, check_shape, integer, shape
from npconv.geometry.convolution import Conv2dGeometry
from npconv.geometry.padding import Padding


class SeparableGeometry(NamedTuple):
    """Every size of one depthwise separable convolution; make one with `SeparableGeometry.of`."""

    depthwise: Conv2dGeometry
    pointwise: Conv2dGeometry

    @classmethod
    def of(
        cls,
        x_shape: Sequence[int],
        w_depthwise_shape: Sequence[int],
        w_pointwise_shape: Sequence[int],
        *,
        stride: IntOrPair = 1,
        padding: Padding = 0,
        dilation: IntOrPair = 1,
    ) -> SeparableGeometry:
        """The geometry of x (N, C, H, W) with (C * m, 1, kh, kw) and then (O, C * m, 1, 1); options are the first one's."""
        depthwise = Conv2dGeometry.of_depthwise(
            x_shape, w_depthwise_shape, stride=stride, padding=padding, dilation=dilation
        )
        w_shape = shape("w_pointwise", w_pointwise_shape, "OCHW")
        if w_shape[1:] != (depthwise.out_channels, 1, 1):
            raise ValueError(
                "w_pointwise must have the shape (O, C * multiplier, 1, 1) for w_depthwise (C * multiplier, 1, kh, kw), "
                f"got {w_shape} with w_depthwise {tuple(w_depthwise_shape)}"
            )
        return cls(depthwise, Conv2dGeometry.of(depthwise.y_shape, w_shape))


class GhostGeometry(NamedTuple):
    """Every size of one ghost convolution; make one with `GhostGeometry.of`."""

    primary: Conv2dGeometry
    cheap: Conv2dGeometry | None  # None where there are no ghosts, at ratio 1
    out_channels: int  # maps and ghosts, cut

    @classmethod
    def of(
        cls,
        x_shape: Sequence[int],
        w_primary_shape: Sequence[int],
        w_cheap_shape: Sequence[int] | None,
        *,
        stride: IntOrPair = 1,
        padding: Padding = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
        out_channels: int | None = None,
    ) -> GhostGeometry:
        """The geometry of x (N, C, H, W) with (m, C / groups, kh, kw) and then (m * (s - 1), 1, dh, dw), cut to `out_channels`."""
        maps = shape("w_primary", w_primary_shape, "OCHW")[0]
        ghosts = 0
        if w_cheap_shape is not None:
            w_cheap_sizes = shape("w_cheap", w_cheap_shape, "OCHW")
            ghosts = w_cheap_sizes[0]
            if w_cheap_sizes[1] != 1 or ghosts % maps:
                raise ValueError(
                    f"w_cheap must have the shape (m * (ratio - 1), 1, dh, dw) with m = {maps} primary maps, got {w_cheap_sizes}"
                )
        kept = maps + ghosts
        if out_channels is not None:
            kept, ratio = integer("out_channels", out_channels, minimum=1), 1 + ghosts // maps
            if ghost_channels(kept, ratio)[0] != maps:
                raise ValueError(
                    f"out_channels must be in [{(maps - 1) * ratio + 1}, {maps * ratio}] for {maps} primary maps at ratio "
                    f"{ratio}, got out_channels={kept}"
                )
        primary = Conv2dGeometry.of(
            x_shape, w_primary_shape, stride=stride, padding=padding, dilation=dilation, groups=groups
        )
        cheap = None
        if w_cheap_shape is not None:
            cheap = Conv2dGeometry.of_depthwise(primary.y_shape, w_cheap_shape, padding="same")
        return cls(primary, cheap, kept)

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        batch, _, height, width = self.primary.y_shape
        return batch, self.out_channels, height, width

    def check_output(self, name: str, array: object) -> None:
        """Raise unless `array` has the shape of the output."""
        check_shape(name, array, self.y_shape, "that of the output")
