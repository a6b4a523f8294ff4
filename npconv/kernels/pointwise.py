"""Pointwise (1x1) convolution, grouped or not: at every pixel a matrix product, y[n,g,o,p,q] = sum over c of x[n,g,c, p*stride, q*stride] * w[g,o,c]."""

from __future__ import annotations

import numpy as np
from numba import prange

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.compiling import compiled, contiguous


def pointwise_conv2d(x: Array, w: Array, b: Array | None, geometry: Conv2dGeometry) -> Array:
    """One thread per output plane. A missing bias is a bias of 0."""
    bias = np.zeros(geometry.out_channels, x.dtype) if b is None else b
    y = np.empty(geometry.y_shape, x.dtype)
    _pointwise_conv2d(contiguous(_kept(x, geometry)), contiguous(w), contiguous(bias), geometry, y)
    return y


@compiled
def _pointwise_conv2d(x, w, b, geometry, y):
    batch, out_channels, height, width = y.shape
    in_channels, outs = geometry.in_channels_per_group, geometry.out_channels_per_group
    for plane in prange(batch * out_channels):
        n, o = np.int64(plane) // out_channels, np.int64(plane) % out_channels
        first = o // outs * in_channels
        y[n, o] = b[o]
        for c in range(in_channels):
            tap = w[o, c, 0, 0]
            for p in range(height):
                for q in range(width):
                    y[n, o, p, q] += tap * x[n, first + c, p, q]


def pointwise_conv2d_input_grad(dy: Array, w: Array, geometry: Conv2dGeometry) -> Array:
    """One thread per input plane, on the pixels that the stride keeps; the others get 0."""
    batch, _, height, width = geometry.y_shape
    kept = np.zeros((batch, geometry.in_channels, height, width), dy.dtype)
    _pointwise_conv2d_input_grad(contiguous(dy), contiguous(w), geometry, kept)
    if kept.shape == geometry.x_shape:
        return kept
    dx = np.zeros(geometry.x_shape, dy.dtype)
    _kept(dx, geometry)[...] = kept
    return dx


@compiled
def _pointwise_conv2d_input_grad(dy, w, geometry, dx):
    batch, all_in_channels, height, width = dx.shape
    in_channels, outs = geometry.in_channels_per_group, geometry.out_channels_per_group
    for plane in prange(batch * all_in_channels):
        n, channel = np.int64(plane) // all_in_channels, np.int64(plane) % all_in_channels
        g, c = channel // in_channels, channel % in_channels
        for o in range(g * outs, (g + 1) * outs):
            tap = w[o, c, 0, 0]
            for p in range(height):
                for q in range(width):
                    dx[n, channel, p, q] += tap * dy[n, o, p, q]


def pointwise_conv2d_weight_grad(dy: Array, x: Array, geometry: Conv2dGeometry) -> Array:
    """One thread per output channel; each sum over the batch is kept in float64 and rounded once."""
    dw = np.empty(geometry.w_shape, dy.dtype)
    _pointwise_conv2d_weight_grad(contiguous(dy), contiguous(_kept(x, geometry)), geometry, dw)
    return dw


@compiled
def _pointwise_conv2d_weight_grad(dy, x, geometry, dw):
    batch, out_channels, height, width = dy.shape
    in_channels, outs = geometry.in_channels_per_group, geometry.out_channels_per_group
    for o in prange(out_channels):
        first = np.int64(o) // outs * in_channels
        for c in range(in_channels):
            total = 0.0
            for n in range(batch):
                for p in range(height):
                    for q in range(width):
                        total += dy[n, o, p, q] * x[n, first + c, p, q]
            dw[o, c, 0, 0] = total


def _kept(x: Array, geometry: Conv2dGeometry) -> Array:
    """The pixels (p * stride, q * stride), as a view."""
    return x[:, :, :: geometry.stride_height, :: geometry.stride_width]
