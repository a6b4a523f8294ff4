"""Whole networks to be timed: a forward that predicts, and one training step."""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from npconv import costs
from npconv.geometry import Array
from npconv.models import NETWORKS
from npconv.nn import Layer

Pass: TypeAlias = Literal["forward", "step"]
PASSES: tuple[Pass, ...] = ("forward", "step")
"""A step is forward, loss, backward and an SGD update."""

COMPARED = (
    2  # images on which values are compared: in float64, where 1e-8 is far from rounding and nearer than any mistake
)
TOLERANCE = 1e-8
SGD: dict[str, Any] = {"lr": 1e-4, "momentum": 0.9}  # small, so that the weights stay sound over any number of steps


class Network(NamedTuple):
    """A network of `npconv.models.NETWORKS` with its options, and a batch of square images with three channels."""

    network: str
    batch: int
    size: int
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def op(self) -> str:
        """What the operator is to a case."""
        return "network"

    @property
    def shape(self) -> str:
        """Batch, image and options, for people.

        >>> Network("ghostnet", 8, 224, (("dropout", 0.0),)).shape
        '8x3 @224 dropout=0.0'
        """
        return " ".join([f"{self.batch}x3 @{self.size}", *(f"{name}={value}" for name, value in self.options)])

    @property
    def directions(self) -> tuple[Pass, ...]:
        """Both passes."""
        return PASSES

    def cost(self, direction: Pass, itemsize: int) -> costs.Cost:
        """Multiply-accumulates alone, those of a step being three forwards: a layer has two gradients, each as dear as it."""
        macs = self.batch * _macs(self.network, self.options, self.size)
        return costs.Cost(macs=macs if direction == "forward" else 3 * macs)

    def build(self, seed: int, dtype: DTypeLike) -> Layer:
        """The same network in every process, and in every dtype up to rounding."""
        return NETWORKS[self.network](in_channels=3, **dict(self.options), rng=np.random.default_rng(seed), dtype=dtype)

    def data(self, seed: int, dtype: DTypeLike) -> tuple[Array, Array]:
        """Images and labels."""
        rng = np.random.default_rng(seed)
        images = rng.standard_normal((self.batch, 3, self.size, self.size), np.float32).astype(dtype, copy=False)
        return images, rng.integers(0, 10, self.batch)  # every network has ten classes at least


@functools.cache
def _macs(network: str, options: tuple[tuple[str, Any], ...], size: int) -> int:
    """Of one image."""
    return costs.count(Network(network, 1, size, options).build(0, np.float32), (1, 3, size, size)).macs


NETWORK_CASES = [
    *(Network(f"tiny_{name}", 64, 32) for name in ("mobilenet", "shufflenet", "ghostnet", "octave", "resnet")),
    # MobileNet with PyTorch's symmetric padding, and without the dropout that no two frameworks draw alike
    Network("mobilenet_v1", 8, 224, (("padding", 1), ("dropout", 0.0))),
    Network("mobilenet_v1", 8, 224, (("width", 0.5), ("padding", 1), ("dropout", 0.0))),
    Network("mobilenet_v1", 8, 224, (("width", 0.25), ("padding", 1), ("dropout", 0.0))),
    Network("shufflenet_v1", 8, 224, (("groups", 3),)),
    Network("ghostnet", 8, 224, (("dropout", 0.0),)),
    Network("oct_mobilenet_v1", 8, 224, (("alpha", 0.5),)),
    Network("oct_resnet", 8, 224, (("alpha", 0.25),)),
    Network("resnet", 8, 224),
]


def summary(gradients: list[Array]) -> list[Array]:
    """The size and the sum of each gradient: few numbers, and none that a wrong gradient would leave alone."""
    return [np.array([np.linalg.norm(gradient), gradient.sum()]) for gradient in gradients]
