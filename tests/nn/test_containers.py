"""Layers made of layers."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from npconv import OctaveMap, backends, nn


def pointwise(value, out_channels=1):
    layer = nn.PointwiseConv2d(1, out_channels, bias=False, rng=np.random.default_rng(0), dtype=np.float64)
    layer.params["w"][...] = value
    return layer


X = np.arange(1.0, 5.0).reshape(1, 1, 2, 2)


def test_sequence_goes_forward_in_order_and_back_in_reverse():
    net = nn.Sequential(pointwise(2), nn.ReLU(), last=pointwise(-3))
    np.testing.assert_array_equal(net(X), -6 * X)
    np.testing.assert_array_equal(net.backward(X), -6 * X)
    assert list(net.children()) == ["0", "1", "last"]
    assert dict(net.named_grads())["last.w"] == np.sum(2 * X * X)


def test_children_are_a_copy():
    net = nn.Sequential(nn.ReLU())
    net.children().clear()
    assert list(net.children()) == ["0"]


def test_residual_adds_and_its_gradients_add():
    net = nn.Residual(pointwise(2), pointwise(5))
    np.testing.assert_array_equal(net(X), 7 * X)
    np.testing.assert_array_equal(net.backward(X), 7 * X)
    net = nn.Residual(pointwise(2))
    np.testing.assert_array_equal(net(X), 3 * X)
    np.testing.assert_array_equal(net.backward(X), 3 * X)


def test_concatenation_keeps_the_order():
    net = nn.Concat(pointwise(2), pointwise([[[[3]]], [[[4]]]], 2))
    np.testing.assert_array_equal(net(X), np.concatenate([2 * X, 3 * X, 4 * X], axis=1))
    dy = np.concatenate([X, 10 * X, 100 * X], axis=1)
    np.testing.assert_array_equal(net.backward(dy), (2 + 30 + 400) * X)


def octave(high, low):
    return OctaveMap(np.full((1, 1, 2, 2), high), np.full((1, 1, 1, 1), low))


def test_octave_maps_are_added_and_concatenated_by_frequency():
    x = octave(1.0, 2.0)
    added = nn.Residual(nn.PerFrequency(pointwise(3), pointwise(4)))
    np.testing.assert_equal(added(x), octave(4.0, 10.0))
    np.testing.assert_equal(added.backward(x), octave(4.0, 10.0))
    joined = nn.Concat(nn.Identity(), nn.PerFrequency(pointwise(3), pointwise(4, out_channels=2)))
    y = joined(x)
    np.testing.assert_array_equal(y.high[0, :, 0, 0], [1, 3])
    np.testing.assert_array_equal(y.low[0, :, 0, 0], [2, 8, 8])
    np.testing.assert_equal(joined.backward(y), octave(10.0, 66.0))


def test_an_absent_frequency_stays_absent():
    x = OctaveMap(X, None)
    for net in (nn.Residual(nn.PerFrequency(nn.ReLU())), nn.Concat(nn.Identity(), nn.PerFrequency(nn.ReLU()))):
        y = net(x)
        assert y.low is None
        assert net.backward(y).low is None


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (
            nn.Residual(nn.AvgPool2d(2)),
            r"main and shortcut must give the same shape, got \(1, 1, 1, 1\) and \(1, 1, 2, 2\)",
        ),
        (nn.Residual(nn.Identity(), nn.GlobalAvgPool2d()), "main and shortcut must give the same shape"),
        (nn.Residual(pointwise(1, 2)), r"got \(1, 2, 2, 2\) and \(1, 1, 2, 2\)"),
        (
            nn.Concat(nn.Identity(), nn.AvgPool2d(2)),
            r"branches must give maps of one size, got \(1, 1, 2, 2\), \(1, 1, 1, 1\)",
        ),
        (
            nn.Concat(
                nn.Identity(),
                nn.OctaveConv2d(1, 1, 1, alpha_in=0, alpha_out=1, rng=np.random.default_rng(0), dtype=float),
            ),
            "branches must give maps of one size",
        ),
    ],
)
def test_branches_that_do_not_fit(net, message):
    with pytest.raises(ValueError, match=message):
        net(X)


def test_octave_branches_that_do_not_fit():
    for net in (
        nn.Residual(nn.PerFrequency(nn.AvgPool2d(2))),
        nn.Concat(nn.Identity(), nn.PerFrequency(nn.AvgPool2d(2))),
    ):
        with pytest.raises(ValueError, match=r"high=\(1, 1, 1, 1\), low=\(1, 1, 1, 1\)"):
            net(octave(1.0, 2.0))


def test_a_layer_stands_in_one_place():
    relu = nn.ReLU()
    inner = nn.Sequential(relu)
    for make in (
        lambda: nn.Sequential(relu, relu),
        lambda: nn.Sequential(inner, nn.Sequential(inner)),
        lambda: nn.Residual(inner, relu),
        lambda: nn.Concat(a=inner, b=inner),
        lambda: nn.PerFrequency(relu, relu),
    ):
        with pytest.raises(ValueError, match=r"a layer must stand in one place, got \w+ at \S+ and \S+$"):
            make()


def test_dropout_drops_by_its_generator_alone():
    x = np.ones((4, 3, 10, 10), np.float32)
    one, two, other = (nn.Dropout(0.25, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    y = one(x)
    np.testing.assert_array_equal(y, two(x))
    np.testing.assert_array_equal(y == 0, nn.Dropout(0.25, rng=np.random.default_rng(1))(x.astype(np.float64)) == 0)
    assert (y != other(x)).any()
    assert (y != one(x)).any()  # a new mask each time
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)}
    assert abs(np.mean(y == 0) - 0.25) < 4 * np.sqrt(0.25 * 0.75 / y.size)


def test_dropout_sends_the_gradient_where_the_signal_went():
    x = np.ones((2, 50))
    layer = nn.Dropout(0.5, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(layer(x), layer.backward(x))
    np.testing.assert_array_equal(layer.eval()(x), x)
    np.testing.assert_array_equal(layer.backward(x), x)


def test_squeeze_and_excite_is_its_formula():
    rng = np.random.default_rng(0)
    layer = nn.SqueezeExcite(3, 2, rng=rng, dtype=np.float64)
    (w1, b1), (w2, b2) = (layer.gate.children()[name].params.values() for name in ("reduce", "expand"))
    b1[...], b2[...] = rng.standard_normal(2), rng.standard_normal(3)
    x = rng.standard_normal((2, 3, 4, 5))
    hidden = np.maximum(x.mean(axis=(2, 3)) @ w1[:, :, 0, 0].T + b1, 0)
    gate = np.clip(hidden @ w2[:, :, 0, 0].T + b2 + 3, 0, 6) / 6
    np.testing.assert_allclose(layer(x), x * gate[:, :, None, None], rtol=1e-13)


# --- layers as objects ---


def objects():
    rng = np.random.default_rng(0)
    block = nn.Residual(nn.Sequential(conv=nn.Conv2d(2, 2, 3, padding=1, rng=rng), bn=nn.BatchNorm2d(2)))
    return nn.Sequential(stem=nn.Conv2d(1, 2, 3, padding=1, rng=rng), block=block, flatten=nn.Flatten(),
                         head=nn.Linear(8, 3, rng=rng))  # fmt: skip


def test_layers_are_attributes_items_and_a_sequence():
    net = objects()
    stem, block, flatten, _ = net
    assert (net.stem, net["stem"], net[0], net[-4]) == (stem,) * 4
    assert net["block.main.conv"] is block.main[0] is block["main.conv"]
    assert (len(net), list(net[1:3]), list(net[1:3].children())) == (4, [block, flatten], ["block", "flatten"])
    assert "block.main.bn" in net
    assert "block.main.relu" not in net
    assert bool(nn.Sequential())
    x = np.random.default_rng(0).standard_normal((2, 1, 2, 2)).astype(np.float32)
    np.testing.assert_array_equal(net(x), net[2:](net[:2](x)))


@pytest.mark.parametrize("how", ["attribute", "path", "place", "replace"])
def test_a_layer_that_is_set_runs(how):
    net = objects().eval()
    head = nn.Linear(8, 5, rng=np.random.default_rng(1))
    if how == "attribute":
        net.head = head
    elif how == "path":
        net["head"] = head
    elif how == "place":
        net[-1] = head
    else:
        net.replace("head", head)
    assert list(net.children()) == ["stem", "block", "flatten", "head"]
    assert not head.training
    assert net(np.zeros((1, 1, 2, 2), np.float32)).shape == (1, 5)
    relu = nn.ReLU()
    net.replace("block.main.bn", relu)
    assert net["block"].main.bn is relu
    net.block.main = nn.Identity()
    assert net["block.main"](1) == 1


def test_what_cannot_be_set_raises():
    net = objects()
    with pytest.raises(AttributeError, match="Sequential has no layer 'haed' to be set"):
        net.haed = nn.ReLU()
    with pytest.raises(TypeError, match="layer must be a Layer, got 3"):
        net.head = 3
    with pytest.raises(ValueError, match="stands in the network already"):
        net.head = net.stem
    with pytest.raises(KeyError, match="there is no layer 'haed', did you mean 'head'"):
        net.replace("haed", nn.ReLU())
    with pytest.raises(KeyError, match=r"there is no layer 'bm' in block\.main, which has conv, bn"):
        net["block.main.bm"]
    with pytest.raises(KeyError, match="there is no layer 'blok', did you mean 'block'"):
        net["blok.main.bn"]
    with pytest.raises(AttributeError, match="Sequential has no attribute or layer 'haed'"):
        net.haed  # noqa: B018
    with pytest.raises(IndexError, match="there is no layer 7 among 4"):
        net[7]
    with pytest.raises(IndexError, match="there is no layer -5 among 4"):
        net[-5] = nn.ReLU()
    net.note = "mine"  # what is no layer may be set
    assert net.note == "mine"


def test_a_network_is_copied_and_pickled():
    net = objects()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert list(other.state()) == list(net.state())
        assert other.head is other["head"] is not net.head


@pytest.mark.parametrize(
    ("spoil", "where"),
    [
        (lambda net: setattr(net, "head", nn.Linear(7, 3, rng=np.random.default_rng(0))), "head: "),
        (
            lambda net: net.replace("block.main.conv", nn.Conv2d(3, 2, 3, rng=np.random.default_rng(0))),
            "block.main.conv: ",
        ),
    ],
)
def test_an_error_names_the_layer(spoil, where):
    net = objects()
    spoil(net)
    with pytest.raises(ValueError) as caught:
        net(np.zeros((1, 1, 2, 2), np.float32))
    assert str(caught.value).startswith(where)
    assert str(caught.value).count(where) == 1


def test_an_error_of_a_backward_names_the_layer():
    net = objects()
    net(np.zeros((2, 1, 2, 2), np.float32))
    with pytest.raises(ValueError, match=r"^head: dy must have"):
        net.backward(np.zeros((2, 4), np.float32))


# --- frozen layers ---


def test_frozen_layers_stay_in_evaluation():
    net = objects()
    net.freeze("block", "stem")
    assert [path for path, layer in net.named_layers() if nn.is_frozen(layer)] == [
        "stem", "block", "block.main", "block.main.conv", "block.main.bn", "block.shortcut"]  # fmt: skip
    x = np.random.default_rng(0).standard_normal((2, 1, 2, 2)).astype(np.float32)
    before = {name: array.copy() for name, array in net.named_buffers()}
    net.train()(x)
    for name, array in net.named_buffers():
        np.testing.assert_array_equal(array, before[name])
    assert net.head.training
    net.unfreeze("block.*")
    net.train()
    assert (nn.is_frozen(net.stem), nn.is_frozen(net["block.main.bn"])) == (True, False)
    net.unfreeze()
    assert not any(nn.is_frozen(layer) for _, layer in net.named_layers())
    with pytest.raises(ValueError, match=r"a pattern must match a layer, got 'stm\.\*' for stem, block, "):
        net.freeze("stm.*")


def test_no_gradient_is_made_below_frozen_layers():
    net = objects()
    net.freeze("stem", "block")
    y = net(np.ones((2, 1, 2, 2), np.float32))
    with backends.record() as calls:
        net.backward_params(np.ones_like(y))
    assert {name for name, _ in calls}.isdisjoint({"conv2d_input_grad", "conv2d_weight_grad"})
    assert list(dict(net.named_grads())) == ["head.w", "head.b"]


# --- a batch norm and the ReLU behind it ---


def normalised(activation, seed=0):
    rng = np.random.default_rng(seed)
    bn = nn.BatchNorm2d(3, dtype=np.float64)
    bn.params["gamma"][...], bn.params["beta"][...] = [3.0, -2.0, 4.0], [1.0, 2.0, 3.0]
    conv = nn.Conv2d(2, 3, 3, bias=False, rng=rng, dtype=np.float64)
    net = nn.Sequential(conv=conv, bn=bn, act=activation, last=nn.PointwiseConv2d(3, 2, rng=rng, dtype=np.float64))
    return net, rng.standard_normal((2, 2, 6, 5)), rng.standard_normal((2, 2, 4, 3))


def one_by_one(net, x, dy):
    """Each layer by itself."""
    layers = list(net.children().values())
    for layer in layers:
        x = layer(x)
    for layer in reversed(layers):
        dy = layer.backward(dy)
    return x, dy


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6, nn.HardSwish])
def test_a_batch_norm_takes_the_relu_behind_it_along(activation):
    """Training gives the same numbers in fewer calls; a layer that is not run keeps nothing."""
    net, x, dy = normalised(activation())
    with backends.record() as calls:
        y = net(x)
        dx = net.backward(dy)
    other, _, _ = normalised(activation())
    other_y, other_dx = one_by_one(other, x, dy)
    np.testing.assert_array_equal(y, other_y)
    np.testing.assert_array_equal(dx, other_dx)
    for (name, array), (_, expected) in zip(
        (*net.named_grads(), *net.named_buffers()), (*other.named_grads(), *other.named_buffers()), strict=True
    ):
        np.testing.assert_array_equal(array, expected, err_msg=name)
    taken = activation is not nn.HardSwish
    names = {primitive for primitive, _ in calls}
    assert names.isdisjoint({"relu", "relu_input_grad", "relu6", "relu6_input_grad"})
    assert ("hard_swish" in names) != taken
    assert (net.children()["act"]._kept is None) == taken


def test_in_evaluation_each_layer_runs():
    """Whoever counts a network's layers, or looks at their maps, finds them all."""
    net, x, dy = normalised(nn.ReLU())
    net(x)
    with backends.record() as calls:
        net.eval()(x)
    assert "relu" in [primitive for primitive, _ in calls]
    dx = net.train().backward(dy)  # of the forward before it, whatever the mode is now
    np.testing.assert_array_equal(dx, one_by_one(net.eval(), x, dy)[1])
    frozen, x, dy = normalised(nn.ReLU())
    frozen.children()["bn"].eval()
    with backends.record() as calls:
        frozen(x)
    assert "relu" in [primitive for primitive, _ in calls]


