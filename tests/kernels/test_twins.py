"""The two backends are twins: the same primitives in the same files, in the same order, with the same arguments and results."""

from __future__ import annotations

import ast
import copy
from pathlib import Path

import numpy as np
import pytest
from checks import INEXACT, check_equal
from hypothesis import given
from hypothesis import strategies as st

import npconv
from npconv import backends, kernels, reference
from npconv.testing.strategies import OPERATORS, problems_with_dy

M = np.arange(-24.0, 24.0).reshape(2, 4, 2, 3)


def primitives(package):
    """{file: [(function, [arguments])]} of the public functions in the package's __all__, in order of definition."""
    files = {}
    for path in sorted(Path(package.__file__).parent.glob("*.py")):
        functions = [
            (node.name, [argument.arg for argument in node.args.args])
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef) and node.name in package.__all__
        ]
        if functions:
            files[path.name] = functions
    return files


def test_names_files_order_and_arguments_are_the_same():
    assert reference.__all__ == kernels.__all__
    assert primitives(reference) == primitives(kernels)


def test_every_primitive_is_found_in_a_file():
    """So the test above compares them all."""
    found = [name for functions in primitives(reference).values() for name, _ in functions]
    assert sorted(found) == reference.__all__


def test_docstrings_say_what_each_half_is():
    for package in (reference, kernels):
        for name in package.__all__:
            assert getattr(package, name).__doc__, f"{package.__name__}.{name}"


def run(name, problem, dy):
    """Forward and backward on one backend, with the primitives that they called."""
    with npconv.backend(name), backends.record() as calls:
        return (problem.forward(), problem.backward(dy)), {primitive for primitive, _ in calls}


@pytest.mark.parametrize("largest", [4, 40])
@pytest.mark.parametrize("op", OPERATORS)
@given(data=st.data())
def test_results_are_the_same(op, largest, data):
    """On whole numbers with ==, also in sizes beyond any block or vector register of a kernel."""
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    problem, dy = data.draw(problems_with_dy(op, dtype, largest=largest))
    expected, _ = run("numpy", problem, dy)
    got, _ = run("numba", problem, dy)
    check_equal(got, expected, 400 if op in INEXACT else 0)


# What operators do not call by themselves: layers join branches with it, and optimisers move weights.
OTHERS = {
    "add": (M, M, "relu"),
    "concatenate": ((M, M), "relu6"),
    "concatenate_input_grad": (M, M, 1, 3, "relu"),
    "scale": (M, M[:, :, :1, :1], M),
    "scale_gate_grad": (M, M),
    "sgd_update": (np.full(5000, 2.0), np.ones(5000), np.ones(5000), 0.5, 0.5, False, 0.0),
    "adam_update": (*(np.full(5000, number) for number in (2.0, 1.0, 0.5, 0.25)), 1, 0.5, (0.5, 0.5), 0.5, 0.0, False),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_primitives_are_the_same(name):
    """Their tests in tests/ops and tests/test_optim.py go further."""
    made = []
    for package in (reference, kernels):
        arguments = copy.deepcopy(OTHERS[name])
        result = getattr(package, name)(*arguments)
        made.append((arguments if result is None else (), result))
    np.testing.assert_equal(made[0], made[1])


def test_every_primitive_is_compared():
    """The operators above, and these others, are all of them."""
    called = set()

    @given(data=st.data())
    def collect(data):
        for op in OPERATORS:
            called.update(run("numpy", *data.draw(problems_with_dy(op)))[1])

    collect()
    assert called | set(OTHERS) == set(reference.__all__)
