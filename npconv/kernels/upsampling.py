"""Nearest-neighbour up-sampling: y[n,c,p,q] = x[n,c, p // scale_height, q // scale_width], pixel by pixel.

Average pooling whose windows lie side by side is its gradient, divided: octave convolutions do both, between slices of channels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import prange

from npconv.geometry import Array, UpsampleGeometry
from npconv.kernels.jit import compiled
from npconv.kernels.orders import of_channels_last_maps, pitch_of, pixels_from
from npconv.kernels.vectors import Code, Int, Mask, Pointer, Vector, emitted
from npconv.memory import empty_channels_last

COPIED, ADDED, COUNTED = range(3)  # what becomes of a pixel


@of_channels_last_maps
def upsample_nearest2d(x: Array, geometry: UpsampleGeometry) -> Array:
    """Each pixel becomes a block of scale_height x scale_width; the last blocks may be cropped to the wanted size."""
    y = empty_channels_last(geometry.y_shape, x.dtype)
    fill_blocks(x, 1, False, geometry, y)
    return y


@of_channels_last_maps
def upsample_nearest2d_input_grad(dy: Array, geometry: UpsampleGeometry) -> Array:
    """dx[n,c,h,w] = sum of dy over the block that pixel (h, w) became; what was cropped from the block adds nothing."""
    dx = empty_channels_last(geometry.x_shape, dy.dtype)
    sum_blocks(dy, 1, geometry, dx)
    return dx


def fill_blocks(x: Array, count: int, adds: bool, geometry: UpsampleGeometry, y: Array) -> None:
    """y = each pixel of x / count as a block, or y += each pixel of x. Maps may be slices of channels."""
    if y.size:
        _fill_blocks(
            pixels_from(x), np.array([count], x.dtype), COUNTED if count != 1 else ADDED if adds else COPIED, geometry,
            (pitch_of(x), pitch_of(y)), pixels_from(y),
        )  # fmt: skip


def sum_blocks(dy: Array, count: int, geometry: UpsampleGeometry, dx: Array) -> None:
    """dx = the sum over each block of dy, divided by `count`. Maps may be slices of channels."""
    if dx.size:
        _sum_blocks(pixels_from(dy), dy.dtype.type(count), geometry, (pitch_of(dy), pitch_of(dx)), pixels_from(dx))


@compiled(terms=1)
def _fill_blocks(x, count, how, geometry, pitches, y):
    g = geometry
    for item in prange(g.batch * g.out_height):
        row = np.int64(item)
        n, p = row // g.out_height, row % g.out_height
        first = (n * g.in_height + p // g.scale_height) * g.in_width * pitches[0]
        repeat_pixels(
            x[first:], pitches[0], g.scale_width, count, how, y[row * g.out_width * pitches[1] :], pitches[1], g.out_width,
            g.channels,
        )  # fmt: skip


@emitted
def repeat_pixels(
    code: Code, x: Pointer, x_pitch: Int, scale: Int, count: Pointer, how: Int, y: Pointer, y_pitch: Int, pixels: Int,
    channels: Int,
) -> None:  # fmt: skip
    """y[q, c] = x[q // scale, c], plus y[q, c] if ADDED, divided by count[0] if COUNTED, for q < pixels and c < channels."""
    divisor = count[0].splat()

    def pixel(made: Callable[[Vector, Pointer, Mask | None], Vector]) -> None:
        with code.loop(pixels) as q:
            source, target = x + q // scale * x_pitch, y + q * y_pitch

            def some(c: Int, mask: Mask | None) -> None:
                (target + c).store(made(source.vector(c, mask), target + c, mask), mask)

            code.vectors(channels, some)

    ways: dict[int, Callable[[Vector, Pointer, Mask | None], Vector]] = {
        COPIED: lambda x, y, mask: x,
        ADDED: lambda x, y, mask: y.vector(0, mask) + x,
        # A pixel is in one window: a sum of one share, which begins with 0, so that -0 becomes 0.
        COUNTED: lambda x, y, mask: x / divisor + code.zero,
    }
    for way, made in ways.items():
        with code.when(how.equals(way)):
            pixel(made)


@compiled(terms=1)
def _sum_blocks(dy, count, geometry, pitches, dx):
    g = geometry
    channels, one = g.channels, dy.dtype.type(1)
    for item in prange(g.batch * g.in_height):
        row = np.int64(item)
        n, h = row // g.in_height, row % g.in_height
        for w in range(g.in_width):
            total = dx[(row * g.in_width + w) * pitches[1] :]
            for c in range(channels):
                total[c] = 0
            for p in range(h * g.scale_height, min((h + 1) * g.scale_height, g.out_height)):
                for q in range(w * g.scale_width, min((w + 1) * g.scale_width, g.out_width)):
                    part = dy[((n * g.out_height + p) * g.out_width + q) * pitches[0] :]
                    for c in range(channels):
                        total[c] += part[c]
            if count != one:
                for c in range(channels):
                    total[c] /= count
