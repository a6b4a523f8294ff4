"""Nearest-neighbour up-sampling: y[n,c,p,q] = x[n,c, p // scale_height, q // scale_width]."""

from __future__ import annotations

import numpy as np

from npconv.geometry import Array, UpsampleGeometry


def upsample_nearest2d(x: Array, geometry: UpsampleGeometry) -> Array:
    """Each pixel becomes a block of scale_height x scale_width; the last blocks may be cropped to the wanted size."""
    rows = np.arange(geometry.out_height) // geometry.scale_height
    columns = np.arange(geometry.out_width) // geometry.scale_width
    return x.take(rows, axis=2).take(columns, axis=3)


def upsample_nearest2d_input_grad(dy: Array, geometry: UpsampleGeometry) -> Array:
    """dx[n,c,h,w] = sum of dy over the block that pixel (h, w) became; what was cropped from the block adds nothing."""
    rows = np.arange(geometry.in_height) * geometry.scale_height
    columns = np.arange(geometry.in_width) * geometry.scale_width
    return np.add.reduceat(np.add.reduceat(dy, rows, axis=2), columns, axis=3)
