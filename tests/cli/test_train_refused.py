"""`npconv train` where something is wrong: one line, and nothing is left behind."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from trainings import lines, refused, run

from npconv import training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--model", "alexnet"],
            "--model must be one of conv_mobilenet, ds_cnn, ",
        ),
        (["--epochs", 0], "--epochs must be at least 1, got --epochs=0"),
        (["--epochs", -3], "--epochs must be at least 1, got --epochs=-3"),
        (["--batch", 0], "--batch must be at least 1, got --batch=0"),
        (["--seed", -1], "--seed must be at least 0, got --seed=-1"),
        (["--lr", 0], "--lr must be finite and above 0, got --lr=0.0"),
        (["--lr", -0.1], "--lr must be finite and above 0, got --lr=-0.1"),
        (["--lr", "nan"], "--lr must be finite and above 0, got --lr=nan"),
        (["--lr", "inf"], "--lr must be finite and above 0, got --lr=inf"),
        (["--backend", "cuda"], "--backend must be one of numpy, numba, got 'cuda'"),
        (
            ["--data", "nowhere.npz"],
            "the data must be digits, fashion-mnist, or a file or folder that exists, got 'nowhere.npz'",
        ),
        (["--data", "mnist"], "the data must be digits, fashion-mnist, or a file or folder that exists, got 'mnist'"),
    ],
)
def test_bad_options(arguments: list[object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused(message, *arguments)
    assert os.listdir(tmp_path) == []


def test_bad_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.npz").write_text("not a zip file")
    refused("the data file must be a whole .npz of plain arrays, got text.npz", "--data", "text.npz")
    np.savez("unlabelled.npz", images=np.zeros((9, 4, 4)))
    refused("the arrays 'images' and 'labels', got no 'labels' in unlabelled.npz", "--data", "unlabelled.npz")
    assert sorted(os.listdir(tmp_path)) == ["text.npz", "unlabelled.npz"]


def test_folders_that_cannot_be_written(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for out in (data / "run", data, Path("/proc/npconv")):
        refused(f"the run folder must be writable, got {out}", "--data", data, "--out", out)
    monkeypatch.chdir(tmp_path)
    Path("runs").write_text("a file where the folder should be")
    refused("the run folder must be writable, got runs/tiny_mobilenet-dots-seed0", "--data", data)


def test_a_folder_in_use_is_left_alone(data: Path, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.txt").write_text("precious")
    refused("--out must be a new or empty folder, got", "--data", data, "--out", tmp_path / "used")
    assert os.listdir(tmp_path / "used") == ["thesis.txt"]
    (tmp_path / "empty").mkdir()
    assert run("--data", data, "--epochs", 1, "--out", tmp_path / "empty")[0] == 0


def test_a_missing_backend(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npconv.backends._numba_is_installed", lambda: False)
    refused("backend='numba' needs Numba, which is not installed", "--data", data, "--backend", "numba")


def test_a_diverging_run_says_so_and_keeps_its_lines(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, _, stderr = run("--data", data, "--epochs", 40, "--lr", 1e25, "--out", out)
    assert code == 1
    assert stderr.count("\n") == 1
    assert "the loss must stay finite, which a lower learning rate may help, got" in stderr
    assert "; not finite is first " in stderr
    lines(out / "metrics.jsonl")
    assert training.Run.resume(out).progress.epoch == len(lines(out / "metrics.jsonl")) + 1  # the last good one


def test_a_batch_of_one_leaves_no_folder(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (12, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "small.npz", images=images, labels=np.arange(12) % 2)
    words = ["--data", tmp_path / "small.npz", "--model", "tiny_shufflenet", "--batch", 1, "--out", tmp_path / "run"]
    refused("--batch must be at least 2 where a batch norm sees one pixel of each image", *words)
    assert not (tmp_path / "run").exists()
