"""Activations: their values and slopes at the kinks, and what they do to NaN."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import npconv

X = np.array([-np.inf, -4, -3, -1.5, 0, 1.5, 3, 4, 6, 7, np.inf])
VALUES = {
    "relu": [0, 0, 0, 0, 0, 1.5, 3, 4, 6, 7, np.inf],
    "relu6": [0, 0, 0, 0, 0, 1.5, 3, 4, 6, 6, 6],
    "hard_sigmoid": [0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1],
    "hard_swish": [np.nan, 0, 0, -0.375, 0, 1.125, 3, 4, 6, 7, np.inf],
}
SLOPES_TIMES_6 = {
    "relu": [0, 0, 0, 0, 0, 6, 6, 6, 6, 6, 6],
    "relu6": [0, 0, 0, 0, 0, 6, 6, 6, 0, 0, 0],
    "hard_sigmoid": [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0],
    "hard_swish": [0, 0, 0, 0, 3, 6, 6, 6, 6, 6, 6],
}


@pytest.mark.parametrize("op", VALUES)
@pytest.mark.filterwarnings("ignore:invalid value")  # of -inf * 0 in hard swish
def test_values(backend, op):
    assert_array_equal(getattr(npconv, op)(X), VALUES[op])


@pytest.mark.parametrize("op", SLOPES_TIMES_6)
def test_at_a_kink_the_slope_is_the_flat_sides(backend, op):
    assert_array_equal(getattr(npconv, f"{op}_backward")(np.full(X.shape, 6.0), X), SLOPES_TIMES_6[op])


@pytest.mark.parametrize("op", VALUES)
def test_nan_stays_nan(backend, op):
    assert np.isnan(getattr(npconv, op)(np.array([np.nan]))).all()


@pytest.mark.parametrize("op", VALUES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 1, 2, 1, 2)])
def test_arrays_of_any_shape(backend, op, shape):
    x = np.full(shape, 7.0, np.float32)
    y, dx = getattr(npconv, op)(x), getattr(npconv, f"{op}_backward")(x, x)
    assert isinstance(y, np.ndarray)
    assert isinstance(dx, np.ndarray)
    assert y.shape == dx.shape == shape
