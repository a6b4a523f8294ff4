"""Networks by name and options, as the command line gives them, and walked: what `summary` and `tables` count."""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from npconv import costs
from npconv.geometry import Array
from npconv.models import NETWORKS

# The image that a network is published for, where it is not one of ImageNet's 224 x 224 pixels.
SIZES = {
    "ds_cnn": (49, 10),
    "ghost_resnet56": (32, 32),
    "ghost_vgg16": (32, 32),
    "resnet8": (32, 32),
    "resnet_cifar": (32, 32),
    "vgg16_cifar": (32, 32),
} | {name: (8, 8) for name in NETWORKS if name.startswith("tiny_")}


class Walk(NamedTuple):
    """A network to be walked: its name in `npconv.models.NETWORKS`, its options, and (rows, columns) of the image."""

    network: str
    options: tuple[tuple[str, Any], ...]
    size: tuple[int, int]

    @classmethod
    def of(cls, network: str, size: int | tuple[int, int] | None = None, **options: Any) -> Walk:
        """A walk over an image of `size`, by default that which the network is published for."""
        if size is None:
            size = SIZES.get(network, (224, 224))
        return cls(network, tuple(options.items()), (size, size) if isinstance(size, int) else size)

    @functools.cache  # noqa: B019  tables ask for the same few networks again and again
    def cost(self) -> costs.ModelCost:
        """The cost of one image.

        Raises
        ------
        ValueError
            There is no such network or no such option of it, or the network's own rules are broken.
        TypeError
            An option of the wrong type.
        """
        options = all_options("MODEL", self.network, dict(self.options))
        model = NETWORKS[self.network](**options, rng=_Zeros(np.random.PCG64(0)))
        return costs.count(model, (1, options["in_channels"], *self.size))


def all_options(argument: str, network: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `network`, which `argument` named: those `given`, and the defaults of all others but rng and dtype."""
    if network not in NETWORKS:
        raise ValueError(f"{argument} must be one of {', '.join(sorted(NETWORKS))}, got {network!r}")
    parameters = inspect.signature(NETWORKS[network]).parameters
    options = {name: option.default for name, option in parameters.items() if name not in ("rng", "dtype")}
    for name in given:
        if name not in options:
            raise ValueError(f"the options of {network} must be among {', '.join(options)}, got {name}")
    return options | dict(given)


def parse_options(texts: Sequence[str], **given: Any) -> dict[str, Any]:
    """The options in NAME=VALUE `texts`, and those `given` by a name of their own, unless they are None; none of them twice."""
    options = {name: value for name, value in given.items() if value is not None}
    for name, value in map(_parse_option, texts):
        if name in options:
            raise ValueError(f"an option must be given once, got {name} twice")
        options[name] = value
    return options


def _parse_option(text: str) -> tuple[str, Any]:
    """NAME=VALUE: numbers, true, false, none and (a, b) are what they look like, anything else is a string."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ValueError(f"--option must be NAME=VALUE, got {text!r}")
    words = {"true": True, "false": False, "none": None}
    if value.lower() in words:
        return name, words[value.lower()]
    try:
        literal = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
    if not isinstance(literal, int | float | str | tuple):
        raise ValueError(f"--option must be a number, a word or a tuple, got {text!r}")
    return name, literal


def parse_size(text: str) -> tuple[int, int]:
    """PIXELS, of a square, or ROWSxCOLUMNS."""
    rows, by, columns = text.partition("x")
    try:
        size = int(rows), int(columns if by else rows)
    except ValueError:
        raise ValueError(f"--size must be pixels such as 224 or 49x10, got {text!r}") from None
    if min(size) < 1:
        raise ValueError(f"--size must be at least 1, got {text}")
    return size


class _Zeros(np.random.Generator):
    """A generator that draws zeros: a walk reads no weights, and drawing them would be most of its work."""

    def standard_normal(self, size: Any = None, dtype: Any = None, out: Any = None) -> Array:  # type: ignore[override]
        return np.zeros(size, np.float32)

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Array:  # type: ignore[override]
        return np.zeros(size, np.float32)
