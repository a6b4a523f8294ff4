"""A convolution's taps as shifts of planes, and where maps stand in flat arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from npconv.geometry import Array
from npconv.kernels.rows import images
from npconv.kernels.windows import Taps


class Shifts(NamedTuple):
    """The taps as shifted planes, for Numba: pixel m of an output phase reads plane pixel m + (row, column)."""

    w_taps: Array  # offset of each tap in its kernel plane, output phase by output phase
    tap_phase: Array  # which phase plane of the source it reads,
    tap_row: Array  # from which row
    tap_column: Array  # and column on
    phase_row: Array  # the source row and column where each phase plane's origin lies
    phase_column: Array
    source_stride: tuple[int, int]
    span: tuple[int, int]  # rows and columns that the taps reach beyond the outputs
    out_stride: tuple[int, int]
    first_tap: Array  # of each output phase, row by row, and their end


def plane_shifts(taps: Taps) -> Shifts:
    """Source pixel m * stride + u is pixel m + u // stride of the phase plane u % stride."""
    row, row_phase = np.divmod(taps.row, taps.source_stride[0])
    column, column_phase = np.divmod(taps.column, taps.source_stride[1])
    top, left = int(row.min()), int(column.min())
    planes, tap_phase = np.unique(np.stack([row_phase, column_phase]), axis=1, return_inverse=True)
    return Shifts(
        taps.tap,
        tap_phase.reshape(len(row)),
        row - top,
        column - left,
        np.ascontiguousarray(planes[0]) + top * taps.source_stride[0],
        np.ascontiguousarray(planes[1]) + left * taps.source_stride[1],
        taps.source_stride,
        (int(row.max()) - top, int(column.max()) - left),
        taps.out_stride,
        taps.first_tap,
    )


class Maps(NamedTuple):
    """Where the pixels of some images stand in a flat array: pixel (m, q) of channel c at start + n*image + c*channel + m*row + q."""

    flat: Array
    start: int
    image: int
    channel: int
    row: int

    @classmethod
    def of(cls, array: Array) -> Maps:
        """An array of shape (N, C, H, W); see `rows.images`."""
        _, _, height, width = array.shape
        flat, image = images(array)
        return cls(flat, 0, image, height * width, width)

    @classmethod
    def with_images_as_rows(cls, array: Array) -> Maps:
        """As one image that has one row of H*W pixels for each image of the array."""
        _, _, height, width = array.shape
        flat, image = images(array)
        return cls(flat, 0, 0, height * width, image)
