"""Standard and group convolution: y[n,g,o,p,q] = sum over c, r, s of x[n,g,c, p*stride + r*dilation - pad, ...] * w[g,o,c,r,s]."""

from __future__ import annotations

import numpy as np
from numba import prange

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.compiling import compiled, contiguous
from npconv.kernels.windows import crop, padded, padded_shape


def conv2d(x: Array, w: Array, b: Array | None, geometry: Conv2dGeometry) -> Array:
    """One thread per output plane. A missing bias is a bias of 0."""
    bias = np.zeros(geometry.out_channels, x.dtype) if b is None else b
    y = np.empty(geometry.y_shape, x.dtype)
    _conv2d(contiguous(padded(x, geometry)), contiguous(w), contiguous(bias), geometry, y)
    return y


@compiled
def _conv2d(x, w, b, geometry, y):
    batch, out_channels, out_height, out_width = y.shape
    in_channels, outs = geometry.in_channels_per_group, geometry.out_channels_per_group
    kernel_height, kernel_width = geometry.kernel_height, geometry.kernel_width
    stride_height, stride_width = geometry.stride_height, geometry.stride_width
    dilation_height, dilation_width = geometry.dilation_height, geometry.dilation_width
    for plane in prange(batch * out_channels):
        n, o = np.int64(plane) // out_channels, np.int64(plane) % out_channels
        first = o // outs * in_channels
        y[n, o] = b[o]
        for c in range(in_channels):
            for p in range(out_height):
                for r in range(kernel_height):
                    row = x[n, first + c, p * stride_height + r * dilation_height]
                    for s in range(kernel_width):
                        tap = w[o, c, r, s]
                        for q in range(out_width):
                            y[n, o, p, q] += tap * row[q * stride_width + s * dilation_width]


def conv2d_input_grad(dy: Array, w: Array, geometry: Conv2dGeometry) -> Array:
    """One thread per input plane; the padding gets gradients too, and is cut off at the end."""
    dx = np.zeros(padded_shape(geometry.x_shape, geometry), dy.dtype)
    _conv2d_input_grad(contiguous(dy), contiguous(w), geometry, dx)
    return np.ascontiguousarray(crop(dx, geometry))


@compiled
def _conv2d_input_grad(dy, w, geometry, dx):
    batch, _, out_height, out_width = dy.shape
    all_in_channels = dx.shape[1]
    in_channels, outs = geometry.in_channels_per_group, geometry.out_channels_per_group
    kernel_height, kernel_width = geometry.kernel_height, geometry.kernel_width
    stride_height, stride_width = geometry.stride_height, geometry.stride_width
    dilation_height, dilation_width = geometry.dilation_height, geometry.dilation_width
    for plane in prange(batch * all_in_channels):
        n, channel = np.int64(plane) // all_in_channels, np.int64(plane) % all_in_channels
        g, c = channel // in_channels, channel % in_channels
        for o in range(g * outs, (g + 1) * outs):
            for p in range(out_height):
                for r in range(kernel_height):
                    row = dx[n, channel, p * stride_height + r * dilation_height]
                    for s in range(kernel_width):
                        tap = w[o, c, r, s]
                        for q in range(out_width):
                            row[q * stride_width + s * dilation_width] += tap * dy[n, o, p, q]


def conv2d_weight_grad(dy: Array, x: Array, geometry: Conv2dGeometry) -> Array:
    """One thread per kernel plane dw[o,c]; each sum over the batch is kept in float64 and rounded once."""
    dw = np.empty(geometry.w_shape, dy.dtype)
    _conv2d_weight_grad(contiguous(dy), contiguous(padded(x, geometry)), geometry, dw)
    return dw


@compiled
def _conv2d_weight_grad(dy, x, geometry, dw):
    batch, _, out_height, out_width = dy.shape
    out_channels, in_channels, kernel_height, kernel_width = dw.shape
    outs = geometry.out_channels_per_group
    stride_height, stride_width = geometry.stride_height, geometry.stride_width
    dilation_height, dilation_width = geometry.dilation_height, geometry.dilation_width
    for plane in prange(out_channels * in_channels):
        o, c = np.int64(plane) // in_channels, np.int64(plane) % in_channels
        channel = o // outs * in_channels + c
        for r in range(kernel_height):
            for s in range(kernel_width):
                total = 0.0
                for n in range(batch):
                    for p in range(out_height):
                        row = x[n, channel, p * stride_height + r * dilation_height]
                        for q in range(out_width):
                            total += dy[n, o, p, q] * row[q * stride_width + s * dilation_width]
                dw[o, c, r, s] = total


def conv2d_bias_grad(dy: Array) -> Array:
    """One thread per output channel; each sum is kept in float64 and rounded once."""
    db = np.empty(dy.shape[1], dy.dtype)
    _conv2d_bias_grad(contiguous(dy), db)
    return db


@compiled
def _conv2d_bias_grad(dy, db):
    batch, out_channels, out_height, out_width = dy.shape
    for o in prange(out_channels):
        total = 0.0
        for n in range(batch):
            for p in range(out_height):
                for q in range(out_width):
                    total += dy[n, o, p, q]
        db[o] = total
