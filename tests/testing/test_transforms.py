"""The reach of fast algorithms bounds what they really compute, in every alignment of tiles, and what is wrong is beyond it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from simulated import fft, winograd

import npconv
from npconv import OctaveMap, OctaveWeight
from npconv.testing import Problem, assert_close, error_in_bounds, exact_backward, exact_forward
from npconv.testing.precision import precision
from npconv.testing.transforms import OTHER_POINTS, POINTS, backward_reach, forward_reach, winograd_matrices

RNG = np.random.default_rng(0)
FAST = {"winograd-2x2": winograd(2), "winograd-4x4": winograd(4), "fft": fft()}


def numbers(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


X, W, B = numbers(2, 6, 11, 9), numbers(4, 3, 3, 3), numbers(4)
PAIR = OctaveMap(numbers(1, 4, 12, 8), numbers(1, 4, 6, 4))


def flipped(w, groups):
    """The kernels of the input gradient."""
    per_group = w.reshape(groups, -1, *w.shape[1:]).swapaxes(1, 2)
    return per_group.reshape(-1, len(w) // groups, *w.shape[2:])[:, :, ::-1, ::-1]


def input_gradient(forward, dy, w, padding, groups):
    return forward(dy, np.ascontiguousarray(flipped(w, groups)), padding=2 - padding, groups=groups)


@pytest.mark.parametrize("name", FAST)
def test_results_and_input_gradients_are_within_their_reach(name):
    forward, options = FAST[name], {"padding": 1, "groups": 2}
    assert_close(forward(X, W, B, **options), "conv2d", X, W, B, arithmetic=name, **options)
    dy = numbers(2, 4, 11, 9)
    _, dw, db = npconv.conv2d_backward(dy, X, W, B, **options)
    dx = input_gradient(forward, dy, W, 1, 2)
    assert_close((dx, dw, db), "conv2d_backward", dy, X, W, B, arithmetic=name, **options)


@pytest.mark.parametrize(
    ("name", "channels"), [*((name, 1) for name in FAST), ("winograd-2x2", 48), ("winograd-4x4", 8), ("fft", 48)]
)
def test_a_missing_tap_is_beyond_it(name, channels):
    x, w = numbers(1, channels, 8, 8), numbers(2, channels, 3, 3)
    lacking = w.copy()
    lacking[0, 0, 2, 2] = 0
    assert_close(FAST[name](x, w, padding=1), "conv2d", x, w, padding=1, arithmetic=name)
    with pytest.raises(AssertionError, match="rounding bounds"):
        assert_close(FAST[name](x, lacking, padding=1), "conv2d", x, w, padding=1, arithmetic=name)


@pytest.mark.parametrize("outputs", [2, 4])
def test_the_sums_of_winograds_algorithm_are_within_its_reach(outputs):
    """Of absolute values: in y, in dx both ways, and in dw both ways, at every alignment of the tiles."""
    g, d = np.abs(numbers(3)).astype(float), np.abs(numbers(30)).astype(float)
    problem = Problem("conv2d", (d[None, None, None], np.diag(g)[None, None], None), {})
    kernel = np.zeros((1, 1, 3, 3))
    kernel[0, 0, 1] = g  # one row, whose reach in the other axis is that of the tap alone
    problem = problem._replace(args=(np.tile(d, (1, 1, 9, 1)), kernel, None))
    name = f"winograd-{outputs}x{outputs}"
    alone = forward_reach(problem, name).arrays[0]
    for points in (POINTS, OTHER_POINTS):
        a, transform, b = (np.abs(matrix) for matrix in winograd_matrices(outputs, 3, points))
        tiles = sliding_window_view(d, len(b))
        y = np.einsum("ik,ks,s,kj,tj->ti", a, transform, g, b, tiles)
        for place in range(outputs):
            assert (y[:, place] <= alone[0, 0, 3, place : place + len(y)] * (1 + 1e-12)).all()


def test_gradients_of_winograds_algorithm_are_within_their_reach():
    """The transposed algorithm, by its formula, in absolute values."""
    x, dy = np.abs(numbers(1, 1, 6, 6)).astype(float), np.abs(numbers(1, 1, 4, 4)).astype(float)
    w = np.abs(numbers(1, 1, 3, 3)).astype(float)
    dx, dw = backward_reach(Problem("conv2d", (x, w, None), {}), dy, "winograd-4x4").arrays
    a, g, b = (np.abs(matrix) for matrix in winograd_matrices(4, 3))
    spread = a.T @ dy[0, 0] @ a
    assert (g.T @ (spread * (b @ x[0, 0] @ b.T)) @ g <= dw[0, 0] * (1 + 1e-12)).all()
    assert (b.T @ (spread * (g @ w[0, 0] @ g.T)) @ b <= dx[0, 0] * (1 + 1e-12)).all()
    assert (np.abs(dw) < 1e4 * npconv.conv2d_backward(dy, x, w)[1]).all()


@pytest.mark.parametrize(
    ("op", "args", "options"),
    [
        ("depthwise_conv2d", (X, numbers(12, 1, 3, 3), None), {"padding": "same"}),
        ("separable_conv2d", (X, numbers(6, 1, 3, 3), numbers(5, 6, 1, 1), numbers(5)), {"padding": (1, 0)}),
        ("ghost_conv2d", (X, numbers(4, 6, 3, 3), numbers(4, 1, 3, 3)), {"padding": ((0, 1), (2, 0))}),
        ("ghost_conv2d", (X, numbers(4, 6, 1, 1), numbers(4, 1, 3, 3)), {"stride": 2}),
        (
            "octave_depthwise_conv2d",
            (PAIR, OctaveWeight(numbers(4, 1, 3, 3), None, None, numbers(4, 1, 3, 3)), None),
            {"padding": "same"},
        ),
        (
            "octave_conv2d",
            (PAIR, OctaveWeight(*[numbers(3, 4, 3, 3)] * 4), None),
            {"padding": 1, "stride": 2},
        ),
        ("conv2d", (X, W, B), {"groups": 2, "padding": "valid"}),
    ],
)
def test_every_operator_made_of_convolutions_has_a_reach(op, args, options):
    """It is no smaller than the sum of the terms, and takes nothing away from what is right."""
    problem, declared = Problem(op, args, options), precision("winograd-4x4", op)
    dy = problem.map(np.asarray).forward()
    rows = [*exact_forward(problem, declared), *exact_backward(problem, dy, declared)]
    plain = [*exact_forward(problem), *exact_backward(problem, dy)]
    for row, other in zip(rows, plain, strict=True):
        assert row.reach is not None
        assert row.reach.shape == row.value.shape == other.value.shape
        assert (row.bound(np.float32) >= other.bound(np.float32)).all()
        assert np.array_equal(row.value, other.value)


@pytest.mark.parametrize(
    ("name", "w", "options"),
    [
        ("winograd-2x2", numbers(4, 6, 5, 5), {}),
        ("winograd-4x4", numbers(4, 6, 3, 3), {"stride": 2}),
        ("winograd-4x4", numbers(4, 6, 3, 3), {"dilation": (1, 2)}),
        ("fft", numbers(4, 6, 1, 1), {}),
    ],
)
def test_where_an_algorithm_is_not_used_the_sum_is_bounded_by_its_terms(name, w, options):
    problem = Problem("conv2d", (X, w, None), options)
    (row,) = exact_forward(problem, precision(name, "conv2d"))
    assert row.reach is None
    assert np.array_equal(
        row.bound(np.float32), exact_forward(problem)[0].bound(np.float32).clip(row.bound(np.float32))
    )


def test_an_arithmetic_and_an_algorithm_go_together():
    """Factors are rounded once transformed, and sums in float64 are more precise."""
    problem = Problem("conv2d", (X, W, B), {"groups": 2})
    bounds = {
        name: exact_forward(problem, precision(name, "conv2d"))[0].bound(np.float32).max()
        for name in ("winograd-2x2", "tf32+winograd-2x2", "bfloat16+winograd-2x2", "float64+fft", "fft")
    }
    assert bounds["winograd-2x2"] < bounds["tf32+winograd-2x2"] < bounds["bfloat16+winograd-2x2"]
    assert bounds["float64+fft"] < bounds["fft"]


@pytest.mark.slow
def test_the_kernels_own_transforms_are_within_their_reach():
    x, w, dy = numbers(1, 32, 20, 20), numbers(32, 32, 3, 3), numbers(1, 32, 20, 20)
    with npconv.backend("numba"), npconv.winograd("2x2"):
        y, gradients = npconv.conv2d(x, w, padding=1), npconv.conv2d_backward(dy, x, w, padding=1)
    problem, declared = Problem("conv2d", (x, w, None), {"padding": 1}), precision("winograd-2x2", "conv2d")
    rows = [*exact_forward(problem, declared), *exact_backward(problem, dy, declared)]
    for got, row in zip((y, *gradients[:2]), rows, strict=True):
        errors = error_in_bounds(got, row.value, row.bound(np.float32))
        assert 0 < errors.max() <= 1


@pytest.mark.parametrize(("outputs", "taps"), [(2, 3), (4, 3), (6, 3), (2, 5), (3, 1)])
def test_winograd_matrices_correlate(outputs, taps):
    a, g, b = winograd_matrices(outputs, taps)
    rng = np.random.default_rng(outputs)
    d, weights = rng.integers(-9, 9, len(b)), rng.integers(-9, 9, taps)
    np.testing.assert_allclose(a @ ((g @ weights) * (b @ d)), np.correlate(d, weights), atol=1e-10)
