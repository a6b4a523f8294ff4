"""Costs against XLA's cost analysis, which leaves out the taps that fall on padding: grouped, depthwise, all three directions.

What is analysed is the program as JAX hands it to XLA, before any optimisation, so that nothing is compiled and nothing
is rewritten. Each direction is one convolution there, each tap inside the image 2 FLOPs; the kernel's reversal and, in
groups, its transposition are counted as none. The gradients are JAX's own transposes: the input gradient as a
convolution of a dilated dy, the weight gradient as one with batch groups.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from required import framework

import npconv
from npconv import backends, costs, nn

jax = framework("jax")

LAYERS = 300

Shape = tuple[int, ...]
Options = dict[str, Any]


@pytest.mark.parametrize("seed", range(LAYERS))
def test_a_random_layer(seed: int) -> None:
    x_shape, w_shape, options = random_layer(np.random.default_rng(seed))
    x, w = (jax.ShapeDtypeStruct(shape, np.float32) for shape in (x_shape, w_shape))

    def conv(x: Any, w: Any) -> Any:
        return jax.lax.conv_general_dilated(
            x,
            w,
            window_strides=options["stride"],
            padding=options["padding"],
            rhs_dilation=options["dilation"],
            feature_group_count=options["groups"],
        )

    dy = jax.eval_shape(conv, x, w)
    forward = analysed(conv, x, w)
    input_grad = analysed(lambda dy, w: jax.linear_transpose(lambda x: conv(x, w), x)(dy), dy, w)
    weight_grad = analysed(lambda dy, x: jax.linear_transpose(lambda w: conv(x, w), w)(dy), dy, x)

    assert costs.conv2d(x_shape, w_shape, **options, count_padding=False).flops == forward
    assert costs.conv2d(x_shape, w_shape, **options, direction="input_grad", count_padding=False).flops == input_grad
    assert costs.conv2d(x_shape, w_shape, **options, direction="weight_grad", count_padding=False).flops == weight_grad

    layer = nn.Conv2d(x_shape[1], w_shape[0], w_shape[2:], **options, bias=False, rng=np.random.default_rng(0))
    assert costs.count(layer, x_shape, count_padding=False).flops == forward
    with npconv.backend("numpy"), backends.record() as calls:
        layer.backward(np.zeros_like(layer(np.zeros(x_shape, np.float32))))
    walked = [costs.call_cost(*call, count_padding=False).cost.flops for call in calls]
    assert walked == [forward, input_grad, weight_grad]


def analysed(run: Callable[..., Any], *arguments: Any) -> int:
    """The FLOPs that XLA counts in `run`: a float32, exact below 2**24, and left out where no tap is in the image."""
    return int(jax.jit(run).lower(*arguments).cost_analysis().get("flops", 0))


def random_layer(rng: np.random.Generator) -> tuple[Shape, Shape, Options]:
    """x (N, C, H, W), w (O, C / groups, kh, kw) and options: about a third each standard, grouped and depthwise.

    Padding differs from side to side, may be larger than the kernel, and is none in a fifth. The kernel fits into the padded input.
    """
    batch, in_per_group, out_per_group = rng.integers(1, 5, 3).tolist()
    groups = int(rng.integers(2, 6))
    match rng.integers(3):
        case 0:
            groups = 1
        case 1:
            in_per_group = 1
    kernel, stride, dilation = rng.integers(1, 6, 2), rng.integers(1, 4, 2), rng.integers(1, 4, 2)
    padding = rng.integers(0, rng.integers(1, 6), (2, 2))
    smallest = np.maximum(dilation * (kernel - 1) + 1 - padding.sum(axis=1), 1)
    size = smallest + rng.integers(0, 12, 2)
    return (
        (batch, groups * in_per_group, *size.tolist()),
        (groups * out_per_group, in_per_group, *kernel.tolist()),
        {
            "stride": tuple(stride.tolist()),
            "padding": tuple(map(tuple, padding.tolist())),
            "dilation": tuple(dilation.tolist()),
            "groups": groups,
        },
    )
