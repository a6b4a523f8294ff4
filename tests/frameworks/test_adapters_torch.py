"""The adapters for PyTorch: npconv's results, and reproductions that give PyTorch's own again."""

from __future__ import annotations

import numpy as np
import pytest
from adapter_checks import check_adapter, check_direction
from required import framework

from npconv.check.adapters import Unsupported, load
from npconv.testing.strategies import OPERATORS, Problem

torch = framework("torch")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", ["torch", "torch_channels_last"])
@pytest.mark.parametrize("op", OPERATORS)
def test_torch(op: str, name: str) -> None:
    """The gradient of F.hardsigmoid has the precision of float32, whatever its dtype."""
    check_adapter(load(name), op, examples=30, tolerance=1e-7 if op == "hard_sigmoid" else 1e-11)


def test_channels_last_is_what_pytorch_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter, seen = load("torch_channels_last"), []
    x = np.ones((2, 3, 4, 5), np.float32)
    assert "memory_format=torch.channels_last" in adapter.source("relu", (x,), {}, "forward")
    monkeypatch.setattr(adapter, "relu", lambda x: seen.append(x) or torch.relu(x))
    adapter.forward("relu", (x,), {})
    adapter.backward("relu", x, (x,), {})
    assert [one.is_contiguous(memory_format=torch.channels_last) for one in seen] == [True, True]


@pytest.mark.parametrize("name", ["torch", "torch_channels_last", "torch_compile"])
def test_a_missing_device_is_one_line(name: str) -> None:
    with pytest.raises(ValueError, match="--device must be one that PyTorch has here, got nowhere:3: "):
        load(name).use_device("nowhere:3")
    assert "device" not in load(name).arithmetic_settings()


def test_its_own_words_for_what_it_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kernels for the operators cover float16; that for inverses does not."""
    adapter = load("torch")
    monkeypatch.setattr(adapter, "relu", torch.cholesky_inverse)
    with pytest.raises(Unsupported, match="not implemented for"):
        adapter.forward("relu", (np.ones((2, 2), np.float16),), {})


def test_short_where_pytorch_has_a_function_for_it() -> None:
    args = np.ones((1, 4, 5, 5)), np.ones((4, 1, 3, 3)), None
    text = load("torch").source("conv2d", args, {"stride": 2, "padding": 1, "dilation": 1, "groups": 4}, "forward")
    assert "def " not in text
    assert "functional.conv2d(x, w, b, stride=2, padding=(1, 1), groups=4)" in text


@pytest.mark.filterwarnings("ignore")  # of its own deprecated parts
def test_torch_compile() -> None:
    """Two convolutions of different sizes, the second with everything; compiled anew, as a call of the first shows."""
    adapter, rng = load("torch_compile"), np.random.default_rng(0)

    def whole(*shape: int) -> np.ndarray:
        return rng.integers(-4, 5, shape).astype(np.float32)

    everything = {"stride": 2, "padding": ((1, 0), (1, 1)), "dilation": 1, "groups": 2}
    problem = Problem("conv2d", (whole(2, 4, 6, 7), whole(6, 2, 3, 2), whole(6)), everything)
    for direction in ("forward", "backward"):
        check_direction(adapter, problem, whole(*problem.forward().shape), direction, 0.0)
    assert "torch.compile" in adapter.source("conv2d", problem.args, everything, "forward")
    assert "inductor" in adapter.arithmetic_settings()["torch.compile"]
