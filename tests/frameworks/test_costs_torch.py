"""Costs against PyTorch's own counter, which counts every tap of every window, those on padding too, as the papers do.

Only without groups: the counter reads the weight gradient's cost off shapes that do not tell the groups.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from required import framework

import npconv
from npconv import backends, costs, nn

torch = framework("torch")
FlopCounterMode = framework("torch.utils.flop_counter").FlopCounterMode

LAYERS = 300


@pytest.mark.parametrize("seed", range(LAYERS))
def test_a_random_layer(seed: int) -> None:
    x_shape, w_shape, options = random_layer(np.random.default_rng(seed))
    # The counter reads shapes alone, so there need be no numbers.
    x, w = (torch.empty(shape, device="meta", requires_grad=True) for shape in (x_shape, w_shape))
    y, forward = counted(torch.nn.functional.conv2d, x, w, **options)
    dy = torch.empty_like(y)
    _, input_grad = counted(torch.autograd.grad, y, x, dy, retain_graph=True)
    _, weight_grad = counted(torch.autograd.grad, y, w, dy)

    assert costs.conv2d(x_shape, w_shape, **options).flops == forward
    assert costs.conv2d(x_shape, w_shape, **options, direction="input_grad").flops == input_grad
    assert costs.conv2d(x_shape, w_shape, **options, direction="weight_grad").flops == weight_grad

    layer = nn.Conv2d(x_shape[1], w_shape[0], w_shape[2:], **options, bias=False, rng=np.random.default_rng(0))
    assert costs.count(layer, x_shape).flops == forward
    with npconv.backend("numpy"), backends.record() as calls:
        layer.backward(np.zeros_like(layer(np.zeros(x_shape, np.float32))))
    walked = [costs.call_cost(primitive, arguments).cost.flops for primitive, arguments in calls]
    assert walked == [forward, input_grad, weight_grad]


def counted(run: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, int]:
    """What `run` returns, and the FLOPs that PyTorch counts in it: 2 per multiply-accumulate."""
    with FlopCounterMode(display=False) as counter:
        result = run(*arguments, **options)
    return result, counter.get_total_flops()


def random_layer(rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, tuple[int, int]]]:
    """x (N, C, H, W), w (O, C, kh, kw) and options of a convolution whose kernel fits into its padded input."""
    batch, in_channels, out_channels = rng.integers(1, 9, 3).tolist()
    kernel, stride, dilation = rng.integers(1, 6, 2), rng.integers(1, 4, 2), rng.integers(1, 4, 2)
    padding = rng.integers(0, rng.integers(1, 6), 2)
    smallest = np.maximum(dilation * (kernel - 1) + 1 - 2 * padding, 1)
    size = smallest + rng.integers(0, 12, 2)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    return (
        (batch, in_channels, *size.tolist()),
        (out_channels, in_channels, *kernel.tolist()),
        {name: tuple(value.tolist()) for name, value in options.items()},
    )
