"""assert_close: right results of every arithmetic are within its bound, and what is wrong is told with its place."""

from __future__ import annotations

import re

import numpy as np
import pytest

import npconv
from npconv.testing import assert_close
from npconv.testing.precision import PRECISIONS, precision
from npconv.testing.strategies import OPERATORS

f32 = np.float32
RNG = np.random.default_rng(0)
X, W, B = (RNG.standard_normal(shape).astype(f32) for shape in ((2, 6, 7, 8), (4, 3, 3, 3), (4,)))


def rounded(array, bits):
    mantissa, exponent = np.frexp(array)
    return np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits).astype(array.dtype)


def in_arithmetic(name, x, w):
    """A convolution as a matrix unit does it."""
    bits, wide = PRECISIONS[name].bits, name != "float64"
    x, w = (rounded(a, bits) if bits < 24 else a for a in (x, w))
    y = npconv.conv2d(x, w, groups=2) if wide else npconv.conv2d(x.astype(float), w.astype(float), groups=2)
    return rounded(y, bits) if name in ("float16", "bfloat16") else y.astype(f32)


@pytest.mark.parametrize("name", PRECISIONS)
def test_a_declared_arithmetic_has_its_own_bound(name):
    """It holds for itself, and for none with fewer bits."""
    assert_close(in_arithmetic(name, X, W), "conv2d", X, W, groups=2, arithmetic=name)
    worse = {"float16": "bfloat16", "tf32": "bfloat16", "float32": "tf32", "float64": "tf32"}.get(name)
    if worse is not None:
        with pytest.raises(AssertionError, match="rounding bounds"):
            assert_close(in_arithmetic(worse, X, W), "conv2d", X, W, groups=2, arithmetic=name)


def test_results_and_gradients():
    y = npconv.conv2d(X, W, B, groups=2, padding=1)
    gradients = npconv.conv2d_backward(y, X, W, B, groups=2, padding=1)
    assert_close(y, "conv2d", X, W, B, groups=2, padding=1)
    assert_close(y, "conv2d", X, W, b=B, groups=2, padding=1)
    assert_close(gradients, "conv2d_backward", y, X, W, B, groups=2, padding=1)
    assert_close(npconv.conv2d_backward(y, X, W, groups=2, padding=1), "conv2d_backward", y, X, W, groups=2, padding=1)
    assert_close(npconv.avg_pool2d(X, 2), "avg_pool2d", X, 2)
    labels = np.array([1, 0])
    logits = X.reshape(2, -1)
    assert_close(npconv.softmax_cross_entropy(logits, labels), "softmax_cross_entropy", logits, labels)
    half = npconv.OctaveMap(high=X, low=X[:, :, ::2, ::2][:, :, :4, :4])
    kernels = npconv.OctaveWeight(*[RNG.standard_normal((6, 6, 3, 3)).astype(f32)] * 4)
    low = half._replace(low=npconv.avg_pool2d(X, 2, ceil_mode=True))
    assert_close(npconv.octave_conv2d(low, kernels, padding="same"), "octave_conv2d", low, kernels, padding="same")


def test_what_is_wrong_is_told():
    y = npconv.conv2d(X, W, groups=2)
    y[1, 2, 3, 4] += 1
    with pytest.raises(AssertionError, match=re.escape("y[1, 2, 3, 4] must be ")) as caught:
        assert_close(y, "conv2d", X, W, groups=2)
    assert "1 of 240 numbers are out of bounds" in str(caught.value)
    with pytest.raises(AssertionError, match=re.escape("y must have the shape (2, 4, 5, 6), got (2, 4, 5, 5)")):
        assert_close(y[..., 1:], "conv2d", X, W, groups=2)
    with pytest.raises(AssertionError, match="conv2d_backward must give 2 arrays, dx, dw, got 1"):
        assert_close((X, None, None), "conv2d_backward", y, X, W, groups=2)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match=r"op must be one of conv2d, .*, or that with _backward, got 'conv3d'"):
        assert_close(X, "conv3d", X)
    with pytest.raises(ValueError, match=r"the arithmetic must be one of float16, bfloat16, .* got 'int8'"):
        assert_close(X, "relu", X, arithmetic="int8")
    with pytest.raises(TypeError, match="missing a required argument: 'w'"):
        assert_close(X, "conv2d", X)


@pytest.mark.parametrize("op", OPERATORS)
def test_every_operator_has_a_declared_arithmetic(op):
    found = precision("tf32", op)
    assert found is not None
    assert found.stages >= 1
    assert precision(None, op) is None


def test_numbers_that_a_format_has():
    tf32 = PRECISIONS["tf32"]
    assert tf32.holds(f32([2047, -3, 0, np.inf]))
    assert not tf32.holds(f32([2049]))
    assert not PRECISIONS["float16"].holds(f32([70_000 // 32 * 32]))
