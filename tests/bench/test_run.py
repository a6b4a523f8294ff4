"""The run: who is wrong gets no ratio, who fails is named, and turns are timed and compared round by round."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from npconv.bench import timing
from npconv.bench.cases import Case
from npconv.bench.peers import OWN, PLACES
from npconv.bench.run import Plan, Row, Spread, compare, installed, run

CASE = Case("depthwise", "", 1, 4, 4, 6, 3, 1, 1, 4)
SHUFFLE = Case("shuffle", "", 1, 4, 4, 6, groups=2)


@pytest.fixture
def entrants(monkeypatch):
    """The peers of entrants.py, under the names of their classes, on the NumPy backend."""
    monkeypatch.setenv("NPCONV_BACKEND", "numpy")
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])  # workers search where this process does
    for name in ("Slow", "Wrong", "Refusing", "Dying"):
        monkeypatch.setitem(PLACES, name, f"entrants:{name}")


def test_a_run_tells_right_wrong_refusing_and_dying_apart(entrants):
    plan = Plan([CASE], peers=["Slow", "Wrong", "Refusing", "Dying"], rounds=3, seconds=0.0)
    rows = [row for together in run(plan) for row in together]
    assert [row.direction for row in rows] == ["forward", "backward"]
    for row in rows:
        assert set(row.seconds) == {OWN, "Slow"}
        assert set(row.problems) == {"Wrong", "Refusing", "Dying"}
        assert len(row.seconds[OWN]) == len(row.seconds["Slow"]) == 3
        assert "value" in row.problems["Wrong"]
        assert "bounds" in row.problems["Wrong"]
        assert row.problems["Refusing"] == f"no {row.direction} here"
        assert "exit status 7" in row.problems["Dying"]
        assert row.best == "Slow"
        assert min(row.seconds["Slow"]) >= 0.02
        assert row.ratio("Slow").low > 1
        assert row.ratio("Wrong") is None


def test_each_number_of_threads_has_its_processes_and_its_row(entrants):
    plan = Plan([CASE], directions=["forward"], peers=[], threads=(1, 2), rounds=1, seconds=0.0)
    (rows,) = run(plan)
    assert [row.threads for row in rows] == [1, 2]
    assert all(set(row.seconds) == {OWN} and row.best is None for row in rows)


def test_what_npconv_cannot_do_is_a_row_without_times(entrants):
    broken = CASE._replace(groups=3, op="group")  # 3 does not divide 4
    ((row,),) = run(Plan([broken], directions=["forward"], peers=["Slow"], rounds=1, seconds=0.0))
    assert not row.seconds
    assert "groups must divide" in row.problems[OWN]


def test_plans_have_only_the_directions_that_a_case_has():
    plan = Plan([CASE, SHUFFLE], directions=["backward", "weight_grad"])
    assert plan.rows == [(CASE, "backward"), (CASE, "weight_grad"), (SHUFFLE, "backward")]


def test_ratios_are_taken_round_by_round():
    row = Row(CASE, "forward", 1, {OWN: [1.0, 2.0, 1.0], "a": [2.0, 2.0, 3.0], "b": [9.0, 1.5, 9.0]}, {})
    assert row.best == "a"
    assert row.ratio("a") == Spread(2.0, 1.0, 3.0)
    assert Row(CASE, "forward", 1, {"a": [1.0]}, {}).ratio("a") is None


def test_comparison_is_by_the_bound_of_each_number():
    exact, bound = np.array([1.0, 2.0]), np.array([0.1, 0.0])
    assert compare([np.array([1.05, 2.0], np.float32)], [(exact, bound)]) == ""
    assert "2 bounds" in compare([np.array([1.2, 2.0])], [(exact, bound)])
    assert "inf bounds" in compare([np.array([1.0, 2.0 + 1e-9])], [(exact, bound)])
    assert "inf bounds" in compare([np.array([np.nan, 2.0])], [(exact, bound)])
    assert "shape (2, 1)" in compare([exact[:, None]], [(exact, bound)])
    assert "2 values where 1" in compare([exact, exact], [(exact, bound)])


def test_a_turn_lasts_about_as_long_as_asked(monkeypatch):
    calls = []
    monkeypatch.setattr(timing, "_prepared", [lambda: calls.append(time.sleep(0.004))])
    assert len(timing.measure(0.0)) == 1  # a long call is timed once, after one that is not
    assert len(calls) == 2
    times = timing.measure(0.1)
    assert 1 <= len(times) <= 24
    assert all(seconds >= 0.004 for seconds in times)
    assert len(calls) == 3 + len(times)


def test_installed_looks_for_the_framework(monkeypatch):
    monkeypatch.setitem(PLACES, "there", "npconv.bench.peers.json:Peer")
    monkeypatch.setitem(PLACES, "not there", "npconv.bench.peers.no_such_framework:Peer")
    assert installed("there")
    assert not installed("not there")
