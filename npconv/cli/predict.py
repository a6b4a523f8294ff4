"""`npconv predict`: what a network takes images for."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from rich.table import Table

from npconv import backends, files, models, nn, weights
from npconv.cli.console import print_table, table_console
from npconv.cli.errors import one_line
from npconv.cli.output import AsJson, write_json
from npconv.cli.words import completion
from npconv.data import fitted, open_picture, picture_files
from npconv.data.npz import read_images
from npconv.geometry import Array, integer, one_of, positive
from npconv.models import NETWORKS
from npconv.models.loading import check_pixels, no_larger_than
from npconv.papers.walks import SIZES, all_options
from npconv.printable import printable
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
LARGEST_LABELS = 1 << 24  # bytes
AT_ONCE = 64  # images that are prepared and looked at together


class Prediction(NamedTuple):
    """The classes of an image, the most probable first: (number, name, probability)."""

    image: str
    classes: list[tuple[int, str, float]]


def predict(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Image files, folders of them, .npz files with images.")
    ],
    weights_file: Annotated[Path, typer.Option("--weights", help="A safetensors file, or the folder of a run.")],
    model: Annotated[
        str | None,
        typer.Option(
            help=f"The network: {', '.join(sorted(NETWORKS))}.",
            show_default="what `npconv train` noted",
            autocompletion=completion(sorted(NETWORKS)),
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-O", metavar="NAME=VALUE", help="Any option of the network; repeatable."),
    ] = None,
    names: Annotated[
        str | None,
        typer.Option(
            help=f"Whose names the weights have: {', '.join(weights.SOURCES)}.",
            show_default="npconv's",
            autocompletion=completion(weights.SOURCES),
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="A text file with the name of each class on its own line.", show_default="as trained"),
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
    as_json: AsJson = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Write everything into this file, too: CSV for .csv, else JSON."
        ),
    ] = None,
) -> None:
    """Print the most probable classes of images, by a network with trained weights.

    What `npconv train` wrote says which network it is for, how to prepare an image and what the classes are called. Other
    weights need --model.
    """
    with one_line(ValueError, TypeError, ImportError, OSError):
        integer("--top", top, minimum=1)
        if names is not None:
            one_of("--names", names, weights.SOURCES)
        files.check_target("--out", output)
        network, preparation, classes = _network(weights_file, model, parse_options(option or ()))
        preparation = _changed(preparation, size, white, mean, std)
        parts = list(_batches(images, preparation))
        weights.load(network, weights_file, names)
        predictions: list[Prediction] = []
        folded = nn.fold_batch_norm(network)
        # Nothing to compile for a few images; what overflows shows in the logits.
        with backends.backend("numpy"), np.errstate(over="ignore", invalid="ignore"):
            for part_names, x in _prepared(parts, preparation):
                logits = folded(x.astype(next(iter(folded.state().values())).dtype))
                if not np.isfinite(logits).all():
                    which = part_names[int(np.argmin(np.isfinite(logits).all(axis=1)))]
                    raise ValueError(
                        f"the network must give finite numbers, got others for {which} with {weights_file}"
                    )
                if labels is not None:
                    classes = _labels(labels, logits.shape[1])
                elif len(classes) not in (0, logits.shape[1]):
                    raise ValueError(
                        f"the weights must name each of {logits.shape[1]} classes, got {len(classes)} names in {weights_file}"
                    )
                predictions += map(_ranked, part_names, logits, [classes] * len(logits), [top] * len(logits))
        if output is not None and output.suffix == ".csv":
            files.write(output, _csv(predictions).encode("utf-8", "surrogateescape"))  # names of files as they are
            output = None
        write_json(list(map(_told, predictions)), as_json, output)
    if not as_json:
        _print(predictions)


def _ranked(image: str, logits: Array, classes: Sequence[str], top: int) -> Prediction:
    """The `top` classes of one image."""
    probabilities = _softmax(logits)
    order = np.argsort(-probabilities, kind="stable")[:top]
    return Prediction(image, [(int(k), classes[k] if len(classes) else "", float(probabilities[k])) for k in order])


def _print(predictions: Sequence[Prediction]) -> None:
    """All classes of one image, or the first one of many."""
    named = any(name for prediction in predictions for _, name, _ in prediction.classes)
    alone = len(predictions) == 1
    table = Table(box=None, pad_edge=False)
    for heading in ("rank" if alone else "image", "class", "probability"):
        table.add_column(heading, justify="left" if heading == "image" else "right")
    if named:
        table.add_column("label")
    for prediction in predictions:
        for rank, (number, name, probability) in enumerate(prediction.classes if alone else prediction.classes[:1], 1):
            first = str(rank) if alone else printable(prediction.image)
            table.add_row(first, str(number), f"{probability:.4f}", *([printable(name)] if named else []))
    print_table(table_console(), table)


def _told(prediction: Prediction) -> dict[str, Any]:
    """A prediction as JSON has it."""
    classes = [{"class": number, "probability": p, "label": name or None} for number, name, p in prediction.classes]
    return {"image": prediction.image, "classes": classes}


def _csv(predictions: Sequence[Prediction]) -> str:
    """The predictions with a line for each class of each image."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "rank", "class", "label", "probability"])
    for image, classes in predictions:
        writer.writerows([image, rank, number, name, f"{p:.6f}"] for rank, (number, name, p) in enumerate(classes, 1))
    return text.getvalue()


