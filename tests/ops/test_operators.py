"""What is true of every operator, on both backends."""

from __future__ import annotations

import checks
import definitions
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import npconv
from npconv import ops
from npconv.memory import is_channels_last
from npconv.testing import map_arrays, named_arrays
from npconv.testing.strategies import OPERATORS, dy_like, layouts, problems, problems_with_dy

every_operator = pytest.mark.parametrize("op", OPERATORS)
precisions = st.sampled_from([np.float32, np.float64])


def arrays(*trees):
    return [array for tree in trees for _, array in named_arrays(tree)]


def test_every_operator_with_a_backward_is_tested():
    assert {f"{op}_backward" for op in OPERATORS} == {name for name in ops.__all__ if name.endswith("_backward")}


# --- right -------------------------------------------------------------------------------------------------------


@every_operator
@given(data=st.data())
def test_forward_is_the_literal_definition(backend, op, data):
    checks.check_definition(data.draw(problems(op, data.draw(precisions))))


@pytest.mark.parametrize("op", [op for op in OPERATORS if hasattr(definitions, f"{op}_backward")])
@given(data=st.data())
def test_backward_is_the_literal_definition(backend, op, data):
    checks.check_backward_definition(*data.draw(problems_with_dy(op, data.draw(precisions))))


@pytest.mark.parametrize("op", checks.LINEAR_IN)
@given(data=st.data())
def test_backward_is_the_adjoint(backend, op, data):
    checks.check_adjoint_identity(*data.draw(problems_with_dy(op, data.draw(precisions))))


@every_operator
@given(data=st.data())
def test_backward_is_the_finite_difference(backend, op, data):
    checks.check_differences(*data.draw(problems_with_dy(op, np.float64, whole=op in checks.STRAIGHT)))


@pytest.mark.parametrize("op", checks.SUMS_OF_PRODUCTS)
@given(data=st.data())
def test_rounding_errors_are_within_their_bound(backend, op, data):
    checks.check_rounding(*data.draw(problems_with_dy(op, np.float32, whole=False)))


@every_operator
@given(data=st.data())
def test_float16_is_float32_rounded_once(backend, op, data):
    problem, dy = data.draw(problems_with_dy(op, np.float16, whole=False))
    wide = problem.map(lambda array: array.astype(np.float32))
    wide_dy = map_arrays(lambda array: array.astype(np.float32), dy)
    narrow = [array.astype(np.float16) for array in arrays(wide.forward(), wide.backward(wide_dy))]
    for got, expected in zip(arrays(problem.forward(), problem.backward(dy)), narrow, strict=True):
        assert got.dtype == np.float16
        np.testing.assert_array_equal(got, expected)


# --- well-behaved ------------------------------------------------------------------------------------------------


@every_operator
@given(data=st.data())
def test_results_are_new_arrays_like_the_arguments(backend, op, data):
    """And the arguments are as they were, whatever their layout; the gradients have the shapes of the arguments."""
    dtype = data.draw(st.sampled_from([np.float16, np.float32, np.float64]))
    problem, dy = data.draw(problems_with_dy(op, dtype, whole=False))
    problem, dy = (map_arrays(lambda array: data.draw(layouts(array)), tree) for tree in (problem, dy))
    before = [array.copy() for array in arrays(problem.args, dy)]
    y = problem.forward()
    gradients = problem.backward(dy)

    for array, old in zip(arrays(problem.args, dy), before, strict=True):
        np.testing.assert_array_equal(array, old)
    for result in arrays(y, gradients):
        assert isinstance(result, np.ndarray)
        assert result.dtype == dtype
        assert result.flags.c_contiguous or is_channels_last(result)
        assert result.flags.writeable
        assert not any(np.shares_memory(result, array) for array in arrays(problem.args, dy))
    shapes = map_arrays(np.shape, problem.args)
    assert map_arrays(np.shape, gradients if len(shapes) > 1 else (gradients,)) == shapes


@every_operator
@given(data=st.data())
def test_layout_in_memory_changes_nothing(backend, op, data):
    """Reversed, strided, transposed, read-only, unaligned: the same whole numbers give the same result."""
    problem, dy = data.draw(problems_with_dy(op, data.draw(precisions)))
    relaid, relaid_dy = (map_arrays(lambda array: data.draw(layouts(array)), tree) for tree in (problem, dy))
    rounding_errors = 200 if op in checks.INEXACT else 0
    checks.check_equal(relaid.forward(), problem.forward(), rounding_errors)
    checks.check_equal(relaid.backward(relaid_dy), problem.backward(dy), rounding_errors)


