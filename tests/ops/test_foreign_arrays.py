"""Arrays that are not plain: those that are numbers and nothing else are read as such, the others are one TypeError, on both backends."""

from __future__ import annotations

import tempfile
import warnings

import checks
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import npconv
from npconv import nn, ops
from npconv.testing import map_arrays, named_arrays
from npconv.testing.strategies import OPERATORS, problems_with_dy

every_operator = pytest.mark.parametrize("op", OPERATORS)


class Foreign(np.ndarray):
    """Whatever else somebody makes of an array: one with units, say."""


def masked(array):
    return np.ma.masked_array(array, mask=np.ones(array.shape, bool))


def foreign(array):
    return array.view(Foreign)


def record(array):
    return array.view(np.recarray)


def mapped(array):
    """In a file; an array of no numbers fits into none."""
    if array.size == 0:
        return array
    with tempfile.TemporaryFile() as file:
        view = np.memmap(file, array.dtype, shape=array.shape)
    view[...] = array
    return view


def swapped(array):
    return array.astype(array.dtype.newbyteorder())


def unaligned(array):
    view = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def read_only(array):
    view = array.copy()
    view.setflags(write=False)
    return view


SUBCLASSES = {"MaskedArray": masked, "Foreign": foreign, "recarray": record}
READ = [mapped, swapped, unaligned, read_only]


def spoiled(tree, place, change, counter):
    """`tree` with its array number `place` changed."""

    def one(array):
        here = next(counter) == place
        return change(array) if here else array

    return map_arrays(one, tree)


@every_operator
@pytest.mark.parametrize("kind", SUBCLASSES)
@settings(max_examples=3)
@given(data=st.data())
def test_a_subclass_is_one_type_error(backend, op, kind, data):
    problem, dy = data.draw(problems_with_dy(op))
    forward, backward = getattr(ops, op), getattr(ops, f"{op}_backward")
    count = len(list(named_arrays(problem.args)))
    message = rf"must be a plain NumPy array, got {kind}$"
    for place in range(count):
        args = spoiled(problem.args, place, SUBCLASSES[kind], iter(range(count)))
        with pytest.raises(TypeError, match=message):
            forward(*args, **problem.options)
        with pytest.raises(TypeError, match=message):
            backward(dy, *args, **problem.options)
    with pytest.raises(TypeError, match=message):
        backward(map_arrays(SUBCLASSES[kind], dy), *problem.args, **problem.options)


@every_operator
@pytest.mark.parametrize("change", READ)
@settings(max_examples=5)
@given(data=st.data())
def test_plain_numbers_are_read_wherever_they_lie(backend, op, change, data):
    problem, dy = data.draw(problems_with_dy(op))
    other, other_dy = map_arrays(change, problem), map_arrays(change, dy)
    rounding_errors = 200 if op in checks.INEXACT else 0
    for got, expected in ((other.forward(), problem.forward()), (other.backward(other_dy), problem.backward(dy))):
        checks.check_equal(got, expected, rounding_errors)
        assert all(type(array) is np.ndarray for _, array in named_arrays(got))
        assert all(array.dtype.isnative for _, array in named_arrays(got))


@every_operator
@settings(max_examples=5)
@given(data=st.data())
def test_zero_strides_are_read_as_if_the_numbers_were_there(backend, op, data):
    problem, dy = data.draw(problems_with_dy(op))

    def broadcast(array):
        return np.broadcast_to(array[(slice(0, 1),) * array.ndim], array.shape) if array.size else array

    with np.errstate(all="ignore"):  # a variance may have become negative
        thin, thin_dy = map_arrays(broadcast, problem), map_arrays(broadcast, dy)
        whole, whole_dy = map_arrays(np.copy, thin), map_arrays(np.copy, thin_dy)
        rounding_errors = 200 if op in checks.INEXACT else 0
        checks.check_equal(thin.forward(), whole.forward(), rounding_errors)
        checks.check_equal(thin.backward(thin_dy), whole.backward(whole_dy), rounding_errors)


def test_a_matrix_is_refused(backend):
    x, w = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        matrix, other = np.asmatrix(x), np.asmatrix(w)
    for args in ((matrix, w), (x, other)):
        with pytest.raises(TypeError, match="must be a plain NumPy array, got matrix"):
            npconv.linear(*args)
    with pytest.raises(TypeError, match="logits must be a plain NumPy array, got matrix"):
        npconv.softmax_cross_entropy(matrix, np.zeros(2, int))


