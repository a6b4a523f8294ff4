"""Up-sampling: blocks, and what is cut from the last ones."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import npconv

pytestmark = pytest.mark.usefixtures("backend")


def test_each_pixel_becomes_a_block():
    x = np.array([[1.0, 2.0]]).reshape(1, 1, 1, 2)
    assert_array_equal(npconv.upsample_nearest2d(x, (1, 3))[0, 0], [[1, 1, 1, 2, 2, 2]])
    assert_array_equal(npconv.upsample_nearest2d(x)[0, 0], [[1, 1, 2, 2], [1, 1, 2, 2]])


def test_what_was_cropped_adds_nothing_to_the_gradient():
    x, dy = np.zeros((1, 1, 1, 2)), np.array([[1.0, 10.0, 100.0]]).reshape(1, 1, 1, 3)
    assert_array_equal(npconv.upsample_nearest2d_backward(dy, x, 2, size=(1, 3)).ravel(), [11, 100])
