"""Standard and group convolution: y[n,g,o,p,q] = sum over c, r, s of x[n,g,c, p*stride + r*dilation - pad, ...] * w[g,o,c,r,s]."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numba import prange

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.blocks import accumulate
from npconv.kernels.depthwise import depthwise_conv2d, depthwise_conv2d_input_grad, depthwise_conv2d_weight_grad
from npconv.kernels.jit import compiled, contiguous
from npconv.kernels.patches import patch_product
from npconv.kernels.pixels import pixel_product
from npconv.kernels.planes import shifted_product
from npconv.kernels.rows import planes, row_sum
from npconv.kernels.shifts import Maps
from npconv.kernels.windows import input_taps, output_taps
from npconv.kernels.winograd import PATCH_BYTES, TILES, chosen, transformed_product
from npconv.memory import empty


def _channels_stand_alone(geometry: Conv2dGeometry) -> bool:
    """Whether `depthwise` does it better: one input channel per group leaves nothing to sum over, so its lanes are channels.

    With few groups most lanes would be empty, and with many outputs per group the planes are read again and again.
    """
    return geometry.in_channels_per_group == 1 and geometry.groups >= 8 and geometry.out_channels_per_group <= 4


@functools.lru_cache(maxsize=1024)
def _as_rows(geometry: Conv2dGeometry) -> tuple[Conv2dGeometry, Callable[[Array], Maps]]:
    """A 1x1 convolution that keeps every pixel, as one of a single image whose rows are the images: small maps share tiles."""
    g = geometry
    one_tap = g.kernel_height == g.kernel_width == g.stride_height == g.stride_width == 1
    if not one_tap or (g.in_height, g.in_width) != (g.out_height, g.out_width):
        return g, Maps.of
    pixels = g.in_height * g.in_width
    rows = g._replace(batch=1, in_height=g.batch, out_height=g.batch, in_width=pixels, out_width=pixels)
    return rows, Maps.with_images_as_rows


def _tile(geometry: Conv2dGeometry, out: Array) -> int:
    """The rows and columns of the tiles that Winograd's transforms are to make of `out`, y or dx; 0 for the sum of shifted planes."""
    return next((tile for tile in TILES[chosen.get()] if _transforms_pay(tile, geometry, out)), 0)


def _is_3x3_at_every_pixel(g: Conv2dGeometry) -> bool:
    steps = g.stride_height, g.stride_width, g.dilation_height, g.dilation_width
    return (g.kernel_height, g.kernel_width) == (3, 3) and steps == (1, 1, 1, 1)


