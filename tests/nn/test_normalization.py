"""Batch norm's running statistics."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import npconv
from npconv import nn
from npconv.nn.normalization import synchronised

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


# --- float16 ---


@pytest.mark.parametrize("spread", [1.0, 300.0, 8000.0])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_float16_is_float32_rounded_once(spread, activation, backend):
    """Also where the variance is above float16's largest number, which a standard deviation of 256 makes it."""
    rng = np.random.default_rng(0)
    x, dy = (spread * rng.standard_normal((4, 3, 5, 5)) + 100).astype(np.float16), rng.standard_normal((4, 3, 5, 5))
    half, single = nn.BatchNorm2d(3, dtype=np.float16), nn.BatchNorm2d(3)
    y, exact = half.forward_activated(x, activation), single.forward_activated(x.astype(np.float32), activation)
    np.testing.assert_array_equal(y, exact.astype(np.float16))
    dy = dy.astype(np.float16)
    dx, dexact = half.backward(dy), single.backward(dy.astype(np.float32))
    np.testing.assert_array_equal(dx, dexact.astype(np.float16))
    assert np.abs(dx).max() > 0
    for name in ("gamma", "beta"):
        assert half.grads[name].dtype == np.float16
        np.testing.assert_array_equal(half.grads[name], single.grads[name].astype(np.float16))
    for name, array in half.buffers.items():
        assert array.dtype == np.float32
        assert np.isfinite(array).all()
        np.testing.assert_array_equal(array, single.buffers[name])
    np.testing.assert_array_equal(half.eval()(x), single.eval()(x.astype(np.float32)).astype(np.float16))


def test_float16_is_not_mixed():
    layer, x = nn.BatchNorm2d(1, dtype=np.float16), np.ones((2, 1, 2, 2), np.float16)
    with pytest.raises(TypeError, match="dtype"):
        layer(x.astype(np.float32))
    layer(x)
    with pytest.raises(TypeError, match="dtype"):
        layer.backward(x.astype(np.float32))


# --- several processes ---


class Processes:
    """As many threads as batches, each with its own layer; the sum is made in their order."""

    def __init__(self, count):
        self.barrier, self.arrays = threading.Barrier(count), [None] * count

    def total(self, rank):
        def add(array):
            self.arrays[rank] = array
            self.barrier.wait()
            result = sum(self.arrays)
            self.barrier.wait()
            return result

        return add


def test_shared_statistics_are_those_of_the_whole_batch():
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((7, 3, 4, 5)) for _ in range(2))
    alone, layers = nn.BatchNorm2d(3, dtype=np.float64), [nn.BatchNorm2d(3, dtype=np.float64) for _ in range(2)]
    for layer in (alone, *layers):
        layer.params["gamma"][...], layer.params["beta"][...] = [1.0, -2.0, 3.0], [0.5, 1.0, -1.0]
    processes, cuts, results = Processes(2), (slice(0, 5), slice(5, 7)), [None, None]

    def work(rank):
        with synchronised(processes.total(rank)):
            y = layers[rank].forward_activated(x[cuts[rank]], "relu")
            results[rank] = y, layers[rank].backward(dy[cuts[rank]])

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = alone.forward_activated(x, "relu"), alone.backward(dy)
    for place in range(2):
        np.testing.assert_allclose(np.concatenate([one[place] for one in results]), expected[place], atol=1e-13)
    for name, grad in alone.grads.items():
        np.testing.assert_allclose(sum(layer.grads[name] for layer in layers), grad, atol=1e-12)
    for name, array in alone.buffers.items():
        for layer in layers:
            np.testing.assert_allclose(layer.buffers[name], array, rtol=1e-13)
