"""The kernels that are no convolutions, on channels-last maps, against the reference: values, bits, and threads."""

from __future__ import annotations

import contextlib
import itertools
import warnings

import numba
import numpy as np
import pytest

import npconv
from npconv import reference
from npconv.geometry import Pool2dGeometry, UpsampleGeometry
from npconv.kernels import (
    activations,
    branches,
    channel_sums,
    loss,
    normalization,
    optimization,
    pooling,
    shuffle,
    upsampling,
)
from npconv.memory import empty_channels_last, is_channels_last

DTYPES = np.float32, np.float64
SHAPES = [
    (2, 1, 7, 5), (1, 3, 16, 16), (3, 8, 9, 6), (2, 17, 12, 11), (2, 64, 8, 8), (1, 130, 7, 7), (0, 8, 4, 4),
    (5, 8, 33, 31), (4, 64, 32, 31),
]  # fmt: skip
ACTIVATIONS = "relu", "relu6", "hard_sigmoid", "hard_swish"
SPECIAL = np.nan, np.inf, -np.inf, -0.0, 0.0


def channels_last(array):
    result = empty_channels_last(array.shape, array.dtype)
    result[...] = array
    return result


def whole(shape, dtype, seed=0, limit=8):
    return channels_last(np.random.default_rng(seed).integers(-limit, limit, shape).astype(dtype))


def real(shape, dtype, seed=0, mean=0.0):
    return channels_last((np.random.default_rng(seed).standard_normal(shape) + mean).astype(dtype))


def special(shape, dtype, seed=0):
    """Real numbers, a tenth of which are NaN, infinities and zeros of either sign."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    chosen = rng.random(shape) < 0.1
    return channels_last(np.where(chosen, rng.choice(SPECIAL, shape), x).astype(dtype))


def check(got, expected, ulps=0, signs=False):
    """Equal shape, dtype and values; NaN is NaN, and at `signs` zeros have theirs."""
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    if got.ndim == 4:
        assert is_channels_last(got)
    if ulps:
        largest = np.abs(expected[np.isfinite(expected)]).max(initial=0)
        np.testing.assert_allclose(
            got, expected, ulps * np.finfo(got.dtype).eps, ulps * np.finfo(got.dtype).eps * largest
        )
    else:
        np.testing.assert_array_equal(got, expected)
    if signs:
        np.testing.assert_array_equal(np.signbit(got)[expected == 0], np.signbit(expected)[expected == 0])


@contextlib.contextmanager
def threads(count):
    before = numba.get_num_threads()
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    try:
        yield
    finally:
        numba.set_num_threads(before)


@pytest.fixture(autouse=True)
def quiet():
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name, dtype):
    forward, backward = getattr(activations, name), getattr(activations, name + "_input_grad")
    for shape in [*SHAPES, (), (7,), (300, 21)]:
        x, dy = (
            special(shape, dtype, seed)
            if len(shape) == 4
            else np.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)
            for seed in (0, 1)
        )
        check(forward(x), getattr(reference, name)(x), 2 if "hard" in name else 0, signs="hard" not in name)
        expected = getattr(reference, name + "_input_grad")(dy, x)
        check(backward(dy, x), expected, 2 if "hard" in name else 0, signs="hard" not in name)


def test_activations_read_what_is_in_another_order_than_the_first():
    x, dy = real((2, 17, 6, 5), np.float32), np.ascontiguousarray(real((2, 17, 6, 5), np.float32, 1))
    check(activations.relu_input_grad(channels_last(dy), np.ascontiguousarray(x)), reference.relu_input_grad(dy, x))


@pytest.mark.parametrize("make", [whole, special])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
@pytest.mark.parametrize("shape", SHAPES)
def test_branches(shape, activation, dtype, make):
    x, other, third = (make(shape, dtype, seed) for seed in range(3))
    channels = shape[1]
    check(branches.add(x, other, activation), reference.add(x, other, activation), signs=True)
    parts = x, channels_last(other[:, : channels // 2 + 1]), third
    y = reference.concatenate(parts, activation)
    check(branches.concatenate(parts, activation), y, signs=True)
    dy = make(y.shape, dtype, 3)
    for first, last in [(0, channels), (channels // 3, channels), (channels, channels + 1), (0, y.shape[1])]:
        expected = reference.concatenate_input_grad(dy, y, first, last, activation)
        check(branches.concatenate_input_grad(dy, channels_last(y), first, last, activation), expected, signs=True)


@pytest.mark.parametrize("make", [whole, special])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_gates(shape, dtype, make):
    x, other, gate = make(shape, dtype), make(shape, dtype, 1), make((*shape[:2], 1, 1), dtype, 2)
    check(branches.scale(x, gate), reference.scale(x, gate), signs=True)
    check(branches.scale(x, gate, other), reference.scale(x, gate, other), signs=True)
    check(branches.scale_gate_grad(x, other), reference.scale_gate_grad(x, other), 0 if make is whole else 32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_of_channels(shape, dtype):
    x = whole(shape, dtype)
    got = channel_sums.sums_of_channels(x)
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, x.astype(np.float64).sum(axis=(0, 2, 3)))
    np.testing.assert_array_equal(
        channel_sums.sums_of_channels(x, len(x)).reshape(shape[:2]), x.astype(np.float64).sum(axis=(2, 3))
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mean", [0.0, 1e4])
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[0]])
def test_statistics(shape, mean, dtype):
    x = real(shape, dtype, mean=mean)
    exact = x.astype(np.longdouble)
    expected = exact.mean(axis=(0, 2, 3)), exact.var(axis=(0, 2, 3))
    for got, value in zip(normalization.batch_statistics2d(x), expected, strict=True):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, value.astype(dtype), 8 * np.finfo(dtype).eps, np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0.1, 100.0, 1e10])
def test_statistics_of_a_constant(value, dtype):
    """They are exact for a whole number, and else as near as the rounding of the first pixels' mean."""
    rounding = 0 if value == 100 else np.finfo(dtype).eps
    for shape in [(4, 16, 250, 63), (1, 130, 1, 1)]:
        mean, var = normalization.batch_statistics2d(channels_last(np.full(shape, value, dtype)))
        np.testing.assert_allclose(mean, dtype(value), rounding)
        assert (var <= (rounding * value) ** 2).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_statistics_of_a_batch_whose_images_differ(dtype):
    """The first pixels are no measure of the others."""
    x = real((16, 8, 32, 32), dtype)
    x[0] += 1000
    exact, eps = x.astype(np.longdouble), np.finfo(dtype).eps
    mean, var = normalization.batch_statistics2d(x)
    deviation = float(exact.std())
    np.testing.assert_allclose(mean, exact.mean(axis=(0, 2, 3)).astype(dtype), 8 * eps, 8 * eps * deviation)
    np.testing.assert_allclose(var, exact.var(axis=(0, 2, 3)).astype(dtype), 8 * eps)


