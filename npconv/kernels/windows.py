"""Padding: with zeros around each plane, every tap of every window is a plain index and no loop needs a border case."""

from __future__ import annotations

import numpy as np

from npconv.geometry import Array, Conv2dGeometry


def padded(x: Array, geometry: Conv2dGeometry) -> Array:
    """x (N, C, H, W) with the geometry's padding around each plane; x itself where there is none."""
    shape = padded_shape(x.shape, geometry)
    if shape == x.shape:
        return x
    plane = np.zeros(shape, x.dtype)
    crop(plane, geometry)[...] = x
    return plane


def padded_shape(x_shape: tuple[int, ...], geometry: Conv2dGeometry) -> tuple[int, ...]:
    """The shape of (N, C, H, W) with padding."""
    batch, channels, height, width = x_shape
    rows = height + geometry.pad_top + geometry.pad_bottom
    return batch, channels, rows, width + geometry.pad_left + geometry.pad_right


def crop(plane: Array, geometry: Conv2dGeometry) -> Array:
    """The part of a padded array that is the image, as a view."""
    bottom, right = geometry.pad_top + geometry.in_height, geometry.pad_left + geometry.in_width
    return plane[:, :, geometry.pad_top : bottom, geometry.pad_left : right]
