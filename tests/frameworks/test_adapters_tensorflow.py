"""The adapters for TensorFlow and Keras: npconv's results, and reproductions that give their own again."""

from __future__ import annotations

import numpy as np
import pytest
from float32_checks import check_in_float32, is_empty
from required import framework

from npconv.check.adapters import Unsupported, load
from npconv.testing.strategies import OPERATORS, Problem

framework("tensorflow")
framework("keras")


def tensorflow_deviates(problem: Problem, direction: str) -> bool:
    """Empty batches get the input's shape. One channel with unequal strides loses results, in a depthwise convolution."""
    strides = problem.options.get("stride", 1)
    unequal = isinstance(strides, tuple) and strides[0] != strides[1]
    return is_empty(problem) or (unequal and "depthwise" in problem.op)


@pytest.mark.parametrize("op", OPERATORS)
def test_tensorflow(op: str) -> None:
    check_in_float32(load("tensorflow"), op, examples=12, deviates=tensorflow_deviates)


@pytest.mark.parametrize("op", OPERATORS)
def test_keras(op: str) -> None:
    """Few examples: Keras compiles its convolutions in groups with XLA."""
    adapter = load("keras")
    if op in adapter.OPERATORS:
        check_in_float32(adapter, op, examples=5, deviates=tensorflow_deviates)


@pytest.mark.parametrize(
    ("op", "shapes", "options", "direction", "words"),
    [
        ("conv2d", [(1, 4, 5, 5), (4, 2, 3, 3)], {"groups": 2, "padding": 1}, "backward", "grouped convolutions"),
        ("conv2d", [(1, 1, 5, 5), (1, 1, 2, 2)], {"dilation": 2, "padding": 1}, "backward", "dilation rates larger"),
        ("depthwise_conv2d", [(1, 2, 9, 9), (2, 1, 2, 2)], {"stride": 2, "dilation": 2}, "forward", "must be 1"),
        (
            "separable_conv2d",
            [(1, 2, 9, 9), (2, 1, 2, 2), (1, 2, 1, 1)],
            {"stride": 2, "dilation": 2},
            "forward",
            "be 1",
        ),
        ("max_pool2d", [(1, 1, 5, 5)], {"kernel": 2, "ceil_mode": True}, "forward", "no ceil mode"),
        ("avg_pool2d", [(1, 1, 5, 5)], {"kernel": 2, "padding": 1}, "forward", "Expected string"),
    ],
)
def test_what_tensorflow_cannot_do(op, shapes, options, direction, words) -> None:
    """In its own words."""
    problem = Problem(op, tuple(np.ones(shape, np.float32) for shape in shapes), options)
    before = (problem.forward(),) if direction == "backward" else ()
    with pytest.raises(Unsupported, match=words):
        getattr(load("tensorflow"), direction)(op, *before, problem.args, options)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_dtype_is_kept(dtype: type) -> None:
    for name in ("tensorflow", "keras"):
        adapter, x = load(name), np.ones((1, 2, 3, 3), dtype)
        assert adapter.forward("conv2d", (x, x), {}).dtype == dtype
        assert adapter.backward("conv2d", x[:, :1, :1, :1], (x, x[:1]), {})[0].dtype == dtype
