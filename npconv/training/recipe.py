"""All choices of a training in one place, as a TOML file has them and as the command line spells them."""

from __future__ import annotations

import dataclasses
import inspect
import json
import shlex
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import numpy as np

from npconv import backends, files, optim
from npconv.data import Augmentation, parse_augmentation
from npconv.data.augmentation import AUGMENTATIONS
from npconv.data.loading import NAMES
from npconv.geometry import Array, fraction, integer, nearest, one_of, positive, shown
from npconv.models import MODELS, NETWORKS
from npconv.optim import Optimizer
from npconv.printable import printable
from npconv.training.options import parse_options, parse_size
from npconv.training.progress import Plan

# The learning rate where none is given: of `npconv sweep --epochs 4` on the digits, whose table is in examples/site/train.rst.
RATES: dict[str, dict[str, float]] = {"sgd": {"tiny_shufflenet": 0.1}, "adam": {}, "adamw": {}}
OTHER_RATES = {"sgd": 0.2, "adam": 0.005, "adamw": 0.005}
DECAYS = {"sgd": 5e-4, "adam": 0.0, "adamw": 0.01}
TINY = tuple(make.__name__ for make in MODELS.values())
OPTIMIZERS, SCHEDULES = tuple(DECAYS), ("constant", "step", "linear", "cosine")
DTYPES = ("float16", "float32", "float64")

# What weight decay leaves alone.
NO_DECAY = {
    "nothing": lambda name, array: False,
    "vectors": lambda name, array: array.ndim == 1,  # biases, and batch norm's scale and shift
    "depthwise": lambda name, array: array.ndim == 1 or (array.ndim == 4 and array.shape[1] == 1),
}


