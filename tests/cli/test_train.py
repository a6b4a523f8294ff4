"""`npconv train`, as a user meets it: what it writes, what it prints, and one line where something is wrong."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
from commands import call, command

import npconv
from npconv import training, weights
from npconv.cli.signals import signals_deferred
from npconv.data import load
from npconv.models import MODELS

EPOCH_KEYS = ["epoch", "lr", "loss", "accuracy", "validation_loss", "validation_accuracy", "seconds"]
SUMMARY_KEYS = ["model", "data", "seed", "epochs", "test_accuracy", "seconds", "parameters", "macs"]
FILES = {"metrics.jsonl", "summary.json", "weights.safetensors", "curves.png", "config.toml", "checkpoints"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small file of three easy classes: a bright dot in the left, middle or right third of noise."""
    return write_dots(tmp_path / "dots.npz", count=60, size=6)


def write_dots(path: Path, count: int, size: int) -> Path:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 3
    images = rng.integers(0, 100, size=(count, size, size), dtype=np.uint8)
    images[np.arange(count), rng.integers(size, size=count), labels * (size // 3)] = 255
    np.savez(path, images=images, labels=labels)
    return path


def run(*arguments: object) -> tuple[int, str, str]:
    """`npconv train`, on the NumPy backend unless told otherwise."""
    return call("train", "--backend", "numpy", *arguments)


def lines(path: Path) -> list[dict[str, float]]:
    text = path.read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


# --- a whole run ---


@pytest.fixture(scope="module", params=["numpy", "numba"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    folder = tmp_path_factory.mktemp(request.param)
    data, out = write_dots(folder / "dots.npz", count=60, size=6), folder / "deep" / "run"
    code, stdout, stderr = run("--data", data, "--epochs", 3, "--batch", 10, "--out", out, "--backend", request.param)
    assert (code, stderr) == (0, "")
    return data, out, stdout


def test_the_run_folder(finished: tuple[Path, Path, str]) -> None:
    data, out, _ = finished
    assert {path.name for path in out.iterdir()} == FILES
    epochs = lines(out / "metrics.jsonl")
    assert [list(epoch) for epoch in epochs] == [EPOCH_KEYS] * 3
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    assert epochs[-1]["loss"] < epochs[0]["loss"]

    summary = json.loads((out / "summary.json").read_text())
    assert list(summary)[: len(SUMMARY_KEYS)] == SUMMARY_KEYS
    assert [summary[key] for key in ("model", "data", "seed", "epochs")] == ["mobilenet", str(data), 0, 3]
    assert summary["interrupted"] is False
    assert 0 < sum(epoch["seconds"] for epoch in epochs) < summary["seconds"]
    model = MODELS["mobilenet"](num_classes=3, rng=np.random.default_rng(0))
    assert summary["parameters"] == model.parameter_count()
    assert summary["macs"] == npconv.costs.count(model, (1, 1, 6, 6)).macs
    assert summary["versions"]["npconv"] == npconv.__version__


def test_the_weights_are_those_that_were_tested(finished: tuple[Path, Path, str]) -> None:
    data, out, _ = finished
    summary = json.loads((out / "summary.json").read_text())
    model = MODELS[summary["model"]](**summary["architecture"], rng=np.random.default_rng(9))
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
    assert printed[0] == f"mobilenet: {summary['parameters']:,} parameters, {summary['macs']:,} MACs for an image"
    assert printed[1] == "dots: 42 training, 6 validation and 12 test images of 1x6x6 in 3 classes"
    assert printed[2] == f"{summary['backend']} backend, seed 0, writing to {out}"
    compiling = "compiling kernels with the first batch, once per machine; Ctrl-C waits for it"
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
@pytest.mark.parametrize("model", MODELS)
def test_every_model(data: Path, tmp_path: Path, model: str) -> None:
    assert run("--data", data, "--model", model, "--epochs", 1, "--out", tmp_path / "run")[0] == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["model"] == model


@pytest.mark.slow
def test_digits_are_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, stdout, _ = run("--epochs", 1)
    assert code == 0
    summary = json.loads(Path("runs/mobilenet-digits-seed0/summary.json").read_text())
    assert (summary["model"], summary["data"]) == ("mobilenet", "digits")
    right = round(summary["test_accuracy"] * 359)
    assert stdout.splitlines()[-1] == (
        f"test accuracy {summary['test_accuracy']:.4f} ({right} of 359) with the weights of epoch 1"
    )


@pytest.mark.slow
def test_the_next_run_gets_the_next_folder(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        assert run("--data", data, "--epochs", 1, "--seed", 3)[0] == 0
    assert sorted(os.listdir("runs")) == [f"mobilenet-dots-seed3{suffix}" for suffix in ("", "-2", "-3")]


def test_colour_images_of_many_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(12) % 2
    np.savez(tmp_path / "big.npz", images=rng.random((12, 3, 40, 33)) + labels[:, None, None, None], labels=labels)
    out = tmp_path / "run"
    assert run("--data", tmp_path / "big.npz", "--epochs", 1, "--model", "shufflenet", "--out", out)[0] == 0
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


# --- what is wrong is one line, and nothing is left behind ---


def refused(message: str, *arguments: object) -> None:
    code, stdout, stderr = run(*arguments)
    assert (code, stdout) == (2, "")
    assert stderr.count("\n") == 1
    assert stderr.startswith("npconv: ")
    assert message in stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--model", "alexnet"],
            "--model must be one of mobilenet, shufflenet, ghostnet, octave, resnet, got 'alexnet'",
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
    refused("the run folder must be writable, got runs/mobilenet-dots-seed0", "--data", data)


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


# --- Ctrl-C ---


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
    words = ["train", "--data", data, "--model", "resnet", "--out", out, "--backend", "numpy"]
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


# --- going on ---


def results(out: Path) -> tuple[object, ...]:
    """What has to be equal in two runs."""
    epochs = [{**epoch, "seconds": 0} for epoch in lines(out / "metrics.jsonl")]
    summary = json.loads((out / "summary.json").read_text())
    state = max((out / "checkpoints").glob("*/state.safetensors")).read_bytes()
    return epochs, summary["test_accuracy"], summary["confusion"], (out / "weights.safetensors").read_bytes(), state


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


def hit(words: list[object], number: signal.Signals, delay: float) -> int:
    """Start the command, send it the signal so long after it began to train, and return its exit status."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(command(*words), stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch "):
                break
        time.sleep(delay)
        process.send_signal(number)
        process.communicate(timeout=600)
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
        code = hit(start, number, float(rng.uniform(0, 0.4)))
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


# --- choices ---


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
    assert call("train", "--resume", out)[0] == 0
    assert run("--data", data, "--epochs", 4, "--out", tmp_path / "whole")[0] == 0
    assert results(out) == results(tmp_path / "whole")


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
    first = tmp_path / "first" / "weights.safetensors"
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
    assert run("--data", data, "--model", "octave", "-O", "alpha=0.5", "--epochs", 1, "--out", tmp_path / "o")[0] == 0
    assert json.loads((tmp_path / "o" / "summary.json").read_text())["architecture"]["alpha"] == 0.5
    refused("--option must be one of octave's, got beta", "--data", data, "--model", "octave", "-O", "beta=0.5")


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


def test_a_batch_of_one_leaves_no_folder(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (12, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "small.npz", images=images, labels=np.arange(12) % 2)
    words = ["--data", tmp_path / "small.npz", "--model", "shufflenet", "--batch", 1, "--out", tmp_path / "run"]
    refused("--batch must be at least 2 where a batch norm sees one pixel of each image", *words)
    assert not (tmp_path / "run").exists()


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def interrupt(words: list[object], when: object) -> tuple[int, str, str]:
    """Start the command, send it what Ctrl-C sends as soon as `when()` is true, and wait for its end."""
    with subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not when() and process.poll() is None and time.monotonic() < deadline:  # type: ignore[operator]
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, stderr
