"""`npconv sweep`: a table of networks by learning rates, made of runs that are kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import call
from trainings import lines


@pytest.mark.slow
def test_a_sweep_finds_the_rate_that_does_not_diverge(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    words = ["sweep", "--data", data, "--models", "tiny_mobilenet", "--rates", "0.1,1e30", "--seeds", 2, "--epochs", 2,
             "--backend", "numpy", "--out", out]  # fmt: skip
    code, stdout, err = call(*words)
    assert (code, err) == (0, "")
    rows = json.loads((out / "sweep.json").read_text())
    assert [(row["model"], row["lr"]) for row in rows] == [("tiny_mobilenet", 0.1), ("tiny_mobilenet", 1e30)]
    assert rows[1]["accuracies"] == [0.0, 0.0]
    for seed, accuracy in enumerate(rows[0]["accuracies"]):
        epochs = lines(out / f"tiny_mobilenet-0.1-seed{seed}" / "metrics.jsonl")
        assert accuracy == max(epoch["validation_accuracy"] for epoch in epochs)
    *_, heading, row = stdout.splitlines()
    assert heading.split() == ["network", "0.1", "1e+30", "best"]
    assert "2 of 2 diverged" in row
    assert row.split()[-1] == "0.1"

    assert json.loads(call(*words, "--json")[1]) == rows
    before = {path: path.stat().st_mtime_ns for path in out.glob("*seed*/weights.safetensors")}
    assert call(*words)[:2] == (0, stdout)  # what is there is not made again
    assert {path: path.stat().st_mtime_ns for path in out.glob("*seed*/weights.safetensors")} == before
    code, _, err = call(*words, "--epochs", 3)
    assert code == 1
    assert err.startswith("npconv: --out must hold runs by the same choices, got --epochs 2 in ")
    assert err.endswith("mobilenet-0.1-seed0, not 3\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rates", "fast"], "--rates must be numbers with commas between, got 'fast'"),
        (["--rates", "0"], "--rates must be finite and above 0"),
        (["--seeds", 0], "--seeds must be at least 1, got --seeds=0"),
        (["--models", "tiny_resnt"], "did you mean tiny_resnet"),
    ],
)
def test_what_is_no_sweep(words: list[object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, stdout, err = call("sweep", *words)
    assert (code, stdout) == (2, "")
    assert message in err
    assert list(tmp_path.iterdir()) == []
