"""All choices of a training in one place, as a TOML file has them and as the command line spells them."""

from __future__ import annotations

import dataclasses
import difflib
import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npconv import backends, optim
from npconv.data import Augmentation, parse_augmentation
from npconv.geometry import Array, fraction, integer, positive
from npconv.models import MODELS, NETWORKS
from npconv.optim import Optimizer

# The learning rate where none is given. ShuffleNet diverges at 0.2 on photographs of 96x96 pixels.
RATES: dict[str, dict[str, float]] = {"sgd": {"shufflenet": 0.1}, "adam": {}, "adamw": {}}
OTHER_RATES = {"sgd": 0.2, "adam": 0.005, "adamw": 0.005}
DECAYS = {"sgd": 5e-4, "adam": 0.0, "adamw": 0.01}
OPTIMIZERS, SCHEDULES = tuple(DECAYS), ("constant", "step", "linear", "cosine")
DTYPES = ("float16", "float32", "float64")

# What weight decay leaves alone.
NO_DECAY = {
    "nothing": lambda name, array: False,
    "vectors": lambda name, array: array.ndim == 1,  # biases, and batch norm's scale and shift
    "depthwise": lambda name, array: array.ndim == 1 or (array.ndim == 4 and array.shape[1] == 1),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is trained, on what and how. Its fields are the options of `npconv train`, which explains them.

    Attributes
    ----------
    model, option
        A network of `npconv.models`, and NAME=VALUE texts for its options.
    data, validation, test, size
        As `npconv.data.load` takes them; size is PIXELS or ROWSxCOLUMNS.
    epochs, batch, seed, backend, dtype
    optimizer, lr, schedule, warmup, momentum, weight_decay, no_decay, clip
        lr and weight_decay have defaults for each network and optimiser; warmup is a share of all steps.
    label_smoothing, augment, ema, early_stop
    weights, freeze
        A file to begin with, and patterns of layers that keep what it says.
    """

    model: str = "mobilenet"
    option: tuple[str, ...] = ()
    data: str = "digits"
    validation: str | None = None
    test: str | None = None
    size: str | None = None
    epochs: int = 12
    batch: int = 32
    seed: int = 0
    backend: str | None = None
    dtype: str = "float32"
    optimizer: str = "sgd"
    lr: float | None = None
    schedule: str = "cosine"
    warmup: float = 0.1
    momentum: float = 0.9
    weight_decay: float | None = None
    no_decay: str = "vectors"
    clip: float | None = None
    label_smoothing: float = 0.1
    augment: str = "shift"
    ema: float | None = None
    early_stop: int | None = None
    weights: str | None = None
    freeze: tuple[str, ...] = ()

    def checked(self) -> Recipe:
        """This recipe with its defaults filled in, once each choice is known to be one.

        Raises ValueError or TypeError, naming the option as the command line does.
        """
        full = {make.__name__: name for name, make in MODELS.items()}
        model = full.get(self.model, self.model)
        _one_of("--model", model, (*MODELS, *(name for name in NETWORKS if name not in MODELS)), shown=MODELS)
        for name, choices in (
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("no_decay", NO_DECAY),
            ("dtype", DTYPES),
        ):
            _one_of(f"--{name.replace('_', '-')}", getattr(self, name), choices)
        for name in ("epochs", "batch"):
            integer(f"--{name}", getattr(self, name), minimum=1)
        integer("--seed", self.seed, minimum=0)
        fraction("--warmup", self.warmup, below_one=True)
        fraction("--momentum", self.momentum, below_one=True)
        fraction("--label-smoothing", self.label_smoothing)
        if self.early_stop is not None:
            integer("--early-stop", self.early_stop, minimum=1)
        if self.ema is not None:
            fraction("--ema", self.ema, below_one=True)
        if self.clip is not None:
            positive("--clip", self.clip)
        if self.backend is not None:
            _one_of("--backend", self.backend, backends.BACKENDS)
        if self.freeze and self.weights is None:
            raise ValueError("--freeze must come with --weights: layers that have learned nothing would stay so")
        self.augmentation()
        rate = RATES[self.optimizer].get(model, OTHER_RATES[self.optimizer])
        return dataclasses.replace(
            self,
            model=model,
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
                    words += [f"--{field.name.replace('_', '-')}", str(one)]
        return shlex.join(words)

    def changed(self, given: Mapping[str, Any]) -> Recipe:
        """The recipe with those of the `given` choices that are not None."""
        return dataclasses.replace(self, **{name: value for name, value in given.items() if value is not None})


FIELDS = {field.name: field for field in dataclasses.fields(Recipe)}


def read_recipe(path: Path) -> Recipe:
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
    try:
        import tomllib
    except ImportError:
        try:
            import tomli as tomllib  # type: ignore[no-redef,import-not-found,unused-ignore]
        except ImportError:
            raise ImportError("--config needs Python 3.11 or the package tomli: pip install tomli") from None
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"--config must be a file that can be read, got {path} ({error.strerror})") from None
    except ValueError as error:
        raise ValueError(f"--config must be a TOML file, got {path} ({error})") from None
    choices: dict[str, Any] = {}
    for key, value in found.items():
        name = key.replace("-", "_")
        if name not in FIELDS:
            raise ValueError(f"{path}: there is no option {key!r}{nearest(name, FIELDS)}")
        choices[name] = _typed(f"{path}: {key}", name, value)
    return Recipe(**choices)


def _typed(where: str, name: str, value: Any) -> Any:
    """A value of the type of the option; whole numbers are floats too."""
    wanted = str(FIELDS[name].type)
    if wanted.startswith("tuple"):
        value = [value] if isinstance(value, str) else value
        if not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
            raise ValueError(f"{where} must be a list of texts, got {value!r}")
        return tuple(value)
    kinds: tuple[type, ...] = (
        (str,) if wanted.startswith("str") else (int,) if wanted.startswith("int") else (int, float)
    )
    if name == "size" and isinstance(value, int):
        return str(value)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise ValueError(f"{where} must be {'a text' if kinds == (str,) else 'a number'}, got {value!r}")
    return float(value) if isinstance(value, int) and kinds == (int, float) else value


def nearest(word: str, words: Iterable[str]) -> str:
    """`; did you mean ...?` where one of `words` is like `word`.

    >>> nearest("resnt", ["mobilenet", "resnet"])
    '; did you mean resnet?'
    """
    found = difflib.get_close_matches(word, list(words), 1)
    return f"; did you mean {found[0]}?" if found else ""


def _one_of(name: str, value: str, choices: Iterable[str], *, shown: Iterable[str] | None = None) -> None:
    choices = list(choices)
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(shown or choices)}, got {value!r}{nearest(value, choices)}")


def _toml(value: Any) -> str:
    """A text, a number or a list of texts; JSON's texts are TOML's."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


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
