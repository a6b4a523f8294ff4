"""What is asked of every network: its costs layer by layer, and the gradient of a loss through all of it."""

from __future__ import annotations

import numpy as np
import pytest

import npconv
from npconv import costs, nn


def seeded(seed=0):
    return {"rng": np.random.default_rng(seed)}


class _Blank(np.random.Generator):
    """Zeros for random numbers: to count what a large network costs, its weights need not be drawn."""

    def standard_normal(self, size=None, *_, **__):
        return np.broadcast_to(0.0, size)

    def uniform(self, low=0.0, high=1.0, size=None):
        return np.broadcast_to(0.0, size)


def blank():
    return {"rng": _Blank(np.random.PCG64())}


def images(*shape, seed=1, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def layer_table(net, input_shape):
    """(layer, output's height and width, weights, MACs) of every convolution and linear layer, as the papers list them."""
    weights = {name.rpartition(".")[0]: array.size for name, array in net.named_params() if array.ndim > 1}
    return [
        (layer.layer, *layer.out_shapes[0][2:], weights[layer.layer], layer.cost.macs)
        for layer in costs.count(net, input_shape).layers
        if layer.layer in weights
    ]


def biases(net):
    """How many biases there are, those of batch norm aside."""
    return sum(array.size for name, array in net.named_params() if name.rpartition(".")[2] == "b")


def batch_norm_parameters(net):
    return sum(array.size for name, array in net.named_params() if name.rpartition(".")[2] in ("gamma", "beta"))


def check_slopes(net, x, labels, training):
    """d loss / dt along a random direction of all parameters, and one of the images, is the gradient's inner product with it.

    The step is so small for the kinks' sake: a deep network has thousands of ReLUs.
    """
    rng, step = np.random.default_rng(2), 1e-8
    for _, array in net.named_params():
        if array.ndim == 1:  # not where they begin: a bias of 0 behind a dead ReLU is exactly on the next one's kink
            array += 0.2 * rng.standard_normal(array.shape)
    for _, layer in net.named_layers():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0  # running statistics that are the batch's, so that evaluation saturates no gate
    net.train()(x)
    net.train() if training else net.eval()

    def loss(x):
        return npconv.softmax_cross_entropy(net(x), labels).item()

    logits = net(x)
    dx = net.backward(npconv.softmax_cross_entropy_backward(np.ones(()), logits, labels))
    params = dict(net.named_params())
    start = {name: array.copy() for name, array in params.items()}
    grads = {name: array.copy() for name, array in net.named_grads()}
    assert list(grads) == list(params)
    assert all(grad.any() for grad in grads.values())
    for what in ("parameters", "images"):
        along = {  # each array moves as far as its own numbers spread
            name: rng.standard_normal(array.shape) * array.std() * (what == "parameters")
            for name, array in start.items()
        }
        x_along = rng.standard_normal(x.shape) * (what == "images")
        slope = sum(np.vdot(grads[name], along[name]) for name in params) + np.vdot(dx, x_along)
        losses = []
        for t in (step, -step):
            for name, array in params.items():
                array[...] = start[name] + t * along[name]
            losses.append(loss(x + t * x_along))
        assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(slope, rel=1e-5), what


def check_modes(net, x):
    """Training takes the batch's statistics, runs its own and drops; evaluation is a function of each image by itself."""
    untouched = {name: array.copy() for name, array in net.named_buffers()}
    one, two = net(x), net(x)
    assert (one != two).any() == any("dropout" in path for path, _ in net.named_layers())
    assert all((array != untouched[name]).any() for name, array in net.named_buffers())
    net.eval()
    statistics = {name: array.copy() for name, array in net.named_buffers()}
    y = net(x)
    np.testing.assert_array_equal(net(x), y)
    np.testing.assert_allclose(net(x[:1]), y[:1], rtol=1e-4, atol=1e-4)
    for name, array in net.named_buffers():
        np.testing.assert_array_equal(array, statistics[name], err_msg=name)
    assert net(x[:0]).shape == (0, y.shape[1])
