"""The kernels of convolutions: every path against the reference, and what their bits may depend on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import npconv
from npconv import kernels, reference
from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels import lane_sums, orders, outer_products, standard, sums, winograd
from npconv.kernels.vectors import LANES
from npconv.memory import empty_channels_last, is_channels_last
from npconv.testing import named_arrays
from npconv.testing.strategies import OPERATORS, problems_with_dy

DTYPES = np.float32, np.float64


def channels_last(array: Array) -> Array:
    """A channels-last copy, made without the kernel that makes them."""
    copy = empty_channels_last(array.shape, array.dtype)
    copy[...] = array
    return copy


def whole(rng: np.random.Generator, shape: Any, dtype: Any) -> Array:
    return rng.integers(-4, 5, shape).astype(dtype)


@st.composite
def geometries(draw: st.DrawFn, channels: int = 40) -> Conv2dGeometry:
    """Any stride, dilation, groups and one-sided padding; channels beyond and below a vector."""
    groups = draw(st.sampled_from([1, 1, 2, 3, 8]))
    depth, width = draw(st.integers(1, channels)), draw(st.integers(1, channels))
    kernel, stride = draw(st.tuples(st.integers(1, 5), st.integers(1, 5))), draw(st.tuples(*[st.integers(1, 4)] * 2))
    dilation, pads = draw(st.tuples(*[st.integers(1, 3)] * 2)), draw(st.tuples(*[st.integers(0, 5)] * 4))
    least = [max(1, d * (k - 1) + 1 - sum(p)) for d, k, p in zip(dilation, kernel, (pads[:2], pads[2:]), strict=True)]
    size = [draw(st.integers(low, low + 24)) for low in least]
    shape = draw(st.integers(0, 3)), groups * depth, *size
    return Conv2dGeometry.of(
        shape, (groups * width, depth, *kernel), stride=stride, dilation=dilation, padding=(pads[:2], pads[2:]),
        groups=groups,
    )  # fmt: skip


@given(g=geometries(), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 9))
@settings(max_examples=60)
def test_sums_of_pixels_are_the_reference_to_the_bit(g: Conv2dGeometry, dtype: Any, seed: int) -> None:
    """Also where the kernels would take another path."""
    rng = np.random.default_rng(seed)
    x, w, b, dy = (whole(rng, s, dtype) for s in (g.x_shape, g.w_shape, (g.out_channels,), g.y_shape))
    y, dx = empty_channels_last(g.y_shape, dtype), empty_channels_last(g.x_shape, dtype)
    sums.convolve(channels_last(x), w, b, g, None, y)
    np.testing.assert_array_equal(y, reference.conv2d(x, w, b, None, g))
    sums.convolve_back(channels_last(dy), w, g, dx)
    np.testing.assert_array_equal(dx, reference.conv2d_input_grad(dy, w, g))
    dw = outer_products.weight_grad(channels_last(dy), channels_last(x), g)
    np.testing.assert_array_equal(dw, reference.conv2d_weight_grad(dy, x, g))


@given(g=geometries(channels=8), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 9))
@settings(max_examples=80)
def test_groups_in_lanes_are_the_reference_to_the_bit(g: Conv2dGeometry, dtype: Any, seed: int) -> None:
    """Wherever a group fits a vector."""
    assume(max(g.in_channels_per_group, g.out_channels_per_group) <= LANES[8 * np.dtype(dtype).itemsize])
    rng = np.random.default_rng(seed)
    x, w, b, dy = (whole(rng, s, dtype) for s in (g.x_shape, g.w_shape, (g.out_channels,), g.y_shape))
    y, dx = empty_channels_last(g.y_shape, dtype), empty_channels_last(g.x_shape, dtype)
    lane_sums.convolve_lanes(channels_last(x), w, b, g, None, y)
    np.testing.assert_array_equal(y, reference.conv2d(x, w, b, None, g))
    lane_sums.convolve_lanes_back(channels_last(dy), w, g, dx)
    np.testing.assert_array_equal(dx, reference.conv2d_input_grad(dy, w, g))
    dw = lane_sums.weight_grad_lanes(channels_last(dy), channels_last(x), g)
    np.testing.assert_array_equal(dw, reference.conv2d_weight_grad(dy, x, g))


@st.composite
def winograds(draw: st.DrawFn) -> Conv2dGeometry:
    pads = draw(st.tuples(*[st.integers(0, 4)] * 4))
    size = [max(draw(st.integers(1, 20)), 3 - sum(pad)) for pad in (pads[:2], pads[2:])]
    shape = draw(st.integers(0, 3)), draw(st.integers(1, 40)), *size
    return Conv2dGeometry.of(shape, (draw(st.integers(1, 70)), shape[1], 3, 3), padding=(pads[:2], pads[2:]))


@given(g=winograds(), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 9))
@settings(max_examples=60)
def test_transforms_are_exact_on_small_whole_numbers(g: Conv2dGeometry, dtype: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, w, b, dy = (whole(rng, s, dtype) for s in (g.x_shape, g.w_shape, (g.out_channels,), g.y_shape))
    y, dx = empty_channels_last(g.y_shape, dtype), empty_channels_last(g.x_shape, dtype)
    assert winograd.convolve(channels_last(x), w, b, g, "relu", y)
    np.testing.assert_array_equal(y, np.maximum(reference.conv2d(x, w, b, None, g), 0))
    assert winograd.convolve_back(channels_last(dy), w, g, dx)
    np.testing.assert_array_equal(dx, reference.conv2d_input_grad(dy, w, g))
    dw = winograd.weight_grad(channels_last(dy), channels_last(x), g)
    np.testing.assert_array_equal(dw, reference.conv2d_weight_grad(dy, x, g))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["x", "w", "dy"])
def test_transforms_give_up_where_a_number_is_not_finite(place: str, number: float) -> None:
    """And the kernel makes the result by sums of products then, as the reference has it."""
    rng = np.random.default_rng(0)
    g = Conv2dGeometry.of((1, 32, 12, 12), (32, 32, 3, 3), padding=1)
    assert winograd.pays(g, True)
    arrays = {name: whole(rng, s, np.float32) for name, s in (("x", g.x_shape), ("w", g.w_shape), ("dy", g.y_shape))}
    arrays[place][0, 1, 2, 2] = number
    x, w, dy = arrays.values()
    with np.errstate(invalid="ignore"):
        for got, expected in (
            (kernels.conv2d(x, w, None, None, g), reference.conv2d(x, w, None, None, g)),
            (kernels.conv2d_input_grad(dy, w, g), reference.conv2d_input_grad(dy, w, g)),
            (kernels.conv2d_weight_grad(dy, x, g), reference.conv2d_weight_grad(dy, x, g)),
        ):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("height", [7, 12, 15])
def test_transforms_agree_with_their_definition(height: int) -> None:
    from npconv.reference.winograd import winograd_conv2d

    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(1, 32, height, height)), rng.normal(size=(33, 32, 3, 3))
    g = Conv2dGeometry.of(x.shape, w.shape)
    y = empty_channels_last(g.y_shape, x.dtype)
    assert winograd.convolve(channels_last(x), w, None, g, None, y)
    np.testing.assert_allclose(y, winograd_conv2d(x, w), rtol=0, atol=1e-12 * 9 * 32)


IMAGES = [
    ((64, 64, 3, 3), {"padding": 1}, 14),
    ((40, 64, 3, 3), {"padding": 1, "stride": 2}, 15),
    ((64, 1, 3, 3), {"padding": 1, "groups": 64}, 13),
    ((64, 4, 3, 3), {"padding": 1, "groups": 16}, 11),
    ((50, 64, 1, 1), {}, 9),
]


@pytest.mark.parametrize(("w_shape", "options", "size"), IMAGES)
def test_an_image_has_the_same_bits_alone_and_in_any_batch(w_shape: Any, options: Any, size: int) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(5, 64, size, size)).astype(np.float32), rng.normal(size=w_shape).astype(np.float32)
    y = npconv.conv2d(x, w, **options)
    dy = rng.normal(size=y.shape).astype(np.float32)
    dx = npconv.conv2d_input_grad(dy, w, x.shape, **options)
    for n in range(len(x)):
        one = slice(n, n + 1)
        np.testing.assert_array_equal(npconv.conv2d(x[one], w, **options), y[one])
        got = npconv.conv2d_input_grad(dy[one], w, (1, *x.shape[1:]), **options)
        np.testing.assert_array_equal(got, dx[one])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 64, 16, 16), (3, 17, 33, 31), (0, 4, 3, 3), (2, 130, 1, 9)])
def test_maps_are_transposed_there_and_back(shape: Any, dtype: Any) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    turned = orders.channels_last(x)
    assert is_channels_last(turned)
    np.testing.assert_array_equal(turned, x)
    back = orders.c_order(turned)
    assert back.flags.c_contiguous
    np.testing.assert_array_equal(back, x)
    odd = x[:, ::-1]
    np.testing.assert_array_equal(orders.channels_last(odd), odd)


def orders_of(tree: Any, first: bool) -> Any:
    """Every map of a tree of arguments in one memory order."""
    if isinstance(tree, tuple):
        leaves = [orders_of(leaf, first) for leaf in tree]
        return type(tree)(*leaves) if hasattr(tree, "_fields") else tuple(leaves)
    if isinstance(tree, np.ndarray) and tree.ndim == 4:
        return channels_last(tree) if first else np.ascontiguousarray(tree)
    return tree


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("op", OPERATORS)
@given(data=st.data())
@settings(max_examples=10)
def test_both_memory_orders_give_the_same_bits_in_the_order_of_the_first(
    op: str, backend: str, data: st.DataObject
) -> None:
    problem, dy = data.draw(problems_with_dy(op, np.float32, whole=False, largest=20))
    results = []
    for last in (False, True):
        own = problem._replace(args=orders_of(problem.args, last))
        with npconv.backend(backend):
            y = own.forward()
            results.append([array for _, array in named_arrays((y, own.backward(orders_of(dy, last))), "y")])
        _, first = next(named_arrays(own.args, "x"))
        for _, array in named_arrays(y, "y"):
            if array.ndim == first.ndim == 4 and min(array.shape[1], array.shape[2] * array.shape[3]) > 1:
                assert is_channels_last(array) == is_channels_last(first)
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_which_paths_there_are() -> None:
    """So that the tests above know which of them the kernels take by themselves."""
    lanes = LANES[32]
    depthwise = Conv2dGeometry.of_depthwise((1, 32, 9, 9), (32, 1, 3, 3))
    assert lane_sums.pays(depthwise, True, lanes)
    assert not lane_sums.pays(Conv2dGeometry.of((1, 32, 9, 9), (32, 32, 3, 3)), True, lanes)
    large = Conv2dGeometry.of((1, 64, 14, 14), (64, 64, 3, 3))
    assert winograd.pays(large, True)
    assert not winograd.pays(Conv2dGeometry.of((1, 64, 14, 14), (64, 64, 3, 3), stride=2), True)
    assert standard._way(large, "forward", lanes, "2x2") == "winograd"
    assert standard._way(large, "forward", lanes, "off") == "sums"
