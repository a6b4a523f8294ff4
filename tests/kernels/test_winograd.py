"""Winograd's transforms: exact where halves are, within their own bound elsewhere, and given up where numbers are not finite."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from winograds import SHAPES, SMALL, A, B, Calls, G, arrays_of, geometries

import npconv
from npconv import kernels, reference
from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels import standard, winograd
from npconv.kernels.transforms import matrices
from npconv.testing import assert_within_bound, rigorous_bound, unit_roundoff
from npconv.testing.bounds import gamma


@pytest.fixture(params=[2, 4])
def tile(request: pytest.FixtureRequest) -> Any:
    """Rows and columns of a tile."""
    return request.param


@pytest.fixture
def transform(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Calls]]:
    """Let every 3x3 convolution at stride 1 be transformed, whatever its size, with tiles of this size from now on."""
    calls, product = Calls(), standard.transformed_product

    def recorded(*arguments: Any) -> bool:
        calls.append(product(*arguments))
        return calls[-1]

    def use(tile: int) -> Calls:
        monkeypatch.setattr(standard, "_tile", lambda geometry, out: tile)
        return calls

    monkeypatch.setattr(standard, "transformed_product", recorded)
    monkeypatch.setattr(standard, "_channels_stand_alone", lambda geometry: False)
    winograd._cut.cache_clear()
    yield use
    winograd._cut.cache_clear()


@pytest.fixture
def transformed(transform: Callable[[int], Calls]) -> Calls:
    """With tiles of 2x2."""
    return transform(2)


def both(package: Any, arrays: list[Array], g: Conv2dGeometry) -> list[Array]:
    x, w, b, dy = arrays
    return [package.conv2d(x, w, b, g), package.conv2d_input_grad(dy, w, g)]


@given(g=geometries(), dtype=st.sampled_from([np.float32, np.float64]))
def test_whole_numbers_are_exact(g: Conv2dGeometry, dtype: Any, transformed: Calls) -> None:
    arrays = arrays_of(g, dtype, whole=True)
    for got, expected in zip(both(kernels, arrays, g), both(reference, arrays, g), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert all(transformed)


@pytest.mark.parametrize("add", [False, True])
def test_results_go_into_slices_of_channels_or_are_added_to_them(
    add: bool, tile: int, transform: Callable[[int], Calls]
) -> None:
    calls = transform(tile)
    g = Conv2dGeometry.of((2, 20, 11, 9), (18, 20, 3, 3), padding=1)
    x, w, _, dy = arrays_of(g, np.float64, whole=True)
    for primitive, arguments, shape in (
        ("conv2d", (x, w, None, g), g.y_shape),
        ("conv2d_input_grad", (dy, w, g), g.x_shape),
    ):
        whole = np.ones((shape[0], shape[1] + 3, *shape[2:]))
        getattr(kernels, primitive)(*arguments, out=whole[:, 2:-1], add=add)
        expected = getattr(reference, primitive)(*arguments) + add
        np.testing.assert_allclose(whole[:, 2:-1], expected, rtol=0, atol=1e-9)
        assert (whole[:, :2] == 1).all()
        assert (whole[:, -1] == 1).all()
    assert calls == [True, True]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("patch_bytes", [1, 1 << 15, 1 << 25])
def test_more_or_less_memory_gives_the_same_sums(
    patch_bytes: int, dtype: Any, transformed: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row of tiles at a time, blocks that start in one image and end in another, and a single block."""
    monkeypatch.setattr(winograd, "PATCH_BYTES", patch_bytes)
    g = Conv2dGeometry.of((3, 40, 23, 21), (50, 20, 3, 3), padding=((0, 1), (1, 0)), groups=2)
    arrays = arrays_of(g, dtype, whole=True)
    for got, expected in zip(both(kernels, arrays, g), both(reference, arrays, g), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert transformed == [True, True]


@pytest.mark.parametrize("tiles", ["2x2", "4x4"])
@pytest.mark.parametrize(("x_shape", "w_shape", "groups"), SHAPES)
def test_the_number_of_threads_changes_no_bit(x_shape: Any, w_shape: Any, groups: int, tiles: str) -> None:
    """Where they are chosen by the kernels themselves."""
    g = Conv2dGeometry.of(x_shape, w_shape, padding=1, groups=groups)
    arrays, threads = arrays_of(g, np.float32, whole=False), numba.get_num_threads()
    with npconv.winograd(tiles):
        expected = both(kernels, arrays, g)
        numba.set_num_threads(1)
        try:
            got = both(kernels, arrays, g)
        finally:
            numba.set_num_threads(threads)
    for one, many in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, many)


