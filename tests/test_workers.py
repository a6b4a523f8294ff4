"""The process for foreign code: its value, its exception, its death and its silence all reach the caller."""

from __future__ import annotations

import os
import shutil
import time

import numpy as np
import pytest

from npconv.workers import Worker, WorkerError


@pytest.fixture(scope="module")
def worker():
    with Worker(timeout=30, environment={"NPCONV_TEST_WORD": "set before imports"}) as worker:
        yield worker


def test_arrays_go_there_and_back(worker):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(worker.call("numpy:negative", x), -x)
    assert worker.call("os:getpid") != os.getpid()
    assert worker.call("os:getenv", "NPCONV_TEST_WORD") == "set before imports"


def test_an_exception_is_reported_and_the_process_goes_on(worker):
    process = worker.call("os:getpid")
    with pytest.raises(WorkerError, match="integer division") as caught:
        worker.call("operator:floordiv", 1, 0)
    assert (caught.value.kind, caught.value.name) == ("exception", "ZeroDivisionError")
    assert "Traceback" in caught.value.details
    with pytest.raises(WorkerError) as caught:
        worker.call("sys:exit", 3)
    assert (caught.value.kind, caught.value.name) == ("exception", "SystemExit")
    assert worker.call("os:getpid") == process


def test_what_cannot_be_sent_is_an_exception_of_the_call(worker):
    with pytest.raises(WorkerError) as caught:
        worker.call("threading:Lock")
    assert caught.value.kind == "exception"
    assert worker.call("operator:add", 1, 2) == 3


@pytest.mark.parametrize(("call", "message"), [(("os:abort",), "signal 6"), (("os:_exit", 7), "exit status 7")])
def test_a_death_is_reported_and_the_next_call_has_a_new_process(worker, call, message):
    before = worker.call("os:getpid")
    with pytest.raises(WorkerError, match=message) as caught:
        worker.call(*call)
    assert caught.value.kind == "death"
    assert worker.call("os:getpid") != before


def test_the_last_words_of_a_process_are_kept():
    with Worker() as worker:
        worker.call("os:write", 2, b"out of memory, say")
        with pytest.raises(WorkerError) as caught:
            worker.call("os:abort")
    assert "out of memory, say" in caught.value.details


def test_a_hang_ends_after_the_timeout(worker):
    start = time.perf_counter()
    with pytest.raises(WorkerError, match=r"time:sleep was not done after 0\.3 s") as caught:
        worker.call("time:sleep", 60, timeout=0.3)
    assert caught.value.kind == "hang"
    assert time.perf_counter() - start < 30
    assert worker.call("operator:add", 1, 2) == 3


@pytest.mark.parametrize("name", ["numpy", "numpy:", ":negative"])
def test_a_function_has_a_module_and_a_name(worker, name):
    with pytest.raises(WorkerError, match=r"package\.module:function"):
        worker.call(name)


def test_a_process_that_cannot_start_is_a_death(monkeypatch):
    monkeypatch.setattr("sys.executable", shutil.which("false"))
    with Worker() as worker, pytest.raises(WorkerError, match="a new process") as caught:
        worker.call("os:getpid")
    assert caught.value.kind == "death"


def test_any_number_of_seconds_may_be_waited():
    with Worker(timeout=1e308) as worker:
        assert worker.call("operator:add", 1, 2) == 3
