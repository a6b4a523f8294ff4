"""CIFAR's binary and pickled batches: nothing in a pickle is run, and what is no batch is refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from labelled import COLOUR, LABELS, assert_labelled, sizes

from npconv.data import load


def write_cifar(folder: Path, form: str, labels: int = 1) -> Path:
    folder.mkdir()
    rows = COLOUR.reshape(30, -1)
    names = [f"data_batch_{number}" for number in range(1, 6)] if labels == 1 else ["train"]
    parts = list(zip(names, np.array_split(np.arange(30), len(names)), strict=True))
    parts.append(("test_batch" if labels == 1 else "test", np.arange(6)))
    for name, index in parts:
        if form == "binary":
            head = [LABELS[index, None]] * labels
            np.concatenate([*head, rows[index]], axis=1).tofile(folder / f"{name}.bin")
        else:
            key = b"labels" if labels == 1 else b"fine_labels"
            batch = {b"data": rows[index], key: LABELS[index].tolist(), b"filenames": [b"x.png"] * len(index)}
            (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    words = ["plane", "car", "bird"]
    if form == "binary":
        text = "batches.meta.txt" if labels == 1 else "fine_label_names.txt"
        (folder / text).write_text("\n".join(words) + "\n\n")
    else:
        key = b"label_names" if labels == 1 else b"fine_label_names"
        meta = pickle.dumps({key: [word.encode() for word in words]}, protocol=2)
        (folder / ("batches.meta" if labels == 1 else "meta")).write_bytes(meta)
    return folder


@pytest.mark.parametrize("labels", [1, 2])
@pytest.mark.parametrize("form", ["binary", "pickled"])
def test_cifar(tmp_path: Path, form: str, labels: int) -> None:
    data = load(write_cifar(tmp_path / "cifar", form, labels))
    assert (data.name, data.class_names) == (("cifar10", "cifar100")[labels - 1], ("plane", "car", "bird"))
    assert sizes(data) == [27, 3, 6]
    assert data.train.images.shape[1:] == (3, 32, 32)
    assert_labelled(data)


class Attack:
    """What unpickles to a call of anything that Python has."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_runs_nothing(tmp_path: Path, protocol: int) -> None:
    folder = write_cifar(tmp_path / "cifar", "pickled")
    attack = {b"data": Attack(tmp_path / "owned"), b"labels": [0]}
    (folder / "data_batch_2").write_bytes(pickle.dumps(attack, protocol=protocol))
    with pytest.raises(ValueError, match=r"must be a batch of CIFAR, got .*data_batch_2 \(it asks for posix.mkdir"):
        load(folder)
    assert not (tmp_path / "owned").exists()


PICKLES = [
    b"",
    b"\x80\x02}.",
    pickle.dumps([1, 2]),
    pickle.dumps({b"data": 5, b"labels": [1]}),
    pickle.dumps({b"data": COLOUR.reshape(30, -1)[:, :9], b"labels": [0] * 30}, protocol=2),
    pickle.dumps({b"data": COLOUR.reshape(30, -1).astype(np.float32), b"labels": [0] * 30}, protocol=2),
    pickle.dumps({b"data": COLOUR.reshape(30, -1), b"labels": ["x"] * 30}, protocol=2),
    b"\x80\x02K\x01r\xff\xff\xff\x7f0.",  # a memo of 2 ** 31 places
    b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x0f.",  # a bytearray of 2 ** 60 bytes
]


@pytest.mark.parametrize("contents", PICKLES)
def test_pickles_of_other_things(tmp_path: Path, contents: bytes) -> None:
    folder = write_cifar(tmp_path / "cifar", "pickled")
    (folder / "data_batch_1").write_bytes(contents)
    with pytest.raises(ValueError, match=r"the data file must be a batch of CIFAR, got .*data_batch_1"):
        load(folder)


def test_a_cut_binary_batch(tmp_path: Path) -> None:
    folder = write_cifar(tmp_path / "cifar", "binary")
    whole = (folder / "data_batch_1.bin").read_bytes()
    (folder / "data_batch_1.bin").write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"whole records of 3073 bytes, got .*data_batch_1.bin with 18437 bytes"):
        load(folder)
