"""Every operator in JAX, on XLA: the same names, arguments and options on its arrays, gradients by `jax.vjp`.

Written with `jax.lax` and `jax.nn`, the way one would in JAX; "same" padding is XLA's own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from npconv.check.adapters.definitions import arguments, call, definitions
from npconv.check.adapters.padding import pair, sides
from npconv.testing.gradients import Array, Tree, named_arrays

NAME = "JAX"

JaxArray: TypeAlias = Any
Maps: TypeAlias = tuple[Any, Any]
"""(high, low), either None where it has no channels."""


# --- convolutions ------------------------------------------------------------------------------------------------


def conv2d(
    x: JaxArray,
    w: JaxArray,
    b: JaxArray | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> JaxArray:
    y = lax.conv_general_dilated(
        x,
        w,
        window_strides=pair(stride),
        padding=_padding(padding),
        rhs_dilation=pair(dilation),
        dimension_numbers=("NCHW", "OIHW", "NCHW"),
        feature_group_count=groups,
    )
    return y if b is None else y + b[:, None, None]


def _padding(padding: Any) -> Any:
    """As XLA takes it: a rule's name, or two numbers for each axis."""
    return padding.upper() if isinstance(padding, str) else sides(padding, (), ())


def depthwise_conv2d(x: JaxArray, w: JaxArray, b: JaxArray | None = None, **options: Any) -> JaxArray:
    return conv2d(x, w, b, groups=x.shape[1], **options)


def pointwise_conv2d(x: JaxArray, w: JaxArray, b: JaxArray | None = None, **options: Any) -> JaxArray:
    return conv2d(x, w, b, **options)


def separable_conv2d(
    x: JaxArray, w_depthwise: JaxArray, w_pointwise: JaxArray, b: JaxArray | None = None, **options: Any
) -> JaxArray:
    return conv2d(depthwise_conv2d(x, w_depthwise, **options), w_pointwise, b)


def ghost_conv2d(
    x: JaxArray,
    w_primary: JaxArray,
    w_cheap: JaxArray | None = None,
    *,
    out_channels: int | None = None,
    **options: Any,
) -> JaxArray:
    primary = conv2d(x, w_primary, **options)
    if w_cheap is None:
        return primary
    ghosts = depthwise_conv2d(primary, w_cheap, padding="same")
    return jnp.concatenate([primary, ghosts], axis=1)[:, :out_channels]


def octave_conv2d(
    x: Maps,
    w: tuple[JaxArray | None, ...],
    b: Maps | None = None,
    *,
    stride: Any = 1,
    stride_mode: str = "pool",
    **options: Any,
) -> Maps:
    """Equation 4 of the OctConv paper; with stride 2 in the mode "pool", the published code."""
    high, low = x
    hh, hl, lh, ll = w
    below = None if high is None else _halved(high)
    halved = stride_mode == "pool" and pair(stride) == (2, 2)
    if halved:  # the low input has the size of the high output from the start
        high, low, below = below, low, None if hl is None else avg_pool2d(x[0], 4, ceil_mode=True)
        low_below = None if low is None else _halved(low)
    else:
        low_below = low
    convolve: Callable[..., JaxArray] = functools.partial(conv2d, stride=1 if halved else stride, **options)
    high_parts = [] if hh is None else [convolve(high, hh)]
    if lh is not None:
        part = convolve(low, lh)
        if not halved:
            height, width = high_parts[0].shape[2:] if high_parts else (None, None)
            part = upsample_nearest2d(part)[:, :, :height, :width]
        high_parts.append(part)
    low_parts = [] if hl is None else [convolve(below, hl)]
    if ll is not None:
        low_parts.append(convolve(low_below, ll))
    biases = (None, None) if b is None else b
    return _total(high_parts, biases[0]), _total(low_parts, biases[1])


def _halved(x: JaxArray) -> JaxArray:
    return avg_pool2d(x, 2, ceil_mode=True)


def _total(parts: list[JaxArray], bias: JaxArray | None) -> JaxArray | None:
    """The sum of the paths that meet, and of the bias of their output."""
    if not parts:
        return None
    total = functools.reduce(jnp.add, parts)
    return total if bias is None else total + bias[:, None, None]


