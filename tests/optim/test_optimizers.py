"""Optimisers beside their formulas written out for one number, in every precision, and what is refused."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from npconv import nn, optim

GRADIENTS = [0.5, -2.0, 1.0, 0.25, 0.0, 3.0]
RATES = [0.1, 0.2, 0.05, 0.1, 0.3, 0.1]


def one_number(value=1.5, dtype=np.float64):
    layer = nn.Linear(1, 1, bias=False, rng=np.random.default_rng(0), dtype=dtype)
    layer.params["w"][...] = value
    return layer


def path(optimizer, gradients=GRADIENTS):
    """Where a parameter that begins at 1.5 goes."""
    layer = one_number()
    places = []
    for g in gradients:
        layer.grads["w"] = np.full((1, 1), g)
        optimizer.step(layer)
        places.append(layer.params["w"].item())
    return places


def sgd(momentum=0.0, nesterov=False, decay=0.0):
    p, v = 1.5, 0.0
    for g, lr in zip(GRADIENTS, RATES, strict=True):
        g = g + decay * p
        v = momentum * v + g
        p = p - lr * (g + momentum * v if nesterov else v)
        yield p


def adam(decay=0.0, decoupled=False, beta1=0.9, beta2=0.999, eps=1e-8):
    p, m, v = 1.5, 0.0, 0.0
    for t, (g, lr) in enumerate(zip(GRADIENTS, RATES, strict=True), start=1):
        if decoupled:
            p = p - lr * decay * p
        else:
            g = g + decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        p = p - lr / (1 - beta1**t) * m / (math.sqrt(v / (1 - beta2**t)) + eps)
        yield p


@pytest.mark.parametrize(
    ("optimizer", "options", "formula"),
    [
        (optim.SGD, {}, sgd()),
        (optim.SGD, {"weight_decay": 0.1}, sgd(decay=0.1)),
        (optim.SGD, {"momentum": 0.9}, sgd(momentum=0.9)),
        (optim.SGD, {"momentum": 0.9, "weight_decay": 0.1}, sgd(momentum=0.9, decay=0.1)),
        (optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, sgd(0.9, True, 0.1)),
        (optim.Adam, {}, adam()),
        (optim.Adam, {"weight_decay": 0.1}, adam(decay=0.1)),
        (optim.Adam, {"betas": (0.5, 0.75), "eps": 0.1}, adam(beta1=0.5, beta2=0.75, eps=0.1)),
        (optim.AdamW, {}, adam(decay=0.01, decoupled=True)),
        (optim.AdamW, {"weight_decay": 0.1}, adam(decay=0.1, decoupled=True)),
    ],
)
def test_formulas(optimizer, options, formula):
    np.testing.assert_allclose(path(optimizer(RATES.__getitem__, **options)), list(formula), rtol=1e-13)


def test_the_variants_differ():
    ends = [path(optim.SGD(0.1, momentum=m, nesterov=n, weight_decay=d))[-1]
            for m, n, d in [(0, False, 0), (0, False, 0.1), (0.9, False, 0), (0.9, True, 0)]]  # fmt: skip
    ends += [path(o(0.1, weight_decay=d))[-1] for o in (optim.Adam, optim.AdamW) for d in (0.1, 0.2)]
    assert len(set(ends)) == len(ends)


def test_a_step_is_in_place_and_counted():
    layer = one_number(dtype=np.float32)
    w = layer.params["w"]
    optimizer = optim.SGD(0.5)
    layer.grads["w"] = np.full((1, 1), 2.0, np.float32)
    assert optimizer.step(layer) is None
    assert layer.params["w"] is w
    assert (w.item(), w.dtype, optimizer.steps) == (0.5, np.float32, 1)
    np.testing.assert_array_equal(layer.grads["w"], [[2.0]])


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.AdamW])
def test_gradients_and_dtypes_survive(make):
    layer = one_number(dtype=np.float32)
    layer.grads["w"] = np.full((1, 1), 2.0, np.float32)
    optimizer = make(np.float64(0.1), weight_decay=0.1)  # a float64 rate makes no float64 of a float32
    for _ in range(3):
        optimizer.step(layer)
    assert layer.params["w"].dtype == np.float32
    np.testing.assert_array_equal(layer.grads["w"], [[2.0]])


def test_a_step_needs_all_gradients_and_else_changes_nothing():
    rng = np.random.default_rng(0)
    net = nn.Sequential(a=nn.Linear(2, 2, rng=rng), b=nn.Linear(2, 2, rng=rng))
    net.children()["a"].grads.update(w=np.ones((2, 2), np.float32), b=np.ones(2, np.float32))
    before = {name: array.copy() for name, array in net.named_params()}
    optimizer = optim.SGD(0.1)
    with pytest.raises(RuntimeError, match=r"step must come after a backward, got no gradient for b\.w"):
        optimizer.step(net)
    assert optimizer.steps == 0
    for name, array in net.named_params():
        np.testing.assert_array_equal(array, before[name])


# --- no decay ----------------------------------------------------------------------------------------------------


def decayed(no_decay):
    """The parameters that weight decay alone, without gradients, makes smaller."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(
        conv=nn.Conv2d(2, 2, 1, rng=rng), bn=nn.BatchNorm2d(2), last=nn.Sequential(sub=nn.Linear(2, 2, rng=rng))
    )
    for _, array in net.named_params():
        array[...] = 1
    for _, layer in net.named_layers():
        layer.grads = {name: np.zeros_like(array) for name, array in layer.params.items()}
    optim.SGD(0.5, weight_decay=0.5, no_decay=no_decay).step(net)
    for _, array in net.named_params():
        assert (array == 1).all() or (array == 0.75).all()
    return {name for name, array in net.named_params() if (array != 1).all()}