def test_an_image_has_the_same_result_in_any_batch(tile: int, transform: Callable[[int], Calls]) -> None:
    transform(tile)
    g = Conv2dGeometry.of((5, 24, 9, 11), (24, 24, 3, 3), padding=1)
    x, w, b, _ = arrays_of(g, np.float32, whole=False)
    one = Conv2dGeometry.of((1, 24, 9, 11), (24, 24, 3, 3), padding=1)
    np.testing.assert_array_equal(kernels.conv2d(x, w, b, g)[3:4], kernels.conv2d(x[3:4], w, b, one))


@pytest.mark.parametrize(("x_shape", "w_shape", "groups"), [*SHAPES, ((1, 512, 7, 7), (512, 512, 3, 3), 1)])
def test_they_are_chosen_where_they_pay(x_shape: Any, w_shape: Any, groups: int) -> None:
    g = Conv2dGeometry.of(x_shape, w_shape, padding=1, groups=groups)
    assert standard._transforms_pay(2, g, np.empty(g.y_shape, np.float32))


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "options"),
    [
        ((8, 64, 28, 28), (64, 64, 3, 3), {"stride": 2}),
        ((8, 64, 28, 28), (64, 64, 3, 3), {"stride": (1, 2)}),
        ((8, 64, 28, 28), (64, 64, 3, 3), {"dilation": 2}),
        ((8, 64, 28, 28), (64, 64, 3, 3), {"dilation": (1, 2)}),
        ((8, 64, 28, 28), (64, 64, 1, 1), {}),
        ((8, 64, 28, 28), (64, 64, 3, 5), {}),
        ((8, 64, 28, 28), (64, 64, 5, 5), {}),
        ((8, 128, 28, 28), (128, 8, 3, 3), {"groups": 16}),
        ((8, 3, 224, 224), (64, 3, 3, 3), {}),
        ((1, 64, 7, 7), (64, 64, 3, 3), {"padding": 1}),
        ((1, 512, 4, 4), (512, 512, 3, 3), {"padding": 1}),
        ((1, 1024, 7, 7), (1024, 1024, 3, 3), {"padding": 1}),
        ((64, 64, 5, 5), (64, 64, 3, 3), {}),
        ((0, 64, 28, 28), (64, 64, 3, 3), {}),
        ((1, 512, 128, 256), (512, 512, 3, 3), {}),
    ],
)
def test_they_are_not_chosen_elsewhere(x_shape: Any, w_shape: Any, options: dict[str, Any]) -> None:
    g = Conv2dGeometry.of(x_shape, w_shape, **options)
    with npconv.winograd("4x4"):
        assert standard._tile(g, np.empty(g.y_shape, np.float32)) == 0


# --- what the user chooses ---------------------------------------------------------------------------------------


def tile_of(x_shape: Any = (8, 64, 56, 56)) -> int:
    g = Conv2dGeometry.of(x_shape, (x_shape[1], x_shape[1], 3, 3), padding=1)
    return standard._tile(g, np.empty(g.y_shape, np.float32))


def test_the_larger_tiles_are_used_for_those_alone_who_ask_for_them() -> None:
    seen = []
    with npconv.winograd("4x4"):
        assert tile_of() == 4
        assert tile_of((8, 64, 7, 7)) == 2  # 32 tiles of 4x4 are too few
        with npconv.winograd("off"):
            assert tile_of() == 0
        thread = threading.Thread(target=lambda: seen.append(tile_of()))
        thread.start()
        thread.join()
        assert tile_of() == 4
    assert seen == [2]
    assert tile_of() == 2


@pytest.mark.parametrize("tiles", ["3x3", "", "OFF"])
def test_other_tiles_are_refused(tiles: str) -> None:
    with pytest.raises(ValueError, match="winograd must be one of 'off', '2x2', '4x4', got "), npconv.winograd(tiles):
        pass


def config(tiles: str) -> subprocess.CompletedProcess[str]:
    """`npconv config` where NPCONV_WINOGRAD is set."""
    environment = {**os.environ, "NPCONV_WINOGRAD": tiles, "NPCONV_BACKEND": "numba"}
    command = [sys.executable, "-m", "npconv", "config"]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


@pytest.mark.parametrize(("tiles", "shown"), [("", "2x2"), ("4x4", "4x4"), ("off", "off")])
def test_the_environment_has_a_say_and_config_shows_it(tiles: str, shown: str) -> None:
    done = config(tiles)
    assert done.returncode == 0, done.stderr
    assert [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("Winograd")] == [[shown]]


def test_a_wrong_environment_is_refused() -> None:
    done = config("8x8")
    assert (done.returncode, done.stderr) == (
        1, "npconv: NPCONV_WINOGRAD must be one of 'off', '2x2', '4x4', got '8x8'\n",
    )  # fmt: skip


