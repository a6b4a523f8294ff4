"""An activation that a convolution runs along: the numbers of the two operators, one after the other."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import npconv
from npconv import models, nn
from npconv.backends import record

ACTIVATIONS = {"relu": (npconv.relu, nn.ReLU), "relu6": (npconv.relu6, nn.ReLU6)}
SPECIAL = np.nan, np.inf, -np.inf, -0.0, 6.0


def problems(dtype: Any) -> list[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
    """One for each way through the kernels: sums, transforms, few channels, several groups in a vector, rows, pointwise."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> Any:
        return rng.integers(-2, 3, shape).astype(dtype)

    conv, depthwise, pointwise = npconv.conv2d, npconv.depthwise_conv2d, npconv.pointwise_conv2d
    return [
        (conv, (draw(2, 9, 8, 7), draw(13, 9, 3, 2), draw(13)), {"stride": 2, "padding": 1}),
        (conv, (draw(1, 40, 12, 12), draw(33, 40, 3, 3), None), {"padding": 1}),
        (conv, (draw(2, 3, 9, 11), draw(10, 3, 3, 3), draw(10)), {"stride": 2, "padding": 1}),
        (conv, (draw(2, 12, 6, 9), draw(12, 4, 3, 3), draw(12)), {"groups": 3}),
        (depthwise, (draw(2, 11, 9, 9), draw(11, 1, 3, 3), draw(11)), {"padding": 1}),
        (depthwise, (draw(2, 5, 9, 9), draw(10, 1, 4, 3), None), {"dilation": 2}),
        (pointwise, (draw(2, 16, 5, 6), draw(24, 8, 1, 1), draw(24)), {"groups": 2}),
    ]


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_it_is_the_activation_of_the_result(activation: str, dtype: Any, backend: str) -> None:
    with npconv.backend(backend), np.errstate(invalid="ignore"):
        for (operator, arrays, options), special in itertools.product(problems(dtype), (None, *SPECIAL)):
            x = arrays[0].copy()
            if special is not None:
                x[0, 0, 2, 3] = special
            y = operator(x, *arrays[1:], **options, activation=activation)
            np.testing.assert_array_equal(y, ACTIVATIONS[activation][0](operator(x, *arrays[1:], **options)))


@pytest.mark.parametrize("wrong", ["tanh", "RELU", "", 6, True, ["relu"]])
def test_another_activation_is_refused(wrong: Any) -> None:
    for operator, arrays, options in problems(np.float32):
        with pytest.raises(ValueError, match="activation must be None, 'relu' or 'relu6', got"):
            operator(*arrays, **options, activation=wrong)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_layers_run_it_along_in_evaluation(activation: str, backend: str) -> None:
    """And give the gradients that two layers, one after the other, give."""
    rng = np.random.default_rng(0)
    layers = [
        nn.Conv2d(4, 6, 3, rng=rng),
        nn.DepthwiseConv2d(6, 3, bias=False, rng=rng),
        nn.PointwiseConv2d(6, 5, rng=rng),
        nn.SeparableConv2d(5, 7, 3, rng=rng),
    ]
    act = ACTIVATIONS[activation][1]
    chain = [layer for conv in layers for layer in (conv, act())]
    net = nn.Sequential(*chain).eval()
    x = rng.standard_normal((2, 4, 11, 12), dtype=np.float32) * 4
    with npconv.backend(backend):
        with record() as calls:
            y = net(x)
        assert [name for name, _ in calls].count(activation) == 1  # the separable convolution's
        apart = x
        for layer in chain:
            apart = layer.eval()(apart)
        np.testing.assert_array_equal(y, apart)
        dy = rng.standard_normal(y.shape, dtype=np.float32)
        dx = dy
        for layer in reversed(chain):
            dx = layer.backward(dx)
        expected = [dx, *(grad.copy() for _, grad in net.named_grads() if grad is not None)]
        net(x)
        for one, other in zip(
            [net.backward(dy), *(g for _, g in net.named_grads() if g is not None)], expected, strict=True
        ):
            np.testing.assert_array_equal(one, other)


def test_a_folded_network_has_no_activation_of_its_own() -> None:
    """What stands behind a convolution once its batch norm is folded runs with it, so one sweep less for each."""
    net = nn.fold_batch_norm(models.tiny_mobilenet(rng=np.random.default_rng(0)))
    x = np.random.default_rng(1).standard_normal((2, 1, 8, 8), dtype=np.float32)
    with record() as calls:
        net(x)
    assert not {"relu", "relu6"} & {name for name, _ in calls}
