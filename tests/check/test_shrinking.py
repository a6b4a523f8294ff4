"""Failing cases get smaller within a number of tries, whatever time these take."""

from __future__ import annotations

import pickle
import time

import numpy as np
import pytest

import npconv
from npconv import check
from npconv.check import shrinking
from npconv.check.corpus import chosen_cases, known_cases


@pytest.fixture(autouse=True)
def reference():
    with npconv.backend("numpy"):
        yield


def without_stride(x, w, b=None, *, stride=1, **options):
    """Wrong at strides alone, of which it makes 1 and then drops rows from the end."""
    y = npconv.conv2d(x, w, b, stride=stride, **options)
    return y if stride in (1, (1, 1)) else y[::-1, ::-1]


def report(tries):
    return check.run("conv2d", forward=without_stride, cases=30, modes=("exact",), shrinking=tries)


def told(report):
    return report.as_dict() | {"seconds": 0, "failures": list(map(str, report.failures))}


@pytest.mark.slow
def test_a_report_does_not_depend_on_the_time_that_tries_take(monkeypatch):
    """On a machine on which a second goes by between any two looks at the clock."""
    quick = report(200)
    clock = iter(range(10**6))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)) / 4)
    assert told(report(200)) == told(quick)
    assert all(failure.shrunk for failure in quick.failures)


@pytest.mark.slow
def test_more_tries_make_smaller_cases():
    sizes = [min(failure.case.size for failure in report(tries).failures) for tries in (0, 10, 200)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1] < 40


@pytest.mark.slow
@pytest.mark.parametrize("tries", [0, 1, 7])
def test_no_more_cases_are_tried_than_may_be(monkeypatch, tries):
    """A try is of one question; what is found in the end is asked both."""
    tried, examine = [], shrinking.examine
    monkeypatch.setattr(shrinking, "examine", lambda *of: tried.append(of[-1]) or examine(*of))
    check.run("conv2d", forward=without_stride, cases=30, modes=("exact", "bound"), shrinking=tries)
    assert min(tries, 1) <= sum(len(questions) == 1 for questions in tried) <= tries


def test_a_subject_that_hangs_does_not_keep_it_for_ever(monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock) * 2 * shrinking.LONGEST)
    assert not any(failure.shrunk for failure in report(200).failures)


def test_equal_cases_are_one():
    """Those that come from another process, too; and any difference makes another one."""
    case, other = known_cases("conv2d")[:2]
    again = pickle.loads(pickle.dumps(case))
    assert shrinking._key(again) == shrinking._key(case) != shrinking._key(other)
    x = case.args[0].copy()
    x.flat[0] += 1
    changed = [case.with_arrays(case.arrays | {"x": x}), case._replace(options=case.options | {"dilation": (3, 1)})]
    assert len({shrinking._key(one) for one in (case, *changed)}) == 3
    labelled = chosen_cases("softmax_cross_entropy", 5)[0]
    labels = np.roll(labelled.options["labels"], 1) + 1
    moved = labelled._replace(options=labelled.options | {"labels": labels})
    assert shrinking._key(moved) != shrinking._key(labelled)
