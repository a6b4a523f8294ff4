"""Every operator in TensorFlow, on its CPU: the same names, arguments and options on tensors, gradients by `GradientTape`.

Tensors come and go in npconv's layout; inside, they are NHWC, which is all that TensorFlow's CPU kernels know.
"""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read at the import: what concerns GPUs is not said on every start

import numpy as np
import tensorflow as tf

from npconv.check.adapters import Unsupported
from npconv.check.adapters.definitions import arguments, call, definitions
from npconv.check.adapters.padding import pair, sides
from npconv.testing.gradients import Array, Tree, map_arrays

NAME = "TensorFlow"

Tensor: TypeAlias = Any
Maps: TypeAlias = tuple[Any, Any]
"""(high, low), either None where it has no channels."""


# --- convolutions ------------------------------------------------------------------------------------------------


def nhwc(x: Tensor) -> Tensor:
    return tf.transpose(x, (0, 2, 3, 1))


def nchw(x: Tensor) -> Tensor:
    return tf.transpose(x, (0, 3, 1, 2))


def tensorflow_padding(padding: Any, *window: Any) -> Any:
    """TensorFlow's own "SAME" and "VALID", or the numbers for all four axes."""
    if padding == "same":
        return "SAME"
    rows, columns = sides(padding, *window)
    return ((0, 0), rows, columns, (0, 0)) if any((*rows, *columns)) else "VALID"


