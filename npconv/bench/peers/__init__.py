"""The frameworks that are timed: one file each, all of them through the few methods of `Peer`.

A peer lives in a process of its own and imports its framework when it is made, not before.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

from npconv.bench.cases import Arrays, Case, Direction
from npconv.bench.networks import Network, Pass
from npconv.geometry import Array


class Work(NamedTuple):
    """Something to be timed, with its arrays in the framework's own form: ``numpy(run())`` are the values."""

    run: Callable[[], Any]
    numpy: Callable[[Any], list[Array]]


class Peer(abc.ABC):
    """A framework, seen as the few operators that the cases are made of.

    Its maps and kernels are `Any`: tensors, symbols, names of a graph's edges. The three composites are written here once
    for all, as the modules that people use are: convolutions, pooling, nearest up-sampling, concatenation.
    """

    @abc.abstractmethod
    def __init__(self, threads: int) -> None:
        """Import the framework and give it so many threads."""

    @abc.abstractmethod
    def work(self, case: Case, direction: Direction, arrays: Arrays) -> Work:
        """The case, ready to run. What has to be done once only (compiling, layouts, a graph) is done here.

        Raises any error of the framework, and NotImplementedError where it has no gradients.
        """

    def network(self, case: Network, direction: Pass, seed: int, dtype: str) -> Work:
        """The network, ready to run. The values of a step are its loss and `networks.summary` of the gradients."""
        raise NotImplementedError("networks are timed beside PyTorch only")

    @abc.abstractmethod
    def convolution(self, x: Any, w: Any, *, kernel: int, stride: int, padding: int, groups: int) -> Any:
        """The framework's 2-D convolution, without bias."""

    @abc.abstractmethod
    def pool(self, x: Any) -> Any:
        """Average of 2 x 2 pixels, stride 2."""

    @abc.abstractmethod
    def upsample(self, x: Any) -> Any:
        """Each pixel twice in both directions."""

    @abc.abstractmethod
    def add(self, a: Any, b: Any) -> Any:
        """The sum of two maps."""

    @abc.abstractmethod
    def concatenate(self, a: Any, b: Any) -> Any:
        """Two maps after one another along the channels."""

    @abc.abstractmethod
    def shuffle(self, x: Any, groups: int, channels: int) -> Any:
        """Reshape, transpose, reshape."""

    def forward(self, case: Case, x: tuple[Any, ...], w: tuple[Any, ...]) -> tuple[Any, ...]:
        """The case's output: one map, or two of an octave convolution."""
        primary = {"kernel": case.kernel, "stride": case.stride, "padding": case.padding, "groups": case.groups}
        match case.op:
            case "shuffle":
                return (self.shuffle(x[0], case.groups, case.in_channels),)
            case "octave":
                return self._octave(case, x, w)
            case "ghost":
                maps = self.convolution(x[0], w[0], **primary)
                cheap, channels = case.cheap_kernel, case.out_channels // case.ratio
                ghosts = self.convolution(maps, w[1], kernel=cheap, stride=1, padding=cheap // 2, groups=channels)
                return (self.concatenate(maps, ghosts),)
            case _:
                return (self.convolution(x[0], w[0], **primary),)

    def _octave(self, case: Case, x: tuple[Any, ...], w: tuple[Any, ...]) -> tuple[Any, Any]:
        high, low = x
        hh, hl, lh, ll = w
        options = {"kernel": case.kernel, "stride": 1, "padding": case.padding, "groups": case.groups}
        if case.stride == 2:  # halved first; then the low input has the size of the high output
            halved = self.pool(high)
            to_high = self.convolution(halved, hh, **options), self.convolution(low, lh, **options)
            to_low = (
                self.convolution(self.pool(halved), hl, **options),
                self.convolution(self.pool(low), ll, **options),
            )
        else:
            to_high = self.convolution(high, hh, **options), self.upsample(self.convolution(low, lh, **options))
            to_low = self.convolution(self.pool(high), hl, **options), self.convolution(low, ll, **options)
        return self.add(*to_high), self.add(*to_low)


C_ORDER = "npconv_c_order"
PEERS = {
    C_ORDER: "npconv.bench.peers.own:NpconvCOrder",
    "torch": "npconv.bench.peers.torch:Torch",
    "torch_channels_last": "npconv.bench.peers.torch:TorchChannelsLast",
    "onnxruntime": "npconv.bench.peers.onnxruntime:OnnxRuntime",
    "jax": "npconv.bench.peers.jax:Jax",
    "tensorflow": "npconv.bench.peers.tensorflow:TensorFlow",
}
"""Who has the operators, by name: module and class. npconv itself, on maps in C order, is one of them."""

NETWORK_PEERS = {
    "torch": PEERS["torch"],
    "torch_channels_last": PEERS["torch_channels_last"],
    "torch_compile": "npconv.bench.peers.torch:TorchCompile",
}
"""Those that have the networks too."""

OWN = "npconv"
TORCH_LAYOUTS = ("torch", "torch_channels_last")
PLACES = {OWN: "npconv.bench.peers.own:Npconv"} | PEERS | NETWORK_PEERS
