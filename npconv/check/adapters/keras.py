"""What Keras 3 has operators of its own for, on its TensorFlow backend: `keras.ops` in its layout "channels_last".

Keras has no gradients across its backends, so they are those of TensorFlow through Keras's operators. What it only
passes on, as additions and products are, is left to the adapter of TensorFlow.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeAlias

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["KERAS_BACKEND"] = "tensorflow"  # read at the import

import keras
import tensorflow as tf

from npconv.check.adapters import Unsupported, tensorflow
from npconv.check.adapters.definitions import arguments, call, definitions
from npconv.check.adapters.padding import pair, sides
from npconv.testing.gradients import Array, Tree

NAME = "Keras"

Tensor: TypeAlias = Any


# --- convolutions ------------------------------------------------------------------------------------------------


def keras_last(x: Tensor) -> Tensor:
    return keras.ops.transpose(x, (0, 2, 3, 1))


def keras_first(x: Tensor) -> Tensor:
    return keras.ops.transpose(x, (0, 3, 1, 2))


def keras_padded(x: Tensor, padding: Any, *window: Any) -> tuple[Tensor, str]:
    """x and Keras's padding for it: "same", or whatever else, done before, and "valid"."""
    if padding == "same":
        return x, "same"
    rows, columns = sides(padding, *window)
    return (keras.ops.pad(x, ((0, 0), (0, 0), rows, columns)) if any((*rows, *columns)) else x), "valid"


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
    """Keras reads the groups from the channels of x and w."""
    x, pads = keras_padded(x, padding, x.shape[2:], w.shape[2:], stride, dilation)
    hwio = keras.ops.transpose(w, (2, 3, 1, 0))
    y = keras.ops.conv(keras_last(x), hwio, pair(stride), pads, "channels_last", pair(dilation))
    return keras_first(y if b is None else y + b)


def keras_hwcm(w: Tensor, channels: int) -> Tensor:
    return keras.ops.transpose(keras.ops.reshape(w, (channels, -1, *w.shape[2:])), (2, 3, 0, 1))


def depthwise_conv2d(
    x: Tensor, w: Tensor, b: Tensor | None = None, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1
) -> Tensor:
    x, pads = keras_padded(x, padding, x.shape[2:], w.shape[2:], stride, dilation)
    hwcm = keras_hwcm(w, x.shape[1])
    y = keras.ops.depthwise_conv(keras_last(x), hwcm, pair(stride), pads, "channels_last", pair(dilation))
    return keras_first(y if b is None else y + b)


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
    x, pads = keras_padded(x, padding, x.shape[2:], w_depthwise.shape[2:], stride, dilation)
    hwcm, hwio = keras_hwcm(w_depthwise, x.shape[1]), keras.ops.transpose(w_pointwise, (2, 3, 1, 0))
    y = keras.ops.separable_conv(keras_last(x), hwcm, hwio, pair(stride), pads, "channels_last", pair(dilation))
    return keras_first(y if b is None else y + b)


# --- pools, and the rest of a network ----------------------------------------------------------------------------


def avg_pool2d(x: Tensor, kernel: Any, *, stride: Any = None, padding: Any = 0) -> Tensor:
    own = "same" if padding == "same" else "valid"
    strides = pair(kernel if stride is None else stride)
    return keras_first(keras.ops.average_pool(keras_last(x), pair(kernel), strides, own, "channels_last"))


def max_pool2d(x: Tensor, kernel: Any, *, stride: Any = None, padding: Any = 0) -> Tensor:
    own = "same" if padding == "same" else "valid"
    strides = pair(kernel if stride is None else stride)
    return keras_first(keras.ops.max_pool(keras_last(x), pair(kernel), strides, own, "channels_last"))


def global_avg_pool2d(x: Tensor) -> Tensor:
    return keras.layers.GlobalAveragePooling2D("channels_first", keepdims=True)(x)


def upsample_nearest2d(x: Tensor, scale: Any = 2, *, size: Any = None) -> Tensor:
    y = keras.layers.UpSampling2D(pair(scale), "channels_first", interpolation="nearest", dtype=x.dtype.name)(x)
    height, width = y.shape[2:] if size is None else pair(size)
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
        mean, var = keras.ops.moments(x, (0, 2, 3))
    return keras.ops.batch_normalization(x, mean, var, 1, beta, gamma, eps)


def relu(x: Tensor) -> Tensor:
    return keras.ops.relu(x)


def relu6(x: Tensor) -> Tensor:
    return keras.ops.relu6(x)


def hard_sigmoid(x: Tensor) -> Tensor:
    return keras.ops.hard_sigmoid(x)


def hard_swish(x: Tensor) -> Tensor:
    return keras.ops.hard_swish(x)


def softmax_cross_entropy(logits: Tensor, labels: Array, *, label_smoothing: float = 0.0) -> Tensor:
    classes = logits.shape[1]
    target = keras.ops.one_hot(labels, classes, dtype=logits.dtype) * (1 - label_smoothing) + label_smoothing / classes
    return keras.ops.mean(keras.ops.categorical_crossentropy(target, logits, from_logits=True))


# --- the adapter -------------------------------------------------------------------------------------------------

FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        conv2d,
        depthwise_conv2d,
        pointwise_conv2d,
        separable_conv2d,
        avg_pool2d,
        max_pool2d,
        global_avg_pool2d,
        upsample_nearest2d,
        batch_norm2d,
        relu,
        relu6,
        hard_sigmoid,
        hard_swish,
        softmax_cross_entropy,
    )
}
OPERATORS = tuple(FUNCTIONS)
DIRECTIONS = dict.fromkeys(OPERATORS, ("forward", "backward"))


def version() -> str:
    return f"{keras.__version__} on TensorFlow {tf.__version__}"


def arithmetic_settings() -> dict[str, str]:
    return tensorflow.arithmetic_settings() | {"backend": str(keras.backend.backend())}


def forward(op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> Tree:
    return tensorflow.evaluate(FUNCTIONS[op], args, _known(op, options))


def backward(op: str, dy: Tree, args: tuple[Tree, ...], options: dict[str, Any]) -> tuple[Tree, ...]:
    return tensorflow.differentiate(FUNCTIONS[op], dy, args, _known(op, options))


def source(op: str, options: dict[str, Any], direction: str) -> str:
    y = f"y = {call(op, arguments(op), _known(op, options))}"
    imports = ["import os", "os.environ['KERAS_BACKEND'] = 'tensorflow'", "import keras"]
    return tensorflow.reproduction(imports, [definitions(FUNCTIONS[op])], [y], op, direction)


def _known(op: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options of the function here, which has none for what Keras lacks, or documents that it lacks."""
    options = dict(options)
    if op == "depthwise_conv2d" and pair(options.get("dilation", 1)) != (1, 1) != pair(options.get("stride", 1)):
        # Keras refuses that for its other convolutions; this one it passes on, and TensorFlow only warns.
        raise Unsupported("`strides > 1` not supported in conjunction with `dilation_rate > 1`.")
    if options.pop("ceil_mode", False):
        raise Unsupported("Keras's pools have no ceil mode")
    if options.pop("count_include_pad", False):
        raise Unsupported("Keras's average pool does not count padding")
    padding = options.get("padding", 0)
    if (
        op.endswith("pool2d")
        and padding != "same"
        and (padding == "same_lower" or any(map(any, sides(padding, (), ()))))
    ):
        raise Unsupported("Invalid padding argument: Keras's pools know 'valid' and 'same'")
    return options
