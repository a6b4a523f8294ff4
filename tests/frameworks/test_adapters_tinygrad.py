"""The adapter for tinygrad: npconv's results, and reproductions that give its own again."""

from __future__ import annotations

import numpy as np
import pytest
from float32_checks import check_in_float32
from required import framework

from npconv.check.adapters import Unsupported, load
from npconv.testing.strategies import Problem

framework("tinygrad")


def deviates(problem: Problem, direction: str) -> bool:
    """Its gradients take the other side of the kink at 6; that of the interpolation does not compile for every size."""
    return direction == "backward" and problem.op in ("relu6", "hard_swish", "upsample_nearest2d")


@pytest.mark.parametrize(
    "op", ["conv2d", "channel_shuffle", "relu6", "hard_swish", "linear", "upsample_nearest2d", "global_avg_pool2d"]
)
def test_tinygrad(op: str) -> None:
    """Few examples of few operators: tinygrad compiles each one for seconds."""
    check_in_float32(load("tinygrad"), op, examples=2, deviates=deviates)


def test_what_tinygrad_refuses() -> None:
    """In its own words."""
    x = np.ones((1, 1, 2, 2), np.float32)
    with pytest.raises(Unsupported, match="kernel size cannot be greater"):
        load("tinygrad").forward("max_pool2d", (x,), {"kernel": 4, "stride": 1, "ceil_mode": True})
