"""`npconv train`, as a user meets it: what it writes, what it prints, and what can be chosen."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from commands import call, command
from trainings import EPOCH_KEYS, FILES, SUMMARY_KEYS, lines, refused, results, run, write_dots

import npconv
from npconv import training, weights
from npconv.cli.console import PlainConsole
from npconv.data import load
from npconv.models import NETWORKS
from npconv.training.recipe import TINY


@pytest.fixture(scope="module", params=["numpy", "numba"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    folder = tmp_path_factory.mktemp(request.param)
    data, out = write_dots(folder / "dots.npz", count=60, size=6), folder / "deep" / "run"
    code, stdout, stderr = run("--data", data, "--epochs", 3, "--batch", 10, "--out", out, "--backend", request.param)
    assert (code, stderr) == (0, "")
    return data, out, stdout


@pytest.mark.slow
def test_the_run_folder(finished: tuple[Path, Path, str]) -> None:
    data, out, _ = finished
    assert {path.name for path in out.iterdir()} == FILES
    epochs = lines(out / "metrics.jsonl")
    assert [list(epoch) for epoch in epochs] == [EPOCH_KEYS] * 3
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    assert epochs[-1]["loss"] < epochs[0]["loss"]

    summary = json.loads((out / "summary.json").read_text())
    assert list(summary)[: len(SUMMARY_KEYS)] == SUMMARY_KEYS
    assert [summary[key] for key in ("model", "data", "seed", "epochs")] == ["tiny_mobilenet", str(data), 0, 3]
    assert summary["interrupted"] is False
    assert 0 < sum(epoch["seconds"] for epoch in epochs) < summary["seconds"]
    model = NETWORKS["tiny_mobilenet"](num_classes=3, rng=np.random.default_rng(0))
    assert summary["parameters"] == model.parameter_count()
    assert summary["macs"] == npconv.costs.count(model, (1, 1, 6, 6)).macs
    assert summary["versions"]["npconv"] == npconv.__version__


def test_the_weights_are_those_that_were_tested(finished: tuple[Path, Path, str]) -> None:
    data, out, _ = finished
    summary = json.loads((out / "summary.json").read_text())
    model = NETWORKS[summary["model"]](**summary["architecture"], rng=np.random.default_rng(9))
    about = json.loads(weights.load(model, out / "weights.safetensors")["npconv"])
    dataset = load(data)
    with npconv.backend(summary["backend"]):
        assert training.evaluate(model, *dataset.test, 10).accuracy == summary["test_accuracy"]
        validation = training.evaluate(model, *dataset.validation, 10)
    epochs = lines(out / "metrics.jsonl")
    best = max(epochs, key=lambda epoch: (epoch["validation_accuracy"], -epoch["validation_loss"]))
    assert summary["best_epoch"] == best["epoch"]
    assert summary["validation_accuracy"] == validation.accuracy == best["validation_accuracy"]
    assert abs(validation.loss - best["validation_loss"]) < 1e-6
    assert (about["model"], about["architecture"]) == (summary["model"], summary["architecture"])
    assert (about["image"], about["white"]) == ([1, 6, 6], 255)
    np.testing.assert_array_equal(np.float32(about["mean"]), dataset.mean)
    np.testing.assert_array_equal(np.float32(about["std"]), dataset.std)


def test_the_best_epoch_counts_not_the_last(data: Path, tmp_path: Path) -> None:
    recipe = training.Recipe(data=str(data), epochs=4, lr=0.1, backend="numpy")
    work = training.Run(recipe, tmp_path / "run")
    *_, (_, bias) = work.network.named_params()
    for number, accuracy, loss in ((1, 0.5, 0.1), (2, 0.9, 0.3), (3, 0.9, 0.2), (4, 0.9, 0.25)):
        bias[...] = number
        work.progress.next_epoch(training.Epoch(number, 0.1, 0.0, 0.0, loss, accuracy, 0.0))
        work._add(work.epochs[-1])
    work.finish()
    np.testing.assert_array_equal(bias, [3, 3, 3])  # the accuracy decides, then the loss
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["best_epoch"] == 3


def test_the_picture_is_a_small_png(finished: tuple[Path, Path, str]) -> None:
    contents = (finished[1] / "curves.png").read_bytes()
    assert contents.startswith(b"\x89PNG\r\n\x1a\n")
    assert 10_000 < len(contents) < 200_000
    width, height = (int.from_bytes(contents[start : start + 4], "big") for start in (16, 20))
    assert (width, height) == (1300, 420)


def test_what_is_printed_where_there_is_no_terminal(finished: tuple[Path, Path, str]) -> None:
    _, out, stdout = finished
    summary = json.loads((out / "summary.json").read_text())
    printed = [line for line in stdout.splitlines() if line]
    assert printed[0] == f"tiny_mobilenet: {summary['parameters']:,} parameters, {summary['macs']:,} MACs for an image"
    assert printed[1] == "dots: 42 training, 6 validation and 12 test images of 1x6x6 in 3 classes"
    assert printed[2] == f"{summary['backend']} backend, seed 0, writing to {out}"
    compiling = "the first batch compiles the kernels that this machine has not compiled yet; Ctrl-C waits for it"
    assert (compiling in printed) == (summary["backend"] == "numba")
    assert "(loss: with smoothed labels)" in printed[-5]
    assert [line.split()[0] for line in printed[-4:-1]] == ["1", "2", "3"]  # one line for each epoch
    assert printed[-1].startswith(f"test accuracy {summary['test_accuracy']:.4f} (")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_the_same_seed_gives_the_same_numbers(data: Path, tmp_path: Path, backend: str) -> None:
    results = []
    for place, seed in enumerate((5, 5, 6)):
        out = tmp_path / str(place)
        assert run("--data", data, "--epochs", 2, "--seed", seed, "--out", out, "--backend", backend)[0] == 0
        epochs = [{**epoch, "seconds": 0} for epoch in lines(out / "metrics.jsonl")]
        results.append((epochs, (out / "weights.safetensors").read_bytes()))
    assert results[0] == results[1]
    assert results[0] != results[2]


@pytest.mark.slow
@pytest.mark.parametrize("model", TINY)
def test_every_model(data: Path, tmp_path: Path, model: str) -> None:
    assert run("--data", data, "--model", model, "--epochs", 1, "--out", tmp_path / "run")[0] == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["model"] == model


@pytest.mark.slow
def test_digits_are_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("digits").mkdir()  # is another thing
    code, stdout, _ = run("--epochs", 1)
    assert code == 0
    summary = json.loads(Path("runs/tiny_mobilenet-digits-seed0/summary.json").read_text())
    assert (summary["model"], summary["data"]) == ("tiny_mobilenet", "digits")
    right = round(summary["test_accuracy"] * 359)
    assert stdout.splitlines()[-1] == (
        f"test accuracy {summary['test_accuracy']:.4f} ({right} of 359) with the weights of epoch 1"
    )


@pytest.mark.slow
def test_the_next_run_gets_the_next_folder(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        assert run("--data", data, "--epochs", 1, "--seed", 3)[0] == 0
    assert sorted(os.listdir("runs")) == [f"tiny_mobilenet-dots-seed3{suffix}" for suffix in ("", "-2", "-3")]


def test_colour_images_of_many_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(12) % 2
    np.savez(tmp_path / "big.npz", images=rng.random((12, 3, 40, 33)) + labels[:, None, None, None], labels=labels)
    out = tmp_path / "run"
    assert run("--data", tmp_path / "big.npz", "--epochs", 1, "--model", "tiny_shufflenet", "--out", out)[0] == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["architecture"] == {"num_classes": 2, "in_channels": 3, "stem_stride": 2}


@pytest.mark.slow
def test_a_terminal_sees_a_progress_bar(data: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "100"}
    words = ["train", "--data", data, "--epochs", "2", "--out", tmp_path / "run", "--backend", "numpy"]
    result = subprocess.run(command(*words), capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert "━" in result.stdout
    assert "epoch 2 " in result.stdout


@pytest.mark.slow
def test_a_file_of_choices_and_the_command_line_before_it(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(
        f'data = {json.dumps(str(data))}\nepochs = 2\nbatch = 9\noptimizer = "adamw"\nbackend = "numpy"\n'
    )
    assert call("train", "--config", config, "--batch", 8, "--out", tmp_path / "run")[0] == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["epochs"], summary["batch"], summary["lr"]) == (2, 8, 0.005)
    words = shlex.split(summary["command"])
    assert words[:2] == ["npconv", "train"]
    assert call(*words[1:], "--out", tmp_path / "again")[0] == 0  # the command that the run kept repeats it
    assert results(tmp_path / "again") == results(tmp_path / "run")
    config.write_text("epoch = 2")
    assert "there is no option 'epoch'; did you mean epochs?" in call("train", "--config", config)[2]


def test_weights_of_other_classes(data: Path, tmp_path: Path) -> None:
    assert run("--data", data, "--epochs", 1, "--out", tmp_path / "first")[0] == 0
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "two.npz", images=rng.integers(0, 255, (40, 6, 6), dtype=np.uint8), labels=np.array(["a", "b"] * 20)
    )
    first = tmp_path / "first"  # the folder of a run stands for its weights
    code, stdout, _ = run(
        "--data", tmp_path / "two.npz", "--epochs", 1, "--weights", first, "--freeze", "stem", "--freeze", "block*",
        "--out", tmp_path / "second",
    )  # fmt: skip
    assert code == 0
    assert "new for these classes: head.linear.w, head.linear.b" in stdout
    before, after = (weights.read(tmp_path / run / "weights.safetensors")[1] for run in ("first", "second"))
    changed = {name for name, array in after.items() if not np.array_equal(array, before[name])}
    assert changed == {"head.linear.w", "head.linear.b"}
    about = json.loads(weights.metadata(tmp_path / "second" / "weights.safetensors")["npconv"])
    assert about["classes"] == ["a", "b"]


def test_options_of_the_network(data: Path, tmp_path: Path) -> None:
    assert (
        run("--data", data, "--model", "tiny_octave", "-O", "alpha=0.5", "--epochs", 1, "--out", tmp_path / "o")[0] == 0
    )
    assert json.loads((tmp_path / "o" / "summary.json").read_text())["architecture"]["alpha"] == 0.5
    refused(
        "--option must be one of num_classes, in_channels, alpha, stem_stride, got 'beta'",
        "--data",
        data,
        "--model",
        "tiny_octave",
        "-O",
        "beta=0.5",
    )


@pytest.mark.slow
def test_event_files(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, int]] = []

    class Writer:
        def __init__(self, folder: str) -> None:
            pass

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, step))

        def close(self) -> None:
            pass

    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=Writer))
    assert run("--data", data, "--epochs", 2, "--out", tmp_path / "run", "--tensorboard")[0] == 0
    assert {("loss", 1), ("validation_accuracy", 2)} < set(written)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    code, _, stderr = run("--data", data, "--epochs", 1, "--out", tmp_path / "other", "--tensorboard")
    assert (code, "pip install 'npconv[tensorboard]'" in stderr) == (2, True)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_progress_fits_its_window(data: Path, tmp_path: Path, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(
        "npconv.cli.train.line_console",
        lambda quiet: PlainConsole(file=screen, force_terminal=True, color_system=None, width=width, soft_wrap=True),
    )
    assert run("--data", data, "--epochs", 1, "--out", tmp_path / "run")[0] == 0
    told = [line for line in re.split("[\\r\\n]", screen.getvalue()) if "images/s" in line]
    assert re.search(r"epoch 1  loss \d\.\d{3}  .*\d images/s 0:00:0\d left (-:--:--|0:00:0\d)", told[-1])
    assert max(map(len, told)) <= width + len("\x1b[2K")
    assert ("accuracy" in told[-1]) == (width > 100)
