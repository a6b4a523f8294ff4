"""No miss: a bug at a level of a feature is shown by the default run. All levels, at five seeds, are in tests/frameworks."""

from __future__ import annotations

import pytest
from planted_levels import bugs, shown_rarely

from npconv.check.features import FEATURES

EVERY = 8  # one bug in so many


def test_there_are_hundreds():
    assert sum(len(list(bugs(op))) for op in FEATURES) > 1000


@pytest.mark.slow
@pytest.mark.parametrize("op", ["pointwise_conv2d", "octave_depthwise_conv2d", "batch_norm2d", "softmax_cross_entropy"])
def test_a_level_is_guarded(op):
    """Of all its levels some, memory and numbers among them."""
    rare = shown_rarely(op, list(bugs(op))[::EVERY], seed=0)
    assert not [place for place, count in rare.items() if not count]