def _transforms_pay(tile: int, geometry: Conv2dGeometry, out: Array) -> bool:
    """Whether Winograd's transforms cost less than the products that they save.

    Against the sum of shifted planes, on two AVX-512 cores, tiles of 2x2: 64 channels at 56x56 1.7x (float64 1.5x), 256 at
    14x14 1.4x, 512 at 7x7 1.45x, eight images of them 1.7x. What each condition keeps out: 8 -> 64 channels 1.0x and 16 -> 16
    1.1x; 64 at 7x7 0.9x and 512 at 5x5 0.8x; tiles that are cut off, 64 at 3x3, 0.7x; transformed weights of 67 MB, though 1024 at 7x7
    are 1.3x. Tiles of 4x4 against 2x2: 64 at 56x56 1.3x, eight images of 256 at 14x14 1.2x, of 512 at 7x7 0.8x, one of 128 at
    7x7 0.5x. Nothing here depends on the number of threads, so no result does.
    """
    g = geometry
    if not _is_3x3_at_every_pixel(g):
        return False
    batch, _, height, width = out.shape
    rows, columns = -(-height // tile), -(-width // tile)
    tiles, positions = batch * rows * columns, (tile + 2) ** 2
    few, many = sorted((g.in_channels_per_group, g.out_channels_per_group))
    weight_bytes = positions * g.groups * few * many * out.itemsize
    return (
        few >= 16
        and (many >= 24 or tiles >= 8192)  # 16 -> 16 gains 1.3x at 64 images of 32x32
        and tiles >= (16 if tile == 2 and few >= 96 else 48)
        and 4 * height * width >= 3 * tile**2 * rows * columns
        and weight_bytes <= 1 << 24
        and positions * (many + 16) * columns * out.itemsize <= PATCH_BYTES  # a row of tiles in scratch
    )


def _patches_pay(geometry: Conv2dGeometry, itemsize: int) -> bool:
    """Whether Winograd's transforms, of 2x2 tiles whatever the larger ones allowed, make the gradient of the weights sooner.

    Against `pixel_product`, on two AVX-512 cores: 64 channels at 56x56 1.45x, 128 at 28x28 1.5x, 256 at 14x14 1.7x, 512 at 7x7
    1.3x, eight images of them 1.4x to 1.6x; 32 at 56x56 1.15x, 24 there 1.07x; float64 within a tenth of that. What each
    condition keeps out: 16 -> 16 channels 0.85x and 16 -> 64 1.0x; 64 at 7x7 1.0x; tiles that are cut off, 128 at 3x3, 0.95x; rows
    of 512 pixels, whose patches are too many for the cache, 1.0x. Nothing here depends on the number of threads.
    """
    g = geometry
    if not TILES[chosen.get()] or not _is_3x3_at_every_pixel(g):
        return False
    rows, columns = -(-g.out_height // 2), -(-g.out_width // 2)
    few = min(g.in_channels_per_group, g.out_channels_per_group)
    return (
        few >= 24
        and g.batch * rows * columns >= (16 if few >= 96 else 48)
        and 4 * g.out_height * g.out_width >= 3 * 4 * rows * columns
        and columns * itemsize < 1 << 10
    )


def conv2d(
    x: Array, w: Array, b: Array | None, geometry: Conv2dGeometry, out: Array | None = None, add: bool = False
) -> Array:
    """A sum of shifted input planes, or of transformed patches. A missing bias is a bias of 0; where `add`, the sum starts from `out` instead."""
    if _channels_stand_alone(geometry):
        return depthwise_conv2d(x, w, b, geometry, out, add)
    if add and out is not None and _tile(geometry, out):
        accumulate(out, conv2d(x, w, None, geometry))  # one more pass over y costs less than sums without transforms
        return out
    g, maps = _as_rows(geometry)
    bias = np.zeros(g.out_channels, x.dtype) if b is None else b
    y = empty(geometry.y_shape, x.dtype) if out is None else out
    _, channels, kernel_height, kernel_width = g.w_shape
    plane = kernel_height * kernel_width
    strides = g.out_channels_per_group * channels * plane, channels * plane, plane
    flat, bias = contiguous(w).reshape(w.size), contiguous(bias)
    tile = 0 if add else _tile(geometry, y)
    if tile:
        corner = -g.pad_top, -g.pad_left
        if transformed_product(tile, contiguous(x), flat, strides, False, bias, corner, g.groups, y):
            return y
    shifted_product(maps(x), flat, strides, bias, input_taps, g, maps(y), add)
    return y


def conv2d_input_grad(
    dy: Array, w: Array, geometry: Conv2dGeometry, out: Array | None = None, add: bool = False
) -> Array:
    """A sum of shifted planes of dy, one for each stride phase of the input; w is read across, output channels inside."""
    if _channels_stand_alone(geometry):
        return depthwise_conv2d_input_grad(dy, w, geometry, out, add)
    if add and out is not None and _tile(geometry, out):
        accumulate(out, conv2d_input_grad(dy, w, geometry))  # as above
        return out
    g, maps = _as_rows(geometry)
    dx = empty(geometry.x_shape, dy.dtype) if out is None else out
    every_pixel_is_written = g.stride_height == g.stride_width == 1
    if not (every_pixel_is_written or add):
        dx[...] = 0
    _, channels, kernel_height, kernel_width = g.w_shape
    plane = kernel_height * kernel_width
    strides = g.out_channels_per_group * channels * plane, plane, channels * plane
    bias = np.zeros(g.in_channels, dy.dtype)
    flat = contiguous(w).reshape(w.size)
    tile = 0 if add else _tile(geometry, dx)
    if tile:
        corner = g.pad_top - 2, g.pad_left - 2
        if transformed_product(tile, contiguous(dy), flat, strides, True, bias, corner, g.groups, dx):
            return dx
    shifted_product(maps(dy), flat, strides, bias, output_taps, g, maps(dx), add)
    return dx


def conv2d_weight_grad(dy: Array, x: Array, geometry: Conv2dGeometry) -> Array:
    """A product over pixels, or over transformed patches; one thread owns each weight, whatever their number."""
    if _channels_stand_alone(geometry):
        return depthwise_conv2d_weight_grad(dy, x, geometry)
    if geometry.batch == 0:
        return np.zeros(geometry.w_shape, dy.dtype)
    dw, dy, x = empty(geometry.w_shape, dy.dtype), contiguous(dy), contiguous(x)
    if not (_patches_pay(geometry, x.itemsize) and patch_product(dy, x, geometry, dw)):
        pixel_product(dy, x, geometry, dw)
    return dw


def conv2d_bias_grad(dy: Array) -> Array:
    """One thread per output channel; each sum is kept in float64 and rounded once."""
    db = np.empty(dy.shape[1], dy.dtype)
    _conv2d_bias_grad(planes(dy), db)
    return db


@compiled
def _conv2d_bias_grad(dy, db):
    batch, out_channels, _ = dy.shape
    for o in prange(out_channels):
        total = 0.0
        for n in range(batch):
            total += row_sum(dy[n, o])
        db[o] = total
