"""What is true of every layer: sizes, dtypes, gradients, that nothing given is changed."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import pytest
from layers import LAYERS, every_layer, given, make, random_like, shaken

from npconv import OctaveMap, nn
from npconv.testing import check_gradients, map_arrays


def test_every_layer_is_tested():
    tested = {type(layer).__name__ for name in LAYERS for _, layer in make(name).named_layers()}
    layers = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    assert tested == layers - {"Layer", "OperatorLayer"}


@every_layer
def test_sizes_and_dtypes(name):
    _, _, y_shape, parameters = LAYERS[name]
    for dtype in (np.float32, np.float64):
        layer, x = make(name, dtype), given(name, dtype)
        y = layer(x)
        assert map_arrays(np.shape, y) == y_shape
        assert type(y) is (OctaveMap if isinstance(y_shape, OctaveMap) else np.ndarray)
        dx = layer.backward(random_like(y))
        assert type(dx) is type(x)
        assert map_arrays(np.shape, dx) == map_arrays(np.shape, x)
        for tree in (y, dx, *layer.state().values(), *dict(layer.named_grads()).values()):
            map_arrays(lambda array, dtype=dtype: pytest.fail(str(array.dtype)) if array.dtype != dtype else None, tree)
        assert layer.parameter_count() == parameters
        params, grads = dict(layer.named_params()), dict(layer.named_grads())
        assert {n: a.shape for n, a in grads.items()} == {n: a.shape for n, a in params.items()}
        assert sorted(grads) == sorted(params)


@every_layer
@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_finite_differences(name, training):
    layer = shaken(make(name))
    layer.train() if training else layer.eval()
    names = [n for n, _ in layer.named_params()]

    def at(params):
        """The layer with these parameters, and with the generator and statistics that `layer` has now."""
        other = copy.deepcopy(layer)
        for n, array in other.named_params():
            array[...] = params[names.index(n)]
        return other

    def backward(dy, x, *params):
        other = at(params)
        other.forward(x)
        dx, grads = other.backward(dy), dict(other.named_grads())
        return (dx, *(grads[n] for n in names)) if names else dx

    x = given(name)
    dy = random_like(copy.deepcopy(layer)(x))
    check_gradients(
        lambda x, *params: at(params).forward(x),
        backward,
        [x, *(array for _, array in layer.named_params())],
        dy,
        step=1e-6,
        rtol=1e-6,
        samples=24,
        rng=np.random.default_rng(4),
    )


@every_layer
def test_nothing_given_is_changed_and_backward_can_be_repeated(name):
    layer, x = make(name), given(name)
    x_before = map_arrays(np.copy, x)
    y = layer(x)
    dy = random_like(y)
    dy_before, y_before = map_arrays(np.copy, dy), map_arrays(np.copy, y)
    first = layer.backward(dy)
    grads = {n: array.copy() for n, array in layer.named_grads()}
    second = layer.backward(dy)
    for before, after in [(x_before, x), (dy_before, dy), (y_before, y), (first, second)]:
        np.testing.assert_equal(after, before)
    assert {n: array.tobytes() for n, array in layer.named_grads()} == {n: a.tobytes() for n, a in grads.items()}


@every_layer
def test_each_backward_overwrites_the_gradients(name):
    layer = make(name)
    y = layer(given(name))
    dy = random_like(y)
    layer.backward(dy)
    once = {n: array.copy() for n, array in layer.named_grads()}
    layer.backward(map_arrays(lambda array: 2 * array, dy))
    for n, array in layer.named_grads():
        np.testing.assert_allclose(array, 2 * once[n], rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "identity"])
def test_backward_needs_a_forward(name):
    layer, x = make(name), given(name)
    dy = random_like(make(name)(x))
    with pytest.raises(RuntimeError, match=r"^backward must come after a forward, got none before it in \w+$"):
        layer.backward(dy)


@pytest.mark.parametrize("name", [name for name in LAYERS if isinstance(make(name), nn.OperatorLayer)])
def test_it_is_the_operator_with_all_its_options(name):
    layer, x = shaken(make(name)), given(name)
    arguments = inspect.signature(layer.operator).parameters
    assert set(layer.options) == {
        n for n in arguments if n not in {"x", "w", "b", "w_depthwise", "w_pointwise", "activation"}
    }
    options = {n: getattr(layer, n) for n in layer.options}
    np.testing.assert_array_equal(layer(x), layer.operator(x, **layer.params, **options))


@every_layer
def test_same_seed_same_layer(name):
    one, two, other = make(name), make(name), make(name, seed=5)
    for n, array in one.state().items():
        np.testing.assert_array_equal(array, two.state()[n])
    drawn = [n for n in one.state() if n.rpartition(".")[2].startswith("w")]
    for n in drawn:
        assert (one.state()[n] != other.state()[n]).all()
    np.testing.assert_equal(one(given(name)), two(given(name)))


@every_layer
def test_float32_and_float64_begin_alike(name):
    narrow, wide = make(name, np.float32), make(name)
    for n, array in wide.state().items():
        np.testing.assert_array_equal(array.astype(np.float32), narrow.state()[n])
