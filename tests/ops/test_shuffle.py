"""Channel shuffle: its order, and its inverse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_array_equal

import npconv
from npconv.testing.strategies import problems

pytestmark = pytest.mark.usefixtures("backend")


def test_the_order_is_the_papers():
    x = np.arange(12.0).reshape(1, 12, 1, 1)
    assert_array_equal(npconv.channel_shuffle(x, 3).ravel(), [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11])
    assert_array_equal(npconv.channel_unshuffle(x, 3).ravel(), [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11])


@pytest.mark.parametrize("groups", [1, 12])
def test_one_group_or_one_channel_per_group_changes_nothing(groups):
    x = np.arange(12.0).reshape(1, 12, 1, 1)
    assert_array_equal(npconv.channel_shuffle(x, groups), x)


@given(problems("channel_shuffle"))
def test_unshuffle_is_the_inverse(problem):
    (x,), groups = problem.args, problem.options["groups"]
    assert_array_equal(npconv.channel_unshuffle(problem.forward(), groups), x)
    assert_array_equal(npconv.channel_unshuffle(x, groups), npconv.channel_shuffle(x, x.shape[1] // groups))
