"""The fingerprint over many seeds and sizes of sums.

It needs no framework; it takes too long for the tests that everybody runs.
"""

from __future__ import annotations

import numpy as np
import pytest
from required import thorough
from simulated import SIMULATED

from npconv.check.arithmetic import NONE_KNOWN, fingerprint

thorough()

SEEDS = 8
ALSO_RIGHT = {
    "float32, Strassen": NONE_KNOWN,  # whose blocks show only where they are even
    "3 bfloat16 parts of each factor, float32 sums": "float32, direct sums",  # they keep all bits of a factor
}


@pytest.mark.parametrize("name", SIMULATED)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_simulated_arithmetics_are_named(name, seed):
    """Sums of 9 to 4608 terms, images and filters of any number and size."""
    rng = np.random.default_rng(seed)
    channels = round(512 ** (seed / (SEEDS - 1)))
    out_channels, size = int(rng.integers(8, 13)), int(rng.integers(10, 13))
    forward = SIMULATED[name][seed % len(SIMULATED[name])]
    found = fingerprint(forward, channels=channels, out_channels=out_channels, size=size, seed=seed)
    assert found.name in (name, ALSO_RIGHT.get(name)), str(found)
