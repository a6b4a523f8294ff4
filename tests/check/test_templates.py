"""Templates are modules that load, with functions of the operator's own parameters."""

from __future__ import annotations

import inspect

import pytest

from npconv import check, ops
from npconv.check.arrays import library_of
from npconv.check.hard import OPERATORS
from npconv.check.templates import KINDS, template


@pytest.mark.parametrize("op", OPERATORS)
def test_a_template_has_the_operators_parameters(op):
    namespace = {}
    exec(compile(template("numpy", op), "mine", "exec"), namespace)
    parameters = list(inspect.signature(getattr(ops, op)).parameters)
    assert list(inspect.signature(namespace[op]).parameters) == parameters
    assert list(inspect.signature(namespace[f"{op}_backward"]).parameters) == ["dy", *parameters]
    with pytest.raises(NotImplementedError):
        namespace[op](*[None] * len(parameters))


def test_padding_has_by_default_the_form_in_which_it_comes():
    namespace = {}
    body = "    (top, bottom), (left, right) = padding\n    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))\n"
    body += "    return npconv.conv2d(x, w, b, stride=stride, dilation=dilation, groups=groups, activation=activation)"
    source = template("numpy", "conv2d").replace("    raise NotImplementedError  # return y, a new array", body)
    exec(compile("import npconv\n" + source, "mine", "exec"), namespace)
    assert check.run("conv2d", forward=namespace["conv2d"], cases=40).ok


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_python(kind):
    compile(template(kind, "conv2d"), "mine", "exec")


def test_tensors_are_asked_for():
    pytest.importorskip("torch")
    namespace = {}
    exec(compile(template("torch", "linear"), "mine", "exec"), namespace)
    assert library_of(namespace["linear"]) == library_of(namespace["linear_backward"]) == "torch"


def test_others_are_refused():
    with pytest.raises(ValueError, match="--template must be one of numpy, torch, jax, c, got 'rust'"):
        template("rust", "conv2d")
    with pytest.raises(ValueError, match=r"--op must be one of conv2d, .* got 'conv3d'"):
        template("numpy", "conv3d")
