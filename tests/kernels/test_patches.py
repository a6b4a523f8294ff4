"""The weight gradient by Winograd's transforms: exact where halves are, the same for any cut, and given up where numbers are not finite."""

from __future__ import annotations

from collections.abc import Iterator
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
from npconv.kernels import patches, pixels, standard
from npconv.testing import assert_within_bound, unit_roundoff
from npconv.testing.bounds import gamma


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    """Let the weight gradient of every 3x3 convolution at stride 1 be made of patches, whatever its size."""
    calls, product = Calls(), standard.patch_product

    def recorded(*arguments: Any) -> bool:
        calls.append(product(*arguments))
        return calls[-1]

    monkeypatch.setattr(standard, "_patches_pay", lambda geometry, itemsize: True)
    monkeypatch.setattr(standard, "patch_product", recorded)
    monkeypatch.setattr(standard, "_channels_stand_alone", lambda geometry: False)
    patches._patch_plan.cache_clear()
    yield calls
    patches._patch_plan.cache_clear()


def assert_weights_are_exact(g: Conv2dGeometry, dtype: Any) -> None:
    x, _, _, dy = arrays_of(g, dtype, whole=True)
    np.testing.assert_array_equal(kernels.conv2d_weight_grad(dy, x, g), reference.conv2d_weight_grad(dy, x, g))


@given(g=geometries(), dtype=st.sampled_from([np.float32, np.float64]))
def test_gradients_of_weights_are_exact_on_whole_numbers(g: Conv2dGeometry, dtype: Any, patched: Calls) -> None:
    assert_weights_are_exact(g, dtype)
    assert all(patched)
    assert patched or g.batch == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("bytes_", "chunk"), [(1, 1), (1 << 17, 7), (1 << 17, 64), (1 << 25, 300)])
@pytest.mark.parametrize("slab", [8, 1 << 20])
def test_any_cut_gives_the_same_gradients(
    bytes_: int, chunk: int, slab: int, dtype: Any, patched: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row of tiles of a few channels at a time, chunks of two images or of several, all in one; sums of several slabs."""
    for name, value in (("BYTES", bytes_), ("CHUNK_PATCHES", chunk), ("SLAB_PATCHES", slab)):
        monkeypatch.setattr(patches, name, value)
    for height, width in ((23, 13), (5, 6)):
        g = Conv2dGeometry.of((5, 80, height, width), (100, 40, 3, 3), padding=((0, 2), (1, 0)), groups=2)
        plan = patches._patch_plan(g, np.dtype(dtype).itemsize, numba.get_num_threads())
        assert (plan.slabs > 1) == (slab == 8)
        assert bytes_ > 1 or (plan.chunk, plan.o_part) == (1, plan.k_part)
        assert_weights_are_exact(g, dtype)
    assert patched == [True, True]


def test_patches_of_x_are_transformed_once_for_all_outputs(patched: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a chunk has all of them; but not for the next channels, the next group or the next slab."""
    monkeypatch.setattr(patches, "BYTES", 1 << 16)
    monkeypatch.setattr(patches, "SLAB_BYTES", 1 << 21)
    for slab_patches, slabs in ((256, 1), (8, 2)):
        monkeypatch.setattr(patches, "SLAB_PATCHES", slab_patches)
        patches._patch_plan.cache_clear()
        g = Conv2dGeometry.of((2, 200, 6, 5), (200, 100, 3, 3), padding=1, groups=2)
        plan = patches._patch_plan(g, 4, numba.get_num_threads())
        assert plan.slabs == slabs
        assert plan.chunk * slabs == 6
        assert plan.o_part < 100
        assert plan.k_part < 100
        assert_weights_are_exact(g, np.float32)
    assert patched == [True, True]


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "groups"), [*SHAPES[:2], SHAPES[3], ((3, 50, 40, 31), (90, 50, 3, 3), 1)]
)
def test_gradients_of_weights_are_the_same_for_any_number_of_threads(x_shape: Any, w_shape: Any, groups: int) -> None:
    g = Conv2dGeometry.of(x_shape, w_shape, padding=1, groups=groups)
    assert standard._patches_pay(g, 4)
    x, _, _, dy = arrays_of(g, np.float32, whole=False)
    threads, expected = numba.get_num_threads(), kernels.conv2d_weight_grad(dy, x, g)
    numba.set_num_threads(1)
    try:
        got = kernels.conv2d_weight_grad(dy, x, g)
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(got, expected)


