"""What parameters begin with."""

from __future__ import annotations

import numpy as np
import pytest

from npconv import nn


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (lambda **k: nn.Conv2d(32, 64, 3, groups=2, **k), 16 * 9),
        (lambda **k: nn.DepthwiseConv2d(512, 3, multiplier=2, **k), 9),
        (lambda **k: nn.PointwiseConv2d(64, 128, **k), 64),
        (lambda **k: nn.OctaveConv2d(32, 64, 3, alpha_in=0.25, alpha_out=0.5, **k), 32 * 9),
        (lambda **k: nn.OctaveDepthwiseConv2d(1024, 3, alpha=0.25, **k), 9),
    ],
)
def test_kernels_are_he_normal_in_fan_in(layer, fan_in):
    params = layer(rng=np.random.default_rng(0), dtype=np.float64).params
    w = np.concatenate([array.ravel() for name, array in params.items() if name.startswith("w")])
    z = w * np.sqrt(fan_in / 2)  # standard normal, if it is as documented
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / z.size)
    assert 0.9 < np.mean(np.abs(z) < 1) / 0.6827 < 1.1
    assert all(not array.any() for name, array in params.items() if name.startswith("b"))


def test_linear_is_uniform_within_one_over_the_root_of_fan_in():
    params = nn.Linear(400, 100, rng=np.random.default_rng(0), dtype=np.float64).params
    for array in params.values():
        assert np.abs(array).max() <= 1 / 20
        assert np.abs(array).max() > 0.95 / 20
        assert abs(array.var() * 400 - 1 / 3) < 4 * np.sqrt(4 / 45 / array.size)


def test_batch_norm_begins_as_the_identity():
    layer = nn.BatchNorm2d(3, dtype=np.float64).eval()
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    np.testing.assert_allclose(layer(x), x / np.sqrt(1 + 1e-5), rtol=1e-14)
