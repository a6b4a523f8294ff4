"""Checkpoints: what is read is what was written, to the bit, and what is there is whole whatever happened."""

from __future__ import annotations

import errno
import json
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from npconv import nn, optim
from npconv.data import from_arrays
from npconv.training import Epoch, Plan, Progress, resume, save, train


def network(seed: int = 0, channels: int = 3) -> nn.Layer:
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        conv=nn.Conv2d(1, channels, 3, rng=rng), bn=nn.BatchNorm2d(channels), relu=nn.ReLU(),
        pool=nn.GlobalAvgPool2d(), flatten=nn.Flatten(), drop=nn.Dropout(0.3, rng=rng), head=nn.Linear(channels, 2, rng=rng),
    )  # fmt: skip


RNG = np.random.default_rng(0)
DATA = from_arrays(RNG.standard_normal((40, 5, 5)), np.arange(40) % 2, name="noise", seed=0)
MAKERS = [lambda: optim.SGD(optim.cosine(0.1, 40), momentum=0.9), lambda: optim.AdamW(0.01)]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("averaged", [False, True])
def test_everything_comes_back(tmp_path: Path, make: object, averaged: bool) -> None:
    """A training goes on in another process's objects, and both take the same steps."""
    model, optimizer = network(), make()  # type: ignore[operator]
    average = optim.Average(model, 0.9) if averaged else None
    progress = Progress.start(np.random.default_rng(1))
    train(model, DATA, optimizer, Plan(2, 8), progress=progress, average=average)
    save(tmp_path / "c", model, optimizer, progress, average=average, about={"note": [1, "two"]})
    other, second = network(7), make()  # type: ignore[operator]
    other_average = optim.Average(other, 0.9) if averaged else None
    back = resume(tmp_path / "c", other, second, average=other_average)
    assert back == progress
    assert isinstance(back.records[0], Epoch)
    for one, (opt, state, avg) in (
        (model, (optimizer, progress, average)),
        (other, (second, back, other_average)),
    ):
        train(one, DATA, opt, Plan(4, 8), progress=state, average=avg)
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, other.state()[name])
    assert [e._replace(seconds=0) for e in progress.records] == [e._replace(seconds=0) for e in back.records]
    if average is not None and other_average is not None:
        for name, array in average.arrays.items():
            np.testing.assert_array_equal(array, other_average.arrays[name])


def prepared(folder: Path) -> tuple[nn.Layer, optim.Optimizer, Progress]:
    model, optimizer, progress = network(), optim.SGD(0.1), Progress(seed=5, epoch=2, step=3)
    save(folder, model, optimizer, progress)
    return model, optimizer, progress


def test_one_is_kept_and_an_unfinished_one_is_removed(tmp_path: Path) -> None:
    model, optimizer, progress = prepared(tmp_path)
    (tmp_path / ".writing-99999").mkdir()
    progress.step = 4
    path = save(tmp_path, model, optimizer, progress)
    assert os.listdir(tmp_path) == [path.name] == ["epoch000002-step00000004"]
    assert save(tmp_path, model, optimizer, progress) == path


def test_what_another_process_is_writing_stays(tmp_path: Path) -> None:
    model, optimizer, progress = prepared(tmp_path)
    (tmp_path / f".writing-{os.getppid()}-00").mkdir()
    progress.step = 4
    path = save(tmp_path, model, optimizer, progress)
    assert sorted(os.listdir(tmp_path)) == [f".writing-{os.getppid()}-00", path.name]


def test_threads_that_write_the_same_step(tmp_path: Path) -> None:
    model, optimizer, progress = prepared(tmp_path)
    with ThreadPoolExecutor(8) as threads:
        for progress.step in range(4, 8):
            saved = list(threads.map(lambda _: save(tmp_path, model, optimizer, progress), range(8)))
            assert os.listdir(tmp_path) == [saved[0].name]
            assert resume(tmp_path, network(1), optim.SGD(0.1)).step == progress.step


@pytest.mark.parametrize("broken", ["replace", "fsync"])
def test_a_full_disk_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    model, optimizer, progress = prepared(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    progress.step = 4
    with monkeypatch.context() as patch:
        patch.setattr(os, broken, full)
        with pytest.raises(OSError, match="No space left"):
            save(tmp_path, model, optimizer, progress)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert resume(tmp_path, network(1), optim.SGD(0.1)).step == 3


def test_what_does_not_fit_is_said_and_changes_nothing(tmp_path: Path) -> None:
    prepared(tmp_path / "c")
    with pytest.raises(ValueError, match="there must be a checkpoint to go on from, got none in "):
        resume(tmp_path, network(), optim.SGD(0.1))
    with pytest.raises(ValueError, match="must be of Adam without an average, got SGD without one"):
        resume(tmp_path / "c", network(), optim.Adam())
    model = network(1, channels=4)
    with pytest.raises(ValueError, match=r"step00000003: state must have .* different: conv.w is"):
        resume(tmp_path / "c", model, optim.SGD(0.1))
    numbers = next((tmp_path / "c").glob("*/state.json"))
    text = numbers.read_text()
    for contents, message in (("{", "that was written here"), (json.dumps({"format": 9}), "the format 1, got 9")):
        numbers.write_text(contents)
        with pytest.raises(ValueError, match=message):
            resume(tmp_path / "c", network(), optim.SGD(0.1))
    numbers.write_text(text)
    arrays = numbers.with_name("state.safetensors")
    arrays.write_bytes(arrays.read_bytes()[:-5])
    with pytest.raises(ValueError, match="must be a whole safetensors file"):
        resume(tmp_path / "c", network(), optim.SGD(0.1))


def test_a_layer_with_a_generator_is_pickled_with_it() -> None:
    model = network()
    x = np.ones((2, 1, 5, 5), np.float32)
    other = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(model(x), other(x))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("progress",), "x"),
        (("progress", "epoch"), "x"),
        (("progress", "seed"), -1),
        (("progress", "loss_sum"), None),
        (("progress", "records"), [[None] * 7]),
        (("progress", "records"), [[1]]),
        (("optimizer",), None),
        (("optimizer", "kind"), []),
        (("optimizer", "steps"), -1),
        (("average",), "x"),
        (("about",), []),
    ],
)
def test_a_value_of_another_kind_is_refused(tmp_path: Path, path: tuple[str, ...], value: object) -> None:
    prepared(tmp_path / "c")
    file = next((tmp_path / "c").glob("*/state.json"))
    whole = json.loads(file.read_text())
    for damage in ("another", "none"):
        numbers = json.loads(json.dumps(whole))
        inside = numbers
        for name in path[:-1]:
            inside = inside[name]
        if damage == "another":
            inside[path[-1]] = value
        else:
            del inside[path[-1]]
            if path in (("progress", "epoch"), ("progress", "loss_sum")):
                continue  # which have a default
        file.write_text(json.dumps(numbers))
        with pytest.raises(ValueError, match="the checkpoint must be one that was written here, got "):
            resume(tmp_path / "c", network(), optim.SGD(0.1))
