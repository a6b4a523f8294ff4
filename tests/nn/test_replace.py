"""The papers' plug-and-play replacement, on small models made for it, on drawn ones and on the networks."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import blank, check_slopes, images, seeded

import npconv
from npconv import costs, models, nn
from npconv.models import MODELS


def conv(into, out, kernel=3, **options):
    return nn.Conv2d(into, out, kernel, **{"padding": kernel // 2, "bias": False} | options, **seeded())


def point(into, out, **options):
    return nn.PointwiseConv2d(into, out, **options, **seeded())


def replaced(model, kind, **options):
    return nn.replace_convs(model, kind, **{"keep_first": False} | seeded() | options)


def kinds_of(model, *kinds):
    return {path: type(layer).__name__ for path, layer in model.named_layers() if isinstance(layer, kinds)}


def alphas(model):
    """(alpha_in, alpha_out) of every octave convolution."""
    return {
        path: (layer.alpha_in, layer.alpha_out)
        for path, layer in model.named_layers()
        if isinstance(layer, nn.OctaveConv2d)
    }


# --- ghost -------------------------------------------------------------------------------------------------------


def test_ghost_takes_in_the_norm_and_the_relu_behind():
    model = nn.Sequential(
        conv1=conv(4, 8), bn1=nn.BatchNorm2d(8), relu1=nn.ReLU(),
        conv2=conv(8, 8, stride=2), bn2=nn.BatchNorm2d(8),
        pool=nn.MaxPool2d(2),
        conv3=point(8, 6), relu3=nn.ReLU(),
        conv4=conv(6, 6, 5), bn4=nn.BatchNorm2d(6), last=nn.ReLU6(),
    )  # fmt: skip
    new = replaced(model, "ghost", ratio=3, cheap_kernel=5)
    assert {name: repr(layer).split("\n")[0] for name, layer in new.children().items()} == {
        "conv1": "GhostModule(4, 8, 3, ratio=3, cheap_kernel=5)",
        "conv2": "GhostModule(8, 8, 3, ratio=3, cheap_kernel=5, stride=2, activation=False)",
        "pool": "MaxPool2d(2)",
        "conv3": "GhostModule(8, 6, 1, ratio=3, cheap_kernel=5)",
        "conv4": "GhostModule(6, 6, 5, ratio=3, cheap_kernel=5, activation=False)",
        "last": "ReLU6()",
    }
    assert new(images(2, 4, 9, 8)).shape == model(images(2, 4, 9, 8)).shape


def test_a_norm_is_taken_in_by_its_neighbour_only():
    """What begins a block of its own stays, though it follows a convolution in time."""
    model = nn.Sequential(conv=conv(4, 4), block=nn.Sequential(bn=nn.BatchNorm2d(4), relu=nn.ReLU()))
    new = replaced(model, "ghost")
    assert not new.children()["conv"].activation
    assert list(new.children()["block"].children()) == ["bn", "relu"]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (conv(4, 4, groups=2), r"a ghost module has no groups, got part: Conv2d\(4, 4, 3, padding=1, groups=2, bias=False\), which"),
        (point(4, 4, groups=2), "a ghost module has no groups, got part: PointwiseConv2d"),
        (conv(4, 4, padding=0), "a ghost module has padding kernel // 2 and no dilation, got part: Conv2d"),
        (conv(4, 4, padding="same", stride=2), "a ghost module has padding kernel // 2 and no dilation, got part: Conv2d"),
        (conv(4, 4, dilation=2), "a ghost module has padding kernel // 2 and no dilation, got part: Conv2d"),
    ],
)  # fmt: skip
def test_what_a_ghost_module_cannot_be(layer, message):
    with pytest.raises(ValueError, match=message):
        replaced(nn.Sequential(part=layer), "ghost")
    assert replaced(nn.Sequential(part=layer, other=conv(4, 4)), "ghost", keep=("part",))(images(1, 4, 7, 7)).shape


@pytest.mark.parametrize("kernel", [(1, 3), (3, 1), (5, 3)])
def test_ghosts_of_kernels_that_are_not_square(kernel):
    layer = nn.Conv2d(4, 6, kernel, padding=(kernel[0] // 2, kernel[1] // 2), bias=False, **seeded())
    assert replaced(nn.Sequential(layer), "ghost")(images(1, 4, 7, 8)).shape == (1, 6, 7, 8)


# --- separable ---------------------------------------------------------------------------------------------------


def test_separable_makes_mobilenet_of_its_full_convolutions():
    """Table 4 of MobileNets, row by row: 4866 and 29.3 million become 569 and 4.2."""
    full = models.conv_mobilenet(**blank())
    cost = costs.count(nn.replace_convs(full, "separable", activation=nn.ReLU6, **blank()), (1, 3, 224, 224))
    assert (cost.conv_macs, cost.macs) == (567_716_352, 568_740_352)
    assert (cost.weights, cost.parameters) == (4_209_088, 4_231_976)


def test_separable_of_one_layer():
    model = nn.Sequential(
        conv=nn.Conv2d(4, 6, (3, 5), stride=2, padding="same", dilation=2, **seeded()), relu=nn.ReLU()
    )
    new = replaced(model, "separable", activation=nn.HardSwish)
    assert repr(new) == "\n".join(
        [
            "Sequential",
            "  conv: Sequential",
            "    depthwise: DepthwiseConv2d(4, (3, 5), stride=2, padding='same', dilation=2, bias=False)",
            "    bn: BatchNorm2d(4)",
            "    activation: HardSwish()",
            "    pointwise: PointwiseConv2d(4, 6)",
            "  relu: ReLU()",
        ]
    )
    x = images(2, 4, 9, 8)
    assert new(x).shape == model(x).shape


def test_separable_leaves_pointwise_convolutions():
    model = nn.Sequential(point(4, 4), conv(4, 4, 1), conv(4, 4, 3))
    new = replaced(model, "separable")
    assert [type(layer).__name__ for layer in new.children().values()] == ["PointwiseConv2d", "Conv2d", "Sequential"]
    with pytest.raises(ValueError, match="a separable convolution has no groups, got 0: Conv2d"):
        replaced(nn.Sequential(conv(4, 4, groups=2)), "separable")


# --- octave ------------------------------------------------------------------------------------------------------


def test_first_and_last_octave_layers():
    model = nn.Sequential(
        stem=conv(3, 8), conv1=conv(8, 8), bn=nn.BatchNorm2d(8, eps=0.5), relu=nn.ReLU6(), conv2=point(8, 8),
        depthwise=nn.DepthwiseConv2d(8, 3, padding=1, **seeded()), pool=nn.MaxPool2d(2), conv3=conv(8, 12),
        head=nn.GlobalAvgPool2d(),
    )  # fmt: skip
    new = replaced(model, "octave", alpha=0.25, keep_first=True)
    a = 0.25
    assert alphas(new) == {"conv1": (0, a), "conv2": (a, a), "conv3": (a, 0)}
    assert kinds_of(new, nn.OctaveBatchNorm2d, nn.OctaveDepthwiseConv2d) == {
        "bn": "OctaveBatchNorm2d",
        "depthwise": "OctaveDepthwiseConv2d",
    }
    assert {repr(layer) for layer in (new.children()["relu"].high, new.children()["relu"].low)} == {"ReLU6()"}
    assert new.children()["bn"].high.eps == 0.5
    assert new(images(2, 3, 12, 8)).shape == (2, 12, 1, 1)
    assert new.backward(images(2, 12, 1, 1)).shape == (2, 3, 12, 8)


def test_branches_of_a_sum_have_the_same_frequencies():
    """The identity carries what it gets, so its block begins and ends in what the layers around it can read."""

    def block(shortcut=None):
        return nn.Residual(nn.Sequential(conv1=conv(8, 8), conv2=conv(8, 8)), shortcut)

    model = nn.Sequential(
        first=block(), second=block(point(8, 8)), third=block(), fourth=block(point(8, 8)), last=block()
    )
    a = 0.5
    assert alphas(replaced(model, "octave")) == {
        "first.main.conv1": (0, a), "first.main.conv2": (a, 0),
        "second.main.conv1": (0, a), "second.main.conv2": (a, a), "second.shortcut": (0, a),
        "third.main.conv1": (a, a), "third.main.conv2": (a, a),
        "fourth.main.conv1": (a, a), "fourth.main.conv2": (a, 0), "fourth.shortcut": (a, 0),
        "last.main.conv1": (0, a), "last.main.conv2": (a, 0),
    }  # fmt: skip
    assert replaced(model, "octave")(images(1, 8, 6, 6)).shape == (1, 8, 6, 6)


@pytest.mark.parametrize(
    "between",
    [
        nn.ChannelShuffle(2),
        nn.Concat(nn.Identity(), nn.ReLU()),
        nn.DepthwiseConv2d(8, 3, padding=1, multiplier=2, **seeded()),
        nn.GhostModule(8, 8, **seeded()),
        nn.Dropout(0.5, **seeded()),
        nn.Upsample(2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_what_knows_one_frequency_gets_one(between):
    after = between(images(1, 8, 6, 6)).shape[1]
    model = nn.Sequential(a=conv(4, 8), b=conv(8, 8), between=between, c=conv(after, 8), d=conv(8, 8))
    new = replaced(model, "octave")
    assert alphas(new) == {"a": (0, 0.5), "b": (0.5, 0), "c": (0, 0.5), "d": (0.5, 0)}
    assert new(images(1, 4, 6, 6)).shape == model(images(1, 4, 6, 6)).shape


def test_plain_and_kept_convolutions():
    layers = {name: conv(8, 8) for name in "abcd"}
    model = nn.Sequential(**layers)
    a = 0.5
    assert alphas(replaced(model, "octave")) == {"a": (0, a), "b": (a, a), "c": (a, a), "d": (a, 0)}
    assert alphas(replaced(model, "octave", plain=("b",))) == {"a": (0, a), "b": (a, 0), "c": (0, a), "d": (a, 0)}
    new = replaced(model, "octave", keep=("c",))
    assert alphas(new) == {"a": (0, a), "b": (a, 0)}  # d reads a plain map, and gives one since it is the last
    np.testing.assert_array_equal(new.children()["c"].params["w"], layers["c"].params["w"])


@pytest.mark.parametrize("stride_mode", ["pool", "conv"])
def test_plain_maps_are_pooled_first_too(stride_mode):
    model = nn.Sequential(a=conv(4, 8), b=conv(8, 8), c=conv(8, 8, stride=2))
    new = replaced(model, "octave", plain=("b",), stride_mode=stride_mode)
    a, b, c = new.children().values()
    x = b(a(images(1, 4, 8, 8)))
    assert x.shape == (1, 8, 8, 8)
    if stride_mode == "pool":
        expected = npconv.conv2d(npconv.avg_pool2d(x, 2), c.params["w_hh"], padding=1)
    else:
        expected = model.children()["c"](x)
    np.testing.assert_array_equal(c(x), expected)


def test_alpha_0_changes_nothing():
    net = MODELS["resnet"](**seeded()).eval()
    x = images(2, 1, 12, 12)
    np.testing.assert_array_equal(nn.replace_convs(net, "octave", alpha=0, **seeded())(x), net(x))


def test_alpha_1_is_all_low():
    net = nn.replace_convs(MODELS["resnet"](**seeded()), "octave", alpha=1, **seeded())
    assert net(images(2, 1, 12, 12)).shape == (2, 10)


blocks = st.deferred(lambda: st.lists(parts, min_size=1, max_size=4).map(lambda rows: ("sequential", rows)))
parts = st.one_of(
    st.sampled_from(
        ["conv", "point", "depthwise", "bn", "relu", "pool", "shuffle", "squeeze", "identity", "wide", "stride"]
    ),
    blocks,
    st.tuples(st.just("residual"), blocks, st.one_of(st.none(), blocks)),
    st.tuples(st.just("concat"), blocks, blocks),
)


def build(part):
    """A layer of 4 channels to 4 channels; what changes the size is made to keep it inside a sum."""
    match part:
        case ("sequential", rows):
            return nn.Sequential(*map(build, rows))
        case ("residual", main, shortcut):
            return nn.Residual(build(main), None if shortcut is None else build(shortcut))
        case ("concat", one, two):
            return nn.Sequential(branches=nn.Concat(build(one), build(two)), mix=point(8, 4))
    return {
        "conv": lambda: conv(4, 4),
        "point": lambda: point(4, 4),
        "depthwise": lambda: nn.DepthwiseConv2d(4, 3, padding=1, **seeded()),
        "bn": lambda: nn.BatchNorm2d(4),
        "relu": nn.ReLU,
        "pool": lambda: nn.MaxPool2d(3, stride=1, padding=1),
        "shuffle": lambda: nn.ChannelShuffle(2),
        "squeeze": lambda: nn.SqueezeExcite(4, 2, **seeded()),
        "identity": nn.Identity,
        "wide": lambda: nn.Sequential(point(4, 6), nn.ReLU(), conv(6, 4, groups=2)),
        "stride": lambda: nn.Sequential(conv(4, 4, stride=2), nn.Upsample(2)),
    }[part]()


@pytest.mark.slow
@given(blocks, st.sampled_from([0.25, 0.5, 1.0]), st.booleans())
def test_drawn_models_fit_together(rows, alpha, keep_first):
    """Whatever the model: its octave twin takes its images to its shape, with the kernels' numbers in the same sum."""
    model = nn.Sequential(build(rows), conv(4, 4), conv(4, 4), conv(4, 4))
    # In groups of 2, alpha must leave an even number to both frequencies.
    keep = [path for path, layer in model.named_layers() if getattr(layer, "groups", 1) == 2 and hasattr(layer, "bias")]
    with npconv.backend("numpy"):
        new = replaced(model, "octave", alpha=alpha, keep_first=keep_first, keep=keep)
        x = images(2, 4, 8, 8)
        y = new(x)
        assert y.shape == model(x).shape
        assert new.backward(y).shape == x.shape
    assert new.parameter_count() == model.parameter_count()
    assert list(new.children()) == list(model.children())
    assert (alpha, 0) in alphas(new).values()  # the last two convolutions can always speak octave with each other


