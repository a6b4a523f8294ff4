"""NaN, infinities and zeros with a sign: the kernels have them where the reference has them."""

from __future__ import annotations

from typing import Any

import definitions
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import npconv
from npconv import kernels, reference
from npconv.geometry import Conv2dGeometry
from npconv.testing import map_arrays, named_arrays
from npconv.testing.strategies import OPERATORS, problems_with_dy

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of what is done here on purpose

SPECIAL = np.nan, np.inf, -np.inf, -0.0
CONVOLUTIONS = {op for op in OPERATORS if op.endswith("conv2d")}
# A sum of nothing but -0 is 0 where it starts from 0, and -0 where it does not; of 0 and -0 either may be the largest.
EITHER_ZERO = CONVOLUTIONS | {"linear", "upsample_nearest2d", "batch_norm2d", "softmax_cross_entropy", "max_pool2d"}


def scattered(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """`array` with a few of its numbers replaced."""
    copy = array.copy()
    for index in rng.integers(0, max(copy.size, 1), 3 if copy.size else 0):
        copy.flat[index] = rng.choice(SPECIAL)
    return copy


def assert_same(got: Any, expected: Any, *, signs: bool) -> None:
    """NaN where NaN is, the same infinities, everything else but for its rounding; with `signs`, zeros of the same sign."""
    for (name, array), (_, right) in zip(named_arrays(got, "y"), named_arrays(expected, "y"), strict=True):
        np.testing.assert_allclose(array, right, rtol=1e-4, atol=1e-4, err_msg=name)
        zeros = (array == 0) & (right == 0) & signs
        np.testing.assert_array_equal(
            np.signbit(array[zeros]), np.signbit(right[zeros]), err_msg=f"{name}: signs of zeros"
        )


@pytest.mark.parametrize("which", ["args", "dy"])
@pytest.mark.parametrize("op", OPERATORS)
@given(data=st.data())
def test_kernels_have_them_where_the_reference_has(op: str, which: str, data: st.DataObject) -> None:
    problem, dy = data.draw(problems_with_dy(op, data.draw(st.sampled_from([np.float32, np.float64])), largest=8))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    if which == "dy":
        dy = map_arrays(lambda array: scattered(rng, array), dy)
    elif op in CONVOLUTIONS:  # weights: below
        problem = problem._replace(
            args=(map_arrays(lambda array: scattered(rng, array), problem.args[0]), *problem.args[1:])
        )
    else:
        problem = problem.map(lambda array: scattered(rng, array))
    results = []
    for name in ("numba", "numpy"):
        with npconv.backend(name):
            results.append((problem.forward(), problem.backward(dy)))
    assert_same(*results, signs=op not in EITHER_ZERO)


GEOMETRIES = [
    Conv2dGeometry.of((2, 4, 9, 8), (6, 2, 3, 3), stride=stride, padding=padding, dilation=dilation, groups=2)
    for stride in (1, 2, (3, 1))
    for padding in (0, 1, ((0, 2), (1, 0)))
    for dilation in (1, 2)
] + [Conv2dGeometry.of_depthwise((2, 9, 9, 8), (18, 1, 3, 3), stride=stride, padding=1) for stride in (1, 2)]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_weights(geometry: Conv2dGeometry, special: float) -> None:
    """Padding is pixels that are 0: there a weight that is not finite makes NaN, in both.

    The input gradient has no padding. The kernels multiply a border of zeros about dy all the same, so at the border
    they may have NaN where the reference has none; they lose nothing that is not finite, and the rest is equal.
    """
    rng = np.random.default_rng(0)
    x, w, dy = (
        rng.integers(-3, 4, shape).astype(np.float32)
        for shape in (geometry.x_shape, geometry.w_shape, geometry.y_shape)
    )
    for index in rng.integers(0, w.size, 3):
        w.flat[index] = special
    assert_same(kernels.conv2d(x, w, None, None, geometry), reference.conv2d(x, w, None, None, geometry), signs=False)
    got, expected = kernels.conv2d_input_grad(dy, w, geometry), reference.conv2d_input_grad(dy, w, geometry)
    assert not (np.isfinite(got) & ~np.isfinite(expected)).any()
    inside = ~np.isnan(got)
    np.testing.assert_array_equal(got[inside], expected[inside])


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_input_gradient_multiplies_no_zero_that_is_not_there(stride: int, groups: int) -> None:
    """Neither between the rows of dy that a stride sets apart, nor around them: as the products that define it."""
    rng = np.random.default_rng(stride)
    x, w = rng.integers(-3, 4, (2, 4, 7, 8)).astype(np.float64), np.full((4, 4 // groups, 3, 2), np.inf)
    options = {"stride": stride, "padding": 1, "groups": groups}
    with npconv.backend("numpy"):
        dy = rng.integers(1, 4, npconv.conv2d(x, w, **options).shape).astype(np.float64)
        dx = npconv.conv2d_backward(dy, x, w, **options)[0]
    np.testing.assert_array_equal(dx, definitions.conv2d_backward(dy, x, w, **options)[0])
