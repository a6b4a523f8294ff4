"""The walk over a model against what runs: the same calls as the computed forward, each in its layer, and totals by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import npconv
from npconv import backends, costs, nn
from npconv.models import MODELS
from npconv.testing import map_arrays
from npconv.testing.strategies import OPERATORS, problems_with_dy

# --- the walk computes nothing, and finds what a computed forward does ---


class Runs:
    """A model that is any function, without parameters."""

    def __init__(self, run):
        self.run = run

    def eval(self):
        return self

    def named_params(self):
        return []

    def forward(self, x):
        return self.run()


def form(tree):
    return map_arrays(lambda array: (array.shape, array.dtype), tree)


@pytest.mark.parametrize("op", OPERATORS)
@given(data=st.data())
def test_the_stand_in_answers_like_the_backend(op, data):
    """The same calls of primitives follow, forward and backward, and the results have the same shapes and dtypes."""
    problem, dy = data.draw(problems_with_dy(op, data.draw(st.sampled_from([np.float32, np.float64]))))
    walked = []

    def both():
        y, gradients = problem.forward(), problem.backward(dy)
        walked.append(form((y, gradients)))
        return np.zeros(1)

    cost = costs.count(Runs(both), (1, 1, 1, 1))
    with backends.record() as calls:
        both()
    assert walked[0] == walked[1]
    assert list(cost.calls) == [part for call in calls for part in costs.calls_of(*call)]


@pytest.mark.parametrize("name", MODELS)
def test_a_walk_is_what_a_computed_forward_costs(name):
    model = tiny(name).eval()
    cost = costs.count(model, (2, 1, 13, 11))
    with backends.record() as calls:
        model.forward(np.zeros((2, 1, 13, 11), np.float32))
    assert list(cost.calls) == [part for call in calls for part in costs.calls_of(*call)]


@pytest.mark.parametrize("name", MODELS)
def test_a_walk_computes_nothing(monkeypatch, name):
    """No primitive runs. What is added, concatenated or scaled between them is none, and is done with zeros."""
    monkeypatch.setattr(backends, "_run", lambda primitive, *arguments: pytest.fail(f"{primitive} ran"))
    costs.count(tiny(name), (1, 1, 8, 8))


def test_a_walk_that_fails_leaves_the_backend_in_its_place():
    x = np.array([-1.0, 2.0])
    for model in (Runs(lambda: npconv.relu(npconv.relu)), Runs(lambda: 1 / npconv.relu(x).ndim - 1 // 0)):
        with pytest.raises((TypeError, ZeroDivisionError)):
            costs.count(model, (1, 1, 1, 1))
        np.testing.assert_array_equal(npconv.relu(x), [0, 2])


# --- whole models ---


class Handmade:
    """conv 3x3, batch norm, ReLU, depthwise 3x3, residual add, pooling, linear: written on the operators alone."""

    def __init__(self, dtype=np.float32):
        self.training = True
        self.seen = []
        rng = np.random.default_rng(0)
        shapes = {
            "stem": (4, 3, 3, 3),
            "gamma": (4,),
            "beta": (4,),
            "depthwise": (4, 1, 3, 3),
            "fc": (10, 4),
            "fc_b": (10,),
        }
        self.params = {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
        self.mean, self.var = np.zeros(4, dtype), np.ones(4, dtype)

    def eval(self):
        self.training = False
        return self

    def named_params(self):
        return iter(self.params.items())

    def forward(self, x):
        assert not self.training
        self.seen.append(x)
        p = self.params
        x = npconv.conv2d(x, p["stem"], stride=2, padding=1)
        x = npconv.relu(npconv.batch_norm2d(x, p["gamma"], p["beta"], self.mean, self.var))
        x = x + npconv.depthwise_conv2d(x, p["depthwise"], padding=1)
        x = npconv.global_avg_pool2d(x)
        return npconv.linear(x.reshape(x.shape[:2]), p["fc"], p["fc_b"])


def test_count_of_a_handmade_model():
    model = Handmade()
    cost = costs.count(model, (2, 3, 9, 8))
    stem, depthwise, fc = 2 * 4 * 5 * 4 * 3 * 9, 2 * 4 * 5 * 4 * 9, 2 * 4 * 10
    assert cost.macs == stem + depthwise + fc
    assert cost.flops == 2 * cost.macs
    assert cost.parameters == 108 + 4 + 4 + 36 + 40 + 10
    assert cost.macs_by_kind == {"standard": stem, "depthwise": depthwise, "linear": fc}
    assert [(call.primitive, call.in_shape, call.out_shape) for call in cost.calls] == [
        ("conv2d", (2, 3, 9, 8), (2, 4, 5, 4)),
        ("batch_norm2d", (2, 4, 5, 4), (2, 4, 5, 4)),
        ("relu", (2, 4, 5, 4), (2, 4, 5, 4)),
        ("depthwise_conv2d", (2, 4, 5, 4), (2, 4, 5, 4)),
        ("global_avg_pool2d", (2, 4, 5, 4), (2, 4, 1, 1)),
        ("linear", (2, 4), (2, 10)),
    ]
    assert sum(call.cost.parameters for call in cost.calls) == cost.parameters
    assert cost.bytes_moved == sum(call.cost.bytes_moved for call in cost.calls)


def test_count_without_padding():
    """What pads the top and left, and at odd sizes the bottom and right, is in 1 of 3 taps of the windows there."""
    stem = 4 * 3 * (5 * 3 - 2) * (4 * 3 - 1)
    depthwise = 4 * (5 * 3 - 2) * (4 * 3 - 2)
    assert costs.count(Handmade(), (1, 3, 9, 8), count_padding=False).macs == stem + depthwise + 40


def test_count_leaves_the_model_as_it_is():
    model = Handmade()
    before = {name: array.copy() for name, array in model.named_params()}
    costs.count(model, (1, 3, 8, 8))
    assert model.training
    assert model.seen == []
    for name, array in model.named_params():
        np.testing.assert_array_equal(array, before[name])


def test_count_runs_in_the_models_dtype():
    single, double = (costs.count(Handmade(dtype), (1, 3, 8, 8)) for dtype in (np.float32, np.float64))
    assert double.macs == single.macs
    assert double.bytes_moved == 2 * single.bytes_moved


def tiny(name):
    return MODELS[name](rng=np.random.default_rng(0))


@pytest.mark.parametrize("name", MODELS)
def test_count_of_every_model(name):
    model = tiny(name)
    model.children()["head"].eval()  # a mode of its own, which must stay
    modes = [layer.training for _, layer in model.named_layers()]
    state = {key: array.copy() for key, array in model.state().items()}
    one, two, without_padding = (
        costs.count(model, (1, 1, 13, 11)),
        costs.count(model, (2, 1, 13, 11)),
        costs.count(model, (1, 1, 13, 11), count_padding=False),
    )
    assert two.macs == 2 * one.macs
    assert two.parameters == one.parameters == model.parameter_count()
    assert sum(call.cost.parameters for call in one.calls) == one.parameters
    assert 0 < without_padding.macs < one.macs
    assert sum(one.macs_by_kind.values()) == one.macs
    assert [layer.training for _, layer in model.named_layers()] == modes
    for key, array in model.state().items():
        np.testing.assert_array_equal(array, state[key])
    with pytest.raises(RuntimeError, match="backward must come after a forward"):
        model.backward(np.ones((1, 10), np.float32))  # the model itself has seen nothing


def test_count_of_tiny_mobilenet_by_hand():
    """Its structure's table at 8 x 8: pixels * (channels * 9 + channels * out_channels) for each separable block."""
    depthwise = 64 * 16 * 9 + 16 * 32 * 9 + 16 * 64 * 9 + 4 * 64 * 9
    pointwise = 64 * 16 * 32 + 16 * 32 * 64 + 16 * 64 * 64 + 4 * 64 * 128
    cost = costs.count(tiny("mobilenet"), (1, 1, 8, 8))
    assert cost.macs_by_kind == {
        "pointwise": pointwise,
        "depthwise": depthwise,
        "standard": 64 * 16 * 9,
        "linear": 128 * 10,
    }
    batch_norms = 2 * (16 + 16 + 32 + 32 + 64 + 64 + 64 + 64 + 128)
    kernels = 9 * 16 + 9 * (16 + 32 + 64 + 64) + 16 * 32 + 32 * 64 + 64 * 64 + 64 * 128
    assert cost.parameters == kernels + batch_norms + 128 * 10 + 10


