"""`npconv runs`, `evaluate` and `plot` on runs of an easy task."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import call
from PIL import Image

from npconv.cli import console
from npconv.cli.pictures import worst_mistakes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs on a folder of pictures, whose classes have names, and that folder."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    for number in range(60):
        name = ("left", "middle", "right")[number % 3]
        (folder / "data" / name).mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 100, (8, 6), dtype=np.uint8)
        image[:, 2 * (number % 3) : 2 * (number % 3) + 2] += 120
        Image.fromarray(image).save(folder / "data" / name / f"{number}.png")
    for name, epochs in (("short", 1), ("long", 4)):
        options = ("--data", folder / "data", "--epochs", epochs, "--backend", "numpy", "--out", folder / "all" / name)
        assert call("train", *options)[0] == 0
    return folder


@pytest.mark.slow
def test_runs_are_listed(folder: Path) -> None:
    code, out, err = call("runs", folder / "all")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()[2:]]
    assert [line[:5] for line in lines] == [
        ["long", "tiny_mobilenet", "data", "finished", "4/4"],
        ["short", "tiny_mobilenet", "data", "finished", "1/1"],
    ]
    accuracy = json.loads((folder / "all" / "long" / "summary.json").read_text())["test_accuracy"]
    assert float(lines[0][6]) == pytest.approx(accuracy, abs=1e-4)
    assert "FOLDER must be a folder that exists" in call("runs", folder / "no")[2]
    assert "FOLDER must hold a run of npconv train, got none in " in call("runs", folder / "data")[2]
    told = json.loads(call("runs", folder / "all", "--json", "-o", folder / "runs.json")[1])
    assert told == json.loads((folder / "runs.json").read_text())
    assert [run["run"] for run in told] == ["long", "short"]
    assert told[0]["test_accuracy"] == accuracy
    assert (told[0]["epochs"], told[0]["of_epochs"], told[0]["seed"]) == (4, 4, 0)


@pytest.mark.parametrize("width", [60, 80])
def test_no_cell_is_cut_off_in_a_narrow_window(folder: Path, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "WIDE", width)
    out = call("runs", folder / "all")[1]
    assert "\N{HORIZONTAL ELLIPSIS}" not in out
    assert out.count("finished") == 2
    assert ("(a wider window shows seconds" in out) == (width == 60)
    assert max(map(len, out.splitlines())) <= width


def test_a_damaged_run_hides_no_other(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "all", tmp_path / "all")
    (tmp_path / "all" / "short" / "metrics.jsonl").write_text("{")
    code, out, err = call("runs", tmp_path / "all")
    assert code == 1
    assert [line.split()[0] for line in out.splitlines()[-2:]] == ["run", "long"]
    assert err.startswith("npconv: RUN must be the folder of a run, got ")
    assert err.count("\n") == 1


@pytest.mark.slow
def test_evaluation_on_its_own_and_on_other_images(folder: Path) -> None:
    run = folder / "all" / "long"
    accuracy = json.loads((run / "summary.json").read_text())["test_accuracy"]
    code, out, err = call("evaluate", run)
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[1:4]] == ["left", "middle", "right"]
    assert f"accuracy {accuracy:.4f} (" in out.splitlines()[-1]
    code, out, _ = call("evaluate", run, "--data", folder / "data", "--plot", folder / "e.png")
    assert code == 0
    assert " of 60), loss " in out
    assert (folder / "e.png").read_bytes().startswith(b"\x89PNG")
    right = sum(
        int(call("evaluate", run, "--part", part)[1].split("(")[-1].split()[0])
        for part in ("train", "validation", "test")
    )
    assert f"({right} of 60)" in out
    told = json.loads(call("evaluate", run, "--data", folder / "data", "--json")[1])
    assert [one["class"] for one in told["classes"]] == ["left", "middle", "right"]
    assert sum(one["right"] for one in told["classes"]) == right == round(60 * told["accuracy"])
    code, _, err = call("evaluate", run, "--data", folder / "data", "--part", "train")
    assert (code, err) == (
        2, "npconv: --part must not come with --data, all of which is looked at, got --part train\n"
    )  # fmt: skip


def test_other_classes_are_refused(folder: Path, tmp_path: Path) -> None:
    images = np.zeros((4, 8, 6), np.uint8)
    np.savez(tmp_path / "other.npz", images=images, labels=np.array(["left", "up"] * 2))
    _, _, err = call("evaluate", folder / "all" / "long", "--data", tmp_path / "other.npz")
    assert "classes must be among left, middle, right, got 'up'" in err
    np.savez(tmp_path / "numbers.npz", images=images, labels=np.array([0, 1] * 2))
    assert call("evaluate", folder / "all" / "long", "--data", tmp_path / "numbers.npz")[0] == 0
    np.savez(tmp_path / "colour.npz", images=np.zeros((4, 3, 8, 6)), labels=np.array([0, 1] * 2))
    _, _, err = call("evaluate", folder / "all" / "long", "--data", tmp_path / "colour.npz")
    assert "images must have 1 channels for this network, got 3" in err


@pytest.mark.slow
def test_plots(folder: Path) -> None:
    out = folder / "p.png"
    code, text, err = call("plot", folder / "all" / "long", folder / "all" / "short", "--out", out)
    assert (code, err, text) == (0, "", f"{out} shows 2 runs\n")
    contents = out.read_bytes()
    assert contents.startswith(b"\x89PNG")
    assert len(contents) > 20_000
    for words, message in (
        ([folder], "RUN must be the folder of a run, got "),
        ([folder / "all" / "long", "--out", folder / "no" / "p.png"], "--out must be a file in a folder that exists"),
        ([folder / "all" / "long", "--mistakes", -1], "--mistakes must be at least 0"),
    ):
        code, _, err = call("plot", *words)
        assert (code, err.count("\n")) == (2, 1)
        assert message in err


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("summary.json", "test_accuracy", "x"),
        ("summary.json", "test_accuracy", None),
        ("summary.json", "seconds", []),
        ("summary.json", "class_names", [1, 2, 3]),
        ("summary.json", "confusion", [[1]]),
        ("summary.json", "confusion", [[10**30] * 3] * 3),
        ("metrics.jsonl", "epoch", "x"),
        ("metrics.jsonl", "validation_accuracy", None),
    ],
)
def test_a_value_of_another_kind_is_refused(folder: Path, tmp_path: Path, file: str, key: str, value: object) -> None:
    shutil.copytree(folder / "all" / "short", tmp_path / "run")
    text = json.loads((tmp_path / "run" / file).read_text())
    (tmp_path / "run" / file).write_text(json.dumps(text | {key: value}))
    for words in (("runs", tmp_path), ("plot", tmp_path / "run", "--out", tmp_path / "p.png", "--mistakes", 0)):
        code, _, err = call(*words)
        assert code == (1 if words[0] == "runs" else 2)
        assert err.startswith("npconv: RUN must be the folder of a run, got ")
        assert err.count("\n") == 1


def test_the_worst_mistakes_are_the_surest() -> None:
    images = np.arange(4.0).reshape(4, 1, 1, 1)
    logits = np.array([[0.0, 5.0], [0.0, 1.0], [3.0, 0.0], [0.0, 9.0]])
    found = worst_mistakes(images, np.array([0, 0, 1, 1]), logits, ["a", "b"], 2)
    assert [(one.image.item(), one.truth, one.answer) for one in found] == [(0, "a", "b"), (2, "b", "a")]
    assert found[0].probability == pytest.approx(1 / (1 + np.exp(-5)))
