"""Winograd's F(2x2, 3x3): a 3x3 convolution at stride 1 with 16 products for every 2x2 outputs, where the sum has 36.

Not a primitive: `reference.conv2d` defines the result, and this says which other sums the kernel computes it by.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from npconv.geometry import Array

B_T = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])  # the paper's
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
A_T = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])


def winograd_conv2d(x: Array, w: Array) -> Array:
    """y[n,o,p,q] = sum over c, r, s of x[n,c,p+r,q+s] * w[o,c,r,s] for x (N, C, H, W), w (O, C, 3, 3).

    There is no padding: y is (N, O, H - 2, W - 2). For each 4x4 patch d of x and its 2x2 outputs,
    outputs = A_T [sum over c of (G w G_T) * (B_T d B)] A, the product * being element by element
    (Lavin and Gray, arXiv 1509.09308, section 4.1).
    """
    height, width = x.shape[2] - 2, x.shape[3] - 2
    x = np.pad(x, ((0, 0), (0, 0), (0, height % 2), (0, width % 2)))  # so that tiles fill y
    patches = sliding_window_view(x, (4, 4), axis=(2, 3))[:, :, ::2, ::2]  # n c i j, then 4 4
    b_t, g, a_t = (matrix.astype(x.dtype) for matrix in (B_T, G, A_T))
    products = np.einsum("ncijuv,ocuv->noijuv", b_t @ patches @ b_t.T, g @ w @ g.T, optimize=True)
    tiles = a_t @ products @ a_t.T  # n o i j, then 2 2
    batch, channels, rows, columns = tiles.shape[:4]
    y = tiles.transpose(0, 1, 2, 4, 3, 5).reshape(batch, channels, 2 * rows, 2 * columns)
    return y[:, :, :height, :width]