def test_count_of_tiny_ghostnet_by_hand():
    def ghost(pixels, channels, out_channels):
        return pixels * (out_channels // 2) * (channels + 9)

    block1 = ghost(64, 16, 16) + ghost(64, 16, 16)
    block2 = ghost(64, 16, 48) + 16 * 48 * 9 + ghost(16, 48, 24) + 16 * (16 * 9 + 16 * 24)
    block3 = ghost(16, 24, 72) + 2 * 72 * 20 + ghost(16, 72, 24)
    block4 = ghost(16, 24, 72) + 4 * 72 * 9 + 2 * 72 * 20 + ghost(4, 72, 40) + 4 * (24 * 9 + 24 * 40)
    rest = 64 * 16 * 9 + 4 * 40 * 120 + 120 * 10
    assert costs.count(tiny("ghostnet"), (1, 1, 8, 8)).macs == block1 + block2 + block3 + block4 + rest


def test_count_of_tiny_octave_by_the_papers_ratios():
    """Each convolution of the plain network times the ratio of its alphas, 1/2 and 0; stride 2 is pooled first: 0.625."""
    one_sided, both = costs.octave_cost_ratio(0, 0.5), costs.octave_cost_ratio(0.5, 0.5)
    block1 = 64 * 16 * 16 * (one_sided * (9 + 1) + both * 9)
    block2 = 16 * 16 * 32 * costs.octave_memory_ratio(0.5) * (9 + 1) + 16 * 32 * 32 * both * 9
    block3 = 16 * 32 * 32 * (one_sided * (9 + 1) + 9)
    rest = 64 * 16 * 9 + 32 * 10
    assert costs.count(tiny("octave"), (1, 1, 8, 8)).macs == block1 + block2 + block3 + rest


# --- layers ---


def test_calls_belong_to_the_layer_that_made_them():
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        conv=nn.Conv2d(3, 8, 3, stride=2, padding=1, groups=1, bias=False, rng=rng),
        unit=nn.Residual(nn.Sequential(nn.ChannelShuffle(2), nn.Conv2d(8, 8, 1, groups=2, rng=rng), nn.BatchNorm2d(8))),
        octave=nn.OctaveConv2d(8, 8, 3, alpha_in=0, alpha_out=0.25, padding=1, rng=rng),
    )
    layers = costs.count(model, (2, 3, 9, 8)).layers
    map_shape = (2, 8, 5, 4)
    assert [
        (layer.layer, layer.name, layer.out_shapes, layer.parameters, layer.groups, layer.kind) for layer in layers
    ] == [
        ("conv", "Conv2d", (map_shape,), 8 * 3 * 9, 1, "standard"),
        ("unit.main.0", "ChannelShuffle", (map_shape,), 0, 1, "shuffle"),
        ("unit.main.1", "Conv2d", (map_shape,), 8 * 4 + 8, 2, "pointwise"),
        ("unit.main.2", "BatchNorm2d", (map_shape,), 16, 1, "batch norm"),
        ("unit", "Residual", (map_shape,), 0, 1, "add"),
        ("octave", "OctaveConv2d", ((2, 6, 5, 4), (2, 2, 3, 2)), 8 * 8 * 9 + 8, 1, "standard"),
    ]
    octave = layers[-1]
    parts = [(call.primitive, call.kind) for call in octave.calls]
    assert parts == [("conv2d", "standard"), ("avg_pool2d", "pool"), ("conv2d", "standard"), *[("add", "bias")] * 2]
    assert octave.cost.macs == 2 * 9 * 8 * (6 * 20 + 2 * 6)
    assert octave.cost.parameters == octave.parameters
    assert octave.elements_out == 2 * (6 * 20 + 2 * 6)
    assert layers[0].cost == costs.conv2d((2, 3, 9, 8), (8, 3, 3, 3), stride=2, padding=1)