def test_no_decay():
    everything = {"conv.w", "conv.b", "bn.gamma", "bn.beta", "last.sub.w", "last.sub.b"}
    assert decayed(()) == everything
    assert decayed(("b", "gamma", "beta")) == {"conv.w", "last.sub.w"}
    assert decayed(["conv.b"]) == everything - {"conv.b"}
    assert decayed(("sub.w",)) == everything - {"last.sub.w"}
    assert decayed(("ub.w",)) == everything  # whole names, not letters
    assert decayed(lambda name, array: array.ndim == 1) == {"conv.w", "last.sub.w"}


def test_a_float_is_a_constant_schedule():
    optimizer = optim.SGD(0.25)
    assert [optimizer.lr(t) for t in (0, 1, 1000)] == [0.25, 0.25, 0.25]
    assert [optim.constant(1, warmup=2)(t) for t in range(4)] == [0.5, 1, 1, 1]


def test_the_optimizer_asks_the_schedule_step_by_step():
    asked = []

    def rate(step):
        asked.append(step)
        return [1.0, 0.25][step]

    np.testing.assert_allclose(path(optim.SGD(rate), [1.0, 1.0]), [0.5, 0.25])
    assert asked == [0, 1]


# --- frozen layers, clipping, float16, state ---


def test_frozen_layers_stay_and_need_no_gradient():
    rng = np.random.default_rng(0)
    net = nn.Sequential(a=nn.Linear(2, 2, rng=rng), b=nn.Linear(2, 2, rng=rng))
    net.freeze("a")
    before = {name: array.copy() for name, array in net.named_params()}
    net.children()["b"].grads.update(w=np.ones((2, 2), np.float32), b=np.ones(2, np.float32))
    optim.SGD(0.1, weight_decay=0.1).step(net)
    moved = {name for name, array in net.named_params() if (array != before[name]).any()}
    assert moved == {"b.w", "b.b"}


def test_clipping_scales_all_gradients_to_the_norm():
    layer = nn.Linear(2, 1, rng=np.random.default_rng(0), dtype=np.float64)
    for array in layer.params.values():
        array[...] = 0
    layer.grads = {"w": np.array([[3.0, 4.0]]), "b": np.array([12.0])}  # of norm 13
    optim.SGD(1.0, clip=6.5).step(layer)
    np.testing.assert_allclose(layer.params["w"], [[-1.5, -2.0]])
    np.testing.assert_allclose(layer.params["b"], [-6.0])
    np.testing.assert_array_equal(layer.grads["w"], [[3.0, 4.0]])
    optim.SGD(1.0, clip=100.0).step(layer)
    np.testing.assert_allclose(layer.params["b"], [-18.0])


MAKERS = [
    lambda **k: optim.SGD(0.1, momentum=0.9, weight_decay=0.1, **k),
    lambda **k: optim.Adam(0.01, **k),
    lambda **k: optim.AdamW(0.01, **k),
]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("master", [False, True])
def test_float16_is_updated_in_float32(make, master):
    """As a float32 parameter is that is rounded after each step, or only for the network to see."""
    half, single = one_number(dtype=np.float16), one_number(dtype=np.float32)
    optimizer, exact = make(master_weights=master), make()
    for g in [1e-4, 3.0, -2e-7, 300.0, 0.0, 1e-5] * 3:
        half.grads["w"] = np.full((1, 1), g, np.float16)
        single.grads["w"] = half.grads["w"].astype(np.float32)
        optimizer.step(half)
        exact.step(single)
        if not master:
            single.params["w"][...] = single.params["w"].astype(np.float16)
        np.testing.assert_array_equal(half.params["w"], single.params["w"].astype(np.float16))
    assert {array.dtype for array in optimizer.state().values()} == {np.dtype(np.float32)}


def test_master_weights_add_up_small_steps():
    layer, optimizer = one_number(1.0, np.float16), optim.SGD(1e-4, master_weights=True)
    for _ in range(100):
        layer.grads["w"] = np.ones((1, 1), np.float16)
        optimizer.step(layer)
    assert layer.params["w"].item() == pytest.approx(0.99, abs=5e-4)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("how", ["pickle", "state"])
