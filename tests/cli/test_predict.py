"""`npconv predict`: the table is the network's answer on the prepared image, and what is wrong is one line."""

from __future__ import annotations

import json
import os
import re
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import call
from PIL import Image

from npconv import data, models, nn, weights
from npconv.cli.predict import MEAN, STD


def table(*words: object) -> list[tuple[int, float, str]]:
    """(class, probability, label) of each row that `npconv predict` prints."""
    code, out, err = call("predict", *words)
    assert (code, err) == (0, "")
    head, *rows = out.splitlines()
    assert head.split()[:3] == ["rank", "class", "probability"]
    cells = [re.fullmatch(r" *(\d+) +(\d+) +(\d\.\d{4}) *(.*?) *", row) for row in rows]
    assert [int(cell[1]) for cell in cells] == list(range(1, len(rows) + 1))
    return [(int(cell[2]), float(cell[3]), cell[4]) for cell in cells]


def assert_answer(rows: list[tuple[int, float, str]], logits: np.ndarray, names: list[str] | None = None) -> None:
    """The rows are the softmax of the logits, largest first, to the four digits that are printed."""
    probabilities = np.exp(logits.astype(np.float64)) / np.exp(logits.astype(np.float64)).sum()
    order = np.argsort(-probabilities)[: len(rows)]
    assert [row[0] for row in rows] == list(order)
    np.testing.assert_allclose([row[1] for row in rows], probabilities[order], atol=0.6e-4)
    assert [row[2] for row in rows] == ([names[which] for which in order] if names else [""] * len(rows))


THIRDS = ["0", "1", "2"]  # what the classes of the trained network are called


def picture(path: Path, *shape: int, seed: int = 0) -> np.ndarray:
    """Random pixels, and a file of them."""
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def settled(model: nn.Layer) -> nn.Layer:
    """`model` with running statistics that a batch has moved, and large enough logits to tell classes apart."""
    x = np.random.default_rng(1).standard_normal((8, model_channels(model), 32, 32)).astype(np.float32)
    model.train()(x)
    for name, array in model.named_params():
        if name.endswith("linear.w"):
            array *= 10
    return model


