"""One axis of a sliding kernel: which pixels its windows read, and no others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from npconv.geometry.checks import Array


class Axis(NamedTuple):
    """The rows, or the columns, of a convolution or a pooling: output p reads pixel p * stride + r * dilation - pad at tap r.

    Where there is no such pixel, it reads padding.
    """

    size: int
    out: int
    kernel: int
    stride: int
    dilation: int
    pad: int

    @property
    def length(self) -> int:
        """How many pixels and places of padding have to be laid in a row so that windows are regular in it.

        All from the first tap to the last, or each window's own where these are fewer: where strides or dilations jump far, most
        are read by nobody.
        """
        return min((self.out - 1) * self.stride + (self.kernel - 1) * self.dilation + 1, self.out * self.kernel)

    def laid_out(self) -> tuple[Array, int, int]:
        """The pixels in that row, `size` standing for padding, and the stride and the dilation of the windows in it.

        >>> Axis(size=4, out=2, kernel=3, stride=2, dilation=1, pad=1).laid_out()
        (array([4, 0, 1, 2, 3]), 2, 1)
        >>> Axis(size=4, out=2, kernel=2, stride=1, dilation=1000, pad=999).laid_out()  # (padding, 1), (padding, 2)
        (array([4, 1, 4, 2]), 2, 1)
        """
        if self.length < self.out * self.kernel:
            pixels, stride, dilation = np.arange(self.length) - self.pad, self.stride, self.dilation
        else:
            taps = np.arange(self.kernel) * self.dilation - self.pad
            pixels, stride, dilation = np.add.outer(np.arange(self.out) * self.stride, taps).ravel(), self.kernel, 1
        return np.where((pixels >= 0) & (pixels < self.size), pixels, self.size), stride, dilation

    def pixels_of(self, tap: int) -> tuple[slice, slice]:
        """The outputs that read a pixel, and no padding, at a tap; and those pixels.

        >>> Axis(size=4, out=3, kernel=3, stride=2, dilation=1, pad=1).pixels_of(0)  # the first output reads padding
        (slice(1, 3, None), slice(1, 4, 2))
        """
        start = tap * self.dilation - self.pad
        first, end = max(0, -(start // self.stride)), min(self.out, -((start - self.size) // self.stride))
        if first >= end:
            return slice(0), slice(0)
        return slice(first, end), slice(start + first * self.stride, start + (end - 1) * self.stride + 1, self.stride)

    def on_pixels(self) -> Axis:
        """The same numbers under windows without the taps that are on padding for every output; at dilation 1, as in a pooling.

        >>> Axis(size=4, out=1, kernel=9, stride=9, dilation=1, pad=3).on_pixels()
        Axis(size=4, out=1, kernel=4, stride=4, dilation=1, pad=0)
        >>> Axis(size=4, out=3, kernel=900, stride=300, dilation=1, pad=599).on_pixels()  # all, all, the last three
        Axis(size=4, out=3, kernel=11, stride=4, dilation=1, pad=7)
        """
        kernel, stride, pad = self.kernel, self.stride, self.pad
        if stride > self.size:
            # Windows are further apart than the map is long: the first may end on it and the last begin on it, and all
            # others hold the whole of it. So they do a map's length apart.
            end, begin = min(kernel - pad, self.size), max((self.out - 1) * stride - pad, 0)
            stride, pad = self.size, (self.out - 1) * self.size - begin
            kernel = end + pad
        first, end = max(0, pad - (self.out - 1) * stride), min(kernel, self.size + pad)
        return self._replace(kernel=end - first, stride=stride, pad=pad - first)