def test_an_optimizer_goes_on_where_it_was(make, how):
    layer, optimizer = one_number(), make()
    for g in GRADIENTS[:3]:
        layer.grads["w"] = np.full((1, 1), g)
        optimizer.step(layer)
    if how == "pickle":
        other = pickle.loads(pickle.dumps(optimizer))
    else:
        other = make()
        other.load_state(optimizer.state(), optimizer.steps)
    twin = one_number(layer.params["w"].item())
    for g in GRADIENTS[3:]:
        for one, of in ((optimizer, layer), (other, twin)):
            of.grads["w"] = np.full((1, 1), g)
            one.step(of)
        np.testing.assert_array_equal(layer.params["w"], twin.params["w"])
    assert other.steps == optimizer.steps == 6


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: optim.SGD(-0.1), ValueError, "lr must be finite and at least 0, got lr=-0.1"),
        (lambda: optim.SGD("fast"), TypeError, "lr must be a number, got 'fast'"),
        (lambda: optim.SGD(math.nan), ValueError, "lr must be finite and at least 0, got lr=nan"),
        (lambda: optim.SGD(0.1, momentum=1.5), ValueError, r"momentum must be in \[0, 1\], got momentum=1.5"),
        (lambda: optim.SGD(0.1, nesterov=True), ValueError, "momentum must be above 0 where nesterov is true, got momentum=0.0"),
        (lambda: optim.SGD(0.1, weight_decay=-1), ValueError, "weight_decay must be finite and at least 0"),
        (lambda: optim.SGD(0.1, no_decay="b"), TypeError, "no_decay must be a sequence of names or a function, got 'b'"),
        (lambda: optim.SGD(0.1, no_decay=(1,)), TypeError, r"no_decay must be a sequence of names or a function, got \(1,\)"),
        (lambda: optim.SGD(0.1, no_decay=5), TypeError, "no_decay must be a sequence of names or a function, got 5"),
        (lambda: optim.Adam(betas=0.9), TypeError, "betas must be two numbers, got 0.9"),
        (lambda: optim.Adam(betas=(0.9,)), TypeError, r"betas must be two numbers, got \(0.9,\)"),
        (lambda: optim.Adam(betas=(1.0, 0.9)), ValueError, r"betas\[0\] must be in \[0, 1\)"),
        (lambda: optim.AdamW(eps=0), ValueError, "eps must be finite and above 0"),
        (lambda: optim.SGD(0.1, clip=0), ValueError, "clip must be finite and above 0, got clip=0"),
        (lambda: optim.constant(1.0, warmup=-1), ValueError, "warmup must be at least 0, got warmup=-1"),
        (lambda: optim.step(1.0, 0, 0.1), ValueError, "every must be at least 1, got every=0"),
        (lambda: optim.step(1.0, 1, 0), ValueError, "factor must be finite and above 0"),
        (lambda: optim.linear(1.0, 0), ValueError, "total must be at least 1, got total=0"),
        (lambda: optim.linear(1.0, 10.0), TypeError, "total must be an integer, got 10.0"),
        (lambda: optim.linear(1.0, 5, warmup=5), ValueError, "total must be above warmup, got total=5, warmup=5"),
        (lambda: optim.cosine(1.0, 5, -1.0), ValueError, "final must be finite and at least 0"),
        (lambda: optim.cosine(True, 5), TypeError, "lr must be a number, got True"),
        (lambda: path(optim.SGD(lambda step: -1.0)), ValueError, "lr must be finite and at least 0, got lr=-1.0"),
    ],
)  # fmt: skip
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(("make", "weight_decay"), [(optim.Adam, 0.0), (optim.AdamW, 0.01)])
def test_the_defaults_are_pytorchs(make, weight_decay):
    optimizer = make()
    assert (optimizer.lr(0), optimizer.lr(10**6)) == (1e-3, 1e-3)
    assert (optimizer.betas, optimizer.eps, optimizer.weight_decay) == ((0.9, 0.999), 1e-8, weight_decay)


@pytest.mark.parametrize(
    ("grad", "error", "message"),
    [
        (np.zeros(3, np.float32), ValueError, r"the gradient of w must have the shape \(3, 2\) \(that of the parameter\), got \(3,\)"),
        (np.zeros((3, 2)), TypeError, "the gradient of w must have the dtype of w, got float64 with w float32"),
        ([[0, 0]] * 3, TypeError, "the gradient of w must be a NumPy array, got list"),
    ],
)  # fmt: skip
def test_a_gradient_must_be_one_of_its_parameter(grad, error, message):
    """Otherwise half of the model would have been updated, or all of it by a broadcast number."""
    layer = nn.Linear(2, 3, rng=np.random.default_rng(0))
    layer.grads = {"w": grad, "b": np.zeros(3, np.float32)}
    before = {name: array.copy() for name, array in layer.params.items()}
    sgd = optim.SGD(0.1)
    with pytest.raises(error, match=message):
        sgd.step(layer)
    assert sgd.steps == 0
    for name, array in layer.params.items():
        np.testing.assert_array_equal(array, before[name])


def test_a_state_before_the_first_step_is_a_state():
    sgd = optim.SGD(0.1)
    sgd.load_state({}, 0)
    assert sgd.steps == 0
