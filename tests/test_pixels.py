"""The two ways to a weight gradient, channels in lanes and pixels in lanes: each does every problem, though one is chosen."""

from __future__ import annotations

import numpy as np
import pytest

from npconv import reference
from npconv.geometry import Conv2dGeometry
from npconv.kernels import pixels

PROBLEMS = [
    Conv2dGeometry.of((2, 3, 37, 41), (10, 3, 3, 3), stride=2, padding=1),  # fewer channels than lanes
    Conv2dGeometry.of(
        (5, 42, 7, 7), (26, 21, 3, 3), padding=1, groups=2
    ),  # a last block that is not full, several images at a time
    Conv2dGeometry.of((1, 35, 9, 50), (9, 35, 5, 7), padding=((2, 0), (3, 1)), dilation=(1, 2)),  # more taps than lanes
    Conv2dGeometry.of((3, 40, 1, 3), (50, 40, 1, 1)),  # fewer pixels than lanes
    Conv2dGeometry.of((2, 17, 23, 31), (5, 17, 2, 1), stride=(3, 4)),  # columns and rows that nothing reads
    Conv2dGeometry.of((1, 2, 4, 5), (3, 2, 3, 2), padding=((4, 3), (2, 5))),  # outputs of nothing but padding
    Conv2dGeometry.of((1, 70, 60, 61), (24, 70, 3, 3), padding=1),  # several chunks
]
WAYS = {"channels in lanes": np.inf, "pixels in lanes": 0.0}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("geometry", PROBLEMS, ids=lambda g: f"{g.x_shape}x{g.w_shape}")
@pytest.mark.parametrize("way", WAYS)
def test_either_way_gives_the_same_sums(
    way: str, geometry: Conv2dGeometry, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels, "dots_cycles", lambda *_: WAYS[way])
    rng = np.random.default_rng(0)
    dy, x = (rng.integers(-3, 4, shape).astype(dtype) for shape in (geometry.y_shape, geometry.x_shape))
    dw = np.full(geometry.w_shape, np.nan, dtype)
    pixels.pixel_product(dy, x, geometry, dw)
    np.testing.assert_array_equal(dw, reference.conv2d_weight_grad(dy, x, geometry))


@pytest.mark.parametrize("way", WAYS)
def test_an_infinite_pixel_meets_only_what_it_is_multiplied_with(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands next to lanes and columns that are no pixel: 0 * inf would be NaN in sums that it is no part of."""
    monkeypatch.setattr(pixels, "dots_cycles", lambda *_: WAYS[way])
    g = Conv2dGeometry.of((2, 5, 9, 11), (6, 5, 3, 3), stride=2)
    rng = np.random.default_rng(0)
    dy = rng.integers(1, 4, g.y_shape).astype(np.float32)
    for place in [(0, 0, 0, 0), (0, 4, 8, 10), (1, 2, 4, 10), (1, 3, 8, 0)]:
        x = rng.integers(1, 4, g.x_shape).astype(np.float32)
        x[place] = np.inf
        dw = np.empty(g.w_shape, np.float32)
        pixels.pixel_product(dy, x, g, dw)
        np.testing.assert_array_equal(dw, reference.conv2d_weight_grad(dy, x, g))