def conv2d(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """TensorFlow reads the groups from the channels of x and w."""
    pads = tensorflow_padding(padding, x.shape[2:], w.shape[2:], stride, dilation)
    y = tf.nn.conv2d(nhwc(x), tf.transpose(w, (2, 3, 1, 0)), pair(stride), pads, dilations=pair(dilation))
    return nchw(y if b is None else tf.nn.bias_add(y, b))


def depthwise_conv2d(
    x: Tensor, w: Tensor, b: Tensor | None = None, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1
) -> Tensor:
    pads = tensorflow_padding(padding, x.shape[2:], w.shape[2:], stride, dilation)
    hwcm = tf.transpose(tf.reshape(w, (x.shape[1], -1, *w.shape[2:])), (2, 3, 0, 1))
    y = tf.nn.depthwise_conv2d(nhwc(x), hwcm, (1, *pair(stride), 1), pads, dilations=pair(dilation))
    return nchw(y if b is None else tf.nn.bias_add(y, b))


def pointwise_conv2d(x: Tensor, w: Tensor, b: Tensor | None = None, *, stride: Any = 1, groups: int = 1) -> Tensor:
    return conv2d(x, w, b, stride=stride)


def separable_conv2d(
    x: Tensor,
    w_depthwise: Tensor,
    w_pointwise: Tensor,
    b: Tensor | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
) -> Tensor:
    pads = tensorflow_padding(padding, x.shape[2:], w_depthwise.shape[2:], stride, dilation)
    hwcm = tf.transpose(tf.reshape(w_depthwise, (x.shape[1], -1, *w_depthwise.shape[2:])), (2, 3, 0, 1))
    hwio = tf.transpose(w_pointwise, (2, 3, 1, 0))
    y = tf.nn.separable_conv2d(nhwc(x), hwcm, hwio, (1, *pair(stride), 1), pads, dilations=pair(dilation))
    return nchw(y if b is None else tf.nn.bias_add(y, b))


def ghost_conv2d(
    x: Tensor, w_primary: Tensor, w_cheap: Tensor | None = None, *, out_channels: int | None = None, **options: Any
) -> Tensor:
    primary = conv2d(x, w_primary, **options)
    if w_cheap is None:
        return primary
    ghosts = depthwise_conv2d(primary, w_cheap, padding="same")
    return tf.concat([primary, ghosts], axis=1)[:, :out_channels]


def octave_conv2d(
    x: Maps,
    w: tuple[Tensor | None, ...],
    b: Maps | None = None,
    *,
    stride: Any = 1,
    stride_mode: str = "pool",
    **options: Any,
) -> Maps:
    """Equation 4 of the OctConv paper; with stride 2 in the mode "pool", the published code."""
    (high, low), (hh, hl, lh, ll) = x, w
    pooled_first = stride_mode == "pool" and pair(stride) == (2, 2)
    pooled = None if hl is None else octave_pool(high, 4 if pooled_first else 2)
    if pooled_first:
        stride = 1
        high = None if hh is None else octave_pool(high, 2)
    y_high = None if hh is None else conv2d(high, hh, stride=stride, **options)
    if lh is not None:
        part = conv2d(low, lh, stride=stride, **options)
        if not pooled_first:  # else the low map has the high output's size as it is
            part = upsample_nearest2d(part, 2, size=None if y_high is None else y_high.shape[2:])
        y_high = part if y_high is None else y_high + part
    y_low = None
    if ll is not None:
        y_low = conv2d(octave_pool(low, 2) if pooled_first else low, ll, stride=stride, **options)
    if hl is not None:
        part = conv2d(pooled, hl, stride=stride, **options)
        y_low = part if y_low is None else y_low + part
    return octave_bias(y_high, y_low, b)


def octave_depthwise_conv2d(
    x: Maps,
    w: tuple[Tensor | None, ...],
    b: Maps | None = None,
    *,
    stride: Any = 1,
    stride_mode: str = "pool",
    **options: Any,
) -> Maps:
    """Each frequency by itself: no path from one to the other."""
    high, low = x
    if stride_mode == "pool" and pair(stride) == (2, 2):
        high, low = (None if a is None else octave_pool(a, 2) for a in x)
        stride = 1
    y_high, y_low = (
        None if a is None else depthwise_conv2d(a, kernel, stride=stride, **options)
        for a, kernel in zip((high, low), (w[0], w[3]), strict=True)
    )
    return octave_bias(y_high, y_low, b)


def octave_pool(x: Tensor, factor: int) -> Tensor:
    """The mean of each block, of what there is of it at the border: TensorFlow's SAME would begin with an incomplete one."""
    ends = ((0, 0), (0, 0), (0, -x.shape[2] % factor), (0, -x.shape[3] % factor))
    total, count = (tf.nn.avg_pool2d(nhwc(tf.pad(a, ends)), factor, factor, "VALID") for a in (x, tf.ones_like(x)))
    return nchw(total / count)


def octave_bias(high: Tensor | None, low: Tensor | None, b: Maps | None) -> Maps:
    high, low = (
        y if y is None or bias is None else y + bias[:, None, None]
        for y, bias in zip((high, low), b or (None, None), strict=True)
    )
    return high, low


# --- moves, pools, and the rest of a network ---------------------------------------------------------------------


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    batch, channels, *size = x.shape
    grouped = tf.reshape(x, (batch, groups, channels // groups, *size))
    return tf.reshape(tf.transpose(grouped, (0, 2, 1, 3, 4)), x.shape)


def channel_unshuffle(x: Tensor, groups: int) -> Tensor:
    return channel_shuffle(x, x.shape[1] // groups)


def avg_pool2d(
    x: Tensor, kernel: Any, *, stride: Any = None, padding: Any = 0, count_include_pad: bool = False
) -> Tensor:
    """SAME does not count the padding; to count it is to pad before."""
    if count_include_pad:
        pads = sides(padding, x.shape[2:], pair(kernel), kernel if stride is None else stride)
        x, padding = tf.pad(x, ((0, 0), (0, 0), *pads)), "valid"
    own = "SAME" if padding == "same" else "VALID"
    return nchw(tf.nn.avg_pool2d(nhwc(x), pair(kernel), pair(kernel if stride is None else stride), own))


def max_pool2d(x: Tensor, kernel: Any, *, stride: Any = None, padding: Any = 0) -> Tensor:
    stride = pair(kernel if stride is None else stride)
    pads = tensorflow_padding(padding, x.shape[2:], pair(kernel), stride)
    return nchw(tf.nn.max_pool2d(nhwc(x), pair(kernel), stride, pads))


def global_avg_pool2d(x: Tensor) -> Tensor:
    return tf.reduce_mean(x, (2, 3), keepdims=True)


def upsample_nearest2d(x: Tensor, scale: Any = 2, *, size: Any = None) -> Tensor:
    rows, columns = (length * factor for length, factor in zip(x.shape[2:], pair(scale), strict=True))
    y = nchw(tf.image.resize(nhwc(x), (rows, columns), "nearest"))
    height, width = (rows, columns) if size is None else pair(tuple(size))
    return y[:, :, :height, :width]


def batch_norm2d(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor | None = None,
    var: Tensor | None = None,
    *,
    eps: float = 1e-5,
) -> Tensor:
    if mean is None:
        mean, var = tf.nn.moments(nhwc(x), (0, 1, 2))
    return nchw(tf.nn.batch_normalization(nhwc(x), mean, var, beta, gamma, eps))


def relu(x: Tensor) -> Tensor:
    return tf.nn.relu(x)


def relu6(x: Tensor) -> Tensor:
    return tf.nn.relu6(x)


def hard_sigmoid(x: Tensor) -> Tensor:
    return tf.nn.relu6(x + 3) / 6


def hard_swish(x: Tensor) -> Tensor:
    return x * tf.nn.relu6(x + 3) / 6


def linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    y = tf.matmul(x, w, transpose_b=True)
    return y if b is None else tf.nn.bias_add(y, b)


def softmax_cross_entropy(logits: Tensor, labels: Array, *, label_smoothing: float = 0.0) -> Tensor:
    classes = logits.shape[1]
    target = tf.one_hot(labels, classes, dtype=logits.dtype) * (1 - label_smoothing) + label_smoothing / classes
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))


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
    return str(tf.__version__)


def arithmetic_settings() -> dict[str, str]:
    return {
        "threads": str(tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count()),
        "oneDNN": "off" if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0" else "on",
        "TF32": "on" if tf.config.experimental.tensor_float_32_execution_enabled() else "off",
    }


def forward(op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> Tree:
    return evaluate(FUNCTIONS[op], args, _known(op, options))


def backward(op: str, dy: Tree, args: tuple[Tree, ...], options: dict[str, Any]) -> tuple[Tree, ...]:
    return differentiate(FUNCTIONS[op], dy, args, _known(op, options))


def source(op: str, options: dict[str, Any], direction: str) -> str:
    return reproduction([], *_lines(op, _known(op, options)), op, direction)


def evaluate(function: Callable[..., Any], args: tuple[Tree, ...], options: dict[str, Any]) -> Tree:
    """``function(*args, **options)`` of tensors, from arrays to arrays."""
    with _words():
        y = function(*map_arrays(tf.constant, args), **options)
    return tuple(None if a is None else a.numpy() for a in y) if isinstance(y, tuple) else np.asarray(y.numpy())


def differentiate(
    function: Callable[..., Any], dy: Tree, args: tuple[Tree, ...], options: dict[str, Any]
) -> tuple[Tree, ...]:
    """The gradients of ``function(*args, **options)`` for dy, one per argument."""
    watched: list[Tensor] = []

    def watch(array: Array) -> Tensor:
        watched.append(tf.constant(array))
        tape.watch(watched[-1])
        return watched[-1]

    with _words():
        with tf.GradientTape() as tape:
            y = function(*map_arrays(watch, args), **options)
        ys, dys = ([a for a in tf.nest.flatten(maps) if a is not None] for maps in (y, dy))
        gradients = iter(tape.gradient(ys, watched, dys))
    result: tuple[Tree, ...] = map_arrays(lambda _: np.asarray(next(gradients).numpy()), args)
    return result


def reproduction(imports: list[str], needed: list[str], y: list[str], op: str, direction: str) -> str:
    """The lines of code that make `got`: by those that define what is `needed`, and those that make y."""
    names = f"({', '.join(arguments(op))},)"
    octave = op.startswith("octave")
    lines = [
        *imports,
        "import tensorflow as tf",
        *needed,
        f"{names} = tf.nest.map_structure(lambda a: None if a is None else tf.constant(a), {names})",
    ]
    if direction == "forward":
        got = "tuple(None if a is None else a.numpy() for a in y)" if octave else "np.asarray(y.numpy())"
        return "\n".join([*lines, *y, f"got = {got}"])
    y_and_dy = ("[a for a in y if a is not None]", "[a for a in dy if a is not None]") if octave else ("y", "dy")
    lines += [
        f"tensors = [a for a in tf.nest.flatten({names}) if a is not None]",
        "with tf.GradientTape() as tape:",
        "    tape.watch(tensors)",
        *(f"    {line}" for line in y),
        f"gradients = iter(tape.gradient({y_and_dy[0]}, tensors, {y_and_dy[1]}))",
        f"got = tf.nest.map_structure(lambda a: None if a is None else np.asarray(next(gradients).numpy()), {names})",
    ]
    return "\n".join(lines)


def _known(op: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options of the function here, which has none for what TensorFlow lacks."""
    options = dict(options)
    if options.pop("ceil_mode", False):
        raise Unsupported("TensorFlow's pools have no ceil mode")
    if op == "separable_conv2d" and pair(options.get("dilation", 1)) != (1, 1) != pair(options.get("stride", 1)):
        # For depthwise_conv2d that is a warning; separable_conv2d only documents it, and gives another result.
        raise Unsupported("When dilation rate is greater than 1, then all values of strides must be 1.")
    if op == "avg_pool2d" and not options.get("count_include_pad") and options.get("padding") != "same":
        padding = options.get("padding", 0)
        if padding == "same_lower" or any(map(any, sides(padding, (), ()))):
            raise Unsupported("Expected string for argument 'padding'")
    return options


_REFUSALS = (
    "Current CPU implementations do not yet support dilation rates larger than 1",
    "Current implementation only supports equal length strides",
    "Gradients for grouped convolutions are not supported on CPU",
    "not supported in conjunction with `dilation_rate > 1`",  # Keras
)


@contextlib.contextmanager
def _words() -> Iterator[None]:
    """TensorFlow's own words for what it has no kernel for; one of them is a warning, which a wrong result follows."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "When dilation rate is greater than 1", UserWarning)
        try:
            yield
        except (tf.errors.UnimplementedError, UserWarning) as error:
            raise Unsupported(_rule(str(error))) from error
        except (tf.errors.InvalidArgumentError, ValueError) as error:
            for line in str(error).splitlines():
                if any(words in line for words in _REFUSALS):
                    raise Unsupported(_rule(line)) from error
            raise


def _rule(message: str) -> str:
    """What is said of all calls alike, so that they count as one: neither the node's name before it nor the values behind.

    >>> _rule("{{function_node __wrapped__X_device_/job:localhost}} No groups on CPU. [Op:X]")
    'No groups on CPU.'
    >>> _rule("All strides must be 1. Received: `strides` (1, 2, 2, 1)")
    'All strides must be 1.'
    """
    message = re.sub(r"^\s*\{\{.*?\}\}", "", message)
    return re.split(r"Received:|Computed |\[Op:", message)[0].strip()


def _lines(op: str, options: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The definitions, and the lines that make y: without any definitions where TensorFlow has a function for just that."""
    padding = options.get("padding", 0)
    if op not in ("conv2d", "depthwise_conv2d", "pointwise_conv2d") or padding == "same_lower":
        return [definitions(FUNCTIONS[op])], [f"y = {call(op, arguments(op), options)}"]
    stride = pair(options.get("stride", 1))
    function, strides, w = "conv2d", repr(stride), "tf.transpose(w, (2, 3, 1, 0))"
    if op == "depthwise_conv2d":
        function, strides = op, repr((1, *stride, 1))
        w = "tf.transpose(tf.reshape(w, (x.shape[1], -1, *w.shape[2:])), (2, 3, 0, 1))"
    pads, dilations = tensorflow_padding(padding, (), ()), pair(options.get("dilation", 1))
    return [], [
        f"y = tf.nn.{function}(tf.transpose(x, (0, 2, 3, 1)), {w}, {strides}, {pads!r}, dilations={dilations})",
        "y = tf.transpose(y if b is None else tf.nn.bias_add(y, b), (0, 3, 1, 2))",
    ]