@pytest.mark.parametrize("at", [0, 5000])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_statistics_beside_a_special_value(value, at):
    x = real((4, 3, 50, 51), np.float32)
    x.transpose(0, 2, 3, 1).reshape(-1, 3)[at, 1] = value
    for got, expected in zip(normalization.batch_statistics2d(x), reference.batch_statistics2d(x), strict=True):
        np.testing.assert_allclose(got, expected, 1e-4, 1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm(shape, activation, dtype):
    x, dy = real(shape, dtype, mean=1), real(shape, dtype, 1)
    rng = np.random.default_rng(2)
    gamma, beta, mean = (rng.standard_normal(shape[1]).astype(dtype) for _ in range(3))
    var = rng.random(shape[1]).astype(dtype) + dtype(0.5)
    fixed = gamma, beta, mean, var, 1e-3, activation
    tight = 16 if dtype == np.float64 else 32
    check(normalization.batch_norm2d(x, *fixed), reference.batch_norm2d(x, *fixed), tight)
    # an activation's kink may be on either side of a rounding, so the gradients take what is far from one
    for mine, theirs in zip(
        normalization.batch_norm2d_fixed_grad(dy, x, *fixed),
        reference.batch_norm2d_fixed_grad(dy, x, *fixed),
        strict=True,
    ):
        check(mine, theirs, 300)
    if not shape[0]:
        return
    for mine, theirs in zip(
        normalization.batch_norm2d_batch(x, gamma, beta, 1e-3, activation),
        reference.batch_norm2d_batch(x, gamma, beta, 1e-3, activation),
        strict=True,
    ):
        check(mine, theirs, 100)
    batch = gamma, beta, *normalization.batch_statistics2d(x), 1e-3, activation
    for mine, theirs in zip(
        normalization.batch_norm2d_batch_grad(dy, x, *batch),
        reference.batch_norm2d_batch_grad(dy, x, *batch),
        strict=True,
    ):
        check(mine, theirs, 300)


@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
def test_batch_norm_on_whole_numbers(activation):
    """With a standard deviation of 2 all is exact."""
    x, dy = whole((3, 17, 9, 8), np.float32), whole((3, 17, 9, 8), np.float32, 1)
    rng = np.random.default_rng(2)
    gamma, beta, mean = (rng.integers(-4, 5, 17).astype(np.float32) for _ in range(3))
    line = gamma, beta, mean, np.full(17, 3, np.float32), 1.0, activation
    check(normalization.batch_norm2d(x, *line), reference.batch_norm2d(x, *line))
    for mine, theirs in zip(
        normalization.batch_norm2d_fixed_grad(dy, x, *line),
        reference.batch_norm2d_fixed_grad(dy, x, *line),
        strict=True,
    ):
        check(mine, theirs)


@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
def test_batch_norm_on_special_values(activation):
    x, dy = special((3, 17, 9, 8), np.float64), special((3, 17, 9, 8), np.float64, 1)
    ones = np.ones(17)
    line = ones, 0 * ones, 0 * ones, ones, 0.0, activation
    check(normalization.batch_norm2d(x, *line), reference.batch_norm2d(x, *line), 8)
    for mine, theirs in zip(
        normalization.batch_norm2d_fixed_grad(dy, x, *line),
        reference.batch_norm2d_fixed_grad(dy, x, *line),
        strict=True,
    ):
        check(mine, theirs, 32)


POOLINGS = [
    {"kernel": 2}, {"kernel": 3, "stride": 2, "padding": 1}, {"kernel": 3, "stride": 1, "padding": 1},
    {"kernel": 2, "ceil_mode": True}, {"kernel": (1, 4), "stride": (3, 1), "padding": (0, 2)},
    {"kernel": 5, "stride": 3, "padding": ((1, 2), (0, 4)), "ceil_mode": True}, {"kernel": (4, 1), "stride": 1},
    {"kernel": 2, "stride": 3},
]  # fmt: skip


def geometries(shape):
    for options in POOLINGS:
        with contextlib.suppress(ValueError):
            yield Pool2dGeometry.of(shape, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_max_pooling(shape, dtype):
    for make, g in itertools.product((whole, real, special), geometries(shape)):
        x, dy = make(shape, dtype), whole(g.y_shape, dtype, 1)
        check(pooling.max_pool2d(x, g), reference.max_pool2d(x, g))
        check(pooling.max_pool2d_input_grad(dy, x, g), reference.max_pool2d_input_grad(dy, x, g))


@pytest.mark.parametrize("fill", [-np.inf, np.nan, 0.0])
def test_max_poolings_gradient_goes_to_the_first_of_equals(fill):
    x = channels_last(np.full((2, 3, 25, 9), fill, np.float32))
    for g in geometries(x.shape):
        dy = whole(g.y_shape, np.float32)
        check(pooling.max_pool2d_input_grad(dy, x, g), reference.max_pool2d_input_grad(dy, x, g))


@pytest.mark.parametrize("counts_padding", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_average_pooling(shape, dtype, counts_padding):
    for make, g in itertools.product((whole, real, special), geometries(shape)):
        x, dy = make(shape, dtype), make(g.y_shape, dtype, 1)
        arguments = counts_padding, g
        check(pooling.avg_pool2d(x, *arguments), reference.avg_pool2d(x, *arguments), 0 if make is whole else 8)
        expected = reference.avg_pool2d_input_grad(dy, *arguments)
        check(pooling.avg_pool2d_input_grad(dy, *arguments), expected, 8)


@pytest.mark.parametrize("make", [whole, special])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_global_pooling(shape, dtype, make):
    x, dy = make(shape, dtype), make((*shape[:2], 1, 1), dtype, 1)
    check(pooling.global_avg_pool2d(x), reference.global_avg_pool2d(x), 32)
    height, width = shape[2:]
    expected = reference.global_avg_pool2d_input_grad(dy, height, width)
    check(pooling.global_avg_pool2d_input_grad(dy, height, width), expected, signs=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_upsampling_and_shuffle(shape, dtype):
    height, width = shape[2:]
    for scale, size in [
        (2, None),
        ((1, 3), None),
        (2, (2 * height - 1, 2 * width)),
        (3, (3 * height - 2, 3 * width - 1)),
    ]:
        g = UpsampleGeometry.of(shape, scale, size)
        for make in (whole, special):
            x, dy = make(shape, dtype), make(g.y_shape, dtype, 1)
            check(upsampling.upsample_nearest2d(x, g), reference.upsample_nearest2d(x, g), signs=True)
            expected = reference.upsample_nearest2d_input_grad(dy, g)
            check(upsampling.upsample_nearest2d_input_grad(dy, g), expected, 0 if make is whole else 8)
    x = special(shape, dtype)
    for groups in [divisor for divisor in range(1, shape[1] + 1) if shape[1] % divisor == 0]:
        check(shuffle.channel_shuffle(x, groups), reference.channel_shuffle(x, groups), signs=True)
        check(shuffle.channel_unshuffle(x, groups), reference.channel_unshuffle(x, groups), signs=True)
        in_c_order = np.ascontiguousarray(x)
        np.testing.assert_array_equal(shuffle.channel_shuffle(in_c_order, groups), reference.channel_shuffle(x, groups))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (3, 10), (64, 1000), (5, 17)])
def test_cross_entropy(shape, smoothing, dtype):
    rng = np.random.default_rng(0)
    logits, labels = (20 * rng.standard_normal(shape)).astype(dtype), rng.integers(0, shape[1], shape[0])
    exact, dy = logits.astype(np.longdouble), dtype(1.5)
    expected = reference.softmax_cross_entropy(exact, labels, smoothing).astype(dtype)
    check(loss.softmax_cross_entropy(logits, labels, smoothing), expected, 8)
    expected = reference.softmax_cross_entropy_input_grad(dy, exact, labels, smoothing).astype(dtype)
    got = loss.softmax_cross_entropy_input_grad(dy, logits, labels, smoothing)
    np.testing.assert_allclose(got, expected, 16 * np.finfo(dtype).eps, np.finfo(dtype).eps / shape[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_special_values(smoothing, dtype):
    logits, labels, dy = np.zeros((7, 5), dtype), np.arange(7) % 5, dtype(1)
    logits[0, 3], logits[1, 1], logits[2, 0], logits[3], logits[4, 4], logits[5, 2] = (
        -np.inf,
        -np.inf,
        np.nan,
        -np.inf,
        1e4,
        -1e4,
    )
    for row in range(7):
        one = logits[row : row + 1], labels[row : row + 1], smoothing
        check(loss.softmax_cross_entropy(*one), reference.softmax_cross_entropy(*one), 8)
        check(loss.softmax_cross_entropy_input_grad(dy, *one), reference.softmax_cross_entropy_input_grad(dy, *one), 8)


@pytest.mark.parametrize("dtype", [np.float16, *DTYPES])
@pytest.mark.parametrize("shape", [(9,), (130, 70), (8, 3, 5, 5)])
def test_updates(shape, dtype):
    def arrays():
        return [np.random.default_rng(seed).standard_normal(shape).astype(dtype) for seed in range(4)]

    ulps = 8
    for momentum, nesterov, decay in [(0.0, False, 0.0), (0.0, False, 0.1), (0.9, False, 0.1), (0.9, True, 0.0)]:
        mine, theirs = arrays(), arrays()
        for package, (param, grad, velocity, _) in ((optimization, mine), (reference, theirs)):
            package.sgd_update(param, grad, velocity if momentum else None, 0.1, momentum, nesterov, decay)
        for got, expected in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(got, expected, ulps * np.finfo(dtype).eps, ulps * np.finfo(dtype).eps)
    for decoupled in (False, True):
        mine, theirs = arrays(), arrays()
        for package, (param, grad, m, v) in ((optimization, mine), (reference, theirs)):
            np.abs(v, out=v)
            package.adam_update(param, grad, m, v, 3, 0.01, (0.9, 0.999), 1e-8, 0.1, decoupled)
        for got, expected in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(got, expected, ulps * np.finfo(dtype).eps, ulps * np.finfo(dtype).eps)


@pytest.mark.parametrize("order", ["param", "grad"])
def test_updates_read_arrays_of_any_order(order):
    def arrays():
        param, grad, velocity = (np.random.default_rng(seed).standard_normal((8, 3, 5, 5)) for seed in range(3))
        return (channels_last(param), grad, velocity) if order == "param" else (param, channels_last(grad), velocity)

    mine, theirs = arrays(), arrays()
    optimization.sgd_update(*mine, 0.1, 0.9, False, 0.1)
    reference.sgd_update(*theirs, 0.1, 0.9, False, 0.1)
    for got, expected in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(got, expected, 1e-14)


def everything(x, dy):
    """Results of all kernels whose order of sums could depend on more than one image, by name."""
    channels, dtype = x.shape[1], x.dtype
    ones, gate = np.ones(channels, dtype), real((len(x), channels, 1, 1), dtype, 3)
    small = Pool2dGeometry.of(x.shape, 3, stride=2, padding=1)
    near = real(small.y_shape, dtype, 4)
    per_image = {
        "scale_gate_grad": branches.scale_gate_grad(dy, x), "scale": branches.scale(x, gate, dy), "add": branches.add(x, dy, "relu"),
        "mean": pooling.global_avg_pool2d(x), "max": pooling.max_pool2d(x, small),
        "max_grad": pooling.max_pool2d_input_grad(near, x, small), "average": pooling.avg_pool2d(x, True, small),
        "average_grad": pooling.avg_pool2d_input_grad(near, False, small),
    }  # fmt: skip
    statistics = normalization.batch_statistics2d(x)
    grads = normalization.batch_norm2d_batch_grad(dy, x, ones, ones, *statistics, 1e-5, "relu")
    of_batch = {"statistics": statistics, "grads": grads, "sums": channel_sums.sums_of_channels(x)}
    return per_image, of_batch


@pytest.mark.parametrize("shape", [(3, 3, 65, 64), (4, 64, 31, 33), (2, 130, 20, 20)])
def test_results_do_not_depend_on_threads(shape):
    x, dy = real(shape, np.float32), real(shape, np.float32, 1)
    with threads(1):
        expected = everything(x, dy)
    for count in (2, 3, 8):
        with threads(count):
            for mine, theirs in zip(everything(x, dy), expected, strict=True):
                for name, value in theirs.items():
                    for got, wanted in zip(mine[name], value, strict=True):
                        np.testing.assert_array_equal(got, wanted, name)


@pytest.mark.parametrize("shape", [(3, 3, 65, 64), (4, 64, 31, 33), (5, 130, 7, 7)])
def test_results_of_an_image_do_not_depend_on_the_batch(shape):
    one = real((1, *shape[1:]), np.float32), real((1, *shape[1:]), np.float32, 1)
    x, dy = (channels_last(np.repeat(array, shape[0], axis=0)) for array in one)
    per_image, _ = everything(x, dy)
    alone, _ = everything(*one)
    for name in ("scale_gate_grad", "mean", "max", "average", "add"):
        for image in per_image[name]:
            np.testing.assert_array_equal(image, alone[name][0], name)


@pytest.mark.parametrize("dtype", [np.float16, *DTYPES])
def test_a_slice_of_channels_is_in_its_maps_order(dtype):
    """What is made of it is channels-last, too, and not turned twice on the way through a network; and right, wherever it is cut."""
    x = whole((3, 12, 6, 5), dtype)
    for part in (
        x[:, 2:9],
        x[:, 5:],
        x[:, :4, 1:5],
        x[:, 1:3, :, ::2],
        x[1:2, 3:5],
        x[:, 4:6, :1],
        x[:, 4:6, :, :1],
        x[:, ::-1],
    ):
        y = npconv.batch_norm2d(part, *np.ones((2, part.shape[1]), dtype))
        with npconv.backend("numpy"):
            expected = npconv.batch_norm2d(part.copy(), *np.ones((2, part.shape[1]), dtype))
        np.testing.assert_allclose(y, expected, 1e-2 if dtype == np.float16 else 1e-5, 1e-5)
        assert is_channels_last(y) == (part.strides[1] == part.itemsize)
        np.testing.assert_array_equal(npconv.channels_last(part), part)
