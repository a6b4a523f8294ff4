"""Which numbers a problem can have, so that they say something."""

from __future__ import annotations

import pytest

from npconv.check.numbers import fits

# Rows are read at -8, -2, -1 and 5, of which the map has none, or at one of them if it is taller.
VALUES = {
    "kernel": (2, 2),
    "stride": 7,
    "dilation": 6,
    "padding": 8,
    "height": 1,
    "width": 219,
    "channels": 4,
    "filters": 8,
    "memory of b": "C order",
}


@pytest.mark.parametrize(
    "label", ["x: zeros of both signs", "x: NaN", "w: large", "dy: tiny", "w: all equal", "dy: 24 bits", "x: ties"]
)
def test_special_numbers_are_where_some_window_reads_a_pixel(label):
    """Elsewhere no result is made of them; but of a bias, which every result has, and of whole numbers."""
    assert not fits("depthwise_conv2d", VALUES | {"numbers": label})
    assert fits("depthwise_conv2d", VALUES | {"height": 6, "numbers": label})
    assert fits("depthwise_conv2d", VALUES | {"numbers": "b: large"})
    assert fits("depthwise_conv2d", VALUES | {"numbers": "whole"})