# --- all kinds ---------------------------------------------------------------------------------------------------

# How the tiny networks are replaced: what cannot be is kept by name.
TINY = {
    "ghost": {
        "mobilenet": {},
        "ghostnet": {},
        "resnet": {},
        "shufflenet": {"keep": ("stage1.0.concat.main.expand", "stage1.1.*", "stage2.*")},
    },
    "octave": {"mobilenet": {}, "resnet": {}},
    "separable": {"resnet": {}, "octave": {"keep_first": False}, "mobilenet": {"keep_first": False}},
}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, row in TINY.items() for name in row])
@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_tiny_networks(kind, name, training):
    net = MODELS[name](5, 2, dtype=np.float64, **seeded())
    new = nn.replace_convs(net, kind, **TINY[kind][name], **seeded(1))
    assert {array.dtype for array in new.state().values()} == {np.dtype(np.float64)}
    check_slopes(new, images(4, 2, 9, 8, dtype=np.float64), np.array([0, 4, 2, 2]), training)


def test_octave_groups_that_do_not_fit():
    model = nn.Sequential(a=conv(8, 8), b=conv(8, 8, groups=4), c=conv(8, 8))
    assert replaced(model, "octave", alpha=0.5)(images(1, 8, 6, 6)).shape == (1, 8, 6, 6)
    with pytest.raises(ValueError, match=r"^b: path hh: groups must divide"):
        replaced(model, "octave", alpha=0.25)


