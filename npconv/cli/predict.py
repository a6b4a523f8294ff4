"""`npconv predict`: what a network takes an image for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from rich.table import Table

from npconv import backends, nn, weights
from npconv.cli.console import table_console
from npconv.cli.errors import one_line
from npconv.geometry import Array, integer, positive
from npconv.models import MODELS, NETWORKS
from npconv.papers.walks import SIZES, all_options
from npconv.training.options import parse_options, parse_size


class Preparation(NamedTuple):
    """How an image file becomes what the network learned from.

    The shorter side is scaled to size / crop, the middle is cut out, black and white become 0 and `white`, and each channel
    is normalised by its mean and standard deviation.
    """

    size: tuple[int, int]
    crop: float
    white: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


# As the networks for ImageNet are evaluated: its mean and standard deviation, of pixels between 0 and 1.
CROP, WHITE, MEAN, STD = 0.875, 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def predict(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="An image file.")],
    weights_file: Annotated[Path, typer.Option("--weights", help="A safetensors file.")],
    model: Annotated[
        str | None,
        typer.Option(help=f"The network: {', '.join(sorted(NETWORKS))}.", show_default="what `npconv train` noted"),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", metavar="NAME=VALUE", help="Any option of the network; repeatable."),
    ] = None,
    names: Annotated[
        str | None,
        typer.Option(help=f"Whose names the weights have: {', '.join(weights.SOURCES)}.", show_default="npconv's"),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="A text file with the name of each class on its own line.")
    ] = None,
    top: Annotated[int, typer.Option(help="How many classes to print.")] = 5,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="PIXELS",
            help="To scale and cut the image to, as 224 or 49x10.",
            show_default="what the network is for, or as trained",
        ),
    ] = None,
    white: Annotated[
        float | None,
        typer.Option(help="What a white pixel was in the training images.", show_default="1, or as trained"),
    ] = None,
    mean: Annotated[
        str | None, typer.Option(metavar="M,...", help="Of each channel.", show_default="ImageNet's, or as trained")
    ] = None,
    std: Annotated[
        str | None, typer.Option(metavar="S,...", help="Of each channel.", show_default="ImageNet's, or as trained")
    ] = None,
) -> None:
    """Print the most probable classes of an image, by a network with trained weights.

    What `npconv train` wrote says which network it is for and how to prepare the image. Other weights need --model.
    """
    with one_line(ValueError, TypeError, ImportError, OSError, MemoryError):
        integer("--top", top, minimum=1)
        if names not in (None, *weights.SOURCES):
            raise ValueError(f"--names must be one of {', '.join(weights.SOURCES)}, got {names!r}")
        network, preparation = _network(weights_file, model, parse_options(option or ()))
        preparation = _changed(preparation, size, white, mean, std)
        pixels = _prepared(image, preparation)
        weights.load(network, weights_file, names)
        with backends.backend("numpy"):  # nothing to compile for one image
            logits = nn.predict(network, pixels)[0]
        classes = None if labels is None else _labels(labels, len(logits))
    probabilities = _softmax(logits)
    table = Table(box=None, pad_edge=False)
    for heading in ("rank", "class", "probability"):
        table.add_column(heading, justify="right")
    if classes:
        table.add_column("label")
    for rank, which in enumerate(np.argsort(-probabilities, kind="stable")[:top], 1):
        label = [classes[which]] if classes else []
        table.add_row(str(rank), str(which), f"{probabilities[which]:.4f}", *label)
    console = table_console()
    console.print(table)


def _network(path: Path, model: str | None, options: dict[str, Any]) -> tuple[nn.Layer, Preparation]:
    """The network that the weights are for, with weights yet to be loaded, and what its images have to be."""
    rng = np.random.default_rng(0)
    about = weights.metadata(path).get("npconv")
    if about is None:
        if model is None:
            raise ValueError(f"--model must be given where the weights do not say it themselves, got none for {path}")
        options = all_options("--model", model, options)
        channels = options["in_channels"]
        mean, std = (MEAN, STD) if channels == 3 else ((0.0,) * channels, (1.0,) * channels)
        return NETWORKS[model](**options, rng=rng), Preparation(SIZES.get(model, (224, 224)), CROP, WHITE, mean, std)
    try:
        noted = json.loads(about)
        make, architecture = MODELS[noted["model"]], noted["architecture"]
        network = make(**architecture, rng=rng)
        _, rows, columns = (integer("image", side, minimum=1) for side in noted["image"])
        white = positive("white", noted["white"])
        mean, std = (tuple(map(float, noted[name])) for name in ("mean", "std"))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the weights must say what `npconv train` notes, got {path} ({error!r})") from None
    if model not in (None, noted["model"], make.__name__):
        raise ValueError(f"--model must be {make.__name__}, which the weights are of, got {model!r}")
    if options:
        raise ValueError(f"--option must not be given where the weights say it themselves, got {', '.join(options)}")
    return network, Preparation((rows, columns), 1.0, white, mean, std)


def _changed(
    preparation: Preparation, size: str | None, white: float | None, mean: str | None, std: str | None
) -> Preparation:
    """`preparation` with what the user wants otherwise."""
    if size is not None:
        preparation = preparation._replace(size=parse_size(size))
    if white is not None:
        preparation = preparation._replace(white=positive("--white", white))
    channels = len(preparation.mean)
    if mean is not None:
        preparation = preparation._replace(mean=_numbers("--mean", mean, channels))
    if std is not None:
        preparation = preparation._replace(
            std=tuple(positive("--std", number) for number in _numbers("--std", std, channels))
        )
    return preparation


def _numbers(name: str, text: str, count: int) -> tuple[float, ...]:
    """Numbers with commas between, one for each channel; a single one is for all."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, count) or not np.all(np.isfinite(numbers)):
        rule = "a number" if count == 1 else f"1 or {count} numbers with commas between"
        raise ValueError(f"{name} must be {rule}, got {text!r}")
    return numbers * (count // len(numbers))


def _prepared(path: Path, preparation: Preparation) -> Array:
    """The image as x (1, C, H, W)."""
    from PIL import Image, ImageOps

    channels = len(preparation.mean)
    if channels not in (1, 3):
        raise ValueError(f"in_channels must be 1 (grey) or 3 (red, green, blue) for an image file, got {channels}")
    try:
        with Image.open(path) as file:
            if file.mode[0] in "IF":  # Pillow would cut off what is above 255
                raise ValueError(f"it has more than 8 bits per channel: mode {file.mode}")
            picture = ImageOps.exif_transpose(file).convert("L" if channels == 1 else "RGB")
    except FileNotFoundError:
        raise ValueError(f"IMAGE must exist, got {path}") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"IMAGE must be an image file, got {path} ({error})") from None
    rows, columns = preparation.size
    scale = max(rows / picture.height, columns / picture.width) / preparation.crop
    width, height = (max(round(side * scale), want) for side, want in zip(picture.size, (columns, rows), strict=True))
    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, upper = (width - columns) // 2, (height - rows) // 2
    picture = picture.crop((left, upper, left + columns, upper + rows))
    pixels = np.asarray(picture, np.float64).reshape(picture.height, picture.width, channels) * (
        preparation.white / 255
    )
    normalised = (pixels - np.array(preparation.mean)) / np.array(preparation.std)
    return normalised.transpose(2, 0, 1)[None].astype(np.float32)


def _labels(path: Path, count: int) -> list[str]:
    """The name of each of `count` classes."""
    try:
        labels = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ValueError(f"--labels must be a file that can be read, got {path} ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError(f"--labels must be a text file in UTF-8, got {path}") from None
    if len(labels) != count:
        raise ValueError(f"--labels must have a line for each of {count} classes, got {len(labels)} lines in {path}")
    return labels


def _softmax(logits: Array) -> Array:
    exponentials = np.exp(logits.astype(np.float64) - logits.max())
    return exponentials / exponentials.sum()
