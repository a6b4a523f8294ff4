"""JAX on XLA's CPU backend, everything compiled with `jax.jit`, NCHW.

A backward is the compiled pullback of a forward that ran before the clock starts: `jax.vjp` inside a compiled function
keeps what the gradients need, as PyTorch's autograd does. Every call waits for its result.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from npconv.bench.cases import Arrays, Case, Direction
from npconv.bench.peers import Peer, Work
from npconv.geometry import Array


class Jax(Peer):
    """Arrays in the layouts NCHW and OIHW."""

    def __init__(self, threads: int) -> None:
        if hasattr(os, "sched_setaffinity"):
            # XLA has a thread for each CPU that the process may run on, and no setting of its own
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        import jax

        jax.config.update("jax_enable_x64", True)  # float64 stays float64; float32 stays what it is
        self.jax: Any = jax
        self.lax: Any = jax.lax
        self.jnp: Any = jax.numpy

    def work(self, case: Case, direction: Direction, arrays: Arrays) -> Work:
        jax = self.jax
        x, w, dy = (tuple(jax.device_put(array) for array in group) for group in arrays)

        def forward(x: Any, w: Any) -> Any:
            return self.forward(case, x, w)

        if direction == "forward":
            compiled = jax.jit(forward)
            return Work(lambda: jax.block_until_ready(compiled(x, w)), _numpy)
        match direction:
            case "input_grad":
                _, pullback = jax.jit(lambda x, w: jax.vjp(lambda x: forward(x, w), x))(x, w)
            case "weight_grad":
                _, pullback = jax.jit(lambda x, w: jax.vjp(lambda w: forward(x, w), w))(x, w)
            case _:
                _, pullback = jax.jit(lambda x, w: jax.vjp(forward, x, w))(x, w)
        gradients = jax.jit(lambda pullback, dy: [gradient for group in pullback(dy) for gradient in group])
        return Work(lambda: jax.block_until_ready(gradients(pullback, dy)), _numpy)

    def convolution(self, x: Any, w: Any, *, kernel: int, stride: int, padding: int, groups: int) -> Any:
        return self.lax.conv_general_dilated(
            x,
            w,
            (stride, stride),
            [(padding, padding)] * 2,
            dimension_numbers=("NCHW", "OIHW", "NCHW"),
            feature_group_count=groups,
        )

    def pool(self, x: Any) -> Any:
        zero = np.zeros((), x.dtype)
        return self.lax.reduce_window(x, zero, self.lax.add, (1, 1, 2, 2), (1, 1, 2, 2), "VALID") / 4

    def upsample(self, x: Any) -> Any:
        return self.jnp.repeat(self.jnp.repeat(x, 2, axis=2), 2, axis=3)

    def add(self, a: Any, b: Any) -> Any:
        return a + b

    def concatenate(self, a: Any, b: Any) -> Any:
        return self.jnp.concatenate([a, b], axis=1)

    def shuffle(self, x: Any, groups: int, channels: int) -> Any:
        batch, _, height, width = x.shape
        split = x.reshape(batch, groups, channels // groups, height, width)
        return split.swapaxes(1, 2).reshape(x.shape)


def _numpy(values: Any) -> list[Array]:
    return [np.asarray(value) for value in values]
