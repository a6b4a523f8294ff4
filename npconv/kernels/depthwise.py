"""Depthwise convolution, one input channel per group: y[n,g,o,p,q] = sum over r, s of x[n,g, p*stride + r*dilation - pad, ...] * w[g,o,r,s].

Input channel g makes the output channels g*m .. g*m + m - 1, m being the channel multiplier.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.compiling import compiled, contiguous
from npconv.kernels.windows import crop, padded, padded_shape


def depthwise_conv2d(x: Array, w: Array, b: Array | None, geometry: Conv2dGeometry) -> Array:
    """One thread per output plane. A missing bias is a bias of 0."""
    bias = np.zeros(geometry.out_channels, x.dtype) if b is None else b
    y = np.empty(geometry.y_shape, x.dtype)
    _depthwise_conv2d(contiguous(padded(x, geometry)), contiguous(w), contiguous(bias), geometry, y)
    return y


@compiled
def _depthwise_conv2d(x, w, b, geometry, y):
    batch, out_channels, out_height, out_width = y.shape
    multiplier = geometry.out_channels_per_group
    kernel_height, kernel_width = geometry.kernel_height, geometry.kernel_width
    stride_height, stride_width = geometry.stride_height, geometry.stride_width
    dilation_height, dilation_width = geometry.dilation_height, geometry.dilation_width
    for plane in prange(batch * out_channels):
        n, o = np.int64(plane) // out_channels, np.int64(plane) % out_channels
        g = o // multiplier
        y[n, o] = b[o]
        for p in range(out_height):
            for r in range(kernel_height):
                row = x[n, g, p * stride_height + r * dilation_height]
                for s in range(kernel_width):
                    tap = w[o, 0, r, s]
                    for q in range(out_width):
                        y[n, o, p, q] += tap * row[q * stride_width + s * dilation_width]


def depthwise_conv2d_input_grad(dy: Array, w: Array, geometry: Conv2dGeometry) -> Array:
    """One thread per input plane; the padding gets gradients too, and is cut off at the end."""
    dx = np.zeros(padded_shape(geometry.x_shape, geometry), dy.dtype)
    _depthwise_conv2d_input_grad(contiguous(dy), contiguous(w), geometry, dx)
    return np.ascontiguousarray(crop(dx, geometry))


@compiled
def _depthwise_conv2d_input_grad(dy, w, geometry, dx):
    batch, _, out_height, out_width = dy.shape
    channels = dx.shape[1]
    multiplier = geometry.out_channels_per_group
    kernel_height, kernel_width = geometry.kernel_height, geometry.kernel_width
    stride_height, stride_width = geometry.stride_height, geometry.stride_width
    dilation_height, dilation_width = geometry.dilation_height, geometry.dilation_width
    for plane in prange(batch * channels):
        n, g = np.int64(plane) // channels, np.int64(plane) % channels
        for o in range(g * multiplier, (g + 1) * multiplier):
            for p in range(out_height):
                for r in range(kernel_height):
                    row = dx[n, g, p * stride_height + r * dilation_height]
                    for s in range(kernel_width):
                        tap = w[o, 0, r, s]
                        for q in range(out_width):
                            row[q * stride_width + s * dilation_width] += tap * dy[n, o, p, q]


def depthwise_conv2d_weight_grad(dy: Array, x: Array, geometry: Conv2dGeometry) -> Array:
    """One thread per kernel; each sum over the batch is kept in float64 and rounded once."""
    dw = np.empty(geometry.w_shape, dy.dtype)
    _depthwise_conv2d_weight_grad(contiguous(dy), contiguous(padded(x, geometry)), geometry, dw)
    return dw


@compiled
def _depthwise_conv2d_weight_grad(dy, x, geometry, dw):
    batch, out_channels, out_height, out_width = dy.shape
    multiplier = geometry.out_channels_per_group
    kernel_height, kernel_width = geometry.kernel_height, geometry.kernel_width
    stride_height, stride_width = geometry.stride_height, geometry.stride_width
    dilation_height, dilation_width = geometry.dilation_height, geometry.dilation_width
    for o in prange(out_channels):
        g = np.int64(o) // multiplier
        for r in range(kernel_height):
            for s in range(kernel_width):
                total = 0.0
                for n in range(batch):
                    for p in range(out_height):
                        row = x[n, g, p * stride_height + r * dilation_height]
                        for q in range(out_width):
                            total += dy[n, o, p, q] * row[q * stride_width + s * dilation_width]
                dw[o, 0, r, s] = total
