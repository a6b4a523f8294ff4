"""Schedules beside numbers written out, and what can be pickled."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from npconv import optim


def test_step_schedule():
    rate = optim.step(0.8, 3, 0.1, warmup=2)
    np.testing.assert_allclose([rate(t) for t in range(9)], [0.4, 0.8, 0.8, 0.8, 0.8, 0.08, 0.08, 0.08, 0.008])


def test_linear_schedule():
    rate = optim.linear(1.0, 6, warmup=2)
    np.testing.assert_allclose([rate(t) for t in range(8)], [0.5, 1, 1, 0.75, 0.5, 0.25, 0, 0])


def test_cosine_schedule():
    rate = optim.cosine(1.0, 6, 0.2, warmup=2)
    root = math.sqrt(0.5)
    np.testing.assert_allclose(
        [rate(t) for t in range(8)], [0.5, 1, 1, 0.6 + 0.4 * root, 0.6, 0.6 - 0.4 * root, 0.2, 0.2]
    )


@pytest.mark.parametrize(
    "schedule",
    [optim.constant(0.3, warmup=2), optim.step(0.3, 2, 0.5), optim.linear(0.3, 7), optim.cosine(0.3, 7, 0.1, warmup=3)],
)
def test_a_schedule_is_pickled(schedule):
    other = pickle.loads(pickle.dumps(schedule))
    assert [other(t) for t in range(10)] == [schedule(t) for t in range(10)]


def test_nothing_warms_up_unless_it_is_asked_for():
    """A line and half a cosine begin to fall with the second step."""
    for make in (optim.linear, optim.cosine):
        assert [make(1.0, 4)(step) for step in range(5)] == [make(1.0, 4, warmup=0)(step) for step in range(5)]
        assert make(1.0, 4)(1) < make(1.0, 4)(0) == 1.0
