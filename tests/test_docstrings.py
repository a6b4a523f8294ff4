"""Every public name says what it is; every operator says shapes, dtype, errors and source, and has an example that runs."""

from __future__ import annotations

import importlib
import inspect

import pytest

import npconv

MODULES = (
    "npconv",
    "npconv.nn",
    "npconv.models",
    "npconv.optim",
    "npconv.training",
    "npconv.data",
    "npconv.weights",
    "npconv.onnx",
    "npconv.layouts",
    "npconv.costs",
    "npconv.papers",
    "npconv.check",
    "npconv.testing",
    "npconv.explain",
)
OPERATORS = [name for name in npconv.ops.__all__ if inspect.isfunction(getattr(npconv, name))]
SECTIONS = ("Parameters", "Returns", "Raises", "Notes", "Examples")


def public(name):
    """(name, function or class) of what a module exports."""
    module = importlib.import_module(name)
    own = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == name and key[0] != "_"]
    for key in getattr(module, "__all__", own):
        value = getattr(module, key)
        if inspect.isroutine(value) or inspect.isclass(value):
            yield f"{name}.{key}", value


def missing(docstring):
    """What an operator's docstring does not say."""
    lines = [line.strip() for line in docstring.splitlines()]
    absent = [section for section in SECTIONS if section not in lines]
    words = {"a dtype": ("float", "dtype"), "a shape": ("(N,", "(O,", "shape", "array ()"), "a doctest": (">>>",)}
    return absent + [what for what, any_of in words.items() if not any(word in docstring for word in any_of)]


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_a_docstring(module):
    without = []
    for name, value in public(module):
        if not (inspect.getdoc(value) or "").strip():
            without.append(name)
        methods = vars(value).items() if inspect.isclass(value) else ()
        without += [
            f"{name}.{key}"
            for key, method in methods
            if key[0] != "_"
            and (inspect.isfunction(method) or isinstance(method, property))
            and not inspect.getdoc(getattr(value, key))
        ]
    assert not without


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_says_shapes_dtype_errors_and_source(name):
    assert missing(inspect.getdoc(getattr(npconv, name))) == []


def test_what_is_missing_is_found():
    assert missing("One sentence.\n\nParameters\n----------\nx : array (N, C, H, W)\n") == [
        "Returns",
        "Raises",
        "Notes",
        "Examples",
        "a dtype",
        "a doctest",
    ]
