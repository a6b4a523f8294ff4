"""Images that say what they are: what tests of data share."""

from __future__ import annotations

import numpy as np

from npconv.data import Dataset

LABELS = np.arange(30, dtype=np.uint8) % 3
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 200, (30, 8, 8), dtype=np.uint8)
GREY[:, 0, 0] = 10 * LABELS + 3  # each image says what it is
COLOUR = RNG.integers(0, 200, (30, 3, 32, 32), dtype=np.uint8)
COLOUR[:, 0, 0, 0] = 10 * LABELS + 3


def assert_labelled(data: Dataset, step: float = 10.0, first: float = 3.0) -> None:
    """Each image has the label that its first pixel says."""
    for part in (data.train, data.validation, data.test):
        pixel = part.images[:, 0, 0, 0] * data.std[0] + data.mean[0]
        np.testing.assert_allclose(pixel, step * part.labels + first, atol=1e-3)


def sizes(data: Dataset) -> list[int]:
    return [len(part.labels) for part in (data.train, data.validation, data.test)]
