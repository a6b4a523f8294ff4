"""How branches come together: sums, concatenations and gates, of whole maps and of slices of channels, on either backend."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import npconv
from npconv import kernels, nn, reference
from npconv.ops import branches

ACTIVATIONS = (None, "relu", "relu6")
LAYERS = {None: nn.Identity, "relu": nn.ReLU, "relu6": nn.ReLU6}


@st.composite
def maps(draw, count):
    """`count` maps of one shape, of small whole numbers, some of them slices of the channels of larger ones."""
    batch, channels = draw(st.integers(0, 3)), draw(st.integers(1, 5))
    height, width = draw(st.sampled_from([(1, 1), (7, 7), (5, 13), (40, 110)]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    drawn = []
    for first in draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)):
        whole = rng.integers(-9, 10, (batch, channels + 2, height, width)).astype(dtype)
        drawn.append(whole[:, first : first + channels] if first else whole[:, :channels].copy())
    return drawn


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
@given(maps(3))
def test_kernels_are_the_reference(activation, drawn):
    x, other, dy = drawn
    assert_array_equal(kernels.add(x, other, activation), reference.add(x, other, activation))
    joined = reference.concatenate((x, other), activation)
    assert_array_equal(kernels.concatenate((x, other), activation), joined)
    assert_array_equal(
        kernels.concatenate_input_grad(dy, x, 0, x.shape[1] - 1, activation),
        reference.concatenate_input_grad(dy, x, 0, x.shape[1] - 1, activation),
    )
    gate = dy[:, :, :1, -1:]
    assert_array_equal(kernels.scale(x, gate), reference.scale(x, gate))
    assert_array_equal(kernels.scale(x, gate, other), reference.scale(x, gate, other))
    assert_array_equal(kernels.scale_gate_grad(dy, x), reference.scale_gate_grad(dy, x))


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(), (5,), (5, 2), (3, 2, 2), (0,)])
def test_arrays_that_are_no_maps(sizes):
    """Heads of networks join features, (N, C); nothing here needs a height and a width."""
    rng = np.random.default_rng(0)
    x, other, dy = rng.integers(-9, 10, (3, 4, 6, *sizes)).astype(np.float32)
    for activation in ACTIVATIONS:
        for name, arguments in {
            "add": (x, other, activation),
            "concatenate": ((x, other), activation),
            "concatenate_input_grad": (dy, x, 2, 5, activation),
        }.items():
            expected, got = (getattr(room, name)(*arguments) for room in (reference, kernels))
            assert_array_equal(got, expected, strict=True)


@pytest.mark.slow
def test_what_is_no_number():
    """Infinities, NaN and both zeros, in whole vectors and behind them."""
    special = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 6.0, 1.0, -1.0])
    x, other = (np.resize(grid, (2, 64, 3, 3)) for grid in np.meshgrid(special, special))
    for activation in ACTIVATIONS:
        for name, arguments in {
            "add": (x, other, activation),
            "concatenate": ((x, other), activation),
            "concatenate_input_grad": (x, other, 3, 60, activation),
            "scale": (x, other[:, :, :1, :1]),
        }.items():
            with np.errstate(invalid="ignore"):
                expected, got = (getattr(room, name)(*arguments) for room in (reference, kernels))
            assert_array_equal(got, expected)
            assert_array_equal(np.signbit(got), np.signbit(expected) | (np.isnan(expected) & np.signbit(got)))


@pytest.mark.slow
def test_any_number_of_threads_makes_the_same_bits():
    x, other = np.random.default_rng(0).standard_normal((2, 3, 20, 33, 35), np.float32)
    gate = other[:, :, :1, :1]

    def results():
        yield kernels.add(x, other, "relu")
        yield kernels.concatenate((x, other), "relu6")
        yield kernels.concatenate_input_grad(x, other, 2, 11, "relu")
        yield kernels.scale(x, gate, other)
        yield kernels.scale_gate_grad(x, other)

    threads = numba.get_num_threads()
    several = list(results())
    numba.set_num_threads(1)
    try:
        for got, expected in zip(results(), several, strict=True):
            assert_array_equal(got, expected)
    finally:
        numba.set_num_threads(threads)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("join", [nn.Residual, nn.Concat])
@pytest.mark.usefixtures("backend")
def test_an_activation_taken_over_changes_no_number(join, activation, training):
    rng = np.random.default_rng(0)
    one = nn.Sequential(join=join(nn.AvgPool2d(1), nn.ReLU6()), activation=LAYERS[activation]())
    two = join(nn.AvgPool2d(1), nn.ReLU6()), LAYERS[activation]()
    x = 4 * rng.standard_normal((2, 3, 5, 5))
    y = two[1](two[0](x))
    dy = rng.standard_normal(y.shape)
    one._set_training(training)
    assert_array_equal(one(x), y)
    assert_array_equal(one.backward(dy), two[0].backward(two[1].backward(dy)))


def test_octave_maps_take_over_theirs(monkeypatch):
    monkeypatch.setattr(nn.ReLU, "forward", lambda *_: pytest.fail("the ReLU ran"))
    net = nn.Sequential(nn.Residual(nn.Identity()), nn.PerFrequency(nn.ReLU(), nn.ReLU()))
    x = npconv.OctaveMap(np.full((1, 1, 2, 2), -1.0), np.full((1, 1, 1, 1), 2.0))
    y = net(x)
    np.testing.assert_equal(y, npconv.OctaveMap(np.zeros((1, 1, 2, 2)), np.full((1, 1, 1, 1), 4.0)))
    dx = net.backward(npconv.OctaveMap(np.ones((1, 1, 2, 2)), np.ones((1, 1, 1, 1))))
    np.testing.assert_equal(dx, npconv.OctaveMap(np.zeros((1, 1, 2, 2)), np.full((1, 1, 1, 1), 2.0)))


def test_half_precision_rounds_once():
    x = np.array([[1000.0, 0.5]], np.float16)
    y = branches.add(x, x, activation="relu6")
    assert y.dtype == np.float16
    assert_array_equal(y, [[6.0, 1.0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: branches.add(x, x[:, :1]), r"other must have the shape \(1, 2, 2, 2\)"),
        (lambda x: branches.scale_channels(x, x), r"gate must have the shape \(1, 2, 1, 1\)"),
        (lambda x: branches.scale_channels(x, x[:, :, :1, :1], x[:, :1]), "more must have the shape"),
        (lambda x: branches.scale_channels_gate_grad(x[:, :1], x), "dy must have the shape"),
        (lambda x: branches.concatenate_backward(x, [2], x[:, :1]), "dy must have the shape"),
    ],
)
def test_what_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.ones((1, 2, 2, 2)))


@pytest.mark.slow
def test_gradients_that_are_slices_of_channels():
    """A batch norm behind a concatenation gets its channels of dy as they lie there."""
    rng = np.random.default_rng(0)
    wide, x = rng.standard_normal((2, 7, 6, 6)), rng.standard_normal((2, 3, 6, 6))
    statistics = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
    for activation in ACTIVATIONS:
        arguments = x, np.ones(3), np.full(3, 0.5), *statistics, 1e-5, activation
        for grad in (kernels.batch_norm2d_batch_grad, kernels.batch_norm2d_fixed_grad):
            for got, expected in zip(
                grad(wide[:, 2:5], *arguments), grad(wide[:, 2:5].copy(), *arguments), strict=True
            ):
                assert_array_equal(got, expected)
