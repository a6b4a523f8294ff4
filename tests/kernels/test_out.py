"""Primitives that write into an array of the caller, or add to it, also where that is a slice of channels of a larger one."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from npconv import backends
from npconv.geometry import Conv2dGeometry, Pool2dGeometry, UpsampleGeometry

pytestmark = pytest.mark.usefixtures("backend")

rng = np.random.default_rng(0)


def whole(*shape):
    return rng.integers(-4, 5, shape).astype(np.float64)


def convolution(primitive, x_shape, w_shape, **options):
    g = Conv2dGeometry.of(x_shape, w_shape, **options)
    w = whole(*w_shape)
    if primitive.endswith("input_grad"):
        return pytest.param(primitive, (whole(*g.y_shape), w, g), g.x_shape, id=f"{primitive} {x_shape} {w_shape}")
    return pytest.param(primitive, (whole(*x_shape), w, None, g), g.y_shape, id=f"{primitive} {x_shape} {w_shape}")


CASES = [
    *(
        convolution(f"conv2d{half}", *shapes, **options)
        for half in ("", "_input_grad")
        for shapes, options in [
            (((2, 5, 7, 9), (6, 5, 3, 3)), {"padding": 1}),
            (((3, 5, 4, 4), (6, 5, 1, 1)), {}),
            (((2, 4, 9, 8), (6, 2, 3, 3)), {"stride": 2, "groups": 2}),
            (((2, 3, 9, 8), (4, 3, 1, 1)), {"stride": 3}),
            (((2, 9, 5, 5), (9, 1, 3, 3)), {"padding": 1, "groups": 9}),
        ]
    ),
    *(
        convolution(f"depthwise_conv2d{half}", *shapes, **options)
        for half in ("", "_input_grad")
        for shapes, options in [
            (((2, 3, 7, 9), (3, 1, 3, 3)), {"padding": 1, "groups": 3}),
            (((2, 3, 7, 9), (6, 1, 2, 2)), {"groups": 3}),
            (((2, 3, 8, 8), (3, 1, 5, 5)), {"padding": 2, "stride": 2, "groups": 3}),
        ]
    ),
    *(
        pytest.param("avg_pool2d_input_grad", (whole(*g.y_shape), False, g), g.x_shape, id=f"avg_pool2d {g.x_shape}")
        for g in (Pool2dGeometry.of((2, 3, 4, 8), 2), Pool2dGeometry.of((2, 3, 5, 5), 2, ceil_mode=True))
    ),
    *(
        pytest.param("avg_pool2d", (whole(*g.x_shape), False, g), g.y_shape, id=f"avg_pool2d to {g.y_shape}")
        for g in (Pool2dGeometry.of((2, 3, 4, 8), 2), Pool2dGeometry.of((2, 3, 5, 5), 2, ceil_mode=True))
    ),
    *(
        pytest.param("upsample_nearest2d_input_grad", (whole(*g.y_shape), g), g.x_shape, id=f"upsample to {g.x_shape}")
        for g in (UpsampleGeometry.of((2, 3, 4, 9), 2), UpsampleGeometry.of((2, 3, 3, 3), 2, (5, 6)))
    ),
    *(
        pytest.param("upsample_nearest2d", (whole(*g.x_shape), g), g.y_shape, id=f"upsample {g.y_shape}")
        for g in (
            UpsampleGeometry.of((2, 3, 4, 8), 1),
            UpsampleGeometry.of((2, 3, 4, 9), 2),
            UpsampleGeometry.of((2, 3, 2, 2), 4),
            UpsampleGeometry.of((2, 3, 3, 3), 2, (5, 6)),
        )
    ),
]


@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize(("primitive", "arguments", "shape"), CASES)
def test_the_result_is_in_the_array_and_nowhere_else(primitive, arguments, shape, add):
    expected = backends.call(primitive, *arguments)
    batch, channels, *size = shape
    larger = whole(batch, channels + 3, *size)
    before = larger.copy()
    out = larger[:, 2 : channels + 2]
    start = out.copy()
    assert backends.call(primitive, *arguments, out=out, add=add) is out
    assert_array_equal(out, start + expected if add else expected)
    assert_array_equal(larger[:, :2], before[:, :2])
    assert_array_equal(larger[:, channels + 2 :], before[:, channels + 2 :])


@pytest.mark.parametrize("primitive", ["conv2d", "depthwise_conv2d"])
@pytest.mark.parametrize("half", ["", "_input_grad", "_weight_grad"])
def test_slices_of_channels_are_read_where_they_are(primitive, half):
    g = Conv2dGeometry.of_depthwise((3, 4, 6, 6), (4, 1, 3, 3), padding=1)
    if primitive == "conv2d":
        g = Conv2dGeometry.of((3, 4, 6, 6), (4, 4, 3, 3), padding=1)
    larger, w = whole(3, 9, 6, 6), whole(*g.w_shape)
    part = larger[:, 3:7]
    arguments = {"": (w, None, g), "_input_grad": (w, g), "_weight_grad": (larger[:, :4], g)}[half]
    kept = [argument.copy() if isinstance(argument, np.ndarray) else argument for argument in arguments]
    got, expected = (
        backends.call(primitive + half, part, *arguments),
        backends.call(primitive + half, part.copy(), *kept),
    )
    assert_array_equal(got, expected)


def test_an_added_map_is_in_the_total_unless_calls_are_diverted():
    total, part = whole(2, 3, 4, 4), whole(2, 5, 4, 4)[:, 1:4]
    expected = total + part
    with backends.divert(lambda *_: None):
        got = backends.accumulate(total, part)
    assert got is not total
    assert_array_equal(got, expected)
    assert backends.accumulate(total, part) is total
    assert_array_equal(total, expected)


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (3, 9, 70, 80)])  # copied by NumPy, and by all cores
def test_a_map_gets_its_place_in_a_larger_one(shape):
    part, larger = whole(*shape), whole(shape[0], shape[1] + 3, *shape[2:])
    before = larger.copy()
    backends.place(part, larger[:, 2:-1])
    assert_array_equal(larger[:, 2:-1], part)
    assert_array_equal(larger[:, :2], before[:, :2])
    assert_array_equal(larger[:, -1], before[:, -1])


@pytest.mark.parametrize("add", [False, True])
def test_a_diverted_result_gets_where_it_belongs(add):
    out = np.ones((1, 1, 2, 2))
    with backends.divert(lambda primitive, *arguments: np.full((1, 1, 2, 2), 2.0)):
        result = backends.call("conv2d", None, None, None, None, out=out, add=add)
    assert_array_equal(result, np.full((1, 1, 2, 2), 3.0 if add else 2.0))
    assert add or result is out
