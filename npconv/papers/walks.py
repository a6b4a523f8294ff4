"""Networks by name and options, and walked: what their cost is counted of."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from npconv import costs
from npconv.geometry import Array, nearest, one_of
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
    one_of(argument, network, sorted(NETWORKS))
    parameters = inspect.signature(NETWORKS[network]).parameters
    options = {name: option.default for name, option in parameters.items() if name not in ("rng", "dtype")}
    for name in given:
        if name not in options:
            raise ValueError(
                f"the options of {network} must be among {', '.join(options)}, got {name}{nearest(name, options)}"
            )
    return options | dict(given)


class _Zeros(np.random.Generator):
    """A generator that draws zeros: a walk reads no weights, and drawing them would be most of its work."""

    def standard_normal(self, size: Any = None, dtype: Any = None, out: Any = None) -> Array:  # type: ignore[override]
        return np.zeros(size, np.float32)

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Array:  # type: ignore[override]
        return np.zeros(size, np.float32)
