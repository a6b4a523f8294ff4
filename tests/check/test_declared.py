"""What is declared is judged by its own rounding: shorter factors, and algorithms that compute outputs together."""

from __future__ import annotations

import numpy as np
import pytest
from simulated import fft, winograd

import npconv
from npconv.check import run

FAST = {"winograd-2x2": winograd(2), "winograd-4x4": winograd(4), "fft": fft()}


def by(fast, *, taps=9):
    """A convolution that is made by `fast` where that is possible, of so many taps of each kernel."""

    def conv2d(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
        if w.shape[2:] == (3, 3) and np.ravel(stride).max() == np.ravel(dilation).max() == 1:
            kept = np.arange(9).reshape(3, 3) < taps
            return fast(x, w * kept, b, padding=padding, groups=groups).astype(x.dtype)
        return npconv.conv2d(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)

    return conv2d


@pytest.mark.slow
@pytest.mark.parametrize("name", FAST)
def test_an_algorithm_is_judged_by_its_own_bound(name):
    """It is right where it is declared, with all its taps, and not where it is not."""
    settings = {"cases": 60, "shrinking": 0}
    report = run("conv2d", forward=by(FAST[name]), declared=name, **settings)
    assert report.ok, report
    assert f"conv2d in float32 judged as {name}, 60 cases: equal" in str(report)
    assert not run("conv2d", forward=by(FAST[name], taps=8), declared=name, **settings).ok
    assert not run("conv2d", forward=by(FAST[name]), **settings).ok


@pytest.mark.slow
def test_what_is_made_of_convolutions_is_judged_so_too():
    def separable_conv2d(x, w_depthwise, w_pointwise, b=None, *, stride=1, padding=0, dilation=1):
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": x.shape[1]}
        return npconv.pointwise_conv2d(by(winograd(4))(x, w_depthwise, **options), w_pointwise, b)

    report = run("separable_conv2d", forward=separable_conv2d, declared="winograd-4x4", cases=60)
    assert report.ok, report
    assert not run("separable_conv2d", forward=separable_conv2d, cases=60, shrinking=0).ok


def test_what_is_declared_must_be_known():
    with pytest.raises(
        ValueError, match=r"the arithmetic must be one of float16, .*, one of winograd-2x2, .* got 'int8'"
    ):
        run("relu", forward=npconv.relu, declared="int8")
    with pytest.raises(ValueError, match="got 'fft\\+tf32'"):
        run("relu", forward=npconv.relu, declared="fft+tf32")
