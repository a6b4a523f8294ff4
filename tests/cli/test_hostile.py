"""Options and files that are wrong: whatever they are, a command ends with one of its exit statuses and says why, without a traceback."""

from __future__ import annotations

import io
import json
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
from commands import call
from PIL import Image

from npconv import weights
from npconv.data.pictures import FORMATS, fitted, open_picture

WORDS = [
    "", " ", "-1", "0", "1", "2", "3", "1e308", "-1e308", "1e-320", "nan", "inf", "0x10", "1_0", "9" * 400, "9" * 5000, "-" + "9" * 400,
    "1.5", "True", "none", "None", "x", "same", "é", "\x1b[31m", "a\nb", "\u202e", "\udcff", "/", ".", "..", "~", "/dev/null", "*", "1,2",
    "1,2,3", ",", ",,", "1x2", "0x0", "x2", "2x", "1x2x3", "9" * 30 + "x1", "=", "a=b", "=b", "a=", "width=nan", "width=1e308", "width=" + "9" * 400,
    "width=(1,2)", "width=[1]", "width=" + "(" * 300, "width=" + "-" * 5000 + "1", "num_classes=-1", "num_classes=99999999999", "in_channels=0",
    "rng=3", "dtype=float64", "self=1", "__class__=1", "float16", "numba", "numpy", "mobilenet", "mobilenet_v1", "resnet", "exact", "relu",
    "conv2d", "(", "[", "\\", "(?P<a>", "a{99999}", "%s", "{}", "$HOME", ";", "|", "'", '"', "--help", "--", "-",
]  # fmt: skip

