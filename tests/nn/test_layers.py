"""What is true of every layer: sizes, gradients, state, modes, text, errors."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import pytest

from npconv import OctaveMap, nn
from npconv.testing import check_gradients, map_arrays


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
    assert set(layer.options) == {n for n in arguments if n not in {"x", "w", "b", "w_depthwise", "w_pointwise"}}
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


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        (lambda k: nn.Conv2d(0, 4, 3, **k), ValueError, "in_channels must be at least 1, got in_channels=0"),
        (lambda k: nn.Conv2d(4, 2.5, 3, **k), TypeError, "out_channels must be an integer, got 2.5"),
        (lambda k: nn.Conv2d(8, 8, 3, groups=3, **k), ValueError,
         "groups must divide in_channels and out_channels, got groups=3, in_channels=8, out_channels=8"),
        (lambda k: nn.Conv2d(2, 8, 3, groups=4, **k), ValueError, "groups must divide in_channels and out_channels"),
        (lambda k: nn.Conv2d(2, 2, 3, groups=0, **k), ValueError, "groups must be at least 1"),
        (lambda k: nn.Conv2d(2, 2, (3, 3, 3), **k), ValueError, r"kernel must be an int or \(rows, columns\)"),
        (lambda k: nn.Conv2d(2, 2, 3, stride=0, **k), ValueError, "stride must be at least 1, got stride=0"),
        (lambda k: nn.Conv2d(2, 2, 3, padding="full", **k), ValueError, "padding must be 'valid', 'same' or 'same_lower'"),
        (lambda k: nn.Conv2d(2, 2, 3, padding=-1, **k), ValueError, "padding must be at least 0"),
        (lambda k: nn.Conv2d(2, 2, 3, dilation=0, **k), ValueError, "dilation must be at least 1"),
        (lambda k: nn.Conv2d(2, 2, 3, rng=0), TypeError, "rng must be a numpy.random.Generator, got int"),
        (lambda k: nn.Conv2d(2, 2, 3, rng=np.random.RandomState(0)), TypeError, "rng must be a numpy.random.Generator"),
        (lambda k: nn.Conv2d(2, 2, 3), TypeError, "rng"),
        (lambda k: nn.Conv2d(2, 2, 3, dtype=int, **k), TypeError, "dtype must be float16, float32 or float64, got <class 'int'>"),
        (lambda k: nn.BatchNorm2d(2, dtype="real"), TypeError, "dtype must be float16, float32 or float64, got 'real'"),
        (lambda k: nn.DepthwiseConv2d(2, 3, multiplier=0, **k), ValueError, "multiplier must be at least 1"),
        (lambda k: nn.DepthwiseConv2d("2", 3, **k), TypeError, "channels must be an integer, got '2'"),
        (lambda k: nn.PointwiseConv2d(4, 4, groups=3, **k), ValueError, "groups must divide"),
        (lambda k: nn.SeparableConv2d(-1, 4, 3, **k), ValueError, "in_channels must be at least 1"),
        (lambda k: nn.OctaveConv2d(4, 4, 3, alpha_in=1.5, alpha_out=0, **k), ValueError, r"alpha_in must be in \[0, 1\]"),
        (lambda k: nn.OctaveConv2d(4, 4, 3, alpha_in=0.25, alpha_out=0.5, groups=2, **k), ValueError,
         "path hh: groups must divide in_channels and out_channels, got groups=2, in_channels=3"),
        (lambda k: nn.OctaveConv2d(4, 4, 3, alpha_in=0, alpha_out=0, stride_mode="skip", **k), ValueError,
         "stride_mode must be 'pool' or 'conv', got 'skip'"),
        (lambda k: nn.OctaveDepthwiseConv2d(4, 3, alpha=0, stride=3, **k), ValueError,
         "stride must be 1 or 2 in stride_mode 'pool', got stride=3"),
        (lambda k: nn.OctaveDepthwiseConv2d(0, 3, alpha=0, **k), ValueError, "channels must be at least 1"),
        (lambda k: nn.OctaveConv2d(0, 4, 3, alpha_in=0, alpha_out=0, **k), ValueError, "in_channels must be at least 1"),
        (lambda k: nn.GhostModule(4, 4, ratio=0, **k), ValueError, "ratio must be at least 1"),
        (lambda k: nn.BatchNorm2d(0), ValueError, "channels must be at least 1"),
        (lambda k: nn.BatchNorm2d(2, eps=0), ValueError, "eps must be finite and above 0"),
        (lambda k: nn.BatchNorm2d(2, momentum=2), ValueError, r"momentum must be in \[0, 1\]"),
        (lambda k: nn.BatchNorm2d(2, momentum_convention="jax"), ValueError,
         "momentum_convention must be 'pytorch' or 'tensorflow', got 'jax'"),
        (lambda k: nn.AvgPool2d(0), ValueError, "kernel must be at least 1"),
        (lambda k: nn.MaxPool2d(2, padding=2), ValueError, "padding must be smaller than the kernel"),
        (lambda k: nn.Upsample(0), ValueError, "scale must be at least 1"),
        (lambda k: nn.Upsample(2, size=(0, 1)), ValueError, "size must be at least 1"),
        (lambda k: nn.Linear(2, 0, **k), ValueError, "out_features must be at least 1"),
        (lambda k: nn.Dropout(1.0, **k), ValueError, r"rate must be in \[0, 1\)"),
        (lambda k: nn.Dropout(0.5, rng=None), TypeError, "rng must be a numpy.random.Generator, got NoneType"),
        (lambda k: nn.SqueezeExcite(4, 0, **k), ValueError, "reduced must be at least 1"),
        (lambda k: nn.ChannelShuffle(0), ValueError, "groups must be at least 1"),
        (lambda k: nn.Sequential(nn.ReLU(), np.tanh), TypeError, "1 must be a Layer, got <ufunc 'tanh'>"),
        (lambda k: nn.Residual(None), TypeError, "main must be a Layer, got None"),
        (lambda k: nn.PerFrequency(nn.ReLU(), np.tanh), TypeError, "low must be a Layer, got <ufunc 'tanh'>"),
        (lambda k: nn.Concat(), ValueError, "branches must be at least one layer, got none"),
        (lambda k: nn.Layer(), TypeError, "abstract"),
    ],
)  # fmt: skip
def test_bad_arguments(layer, error, message):
    with pytest.raises(error, match=message):
        layer({"rng": np.random.default_rng(0)})


def test_bad_arguments_draw_nothing():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError):
        nn.Conv2d(8, 8, 3, groups=3, rng=rng)
    with pytest.raises(TypeError):
        nn.Conv2d(8, 8, 3, rng=rng, dtype=int)
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "identity"])
def test_bad_dy(name):
    layer = make(name)
    y = layer(given(name))
    wrong = map_arrays(lambda array: np.concatenate([array, array], axis=1), y)
    with pytest.raises(ValueError, match="shape"):
        layer.backward(wrong)


def test_a_failed_forward_changes_no_statistics():
    layer = nn.BatchNorm2d(3)
    with pytest.raises(ValueError, match="gamma"):
        layer(np.ones((2, 4, 5, 5), np.float32))
    np.testing.assert_array_equal(layer.buffers["running_mean"], np.zeros(3))
    np.testing.assert_array_equal(layer.buffers["running_var"], np.ones(3))
