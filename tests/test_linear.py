"""The fully connected layer, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import npconv

pytestmark = pytest.mark.usefixtures("backend")


def test_rows_of_w_are_outputs():
    x, w, b = np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 0.0, 0.0], [0.0, 10.0, 100.0]]), np.array([5.0, 7.0])
    assert_array_equal(npconv.linear(x, w, b), [[6.0, 327.0]])
    dx, dw, db = npconv.linear_backward(np.array([[1.0, 2.0]]), x, w, b)
    assert_array_equal(dx, [[1.0, 20.0, 200.0]])
    assert_array_equal(dw, [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]])
    assert_array_equal(db, [1.0, 2.0])
