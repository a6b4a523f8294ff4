"""What is found in maps and in a photograph, by networks whose maps are known."""

from __future__ import annotations

import numpy as np
import pytest

from npconv import nn
from npconv.data import from_arrays
from npconv.studies import FINDINGS, STUDIES, photograph_energies, predicted_maps


def test_findings_are_those_of_studies() -> None:
    assert set(FINDINGS) <= set(STUDIES)


def test_maps_that_are_shifted_copies_are_predicted_by_filters_that_reach_so_far() -> None:
    """The first map is the image, the second the image one pixel to the left."""
    rng = np.random.default_rng(0)
    dataset = from_arrays(rng.normal(size=(40, 12, 12)), np.arange(40) % 2, name="noise", seed=0)
    conv = nn.Conv2d(1, 2, 3, padding=1, bias=False, rng=rng)
    conv.params["w"][...] = 0
    conv.params["w"][0, 0, 1, 1] = conv.params["w"][1, 0, 1, 2] = 1
    finding = predicted_maps({"s = 1, plain": nn.Sequential(block1=conv)}, dataset)
    assert list(finding.lines) == ["d = 1", "d = 3", "d = 5", "d = 7"]
    assert finding.lines["d = 1"][1].min() > 0.9
    assert finding.lines["d = 3"][1].max() < 0.15  # all but the last column, which no filter sees
    assert "of the maps of block1" in finding.sentence


def test_the_photograph_keeps_its_energy_in_low_frequencies() -> None:
    pytest.importorskip("sklearn")
    dataset = from_arrays(np.random.default_rng(0).random((10, 4, 4)), np.arange(10) % 2, name="noise", seed=0)
    finding = photograph_energies({}, dataset)
    frequencies, whole = finding.lines["photograph"]
    assert finding.logarithmic
    assert whole.sum() == pytest.approx(1)
    assert whole[frequencies < 0.25].sum() > 0.9
    kept, lost = (finding.lines[label][1].sum() for label in ("what half the size keeps", "what it loses"))
    assert kept + lost == pytest.approx(1, abs=1e-6)  # what is lost is orthogonal to what is kept
