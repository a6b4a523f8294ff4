"""Maps that are filtered copies of each other are found to be, and energies are where they were put."""

from __future__ import annotations

import numpy as np
import pytest

import npconv
from npconv import nn
from npconv.studies import band_energies, pair_errors
from npconv.studies.maps import maps_of

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_filtered_copy_is_predicted_by_a_filter_of_its_size(kernel: int) -> None:
    x = RNG.standard_normal((6, 1, 9, 8))
    w = RNG.standard_normal((1, 1, kernel, kernel))
    copied = npconv.depthwise_conv2d(x, w, padding=kernel // 2)
    noise = RNG.standard_normal((6, 1, 9, 8))
    maps = np.concatenate([x, copied + 3, noise, np.ones_like(x)], axis=1)
    errors = pair_errors(maps, kernel)
    assert errors[1] < 1e-20
    assert errors[2] > 0.8
    assert np.isnan(errors[3])
    if kernel > 1:
        assert pair_errors(maps, kernel - 2)[1] > 1e-3  # a smaller one does not


def test_larger_filters_are_never_worse() -> None:
    maps = RNG.standard_normal((4, 5, 7, 7))
    one, three, five = (pair_errors(maps, kernel) for kernel in (1, 3, 5))
    assert (five <= three + 1e-12).all()
    assert (three <= one + 1e-12).all()


def test_bad_maps() -> None:
    with pytest.raises(ValueError, match="kernel must be odd, got kernel=2"):
        pair_errors(RNG.random((1, 2, 4, 4)), 2)
    with pytest.raises(ValueError, match="maps must have at least two channels, got 1"):
        pair_errors(RNG.random((1, 1, 4, 4)), 1)
    with pytest.raises(ValueError, match="image must have 2 axes, got 3"):
        band_energies(RNG.random((1, 4, 4)))


def test_energies_add_up_and_a_blurred_picture_has_low_ones() -> None:
    image = RNG.standard_normal((64, 48))
    frequencies, energies = band_energies(image)
    assert len(frequencies) == 32
    assert energies.sum() == pytest.approx(1)
    low = image.reshape(32, 2, 24, 2).mean(axis=(1, 3)).repeat(2, axis=0).repeat(2, axis=1)
    assert band_energies(low)[1][:16].sum() > energies[:16].sum() + 0.2


def test_the_maps_of_a_layer() -> None:
    net = nn.Sequential(a=nn.Sequential(conv=nn.Conv2d(1, 2, 3, rng=np.random.default_rng(0))), b=nn.ReLU())
    x = RNG.standard_normal((2, 1, 5, 5)).astype(np.float32)
    np.testing.assert_array_equal(maps_of(net, "a.conv", x), net.a(x))