def test_broadcast_input_is_read_as_if_it_were_there(backend):
    x, w = np.broadcast_to(np.float32(2), (2, 3, 4, 4)), np.broadcast_to(np.float32(3), (5, 3, 3, 3))
    y = npconv.conv2d(x, w, padding=1)
    np.testing.assert_array_equal(y, npconv.conv2d(x.copy(), w.copy(), padding=1))
    dx, dw, _ = npconv.conv2d_backward(np.broadcast_to(np.float32(1), y.shape), x, w, padding=1)
    assert dx.flags.writeable
    assert dw.flags.writeable


@pytest.mark.parametrize("op", [op for op in OPERATORS if op not in ("softmax_cross_entropy",)])
@given(data=st.data())
def test_empty_batch_gives_an_empty_result_and_no_gradient(backend, op, data):
    """The gradients of what all images share, the weights, are sums of nothing."""
    problem = data.draw(problems(op).filter(lambda problem: arrays(problem.args)[0].ndim > 1))
    empty = [array[:0] if array.ndim > 1 else array for array in arrays(problem.args[0])]
    x = type(problem.args[0])(*_in_order(problem.args[0], empty)) if isinstance(problem.args[0], tuple) else empty[0]
    if op == "batch_norm2d" and problem.args[3] is None:
        with pytest.raises(ValueError, match="at least one image"):
            problem._replace(args=(x, *problem.args[1:])).forward()
        return
    problem = problem._replace(args=(x, *problem.args[1:]))
    y = problem.forward()
    assert all(array.size == 0 for array in arrays(y))
    gradients = problem.backward(data.draw(dy_like(y)))
    assert not any(gradient.any() for gradient in arrays(gradients))


def _in_order(tree, leaves):
    leaves = iter(leaves)
    return [None if leaf is None else next(leaves) for leaf in tree]


# --- the same on both backends, where numbers are no numbers -----------------------------------------------------

STRANGE = np.array([np.nan, np.inf, -np.inf, -0.0])


def with_strange_numbers(array, rng):
    """Some elements of a copy of `array` replaced by NaN, infinities and negative zeros."""
    array = array.copy()
    chosen = rng.random(array.shape) < 0.15
    array[chosen] = rng.choice(STRANGE, chosen.sum())
    return array


@pytest.mark.slow
@every_operator
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_nan_and_infinity_come_out_at_the_same_places(op, data, seed):
    """Of x in y, and of dy in dx, whose other factors are finite."""
    problem, dy = data.draw(problems_with_dy(op, np.float64, whole=False))
    rng = np.random.default_rng(seed)
    strange = problem._replace(
        args=(map_arrays(lambda array: with_strange_numbers(array, rng), problem.args[0]), *problem.args[1:])
    )
    strange_dy = map_arrays(lambda array: with_strange_numbers(array, rng), dy)
    results = []
    for name in ("numpy", "numba"):
        with npconv.backend(name), np.errstate(all="ignore"):
            gradients = problem.backward(strange_dy)
            dx = gradients if len(problem.args) == 1 else gradients[0]
            results.append(arrays(strange.forward(), dx))
    for reference, kernels in zip(*results, strict=True):
        np.testing.assert_allclose(kernels, reference, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "op", ["relu", "relu6", "hard_sigmoid", "hard_swish", "channel_shuffle", "channel_unshuffle", "upsample_nearest2d"]
)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_signs_of_zero_are_the_same(op, data, seed):
    problem = data.draw(problems(op))
    rng = np.random.default_rng(seed)
    problem = problem.map(lambda array: rng.choice([-0.0, 0.0, -1.0, 1.0, -8.0, 8.0], array.shape).astype(np.float32))
    results = []
    for name in ("numpy", "numba"):
        with npconv.backend(name):
            results.append(problem.forward())
    np.testing.assert_array_equal(*results)
    np.testing.assert_array_equal(*map(np.signbit, results))


@every_operator
@given(data=st.data())
@settings(max_examples=5)
def test_the_other_byte_order_changes_nothing(backend, op, data):
    """Files from elsewhere have it; results are of the machine's."""
    problem, dy = data.draw(problems_with_dy(op, data.draw(precisions)))
    other, other_dy = (
        map_arrays(lambda array: array.astype(array.dtype.newbyteorder()), tree) for tree in (problem, dy)
    )
    expected, got = (arrays(p.forward(), p.backward(d)) for p, d in ((problem, dy), (other, other_dy)))
    for one, two in zip(got, expected, strict=True):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)