@pytest.mark.parametrize("name", ["shufflenet", "ghostnet"])
def test_networks_of_one_frequency(name):
    """Shuffles and ghost modules stand between all their convolutions."""
    with pytest.raises(ValueError, match="model must have a map that can be in two frequencies"):
        nn.replace_convs(MODELS[name](**seeded()), "octave", **seeded())


def test_the_model_is_left_as_it_is_and_what_is_kept_is_copied():
    net = MODELS["resnet"](**seeded())
    before, text = copy.deepcopy(net.state()), repr(net)
    for kind in ("ghost", "octave", "separable"):
        new = nn.replace_convs(net, kind, **seeded())
        assert repr(net) == text
        own, state = net.state(), new.state()
        same = [name for name in state if name in own and state[name].shape == own[name].shape]
        assert {"stem.conv.w", "stem.bn.gamma", "head.linear.w", "head.linear.b"} <= set(same)
        for name in ("stem.conv.w", "head.linear.w"):
            np.testing.assert_array_equal(state[name], own[name])
            assert not np.shares_memory(state[name], own[name])
        for array in state.values():
            array += 1
    for name, array in net.state().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


@pytest.mark.parametrize("kind", ["ghost", "octave", "separable"])
def test_modes_and_seeds(kind):
    net = MODELS["resnet"](**seeded())
    new = nn.replace_convs(net, kind, **seeded(3))
    assert {layer.training for _, layer in new.named_layers()} == {True}
    assert {layer.training for _, layer in nn.replace_convs(net.eval(), kind, **seeded()).named_layers()} == {False}
    again, other = nn.replace_convs(net, kind, **seeded(3)), nn.replace_convs(net, kind, **seeded(4))
    states = [{name: array.tobytes() for name, array in model.state().items()} for model in (new, again, other)]
    assert states[0] == states[1] != states[2]


