"""The definition of Winograd's sums: exactly the convolution where all sums are exact."""

from __future__ import annotations

import numpy as np
import pytest

from npconv import reference
from npconv.geometry import Conv2dGeometry
from npconv.reference.winograd import winograd_conv2d


@pytest.mark.parametrize("shape", [(1, 1, 3, 3), (2, 3, 4, 4), (2, 5, 7, 8), (1, 2, 8, 5), (0, 2, 5, 5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_numbers_are_exact(shape: tuple[int, ...], dtype: type) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-4, 5, shape).astype(dtype)
    w = rng.integers(-4, 5, (6, shape[1], 3, 3)).astype(dtype)
    y = winograd_conv2d(x, w)
    assert y.dtype == dtype
    expected = reference.conv2d(x, w, None, None, Conv2dGeometry.of(x.shape, w.shape))
    np.testing.assert_array_equal(y, expected)
