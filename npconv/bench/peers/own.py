"""npconv itself, called as any user would: the public operators on NumPy arrays, outputs allocated in the call.

A backward is the operator's backward, which takes dy and what the forward took. Nothing else is kept from a forward but the
output of a ghost convolution, whose backward has the primary maps from there, as other frameworks' have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import npconv
from npconv import nn, optim
from npconv.backends import primitives
from npconv.bench.cases import Arrays, Case, Direction
from npconv.bench.networks import SGD, Network, Pass, summary
from npconv.bench.peers import Work
from npconv.geometry import Array

# The operator of each kind of case, its backward, and which of a case's options it takes.
OPERATORS: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[str, ...]]] = {
    "standard": (npconv.conv2d, npconv.conv2d_backward, ("stride", "padding", "groups")),
    "group": (npconv.conv2d, npconv.conv2d_backward, ("stride", "padding", "groups")),
    "pointwise": (npconv.pointwise_conv2d, npconv.pointwise_conv2d_backward, ("stride", "groups")),
    "depthwise": (npconv.depthwise_conv2d, npconv.depthwise_conv2d_backward, ("stride", "padding")),
    "octave": (npconv.octave_conv2d, npconv.octave_conv2d_backward, ("stride", "padding", "groups")),
    "ghost": (npconv.ghost_conv2d, npconv.ghost_conv2d_backward, ("stride", "padding", "groups")),
    "shuffle": (npconv.channel_shuffle, npconv.channel_shuffle_backward, ("groups",)),
}
PRIMITIVES = {
    "standard": "conv2d",
    "group": "conv2d",
    "pointwise": "pointwise_conv2d",
    "depthwise": "depthwise_conv2d",
}


class Npconv:
    """The current backend, on as many threads as the process was started with, on channels-last maps, as layers have them."""

    order: Callable[[Array], Array] = staticmethod(npconv.channels_last)

    def __init__(self, threads: int) -> None:
        pass

    def work(self, case: Case, direction: Direction, arrays: Arrays) -> Work:
        """The case, ready to run; half a backward is one primitive, which a composite does not have."""
        arrays = arrays._replace(x=tuple(map(self.order, arrays.x)), dy=tuple(map(self.order, arrays.dy)))
        if direction in ("input_grad", "weight_grad"):
            return _half(case, direction, arrays)
        forward, backward, names = OPERATORS[case.op]
        options = {name: getattr(case, name) for name in names}
        dy: Any = arrays.dy[0]
        operands: tuple[Any, ...] = (*arrays.x, *arrays.w)
        if case.op == "octave":
            dy = npconv.OctaveMap(*arrays.dy)
            operands = npconv.OctaveMap(*arrays.x), npconv.OctaveWeight(*arrays.w)
        if direction == "forward":
            return Work(lambda: forward(*operands, **options), _leaves)
        if case.op == "ghost":
            options["y"] = forward(*operands, **options)
        return Work(lambda: backward(dy, *operands, **options), _leaves)

    def network(self, case: Network, direction: Pass, seed: int, dtype: str) -> Work:
        """The network, ready to run: folded once, to predict often; a step also computes the loss, which training wants to see."""
        model = case.build(seed, dtype)
        images, labels = case.data(seed, dtype)
        if direction == "forward":
            folded = nn.fold_batch_norm(model)
            return Work(lambda: folded.forward(images), lambda value: [value])
        optimizer, one = optim.SGD(**SGD), np.ones((), dtype)

        def step() -> Array:
            logits = model.forward(images)
            loss = npconv.softmax_cross_entropy(logits, labels)
            model.backward_params(npconv.softmax_cross_entropy_backward(one, logits, labels))
            optimizer.step(model)
            return loss

        return Work(step, lambda loss: [loss, *summary([gradient for _, gradient in model.named_grads()])])


class NpconvCOrder(Npconv):
    """On maps in C order, as NumPy makes them: they are transposed on the way in and out."""

    order: Callable[[Array], Array] = staticmethod(np.ascontiguousarray)


def _half(case: Case, direction: Direction, arrays: Arrays) -> Work:
    if case.op not in PRIMITIVES:
        raise NotImplementedError(f"{case.op} has no {direction} of its own")
    primitive, geometry = f"{PRIMITIVES[case.op]}_{direction}", case.geometry
    other = arrays.w[0] if direction == "input_grad" else arrays.x[0]
    run = getattr(primitives, primitive)
    return Work(lambda: run(arrays.dy[0], other, geometry), _leaves)


def _leaves(value: Any) -> list[Array]:
    """All arrays of a result, those of nested tuples too, in order."""
    if isinstance(value, tuple):
        return [leaf for part in value for leaf in _leaves(part)]
    return [] if value is None else [value]
