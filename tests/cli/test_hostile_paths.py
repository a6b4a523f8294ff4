"""Names of files and classes that nobody would choose, and things that are no files where files are read."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import shutil
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from commands import call

NAME = "a \x1b[31m\nname\x7f \u202e $\\frac$ 東"
CLASSES = ["$\\frac$", "b\x1b[31m\u202e東"]
SHOWN = "a \\x1b[31m\\nname\\x7f \\u202e $\\frac$ 東"


class Hang(BaseException):
    """It waits for what will never come."""


@pytest.fixture(autouse=True)
def soon() -> Iterator[None]:
    """A test that waits is a test that fails; what is not said in one line is an error."""

    def stop(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def told(*words: object) -> str:
    """What a command prints where it can be carried out."""
    status, out, err = call(*words)
    assert (status, err) == (0, "")
    assert not {"\x1b", "\x7f", "\u202e"} & set(out)
    return out


def refused(*words: object) -> str:
    status, out, err = call(*words)
    assert status in (1, 2)
    assert err.startswith("npconv: ")
    assert err.count("\n") == 1
    assert not {"\x1b", "\x7f", "\u202e"} & set(out + err)
    return err


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in a folder, on data and of classes with such names."""
    folder = tmp_path_factory.mktemp("runs") / NAME
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 6), dtype=np.uint8)
    np.savez(folder.with_name(f"{NAME}.npz"), images=images, labels=np.array(CLASSES)[np.arange(12) % 2])
    told("train", "--data", folder.with_name(f"{NAME}.npz"), "--epochs", 1, "--backend", "numpy", "--out", folder)
    return folder


@pytest.mark.slow
def test_a_run_by_any_name_can_be_used(run: Path, tmp_path: Path) -> None:
    assert (run / "curves.png").exists()
    assert SHOWN in told("runs", run.parent)
    told("train", "--resume", run)
    assert "b\\x1b[31m\\u202e東" in told("evaluate", run, "--plot", tmp_path / "e.png")
    assert told("plot", run, "--out", tmp_path / f"{NAME}.png") == f"{tmp_path}/{SHOWN}.png shows 1 run\n"
    out = told("predict", run.with_name(f"{NAME}.npz"), "--weights", run, "-o", tmp_path / "p.csv")
    assert f"{SHOWN}.npz:11" in out
    told("predict", run.with_name(f"{NAME}.npz"), "--weights", run, "--json")


def test_a_path_that_no_toml_can_keep(run: Path, tmp_path: Path) -> None:
    data = tmp_path / os.fsdecode(b"\xff.npz")
    shutil.copy(run.with_name(f"{NAME}.npz"), data)
    err = refused("train", "--data", data, "--epochs", 1, "--out", tmp_path / "out")
    assert err.startswith("npconv: --data must be a path in UTF-8, which config.toml keeps, got '/")
    assert "\\udcff.npz" in err
    assert not (tmp_path / "out").exists()


@contextlib.contextmanager
def limited(size: int) -> Iterator[None]:
    """No more than `size` bytes can be taken."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def fifo(path: Path) -> Path:
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


def endless(path: Path) -> Path:
    """A link to a device that never ends."""
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")
    return path


def large(path: Path) -> Path:
    """A file that says nothing, at length; it takes no room on the disk."""
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(1 << 36)
    return path


@pytest.mark.parametrize("make", [fifo, endless, large])
@pytest.mark.parametrize(
    "name",
    ["x.csv", "x.npz", "x-images-idx3-ubyte", "x", "cifar/test_batch", "cifar/batches.meta", "cifar10/test_batch.bin", "classes/a/x.png"],
)  # fmt: skip
def test_data_that_are_no_files(tmp_path: Path, name: str, make) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.startswith("cifar"):
        suffix = ".bin" if name.endswith(".bin") else ""
        (path.parent / f"data_batch_1{suffix}").write_bytes(bytes(3073))
    if name.endswith("ubyte"):
        (tmp_path / "x-labels-idx1-ubyte").write_bytes(b"\0\0\x08\1\0\0\0\0")
    make(path)
    refused("train", "--data", path if path.parent == tmp_path else path.parent, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("make", [fifo, endless, large])
@pytest.mark.parametrize("option", ["--config", "--weights"])
def test_options_that_are_no_files(tmp_path: Path, option: str, make) -> None:
    refused("train", option, make(tmp_path / "x"), "--out", tmp_path / "out")


@pytest.mark.parametrize("make", [fifo, endless, large])
@pytest.mark.parametrize("name", ["config.toml", "metrics.jsonl", "summary.json", "weights.safetensors"])
def test_runs_of_things_that_are_no_files(run: Path, tmp_path: Path, name: str, make) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    make(copy / name)
    refused("evaluate", copy)
    refused("predict", run.with_name(f"{NAME}.npz"), "--weights", copy) if name.startswith("weights") else None
    refused("runs", copy) if name in ("metrics.jsonl", "summary.json") else None


@pytest.mark.parametrize("make", [fifo, endless, large])
@pytest.mark.parametrize("name", ["state.json", "state.safetensors"])
def test_checkpoints_of_things_that_are_no_files(run: Path, tmp_path: Path, name: str, make) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    (checkpoint,) = (copy / "checkpoints").iterdir()
    make(checkpoint / name)
    refused("train", "--resume", copy)


@pytest.mark.parametrize("name", ["summary.json", "metrics.jsonl", "checkpoint"])
@pytest.mark.parametrize("deep", ["[" * 200_000, '{"a":' * 200_000])
def test_nested_json(run: Path, tmp_path: Path, name: str, deep: str) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    path = next((copy / "checkpoints").iterdir()) / "state.json" if name == "checkpoint" else copy / name
    path.write_text(deep)
    refused("train", "--resume", copy) if name == "checkpoint" else refused("evaluate", copy)


@pytest.mark.parametrize("architecture", [{"width": 500}, {"num_classes": 3000, "in_channels": 3000}])
@pytest.mark.parametrize("image", [[1, 8, 6], [1, 20000, 20000], [1, 10**30, 1]])
def test_notes_that_ask_for_much_memory(run: Path, tmp_path: Path, architecture: dict, image: list[int]) -> None:
    """Whatever a weights file of 100 KB says, no network of gigabytes is made of it, and no image."""
    from npconv import models, weights

    copy = shutil.copytree(run, tmp_path / "run")
    path = copy / "weights.safetensors"
    about, state = weights.read(path)
    note = json.loads(about["npconv"])
    note["architecture"] |= architecture
    weights.save(state, path, {"npconv": json.dumps(note | {"image": image})})
    with limited(1 << 28):
        refused("evaluate", copy)
        refused("predict", run.with_name(f"{NAME}.npz"), "--weights", path)
        with pytest.raises((ValueError, TypeError)):
            models.load(path)


def test_a_disk_that_is_full_for_the_picture_keeps_the_summary(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from npconv import files

    write = files.write

    def full(path: Path, contents: bytes | str) -> None:
        if str(path).endswith(".png"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, contents)

    monkeypatch.setattr(files, "write", full)
    data = run.with_name(f"{NAME}.npz")
    err = refused("train", "--data", data, "--epochs", 1, "--backend", "numpy", "--out", tmp_path / "run")
    assert "No space left on device" in err
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["test_accuracy"] is not None
    assert {"metrics.jsonl", "weights.safetensors", "config.toml"} <= set(os.listdir(tmp_path / "run"))