def _network(path: Path, model: str | None, options: dict[str, Any]) -> tuple[nn.Layer, Preparation, Sequence[str]]:
    """The network that the weights are for, with weights yet to be loaded, what its images have to be, its classes' names."""
    rng = np.random.default_rng(0)
    noted = models.noted(path)
    if noted is None:
        if model is None:
            raise ValueError(f"--model must be given where the weights do not say it themselves, got none for {path}")
        options = all_options("--model", one_of("--model", model, sorted(NETWORKS)), options)
        channels = options["in_channels"]
        mean, std = (MEAN, STD) if channels == 3 else ((0.0,) * channels, (1.0,) * channels)
        size = SIZES.get(model, (224, 224))
        return NETWORKS[model](**options, rng=rng), Preparation(size, CROP, WHITE, mean, std), ()
    try:
        make, architecture = NETWORKS[noted["model"]], noted["architecture"]
        channels, rows, columns = (integer("image", side, minimum=1) for side in noted["image"])
        white = positive("white", noted["white"])
        mean = _each("mean", noted["mean"], channels)
        std = tuple(positive("std", number) for number in _each("std", noted["std"], channels))
        classes = list(map(str, noted.get("classes", ())))
        with no_larger_than(path):
            network = make(**architecture, rng=rng)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"the weights must say what `npconv train` notes, got {path} ({error!r})") from None
    if model not in (None, noted["model"]):
        raise ValueError(f"--model must be {noted['model']}, which the weights are of, got {model!r}")
    if options:
        raise ValueError(f"--option must not be given where the weights say it themselves, got {', '.join(options)}")
    return network, Preparation((rows, columns), 1.0, white, mean, std), classes


def _each(name: str, numbers: Any, channels: int) -> tuple[float, ...]:
    """`numbers` as one finite float for each channel."""
    found = tuple(map(float, numbers))
    if len(found) != channels or not np.all(np.isfinite(found)):
        raise ValueError(f"{name} must be a finite number for each of {channels} channels")
    return found


def _changed(
    preparation: Preparation, size: str | None, white: float | None, mean: str | None, std: str | None
) -> Preparation:
    """`preparation` with what the user wants otherwise."""
    if size is not None:
        preparation = preparation._replace(size=parse_size(size))
        check_pixels("--size", *preparation.size)
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


def _batches(images: Sequence[Path], preparation: Preparation) -> Iterator[list[Path]]:
    """The files of all `images`, in their order, folders looked into, some at a time; an .npz file by itself."""
    for path in images:
        if path.suffix == ".npz" and path.exists():
            yield [path]
            continue
        found = picture_files(path) if path.is_dir() else [path]
        if not found:
            raise ValueError(f"IMAGE must be an image file or a folder of them, got {path} without any")
        if len(preparation.mean) not in (1, 3):
            raise ValueError(
                f"in_channels must be 1 (grey) or 3 (red, green, blue) for an image file, got {len(preparation.mean)}"
            )
        for start in range(0, len(found), AT_ONCE):
            yield found[start : start + AT_ONCE]


def _prepared(parts: Sequence[list[Path]], preparation: Preparation) -> Iterator[tuple[list[str], Array]]:
    """The names and the images x (N, C, H, W) of each part, as the network learned from them."""
    channels, (rows, columns) = len(preparation.mean), preparation.size
    mean, std = (np.array(numbers)[:, None, None] for numbers in (preparation.mean, preparation.std))
    for part in parts:
        if part[0].suffix == ".npz":
            pixels = read_images(part[0])
            if pixels.shape[1:] != (channels, rows, columns):
                raise ValueError(
                    f"images must be {channels}x{rows}x{columns} for this network, got {pixels.shape[1:]} in {part[0]}"
                )
            for start in range(0, len(pixels), AT_ONCE):
                some = pixels[start : start + AT_ONCE]
                names = [f"{part[0]}:{place}" for place in range(start, start + len(some))]
                yield names, _normalised(some, mean, std)
            continue
        try:
            pictures = [fitted(open_picture(file, channels), preparation.size, preparation.crop, file) for file in part]
        except ValueError as error:
            raise ValueError(str(error).replace("the picture must", "IMAGE must")) from None
        pixels = np.stack(pictures).transpose(0, 3, 1, 2) * (preparation.white / 255)
        yield [str(file) for file in part], _normalised(pixels, mean, std)


def _normalised(pixels: Array, mean: Array, std: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        x: Array = ((pixels - mean) / std).astype(np.float32)
    if not np.isfinite(x).all():
        raise ValueError("--white, --mean and --std must leave finite numbers of the pixels, got others")
    return x


def _labels(path: Path, count: int) -> list[str]:
    """The name of each of `count` classes."""
    try:
        labels = files.read("--labels", path, LARGEST_LABELS).decode().splitlines()
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
