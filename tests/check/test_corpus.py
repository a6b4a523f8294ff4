"""The cases are what they are said to be: well posed, the same every time, and they cover every feature."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from random import Random

import numpy as np
import pytest

import npconv
from npconv.check import corpus
from npconv.check.building import SMALL, build
from npconv.check.comparison import DIRECTIONS, is_bounded
from npconv.check.corpus import levels_of, values_of
from npconv.check.covering import _pairs, _pairs_of
from npconv.check.expected import expected
from npconv.check.features import FEATURES, LEAST, features
from npconv.check.hard import OPERATORS
from npconv.check.layers import MOST_CHANNELS, MOST_GROUPS, MOST_PIXELS, layers
from npconv.check.measuring import measure
from npconv.testing import map_arrays, named_arrays, strategies
from npconv.testing.rounding import INEXACT

every_operator = pytest.mark.parametrize("op", OPERATORS)


def test_operators_are_those_of_the_strategies_and_of_the_table():
    assert sorted(OPERATORS) == sorted(strategies.OPERATORS) == sorted(FEATURES)


@pytest.mark.slow
@every_operator
def test_known_cases_are_well_posed_and_exact(op):
    """All but the largest, which other tests run."""
    with npconv.backend("numpy"):
        for case in corpus.known_cases(op):
            if case.size >= corpus.LARGE:
                continue
            assert map_arrays(np.shape, case.problem.forward()) == map_arrays(np.shape, case.dy), str(case)
            for direction in DIRECTIONS:
                right = expected(case, direction)
                assert right.whole == (op not in INEXACT), str(case)
                assert is_bounded(expected(case.real(), direction).rows, case.real()), str(case)


@every_operator
def test_labels_are_different(op):
    labels = [case.label for case in corpus.known_cases(op)]
    assert len(set(labels)) == len(labels) >= 4


@pytest.mark.parametrize("op", sorted(set(OPERATORS) - {"global_avg_pool2d", "softmax_cross_entropy"}))
def test_a_result_has_a_million_numbers(op):
    assert any(sum(y.size for _, y in named_arrays(case.dy)) > 1_000_000 for case in corpus.known_cases(op))


@pytest.mark.slow
@every_operator
def test_the_default_run_has_every_level_and_every_pair(op):
    """The promise of the table: each level three times, each pair that is allowed once, half of the cases small."""
    every, table = corpus.cases(op, 300), features(op)
    assert len(every) == 300
    counts = Counter(place for case in every for place in levels_of(case))
    rare = {(name, level) for name in table for level in table[name].levels if counts[name, level] < LEAST}
    assert not rare
    paired = {name: feature for name, feature in table.items() if feature.paired}
    pairs = set(_pairs(paired, lambda values: corpus.fits(op, values), Random(0)))
    for case in every:
        pairs -= _pairs_of(paired, values_of(case))
    assert not pairs
    sizes = sorted(case.size for case in every)
    assert sizes[140] <= 1.1 * SMALL
    assert sum(size == 2 for size in sizes) < 30
    if "kernel" in table:
        assert sum(values_of(case)["kernel"] == (1, 1) for case in every) < 40


@every_operator
def test_a_problem_is_what_is_measured_of_it(op):
    for case in [*corpus.known_cases(op), *corpus.chosen_cases(op, 60)]:
        made = build(op, measure(case.problem))
        assert map_arrays(np.shape, made.args) == map_arrays(np.shape, case.args), str(case)
        with npconv.backend("numpy"):
            if case.size < SMALL:
                assert map_arrays(np.shape, made.forward()) == map_arrays(np.shape, case.dy), str(case)


@every_operator
def test_the_same_seed_gives_the_same_cases(op):
    first, again, other = (corpus.chosen_cases(op, 10, seed=seed) for seed in (0, 0, 1))
    assert list(map(str, first)) == list(map(str, again))
    assert [numbers(case) for case in first] == [numbers(case) for case in again]
    assert [numbers(case) for case in first] != [numbers(case) for case in other]


def numbers(case):
    return [array.tobytes() for _, array in named_arrays((case.args, case.dy))]


@pytest.mark.slow
def test_the_seed_alone_decides():
    """In a fresh process with another hash seed, and whatever modules are loaded."""
    code = """
import zlib{more}
from npconv.check import corpus
from npconv.testing import named_arrays
print([(str(c), zlib.crc32(b"".join(a.tobytes() for _, a in named_arrays((c.args, c.dy))))) for c in corpus.cases("conv2d", 30)])
"""
    told = []
    for seed, more in (("1", ""), ("2", ", decimal, fractions, email, sqlite3, xml.dom")):
        environment = os.environ | {"PYTHONHASHSEED": seed, "NPCONV_BACKEND": "numpy"}
        command = [sys.executable, "-c", code.format(more=more)]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        told.append(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)
    assert told[0] == told[1]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_cases_have_the_dtype_asked_for(dtype):
    for case in corpus.cases("conv2d", 60, dtype=dtype):
        assert case.dtype == dtype
        arrays = [*case.given().values(), case.args, case.real().args]
        assert {array.dtype for _, array in named_arrays(tuple(arrays))} == {np.dtype(dtype)}


def test_a_quarter_of_few_cases_are_known():
    labels = [case.label for case in corpus.cases("conv2d", 40)]
    assert len(labels) == 40
    assert sum(label.startswith("case ") for label in labels) == 30
    assert any(label.startswith("hard") for label in labels)
    assert any(label.startswith(("oct", "ghost", "mobile", "shuffle")) for label in labels)


def test_all_known_cases_are_in_the_default_run():
    for op in OPERATORS:
        assert len(corpus.known_cases(op)) <= 300 // corpus.KNOWN


def test_real_numbers_are_near_the_whole_ones():
    case = next(case for case in corpus.known_cases("conv2d") if case.numbers is None)
    for (_, whole), (_, real) in zip(named_arrays(case.args), named_arrays(case.real().args), strict=True):
        assert (np.abs(whole - real) <= 0.4 + 1e-3 * np.abs(whole)).all()
        assert whole.size == 0 or (real % 1).any()
        assert ((whole == 0) == (real == 0)).all()


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


def test_layers_at_their_real_size():
    """The first and the last convolutions, and everything in between, each kind once."""
    shapes = {op: [case.args[0].shape for case in corpus.network_cases(op)] for op in ("conv2d", "linear", "relu6")}
    assert (1, 3, 224, 224) in shapes["conv2d"]
    assert {(1, 1024), (1, 2048), (1, 1280)} <= set(shapes["linear"])
    assert (1, 64, 112, 112) in shapes["relu6"]
    every = [problem for op in OPERATORS for _, problem in layers(op, capped=False)]
    assert len(every) == 391
    assert len({str((p.op, map_arrays(np.shape, p.args), p.options)) for p in every}) == len(every)
    alone = corpus.network_cases("conv2d", fixed=frozenset({"stride", "padding"}))
    assert all(case.options["stride"] in (1, (1, 1)) for case in alone)


def test_odd_sizes_stay_odd():
    """That is what makes the floor case one."""
    from npconv.check.layers import _fewer

    assert [_fewer(length, 15) for length in (7, 15, 16, 56, 57, 112)] == [7, 15, 14, 14, 15, 14]
