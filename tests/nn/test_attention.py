"""Squeeze and excite in two frequencies: one gate for both."""

from __future__ import annotations

import numpy as np
import pytest
from networks import images

from npconv import OctaveMap, nn
from npconv.testing import check_gradients


def octave_squeeze_excite():
    layer = nn.SqueezeExcite(6, 3, rng=np.random.default_rng(0), dtype=np.float64)
    for _, array in layer.named_params():
        array += 0.1
    return layer


def test_octave_squeeze_excite_is_one_gate_of_all_means():
    layer = octave_squeeze_excite()
    high, low = images(2, 4, 6, 5, dtype=np.float64), images(2, 2, 3, 3, seed=2, dtype=np.float64)
    means = np.concatenate([high.mean(axis=(2, 3)), low.mean(axis=(2, 3))], axis=1)
    state = {name: array.reshape(array.shape[:2]) for name, array in layer.state().items()}
    reduced = np.maximum(means @ state["gate.reduce.w"].T + state["gate.reduce.b"], 0)
    gate = np.clip((reduced @ state["gate.expand.w"].T + state["gate.expand.b"] + 3) / 6, 0, 1)[:, :, None, None]
    y = layer(OctaveMap(high, low))
    np.testing.assert_allclose(y.high, high * gate[:, :4], rtol=1e-13)
    np.testing.assert_allclose(y.low, low * gate[:, 4:], rtol=1e-13)
    one = layer(OctaveMap(None, images(2, 6, 3, 3, dtype=np.float64)))
    assert one.high is None
    np.testing.assert_array_equal(one.low, layer(images(2, 6, 3, 3, dtype=np.float64)))


def test_octave_squeeze_excite_wants_the_shape_of_its_output():
    layer = octave_squeeze_excite()
    x = OctaveMap(images(2, 4, 6, 5, dtype=np.float64), images(2, 2, 3, 3, dtype=np.float64))
    layer(x)
    for dy in (OctaveMap(x.high, x.low[:1]), OctaveMap(x.high, None), OctaveMap(None, x.low), x.high):
        with pytest.raises(ValueError, match="dy must have the shape of x"):
            layer.backward(dy)


@pytest.mark.parametrize("squash", ["hard_sigmoid", "clip"])
def test_two_frequencies_have_the_gate_of_the_one_that_they_replace(squash):
    options = {"rng": np.random.default_rng(0)}
    plain = nn.Sequential(
        nn.PointwiseConv2d(4, 6, **options),
        nn.SqueezeExcite(6, 2, squash=squash, **options),
        nn.PointwiseConv2d(6, 4, **options),
    )
    layer = nn.replace_convs(plain, "octave", keep_first=False, **options).children()["1"]
    assert (layer.squash, list(layer.gate.children())[-1]) == (squash, squash)


@pytest.mark.parametrize("shapes", [((2, 4, 6, 5), (2, 2, 3, 3)), ((2, 6, 3, 4), None), (None, (2, 6, 3, 4))])
def test_gradients_of_octave_squeeze_excite(shapes):
    layer = octave_squeeze_excite()
    x, dy = (
        OctaveMap(*(None if shape is None else images(*shape, seed=seed, dtype=np.float64) for shape in shapes))
        for seed in (1, 2)
    )

    def forward(x, *params):
        for (_, array), value in zip(layer.named_params(), params, strict=True):
            array[...] = value
        return layer(x)

    def backward(dy, x, *params):
        forward(x, *params)
        return layer.backward(dy), *(grad.copy() for _, grad in layer.named_grads())

    check_gradients(forward, backward, [x, *(array.copy() for _, array in layer.named_params())], dy)
