"""Every layer of `npconv.nn`, with an input and what it makes of it: what the tests of layers run over."""

from __future__ import annotations

import numpy as np
import pytest

from npconv import OctaveMap, nn
from npconv.testing import map_arrays


def plain(*shape):
    return lambda rng: rng.standard_normal(shape)


def octave(high, low):
    return lambda rng: OctaveMap(*(None if shape is None else rng.standard_normal(shape) for shape in (high, low)))


IMAGE = plain(2, 4, 5, 6)
PAIR = octave((2, 3, 5, 6), (2, 3, 3, 3))
FIT = {"padding": 1, "bias": False}  # a 3x3 convolution that keeps the size

# name: (layer of an rng and a dtype, its input of an rng, the shape of its output, its parameters)
LAYERS = {
    "conv": (lambda **k: nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, **k), IMAGE, (2, 6, 3, 3), 114),
    "conv without bias": (lambda **k: nn.Conv2d(4, 6, (1, 3), dilation=2, bias=False, **k), IMAGE, (2, 6, 5, 2), 72),
    "depthwise": (lambda **k: nn.DepthwiseConv2d(4, 3, multiplier=2, padding="same", **k), IMAGE, (2, 8, 5, 6), 80),
    "pointwise": (lambda **k: nn.PointwiseConv2d(4, 6, stride=2, groups=2, **k), IMAGE, (2, 6, 3, 3), 18),
    "separable": (lambda **k: nn.SeparableConv2d(4, 6, 3, multiplier=2, **k), IMAGE, (2, 6, 3, 4), 126),
    "linear": (lambda **k: nn.Linear(4, 3, **k), plain(5, 4), (5, 3), 15),
    "linear without bias": (lambda **k: nn.Linear(4, 3, bias=False, **k), plain(5, 4), (5, 3), 12),
    "octave": (
        lambda **k: nn.OctaveConv2d(6, 4, 3, alpha_in=0.5, alpha_out=0.25, padding=1, **k),
        PAIR,
        OctaveMap((2, 3, 5, 6), (2, 1, 3, 3)),
        220,
    ),
    "first octave": (
        lambda **k: nn.OctaveConv2d(4, 4, 3, alpha_in=0, alpha_out=0.5, **FIT, **k),
        IMAGE,
        OctaveMap((2, 2, 5, 6), (2, 2, 3, 3)),
        144,
    ),
    "last octave": (
        lambda **k: nn.OctaveConv2d(6, 4, 3, alpha_in=0.5, alpha_out=0, padding=1, **k),
        PAIR,
        (2, 4, 5, 6),
        220,
    ),
    "octave at stride 2": (
        lambda **k: nn.OctaveConv2d(6, 4, 3, alpha_in=0.5, alpha_out=0.5, stride=2, groups=1, **FIT, **k),
        PAIR,
        OctaveMap((2, 2, 3, 3), (2, 2, 2, 2)),
        216,
    ),
    "octave at stride 2 of the convolution": (
        lambda **k: nn.OctaveConv2d(6, 4, 3, alpha_in=0.5, alpha_out=0.5, stride=2, stride_mode="conv", **FIT, **k),
        PAIR,
        OctaveMap((2, 2, 3, 3), (2, 2, 2, 2)),
        216,
    ),
    "low to low": (
        lambda **k: nn.OctaveConv2d(3, 4, 1, alpha_in=1, alpha_out=1, **k),
        octave(None, (2, 3, 3, 3)),
        OctaveMap(None, (2, 4, 3, 3)),
        16,
    ),
    "octave depthwise": (
        lambda **k: nn.OctaveDepthwiseConv2d(6, 3, alpha=0.5, multiplier=2, padding=1, **k),
        PAIR,
        OctaveMap((2, 6, 5, 6), (2, 6, 3, 3)),
        120,
    ),
    "octave batch norm": (
        lambda rng, dtype: nn.OctaveBatchNorm2d(6, alpha=0.5, dtype=dtype),
        PAIR,
        OctaveMap((2, 3, 5, 6), (2, 3, 3, 3)),
        12,
    ),
    "per frequency": (
        lambda **k: nn.PerFrequency(nn.ReLU(), nn.PointwiseConv2d(3, 2, **k)),
        PAIR,
        OctaveMap((2, 3, 5, 6), (2, 2, 3, 3)),
        8,
    ),
    "ghost": (lambda **k: nn.GhostModule(4, 7, **k), IMAGE, (2, 7, 5, 6), 16 + 36 + 16),
    "ghost of ratio 3": (
        lambda **k: nn.GhostModule(4, 7, 3, ratio=3, cheap_kernel=5, stride=2, activation=False, **k),
        IMAGE,
        (2, 7, 3, 3),
        4 * 27 + 25 * 6 + 2 * 9,
    ),
    "ghost of ratio 1": (lambda **k: nn.GhostModule(4, 7, ratio=1, **k), IMAGE, (2, 7, 5, 6), 28 + 14),
    "squeeze and excite": (lambda **k: nn.SqueezeExcite(4, 2, **k), IMAGE, (2, 4, 5, 6), 22),
    "squeeze and excite of octave maps": (
        lambda **k: nn.SqueezeExcite(6, 2, **k),
        PAIR,
        OctaveMap((2, 3, 5, 6), (2, 3, 3, 3)),
        32,
    ),
    "batch norm": (lambda rng, dtype: nn.BatchNorm2d(4, dtype=dtype), IMAGE, (2, 4, 5, 6), 8),
    "relu": (lambda **k: nn.ReLU(), IMAGE, (2, 4, 5, 6), 0),
    "relu6": (lambda **k: nn.ReLU6(), lambda rng: 9 * rng.standard_normal((2, 4)), (2, 4), 0),
    "hard sigmoid": (lambda **k: nn.HardSigmoid(), lambda rng: 4 * rng.standard_normal((2, 4)), (2, 4), 0),
    "hard swish": (lambda **k: nn.HardSwish(), lambda rng: 4 * rng.standard_normal((2, 4)), (2, 4), 0),
    "average pool": (
        lambda **k: nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=True),
        IMAGE,
        (2, 4, 3, 3),
        0,
    ),
    "max pool": (lambda **k: nn.MaxPool2d(2, ceil_mode=True), IMAGE, (2, 4, 3, 3), 0),
    "global average pool": (lambda **k: nn.GlobalAvgPool2d(), IMAGE, (2, 4, 1, 1), 0),
    "up-sampling": (lambda **k: nn.Upsample(2, size=(9, 12)), IMAGE, (2, 4, 9, 12), 0),
    "flatten": (lambda **k: nn.Flatten(), IMAGE, (2, 120), 0),
    "shuffle": (lambda **k: nn.ChannelShuffle(2), IMAGE, (2, 4, 5, 6), 0),
    "dropout": (lambda rng, dtype: nn.Dropout(0.4, rng=rng), IMAGE, (2, 4, 5, 6), 0),
    "identity": (lambda **k: nn.Identity(), IMAGE, (2, 4, 5, 6), 0),
    "sequence": (
        lambda **k: nn.Sequential(
            nn.PointwiseConv2d(4, 3, **k), norm=nn.BatchNorm2d(3, dtype=k["dtype"]), relu=nn.ReLU()
        ),
        IMAGE,
        (2, 3, 5, 6),
        21,
    ),
    "residual": (lambda **k: nn.Residual(nn.Conv2d(4, 4, 3, **FIT, **k)), IMAGE, (2, 4, 5, 6), 144),
    "residual with a shortcut": (
        lambda **k: nn.Residual(nn.Conv2d(4, 3, 3, **FIT, **k), nn.PointwiseConv2d(4, 3, **k)),
        IMAGE,
        (2, 3, 5, 6),
        123,
    ),
    "residual of octave maps": (
        lambda **k: nn.Residual(nn.OctaveConv2d(6, 6, 3, alpha_in=0.5, alpha_out=0.5, **FIT, **k)),
        PAIR,
        OctaveMap((2, 3, 5, 6), (2, 3, 3, 3)),
        324,
    ),
    "concatenation": (
        lambda **k: nn.Concat(nn.PointwiseConv2d(4, 3, **k), nn.Identity(), last=nn.PointwiseConv2d(4, 1, **k)),
        IMAGE,
        (2, 8, 5, 6),
        20,
    ),
    "concatenation of octave maps": (
        lambda **k: nn.Concat(nn.OctaveConv2d(6, 4, 1, alpha_in=0.5, alpha_out=0.25, **k), nn.Identity()),
        PAIR,
        OctaveMap((2, 6, 5, 6), (2, 4, 3, 3)),
        28,
    ),
}
every_layer = pytest.mark.parametrize("name", LAYERS)


def make(name, dtype=np.float64, seed=0):
    return LAYERS[name][0](rng=np.random.default_rng(seed), dtype=dtype)


def given(name, dtype=np.float64, seed=1):
    x = LAYERS[name][1](np.random.default_rng(seed))
    return map_arrays(lambda array: array.astype(dtype), x)


def random_like(tree, seed=2):
    rng = np.random.default_rng(seed)
    return map_arrays(lambda array: rng.standard_normal(array.shape).astype(array.dtype), tree)


def shaken(layer, seed=3):
    """`layer` with other numbers in all its state, so that no parameter or statistic is a plain 0 or 1."""
    rng = np.random.default_rng(seed)
    for name, array in layer.state().items():
        array += rng.uniform(0.1, 0.5, array.shape).astype(array.dtype)
        assert layer.state()[name] is array
    return layer
