"""Files that were made to harm: each is one clear error, found before it costs memory or time."""

from __future__ import annotations

import json
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from npconv import nn, weights


def network() -> nn.Sequential:
    rng = np.random.default_rng(0)
    return nn.Sequential(conv=nn.Conv2d(1, 2, 1, rng=rng), bn=nn.BatchNorm2d(2))


def file_of(path: Path, header: bytes, data: bytes = b"") -> Path:
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


def file_with(path: Path, dtype: str, *, size: int) -> Path:
    """A whole file of the network's arrays, of which conv.w has another dtype, of `size` bytes for each number."""
    header, data = {}, b""
    for name, array in network().state().items():
        kind, stored = ("F32", array.tobytes()) if name != "conv.w" else (dtype, bytes(array.size * size))
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": (len(data), len(data) + len(stored))}
        data += stored
    return file_of(path, json.dumps(header).encode(), data)


@pytest.mark.parametrize(("dtype", "size"), [("F8_E4M3", 1), ("F8_E5M2", 1), ("C64", 8)])
def test_a_dtype_that_is_none_of_ours_is_named(tmp_path: Path, dtype: str, size: int) -> None:
    path = file_with(tmp_path / "w.safetensors", dtype, size=size)
    with pytest.raises(ValueError, match=rf"floats of at least 16 bits, got conv\.w in {dtype} in {path}"):
        weights.load(network(), path)
    assert weights.metadata(path) == {}


def test_integers_are_named_too(tmp_path: Path) -> None:
    path = file_with(tmp_path / "w.safetensors", "U16", size=2)
    with pytest.raises(ValueError, match=r"conv\.w is uint16"):
        weights.load(network(), path)


def test_a_header_has_a_limit(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    path = file_of(tmp_path / "w", json.dumps({"x" * (1 << 24): entry}).encode(), bytes(4))
    for read in (lambda: weights.load(network(), path), lambda: weights.metadata(path)):
        with pytest.raises(
            ValueError,
            match=r"whole safetensors file, got .* \(its header must have at most 16777216 bytes, got \d+\)$",
        ):
            read()


def test_a_header_that_claims_what_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(struct.pack("<Q", 2**63) + b"{}")
    with pytest.raises(ValueError, match="header must have at most"):
        weights.load(network(), path)
    entry = {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}
    file_of(path, json.dumps({"conv.w": entry}).encode())
    with pytest.raises(ValueError, match="a whole safetensors file"):
        weights.load(network(), path)
    file_of(path, b'{"a":' * 100_000)
    with pytest.raises(ValueError, match="a whole safetensors file"):
        weights.load(network(), path)


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the weights must be a file that exists"):
        weights.load(network(), tmp_path / ("w" * 5000))


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w")
    with pytest.raises(ValueError, match="the weights must be a file that exists"):
        weights.load(network(), tmp_path / "w")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("conv.w", np.nan, r"conv\.w must be finite in float32, got 1 of 2 numbers that are not"),
        ("conv.b", np.inf, r"conv\.b must be finite"),
        ("bn.running_mean", -np.inf, r"bn\.running_mean must be finite"),
        ("bn.running_var", -0.1, r"bn\.running_var must be at least 0, got -0\.1"),
    ],
)
@pytest.mark.parametrize("source", [None, "torchvision/resnet"])
def test_numbers_that_no_training_leaves(
    tmp_path: Path, name: str, value: float, message: str, source: str | None
) -> None:
    model = network()
    there = (lambda own: own) if source is None else weights.SOURCES[source].name_there
    state = {there(own): array.copy() for own, array in model.state().items()}
    state[there(name)].flat[1] = value
    path = tmp_path / "w.safetensors"
    weights.save(state, path)
    before = {own: array.copy() for own, array in model.state().items()}
    message = message.replace(re.escape(name), re.escape(there(name)), 1)
    with pytest.raises(ValueError, match=message):
        weights.load(model, path, source)
    for own, array in model.state().items():
        np.testing.assert_array_equal(array, before[own])


def test_a_number_that_the_models_dtype_cannot_hold(tmp_path: Path) -> None:
    model = network()
    there = weights.SOURCES["torchvision/resnet"].name_there
    state = {there(name): array.astype(np.float64) for name, array in model.state().items()}
    state[there("conv.w")][...] = 1e300
    with pytest.raises(ValueError, match=r"conv\.weight must be finite in float32, got 2 of 2"):
        weights.load_state_dict(model, state, "torchvision/resnet")
