"""The adapters that need no framework, and what all adapters share; the others are in tests/frameworks."""

from __future__ import annotations

import importlib.util
import itertools
from importlib.metadata import EntryPoint, EntryPoints

import definitions as literal
import numpy as np
import pytest
from adapter_checks import check_adapter, check_direction

import npconv
from npconv import ops
from npconv.check import adapters
from npconv.check.adapters import ADAPTERS, Unsupported, known, load
from npconv.check.adapters.definitions import arguments, call, definitions
from npconv.check.adapters.framework import Framework
from npconv.check.adapters.padding import pair, sides, windows
from npconv.check.isolation import Isolated
from npconv.geometry import explicit_padding
from npconv.testing.strategies import OPERATORS, Problem

CONVOLUTIONS = ["conv2d", "depthwise_conv2d", "pointwise_conv2d", "separable_conv2d", "ghost_conv2d"]


@pytest.mark.slow
@pytest.mark.parametrize("op", OPERATORS)
def test_npconv(op):
    check_adapter(load("npconv"), op, examples=10)


@pytest.mark.slow
@pytest.mark.parametrize("op", [*CONVOLUTIONS, "max_pool2d", "softmax_cross_entropy"])
def test_scipy(op):
    pytest.importorskip("scipy")
    adapter = load("scipy")
    assert op in adapter.OPERATORS
    check_adapter(adapter, op, examples=25)


