"""The adapters for ONNX Runtime and ONNX's reference evaluator: npconv's results, and reproductions that give theirs again."""

from __future__ import annotations

import numpy as np
import pytest
from float32_checks import check_in_float32, is_empty
from required import framework

from npconv.check.adapters import Unsupported, load
from npconv.testing.strategies import OPERATORS, Problem

framework("onnx")
framework("onnxruntime")


def pools_with_holes(problem: Problem) -> bool:
    """SAME with a stride beyond the kernel: the padding is taken for negative."""
    return problem.op in ("avg_pool2d", "max_pool2d") and problem.options["padding"] in ("same", "same_lower")


def reference_deviates(problem: Problem, direction: str) -> bool:
    """Its transposed convolution fails with groups, its pools in ceil mode, and the one over all pixels on no images."""
    ceil = problem.op.endswith("pool2d") and (
        problem.options.get("ceil_mode") or problem.options.get("padding") in ("same", "same_lower")
    )
    octave = problem.op == "octave_conv2d" and problem.options["stride"] in (2, (2, 2))
    return direction == "backward" or is_empty(problem) or bool(ceil) or octave


@pytest.mark.parametrize("op", OPERATORS)
def test_onnxruntime(op: str) -> None:
    check_in_float32(load("onnxruntime"), op, examples=10, deviates=lambda problem, _: pools_with_holes(problem))


@pytest.mark.parametrize("op", OPERATORS)
def test_the_reference(op: str) -> None:
    check_in_float32(load("onnx_reference"), op, examples=10, deviates=reference_deviates)


X, W = np.ones((1, 2, 4, 4)), np.ones((2, 2, 3, 3))


def test_what_onnxruntime_cannot_do() -> None:
    """In its own words."""
    adapter = load("onnxruntime")
    with pytest.raises(Unsupported, match="Could not find an implementation for Conv"):
        adapter.forward("conv2d", (X, W), {})
    with pytest.raises(Unsupported, match="Dilation not supported for AutoPadType"):
        adapter.forward("conv2d", tuple(a.astype(np.float32) for a in (X, W)), {"padding": "same", "dilation": 2})


@pytest.mark.parametrize("name", ["onnxruntime", "onnx_reference"])
def test_what_onnx_cannot_say(name: str) -> None:
    with pytest.raises(Unsupported, match="ONNX has no gradients"):
        load(name).backward("relu", X, (X,), {})
    with pytest.raises(Unsupported, match="counts no window of 5"):
        load(name).forward("max_pool2d", (X,), {"kernel": 5, "stride": 1, "ceil_mode": True})


def test_batch_norm_leaves_the_arrays_alone() -> None:
    """ONNX Runtime writes the running statistics over those that it is fed."""
    x, gamma, beta = np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2), np.float32([2.0]), np.float32([3.0])
    load("onnxruntime").forward("batch_norm2d", (x, gamma, beta), {})
    assert (gamma, beta) == (2.0, 3.0)
