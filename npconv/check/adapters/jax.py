"""JAX, on XLA, as one writes it with `jax.lax` and `jax.nn`; "same" padding is XLA's own, gradients are those of `jax.vjp`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from npconv.check.adapters.definitions import arguments
from npconv.check.adapters.framework import Framework, Tensor
from npconv.check.adapters.padding import Pair, sides, windows
from npconv.testing.gradients import Tree, named_arrays


def pool_padding(size: tuple[int, ...], kernel: Any, stride: Any, padding: Any, ceil_mode: bool) -> tuple[Any, Any]:
    """The padding in numbers, and what ceil mode adds to it: what its last window needs beyond it."""
    if isinstance(padding, str):
        given = lax.padtype_to_pads(size, kernel, stride, padding.upper())
    else:
        given = sides(padding, (), ())
    extra = []
    for pixels, k, s, (low, high) in zip(size, kernel, stride, given, strict=True):
        overhang = (windows(pixels, k, s, (low, high), True) - 1) * s + k - (pixels + low + high)
        extra.append((0, max(overhang, 0) if ceil_mode else 0))
    return given, extra


class Jax(Framework):
    NAME = "JAX"
    BFLOAT16 = True
    VERSION = str(jax.__version__)
    IMPORTS = (
        "import jax",
        "from jax import lax, numpy as jnp",
        'jax.config.update("jax_enable_x64", True)  # or float64 arrays become float32',
    )

    def convolution(
        self, x: Tensor, w: Tensor, b: Tensor | None, stride: Pair, padding: Any, dilation: Pair, groups: int
    ) -> Tensor:
        y = lax.conv_general_dilated(
            x,
            w,
            window_strides=stride,
            padding=padding.upper() if isinstance(padding, str) else sides(padding, (), ()),
            rhs_dilation=dilation,
            dimension_numbers=("NCHW", "OIHW", "NCHW"),
            feature_group_count=groups,
        )
        return self.biased(y, b)

    def concatenate(self, maps: list[Tensor]) -> Tensor:
        return jnp.concatenate(maps, axis=1)

    def average_pool(
        self, x: Tensor, kernel: Pair, stride: Pair, padding: Any, ceil_mode: bool, count_include_pad: bool
    ) -> Tensor:
        """Sums over counts, as `flax.linen.avg_pool`; ceil mode's extra pixels are in neither."""
        given, extra = pool_padding(x.shape[2:], kernel, stride, padding, ceil_mode)

        def sums(plane: Tensor, overhang: Any) -> Tensor:
            return lax.reduce_window(plane, 0.0, lax.add, (1, 1, *kernel), (1, 1, *stride), ((0, 0), (0, 0), *overhang))

        both = [(low + more[0], high + more[1]) for (low, high), more in zip(given, extra, strict=True)]
        ones = jnp.ones((1, 1, *x.shape[2:]), x.dtype)  # of one plane: XLA adds up constants while compiling, slowly
        if not count_include_pad:
            return sums(x, both) / sums(ones, both)
        counted = jnp.pad(ones, ((0, 0), (0, 0), *given), constant_values=1.0)
        return sums(x, both) / sums(counted, extra)

    def max_pool(self, x: Tensor, kernel: Pair, stride: Pair, padding: Any, ceil_mode: bool) -> Tensor:
        given, extra = pool_padding(x.shape[2:], kernel, stride, padding, ceil_mode)
        both = [(low + more[0], high + more[1]) for (low, high), more in zip(given, extra, strict=True)]
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, *kernel), (1, 1, *stride), ((0, 0), (0, 0), *both))

    def global_avg_pool2d(self, x: Tensor) -> Tensor:
        return x.mean(axis=(2, 3), keepdims=True)

    def repeat(self, x: Tensor, scale: Pair) -> Tensor:
        return x.repeat(scale[0], axis=2).repeat(scale[1], axis=3)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))

    def normalise(self, x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
        mean, var, gamma, beta = (a[:, None, None] for a in (mean, var, gamma, beta))
        return (x - mean) * lax.rsqrt(var + eps) * gamma + beta

    def relu(self, x: Tensor) -> Tensor:
        return jax.nn.relu(x)

    def relu6(self, x: Tensor) -> Tensor:
        return jax.nn.relu6(x)

    def hard_sigmoid(self, x: Tensor) -> Tensor:
        return jax.nn.hard_sigmoid(x)

    def hard_swish(self, x: Tensor) -> Tensor:
        return jax.nn.hard_swish(x)

    def one_hot(self, labels: Tensor, classes: int, dtype: Any) -> Tensor:
        return jax.nn.one_hot(labels, classes, dtype=dtype)

    def cross_entropy(self, logits: Tensor, target: Tensor) -> Tensor:
        return -(target * jax.nn.log_softmax(logits)).sum(axis=1).mean()

    # --- the adapter ---------------------------------------------------------------------------------------------

    def use_device(self, name: str) -> None:
        """Compute on the device of that name, "cuda:0" for example.

        Raises ValueError where JAX has none here.
        """
        platform, _, number = name.partition(":")
        try:
            device = jax.devices(platform)[int(number or 0)]
        except (RuntimeError, ValueError, IndexError) as error:
            words = str(error).partition("\n")[0]
            raise ValueError(f"--device must be one that JAX has here, got {name}: {words}") from None
        jax.config.update("jax_default_device", device)

    def arithmetic_settings(self) -> dict[str, str]:
        return {
            "platform": str(jax.config.jax_default_device or jax.default_backend()),
            "matmul precision": str(jax.config.jax_default_matmul_precision or "default"),
        }

    def forward(self, op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> Tree:
        return _run(op, args, options)

    def backward(self, op: str, dy: Tree, args: tuple[Tree, ...], options: dict[str, Any]) -> tuple[Tree, ...]:
        return _run(op, args, options, dy)

    def result_lines(self, op: str, options: dict[str, Any], y: str, direction: str) -> list[str]:
        if direction == "backward":
            names = ", ".join(arguments(op))
            y = f"jax.vjp(lambda {names}: {y}, {names})[1](dy)"
        return [f"got = jax.tree.map(np.array, {y})"]


def _run(op: str, args: tuple[Tree, ...], options: dict[str, Any], *dy: Tree) -> Any:
    """y, or for dy the gradients."""
    arrays = {name: value for name, value in options.items() if isinstance(value, np.ndarray)}  # labels
    settings = frozenset((name, value) for name, value in options.items() if name not in arrays)
    # JAX makes float32 of float64 unless told otherwise; it is told so only where there is some.
    with jax.enable_x64(any(array.dtype == np.float64 for _, array in named_arrays(args))):
        return jax.tree.map(np.array, _compiled(op, settings, bool(dy))(args, arrays, *dy))


# A problem is put several times, in whole and in real numbers, to one function: XLA's compiler takes most of the time.
@functools.lru_cache(maxsize=8)
def _compiled(op: str, settings: frozenset[tuple[str, Any]], backward: bool) -> Callable[..., Any]:
    def forward(args: Any, arrays: Any) -> Any:
        return JAX.function(op)(*args, **dict(settings), **arrays)

    def pull(args: Any, arrays: Any, dy: Any) -> Any:
        y, vjp = jax.vjp(lambda *args: forward(args, arrays), *args)
        # A named tuple is not a tuple to JAX.
        return vjp(jax.tree.unflatten(jax.tree.structure(y), jax.tree.leaves(dy)))

    return jax.jit(pull if backward else forward)


JAX = Jax()
