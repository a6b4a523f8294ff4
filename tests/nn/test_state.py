"""What every layer says of itself: its state by name, its mode, its text."""

from __future__ import annotations

import numpy as np
import pytest
from layers import every_layer, given, make, shaken

from npconv import nn

# --- state -------------------------------------------------------------------------------------------------------


@every_layer
def test_state_goes_to_another_layer(name):
    layer, other = shaken(make(name)), make(name, seed=6)
    before = other.state()
    other.load_state({n: array.copy() for n, array in layer.state().items()})
    for n, array in other.state().items():
        assert array is before[n]
        np.testing.assert_array_equal(array, layer.state()[n])
    np.testing.assert_equal(other.eval()(given(name)), layer.eval()(given(name)))


def net(**options):
    rng = np.random.default_rng(0)
    return nn.Sequential(
        conv=nn.Conv2d(2, 3, 3, bias=False, rng=rng, **options), bn=nn.BatchNorm2d(3, **options), relu=nn.ReLU()
    )


def test_names():
    layer = net()
    assert [path for path, _ in layer.named_layers()] == ["", "conv", "bn", "relu"]
    assert [name for name, _ in layer.named_params()] == ["conv.w", "bn.gamma", "bn.beta"]
    assert [name for name, _ in layer.named_buffers()] == ["bn.running_mean", "bn.running_var"]
    assert list(layer.named_grads()) == []
    assert list(layer.state()) == ["conv.w", "bn.gamma", "bn.beta", "bn.running_mean", "bn.running_var"]
    assert layer.state()["conv.w"] is layer.children()["conv"].params["w"]
    assert [name for name, _ in nn.Linear(1, 1, rng=np.random.default_rng(0)).named_params()] == ["w", "b"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda s: s.pop("conv.w"),
            ValueError,
            "state must have the layer's names, shapes and dtypes, got missing: conv.w",
        ),
        (lambda s: s.update(a=s["conv.w"], b=s["conv.w"]), ValueError, "got extra: a, b"),
        (
            lambda s: s.update({"conv.w": np.zeros((3, 2, 3, 1), np.float32)}),
            ValueError,
            r"got different: conv.w is float32 \(3, 2, 3, 1\) for float32 \(3, 2, 3, 3\)",
        ),
        (
            lambda s: s.update({"bn.running_var": np.zeros(3)}),
            ValueError,
            r"got different: bn.running_var is float64 \(3,\) for float32 \(3,\)",
        ),
        (
            lambda s: s.update({"x": s.pop("bn.gamma"), "bn.beta": np.zeros(4, np.float32)}),
            ValueError,
            r"got missing: bn.gamma; extra: x; different: bn.beta is float32 \(4,\) for float32 \(3,\)",
        ),
        (
            lambda s: s.update({"bn.gamma": [1, 2, 3]}),
            TypeError,
            "state must be a mapping of names to arrays, got 'bn.gamma': list",
        ),
    ],
)
def test_load_state_changes_all_or_nothing(change, error, message):
    layer = net()
    state = {name: np.full_like(array, 7) for name, array in layer.state().items()}
    change(state)
    before = {name: array.copy() for name, array in layer.state().items()}
    with pytest.raises(error, match=message):
        layer.load_state(state)
    for name, array in layer.state().items():
        np.testing.assert_array_equal(array, before[name])


def test_load_state_wants_a_mapping():
    with pytest.raises(TypeError, match="state must be a mapping of names to arrays, got list"):
        net().load_state([1])


# --- modes and text ----------------------------------------------------------------------------------------------


@every_layer
def test_modes_reach_every_layer(name):
    layer = make(name)
    assert all(inner.training for _, inner in layer.named_layers())
    assert layer.eval() is layer
    assert not any(inner.training for _, inner in layer.named_layers())
    assert layer.train() is layer
    assert all(inner.training for _, inner in layer.named_layers())


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (lambda **k: nn.Conv2d(2, 4, 3, **k), "Conv2d(2, 4, 3)"),
        (
            lambda **k: nn.Conv2d(2, 4, (3, 1), stride=2, padding="same", groups=2, bias=False, **k),
            "Conv2d(2, 4, (3, 1), stride=2, padding='same', groups=2, bias=False)",
        ),
        (
            lambda **k: nn.OctaveConv2d(2, 4, 1, alpha_in=0, alpha_out=0.5, **k),
            "OctaveConv2d(2, 4, 1, alpha_in=0, alpha_out=0.5)",
        ),
        (lambda **k: nn.BatchNorm2d(4, momentum=0.99, momentum_convention="tensorflow"),
         "BatchNorm2d(4, momentum=0.99, momentum_convention='tensorflow')"),
        (lambda **k: nn.Dropout(0.5, **k), "Dropout(0.5)"),
        (lambda **k: nn.ReLU(), "ReLU()"),
        (lambda **k: nn.Sequential(), "Sequential()"),
        (
            lambda **k: nn.Residual(nn.Sequential(nn.ReLU(), out=nn.Linear(2, 2, **k))),
            "Residual\n  main: Sequential\n    0: ReLU()\n    out: Linear(2, 2)\n  shortcut: Identity()",
        ),
        (
            lambda **k: nn.GhostModule(4, 6, activation=False, **k),
            "GhostModule(4, 6, 1, activation=False)\n"
            "  primary: Sequential\n    conv: Conv2d(4, 3, 1, padding=(0, 0), bias=False)\n    bn: BatchNorm2d(3)\n"
            "  cheap: Sequential\n    conv: DepthwiseConv2d(3, 3, padding='same', bias=False)\n    bn: BatchNorm2d(3)",
        ),
    ],
)  # fmt: skip
def test_text(layer, text):
    assert repr(layer(rng=np.random.default_rng(0))) == text


@every_layer
def test_text_names_every_layer(name):
    layer = make(name)
    lines = repr(layer).splitlines()
    assert len(lines) == len(list(layer.named_layers()))
    for line, (path, inner) in zip(lines, layer.named_layers(), strict=True):
        depth = path.count(".") + bool(path)
        assert line.startswith("  " * depth + (path.rpartition(".")[2] + ": " if path else "") + type(inner).__name__)
