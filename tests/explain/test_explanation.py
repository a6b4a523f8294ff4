"""The derivations are right: every displayed formula, computed term by term, is what npconv's operator gives."""

from __future__ import annotations

import numpy as np
import pytest

import npconv
from npconv.explain import EXPLANATIONS, Formula


def test_every_operator_with_a_backward_is_explained():
    operators = {name.removesuffix("_backward") for name in npconv.__all__ if name.endswith("_backward")}
    assert operators - {"octave_depthwise_conv2d"} == set(EXPLANATIONS)


@pytest.mark.parametrize("op", EXPLANATIONS)
def test_formulas_give_what_the_operator_gives(op):
    told = EXPLANATIONS[op]
    results = told.results()
    computed = {formula.name: value for formula, value in told.computed()}
    assert set(results) <= set(computed), "every result and every gradient has a formula"
    for name, expected in results.items():
        np.testing.assert_allclose(computed[name], expected, rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("op", EXPLANATIONS)
def test_an_explanation_is_short_and_its_example_can_be_redone_by_hand(op):
    told = EXPLANATIONS[op]
    assert len(told.derivation) == 5
    assert all(len(line) <= 130 for line in (told.idea, *told.derivation))
    for _, value in told.computed():
        assert value.size <= 36
        if op != "softmax_cross_entropy":  # a logarithm is a logarithm
            np.testing.assert_allclose(12 * value, np.round(12 * value), atol=1e-12)


@pytest.mark.parametrize("op", [op for op, told in EXPLANATIONS.items() if told.cost])
def test_cost_formulas_are_what_costs_counts(op):
    told = EXPLANATIONS[op]
    x = told.arguments["x"]
    y = told.results()["y"]
    w = told.arguments["w" if "w" in told.arguments else "w_depthwise"]
    sizes = dict(zip("NC", x.shape, strict=False)) | dict(zip("NOPQ", y.shape, strict=False))
    sizes |= dict(zip("RS", w.shape[2:], strict=False))
    assert Formula(told.cost).evaluate(**sizes) == told.macs()


def test_a_wrong_formula_is_found():
    told = EXPLANATIONS["channel_shuffle"]
    planted = told._replace(
        formulas=(told.formulas[0], Formula(str(told.formulas[0]).replace("y", "dx").replace("of x", "of dy")))
    )
    computed = {formula.name: value for formula, value in planted.computed()}
    assert (computed["dx"] != told.results()["dx"]).any(), "the gradient of a shuffle is not a shuffle"
