"""The moving average of a model."""

from __future__ import annotations

import numpy as np
import pytest

from npconv import nn, optim


def test_the_average_is_its_formula():
    model = nn.BatchNorm2d(1, dtype=np.float64)
    average = optim.Average(model, 0.5)
    expected = {name: array.copy() for name, array in model.state().items()}
    for step in range(1, 12):
        for place, array in enumerate(model.state().values()):
            array[...] = step + place
        average.update(model)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, array in model.state().items():
            expected[name] = decay * expected[name] + (1 - decay) * array
    for name, array in average.arrays.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-14)


def test_it_stands_in_for_a_block_whatever_happens_there():
    model = nn.Linear(1, 1, rng=np.random.default_rng(0), dtype=np.float16)
    average = optim.Average(model, 0.9)
    model.params["w"][...] = 5
    with pytest.raises(ZeroDivisionError), average.in_place_of(model):
        1 / (model.params["w"].item() == 5)
    assert model.params["w"] == 5
    assert {array.dtype for array in average.arrays.values()} == {np.dtype(np.float32)}


def test_a_decay_of_one_is_no_average():
    with pytest.raises(ValueError, match="decay must be in"):
        optim.Average(nn.ReLU(), 1.0)
