"""`npconv study`: a table, sentences, a picture and the numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import call

from npconv.studies import STUDIES, Trend


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 3
    images = rng.integers(0, 100, (30, 8, 8), dtype=np.uint8)
    images[np.arange(30), :, labels * 2] += 100
    np.savez(tmp_path / "stripes.npz", images=images, labels=labels)
    return tmp_path / "stripes.npz"


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_every_study_runs(name: str, data: Path, tmp_path: Path) -> None:
    plot, out = tmp_path / "study.png", tmp_path / "study.json"
    code, stdout, err = call(
        "study", name, "--data", data, "--seeds", 2, "--epochs", 1, "--backend", "numpy", "--plot", plot, "-o", out
    )
    assert (code, err) == (0, "")
    study = STUDIES[name]
    for variant in study.variants:
        assert variant.label in stdout
    assert stdout.count(f"{study.source}: the trend is ") == len(study.trends)
    assert plot.read_bytes().startswith(b"\x89PNG")
    numbers = json.loads(out.read_text())
    assert [row["network"] for row in numbers["networks"]] == [variant.label for variant in study.variants]
    assert all(len(row["accuracies"]) == 2 for row in numbers["networks"])
    assert (numbers["seeds"], numbers["epochs"], numbers["data"]) == (2, 1, str(data))
    assert (numbers["found"] is not None) == (name in ("ghost", "octave"))
    if name in ("ghost", "octave"):
        assert numbers["found"]["sentence"] in stdout


def test_one_seed_claims_no_spread(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    width = STUDIES["width"]
    monkeypatch.setitem(
        STUDIES, "width", width._replace(variants=width.variants[:2], trends=(Trend("width 0.5", "width 0.25"),))
    )
    words = "--data", data, "--seeds", 1, "--epochs", 1, "--backend", "numpy"
    code, stdout, err = call("study", "width", *words, "--plot", tmp_path / "a.png", "-o", tmp_path / "a.json")
    assert (code, err) == (0, "")
    assert stdout.count("one seed") == 3  # in both rows, and in the sentence
    assert "+-" not in stdout
    assert "0.0000" not in stdout.replace("by 0.0000", "")


def test_a_study_as_json(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    width = STUDIES["width"]
    monkeypatch.setitem(STUDIES, "width", width._replace(variants=width.variants[:1], trends=()))
    plot, out = tmp_path / "study.png", tmp_path / "study.json"
    words = "--data", data, "--seeds", 1, "--epochs", 1, "--backend", "numpy", "--plot", plot, "--out", out
    code, stdout, err = call("study", "width", *words, "--json")
    assert (code, err) == (0, "")
    assert json.loads(stdout) == json.loads(out.read_text())


def test_what_is_no_study(tmp_path: Path) -> None:
    for words, message in (
        (
            ["gost"],
            "NAME must be one of width, resolution, shuffle, ghost, octave, separable, got 'gost'; did you mean ghost?",
        ),
        (["ghost", "--seeds", 0], "--seeds must be at least 1, got --seeds=0"),
        (["ghost", "--data", "nowhere"], "the data must be digits"),
        (["ghost", "--plot", tmp_path / "no" / "a.png"], "--plot must be a file in a folder that exists"),
        (["ghost", "--out", tmp_path / "no" / "a.png"], "--out must be a file in a folder that exists"),
    ):
        code, stdout, err = call("study", *words)
        assert (code, stdout) == (2, "")
        assert message in err