def model_channels(model: nn.Layer) -> int:
    return next(iter(model.state().values())).shape[1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short training on grey images of three classes, 8 rows and 6 columns, bright in one third each."""
    folder = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = rng.integers(0, 100, size=(60, 8, 6), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 2 * label : 2 * label + 2] += 120
    np.savez(folder / "thirds.npz", images=images, labels=labels)
    options = ("--data", folder / "thirds.npz", "--epochs", 3, "--backend", "numpy", "--out", folder / "run")
    assert call("train", *options)[0] == 0
    Image.fromarray(images[1]).save(folder / "middle.png")
    return folder


@pytest.mark.slow
def test_what_train_wrote_needs_no_options(trained: Path) -> None:
    file, image = trained / "run" / "weights.safetensors", trained / "middle.png"
    noted = json.loads(weights.metadata(file)["npconv"])
    model = models.NETWORKS[noted["model"]](**noted["architecture"], rng=np.random.default_rng(0))
    weights.load(model, file)
    x = np.asarray(Image.open(image), np.float64)[None, None]
    x = (x - noted["mean"][0]) / noted["std"][0]
    logits = model.eval()(x.astype(np.float32))[0]
    assert_answer(table(image, "--weights", file), logits, THIRDS)
    assert_answer(table(image, "--weights", file.parent), logits, THIRDS)
    assert_answer(table(image, "--weights", file, "--model", "tiny_mobilenet"), logits, THIRDS)


@pytest.mark.slow
def test_digits_written_as_pictures(tmp_path: Path) -> None:
    """Their pixels go from 0 to 16: the network sees in a picture, of any size, what it sees in the data."""
    assert call("train", "--epochs", 4, "--backend", "numpy", "--out", tmp_path / "run")[0] == 0
    file, picture = tmp_path / "run" / "weights.safetensors", tmp_path / "digit.png"
    noted = json.loads(weights.metadata(file)["npconv"])
    assert (noted["image"], noted["white"]) == ([1, 8, 8], 16)
    model = models.NETWORKS[noted["model"]](**noted["architecture"], rng=np.random.default_rng(0))
    weights.load(model, file)
    digits = data.digits()
    images, labels = digits.test.images[:12], digits.test.labels[:12]
    right = np.zeros(2)
    for image, label, logits in zip(images, labels, model.eval()(images), strict=True):
        grey = np.rint((image[0] * digits.std + digits.mean) * (255 / 16)).astype(np.uint8)
        Image.fromarray(grey).save(picture)
        rows = table(picture, "--weights", file, "--top", 10)
        probabilities = np.exp(logits.astype(np.float64)) / np.exp(logits.astype(np.float64)).sum()
        # Rounded to whole greys, each pixel is within 1/32 of the digit's.
        np.testing.assert_allclose([row[1] for row in rows], probabilities[[row[0] for row in rows]], atol=0.02)
        Image.fromarray(grey.repeat(10, axis=0).repeat(10, axis=1)).save(picture)
        large = table(picture, "--weights", file)
        right += rows[0][0] == label, large[0][0] == label
    assert right.min() >= 10


def test_white_size_mean_and_std(trained: Path) -> None:
    file = trained / "run" / "weights.safetensors"
    picture(trained / "noise.png", 32, 24)
    noted = json.loads(weights.metadata(file)["npconv"])
    model = models.NETWORKS[noted["model"]](**noted["architecture"], rng=np.random.default_rng(0))
    weights.load(model, file)
    small = Image.open(trained / "noise.png").resize((6, 8), Image.Resampling.BICUBIC)
    x = (np.asarray(small, np.float64)[None, None] * (16 / 255) - 5) / 6
    rows = table(
        trained / "noise.png", "--weights", file, "--white", 16, "--size", "8x6", "--mean", 5, "--std", 6, "--top", 2
    )
    assert len(rows) == 2
    assert_answer(rows, model.eval()(x.astype(np.float32))[0], THIRDS)


def test_a_network_for_imagenet_is_fed_as_usual(tmp_path: Path) -> None:
    """The shorter side is scaled to 8/7 of the size, the middle cut out, each channel normalised."""
    model = settled(models.mobilenet_v1(0.25, 12, rng=np.random.default_rng(0)))
    weights.save(model, tmp_path / "w.safetensors")
    (tmp_path / "labels.txt").write_text("".join(f"thing {number}\n" for number in range(12)), encoding="utf-8")
    picture(tmp_path / "photo.png", 80, 120, 3)
    scaled = Image.open(tmp_path / "photo.png").resize((96, 64), Image.Resampling.BICUBIC)  # 96 columns of 64 rows
    x = np.asarray(scaled, np.float64)[4:60, 20:76] / 255
    x = ((x - MEAN) / STD).transpose(2, 0, 1)[None].astype(np.float32)
    options = ["--weights", tmp_path / "w.safetensors", "--model", "mobilenet_v1", "--size", 56]
    options += ["-O", "width=0.25", "-O", "num_classes=12", "--labels", tmp_path / "labels.txt"]
    rows = table(tmp_path / "photo.png", *options)
    assert len(rows) == 5
    assert_answer(rows, model.eval()(x)[0], [f"thing {number}" for number in range(12)])


def test_weights_in_other_names(tmp_path: Path) -> None:
    model = settled(models.resnet(26, 4, rng=np.random.default_rng(0), channels=8))
    source = weights.SOURCES["torchvision/resnet"]
    state = {source.name_there(name): array for name, array in model.state().items()}
    weights.save(state, tmp_path / "w.safetensors", {"format": "pt"})
    pixels = picture(tmp_path / "photo.png", 64, 64, 3)
    x = ((pixels / 255 - MEAN) / STD).transpose(2, 0, 1)[None].astype(np.float32)
    options = ["--model", "resnet", "-O", "depth=26", "-O", "channels=8", "-O", "num_classes=4"]
    options += ["--weights", tmp_path / "w.safetensors", "--names", "torchvision/resnet", "--size", 56]
    assert_answer(table(tmp_path / "photo.png", *options), model.eval()(x[:, :, 4:60, 4:60])[0])


def test_a_turned_photograph_is_turned_back(trained: Path) -> None:
    file = trained / "run" / "weights.safetensors"
    upright = Image.open(trained / "middle.png")
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    upright.transpose(Image.Transpose.ROTATE_180).save(trained / "turned.png", exif=exif)
    assert table(trained / "turned.png", "--weights", file) == table(trained / "middle.png", "--weights", file)


# --- many images ---


def test_many_images_folders_and_arrays(trained: Path, tmp_path: Path) -> None:
    """Each gets the answer that it gets alone, in a table, as CSV and as JSON; arrays as their pictures do."""
    file, folder = trained / "run", tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    arrays = [picture(folder / name, 8, 6, seed=seed) for seed, name in enumerate(("a.png", "b.png", "more/c.png"))]
    np.savez(tmp_path / "d.npz", images=np.stack(arrays))
    alone = [table(folder / name, "--weights", file, "--top", 3) for name in ("a.png", "b.png", "more/c.png")]
    code, out, err = call("predict", folder, tmp_path / "d.npz", "--weights", file)
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()[1:]]
    assert [int(line[1]) for line in lines] == [rows[0][0] for rows in alone] * 2
    call("predict", folder, tmp_path / "d.npz", "--weights", file, "--top", 3, "--out", tmp_path / "p.json")
    found = json.loads((tmp_path / "p.json").read_text())
    assert [one["image"] for one in found[:3]] == [str(folder / name) for name in ("a.png", "b.png", "more/c.png")]
    for one, rows in zip(found, alone * 2, strict=True):
        assert [answer["class"] for answer in one["classes"]] == [row[0] for row in rows]
        np.testing.assert_allclose(
            [answer["probability"] for answer in one["classes"]], [row[1] for row in rows], atol=1e-4
        )
        assert [answer["label"] for answer in one["classes"]] == [row[2] for row in rows]
    call("predict", folder, "--weights", file, "--top", 2, "--out", tmp_path / "p.csv")
    lines = (tmp_path / "p.csv").read_text().splitlines()
    assert lines[0] == "image,rank,class,label,probability"
    assert len(lines) == 1 + 3 * 2
    assert lines[1].startswith(f"{folder / 'a.png'},1,{alone[0][0][0]},")


# --- errors ------------------------------------------------------------------------------------------------------


def cut(path: Path) -> Path:
    short = path.with_name(f"cut-{path.name}")
    short.write_bytes(path.read_bytes()[:-40])
    return short


def wide(folder: Path) -> Path:
    Image.fromarray(np.zeros((8, 6), np.float32)).save(folder / "wide.tif")
    return folder / "wide.tif"


def empty(folder: Path) -> Path:
    (folder / "empty").mkdir(exist_ok=True)
    return folder / "empty"


def thin(folder: Path) -> Path:
    Image.fromarray(np.zeros((1, 60_000), np.uint8)).save(folder / "thin.png")
    return folder / "thin.png"


def claimed(folder: Path, width: int, height: int) -> Path:
    """A picture's first bytes, which say how large it will be; there is no more of it."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (folder / "claimed.png").write_bytes(start + struct.pack(">I", 100) + b"IDAT")
    return folder / "claimed.png"


def fifo(folder: Path) -> Path:
    if not (folder / "fifo").exists():
        os.mkfifo(folder / "fifo")
    return folder / "fifo"


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n"


def text(folder: Path, contents: bytes) -> Path:
    (folder / "text.txt").write_bytes(contents)
    return folder / "text.txt"


def foreign(folder: Path, about: str | None = None) -> Path:
    """Weights of a network of another kind, with or without a note."""
    model = models.resnet8(rng=np.random.default_rng(0))
    weights.save(model, folder / "foreign.safetensors", None if about is None else {"npconv": about})
    return folder / "foreign.safetensors"


def noted(folder: Path, **changes: Any) -> str:
    """What `npconv train` noted, with changes."""
    return json.dumps(json.loads(weights.metadata(mine(folder)[2])["npconv"]) | changes)


def mine(f: Path) -> list[Any]:
    return [f / "middle.png", "--weights", f / "run" / "weights.safetensors"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (lambda f: [f / "no.png", *mine(f)[1:]], "IMAGE must be a file that exists, got "),
        (lambda f: [fifo(f), *mine(f)[1:]], "IMAGE must be a file that exists, got "),
        (lambda f: [text(f, EPS), *mine(f)[1:]], "cannot identify image file"),
        (lambda f: [claimed(f, 20_000, 20_000), *mine(f)[1:]], "IMAGE must be a whole image file, got "),
        (lambda f: [claimed(f, 13_000, 13_000), *mine(f)[1:]], "it has 13000x13000 pixels, above 134,217,728"),
        (lambda f: [claimed(f, 8000, 8000), *mine(f)[1:]], "IMAGE must be a whole image file, got "),
        (lambda f: [thin(f), *mine(f)[1:], "--size", 224], "IMAGE must be less long and thin, got "),
        (lambda f: [*mine(f), "--size", "3000x2000"], "--size must have at most 4194304 pixels, got 3000x2000"),
        (lambda f: [*mine(f), "--std", "1e-300"], "--white, --mean and --std must leave finite numbers"),
        (lambda f: [*mine(f), "--std", "1e-36"], "the network must give finite numbers, got others for "),
        (lambda f: [*mine(f), "--labels", fifo(f)], "--labels must be a file, got a FIFO: "),
        (lambda f: [*mine(f), "--labels", text(f, bytes(1 << 25))], "--labels must have at most 16777216 bytes"),
        (lambda f: [empty(f), *mine(f)[1:]], "IMAGE must be an image file or a folder of them, got "),
        (lambda f: [cut(f / "thirds.npz"), *mine(f)[1:]], "the data file must be a whole .npz of plain arrays, got "),
        (lambda f: [*mine(f), "--out", f / "no" / "a.csv"], "--out must be a file in a folder that exists, got "),
        (
            lambda f: [f / "thirds.npz", *mine(f)[1:], "--size", 9],
            "images must be 1x9x9 for this network, got (1, 8, 6)",
        ),
        (lambda f: [cut(f / "middle.png"), *mine(f)[1:]], "IMAGE must be a whole image file, got "),
        (lambda f: [wide(f), *mine(f)[1:]], "it has 32 bits per channel"),
        (lambda f: [*mine(f), "--top", 0], "--top must be at least 1, got --top=0"),
        (lambda f: [*mine(f), "--size", "big"], "--size must be pixels such as 224 or 49x10, got 'big'"),
        (lambda f: [*mine(f), "--size", 0], "--size must be at least 1, got --size=0"),
        (lambda f: [*mine(f), "--white", 0], "--white must be finite and above 0, got --white=0.0"),
        (lambda f: [*mine(f), "--mean", "1,2"], "--mean must be a number, got '1,2'"),
        (lambda f: [*mine(f), "--mean", "nan"], "--mean must be a number, got 'nan'"),
        (lambda f: [*mine(f), "--std", "0"], "--std must be finite and above 0, got --std=0.0"),
        (lambda f: [*mine(f), "--model", "resnet8"], "--model must be tiny_mobilenet, which the weights are of, got"),
        (lambda f: [*mine(f), "-O", "width=2"], "--option must not be given where the weights say it themselves, got"),
        (lambda f: [*mine(f), "-O", "width"], "--option must be NAME=VALUE, got 'width'"),
        (lambda f: [*mine(f), "--labels", f / "no.txt"], "--labels must be a file that can be read, got "),
        (lambda f: [*mine(f), "--labels", f], "--labels must be a file, got a folder: "),
        (lambda f: [*mine(f), "--labels", text(f, b"a\nb\n")], "a line for each of 3 classes, got 2 lines in "),
        (lambda f: [*mine(f), "--labels", text(f, b"\xff\n")], "--labels must be a text file in UTF-8, got "),
        (lambda f: [*mine(f), "--names", "keras"], "--names must be one of timm/mobilenetv1, "),
        (lambda f: [*mine(f), "--names", "timm/ghostnet"], "the arrays must be those of timm/ghostnet for "),
        (lambda f: [mine(f)[0], "--weights", f / "no"], "the weights must be a file that exists, got "),
        (lambda f: [mine(f)[0], "--weights", cut(mine(f)[2])], "must be a whole safetensors file, got "),
        (lambda f: [mine(f)[0], "--weights", foreign(f)], "--model must be given where the weights do not say it"),
        (
            lambda f: [mine(f)[0], "--weights", foreign(f), "--model", "alexnet"],
            "--model must be one of conv_mobilenet,",
        ),
        (lambda f: [mine(f)[0], "--weights", foreign(f), "--model", "resnet_cifar"], "missing: "),
        (
            lambda f: [mine(f)[0], "--weights", foreign(f), "--model", "resnet8", "-O", "depth=3"],
            "the options of resnet8 must be among num_classes, in_channels, got depth",
        ),
        (
            lambda f: [mine(f)[0], "--weights", foreign(f), "--model", "resnet8", "-O", "in_channels=2"],
            "in_channels must be 1 (grey) or 3 (red, green, blue) for an image file, got 2",
        ),
        (lambda f: [mine(f)[0], "--weights", foreign(f, "{")], "the weights must say what `npconv train` notes, got "),
        (lambda f: [mine(f)[0], "--weights", foreign(f, "{}")], "the weights must say what `npconv train` notes, got "),
        (lambda f: [mine(f)[0], "--weights", foreign(f, noted(f, image=[8, 6]))], "(expected 3, got 2)"),
        (lambda f: [mine(f)[0], "--weights", foreign(f, noted(f, image=[1, 0, 6]))], "image must be at least 1, got"),
        (lambda f: [mine(f)[0], "--weights", foreign(f, noted(f, white=0))], "white must be finite and above 0, got"),
        *(
            (lambda f, changes=changes: [mine(f)[0], "--weights", foreign(f, noted(f, **changes))], message)
            for changes, message in [
                ({"image": [1, 20_000, 20_000]}, "image must have at most 4194304 pixels, got 20000x20000"),
                ({"image": {"1": 2}}, "image must be an integer, got '1'"),
                ({"architecture": 5}, "the note must have a model and its architecture"),
                ({"architecture": {"num_classes": 10**9}}, "num_classes must be at most what the file has weights for"),
                ({"architecture": {"num_classes": "3"}}, "num_classes must be an integer, got '3'"),
                ({"architecture": {"rng": 3}}, "the weights must say what `npconv train` notes, got "),
                ({"model": ["mobilenet"]}, "the weights must say what `npconv train` notes, got "),
                ({"std": [0.0]}, "std must be finite and above 0, got std=0.0"),
                ({"std": [float("nan")]}, "std must be a finite number for each of 1 channels"),
                ({"std": [1.0, 1.0]}, "std must be a finite number for each of 1 channels"),
                ({"mean": 10**400}, "the weights must say what `npconv train` notes, got "),
                ({"mean": [10**400]}, "the weights must say what `npconv train` notes, got "),
                ({"mean": ["x"]}, "the weights must say what `npconv train` notes, got "),
                ({"white": 10**400}, "the weights must say what `npconv train` notes, got "),
            ]
        ),
        (lambda f: [mine(f)[0], "--weights", foreign(f, "[" * 100_000)], "RecursionError"),
        (lambda f: [mine(f)[0], "--weights", foreign(f, "9" * 5000)], "the weights must say what `npconv train` notes"),
        (lambda f: [mine(f)[0], "--weights", foreign(f, " " * 2_000_000)], "the note must have at most 1048576"),
        (lambda f: [mine(f)[0], "--weights", foreign(f, "5")], "the note must have a model"),
        (
            lambda f: [mine(f)[0], "--weights", foreign(f, '{"model": "alexnet"}')],
            "the weights must say what `npconv train` notes, got ",
        ),
    ],
)
def test_errors_are_one_line(trained: Path, words: Callable[[Path], list[Any]], message: str) -> None:
    code, out, err = call("predict", *words(trained))
    assert code != 0
    assert out == ""
    assert err.startswith("npconv: ")
    assert message in err
    assert err.count("\n") == 1


def test_control_characters_of_labels_are_shown(trained: Path) -> None:
    rows = table(*mine(trained), "--labels", text(trained, "a\x1b[2J\n[red]b\nc\u202ed\n".encode()))
    assert sorted(row[2] for row in rows) == ["[red]b", "a\\x1b[2J", "c\\u202ed"]


def test_pillows_warnings_are_not_the_users(trained: Path) -> None:
    """A palette with transparency in bytes is one of the pictures that Pillow warns of."""
    picture = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(8, 6) % 4, mode="P")
    picture.putpalette(bytes(range(12)))
    picture.save(trained / "palette.png", transparency=bytes([0, 128, 255, 255]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table(trained / "palette.png", *mine(trained)[1:])
    assert caught == []
