"""What layers refuse: arguments, gradients of another shape; and that a refusal leaves no trace."""

from __future__ import annotations

import numpy as np
import pytest
from layers import LAYERS, given, make

from npconv import nn
from npconv.testing import map_arrays


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        (lambda k: nn.Conv2d(0, 4, 3, **k), ValueError, "in_channels must be at least 1, got in_channels=0"),
        (lambda k: nn.Conv2d(4, 2.5, 3, **k), TypeError, "out_channels must be an integer, got 2.5"),
        (lambda k: nn.Conv2d(8, 8, 3, groups=3, **k), ValueError,
         "groups must divide in_channels and out_channels, got groups=3, in_channels=8, out_channels=8"),
        (lambda k: nn.Conv2d(2, 8, 3, groups=4, **k), ValueError, "groups must divide in_channels and out_channels"),
        (lambda k: nn.Conv2d(2, 2, 3, groups=0, **k), ValueError, "groups must be at least 1"),
        (lambda k: nn.Conv2d(2, 2, (3, 3, 3), **k), ValueError, r"kernel must be an int or \(rows, columns\)"),
        (lambda k: nn.Conv2d(2, 2, 3, stride=0, **k), ValueError, "stride must be at least 1, got stride=0"),
        (lambda k: nn.Conv2d(2, 2, 3, padding="full", **k), ValueError, "padding must be 'valid', 'same' or 'same_lower'"),
        (lambda k: nn.Conv2d(2, 2, 3, padding=-1, **k), ValueError, "padding must be at least 0"),
        (lambda k: nn.Conv2d(2, 2, 3, dilation=0, **k), ValueError, "dilation must be at least 1"),
        (lambda k: nn.Conv2d(2, 2, 3, rng=0), TypeError, "rng must be a numpy.random.Generator, got int"),
        (lambda k: nn.Conv2d(2, 2, 3, rng=np.random.RandomState(0)), TypeError, "rng must be a numpy.random.Generator"),
        (lambda k: nn.Conv2d(2, 2, 3), TypeError, "rng"),
        (lambda k: nn.Conv2d(2, 2, 3, dtype=int, **k), TypeError, "dtype must be float16, float32 or float64, got <class 'int'>"),
        (lambda k: nn.BatchNorm2d(2, dtype="real"), TypeError, "dtype must be float16, float32 or float64, got 'real'"),
        (lambda k: nn.DepthwiseConv2d(2, 3, multiplier=0, **k), ValueError, "multiplier must be at least 1"),
        (lambda k: nn.DepthwiseConv2d("2", 3, **k), TypeError, "channels must be an integer, got '2'"),
        (lambda k: nn.PointwiseConv2d(4, 4, groups=3, **k), ValueError, "groups must divide"),
        (lambda k: nn.SeparableConv2d(-1, 4, 3, **k), ValueError, "in_channels must be at least 1"),
        (lambda k: nn.OctaveConv2d(4, 4, 3, alpha_in=1.5, alpha_out=0, **k), ValueError, r"alpha_in must be in \[0, 1\]"),
        (lambda k: nn.OctaveConv2d(4, 4, 3, alpha_in=0.25, alpha_out=0.5, groups=2, **k), ValueError,
         "path hh: groups must divide in_channels and out_channels, got groups=2, in_channels=3"),
        (lambda k: nn.OctaveConv2d(4, 4, 3, alpha_in=0, alpha_out=0, stride_mode="skip", **k), ValueError,
         "stride_mode must be 'pool' or 'conv', got 'skip'"),
        (lambda k: nn.OctaveDepthwiseConv2d(4, 3, alpha=0, stride=3, **k), ValueError,
         "stride must be 1 or 2 in stride_mode 'pool', got stride=3"),
        (lambda k: nn.OctaveDepthwiseConv2d(0, 3, alpha=0, **k), ValueError, "channels must be at least 1"),
        (lambda k: nn.OctaveConv2d(0, 4, 3, alpha_in=0, alpha_out=0, **k), ValueError, "in_channels must be at least 1"),
        (lambda k: nn.GhostModule(4, 4, ratio=0, **k), ValueError, "ratio must be at least 1"),
        (lambda k: nn.BatchNorm2d(0), ValueError, "channels must be at least 1"),
        (lambda k: nn.BatchNorm2d(2, eps=0), ValueError, "eps must be finite and above 0"),
        (lambda k: nn.BatchNorm2d(2, momentum=2), ValueError, r"momentum must be in \[0, 1\]"),
        (lambda k: nn.BatchNorm2d(2, momentum_convention="jax"), ValueError,
         "momentum_convention must be 'pytorch' or 'tensorflow', got 'jax'"),
        (lambda k: nn.AvgPool2d(0), ValueError, "kernel must be at least 1"),
        (lambda k: nn.MaxPool2d(2, padding=2), ValueError, "padding must be smaller than the kernel"),
        (lambda k: nn.Upsample(0), ValueError, "scale must be at least 1"),
        (lambda k: nn.Upsample(2, size=(0, 1)), ValueError, "size must be at least 1"),
        (lambda k: nn.Linear(2, 0, **k), ValueError, "out_features must be at least 1"),
        (lambda k: nn.Dropout(1.0, **k), ValueError, r"rate must be in \[0, 1\)"),
        (lambda k: nn.Dropout(0.5, rng=None), TypeError, "rng must be a numpy.random.Generator, got NoneType"),
        (lambda k: nn.SqueezeExcite(4, 0, **k), ValueError, "reduced must be at least 1"),
        (lambda k: nn.SqueezeExcite(4, 2, squash="sigmoid", **k), ValueError, "squash must be 'hard_sigmoid' or 'clip', got 'sigmoid'"),
        (lambda k: nn.ChannelShuffle(0), ValueError, "groups must be at least 1"),
        (lambda k: nn.Sequential(nn.ReLU(), np.tanh), TypeError, "1 must be a Layer, got <ufunc 'tanh'>"),
        (lambda k: nn.Residual(None), TypeError, "main must be a Layer, got None"),
        (lambda k: nn.PerFrequency(nn.ReLU(), np.tanh), TypeError, "low must be a Layer, got <ufunc 'tanh'>"),
        (lambda k: nn.Concat(), ValueError, "branches must be at least one layer, got none"),
        (lambda k: nn.Layer(), TypeError, "abstract"),
    ],
)  # fmt: skip
def test_bad_arguments(layer, error, message):
    with pytest.raises(error, match=message):
        layer({"rng": np.random.default_rng(0)})


def test_bad_arguments_draw_nothing():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError):
        nn.Conv2d(8, 8, 3, groups=3, rng=rng)
    with pytest.raises(TypeError):
        nn.Conv2d(8, 8, 3, rng=rng, dtype=int)
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "identity"])
def test_bad_dy(name):
    layer = make(name)
    y = layer(given(name))
    wrong = map_arrays(lambda array: np.concatenate([array, array], axis=1), y)
    with pytest.raises(ValueError, match="shape"):
        layer.backward(wrong)


def test_a_failed_forward_changes_no_statistics():
    layer = nn.BatchNorm2d(3)
    with pytest.raises(ValueError, match="gamma"):
        layer(np.ones((2, 4, 5, 5), np.float32))
    np.testing.assert_array_equal(layer.buffers["running_mean"], np.zeros(3))
    np.testing.assert_array_equal(layer.buffers["running_var"], np.ones(3))