@pytest.mark.parametrize("name", MODELS)
def test_layers_have_all_calls_and_parameters(name):
    model = tiny(name)
    cost = costs.count(model, (1, 1, 8, 8))
    assert sum(layer.parameters for layer in cost.layers) == cost.parameters
    assert sum(layer.cost.macs for layer in cost.layers) == cost.macs
    paths = dict(model.named_layers())
    for layer in cost.layers:
        assert layer.name == type(paths[layer.layer]).__name__
        if paths[layer.layer].children():  # nothing but bringing its parts together
            assert {call.kind for call in layer.calls} <= {"add", "concatenate", "scale"}
        assert layer.parameters == sum(array.size for array in paths[layer.layer].params.values())


def test_the_papers_counts():
    """Convolutions alone, with the classifier, kernels alone, and batch norm folded: by hand on two layers and a norm."""
    cost = costs.count(Handmade(), (1, 3, 8, 8))
    assert cost.macs - cost.conv_macs == 40
    assert cost.weights == 4 * 27 + 4 * 9 + 40
    assert cost.parameters == cost.weights + 4 + 4 + 10
    assert cost.folded_parameters == cost.weights + 4 + 10


def test_kinds_follow_the_geometry():
    def kind(x_shape, w_shape, **options):
        x, w = np.ones(x_shape), np.ones(w_shape)
        with backends.record() as calls:
            npconv.conv2d(x, w, **options)
        return costs.call_cost(*calls[0]).kind

    assert kind((1, 4, 3, 3), (4, 4, 3, 3)) == "standard"
    assert kind((1, 1, 3, 3), (4, 1, 3, 3)) == "standard"
    assert kind((1, 4, 3, 3), (4, 2, 3, 3), groups=2) == "group"
    assert kind((1, 4, 3, 3), (8, 1, 3, 3), groups=4) == "depthwise"
    assert kind((1, 4, 3, 3), (4, 1, 1, 1), groups=4) == "depthwise"
    assert kind((1, 4, 3, 3), (8, 4, 1, 1)) == "pointwise"
    assert kind((1, 4, 3, 3), (8, 2, 1, 1), groups=2) == "pointwise"
    assert kind((1, 4, 3, 3), (8, 4, 1, 3)) == "standard"


# --- errors ---


def test_errors():
    with pytest.raises(ValueError, match=r"input_shape must have 4 sizes \(N, C, H, W\)"):
        costs.count(Handmade(), (3, 8, 8))
    with pytest.raises(ValueError, match=r"primitive must be one that npconv\.backends records, got 'convolve'"):
        costs.call_cost("convolve", (np.zeros((1, 1)),))


def test_the_groups_of_a_layer_are_the_most_of_its_calls():
    """A separable convolution is depthwise first, whose groups are its channels, and then pointwise, of one group."""
    (layer,) = costs.count(nn.SeparableConv2d(4, 6, 3, padding=1, rng=np.random.default_rng(0)), (1, 4, 6, 6)).layers
    assert [call.groups for call in layer.calls] == [4, 1]
    assert layer.groups == 4
