"""Layers made of layers."""

from __future__ import annotations

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