# --- without dx ---


@pytest.mark.parametrize("bias", [False, True])
def test_the_first_convolution_makes_no_gradient_of_images(bias):
    rng = np.random.default_rng(0)
    conv = nn.Conv2d(2, 3, 3, stride=2, bias=bias, rng=rng, dtype=np.float64)
    net = nn.Sequential(
        stem=nn.Sequential(conv=conv, relu=nn.ReLU()), last=nn.Conv2d(3, 2, 1, rng=rng, dtype=np.float64)
    )
    x = rng.standard_normal((2, 2, 7, 7))
    dy = rng.standard_normal(net(x).shape)
    net.backward(dy)
    expected = {name: array.copy() for name, array in net.named_grads()}
    for layer in (conv, net.children()["last"]):
        layer.grads.clear()
    with backends.record() as calls:
        net.backward_params(dy)
    assert [primitive for primitive, _ in calls].count("conv2d_input_grad") == 1 + bias  # the last layer's
    assert list(dict(net.named_grads())) == list(expected)
    for name, array in net.named_grads():
        np.testing.assert_array_equal(array, expected[name])


def test_no_layer_has_no_gradients():
    net = nn.Sequential()
    net(X)
    net.backward_params(X)
    with pytest.raises(RuntimeError, match="backward must come after a forward"):
        nn.Sequential(pointwise(2)).backward_params(X)


def test_a_concatenation_of_one_branch_is_that_branch(backend):
    net = nn.Concat(nn.ReLU())
    x = np.array([-1.0, 2.0, 3.0, -4.0]).reshape(1, 2, 1, 2)
    np.testing.assert_array_equal(net(x).ravel(), [0, 2, 3, 0])
    np.testing.assert_array_equal(net.backward(np.full_like(x, 5)).ravel(), [0, 5, 5, 0])


def test_a_network_shows_itself_in_a_notebook():
    rng = np.random.default_rng(0)
    net = nn.Sequential(conv=nn.Conv2d(1, 2, 3, rng=rng), inner=nn.Sequential(relu=nn.ReLU()))
    html = net._repr_html_()
    assert html.startswith("<details open><summary>Sequential <small>20 parameters</small></summary>")
    assert "<b>conv</b> <div>Conv2d(1, 2, 3) <small>20 parameters</small></div>" in html
    assert html.count("<details") == html.count("</details>") == 2
