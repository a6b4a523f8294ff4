"""Weights come back as they were; a damaged or foreign file is one clear error and changes nothing."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from npconv import nn, weights
from npconv.models import MODELS


def network(seed: int, *, channels: int = 4, dtype: type = np.float32) -> nn.Layer:
    rng = np.random.default_rng(seed)
    model = nn.Sequential(
        conv=nn.Conv2d(3, channels, 3, rng=rng, dtype=dtype), bn=nn.BatchNorm2d(channels, dtype=dtype)
    )
    model(rng.standard_normal((2, 3, 5, 5)).astype(dtype))  # moves the running statistics
    return model


def arrays(model: nn.Layer) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in model.state().items()}


def assert_same(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> None:
    assert one.keys() == two.keys()
    for name, array in one.items():
        assert array.dtype == two[name].dtype
        np.testing.assert_array_equal(array, two[name])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_weights_come_back_to_the_bit(tmp_path: Path, dtype: type) -> None:
    model, other = network(0, dtype=dtype), network(1, dtype=dtype)
    weights.save(model, tmp_path / "w.safetensors", {"made by": "hand"})
    assert weights.load(other, str(tmp_path / "w.safetensors")) == {"made by": "hand"}
    assert_same(arrays(model), arrays(other))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_comes_back(tmp_path: Path, name: str) -> None:
    model, other = (MODELS[name](rng=np.random.default_rng(seed)) for seed in (0, 1))
    x = np.random.default_rng(2).standard_normal((3, 1, 8, 8)).astype(np.float32)
    model.train()
    model(x)
    weights.save(model, tmp_path / "w.safetensors")
    assert weights.load(other, tmp_path / "w.safetensors") == {}
    np.testing.assert_array_equal(model.eval()(x), other.eval()(x))


def test_the_file_is_plain_safetensors(tmp_path: Path) -> None:
    model = network(0)
    weights.save(model, tmp_path / "w.safetensors")
    assert_same(safetensors.numpy.load_file(tmp_path / "w.safetensors"), arrays(model))


def test_a_mapping_of_any_layout_is_saved(tmp_path: Path) -> None:
    state = {"t": np.arange(6.0).reshape(2, 3).T, "r": np.arange(5)[::-1], "s": np.array(2.5), "e": np.zeros((0, 3))}
    weights.save(state, tmp_path / "w.safetensors")
    assert_same(safetensors.numpy.load_file(tmp_path / "w.safetensors"), state)


def test_the_file_alone_is_left_and_replaced_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    weights.save(network(0), path)
    weights.save(network(1), path)
    assert os.listdir(tmp_path) == ["w.safetensors"]

    def fail(*paths: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        weights.save(network(2), path)
    assert os.listdir(tmp_path) == ["w.safetensors"]
    assert_same(safetensors.numpy.load_file(path), arrays(network(1)))


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        weights.save(network(0), tmp_path / "nowhere" / "w.safetensors")


def truncated(contents: bytes) -> bytes:
    return contents[:-3]


def headless(contents: bytes) -> bytes:
    return contents[:6]


def empty(contents: bytes) -> bytes:
    return b""


def garbage(contents: bytes) -> bytes:
    return np.random.default_rng(0).bytes(len(contents))


def longer(contents: bytes) -> bytes:
    return contents + b"\0"


@pytest.mark.parametrize("first", [b"PK\x03\x04\0\0\x08\0", b"\x80\x02\x8a\nl\xfc\x9cF"])
def test_what_torch_saves_is_refused_with_the_fix(tmp_path: Path, first: bytes) -> None:
    (tmp_path / "w.pt").write_bytes(first + bytes(100))
    with pytest.raises(ValueError, match=r"w.pt \(torch.save writes pickles, .* safetensors.torch.save_file\("):
        weights.load(network(0), tmp_path / "w.pt")


def test_the_folder_of_a_run_stands_for_its_weights(tmp_path: Path) -> None:
    model, other = network(0), network(1)
    weights.save(other, tmp_path / "weights.safetensors")
    weights.load(model, tmp_path)
    assert_same(arrays(model), arrays(other))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"the weights must be a file that exists, got .*empty.weights.safetensors"):
        weights.read(tmp_path / "empty")


@pytest.mark.parametrize("damage", [truncated, headless, empty, garbage, longer])
def test_a_damaged_file(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    model, path = network(0), tmp_path / "w.safetensors"
    weights.save(network(1), path)
    path.write_bytes(damage(path.read_bytes()))
    before = arrays(model)
    with pytest.raises(ValueError, match=rf"a whole safetensors file, got {re.escape(str(path))} \("):
        weights.load(model, path)
    assert_same(arrays(model), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("conv.b"), r"missing: conv\.b"),
        (lambda s: s.update(extra=np.zeros(1)), "extra: extra"),
        (lambda s: s.update({"conv.b": np.zeros(5, np.float32)}), r"conv\.b is float32 \(5,\) for float32 \(4,\)"),
        (lambda s: s.update({"conv.b": np.zeros(4)}), r"conv\.b is float64 \(4,\) for float32 \(4,\)"),
        (lambda s: s.update({"bn.beta": s["bn.beta"][None]}) or s.pop("bn.gamma"), r"missing: bn\.gamma; .*bn\.beta"),
    ],
)
def test_other_arrays_are_named_and_nothing_changes(tmp_path: Path, change: Callable, message: str) -> None:
    model, state = network(0), arrays(network(1))
    change(state)
    path = tmp_path / "w.safetensors"
    weights.save(state, path)
    before = arrays(model)
    with pytest.raises(ValueError, match=message) as caught:
        weights.load(model, path)
    assert str(caught.value).startswith(f"{path}: ")
    assert_same(arrays(model), before)


def raw_file(path: Path, name: str, kind: str, shape: list[int], contents: bytes) -> Path:
    head = json.dumps({name: {"dtype": kind, "shape": shape, "data_offsets": [0, len(contents)]}}).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + contents)
    return path


def test_bfloat16_is_read(tmp_path: Path) -> None:
    numbers = np.array([[1.0, -2.5], [3e38, 0.0]], np.float32)
    contents = (numbers.view(np.uint32) >> 16).astype("<u2").tobytes()
    path = raw_file(tmp_path / "w.safetensors", "w", "BF16", [2, 2], contents)
    expected = ((numbers.view(np.uint32) >> 16) << 16).view(np.float32)
    assert_same(weights.read(path)[1], {"w": expected})
    layer = nn.Linear(2, 2, bias=False, rng=np.random.default_rng(0))
    weights.load(layer, path)
    np.testing.assert_array_equal(layer.params["w"], expected)


def test_float8_is_refused(tmp_path: Path) -> None:
    path = raw_file(tmp_path / "w.safetensors", "w", "F8_E4M3", [2, 2], bytes(4))
    with pytest.raises(ValueError, match=r"floats of at least 16 bits, got w in F8_E4M3 in .*: convert them"):
        weights.read(path)


def test_a_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.safetensors", tmp_path):
        with pytest.raises(ValueError, match=f"the weights must be a file that exists, got {re.escape(str(path))}"):
            weights.load(network(0), path)


def test_without_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, name, None)
    for work in (weights.save, weights.load):
        with pytest.raises(ImportError, match=r"safetensors.*pip install 'npconv\[train\]'"):
            work(network(0), tmp_path / "w.safetensors")
    assert os.listdir(tmp_path) == []