def octave_depthwise_conv2d(
    x: Maps,
    w: tuple[JaxArray | None, ...],
    b: Maps | None = None,
    *,
    stride: Any = 1,
    stride_mode: str = "pool",
    **options: Any,
) -> Maps:
    """Each frequency by itself: no path from one to the other."""
    if stride_mode == "pool" and pair(stride) == (2, 2):
        x, stride = jax.tree.map(_halved, x), 1
    biases = (None, None) if b is None else b
    convolve: Callable[..., JaxArray] = functools.partial(depthwise_conv2d, stride=stride, **options)
    return (
        None if x[0] is None else convolve(x[0], w[0], biases[0]),
        None if x[1] is None else convolve(x[1], w[3], biases[1]),
    )


# --- moves, pools, and the rest of a network ---------------------------------------------------------------------


def channel_shuffle(x: JaxArray, groups: int) -> JaxArray:
    batch, channels, height, width = x.shape
    split = x.reshape(batch, groups, channels // groups, height, width)
    return split.swapaxes(1, 2).reshape(x.shape)


def channel_unshuffle(x: JaxArray, groups: int) -> JaxArray:
    return channel_shuffle(x, x.shape[1] // groups)


def avg_pool2d(
    x: JaxArray,
    kernel: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> JaxArray:
    """Sums over counts, as `flax.linen.avg_pool`; ceil mode's extra pixels are in neither."""
    kernel, stride = pair(kernel), pair(kernel if stride is None else stride)
    given, extra = _pool_padding(x.shape[2:], kernel, stride, padding, ceil_mode)

    def sums(plane: JaxArray, overhang: Any) -> JaxArray:
        return lax.reduce_window(plane, 0.0, lax.add, (1, 1, *kernel), (1, 1, *stride), ((0, 0), (0, 0), *overhang))

    both = [(low + more[0], high + more[1]) for (low, high), more in zip(given, extra, strict=True)]
    ones = jnp.ones((1, 1, *x.shape[2:]), x.dtype)  # of one plane: XLA adds up constants while compiling, slowly
    if not count_include_pad:
        return sums(x, both) / sums(ones, both)
    counted = jnp.pad(ones, ((0, 0), (0, 0), *given), constant_values=1.0)
    return sums(x, both) / sums(counted, extra)


def max_pool2d(x: JaxArray, kernel: Any, *, stride: Any = None, padding: Any = 0, ceil_mode: bool = False) -> JaxArray:
    kernel, stride = pair(kernel), pair(kernel if stride is None else stride)
    given, extra = _pool_padding(x.shape[2:], kernel, stride, padding, ceil_mode)
    both = [(low + more[0], high + more[1]) for (low, high), more in zip(given, extra, strict=True)]
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, *kernel), (1, 1, *stride), ((0, 0), (0, 0), *both))


def _pool_padding(size: tuple[int, ...], kernel: Any, stride: Any, padding: Any, ceil_mode: bool) -> tuple[Any, Any]:
    """The padding in numbers, and what ceil mode adds to it: a last window that starts inside the image and overhangs it."""
    if isinstance(padding, str):
        given = lax.padtype_to_pads(size, kernel, stride, padding.upper())
    else:
        given = sides(padding, (), ())
    extra = []
    for pixels, k, s, (low, high) in zip(size, kernel, stride, given, strict=True):
        windows = -(-max(pixels + low + high - k, 0) // s) + 1
        windows = min(windows, (pixels + low - 1) // s + 1)
        overhang = (windows - 1) * s + k - (pixels + low + high)
        extra.append((0, max(overhang, 0) if ceil_mode else 0))
    return given, extra


def global_avg_pool2d(x: JaxArray) -> JaxArray:
    return x.mean(axis=(2, 3), keepdims=True)


def upsample_nearest2d(x: JaxArray, scale: Any = 2, *, size: Any = None) -> JaxArray:
    rows, columns = pair(scale)
    height, width = (None, None) if size is None else pair(size)
    return x.repeat(rows, axis=2).repeat(columns, axis=3)[:, :, :height, :width]


def batch_norm2d(
    x: JaxArray,
    gamma: JaxArray,
    beta: JaxArray,
    mean: JaxArray | None = None,
    var: JaxArray | None = None,
    *,
    eps: float = 1e-5,
) -> JaxArray:
    if mean is None or var is None:
        mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
    mean, var, gamma, beta = (a[:, None, None] for a in (mean, var, gamma, beta))
    return (x - mean) * lax.rsqrt(var + eps) * gamma + beta


def relu(x: JaxArray) -> JaxArray:
    return jax.nn.relu(x)


def relu6(x: JaxArray) -> JaxArray:
    return jax.nn.relu6(x)


def hard_sigmoid(x: JaxArray) -> JaxArray:
    return jax.nn.hard_sigmoid(x)


def hard_swish(x: JaxArray) -> JaxArray:
    return jax.nn.hard_swish(x)


def linear(x: JaxArray, w: JaxArray, b: JaxArray | None = None) -> JaxArray:
    y = x @ w.T
    return y if b is None else y + b


def softmax_cross_entropy(logits: JaxArray, labels: JaxArray, *, label_smoothing: float = 0.0) -> JaxArray:
    classes = logits.shape[1]
    target = jax.nn.one_hot(labels, classes, dtype=logits.dtype) * (1 - label_smoothing) + label_smoothing / classes
    return -(target * jax.nn.log_softmax(logits)).sum(axis=1).mean()


# --- the adapter -------------------------------------------------------------------------------------------------

FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        conv2d,
        depthwise_conv2d,
        pointwise_conv2d,
        separable_conv2d,
        octave_conv2d,
        octave_depthwise_conv2d,
        ghost_conv2d,
        channel_shuffle,
        channel_unshuffle,
        avg_pool2d,
        max_pool2d,
        global_avg_pool2d,
        upsample_nearest2d,
        batch_norm2d,
        relu,
        relu6,
        hard_sigmoid,
        hard_swish,
        linear,
        softmax_cross_entropy,
    )
}
OPERATORS = tuple(FUNCTIONS)
DIRECTIONS = dict.fromkeys(OPERATORS, ("forward", "backward"))


def version() -> str:
    return str(jax.__version__)


def use_device(name: str) -> None:
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


def arithmetic_settings() -> dict[str, str]:
    return {
        "platform": str(jax.config.jax_default_device or jax.default_backend()),
        "matmul precision": str(jax.config.jax_default_matmul_precision or "default"),
    }


def forward(op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> Tree:
    settings, arrays = _split(options)
    with _precision(args):
        return jax.tree.map(np.array, _compiled(op, settings)(args, arrays))


def backward(op: str, dy: Tree, args: tuple[Tree, ...], options: dict[str, Any]) -> tuple[Tree, ...]:
    settings, arrays = _split(options)
    with _precision(args):
        gradients: tuple[Tree, ...] = jax.tree.map(np.array, _compiled_pull(op, settings)(dy, args, arrays))
    return gradients


def _split(options: dict[str, Any]) -> tuple[frozenset[tuple[str, Any]], dict[str, Array]]:
    """The options that a compiled function is for, and those that are arrays: labels."""
    arrays = {name: value for name, value in options.items() if isinstance(value, np.ndarray)}
    return frozenset((name, value) for name, value in options.items() if name not in arrays), arrays


# A problem is put several times, in whole and in real numbers, to one function: XLA's compiler takes most of the time.
@functools.lru_cache(maxsize=4)
def _compiled(op: str, settings: frozenset[tuple[str, Any]]) -> Callable[..., Any]:
    return jax.jit(lambda args, arrays: FUNCTIONS[op](*args, **dict(settings), **arrays))


@functools.lru_cache(maxsize=4)
def _compiled_pull(op: str, settings: frozenset[tuple[str, Any]]) -> Callable[..., Any]:
    def pull(dy: Any, args: Any, arrays: Any) -> Any:
        y, vjp = jax.vjp(lambda *args: FUNCTIONS[op](*args, **dict(settings), **arrays), *args)
        # A named tuple is not a tuple to JAX.
        return vjp(jax.tree.unflatten(jax.tree.structure(y), jax.tree.leaves(dy)))

    return jax.jit(pull)


def _precision(args: tuple[Tree, ...]) -> Any:
    """JAX makes float32 of float64 unless told otherwise; it is told so only where there is some."""
    return jax.enable_x64(any(array.dtype == np.float64 for _, array in named_arrays(args)))


def source(op: str, options: dict[str, Any], direction: str) -> str:
    names, function, result = ", ".join(arguments(op)), definitions(FUNCTIONS[op]), call(op, arguments(op), options)
    if direction == "backward":
        result = f"jax.vjp(lambda {names}: {result}, {names})[1](dy)"
    imports = ["import functools"] if "functools." in function else []
    return "\n".join(
        [
            *imports,
            "import jax",
            "import numpy as np",
            "from jax import lax, numpy as jnp",
            "",
            function,
            "",
            'jax.config.update("jax_enable_x64", True)  # or float64 arrays become float32',
            f"got = jax.tree.map(np.array, {result})",
        ]
    )
