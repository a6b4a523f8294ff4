"""IDX files, as of MNIST: read by the pair or the folder, and damaged ones refused."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from labelled import GREY, LABELS, assert_labelled, sizes

from npconv.data import idx as idx_files
from npconv.data import load


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    head = bytes([0, 0, kind, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return head + array.astype(idx_files.TYPES[kind]).tobytes()


def write_mnist(folder: Path, pack: Callable[[bytes], bytes] = bytes, suffix: str = "") -> Path:
    folder.mkdir()
    for part, images, labels in (("train", GREY, LABELS), ("t10k", GREY[:6], LABELS[:6])):
        (folder / f"{part}-images-idx3-ubyte{suffix}").write_bytes(pack(idx(images)))
        (folder / f"{part}-labels-idx1-ubyte{suffix}").write_bytes(pack(idx(labels)))
    return folder


@pytest.mark.parametrize(("pack", "suffix"), [(bytes, ""), (gzip.compress, ".gz")])
def test_an_idx_folder_and_a_pair(tmp_path: Path, pack: Callable[[bytes], bytes], suffix: str) -> None:
    folder = write_mnist(tmp_path / "mnist", pack, suffix)
    data = load(folder)
    assert (data.name, data.classes, sizes(data), data.white) == ("mnist", 3, [27, 3, 6], 255)
    assert_labelled(data)
    pair = load(folder / f"train-images-idx3-ubyte{suffix}")
    assert sizes(pair) == [21, 3, 6]
    assert_labelled(pair)


def test_fashion_mnist_is_found_where_debian_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx_files.fashion_mnist, "__defaults__", (tmp_path / "fashion-mnist",))
    with pytest.raises(ValueError, match=r"fashion-mnist must be installed, .*apt install dataset-fashion-mnist"):
        load("fashion-mnist")
    folder = write_mnist(tmp_path / "fashion-mnist", gzip.compress, ".gz")
    monkeypatch.setattr(idx_files, "FASHION_MNIST_CLASSES", ("shirt", "shoe", "hat"))
    data = load("fashion-mnist")
    assert (data.name, data.class_names) == ("fashion-mnist", ("shirt", "shoe", "hat"))
    assert sizes(load(folder)) == sizes(data)


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("train-images-idx3-ubyte", idx(GREY)[:-1], "it ends after 1919 of 1920 bytes"),
        ("train-images-idx3-ubyte", idx(GREY) + b"x", "it goes on after its 1920 bytes"),
        ("train-images-idx3-ubyte", idx(LABELS), "it does not begin as one with 3 axes"),
        ("train-images-idx3-ubyte", b"", "it does not begin as one"),
        ("train-images-idx3-ubyte", gzip.compress(idx(GREY))[:-20], "whole IDX file"),
        ("train-labels-idx1-ubyte", idx(LABELS[:-1]), "images and labels must be equally many, got 30"),
        ("train-images-idx3-ubyte", b"\0\0\x08\x03" + b"\x7f\xff\xff\xff" * 3, "GB: the variable TMPDIR|it ends after"),
    ],
)
def test_damaged_idx_files(tmp_path: Path, name: str, contents: bytes, message: str) -> None:
    folder = write_mnist(tmp_path / "mnist")
    (folder / name).write_bytes(contents)
    with pytest.raises(ValueError, match=message):
        load(folder)
    (folder / name).unlink()
    with pytest.raises(ValueError, match=r"the data|the labels must lie beside the images, got no train-labels-idx1"):
        load(folder)