class Choice(NamedTuple):
    """What `npconv train` says of an option.

    `default` is shown where the value itself would say too little, `metavar` in place of the type, and `short` is a short name.
    """

    help: str
    default: str | None = None
    metavar: str | None = None
    short: str | None = None


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is trained, on what and how: each field is an option of `npconv train` and a key of its file, and explains itself.

    >>> Recipe(model="tiny_resnet", epochs=3).command()
    'npconv train --model tiny_resnet --epochs 3'
    """

    model: Annotated[str, Choice(f"The network: {', '.join(TINY)}, or any other.")] = "tiny_mobilenet"
    option: Annotated[
        tuple[str, ...],
        Choice("Any option of the network; repeatable.", default="none", metavar="NAME=VALUE", short="-O"),
    ] = ()
    data: Annotated[
        str, Choice("digits, fashion-mnist, an .npz file, an IDX pair, a CIFAR folder, a folder of pictures by class, a CSV file.")
    ] = "digits"  # fmt: skip
    validation: Annotated[
        str | None, Choice("Validation images of any such kind.", default="a tenth of the others")
    ] = None
    test: Annotated[str | None, Choice("Test images of any such kind.", default="the data's own, or a fifth")] = None
    size: Annotated[
        str | None,
        Choice(
            "To scale and cut pictures to, as 64 or 48x64.", default="their own, 64 where they differ", metavar="PIXELS"
        ),
    ] = None
    epochs: Annotated[int, Choice("How often every image is seen.")] = 12
    batch: Annotated[int, Choice("At most how many images make a step.")] = 32
    optimizer: Annotated[str, Choice(f"{', '.join(OPTIMIZERS)}.", default="sgd, with Nesterov's momentum")] = "sgd"
    lr: Annotated[float | None, Choice("The highest learning rate.", default="by network and optimiser")] = None
    schedule: Annotated[str, Choice(f"Of the learning rate: {', '.join(SCHEDULES)}.")] = "cosine"
    warmup: Annotated[float, Choice("Share of the steps in which the rate rises.")] = 0.1
    momentum: Annotated[float, Choice("Of sgd.")] = 0.9
    weight_decay: Annotated[
        float | None,
        Choice("How much smaller a step makes weights, times its rate.", default="0.0005 with sgd, 0.01 with adamw"),
    ] = None
    no_decay: Annotated[
        str,
        Choice(f"What it leaves alone: {', '.join(NO_DECAY)} (biases and batch norms; those and depthwise kernels)."),
    ] = "vectors"
    clip: Annotated[float | None, Choice("Largest norm of all gradients.", default="none")] = None
    label_smoothing: Annotated[float, Choice("In [0, 1].")] = 0.1
    augment: Annotated[str, Choice(f"none, or some of {', '.join(AUGMENTATIONS)}, as flip,rotate=10.")] = "shift"
    ema: Annotated[float | None, Choice("Keep a moving average of the weights, as 0.99.", default="none")] = None
    early_stop: Annotated[int | None, Choice("End after so many epochs without a better one.", default="never")] = None
    weights: Annotated[
        str | None,
        Choice("Begin with these of a file, or of a run; another number of classes gets a new head.", default="random"),
    ] = None
    freeze: Annotated[
        tuple[str, ...],
        Choice("Layers that stay so, as 'stem.*'; repeatable.", default="none", metavar="PATTERN"),
    ] = ()
    dtype: Annotated[str, Choice(f"{', '.join(DTYPES)}.")] = "float32"
    seed: Annotated[int, Choice("Of weights, order and augmentation; the split stays the same.")] = 0
    backend: Annotated[str | None, Choice("numpy or numba.", default="numba where it is installed")] = None

    def checked(self) -> Recipe:
        """This recipe with its defaults filled in, once each choice is known to be one.

        Raises ValueError or TypeError, naming the option as the command line does.
        """
        one_of("--model", self.model, sorted(NETWORKS))
        known = inspect.signature(NETWORKS[self.model]).parameters
        for name in parse_options(self.option):
            one_of("--option", name, [one for one in known if one not in ("rng", "dtype")])
        if self.size is not None:
            parse_size(self.size)
        for name, choices in (
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("no_decay", NO_DECAY),
            ("dtype", DTYPES),
        ):
            one_of(option_name(name), getattr(self, name), choices)
        for name in ("epochs", "batch"):
            integer(f"--{name}", getattr(self, name), minimum=1)
        integer("--seed", self.seed, minimum=0)
        fraction("--warmup", self.warmup, below_one=True)
        fraction("--momentum", self.momentum, below_one=True)
        if self.optimizer != "sgd" and self.momentum != Recipe.momentum:
            raise ValueError(f"--momentum must come with --optimizer sgd, got --optimizer {self.optimizer}")
        fraction("--label-smoothing", self.label_smoothing)
        if self.early_stop is not None:
            integer("--early-stop", self.early_stop, minimum=1)
        if self.ema is not None:
            fraction("--ema", self.ema, below_one=True)
        if self.clip is not None:
            positive("--clip", self.clip)
        if self.backend is not None:
            one_of("--backend", self.backend, backends.BACKENDS)
        if self.freeze and self.weights is None:
            raise ValueError("--freeze must come with --weights: layers that have learned nothing would stay so")
        self.augmentation()
        rate = RATES[self.optimizer].get(self.model, OTHER_RATES[self.optimizer])
        return dataclasses.replace(
            self,
            lr=rate if self.lr is None else positive("--lr", self.lr),
            weight_decay=DECAYS[self.optimizer]
            if self.weight_decay is None
            else positive("--weight-decay", self.weight_decay, zero=True),
            backend=self.backend or backends.current_backend(),
        )

    def augmentation(self) -> Augmentation | None:
        """What is done to the training images."""
        try:
            return parse_augmentation(self.augment)
        except ValueError as error:
            raise ValueError(f"--augment: {error}") from None

    def plan(self) -> Plan:
        """The part of it that the loop needs, next to the network, the data and the optimiser."""
        return Plan(self.epochs, self.batch, self.label_smoothing, self.augmentation(), self.early_stop)

    def make_optimizer(self, steps: int) -> Optimizer:
        """The optimiser of a training of so many steps, by a recipe that is `checked`."""
        assert self.lr is not None
        assert self.weight_decay is not None
        warmup = int(self.warmup * steps)
        schedule = {
            "constant": lambda lr: optim.constant(lr, warmup=warmup),
            "step": lambda lr: optim.step(lr, max((steps - warmup) // 3, 1), 0.1, warmup=warmup),
            "linear": lambda lr: optim.linear(lr, steps, warmup=warmup),
            "cosine": lambda lr: optim.cosine(lr, steps, warmup=warmup),
        }[self.schedule](self.lr)
        shared: dict[str, Any] = {
            "weight_decay": self.weight_decay,
            "no_decay": NO_DECAY[self.no_decay],
            "clip": self.clip,
            "master_weights": self.dtype == "float16",
        }
        if self.optimizer == "sgd":
            return optim.SGD(schedule, momentum=self.momentum, nesterov=self.momentum > 0, **shared)
        return (optim.Adam if self.optimizer == "adam" else optim.AdamW)(schedule, **shared)

    def anywhere(self) -> Recipe:
        """The recipe with paths that are whole, where they are paths: a run goes on from anywhere."""
        given = {name: getattr(self, name) for name in ("data", "validation", "test", "weights")}
        paths = {name: Path(path) for name, path in given.items() if path is not None and path not in NAMES}
        whole = {name: str(path.absolute()) for name, path in paths.items() if path.exists()}
        for name, path in {**given, **whole}.items():
            if path is not None and not files.is_unicode(path):
                raise ValueError(
                    f"{option_name(name)} must be a path in UTF-8, which config.toml keeps, got {shown(path)}"
                )
        return self.changed(whole)

    def to_toml(self) -> str:
        """The recipe as `read_recipe` reads it."""
        lines = [f"{name} = {_toml(value)}" for name, value in dataclasses.asdict(self).items() if value is not None]
        return "\n".join(lines) + "\n"

    def command(self) -> str:
        """The command that trains by this recipe: options that are not the default."""
        words = ["npconv", "train"]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                for one in value if isinstance(value, tuple) else (value,):
                    words += [option_name(field.name), str(one)]
        return shlex.join(words)

    def changed(self, given: Mapping[str, Any]) -> Recipe:
        """The recipe with those of the `given` choices that are not None."""
        return dataclasses.replace(self, **{name: value for name, value in given.items() if value is not None})


class Kind(NamedTuple):
    """Of a field: the type of its value, "text", "number", ...; whether it has several; its default; what is said of it."""

    type: type
    several: bool
    default: Any
    choice: Choice


def _kind(hint: Any, default: Any) -> Kind:
    inner, choice = get_args(hint)
    types = [one for one in get_args(inner) or (inner,) if isinstance(one, type) and one is not type(None)]
    return Kind(types[0], get_origin(inner) is tuple, default, choice)


_HINTS = get_type_hints(Recipe, include_extras=True)
FIELDS: dict[str, Kind] = {field.name: _kind(_HINTS[field.name], field.default) for field in dataclasses.fields(Recipe)}


def read_recipe(path: str | PathLike[str]) -> Recipe:
    """The recipe in a TOML file: its keys are the options of `npconv train`, with - or _ between words.

    Parameters
    ----------
    path : path

    Returns
    -------
    Recipe

    Raises
    ------
    ImportError
        On Python 3.10 without the package tomli.
    ValueError
        The file is missing or no TOML, or has a key or a value that is no choice; the message names the nearest key.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "run.toml")
    ...     _ = file.write_text("epochs = 3")
    ...     read_recipe(file).epochs
    3
    """
    path = files.as_path("path", path)
    try:
        import tomllib
    except ImportError:
        try:
            import tomli as tomllib  # type: ignore[no-redef,import-not-found,unused-ignore]
        except ImportError:
            raise ImportError("--config needs Python 3.11 or the package tomli: pip install tomli") from None
    try:
        contents = files.read("--config", path)
    except OSError as error:
        raise ValueError(
            f"--config must be a file that can be read, got {printable(path)} ({error.strerror})"
        ) from None
    try:
        found = tomllib.loads(contents.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"--config must be a TOML file, got {printable(path)} ({error})") from None
    choices: dict[str, Any] = {}
    for key, value in found.items():
        name = key.replace("-", "_")
        if name not in FIELDS:
            raise ValueError(f"{printable(path)}: there is no option {key!r}{nearest(name, FIELDS)}")
        choices[name] = _typed(f"{printable(path)}: {key}", name, value)
    return Recipe(**choices)


def _typed(where: str, name: str, value: Any) -> Any:
    """A value of the type of the option; whole numbers are floats too."""
    kind = FIELDS[name]
    if kind.several:
        value = [value] if isinstance(value, str) else value
        if not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
            raise ValueError(f"{where} must be a list of texts, got {value!r}")
        return tuple(value)
    if name == "size" and type(value) is int:
        return str(value)
    if kind.type is float and type(value) is int and abs(value) < 2**1000:
        return float(value)
    if type(value) is not kind.type:
        raise ValueError(f"{where} must be {'a text' if kind.type is str else 'a number'}, got {value!r}")
    return value


def option_name(field: str) -> str:
    """A field as the command line spells it.

    >>> option_name("weight_decay")
    '--weight-decay'
    """
    return f"--{field.replace('_', '-')}"


def _toml(value: Any) -> str:
    """A text, a number or a list of texts; JSON's texts are TOML's, but for one character."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False).replace("\x7f", "\\u007f")


def as_dtype(recipe: Recipe) -> np.dtype[Any]:
    """The dtype of the network."""
    return np.dtype(recipe.dtype)


def transferred(
    own: Mapping[str, Array], arrays: Mapping[str, Array], where: str
) -> tuple[dict[str, Array], list[str]]:
    """The state of a network that begins with `arrays`, and the names of those that it keeps its own of.

    A classifier for other classes is new: the last layer's arrays, where their shape differs. ValueError for any other difference.
    """
    missing = [name for name in own if name not in arrays]
    extra = [name for name in arrays if name not in own]
    if missing or extra:
        raise ValueError(
            f"--weights must be of the same network, got {where} without {', '.join(missing[:3]) or 'none'} of its arrays "
            f"and with {', '.join(extra[:3]) or 'no'} others"
        )
    different = [name for name, array in own.items() if arrays[name].shape != array.shape]
    last = [name for name in own if "running" not in name][-1].rpartition(".")[0]
    for name in different:
        if name.rpartition(".")[0] != last:
            raise ValueError(
                f"--weights must be of the same network, got {where} with {arrays[name].shape} for {name} {own[name].shape}"
            )
    return {
        name: array if name in different else arrays[name].astype(array.dtype) for name, array in own.items()
    }, different
