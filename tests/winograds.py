"""What the tests of Winograd's transforms have in common: problems, numbers, and the matrices of F(2x2, 3x3) as printed."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from npconv.geometry import Array, Conv2dGeometry

SHAPES = [
    ((1, 64, 56, 56), (64, 64, 3, 3), 1),
    ((8, 256, 14, 14), (256, 256, 3, 3), 1),
    ((64, 16, 32, 32), (16, 16, 3, 3), 1),
    ((8, 128, 28, 28), (128, 32, 3, 3), 4),
]
SMALL = Conv2dGeometry.of((2, 20, 9, 11), (24, 20, 3, 3), padding=1)

B = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]], float)
G = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2
A = np.array([[1, 1, 1, 0], [0, 1, -1, 1]], float)


class Calls(list[bool]):
    """What `transformed_product` or `patch_product` said, each time it was asked."""


def arrays_of(g: Conv2dGeometry, dtype: Any, *, whole: bool, seed: int = 0) -> list[Array]:
    """x, w, b and dy."""
    rng = np.random.default_rng(seed)
    shapes = g.x_shape, g.w_shape, (g.out_channels,), g.y_shape
    return [(rng.integers(-4, 5, s) if whole else rng.normal(size=s)).astype(dtype) for s in shapes]


@st.composite
def geometries(draw: st.DrawFn) -> Conv2dGeometry:
    """Padding beyond the kernel, maps that no tile fits, channels beyond and below a vector."""
    groups, size, channels = st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)
    pads = st.tuples(st.integers(0, 4), st.integers(0, 4))
    g, (top, bottom), (left, right) = draw(groups), draw(pads), draw(pads)
    height, width = max(draw(size), 3 - top - bottom), max(draw(size), 3 - left - right)
    x_shape = draw(st.integers(0, 3)), g * draw(channels), height, width
    w_shape = g * draw(channels), x_shape[1] // g, 3, 3
    return Conv2dGeometry.of(x_shape, w_shape, padding=((top, bottom), (left, right)), groups=g)