class Literal(Framework):
    """A framework with what one must have, in NumPy and without gradients: all else follows."""

    NAME = "literal sums"
    IMPORTS = ("import definitions as literal",)
    ARRAY = "np.asarray({})"
    DIRECTIONS = dict.fromkeys(Framework.OPERATORS, ("forward",))

    def convolution(self, x, w, b, stride, padding, dilation, groups):
        return literal.conv2d(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)

    def average_pool(self, x, kernel, stride, padding, ceil_mode, count_include_pad):
        options = {"padding": padding, "ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
        return literal.avg_pool2d(x, kernel=kernel, stride=stride, **options)

    def max_pool(self, x, kernel, stride, padding, ceil_mode):
        return literal.max_pool2d(x, kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)

    def global_avg_pool2d(self, x):
        return x.mean((2, 3), keepdims=True)

    def repeat(self, x, scale):
        return x.repeat(scale[0], axis=2).repeat(scale[1], axis=3)

    def concatenate(self, maps):
        return np.concatenate(maps, axis=1)

    def moments(self, x):
        return x.mean((0, 2, 3)), x.var((0, 2, 3))

    def normalise(self, x, gamma, beta, mean, var, eps):
        mean, var, gamma, beta = (a[:, None, None] for a in (mean, var, gamma, beta))
        return (x - mean) / np.sqrt(var + eps) * gamma + beta

    def relu(self, x):
        return np.maximum(x, 0)

    def relu6(self, x):
        return np.clip(x, 0, 6)

    def one_hot(self, labels, classes, dtype):
        return np.eye(classes, dtype=dtype)[labels]

    def cross_entropy(self, logits, target):
        shifted = logits - logits.max(1, keepdims=True)
        return (np.log(np.exp(shifted).sum(1)) - (target * shifted).sum(1)).mean()


@pytest.mark.parametrize("op", Framework.OPERATORS)
def test_all_operators_follow_from_few(op):
    """And so does their text."""
    with npconv.backend("numpy"):
        check_adapter(Literal(), op, examples=8)


def test_the_text_of_a_method():
    """``self`` goes, what it calls comes before it, and what else it reads is a constant."""

    class Scaled(Literal):
        FACTOR = 3

        def repeat(self, x, scale):
            return self.relu(x * self.FACTOR)

    text = definitions(Scaled().upsample_nearest2d)
    assert text.index("def relu(x):") < text.index("def repeat(x, scale):\n    return relu(x * 3)")
    assert text.index("def repeat(") < text.index("def upsample_nearest2d(x, scale=2, *, size=None):")
    assert "self" not in text


def fft_problem():
    rng = np.random.default_rng(0)
    x, w, b = (rng.integers(-4, 5, shape).astype(float) for shape in ((2, 4, 7, 8), (6, 2, 3, 2), (6,)))
    return Problem("conv2d", (x, w, b), {"stride": (2, 1), "padding": ((1, 0), (1, 1)), "groups": 2})


def test_scipy_fft():
    """By Fourier transforms whole numbers are no longer whole, which is how one knows that they were used."""
    pytest.importorskip("scipy")
    adapter, problem = load("scipy_fft"), fft_problem()
    check_direction(adapter, problem, None, "forward", 1e-14)
    with pytest.raises(AssertionError):
        check_direction(adapter, problem, None, "forward", 0.0)


@pytest.mark.parametrize("name", ["scipy", "scipy_fft"])
def test_what_scipy_cannot_do(name):
    pytest.importorskip("scipy")
    adapter, (args, options) = load(name), fft_problem()[1:3]
    with pytest.raises(Unsupported, match="no gradients"):
        adapter.backward("conv2d", adapter.forward("conv2d", args, options), args, options)
    with pytest.raises(Unsupported, match="no gradients"):
        adapter.source("conv2d", args, options, "backward")
    if name == "scipy":  # in its own words
        with pytest.raises(Unsupported, match="Unsupported type"):
            adapter.forward("conv2d", tuple(array.astype(np.float16) for array in args), options)


RELU = Problem("relu", (np.array([-1.0, 2.0]),), {})


def test_a_planted_bug_is_seen(monkeypatch):
    adapter = load("npconv")
    monkeypatch.setattr(adapter, "forward", lambda op, args, options: args[0])
    with pytest.raises(AssertionError, match="relu forward"):
        check_direction(adapter, RELU, None, "forward", 0.0)


@pytest.mark.slow
def test_a_wrong_reproduction_is_seen(monkeypatch):
    adapter = load("npconv")
    monkeypatch.setattr(adapter, "source", lambda op, args, options, direction: "got = (2 * dy,)")
    with pytest.raises(AssertionError, match="relu backward by its source"):
        check_direction(adapter, RELU, np.array([3.0, 4.0]), "backward", 0.0)


def test_an_adapter_that_refuses_everything_is_seen(monkeypatch):
    def refuse(*_):
        raise Unsupported("no")

    adapter = load("npconv")
    monkeypatch.setattr(adapter, "forward", refuse)
    monkeypatch.setattr(adapter, "backward", refuse)
    with pytest.raises(AssertionError, match="refused every problem"):
        check_adapter(adapter, "relu", examples=3)


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_adapter_is_where_its_name_says(name):
    assert importlib.util.find_spec(ADAPTERS[name].partition(":")[0]) is not None


def test_another_package_brings_an_adapter(monkeypatch):
    """By an entry point; a name that is here stays what it is."""
    points = [
        EntryPoint("mine", "npconv.check.adapters.npconv", adapters.GROUP),
        EntryPoint("torch", "nowhere", adapters.GROUP),
    ]
    monkeypatch.setattr(adapters.metadata, "entry_points", lambda *, group: EntryPoints(points).select(group=group))
    adapters._brought.cache_clear()
    try:
        assert known() == ADAPTERS | {"mine": "npconv.check.adapters.npconv"}
        assert load("mine").NAME == "npconv"
        with Isolated("mine"):
            pass
    finally:
        adapters._brought.cache_clear()


def test_an_unknown_adapter():
    with pytest.raises(ValueError, match=r"adapter must be one of 'torch', .*, got 'caffe'"):
        load("caffe")


@pytest.mark.parametrize("op", OPERATORS)
def test_arguments_are_those_of_the_operator(op):
    """In the forward's order, which the gradients have too."""
    code = getattr(ops, op).__wrapped__.__code__
    assert arguments(op) == code.co_varnames[: len(arguments(op))]


@pytest.mark.parametrize("padding", ["same", "same_lower", "valid", 2, (1, 2), ((1, 0), (2, 3))])
def test_padding_is_npconvs(padding):
    """Two derivations of one rule."""
    for size, stride, dilation in itertools.product(((9, 10), (13, 7), (1, 2)), (1, 2, (3, 1)), (1, (2, 3))):
        expected = explicit_padding(padding, size, (3, 2), pair(stride), pair(dilation))
        assert sides(padding, size, (3, 2), stride, dilation) == expected


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_windows_are_those_of_the_definition(ceil_mode):
    for size, kernel, stride, pads in itertools.product((1, 4, 9), (1, 2, 3), (1, 2, 5), ((0, 0), (1, 0), (1, 2))):
        if size + sum(pads) >= kernel:
            expected = literal.pool2d_windows((1, 1, size, 1), (kernel, 1), (stride, 1), (pads, (0, 0)), ceil_mode)
            assert windows(size, kernel, stride, pads, ceil_mode) == len(expected)


def test_padding_as_text():
    """What a function calls comes before it; hints and docstrings go."""
    text = definitions(sides)
    assert text.index("def pair(") < text.index("def _same(") < text.index("def sides(")
    assert '"""' not in text
    assert "->" not in text
    namespace = {}
    exec(text, namespace)
    assert namespace["sides"]("same", (5, 5), (2, 3), 2) == sides("same", (5, 5), (2, 3), 2) == ((0, 1), (1, 1))
    assert namespace["pair"](3) == pair(3)


def test_arrays_go_by_their_names_in_a_call():
    assert call("f", ("x",), {"labels": np.zeros(2), "eps": 0.5}) == "f(x, labels=labels, eps=0.5)"