OPTIONS = {
    "summary": (["tiny_octave"], ["--width", "--groups", "--alpha", "--option", "--size"]),
    "predict": (["IMAGE", "--weights", "WEIGHTS"], ["--model", "--option", "--names", "--labels", "--top", "--size", "--white", "--mean", "--std", "--weights"]),
    "compile": ([], ["--dtype"]),
    "check": (["npconv", "--op", "relu", "--cases", "1", "--no-fingerprint"], ["--modes", "--dtype"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a short training, and an image, in pictures of several kinds."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(12, 8, 6), dtype=np.uint8)
    np.savez(folder / "images.npz", images=images, labels=np.arange(12) % 2)
    options = ("--data", folder / "images.npz", "--epochs", 1, "--backend", "numpy", "--out", folder / "run")
    assert call("train", *options)[0] == 0
    for kind in FORMATS:
        Image.fromarray(images[1]).save(folder / f"image.{kind.lower()}", format=kind)
    return folder


def some_words(option: str) -> list[str]:
    """A few of them, others for each option: a call takes a tenth of a second."""
    return random.Random(option).sample(WORDS, 12)


def check_end(command: str, words: list[object]) -> None:
    """The command ended as it may end."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        status, out, err = call(command, *words)
    assert status in (0, 1, 2), err
    assert "Traceback" not in err
    assert not {"\x1b", "\u202e"} & set(out + err)
    if status and not err.startswith("Usage"):
        assert err.startswith("npconv: ")
        assert err.count("\n") == 1


def is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


NUMBERS = "--top", "--white", "--width", "--groups", "--alpha"  # what is no number is refused in one place
NAMES = "--names", "--modes", "--dtype"  # and what is none of a few names in another


def all_words(option: str) -> list[str]:
    """Those that an option may take in a way of its own, and some of those that all of its kind refuse alike."""
    if option in NUMBERS:
        return [word for word in WORDS if is_number(word)] + some_words(option)
    return some_words(option) if option in NAMES else WORDS


EVERY_OPTION = pytest.mark.parametrize(
    ("command", "option"), [(c, o) for c, (_, all_) in OPTIONS.items() for o in all_]
)


@EVERY_OPTION
def test_every_option_takes_any_word(files, monkeypatch, tmp_path, command, option):
    monkeypatch.chdir(tmp_path)
    check_option(files, command, option, some_words(option))


@pytest.mark.slow
@EVERY_OPTION
def test_every_option_takes_every_word(files, monkeypatch, tmp_path, command, option):
    monkeypatch.chdir(tmp_path)
    check_option(files, command, option, all_words(option))


def check_option(files, command, option, words):
    base = [
        {"IMAGE": files / "image.png", "WEIGHTS": files / "run" / "weights.safetensors"}.get(w, w)
        for w in OPTIONS[command][0]
    ]
    for word in words:
        accepted = command == "compile" and word in ("float32", "float64")
        if (
            accepted
            or word in ("--help", "relu", "conv2d")
            or (command, word) == ("check", "1")
            or word.startswith("a")
        ):
            continue  # which work, and take their time
        check_end(command, [*base, f"{option}={word}"])


def test_every_argument_takes_any_word(files, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for word in some_words("MODEL"):
        if word in ("mobilenet_v1", "resnet") or word.startswith("-"):
            continue
        check_end("summary", [word])
        check_end("tables", [word])
        check_end("predict", [word, "--weights", files / "run" / "weights.safetensors"])


@pytest.mark.parametrize("option", ["--model", "--data", "--epochs", "--batch", "--lr", "--seed", "--backend", "--out"])
def test_a_training_takes_any_word(files, monkeypatch, tmp_path, option):
    monkeypatch.chdir(tmp_path)
    for word in some_words(option):
        if option in ("--epochs", "--seed", "--batch", "--lr") and word in ("1", "2", "3", "1.5", "1_0", "1e-320"):
            continue  # which would train
        if word in ("mobilenet_v1", "resnet", "numpy", "numba", "--help") or (
            option == "--out" and word not in ("", ".", "/dev/null")
        ):
            continue
        data = files / "images.npz"
        check_end("train", ["--data", data, "--epochs", 1, "--batch", 9, "--backend", "numpy", f"{option}={word}"])


# --- damaged files -----------------------------------------------------------------------------------------------


def damaged(contents: bytes, draw: random.Random) -> bytes:
    """Some bytes changed, left out, repeated or put in, as disks, networks and enemies do it."""
    data = bytearray(contents)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(data)) if draw.random() < 0.5 else draw.randrange(min(len(data), 200))
        length = draw.choice([1, 1, 2, 4, 8, 50])
        match draw.randrange(5):
            case 0:
                data[place : place + length] = draw.randbytes(length)
            case 1:
                del data[place : place + length]
            case 2:
                data[place:place] = data[place : place + length]
            case 3:
                data[place : place + length] = draw.choice([b"\0", b"\xff"]) * length
            case 4:
                del data[place:]
        data = data or bytearray(b"\0")
    return bytes(data)


def check_weights(files: Path, path: Path, seeds: range) -> int:
    """How many of the damaged files were refused."""
    good = (files / "run" / "weights.safetensors").read_bytes()
    refused = 0
    for seed in seeds:
        path.write_bytes(damaged(good, random.Random(seed)))
        status, out, err = call("predict", files / "image.png", "--weights", path)
        assert status in (0, 2), err
        assert err == "" if status == 0 else err.startswith("npconv: ") and err.count("\n") == 1
        assert "nan" not in out
        refused += status != 0
    return refused


def check_image(files: Path, kind: str, path: Path, seeds: range) -> int:
    good = (files / f"image.{kind.lower()}").read_bytes()
    refused = 0
    for seed in seeds:
        path.write_bytes(damaged(good, random.Random(seed)))
        try:
            x = fitted(open_picture(path, 1), (8, 6))
        except ValueError:  # its message is read by test_predict.py
            refused += 1
            continue
        assert x.shape == (8, 6, 1)
    return refused


def test_damaged_weights(files, tmp_path):
    assert check_weights(files, tmp_path / "w", range(12)) > 1


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_images(files, tmp_path, kind):
    assert check_image(files, kind, tmp_path / "image", range(40)) > 3


@pytest.mark.slow
def test_many_damaged_files(files, tmp_path):
    assert check_weights(files, tmp_path / "w", range(1000, 1500)) > 50
    for kind in FORMATS:
        assert check_image(files, kind, tmp_path / "image", range(1000, 3000)) > 50


@pytest.mark.slow
def test_notes_of_any_json(files, tmp_path):
    """Any value in the place of any part of what a weights file says of itself."""
    path = files / "run" / "weights.safetensors"
    state = dict(_arrays(path).items())
    noted = json.loads(weights.metadata(path)["npconv"])
    values = [
        None,
        True,
        -1,
        0,
        0.5,
        1e308,
        10**30,
        "",
        "x",
        [],
        [1],
        [1, 2, 3],
        {},
        {"a": 1},
        [[]],
        [None],
        "nan",
        float("nan"),
        [float("inf")],
    ]
    for key in (*noted, "new"):
        for value in values:
            weights.save(state, tmp_path / "w", {"npconv": json.dumps({**noted, key: value})})
            check_end("predict", [files / "image.png", "--weights", tmp_path / "w"])
    for inner in noted["architecture"]:
        for value in values:
            changed = {**noted, "architecture": {**noted["architecture"], inner: value}}
            weights.save(state, tmp_path / "w", {"npconv": json.dumps(changed)})
            check_end("predict", [files / "image.png", "--weights", tmp_path / "w"])


def _arrays(path: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load

    return load(io.BytesIO(path.read_bytes()).getvalue())
