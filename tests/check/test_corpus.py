"""The cases are what they are said to be: well posed, the same every time, hard where they should be."""

from __future__ import annotations

import numpy as np
import pytest

import npconv
from npconv.check import corpus
from npconv.check.comparison import is_bounded, is_exact
from npconv.check.hard import OPERATORS
from npconv.check.layers import MOST_CHANNELS, MOST_GROUPS, MOST_PIXELS, layers
from npconv.testing import exact_backward, exact_forward, map_arrays, named_arrays, strategies
from npconv.testing.rounding import INEXACT

every_operator = pytest.mark.parametrize("op", OPERATORS)


def test_operators_are_those_of_the_strategies():
    assert sorted(OPERATORS) == sorted(strategies.OPERATORS)


@pytest.mark.slow
@every_operator
def test_known_cases_are_well_posed_and_exact(op):
    """All but the largest, which other tests run."""
    with npconv.backend("numpy"):
        for case in corpus.known_cases(op):
            if case.size >= corpus.LARGE:
                continue
            assert map_arrays(np.shape, case.problem.forward()) == map_arrays(np.shape, case.dy), str(case)
            for rows in (exact_forward(case.problem), exact_backward(case.problem, case.dy)):
                assert is_exact(rows, case) == (op not in INEXACT), str(case)
                assert is_bounded(rows, case.real()), str(case)


@every_operator
def test_labels_are_different(op):
    labels = [case.label for case in corpus.known_cases(op)]
    assert len(set(labels)) == len(labels) >= 4


@pytest.mark.parametrize("op", sorted(set(OPERATORS) - {"global_avg_pool2d", "softmax_cross_entropy"}))
def test_a_result_has_a_million_numbers(op):
    assert any(sum(y.size for _, y in named_arrays(case.dy)) > 1_000_000 for case in corpus.known_cases(op))


@every_operator
def test_the_same_seed_gives_the_same_cases(op):
    first, again, other = (corpus.random_cases(op, 10, seed=seed) for seed in (0, 0, 1))
    assert list(map(str, first)) == list(map(str, again))
    assert [numbers(case) for case in first] == [numbers(case) for case in again]
    assert [numbers(case) for case in first] != [numbers(case) for case in other]
    assert [numbers(case) for case in corpus.known_cases(op)[:5]] == [numbers(c) for c in corpus.known_cases(op)[:5]]


def numbers(case):
    return [array.tolist() for _, array in named_arrays((case.args, case.dy))]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_cases_have_the_dtype_asked_for(dtype):
    for case in corpus.cases("conv2d", 20, dtype=dtype):
        assert case.dtype == dtype
        assert {array.dtype for _, array in named_arrays((case.args, case.dy, case.real().args))} == {np.dtype(dtype)}


def test_half_of_few_cases_are_random():
    labels = [case.label for case in corpus.cases("conv2d", 20)]
    assert len(labels) == 20
    assert labels.count("random") == 10
    assert any(label.startswith("hard") for label in labels)
    assert any(label.startswith(("oct", "ghost", "mobile", "shuffle")) for label in labels)


def test_all_known_cases_are_in_the_default_run():
    for op in OPERATORS:
        assert len(corpus.known_cases(op)) <= 150


def test_real_numbers_are_near_the_whole_ones():
    (case,) = corpus.random_cases("conv2d", 1, seed=5)
    for (_, whole), (_, real) in zip(named_arrays(case.args), named_arrays(case.real().args), strict=True):
        assert (np.abs(whole - real) <= 0.4 + 1e-6).all()
        assert whole.size == 0 or (real % 1).any()


def test_a_search_finds_a_smallest_case():
    found = corpus.smallest("conv2d", lambda case: case.options["groups"] > 1, most=300)
    assert found.args[0].shape == (1, 2, 1, 1)
    assert corpus.smallest("conv2d", lambda case: False, most=20) is None


def test_the_search_runs_on_the_backend_outside():
    """Only its own part is on the reference, whatever is checked on the kernels is checked there."""
    seen = set()
    for name in ("numpy", "numba"):
        with npconv.backend(name):
            corpus.smallest("relu", lambda case: seen.add(npconv.current_backend()), most=2)
    assert seen == {"numpy", "numba"}


def test_layers_are_those_of_all_four_papers():
    networks = {label.partition(":")[0] for op in OPERATORS for label, _ in layers(op)}
    assert {name.partition("_")[0].rstrip("0123456789") for name in networks} >= {
        "mobilenet",
        "shufflenet",
        "oct",
        "ghostnet",
    }
    strides = {problem.options["stride"] for _, problem in layers("depthwise_conv2d")}
    assert {1, 2} <= strides
    assert {problem.args[1].shape[2] for _, problem in layers("depthwise_conv2d")} >= {3, 5}


@every_operator
def test_layers_are_capped(op):
    for label, problem in layers(op):
        for name, array in named_arrays(problem.args):
            assert array.size <= 24 * MOST_CHANNELS * MOST_CHANNELS * MOST_GROUPS * 2, (label, name)
        x = next(array for _, array in named_arrays(problem.args[0]))
        assert all(length <= MOST_PIXELS for length in x.shape[2:]), label


def test_odd_sizes_stay_odd():
    """That is what makes the floor case one."""
    from npconv.check.layers import _fewer

    assert [_fewer(length, 15) for length in (7, 15, 16, 56, 57, 112)] == [7, 15, 14, 14, 15, 14]
