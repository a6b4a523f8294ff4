"""On several processes: the same report, field by field, however the cases are cut."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

import npconv
from npconv import check
from npconv.check import parallel, patience
from npconv.check.isolation import Isolated

joblib = pytest.importorskip("joblib")


@pytest.fixture(autouse=True)
def garbage_is_found(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv("NPCONV_BACKEND", "numpy")


def told(report):
    """All of a report but the seconds that it took."""
    return report.as_dict() | {"seconds": 0, "failures": list(map(str, report.failures))}


def doubled_at_stride(x, w, b=None, *, stride=1, **options):
    y = npconv.conv2d(x, w, b, stride=stride, **options)
    return 2 * y if stride not in (1, (1, 1)) else y


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [2, 5])
def test_any_split_gives_the_same_report(jobs):
    """In this process: where the cases are cut is what matters."""

    def report(jobs):
        with npconv.backend("numpy"), joblib.parallel_config(backend="sequential"):
            return check.run("conv2d", forward=doubled_at_stride, cases=25, jobs=jobs, shrinking=0)

    assert told(report(1)) == told(report(jobs))
    assert not report(jobs).ok


def checked(function, jobs, **settings):
    with Isolated(function, op="conv2d", backward="garbage:endless_at_stride", timeout=1.0) as subject:
        return subject.check("conv2d", jobs=jobs, shrinking=0, modes=("exact",), **settings)


@pytest.mark.slow
def test_subjects_that_die_and_hang(monkeypatch):
    """Until they are called no more, which the cases after that must show, whatever their own part has seen."""
    monkeypatch.setattr(patience, "PATIENCE", {"hang": 1, "death": 2})
    with joblib.parallel_config(backend="sequential"):
        one, three = (checked("garbage:exiting_at_dilation", jobs, cases=12) for jobs in (1, 3))
    assert told(one) == told(three)
    assert {"death", "hang"} <= {failure.kind for failure in one.failures}
    assert {"1 calls ended in a hang", "2 calls ended in a death"} <= {
        message.removeprefix("not called any more: ") for message in one.unsupported
    }


@pytest.mark.slow
def test_other_processes_start_subjects_of_their_own():
    one, two = (checked("garbage:in_place", jobs, cases=6) for jobs in (1, 2))
    assert told(one) == told(two)
    assert "mutation" in {failure.kind for failure in one.failures}


def test_a_subject_has_the_threads_that_it_has_alone(monkeypatch):
    """joblib tells its processes to use fewer."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    given = {name: os.environ.get(name) for name in parallel.THREADS}
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MKL_NUM_THREADS", "1")
    assert parallel._part(check.running.Checked(np.abs, None), [], [], given) == []
    assert "OMP_NUM_THREADS" not in os.environ
    assert os.environ["MKL_NUM_THREADS"] == "7"


def test_progress_is_told_in_the_order_of_the_cases():
    seen = []
    with joblib.parallel_config(backend="threading"):
        check.run("relu", forward=np.abs, cases=10, jobs=2, shrinking=0, progress=lambda *done: seen.append(done))
    assert seen == [(done, 10) for done in range(1, 11)]


def test_the_number_of_jobs_is_checked():
    with pytest.raises(ValueError, match="jobs must be at least 1, got jobs=0"):
        check.run("relu", forward=np.abs, jobs=0)


def test_without_joblib(monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(ImportError, match=r"need joblib, got no such package: pip install 'npconv\[check\]'"):
        check.run("relu", forward=np.abs, cases=2, jobs=2)
