"""Batch norm's running statistics."""

from __future__ import annotations

import numpy as np
import pytest

import npconv
from npconv import nn

BATCHES = [np.array([1.0, 3.0, 5.0, 7.0]), np.array([2.0, 2.0, 2.0, 6.0])]  # means 4 and 3, sums of squares 20 and 12


def run(**options):
    layer = nn.BatchNorm2d(1, dtype=np.float64, **options)
    for batch in BATCHES:
        layer(batch.reshape(2, 1, 1, 2))
    return layer.buffers["running_mean"].item(), layer.buffers["running_var"].item()


@pytest.mark.parametrize("options", [{"momentum": 0.25}, {"momentum": 0.75, "momentum_convention": "tensorflow"}])
@pytest.mark.parametrize(("unbiased", "variances"), [(True, (20 / 3, 12 / 3)), (False, (20 / 4, 12 / 4))])
def test_both_conventions(options, unbiased, variances):
    """A quarter of the way to each batch's mean and variance, from 0 and 1."""
    mean, var = run(**options, unbiased=unbiased)
    assert mean == pytest.approx(0.75 * 0.25 * 4 + 0.25 * 3, rel=1e-15)
    assert var == pytest.approx(0.75 * (0.75 * 1 + 0.25 * variances[0]) + 0.25 * variances[1], rel=1e-15)


def test_the_convention_matters():
    assert run(momentum=0.25) != run(momentum=0.25, momentum_convention="tensorflow")


@pytest.mark.parametrize(("momentum", "mean", "var"), [(0.0, 0.0, 1.0), (1.0, 3.0, 4.0)])
def test_momentum_0_keeps_the_old_and_1_the_last(momentum, mean, var):
    assert run(momentum=momentum) == (mean, var)


def test_training_normalises_with_the_biased_variance():
    x = BATCHES[0].reshape(2, 1, 1, 2)
    y = nn.BatchNorm2d(1, eps=1e-12, dtype=np.float64)(x)
    np.testing.assert_allclose(y, (x - 4) / np.sqrt(5), rtol=1e-12)


def test_evaluation_uses_the_running_statistics_and_leaves_them():
    layer = nn.BatchNorm2d(1, eps=0.5, dtype=np.float64).eval()
    layer.buffers["running_mean"][...], layer.buffers["running_var"][...] = 2.0, 3.5
    x = BATCHES[0].reshape(2, 1, 1, 2)
    np.testing.assert_allclose(layer(x), (x - 2) / 2, rtol=1e-15)
    assert {name: array.item() for name, array in layer.buffers.items()} == {"running_mean": 2.0, "running_var": 3.5}


def test_backward_is_that_of_the_forward_before_it():
    """Switching the mode between forward and backward changes nothing."""
    x = BATCHES[0].reshape(2, 1, 1, 2)
    dy = BATCHES[1].reshape(2, 1, 1, 2)
    layer = nn.BatchNorm2d(1, dtype=np.float64)
    layer(x)
    np.testing.assert_array_equal(
        layer.eval().backward(dy), npconv.batch_norm2d_backward(dy, x, np.ones(1), np.zeros(1))[0]
    )
    layer(x)
    dx = layer.train().backward(dy)
    np.testing.assert_allclose(dx, dy / np.sqrt(layer.buffers["running_var"] + 1e-5), rtol=1e-14)


def test_one_number_has_no_unbiased_variance():
    x = np.ones((1, 2, 1, 1))
    with pytest.raises(ValueError, match=r"x must have more than one number per channel .* got shape \(1, 2, 1, 1\)"):
        nn.BatchNorm2d(2, dtype=np.float64)(x)
    layer = nn.BatchNorm2d(2, unbiased=False, momentum=0.5, dtype=np.float64)
    np.testing.assert_array_equal(layer(x), 0 * x)
    np.testing.assert_array_equal(layer.buffers["running_var"], [0.5, 0.5])
    assert nn.BatchNorm2d(2, dtype=np.float64).eval()(x).shape == x.shape


def test_empty_batch():
    x = np.ones((0, 2, 3, 3))
    with pytest.raises(ValueError, match="x must have at least one image"):
        nn.BatchNorm2d(2, dtype=np.float64)(x)
    assert nn.BatchNorm2d(2, dtype=np.float64).eval()(x).shape == x.shape
