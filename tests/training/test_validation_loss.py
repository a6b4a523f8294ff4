"""A loss that is no number on the validation images alone."""

from __future__ import annotations

import numpy as np
import pytest

import npconv
from npconv import nn, optim
from npconv.data import from_arrays
from npconv.training import train


def test_it_ends_the_training() -> None:
    images, labels = np.random.default_rng(0).normal(size=(60, 4, 6)), np.arange(60) % 3
    data = from_arrays(images, labels, name="noise", seed=0)
    spoilt = data._replace(validation=data.validation._replace(images=data.validation.images * np.nan))
    model = nn.Sequential(nn.Flatten(), nn.Linear(24, 3, rng=np.random.default_rng(0)))
    message = r"a lower learning rate may help, got nan on the validation images in epoch 1$"
    with npconv.backend("numpy"), pytest.raises(FloatingPointError, match=message):
        train(model, spoilt, optim.SGD(0.05), epochs=2, batch=8, rng=np.random.default_rng(0))
