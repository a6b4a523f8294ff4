"""The table of measured accuracy: every operator is in it, each number is within its bound, and what is wrong shows."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from commands import call

import npconv
from npconv import ops
from npconv.check import accuracy
from npconv.check.accuracy import ALGORITHMS, measure, problems
from npconv.testing.strategies import OPERATORS

# What these do is no sum, or that of another one in the table.
NOT_MEASURED = {
    "relu",
    "relu6",
    "max_pool2d",
    "channel_shuffle",
    "channel_unshuffle",
    "add",
    "concatenate",
    "scale_channels",
}
TABLE = Path(npconv.__file__).parents[1] / "examples" / "site" / "accuracy.csv"


def test_every_operator_that_rounds_is_in_it() -> None:
    assert {problem.op for _, problem in problems(np.random.default_rng(0))} >= set(OPERATORS) - NOT_MEASURED


@pytest.fixture(scope="module")
def rows() -> list[accuracy.Accuracy]:
    return list(measure(["numpy"], only="hard")) + list(measure(["numpy"], only="softmax"))


@pytest.mark.slow
def test_the_reference_is_within_the_bound(rows: list[accuracy.Accuracy]) -> None:
    assert [(row.op, row.array) for row in rows] == [
        ("hard_sigmoid", "y"), ("hard_sigmoid", "dx"), ("hard_swish", "y"), ("hard_swish", "dx"),
        ("softmax_cross_entropy", "y"), ("softmax_cross_entropy", "dlogits"),
    ]  # fmt: skip
    for row in rows:
        assert 0 < row.worst["numpy"] <= 1
        assert 20 < row.bits["numpy"] < 40


def test_what_is_wrong_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    right = ops.hard_swish
    monkeypatch.setattr(ops, "hard_swish", lambda x: right(x) * x.dtype.type(1 + 2**-16 * (x.dtype == np.float32)))
    (y, _) = measure(["numpy"], only="hard_swish")
    assert y.worst["numpy"] > 10
    assert 15 < y.bits["numpy"] < 17


def test_no_error_is_all_bits() -> None:
    (row,) = [row for row in measure(["numpy"], only="upsample") if row.array == "y"]
    assert (row.worst["numpy"], row.bits["numpy"]) == (0, math.inf)


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    words = ("bench", "accuracy", "--algorithms", "numpy", "--filter", "hard_swish")
    status, out, err = call(*words, "-o", tmp_path / "a.csv")
    assert (status, err) == (0, "")
    heads, y, dx = csv.reader((tmp_path / "a.csv").read_text().splitlines())
    assert heads == ["operator", "arrays", "result", "terms", "NumPy"]
    assert (y[0], y[2], dx[2]) == ("hard_swish", "y", "dx")
    assert y[4] in out
    status, out, _ = call(*words, "--json")
    assert [row["array"] for row in json.loads(out)] == ["y", "dx"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--algorithms", "cuda"), "--algorithms must be some of numpy, kernels, winograd, torch, got 'cuda'"),
        (("--filter", "nothing"), "--filter must be in the name of an operator, got 'nothing'"),
        (("--seed", "-1"), "--seed must be at least 0, got --seed=-1"),
    ],
)
def test_what_cannot_be_measured(words: tuple[str, ...], message: str) -> None:
    status, _, err = call("bench", "accuracy", "--algorithms", "numpy", *words)
    assert status == 2
    assert message in err


def test_the_table_of_the_site() -> None:
    """It has all operators by all algorithms, and nothing in it is beyond its bound."""
    if not TABLE.exists():
        pytest.skip("an installed package")
    heads, *lines = csv.reader(TABLE.read_text(encoding="utf-8").splitlines())
    assert heads[4:] == list(ALGORITHMS.values())
    measured = [(problem.op, sizes) for sizes, problem in problems(np.random.default_rng(0))]
    assert list(dict.fromkeys((line[0], line[1]) for line in lines)) == measured
    for line in lines:
        for cell in filter(None, line[4:]):
            assert cell == "exact" or float(cell.split()[0]) <= (20 if "winograd" in cell else 1)
