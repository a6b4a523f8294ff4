"""The adapter for OpenVINO: npconv's results in float32, reproductions that give its own again, and what it takes by default."""

from __future__ import annotations

import numpy as np
import pytest
from float32_checks import check_in_float32, is_empty
from required import framework

from npconv.check.adapters import Unsupported, load
from npconv.testing.strategies import OPERATORS, Problem

framework("onnx")
framework("openvino")


def deviates(problem: Problem, direction: str) -> bool:
    """Empty batches fail here and there; pools in ceil mode have windows of padding alone, and other divisors."""
    return is_empty(problem) or bool(problem.options.get("ceil_mode"))


@pytest.mark.parametrize("op", OPERATORS)
def test_openvino(op: str) -> None:
    """Few examples: each one is compiled, four times."""
    check_in_float32(load("openvino"), op, examples=4, deviates=deviates)


def test_what_openvino_refuses() -> None:
    """In its own words."""
    with pytest.raises(Unsupported, match="batch_size"):
        load("openvino").forward("max_pool2d", (np.ones((0, 1, 2, 2), np.float32),), {"kernel": 2})


def test_the_default_precision_is_the_plugins_own() -> None:
    """Float32, or what this processor multiplies faster; whole numbers of few bits are exact in both."""
    settings = load("openvino_default").arithmetic_settings()
    assert settings["inference precision"] in ("f32", "bf16", "f16")
    assert load("openvino").arithmetic_settings()["inference precision"] == "f32"
    check_in_float32(load("openvino_default"), "conv2d", examples=4, deviates=deviates)
