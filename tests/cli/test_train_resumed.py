"""`npconv train` that is interrupted, hit or out of space, and goes on to the same bits."""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from commands import call, command
from trainings import FILES, SUMMARY_KEYS, lines, results, run, write_dots

from npconv import training, weights
from npconv.cli.signals import signals_deferred
from npconv.data import load
from npconv.models import MODELS


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_ctrl_c_keeps_what_there_is(data: Path, tmp_path: Path, backend: str) -> None:
    out = tmp_path / "run"
    words = ["train", "--data", data, "--epochs", 100_000, "--out", out, "--backend", backend]
    code, stdout, stderr = interrupt(words, when=lambda: len(text(out / "metrics.jsonl").splitlines()) >= 2)
    assert (code, stderr) == (130, "")
    epochs = lines(out / "metrics.jsonl")
    assert [epoch["epoch"] for epoch in epochs] == list(range(1, len(epochs) + 1))
    last = stdout.splitlines()[-1]
    assert last.startswith(f"interrupted after {len(epochs)} of 100000 epochs and ")
    assert last.endswith(f" steps: npconv train --resume {out} goes on")
    summary = json.loads((out / "summary.json").read_text())
    assert list(summary)[: len(SUMMARY_KEYS)] == SUMMARY_KEYS
    assert (summary["interrupted"], summary["epochs"], summary["test_accuracy"]) == (True, len(epochs), None)
    model = MODELS["mobilenet"](**summary["architecture"], rng=np.random.default_rng(0))
    weights.load(model, out / "weights.safetensors")
    accuracy = training.evaluate(model, *load(data).validation, 32).accuracy
    assert accuracy == summary["validation_accuracy"] == max(epoch["validation_accuracy"] for epoch in epochs)
    assert {path.name for path in out.iterdir()} == FILES - {"curves.png"}


@pytest.mark.slow
def test_ctrl_c_in_the_first_epoch(tmp_path: Path) -> None:
    data, out = write_dots(tmp_path / "dots.npz", count=6000, size=24), tmp_path / "run"
    words = ["train", "--data", data, "--model", "tiny_resnet", "--out", out, "--backend", "numpy"]
    code, stdout, stderr = interrupt(words, when=(out / "metrics.jsonl").exists)
    assert (code, stderr) == (130, "")
    assert stdout.splitlines()[-1].startswith("interrupted after 0 of ")
    assert lines(out / "metrics.jsonl") == []
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["interrupted"], summary["epochs"], summary["best_epoch"]) == (True, 0, None)
    model = MODELS["resnet"](**summary["architecture"], rng=np.random.default_rng(0))
    weights.load(model, out / "weights.safetensors")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_waits_and_the_second_does_not(number: signal.Signals) -> None:
    came: list[int] = []
    before = signal.signal(number, lambda *_: came.append(number))
    try:
        with signals_deferred() as asked:
            assert asked() is None
            signal.raise_signal(number)
            assert (asked(), came) == (number, [])
            signal.raise_signal(number)
            assert came == [number]
        signal.raise_signal(number)
        assert len(came) == 2
        signal.signal(number, signal.SIG_IGN)  # as a shell does for a job in the background
        with signals_deferred() as asked:
            signal.raise_signal(number)
            assert asked() is None
    finally:
        signal.signal(number, before)


HITS = int(os.environ.get("NPCONV_HITS", "6"))
CHOICES = [
    "--epochs",
    4 * HITS,
    "--batch",
    8,
    "--ema",
    0.9,
    "--augment",
    "shift,flip,rotate",
    "--optimizer",
    "adamw",
    "--lr",
    0.01,
]


def hit(words: list[object], number: signal.Signals, epochs: int, delay: float) -> int:
    """Start the command, send it the signal so long after so many epochs of its own, and return its exit status.

    It counts what is printed, and waits as long as it takes: a busy machine changes nothing.
    """
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(command(*words), stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("going on in epoch "):
                epochs += int(line.split()[4]) - 1  # those before are shown again
            if line.startswith("epoch "):
                break
        list(itertools.islice(process.stdout, epochs))
        time.sleep(delay)
        process.send_signal(number)
        process.stdout.read()  # or it would be a broken pipe
    return process.returncode


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_run_that_was_hit_again_and_again_is_the_same(data: Path, tmp_path: Path, backend: str) -> None:
    """By Ctrl-C, SIGTERM and SIGKILL, at random moments; NPCONV_HITS=30 tries more of them."""
    words = ["train", "--data", data, "--backend", backend, *CHOICES]
    assert run(*words[1:], "--out", tmp_path / "whole")[0] == 0
    whole = results(tmp_path / "whole")
    rng, out = np.random.default_rng(), tmp_path / "hit"
    ways = itertools.cycle([signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
    hits = 0
    for attempt in range(HITS):
        start = ["train", "--resume", out] if attempt else [*words, "--out", out]
        number = next(ways)
        code = hit(start, number, int(rng.integers(3)), float(rng.uniform(0, 0.1)))
        assert code in (0, -signal.SIGKILL if number == signal.SIGKILL else 128 + number, -number), code
        if code == 0:
            break
        hits += 1
    assert hits > HITS // 2
    assert call("train", "--resume", out)[0] == 0
    assert results(out) == whole


def test_a_finished_run_is_finished(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run("--data", data, "--epochs", 1, "--out", out)[0] == 0
    before = results(out)
    (out / "checkpoints" / "epoch000001-step00000002").mkdir()  # killed while it was removed
    code, stdout, _ = call("train", "--resume", out)
    assert (code, results(out)) == (0, before)
    assert "going on in epoch 2 after 0 of " in stdout


def test_what_cannot_go_on(data: Path, tmp_path: Path) -> None:
    assert "--resume must be the folder of a run, got " in call("train", "--resume", tmp_path)[2]
    out = tmp_path / "run"
    assert run("--data", data, "--epochs", 1, "--out", out)[0] == 0
    code, _, stderr = call("train", "--resume", out, "--epochs", 3)
    assert (code, stderr) == (2, "npconv: --resume must come without other choices, got --epochs\n")
    rng = np.random.default_rng(1)
    np.savez(data, images=rng.integers(0, 255, (60, 6, 6)), labels=np.arange(60) % 3)
    code, _, stderr = call("train", "--resume", out)
    assert code == 2
    assert "the data must be those that the run began with" in stderr


@pytest.mark.slow
def test_a_full_disk_keeps_the_last_checkpoint(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, replace = tmp_path / "run", os.replace

    def full(source: object, target: object) -> None:
        if "epoch000003" in str(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        code, _, stderr = run("--data", data, "--epochs", 4, "--out", out)
    assert code == 1
    assert stderr == (
        f"npconv: the run folder must stay writable, got No space left on device: npconv train --resume {out} goes on\n"
    )
    with monkeypatch.context() as patch:  # still full
        patch.setattr(os, "replace", lambda source, target: full(source, "epoch000003"))
        code, _, stderr = call("train", "--resume", out)
    assert (code, stderr.startswith("npconv: the run folder must be writable, got ")) == (2, True)
    assert call("train", "--resume", out)[0] == 0
    assert run("--data", data, "--epochs", 4, "--out", tmp_path / "whole")[0] == 0
    assert results(out) == results(tmp_path / "whole")


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def interrupt(words: list[object], when: object) -> tuple[int, str, str]:
    """Start the command, send it what Ctrl-C sends as soon as `when()` is true, and wait for its end."""
    with subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not when() and process.poll() is None:  # type: ignore[operator]
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()
    return process.returncode, stdout, stderr