def test_without_transforms_errors_are_within_the_bound_of_sums() -> None:
    """Which pixels of very different sizes break otherwise: an output's bound knows nothing of its neighbours' pixels."""
    rng = np.random.default_rng(0)
    g = Conv2dGeometry.of((1, 32, 14, 14), (32, 32, 3, 3), padding=1)
    x, w, _, _ = arrays_of(g, np.float32, whole=False)
    x *= np.exp(8 * rng.normal(size=x.shape)).astype(np.float32)
    exact = reference.conv2d(x.astype(np.longdouble), w.astype(np.longdouble), None, g)
    magnitude = reference.conv2d(abs(x).astype(float), abs(w).astype(float), None, g)
    bound = rigorous_bound(magnitude, 9 * g.in_channels, np.float32)
    with npconv.winograd("off"):
        assert_within_bound(kernels.conv2d(x, w, None, g), exact, bound)
    assert tile_of(g.x_shape) == 2
    with pytest.raises(AssertionError):
        assert_within_bound(kernels.conv2d(x, w, None, g), exact, bound)


# --- rounding ----------------------------------------------------------------------------------------------------


def test_the_matrices_of_2x2_are_the_papers() -> None:
    """But for the sign of a row and its column."""
    for made, expected in zip(matrices(2), (B, G, A), strict=True):
        np.testing.assert_array_equal(np.array(made, float), expected)


def test_the_matrices_make_correlations_exactly(tile: int) -> None:
    """For each pixel and weight alone, in fractions: the rest follows, because both sides are linear in both."""
    b, g, a = (np.array(matrix) for matrix in matrices(tile))
    for k in range(3):
        for i in range(tile + 2):
            expected = [Fraction(i == p + k) for p in range(tile)]
            assert list(a @ (g[:, k] * b[:, i])) == expected


def magnitude(x: Array, w: Array, tile: int) -> Array:
    """|A'| [ sum over channels of (|G| |g| |G'|) * (|B'| |d| |B|) ] |A|, for tiles of one group without padding."""
    x, w = np.abs(x).astype(float), np.abs(w).astype(float)
    b, g, a = (abs(np.array(matrix, float)) for matrix in matrices(tile))
    patches = np.lib.stride_tricks.sliding_window_view(x, (tile + 2, tile + 2), axis=(2, 3))[:, :, ::tile, ::tile]
    v = np.einsum("ri,ncpqij,sj->ncpqrs", b, patches, b)
    u = np.einsum("ri,ocij,sj->ocrs", g, w, g)
    y = np.einsum("ar,nopqrs,bs->nopaqb", a, np.einsum("ocrs,ncpqrs->nopqrs", u, v, optimize=True), a)
    return y.reshape(*y.shape[:2], tile * y.shape[2], -1)


ROUNDINGS = {2: 12, 4: 23}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spread", [0.0, 8.0])
def test_errors_are_within_the_bound_of_the_transforms(
    spread: float, dtype: Any, tile: int, transform: Callable[[int], Calls]
) -> None:
    """Also for pixels of very different sizes, where those of the direct sum can be smaller.

    A term is rounded in each channel's multiply-add, and in each of the three transforms twice, for rows and columns, as often
    as sums have terms: that is at most four times each for tiles of 2x2. For 4x4, it is three times twice for patches, four times
    twice for kernels, whose factors are rounded themselves, four times twice for products, and once for the bias.
    """
    transformed = transform(tile)
    rng = np.random.default_rng(0)
    g = Conv2dGeometry.of((2, 40, 18, 22), (24, 40, 3, 3))
    x, w, b, _ = arrays_of(g, dtype, whole=False)
    x *= np.exp(spread * rng.normal(size=x.shape)).astype(dtype)
    exact = reference.conv2d(x.astype(np.longdouble), w.astype(np.longdouble), None, g)
    got = kernels.conv2d(x, w, np.zeros_like(b), g)
    bound = gamma(g.in_channels + ROUNDINGS[tile], unit_roundoff(dtype)) * magnitude(x, w, tile)
    assert_within_bound(got, exact, bound)
    assert transformed == [True]


@given(g=geometries())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tiles_of_4x4_are_right_at_every_border(
    g: Conv2dGeometry, dtype: Any, transform: Callable[[int], Calls]
) -> None:
    """Within the largest bound that whole numbers of up to 4 can have: what is misplaced by a pixel is far outside."""
    transform(4)
    arrays = arrays_of(g, dtype, whole=True)
    amplification = float(np.prod([np.abs(np.array(matrix, float)).sum(axis=1).max() for matrix in matrices(4)]))
    for got, expected in zip(both(kernels, arrays, g), both(reference, arrays, g), strict=True):
        terms = max(g.in_channels_per_group, g.out_channels_per_group)
        bound = 16 * terms * amplification**2 * gamma(terms + ROUNDINGS[4], unit_roundoff(dtype))
        assert np.max(np.abs(got - expected), initial=0) <= bound


