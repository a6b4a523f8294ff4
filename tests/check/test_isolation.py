"""Whatever a checked function does in its process, the caller learns it and goes on."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from npconv import ops
from npconv.check import memory, patience
from npconv.check.adapters import ADAPTERS, Unsupported
from npconv.check.isolation import Isolated
from npconv.workers import WorkerError

X = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
W = np.arange(4 * 3 * 2 * 2, dtype=np.float32).reshape(4, 3, 2, 2)
Y = ops.conv2d(X, W)


@pytest.fixture(scope="module", autouse=True)
def garbage_is_found():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        patch.setenv("NPCONV_BACKEND", "numpy")
        yield


@pytest.fixture(scope="module")
def subjects():
    """garbage.py's functions by name, each in the same process."""
    made: dict[str, Isolated] = {}

    def subject(name: str) -> Isolated:
        if name not in made:
            made[name] = Isolated(f"garbage:{name}", op="conv2d")
        return made[name]

    yield subject
    for one in made.values():
        one.close()


def test_a_right_function_is_as_if_called_here():
    with Isolated("garbage:right", op="conv2d", backward="garbage:right_backward") as subject:
        told = subject.describe()
        assert told.name == "garbage:right"
        assert told.directions == {"conv2d": ("forward", "backward")}
        assert subject.by_threads("conv2d") == {}
        y = subject.forward("conv2d")(X, W, None, stride=2)
        assert y.dtype == np.float32
        assert np.array_equal(y, ops.conv2d(X, W, stride=2))
        dx, dw, db = subject.backward("conv2d")(y, X, W, None, stride=2)
        right = ops.conv2d_backward(y, X, W, None, stride=2)
        assert np.array_equal(dx, right[0])
        assert np.array_equal(dw, right[1])
        assert db is None


@pytest.mark.parametrize("name", ["wrong_shape", "wrong_dtype", "nan", "as_list", "junk"])
def test_garbage_reaches_the_caller_as_it_is(subjects, name):
    got = subjects(name).forward("conv2d")(X, W)
    if name == "wrong_shape":
        assert got.shape == (*Y.shape, 1)
    elif name == "wrong_dtype":
        assert got.dtype == np.float64
    elif name == "nan":
        assert np.isnan(got).all()
    elif name == "as_list":
        assert isinstance(got, list)
        assert np.array_equal(got[0], Y)
    else:
        assert np.array_equal(got, Y)


def test_an_exception_has_its_name_and_words(subjects):
    with pytest.raises(WorkerError, match="out of paper") as caught:
        subjects("raising").forward("conv2d")(X, W)
    assert (caught.value.kind, caught.value.name) == ("exception", "RuntimeError")


@pytest.mark.parametrize("name", ["strange", "strange_numbers"])
def test_what_is_no_array_is_not_imported_here(subjects, name):
    with pytest.raises(WorkerError, match="NumPy") as caught:
        subjects(name).forward("conv2d")(X, W)
    assert caught.value.name == "TypeError"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "message"), [("exiting", "exit status 7"), ("segfault", "signal 11")])
def test_a_death_is_told_until_the_patience_ends(name, message, monkeypatch):
    monkeypatch.setitem(patience.PATIENCE, "death", 2)
    with Isolated(f"garbage:{name}", op="conv2d", backward="garbage:right_backward") as subject:
        for _ in range(2):
            with pytest.raises(WorkerError, match=message) as caught:
                subject.forward("conv2d")(X, W)
            assert caught.value.kind == "death"
        with pytest.raises(Unsupported, match="not called any more: 2 calls ended in a death"):
            subject.forward("conv2d")(X, W)
        assert subject.backward("conv2d")(Y, X, W, None)[0].shape == X.shape  # it has a patience of its own


def test_a_hang_ends():
    with Isolated("garbage:endless", op="conv2d", timeout=0.3) as subject:
        subject.describe()
        start = time.perf_counter()
        with pytest.raises(WorkerError, match=r"0\.3 s") as caught:
            subject.forward("conv2d")(X, W)
        assert caught.value.kind == "hang"
        assert time.perf_counter() - start < 30


