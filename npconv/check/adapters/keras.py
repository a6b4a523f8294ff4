"""What Keras 3 has operators of its own for, on its TensorFlow backend: `keras.ops` in its layout "channels_last".

Keras has no gradients across its backends, so they are those of TensorFlow through Keras's operators. What it only
passes on, as additions and products are, is left to the adapter of TensorFlow.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["KERAS_BACKEND"] = "tensorflow"  # read at the import

import keras
import tensorflow as tf

from npconv.check.adapters import Unsupported
from npconv.check.adapters.framework import Framework, Tensor
from npconv.check.adapters.padding import Pair, pair, sides, window
from npconv.check.adapters.tensorflow import TensorFlow
from npconv.testing.gradients import Tree


class Keras(TensorFlow):
    NAME = "Keras"
    VERSION = f"{keras.__version__} on TensorFlow {tf.__version__}"
    IMPORTS = ("import os", "os.environ['KERAS_BACKEND'] = 'tensorflow'", "import keras", *TensorFlow.IMPORTS)
    OPERATORS = tuple(
        op for op in Framework.OPERATORS if not op.startswith(("octave", "ghost", "channel")) and op != "linear"
    )

    def reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        return keras.ops.reshape(x, shape)

    def transpose(self, x: Tensor, axes: tuple[int, ...]) -> Tensor:
        return keras.ops.transpose(x, axes)

    def nchw(self, x: Tensor, b: Tensor | None = None) -> Tensor:
        return self.transpose(x if b is None else x + b, (0, 3, 1, 2))

    def padded(self, x: Tensor, padding: Any, *place: Any) -> tuple[Tensor, str]:
        """x in NHWC and Keras's padding for it: "same", or whatever else, done before, and "valid"."""
        if padding == "same":
            return self.nhwc(x), "same"
        rows, columns = sides(padding, *place)
        x = keras.ops.pad(x, ((0, 0), (0, 0), rows, columns)) if any((*rows, *columns)) else x
        return self.nhwc(x), "valid"

    def convolution(
        self, x: Tensor, w: Tensor, b: Tensor | None, stride: Pair, padding: Any, dilation: Pair, groups: int
    ) -> Tensor:
        """Keras reads the groups from the channels of x and w."""
        x, pads = self.padded(x, padding, x.shape[2:], w.shape[2:], stride, dilation)
        return self.nchw(keras.ops.conv(x, self.hwio(w), stride, pads, "channels_last", dilation), b)

    def depthwise_conv2d(self, x: Tensor, w: Tensor, b: Tensor | None = None, **options: Any) -> Tensor:
        stride, padding, dilation, _ = window(**options)
        kernels = self.hwcm(w, x.shape[1])
        x, pads = self.padded(x, padding, x.shape[2:], w.shape[2:], stride, dilation)
        return self.nchw(keras.ops.depthwise_conv(x, kernels, stride, pads, "channels_last", dilation), b)

    def separable_conv2d(
        self, x: Tensor, w_depthwise: Tensor, w_pointwise: Tensor, b: Tensor | None = None, **options: Any
    ) -> Tensor:
        stride, padding, dilation, _ = window(**options)
        both = self.hwcm(w_depthwise, x.shape[1]), self.hwio(w_pointwise)
        x, pads = self.padded(x, padding, x.shape[2:], w_depthwise.shape[2:], stride, dilation)
        return self.nchw(keras.ops.separable_conv(x, *both, stride, pads, "channels_last", dilation), b)

    def average_pool(
        self, x: Tensor, kernel: Pair, stride: Pair, padding: Any, ceil_mode: bool, count_include_pad: bool
    ) -> Tensor:
        own = "same" if padding == "same" else "valid"
        return self.nchw(keras.ops.average_pool(self.nhwc(x), kernel, stride, own, "channels_last"))

    def max_pool(self, x: Tensor, kernel: Pair, stride: Pair, padding: Any, ceil_mode: bool) -> Tensor:
        own = "same" if padding == "same" else "valid"
        return self.nchw(keras.ops.max_pool(self.nhwc(x), kernel, stride, own, "channels_last"))

    def global_avg_pool2d(self, x: Tensor) -> Tensor:
        return keras.layers.GlobalAveragePooling2D("channels_first", keepdims=True)(x)

    def repeat(self, x: Tensor, scale: Pair) -> Tensor:
        return keras.layers.UpSampling2D(scale, "channels_first", interpolation="nearest", dtype=x.dtype.name)(x)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return keras.ops.moments(x, (0, 2, 3))

    def normalise(self, x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
        return keras.ops.batch_normalization(x, mean, var, 1, beta, gamma, eps)

    def relu(self, x: Tensor) -> Tensor:
        return keras.ops.relu(x)

    def relu6(self, x: Tensor) -> Tensor:
        return keras.ops.relu6(x)

    def hard_sigmoid(self, x: Tensor) -> Tensor:
        return keras.ops.hard_sigmoid(x)

    def hard_swish(self, x: Tensor) -> Tensor:
        return keras.ops.hard_swish(x)

    def one_hot(self, labels: Tensor, classes: int, dtype: Any) -> Tensor:
        return keras.ops.one_hot(labels, classes, dtype=dtype)

    def cross_entropy(self, logits: Tensor, target: Tensor) -> Tensor:
        return keras.ops.mean(keras.ops.categorical_crossentropy(target, logits, from_logits=True))

    # --- the adapter ---------------------------------------------------------------------------------------------

    def arithmetic_settings(self) -> dict[str, str]:
        return super().arithmetic_settings() | {"backend": str(keras.backend.backend())}

    def refuse(self, op: str, options: dict[str, Any]) -> None:
        """What Keras lacks, or documents that it lacks."""
        if op == "depthwise_conv2d" and pair(options.get("dilation", 1)) != (1, 1) != pair(options.get("stride", 1)):
            # Keras refuses that for its other convolutions; this one it passes on, and TensorFlow only warns.
            raise Unsupported("`strides > 1` not supported in conjunction with `dilation_rate > 1`.")
        if options.get("ceil_mode"):
            raise Unsupported("Keras's pools have no ceil mode")
        if options.get("count_include_pad"):
            raise Unsupported("Keras's average pool does not count padding")
        padding = options.get("padding", 0)
        padded = padding == "same_lower" or (padding != "same" and any(map(any, sides(padding, (), ()))))
        if op.endswith("pool2d") and padded:
            raise Unsupported("Invalid padding argument: Keras's pools know 'valid' and 'same'")

    def short(self, op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> str | None:
        return None


KERAS = Keras()
