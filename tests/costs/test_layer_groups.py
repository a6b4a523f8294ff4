"""Groups of layers that make several calls."""

from __future__ import annotations

import numpy as np

from npconv import costs, nn


def test_a_layer_has_the_most_groups_of_its_calls() -> None:
    rng = np.random.default_rng(0)
    separable = nn.SeparableConv2d(4, 6, 3, padding=1, rng=rng)
    (layer,) = [row for row in costs.count(separable, (1, 4, 5, 7)).layers if row.calls]
    assert [call.groups for call in layer.calls] == [4, 1]
    assert layer.groups == 4


def test_a_layer_without_calls_has_one() -> None:
    assert costs.LayerCost("", "Identity", (), 0, ()).groups == 1