def test_changed_inputs_are_told(subjects):
    x, w = X.copy(), W.copy()
    seen = subjects("in_place").forward("conv2d").observe((x, w), {})
    assert seen.changed == (0,)
    assert np.array_equal(x, X)  # those of this process stay as they are


def test_arrays_arrive_as_they_lie():
    """In any order of memory, and NaN between the numbers."""
    with Isolated("garbage:strides_of", op="conv2d") as subject:
        for order in memory.ORDERS:
            x = memory.lay_out(X, order)
            told = subject.forward("conv2d")(x, W)
            assert tuple(told[:-2]) == x.strides, order
            assert bool(told[-2]) == x.flags.writeable, order
            assert bool(told[-1]) == x.flags.aligned, order


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "pytorch"}, "a subject must be one of torch, .* got 'pytorch'"),
        ({"name": "garbage:right"}, "op must say which of conv2d, .* garbage:right is, got None"),
        ({"name": "torch", "backward": "garbage:right"}, "backward goes with a function of yours"),
        ({"name": "garbage:", "op": "conv2d"}, "a function is named as module:function, got 'garbage:'"),
        ({"name": "garbage:right", "op": "conv2d", "backward": "right"}, "module:function, got 'right'"),
    ],
)
def test_what_is_no_subject_is_refused_at_once(arguments, message):
    with pytest.raises(ValueError, match=message):
        Isolated(**arguments)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:f", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("garbage:missing", "AttributeError: .*missing"),
        ("garbage:not_callable", "TypeError: garbage:not_callable is not callable"),
    ],
)
def test_what_cannot_be_loaded_says_so(name, message):
    with Isolated(name, op="conv2d") as subject, pytest.raises(ImportError, match=message):
        subject.describe()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("npconv", "ValueError: --device goes with what has devices, got cuda:0 for npconv"),
        (
            "garbage:right",
            "ValueError: --device goes with a function that asks for tensors, got cuda:0 for garbage:right",
        ),
    ],
)
def test_a_device_is_for_those_that_have_some(name, message):
    op = "conv2d" if ":" in name else None
    with Isolated(name, op=op, device="cuda:0") as subject, pytest.raises(ImportError, match=message):
        subject.describe()


def test_tensors_of_torch_in_another_process():
    """They are made there, on the device that was said; its reproductions make them, too."""
    pytest.importorskip("torch")
    with Isolated("garbage:of_tensors", op="conv2d", device="cpu") as subject:
        assert np.array_equal(subject.forward("conv2d")(X, W, None), Y)
        report = subject.check("conv2d", cases=12, shrinking=100, modes=("exact",))
    assert not report.ok
    assert "torch.tensor(a, device='cpu')" in report.failures[0].reproduction
    missing, message = (
        Isolated("garbage:of_tensors", op="conv2d", device="nowhere"),
        "one that torch has here, got nowhere: ",
    )
    with missing as subject, pytest.raises(ImportError, match=message):
        subject.describe()


@pytest.mark.slow
def test_an_adapter_runs_in_another_process_and_says_what_it_cannot_do():
    with Isolated("npconv", timeout=300) as subject:  # its first call may compile
        told = subject.describe()
        assert told.name == "npconv"
        assert set(told.directions["conv2d"]) == {"forward", "backward"}
        assert np.array_equal(subject.forward("conv2d")(X, W, None), Y)
        functions = subject.by_threads("conv2d")
        assert tuple(functions) == told.threads
        assert all(np.array_equal(function(X, W, None), Y) for function in functions.values())
        dx, dw, db = subject.backward("conv2d")(Y, X, W, None)
        assert dx.shape == X.shape
        assert dw.shape == W.shape
        assert db is None


def test_unsupported_is_no_error(monkeypatch):
    """The exception of the other process becomes the caller's."""
    monkeypatch.setitem(ADAPTERS, "refusing", "refusing")
    subject = Isolated("refusing")
    monkeypatch.setattr(subject, "describe", lambda: None)

    def call(*_, **__):
        raise WorkerError("exception", "no float64 on this device", "Unsupported")

    monkeypatch.setattr(subject._worker, "call", call)
    with pytest.raises(Unsupported, match="no float64 on this device"):
        subject.forward("conv2d")(X, W)
