"""The adapters that need no framework, and what all adapters share; the others are in tests/frameworks."""

from __future__ import annotations

import importlib.util
import itertools
from importlib.metadata import EntryPoint, EntryPoints

import numpy as np
import pytest
from adapter_checks import check_adapter, check_direction

from npconv import ops
from npconv.check import adapters
from npconv.check.adapters import ADAPTERS, Unsupported, known, load
from npconv.check.adapters.definitions import arguments, call, definitions
from npconv.check.adapters.padding import pair, sides
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
        adapter.source("conv2d", options, "backward")
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
    monkeypatch.setattr(adapter, "source", lambda op, options, direction: "got = (2 * dy,)")
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
    assert importlib.util.find_spec(ADAPTERS[name]) is not None


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