@pytest.mark.parametrize("tile", [4])
@pytest.mark.parametrize("channels", [16, 256])
def test_tiles_of_4x4_lose_a_bit_or_two(channels: int, tile: int, transform: Callable[[int], Calls]) -> None:
    """On noise, the root of the mean square of the errors is 1.7 to 2.5 times that of the direct sum; with other points, 3.8 times."""
    g = Conv2dGeometry.of((2, channels, 14, 14), (64, channels, 3, 3), padding=1)
    arrays = arrays_of(g, np.float32, whole=False)
    exact = both(reference, [array.astype(float) for array in arrays], g)
    errors = []
    for used in (tile, 0):
        transform(used)
        errors.append([np.sqrt(np.mean((y - e) ** 2)) for y, e in zip(both(kernels, arrays, g), exact, strict=True)])
    for ours, direct in zip(*errors, strict=True):
        assert direct < ours < 3 * direct


@pytest.mark.parametrize(("x_shape", "w_shape", "groups"), SHAPES[1:])
def test_on_noise_they_lose_less_than_a_bit(
    x_shape: Any, w_shape: Any, groups: int, transform: Callable[[int], Calls]
) -> None:
    """The root of the mean square of the errors is under twice that of the direct sum, in both directions."""
    g = Conv2dGeometry.of((2, *x_shape[1:]), w_shape, padding=1, groups=groups)
    arrays = arrays_of(g, np.float32, whole=False)
    exact = both(kernels, [array.astype(float) for array in arrays], g)
    errors = []
    for used in (2, 0):
        transform(used)
        errors.append([np.sqrt(np.mean((y - e) ** 2)) for y, e in zip(both(kernels, arrays, g), exact, strict=True)])
    for ours, direct in zip(*errors, strict=True):
        assert direct / 2 < ours < 2 * direct


# --- numbers that are not finite ---------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of what is done here on purpose
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", range(8))
def test_one_pixel_comes_out_where_it_is_read(
    special: float, place: int, tile: int, transform: Callable[[int], Calls]
) -> None:
    """Corners, borders and the middle: only the outputs that read it are not finite, in both directions."""
    transformed = transform(tile)
    x, w, b, dy = arrays_of(SMALL, np.float32, whole=True)
    at = [(0, 0), (8, 10), (0, 5), (8, 4), (3, 0), (4, 10), (4, 5), (7, 9)][place]
    x[(1, 13, *at)] = dy[(1, 13, *at)] = special
    arrays = [x, w, b, dy]
    for got, expected in zip(both(kernels, arrays, SMALL), both(reference, arrays, SMALL), strict=True):
        assert not np.isfinite(expected).all()
        np.testing.assert_array_equal(got, expected)
    assert transformed == [False, False]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("tap", range(9))
def test_one_weight_comes_out_where_it_is_read(
    special: float, tap: int, tile: int, transform: Callable[[int], Calls]
) -> None:
    transformed = transform(tile)
    x, w, b, _ = arrays_of(SMALL, np.float64, whole=True)
    w[7, 3].flat[tap] = special
    np.testing.assert_array_equal(kernels.conv2d(x, w, b, SMALL), reference.conv2d(x, w, b, SMALL))
    assert transformed == [False]


def test_sums_survive_whose_transforms_overflow(tile: int, transform: Callable[[int], Calls]) -> None:
    """Two neighbours of 3e38 are added before the weight of 1/4 could make them small."""
    transformed = transform(tile)
    x, w = np.full(SMALL.x_shape, 3e38, np.float32), np.zeros(SMALL.w_shape, np.float32)
    w[:, 0, 1, 1] = 0.25
    np.testing.assert_array_equal(kernels.conv2d(x, w, None, SMALL), np.full(SMALL.y_shape, 7.5e37, np.float32))
    assert transformed == [False]


def test_what_is_left_in_scratch_is_no_result(tile: int, transform: Callable[[int], Calls]) -> None:
    """After a call that filled it with NaN, the columns behind the last tile must not count."""
    transformed = transform(tile)
    arrays = arrays_of(SMALL, np.float32, whole=True)
    kernels.conv2d(np.full(SMALL.x_shape, np.nan, np.float32), arrays[1], None, SMALL)
    both(kernels, arrays, SMALL)
    assert transformed == [False, True, True]
