"""The octave layers beside the ordinary ones."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import npconv
from npconv import OctaveMap, OctaveWeight, backends, nn

X = np.random.default_rng(1).standard_normal((2, 4, 6, 6))


def conv(cls, *sizes, **options):
    return cls(*sizes, rng=np.random.default_rng(0), dtype=np.float64, **options)


def test_at_alpha_0_it_is_the_ordinary_convolution():
    check_close = functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12)  # sums in another order
    options = {"stride": 2, "padding": 1, "groups": 2}
    octave = conv(nn.OctaveConv2d, 4, 6, 3, alpha_in=0, alpha_out=0, stride_mode="conv", **options)
    ordinary = conv(nn.Conv2d, 4, 6, 3, **options)
    y = ordinary(X)
    check_close(octave(X), y)
    check_close(octave.backward(y), ordinary.backward(y))
    check_close(octave.grads["w_hh"], ordinary.grads["w"])
    check_close(octave.grads["b_high"], ordinary.grads["b"])
    octave = conv(nn.OctaveDepthwiseConv2d, 4, 3, alpha=0.1)  # int(0.4) = 0 low channels
    check_close(octave(X), conv(nn.DepthwiseConv2d, 4, 3)(X))


@pytest.mark.parametrize("alpha_in", [0, 0.25, 0.5, 1])
@pytest.mark.parametrize("alpha_out", [0, 0.25, 0.5, 1])
def test_the_kernels_together_are_one_kernel(alpha_in, alpha_out):
    layer = conv(nn.OctaveConv2d, 4, 8, 3, alpha_in=alpha_in, alpha_out=alpha_out)
    assert layer.parameter_count() == 4 * 8 * 9 + 8


def test_it_is_the_operator():
    layer = conv(nn.OctaveConv2d, 4, 4, 3, alpha_in=0.25, alpha_out=0.5, stride=2, padding=1)
    x = OctaveMap(X[:, :3], X[:, 3:, ::2, ::2])
    w = OctaveWeight(**{path: layer.params[f"w_{path}"] for path in OctaveWeight._fields})
    b = layer.params["b_high"], layer.params["b_low"]
    y = npconv.octave_conv2d(x, w, b, stride=2, padding=1)
    np.testing.assert_equal(layer(x), y)
    dx, dw, db = npconv.octave_conv2d_backward(y, x, w, b, stride=2, padding=1)
    np.testing.assert_equal(layer.backward(y), dx)
    assert list(layer.grads) == ["w_hh", "w_hl", "w_lh", "w_ll", "b_high", "b_low"]
    np.testing.assert_equal(list(layer.grads.values()), [*dw, *db])


def test_the_form_of_the_maps_follows_from_alpha():
    first = conv(nn.OctaveConv2d, 4, 4, 1, alpha_in=0, alpha_out=0.5)
    last = conv(nn.OctaveConv2d, 4, 4, 1, alpha_in=0.5, alpha_out=0)
    pair = first(X)
    y = last(pair)
    assert type(pair) is OctaveMap
    assert type(y) is np.ndarray
    with pytest.raises(
        TypeError, match="x must be a plain array where the low frequency has no channels, got OctaveMap"
    ):
        first(pair)
    with pytest.raises(TypeError, match=r"x must be a pair \(high, low\), got ndarray"):
        last(X)
    with pytest.raises(
        TypeError, match="dy must be a plain array where the low frequency has no channels, got OctaveMap"
    ):
        last.backward(pair)
    with pytest.raises(TypeError, match=r"dy must be a pair \(high, low\), got ndarray"):
        first.backward(X)


def test_per_frequency():
    layer = nn.PerFrequency(nn.ReLU())
    high, low = layer(OctaveMap(-X, -X))
    np.testing.assert_array_equal(high, np.maximum(-X, 0))
    np.testing.assert_array_equal(low, -X)
    np.testing.assert_array_equal(layer(-X), np.maximum(-X, 0))
    assert layer(OctaveMap(None, X)).high is None


def test_octave_batch_norm_is_one_for_each_frequency():
    options = {"eps": 0.1, "momentum": 0.7, "momentum_convention": "tensorflow", "unbiased": False, "dtype": np.float64}
    layer = nn.OctaveBatchNorm2d(4, alpha=0.25, **options)
    high, low = nn.BatchNorm2d(3, **options), nn.BatchNorm2d(1, **options)
    x = OctaveMap(X[:, :3], X[:, 3:, ::2, ::2])
    np.testing.assert_equal(layer(x), OctaveMap(high(x.high), low(x.low)))
    np.testing.assert_array_equal(layer.state()["low.running_var"], low.buffers["running_var"])
    assert list(dict(nn.OctaveBatchNorm2d(4, alpha=0).named_params())) == ["high.gamma", "high.beta"]
    assert list(dict(nn.OctaveBatchNorm2d(4, alpha=1).named_params())) == ["low.gamma", "low.beta"]


def test_in_training_a_batch_norm_takes_the_relu_of_each_frequency_along():
    """The same numbers in fewer calls, forward and backward; where the two activations differ, nothing is taken."""
    x = OctaveMap(X[:, :3], X[:, 3:, ::2, ::2])
    for relus, taken in (((nn.ReLU(), nn.ReLU()), True), ((nn.ReLU(), nn.ReLU6()), False), ((nn.ReLU(), None), False)):
        bn, relu = nn.OctaveBatchNorm2d(4, alpha=0.25, dtype=np.float64), nn.PerFrequency(*relus)
        with backends.record() as calls:
            net = nn.Sequential(bn=bn, relu=relu)
            y = net(x)
            dx = net.backward(x)
        assert (len(calls) == 4) == taken
        np.testing.assert_equal(y, relu(bn(x)))
        np.testing.assert_equal(dx, bn.backward(relu.backward(x)))
