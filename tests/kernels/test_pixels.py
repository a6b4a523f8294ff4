"""The ways to a weight gradient, channels of dy or x in lanes and pixels in lanes: each does every problem, though one is chosen."""

from __future__ import annotations

from collections.abc import Iterator

import numba
import numpy as np
import pytest

from npconv import reference
from npconv.geometry import Conv2dGeometry
from npconv.kernels import pixels
from npconv.kernels.pixel_tiles import TILES

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
WAYS = {"dy is turned": (np.inf, (False,)), "x is turned": (np.inf, (True,)), "pixels in lanes": (0.0, (False, True))}


@pytest.fixture(autouse=True)
def fresh_plans() -> Iterator[None]:
    pixels._pixel_plan.cache_clear()
    yield
    pixels._pixel_plan.cache_clear()


def choose(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cycles, turned = WAYS[way]
    monkeypatch.setattr(pixels, "dots_cycles", lambda *_: cycles)
    monkeypatch.setattr(pixels, "X_IS_TURNED", turned)


def assert_exact(geometry: Conv2dGeometry, dtype: type) -> None:
    rng = np.random.default_rng(0)
    dy, x = (rng.integers(-3, 4, shape).astype(dtype) for shape in (geometry.y_shape, geometry.x_shape))
    dw = np.full(geometry.w_shape, np.nan, dtype)
    pixels.pixel_product(dy, x, geometry, dw)
    np.testing.assert_array_equal(dw, reference.conv2d_weight_grad(dy, x, geometry))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("geometry", PROBLEMS, ids=lambda g: f"{g.x_shape}x{g.w_shape}")
@pytest.mark.parametrize("way", WAYS)
def test_either_way_gives_the_same_sums(
    way: str, geometry: Conv2dGeometry, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(way, monkeypatch)
    assert_exact(geometry, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("number", range(len(TILES)))
def test_every_tile_is_right(number: int, dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is the fastest for once, as far as the plan is told."""
    choose("dy is turned", monkeypatch)
    tiles = [tile._replace(cycles=1e-3 if n == number else tile.cycles) for n, tile in enumerate(TILES)]
    monkeypatch.setattr(pixels, "TILES", tiles)
    geometry = Conv2dGeometry.of((2, 11, 21, 14), (83, 11, 3, 3), padding=1)
    assert pixels._pixel_plan(geometry, np.dtype(dtype).itemsize, 1)[1].tile == number
    pixels._pixel_plan.cache_clear()
    assert_exact(geometry, dtype)


@pytest.mark.parametrize("way", ["dy is turned", "x is turned"])
def test_sums_of_many_pixels_do_not_depend_on_the_threads(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are made of several, which other cuts must leave alone."""
    choose(way, monkeypatch)
    g = Conv2dGeometry.of((3, 5, 70, 45), (20, 5, 3, 3), padding=1)
    assert pixels._pixel_plan(g, 4, 1)[1].slabs > 1
    rng = np.random.default_rng(0)
    dy, x = (rng.normal(size=shape).astype(np.float32) for shape in (g.y_shape, g.x_shape))
    results = []
    threads = numba.get_num_threads()
    for count in (1, threads):
        numba.set_num_threads(count)
        results.append(np.empty(g.w_shape, np.float32))
        pixels.pixel_product(dy, x, g, results[-1])
    numba.set_num_threads(threads)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("way", WAYS)
def test_an_infinite_pixel_meets_only_what_it_is_multiplied_with(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands next to lanes and columns that are no pixel: 0 * inf would be NaN in sums that it is no part of."""
    choose(way, monkeypatch)
    g = Conv2dGeometry.of((2, 5, 9, 11), (6, 5, 3, 3), stride=2)
    rng = np.random.default_rng(0)
    dy = rng.integers(1, 4, g.y_shape).astype(np.float32)
    for place in [(0, 0, 0, 0), (0, 4, 8, 10), (1, 2, 4, 10), (1, 3, 8, 0)]:
        x = rng.integers(1, 4, g.x_shape).astype(np.float32)
        x[place] = np.inf
        dw = np.empty(g.w_shape, np.float32)
        pixels.pixel_product(dy, x, g, dw)
        with np.errstate(invalid="ignore"):  # BLAS may raise the flag in lanes that hold no number
            expected = reference.conv2d_weight_grad(dy, x, g)
        np.testing.assert_array_equal(dw, expected)
