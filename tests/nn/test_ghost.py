"""The ghost module beside the ghost operator."""

from __future__ import annotations

import numpy as np
import pytest

import npconv
from npconv import nn

X = np.random.default_rng(1).standard_normal((2, 4, 6, 6))


def ghost(*sizes, **options):
    return nn.GhostModule(*sizes, rng=np.random.default_rng(0), dtype=np.float64, **options)


@pytest.mark.parametrize("ratio", [1, 2, 3])
@pytest.mark.parametrize("out_channels", [6, 7])
def test_without_norm_and_activation_it_is_the_operator(ratio, out_channels):
    layer = ghost(4, out_channels, 3, ratio=ratio, stride=2, activation=False).eval()
    for name, array in layer.named_buffers():
        if name.endswith("running_var"):
            array[...] = 1 - 1e-5  # with eps, exactly 1
    state = layer.state()
    expected = npconv.ghost_conv2d(
        X, state["primary.conv.w"], state.get("cheap.conv.w"), stride=2, padding=1, out_channels=out_channels
    )
    np.testing.assert_allclose(layer(X), expected, rtol=1e-12, atol=1e-12)


def test_at_ratio_1_it_is_the_primary_part():
    layer = ghost(4, 6, ratio=1)
    assert list(layer.children()) == ["primary"]
    np.testing.assert_array_equal(layer(X), layer.primary(X))


def test_the_cheap_part_reads_the_activated_primary():
    layer = ghost(4, 6)
    y = layer(X)
    relu = layer.primary(X)
    assert (relu >= 0).all()
    np.testing.assert_array_equal(y[:, :3], relu)
    np.testing.assert_array_equal(y[:, 3:], layer.cheap(relu))


def test_cut_ghosts_cost_parameters_and_learn_nothing():
    layer = ghost(4, 7)
    assert layer.params == {}
    assert dict(layer.named_params())["cheap.conv.w"].shape == (4, 1, 3, 3)
    layer.backward(np.random.default_rng(2).standard_normal(layer(X).shape))
    grads = dict(layer.named_grads())
    assert grads["cheap.conv.w"][:3].all()
    assert not grads["cheap.conv.w"][3].any()


def test_names():
    assert list(dict(ghost(4, 6).named_params())) == [
        "primary.conv.w", "primary.bn.gamma", "primary.bn.beta", "cheap.conv.w", "cheap.bn.gamma", "cheap.bn.beta",
    ]  # fmt: skip
    assert [path for path, _ in ghost(4, 6, ratio=1).named_layers()] == [
        "",
        "primary",
        "primary.conv",
        "primary.bn",
        "primary.relu",
    ]