@pytest.mark.parametrize("kind", ["ghost", "separable"])
def test_keep(kind):
    net = MODELS["resnet"](**seeded())
    new = nn.replace_convs(net, kind, keep=("*.conv2", "block1.*"), keep_pointwise=True, **seeded())
    plain = set(kinds_of(net, nn.Conv2d, nn.PointwiseConv2d))
    assert plain - set(kinds_of(new, nn.Conv2d, nn.PointwiseConv2d)) == {
        "block2.sum.main.conv1",
        "block3.sum.main.conv1",
    }
    assert new(images(1, 1, 8, 8)).shape == (1, 10)


def test_one_layer_is_a_model():
    assert type(replaced(conv(4, 8), "ghost")) is nn.GhostModule
    assert type(replaced(conv(4, 8), "separable")) is nn.Sequential


def test_what_is_inside_other_layers_stays():
    model = nn.Sequential(conv(4, 4), nn.SqueezeExcite(4, 2, **seeded()), nn.GhostModule(4, 4, **seeded()), conv(4, 4))
    new = replaced(model, "ghost")
    for place in ("1", "2"):
        assert repr(new.children()[place]) == repr(model.children()[place])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": 1}, TypeError, "model must be a Layer, got int"),
        ({"kind": "octet"}, ValueError, "kind must be one of 'ghost', 'octave', 'separable', got 'octet'"),
        ({"keep": "a*"}, TypeError, r"keep must be a sequence of patterns, got 'a\*'"),
        ({"keep": (1,)}, TypeError, r"keep must be a sequence of patterns, got \(1,\)"),
        ({"keep": ("a", "c.*")}, ValueError, r"keep must match the name of a convolution, got 'c\.\*'"),
        ({"keep": ("a", "b")}, ValueError, "model must have a convolution to replace, got none that is not kept"),
        ({"model": nn.ReLU()}, ValueError, "model must have a convolution to replace, got none that is not kept"),
        ({"rng": None}, TypeError, "rng must be a numpy.random.Generator, got NoneType"),
        ({"alpha": 0.5}, TypeError, "the options of 'ghost' must be among ratio, cheap_kernel, got alpha"),
        ({"ratio": 0}, ValueError, "ratio must be at least 1, got ratio=0"),
        ({"kind": "octave", "ratio": 2}, TypeError, "the options of 'octave' must be among alpha, plain, stride_mode, got"),
        ({"kind": "octave", "alpha": -1}, ValueError, r"alpha must be in \[0, 1\], got alpha=-1"),
        ({"kind": "octave", "stride_mode": "max"}, ValueError, "stride_mode must be 'pool' or 'conv', got 'max'"),
        ({"kind": "octave", "plain": ("c",)}, ValueError, "plain must match the name of a convolution, got 'c'"),
        ({"kind": "octave", "plain": ("a",)}, ValueError, "model must have a map that can be in two frequencies"),
        ({"kind": "octave", "plain": "a"}, TypeError, "plain must be a sequence of patterns, got 'a'"),
        ({"kind": "separable", "ratio": 2}, TypeError, "the options of 'separable' must be among activation, got ratio"),
    ],
)  # fmt: skip
def test_bad_arguments(arguments, error, message):
    model = nn.Sequential(a=conv(4, 4), b=conv(4, 4))
    with pytest.raises(error, match=message):
        nn.replace_convs(**{"model": model, "kind": "ghost", "keep_first": False} | seeded() | arguments)