def test_the_cut_depends_on_the_threads_but_not_its_slabs() -> None:
    g = Conv2dGeometry.of((8, 64, 56, 56), (64, 64, 3, 3), padding=1)
    plans = [patches._patch_plan(g, 4, threads) for threads in (1, 2, 8, 64)]
    assert {plan.slabs for plan in plans} == {4}
    assert len({plan[:2] for plan in plans}) > 1
    assert all(sum(plan.sizes) * 4 < 2 << 20 for plan in plans)


def test_gradients_of_weights_read_slices(patched: Calls) -> None:
    g = Conv2dGeometry.of((2, 20, 11, 9), (18, 20, 3, 3), padding=1)
    x, _, _, dy = arrays_of(g, np.float32, whole=True)
    wide, wide_dy = np.full((2, 24, 11, 9), np.nan, np.float32), np.full((2, 18, 13, 9), np.nan, np.float32)
    wide[:, 3:-1], wide_dy[:, :, 2:] = x, dy
    got = kernels.conv2d_weight_grad(wide_dy[:, :, 2:], wide[:, 3:-1], g)
    np.testing.assert_array_equal(got, reference.conv2d_weight_grad(dy, x, g))
    assert patched == [True]


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "options", "pays"),
    [
        ((1, 64, 56, 56), (64, 64, 3, 3), {"padding": 1}, True),
        ((1, 512, 7, 7), (512, 512, 3, 3), {"padding": 1}, True),
        ((64, 32, 16, 16), (32, 32, 3, 3), {"padding": 1}, True),
        ((8, 128, 28, 28), (128, 32, 3, 3), {"groups": 4}, True),
        ((8, 128, 28, 28), (128, 16, 3, 3), {"groups": 8}, False),
        ((64, 16, 32, 32), (16, 16, 3, 3), {}, False),
        ((8, 64, 28, 28), (64, 64, 3, 3), {"stride": 2}, False),
        ((8, 64, 28, 28), (64, 64, 3, 3), {"stride": (1, 2)}, False),
        ((8, 64, 28, 28), (64, 64, 3, 3), {"dilation": (1, 2)}, False),
        ((8, 64, 28, 28), (64, 64, 1, 1), {}, False),
        ((8, 64, 28, 28), (64, 64, 3, 5), {}, False),
        ((1, 64, 7, 7), (64, 64, 3, 3), {"padding": 1}, False),
        ((8, 128, 3, 3), (128, 128, 3, 3), {"padding": 1}, False),
        ((1, 48, 512, 512), (48, 48, 3, 3), {}, True),
        ((1, 48, 512, 514), (48, 48, 3, 3), {}, False),
    ],
)
def test_patches_are_chosen_where_they_pay(x_shape: Any, w_shape: Any, options: Any, pays: bool) -> None:
    g = Conv2dGeometry.of(x_shape, w_shape, **options)
    assert standard._patches_pay(g, 4) == pays
    with npconv.winograd("off"):
        assert not standard._patches_pay(g, 4)
    with npconv.winograd("4x4"):
        assert standard._patches_pay(g, 4) == pays


def patch_magnitude(dy: Array, x: Array) -> Array:
    """|G'| [ sum over patches of (|A| |e| |A'|) * (|B'| |d| |B|) ] |G|, for one group without padding and whole tiles."""
    a, b, g = abs(A.T), abs(B), abs(G.T)
    d = np.lib.stride_tricks.sliding_window_view(np.abs(x).astype(float), (4, 4), axis=(2, 3))[:, :, ::2, ::2]
    e = np.lib.stride_tricks.sliding_window_view(np.abs(dy).astype(float), (2, 2), axis=(2, 3))[:, :, ::2, ::2]
    v, u = np.einsum("ri,ncpqij,sj->ncpqrs", b, d, b), np.einsum("ri,nopqij,sj->nopqrs", a, e, a)
    return np.einsum("kr,ocrs,ls->ockl", g, np.einsum("nopqrs,ncpqrs->ocrs", u, v, optimize=True), g)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spread", [0.0, 8.0])