LOGITS = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (np.ma.masked_array([0, 1000], mask=[0, 1]), TypeError, "labels must be a plain NumPy array, got MaskedArray"),
        (np.array([0, 1], "m8[s]"), TypeError, r"labels must be integers, got dtype timedelta64\[s\]"),
        (np.array([0, 1], "M8[s]"), TypeError, r"labels must be integers, got dtype datetime64\[s\]"),
        (np.array([0, 1], object), TypeError, "labels must be integers, got dtype object"),
        (np.array([False, True]), TypeError, "labels must be integers, got dtype bool"),
        (np.array([0, 1.0]), TypeError, "labels must be integers, got dtype float64"),
        (
            np.array([0, 2**63 + 1], np.uint64),
            ValueError,
            r"labels must be in \[0, 2\] for 3 classes, got 9223372036854775809",
        ),
        (np.array([0, -(2**63)]), ValueError, r"labels must be in \[0, 2\] for 3 classes, got -9223372036854775808"),
        (np.array([0, 3], ">i2"), ValueError, r"labels must be in \[0, 2\] for 3 classes, got 3"),
    ],
)
def test_labels_that_a_kernel_must_not_see(backend, labels, error, message):
    for call in (
        lambda: npconv.softmax_cross_entropy(LOGITS, labels),
        lambda: npconv.softmax_cross_entropy_backward(np.ones((), np.float32), LOGITS, labels),
    ):
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", ">i2", ">u4", "i4", "u8", "<i8", ">i8"])
@pytest.mark.parametrize(
    "change", [np.copy, mapped, unaligned, read_only, lambda a: np.repeat(a, 2)[::2], lambda a: a[::-1].copy()[::-1]]
)
def test_labels_of_any_integer_dtype_wherever_they_lie(backend, dtype, change):
    labels = change(np.array([2, 0], dtype))
    expected = npconv.softmax_cross_entropy(LOGITS, np.array([2, 0]))
    assert npconv.softmax_cross_entropy(LOGITS, labels) == expected
    one = np.ones((), np.float32)
    expected = npconv.softmax_cross_entropy_backward(one, LOGITS, np.array([2, 0]))
    np.testing.assert_array_equal(npconv.softmax_cross_entropy_backward(one, LOGITS, labels), expected)


@pytest.mark.parametrize("change", [masked, foreign])
def test_layers_refuse_them_too(backend, change):
    rng = np.random.default_rng(0)
    x = np.ones((2, 4, 6, 6), np.float32)
    layers = [
        nn.Conv2d(4, 4, 3, rng=rng), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5, rng=rng),
        nn.GlobalAvgPool2d(), nn.ChannelShuffle(2), nn.Upsample(2), nn.SqueezeExcite(4, 2, rng=rng),
        nn.Sequential(conv=nn.Conv2d(4, 4, 3, rng=rng), bn=nn.BatchNorm2d(4), relu=nn.ReLU()),
    ]  # fmt: skip
    for layer in layers:
        with pytest.raises(TypeError, match="must be a plain NumPy array"):
            layer(change(x))
    with pytest.raises(TypeError, match="images must be a plain NumPy array"):
        nn.predict(layers[0], change(x))


def flat(array):
    """Its sum, with no axis left."""
    return np.asarray(array.sum(dtype=array.dtype), array.dtype)


ANY_SHAPE = {"relu", "relu6", "hard_sigmoid", "hard_swish"}


@every_operator
@settings(max_examples=3)
@given(data=st.data())
def test_objects_and_single_numbers_are_refused(backend, op, data):
    problem, dy = data.draw(problems_with_dy(op))
    forward, backward = getattr(ops, op), getattr(ops, f"{op}_backward")
    count = len(list(named_arrays(problem.args)))
    for change, error, message in (
        (lambda array: array.astype(object), TypeError, "must be float16, float32 or float64, got dtype object"),
        (flat, ValueError, r"must have .*(axes|shape|channels)|axis"),
    ):
        if change is flat and op in ANY_SHAPE:
            continue
        for place in range(count):
            args = spoiled(problem.args, place, change, iter(range(count)))
            with pytest.raises(error, match=message):
                forward(*args, **problem.options)
            with pytest.raises(error, match=message):
                backward(dy, *args, **problem.options)
    for change in (lambda array: array.astype(object), flat):
        if change is not flat or op not in {"softmax_cross_entropy", *ANY_SHAPE}:  # whose dy may be a single number
            with pytest.raises((TypeError, ValueError), match="must"):
                backward(map_arrays(change, dy), *problem.args, **problem.options)
