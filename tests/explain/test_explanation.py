"""The derivations are right: every displayed formula, computed term by term, is what npconv's operator gives."""

from __future__ import annotations

import numpy as np
import pytest
from mistaken import unnoticed

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


def whole(*shape):
    """Whole numbers, none of them 0, that differ from each other where there are few."""
    return np.random.default_rng(sum(shape)).permutation(np.arange(1.0, 1 + np.prod(shape))).reshape(shape) % 19 + 1


def at(**letters):
    """stride, dilation and pad as options of a convolution, and these letters."""
    options = {"pad": "padding", "stride": "stride", "dilation": "dilation"}
    return {options[name]: value for name, value in letters.items() if name in options}, letters


MAP, LOW = whole(1, 2, 4, 6), whole(1, 3, 2, 3)
OTHERS = {
    "conv2d": [((whole(2, 3, 6, 7), whole(4, 3, 2, 3)), *at(stride=2, dilation=2, pad=1))],
    "depthwise_conv2d": [((whole(2, 3, 6, 7), whole(6, 1, 2, 3)), *at(stride=2, dilation=2, pad=1, m=2))],
    "pointwise_conv2d": [((whole(2, 3, 5, 6), whole(4, 3, 1, 1)), *at(stride=2))],
    "linear": [((whole(3, 4), whole(2, 4), whole(2)), {}, {})],
    "separable_conv2d": [  # whose z has two rows and two columns
        ((whole(3, 2, 3, 4), whole(2, 1, 4, 5), whole(4, 2, 1, 1)), *at(pad=1, m=1)),
        ((whole(3, 1, 3, 4), whole(2, 1, 4, 5), whole(4, 2, 1, 1)), *at(pad=1, m=2)),
    ],
    "ghost_conv2d": [
        ((whole(3, 2, 4, 5), whole(2, 2, 4, 5), whole(4, 1, 3, 3)), *at(pad=1, near=1, maps=2, ghosts=2)),
    ],
    "octave_conv2d": [
        (
            (npconv.OctaveMap(MAP, LOW), npconv.OctaveWeight(*(whole(o, c, 2, 2) for o in (3, 2) for c in (2, 3)))),
            *at(pad=1),
        )
    ],
    "channel_shuffle": [((whole(4, 6, 2, 3), 3), {}, {"groups": 3, "per": 2})],
    "channel_unshuffle": [((whole(4, 6, 2, 3), 3), {}, {"groups": 3, "per": 2})],
    "batch_norm2d": [((whole(2, 3, 4, 5), whole(3), whole(3)), {"eps": 0.5}, {"M": 40, "eps": 0.5})],
    "avg_pool2d": [((whole(2, 3, 6, 7), 3), {"stride": 2}, {"K": 3, "stride": 2})],
    "max_pool2d": [((np.arange(36.0).reshape(2, 3, 3, 2) * 5 % 37, 2), {"stride": 1}, {"K": 2, "stride": 1})],
    "global_avg_pool2d": [((whole(2, 3, 4, 5),), {}, {"M": 20})],
    "upsample_nearest2d": [((whole(2, 3, 4, 5), 2), {}, {})],
    "softmax_cross_entropy": [((whole(3, 4) / 8, np.array([3, 0, 2])), {}, {"K": 4, "N": 3})],
}
"""More examples of operators, on which no two sizes that could be taken for each other are equal: (arguments, options, letters)."""


def others(op):
    """The explanation with each of those examples in the place of its own."""
    told = EXPLANATIONS[op]
    for values, options, letters in OTHERS.get(op, []):
        arguments = dict(zip(told.arguments, values, strict=True))
        if op == "octave_conv2d":
            hh, lh, hl, ll = arguments["w"]
            arguments["w"] = npconv.OctaveWeight(hh=hh, hl=hl, lh=lh, ll=ll)
        y = getattr(npconv, op)(*arguments.values(), **options)
        dy = (
            npconv.OctaveMap(*(whole(*part.shape) for part in y)) if isinstance(y, tuple) else np.array(whole(*y.shape))
        )
        yield told._replace(arguments=arguments, options=options, letters=letters, dy=dy)


@pytest.mark.parametrize("op", EXPLANATIONS)
def test_formulas_hold_for_any_sizes_and_a_mistake_in_one_is_noticed(op):
    calls = {formula: [] for formula in EXPLANATIONS[op].formulas}
    for told in (EXPLANATIONS[op], *others(op)):
        results, values = told.results(), told.values()
        for formula, computed in told.computed():
            expected = results.get(formula.name, computed)
            np.testing.assert_allclose(computed, expected, rtol=1e-11, atol=1e-11, err_msg=formula.name)
            shape = (np.shape(expected),) if formula.name in results else (None,)
            calls[formula].append((shape, dict(values), computed))
            values[formula.name] = computed if computed.ndim else float(computed)
    assert {str(formula): unnoticed(formula.text, calls[formula]) for formula in calls} == {str(f): [] for f in calls}


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
