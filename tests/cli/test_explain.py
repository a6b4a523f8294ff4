"""`npconv explain` and `npconv show`: what they print is what the formulas give and what the files hold."""

from __future__ import annotations

import json

import numpy as np
import pytest
from commands import call

from npconv import reference
from npconv.cli.explain import side_by_side
from npconv.cli.show import primitives
from npconv.explain import EXPLANATIONS


@pytest.mark.parametrize("op", EXPLANATIONS)
def test_an_operator_is_explained(op):
    code, stdout, stderr = call("explain", op)
    assert (code, stderr) == (0, "")
    told = EXPLANATIONS[op]
    assert told.idea in stdout
    assert all(str(formula) in stdout for formula in told.formulas)
    assert all(line in stdout for line in told.derivation)
    assert told.source in stdout


def test_the_example_of_conv2d_has_its_numbers():
    _, stdout, _ = call("explain", "conv2d")
    assert "MACs = N * O * P * Q * C * R * S; of the example: 16" in stdout
    example = stdout[stdout.index("gives") :].splitlines()
    assert [line.split() for line in example[1:5]] == [
        ["y", "dx", "dw"],
        ["37", "47", "1", "2", "0", "11", "14"],
        ["67", "77", "3", "6", "4", "20", "23"],
        ["0", "6", "8"],
    ]


def test_json_has_everything():
    code, stdout, _ = call("explain", "channel_shuffle", "--json")
    told = json.loads(stdout)
    assert code == 0
    assert np.ravel(told["results"]["y"]).tolist() == [0, 3, 1, 4, 2, 5]
    assert told["macs"] == 0


def test_arrays_that_do_not_fit_go_below():
    arrays = [("a", np.ones((1, 1, 2, 2))), ("b", np.zeros((1, 2, 1, 1))), ("c", np.arange(3.0))]
    assert side_by_side(arrays, 80) == ["a      b      c", "1 1    0 0    0 1 2", "1 1"]
    assert side_by_side(arrays, 15) == ["a      b", "1 1    0 0", "1 1", "", "c", "0 1 2"]


@pytest.mark.parametrize("command", ["explain", "show"])
def test_a_misspelt_operator_is_suggested(command):
    code, stdout, stderr = call(command, "depthwise")
    assert (code, stdout) == (2, "")
    assert stderr.startswith("npconv: OP must be one of conv2d, ")
    assert stderr.endswith("got 'depthwise'; did you mean depthwise_conv2d?\n")


@pytest.mark.parametrize("op", EXPLANATIONS)
def test_every_operator_can_be_shown(op):
    code, stdout, stderr = call("show", op)
    assert (code, stderr) == (0, "")
    for name in primitives(op, reference) or [op, f"{op}_backward"]:
        assert f"def {name}(" in stdout


def test_both_twins_are_shown():
    _, stdout, _ = call("show", "channel_shuffle", "--below")
    assert "# npconv.reference.shuffle.channel_shuffle" in stdout
    assert "# npconv.kernels.shuffle.channel_shuffle" in stdout
    _, stdout, _ = call("show", "channel_shuffle", "--side-by-side")
    (line,) = (line for line in stdout.splitlines() if "npconv.reference.shuffle.channel_shuffle" in line)
    assert "npconv.kernels.shuffle.channel_shuffle" in line


def test_names_of_other_operators_are_not_shown():
    assert primitives("relu", reference) == ["relu", "relu_input_grad"]
    assert "conv2d_bias_grad" in primitives("conv2d", reference)