def test_errors_of_gradients_are_within_the_bound_of_the_transforms(spread: float, dtype: Any, patched: Calls) -> None:
    """A term is rounded in each patch's multiply-add, at most twice for each of d and e and four times by G' and G."""
    rng = np.random.default_rng(0)
    g = Conv2dGeometry.of((2, 40, 18, 22), (24, 40, 3, 3))
    x, _, _, dy = arrays_of(g, dtype, whole=False)
    x, dy = ((array * np.exp(spread * rng.normal(size=array.shape))).astype(dtype) for array in (x, dy))
    exact = reference.conv2d_weight_grad(dy.astype(np.longdouble), x.astype(np.longdouble), g)
    terms = g.batch * g.out_height // 2 * g.out_width // 2
    bound = gamma(terms + 8, unit_roundoff(dtype)) * patch_magnitude(dy, x)
    assert_within_bound(kernels.conv2d_weight_grad(dy, x, g), exact, bound)
    assert patched == [True]


@pytest.mark.parametrize(("x_shape", "w_shape", "groups"), SHAPES[1:])
def test_on_noise_gradients_lose_less_than_a_bit(x_shape: Any, w_shape: Any, groups: int, patched: Calls) -> None:
    """As in the other directions: under twice the error of the direct sum."""
    g = Conv2dGeometry.of((2, *x_shape[1:]), w_shape, padding=1, groups=groups)
    x, _, _, dy = arrays_of(g, np.float32, whole=False)
    exact, direct = kernels.conv2d_weight_grad(dy.astype(float), x.astype(float), g), np.empty(g.w_shape, np.float32)
    pixels.pixel_product(dy, x, g, direct)
    ours, theirs = (np.sqrt(np.mean((dw - exact) ** 2)) for dw in (kernels.conv2d_weight_grad(dy, x, g), direct))
    assert theirs / 4 < ours < 2 * theirs
    assert patched == [True, True]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", ["x", "dy"])
@pytest.mark.parametrize("at", [(0, 0), (8, 10), (0, 5), (8, 4), (3, 0), (4, 10), (4, 5), (7, 9)])
def test_one_pixel_comes_out_in_the_weights_that_it_meets(
    at: tuple[int, int], which: str, special: float, patched: Calls
) -> None:
    x, _, _, dy = arrays_of(SMALL, np.float32, whole=True)
    (x if which == "x" else dy)[(1, 13, *at)] = special
    expected = reference.conv2d_weight_grad(dy, x, SMALL)
    assert not np.isfinite(expected).all()
    np.testing.assert_array_equal(kernels.conv2d_weight_grad(dy, x, SMALL), expected)
    assert patched == [False]


def test_gradients_survive_whose_transforms_overflow(patched: Calls) -> None:
    """Two neighbours of 3e38 are added before the other array's 1/4, alone at one pixel, could make them small."""
    x, dy = np.full(SMALL.x_shape, 3e38, np.float32), np.zeros(SMALL.y_shape, np.float32)
    dy[0, :, 4, 4] = 0.25
    np.testing.assert_array_equal(kernels.conv2d_weight_grad(dy, x, SMALL), np.full(SMALL.w_shape, 7.5e37, np.float32))
    assert patched == [False]


def test_what_is_left_in_scratch_is_in_no_gradient(patched: Calls) -> None:
    x, _, _, dy = arrays_of(SMALL, np.float32, whole=True)
    kernels.conv2d_weight_grad(np.full_like(dy, np.nan), np.full_like(x, np.nan), SMALL)
    assert_weights_are_exact(SMALL, np.float32)
    assert patched == [False, True]
