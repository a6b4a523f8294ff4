"""What tests of `npconv train` share: small data, the command, and what it leaves in a run's folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from commands import call

EPOCH_KEYS = ["epoch", "lr", "loss", "accuracy", "validation_loss", "validation_accuracy", "seconds"]
SUMMARY_KEYS = ["model", "data", "seed", "epochs", "test_accuracy", "seconds", "parameters", "macs"]
FILES = {"metrics.jsonl", "summary.json", "weights.safetensors", "curves.png", "config.toml", "checkpoints"}


def write_dots(path: Path, count: int = 60, size: int = 6) -> Path:
    """A file of three easy classes: a bright dot in the left, middle or right third of noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 3
    images = rng.integers(0, 100, size=(count, size, size), dtype=np.uint8)
    images[np.arange(count), rng.integers(size, size=count), labels * (size // 3)] = 255
    np.savez(path, images=images, labels=labels)
    return path


def run(*arguments: object) -> tuple[int, str, str]:
    """`npconv train`, on the NumPy backend unless told otherwise."""
    return call("train", "--backend", "numpy", *arguments)


def refused(message: str, *arguments: object) -> None:
    """Training ends before it begins, with one line that has this message."""
    code, stdout, stderr = run(*arguments)
    assert (code, stdout) == (2, "")
    assert stderr.count("\n") == 1
    assert stderr.startswith("npconv: ")
    assert message in stderr


def lines(path: Path) -> list[dict[str, float]]:
    """The objects of a file of JSON lines."""
    text = path.read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def results(out: Path) -> tuple[object, ...]:
    """What has to be equal in two runs."""
    epochs = [{**epoch, "seconds": 0} for epoch in lines(out / "metrics.jsonl")]
    summary = json.loads((out / "summary.json").read_text())
    state = max((out / "checkpoints").glob("*/state.safetensors")).read_bytes()
    return epochs, summary["test_accuracy"], summary["confusion"], (out / "weights.safetensors").read_bytes(), state
