"""Arrays of other libraries: asked for by an annotation or an attribute, and taken by their protocols."""

from __future__ import annotations

import numpy as np
import pytest

from npconv import check
from npconv.check.arrays import adapted, library_of, taken, use_device
from npconv.check.reproduction import imported


class Tensor:
    """What another library returns."""

    def __init__(self, numbers):
        self.numbers = numbers

    def detach(self):
        return self

    def __array__(self, dtype=None, copy=None):
        return self.numbers


class Capsule:
    def __init__(self, numbers):
        self.numbers = numbers

    def __dlpack__(self, **options):
        return self.numbers.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.numbers.__dlpack_device__()


def asking(library):
    def function(x):
        return x

    function.takes_arrays = library
    return function


def test_it_asks_by_an_attribute_or_an_annotation():
    assert library_of(asking("jax")) == "jax"
    with pytest.raises(ValueError, match="takes_arrays must be one of torch, jax, tensorflow, got 'cupy'"):
        library_of(asking("cupy"))
    assert library_of(lambda x: x) is None
    assert library_of(np.ndarray.sum) is None

    def of_numpy(x: np.ndarray):
        return x

    assert library_of(of_numpy) is None


@pytest.mark.parametrize("make", [Tensor, Capsule])
def test_results_are_taken_by_their_protocol(make):
    numbers = np.arange(3.0)
    first, (second, third), word = taken((make(numbers), [make(numbers), None], "word"))
    assert np.array_equal(first, numbers)
    assert np.array_equal(second, numbers)
    assert (third, word) == (None, "word")
    report = check.run("relu", forward=lambda x: make(np.maximum(x, 0)), cases=12)
    assert report.ok
    assert not check.run("relu", forward=lambda x: make(x[...]), cases=12).ok


def test_tensors_of_torch():
    """On the same memory, so that a change in place is seen; in any order of memory."""
    torch = pytest.importorskip("torch")

    def relu(x: torch.Tensor):
        assert isinstance(x, torch.Tensor)
        return x.clamp(min=0).requires_grad_()

    def in_place(x):
        return x.clamp_(min=0).clone()

    in_place.takes_arrays = "torch"
    assert check.run("relu", forward=relu, cases=40).ok
    kinds = {failure.kind for failure in check.run("relu", forward=in_place, cases=40, shrinking=0).failures}
    assert kinds == {"mutation"}
    backwards = np.arange(4.0, dtype=np.float32)[::-1]
    assert np.array_equal(adapted(relu)(backwards), backwards)
    text = imported(relu, None)("relu", (), {}, "forward")
    assert "taken(checked_function(given(x)))" in text
    with pytest.raises(ValueError, match="--device must be one that torch has here, got nowhere: "):
        use_device("torch", "nowhere")


def test_a_reproduction_gives_and_takes_tensors():
    pytest.importorskip("torch")
    report = check.run("relu", forward=wrong_of_torch, cases=12, shrinking=100)
    program = report.failures[0].reproduction
    assert "torch.tensor(a)" in program
    program = program.replace(f"from {wrong_of_torch.__module__} import wrong_of_torch", "")
    exec(compile(program, "reproduction", "exec"), {"wrong_of_torch": wrong_of_torch})


def wrong_of_torch(x):
    return x.abs()


wrong_of_torch.takes_arrays = "torch"
