"""TensorFlow, on its CPU: its kernels there know NHWC alone, gradients are those of `GradientTape`."""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read at the import: what concerns GPUs is not said on every start

import numpy as np
import tensorflow as tf

from npconv.check.adapters import Unsupported
from npconv.check.adapters.framework import Framework, Outputs, Tensor
from npconv.check.adapters.padding import Pair, pair, sides, window
from npconv.testing.gradients import Array, Tree


class TensorFlow(Framework):
    NAME = "TensorFlow"
    BFLOAT16 = True
    VERSION = str(tf.__version__)
    IMPORTS: tuple[str, ...] = ("import tensorflow as tf",)
    TENSOR, ARRAY = "tf.constant({})", "np.asarray({}.numpy())"

    def concatenate(self, maps: list[Tensor]) -> Tensor:
        return tf.concat(maps, axis=1)

    def reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        return tf.reshape(x, shape)

    def transpose(self, x: Tensor, axes: tuple[int, ...]) -> Tensor:
        return tf.transpose(x, axes)

    def nhwc(self, x: Tensor) -> Tensor:
        return self.transpose(x, (0, 2, 3, 1))

    def nchw(self, x: Tensor, b: Tensor | None = None) -> Tensor:
        return self.transpose(x if b is None else tf.nn.bias_add(x, b), (0, 3, 1, 2))

    def hwio(self, w: Tensor) -> Tensor:
        return self.transpose(w, (2, 3, 1, 0))

    def hwcm(self, w: Tensor, channels: int) -> Tensor:
        """Of a depthwise convolution."""
        return self.transpose(self.reshape(w, (channels, -1, *w.shape[2:])), (2, 3, 0, 1))

    def own_padding(self, padding: Any, *place: Any) -> Any:
        """TensorFlow's own "SAME" and "VALID", or the numbers for all four axes."""
        if padding == "same":
            return "SAME"
        rows, columns = sides(padding, *place)
        return ((0, 0), rows, columns, (0, 0)) if any((*rows, *columns)) else "VALID"

    def convolution(
        self, x: Tensor, w: Tensor, b: Tensor | None, stride: Pair, padding: Any, dilation: Pair, groups: int
    ) -> Tensor:
        """TensorFlow reads the groups from the channels of x and w."""
        pads = self.own_padding(padding, x.shape[2:], w.shape[2:], stride, dilation)
        return self.nchw(tf.nn.conv2d(self.nhwc(x), self.hwio(w), stride, pads, dilations=dilation), b)

    def depthwise_conv2d(self, x: Tensor, w: Tensor, b: Tensor | None = None, **options: Any) -> Tensor:
        stride, padding, dilation, _ = window(**options)
        pads, kernels = self.own_padding(padding, x.shape[2:], w.shape[2:], stride, dilation), self.hwcm(w, x.shape[1])
        return self.nchw(tf.nn.depthwise_conv2d(self.nhwc(x), kernels, (1, *stride, 1), pads, dilations=dilation), b)

    def separable_conv2d(
        self, x: Tensor, w_depthwise: Tensor, w_pointwise: Tensor, b: Tensor | None = None, **options: Any
    ) -> Tensor:
        stride, padding, dilation, _ = window(**options)
        pads = self.own_padding(padding, x.shape[2:], w_depthwise.shape[2:], stride, dilation)
        both = self.hwcm(w_depthwise, x.shape[1]), self.hwio(w_pointwise)
        return self.nchw(tf.nn.separable_conv2d(self.nhwc(x), *both, (1, *stride, 1), pads, dilations=dilation), b)

    def octave_pool(self, x: Tensor, factor: int) -> Tensor:
        """TensorFlow's pools have no ceil mode, and its SAME would begin with an incomplete block."""
        ends = ((0, 0), (0, 0), (0, -x.shape[2] % factor), (0, -x.shape[3] % factor))
        total, count = (
            tf.nn.avg_pool2d(self.nhwc(tf.pad(a, ends)), factor, factor, "VALID") for a in (x, tf.ones_like(x))
        )
        return self.nchw(total / count)

    def average_pool(
        self, x: Tensor, kernel: Pair, stride: Pair, padding: Any, ceil_mode: bool, count_include_pad: bool
    ) -> Tensor:
        """SAME does not count the padding; to count it is to pad before."""
        if count_include_pad:
            x, padding = tf.pad(x, ((0, 0), (0, 0), *sides(padding, x.shape[2:], kernel, stride))), "valid"
        own = "SAME" if padding == "same" else "VALID"
        return self.nchw(tf.nn.avg_pool2d(self.nhwc(x), kernel, stride, own))

    def max_pool(self, x: Tensor, kernel: Pair, stride: Pair, padding: Any, ceil_mode: bool) -> Tensor:
        pads = self.own_padding(padding, x.shape[2:], kernel, stride)
        return self.nchw(tf.nn.max_pool2d(self.nhwc(x), kernel, stride, pads))

    def global_avg_pool2d(self, x: Tensor) -> Tensor:
        return tf.reduce_mean(x, (2, 3), keepdims=True)

    def repeat(self, x: Tensor, scale: Pair) -> Tensor:
        size = x.shape[2] * scale[0], x.shape[3] * scale[1]
        return self.nchw(tf.image.resize(self.nhwc(x), size, "nearest"))

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return tf.nn.moments(self.nhwc(x), (0, 1, 2))

    def normalise(self, x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
        return self.nchw(tf.nn.batch_normalization(self.nhwc(x), mean, var, beta, gamma, eps))

    def relu(self, x: Tensor) -> Tensor:
        return tf.nn.relu(x)

    def relu6(self, x: Tensor) -> Tensor:
        return tf.nn.relu6(x)

    def linear(self, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        y = tf.matmul(x, w, transpose_b=True)
        return y if b is None else tf.nn.bias_add(y, b)

    def one_hot(self, labels: Tensor, classes: int, dtype: Any) -> Tensor:
        return tf.one_hot(labels, classes, dtype=dtype)

    def cross_entropy(self, logits: Tensor, target: Tensor) -> Tensor:
        return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))

    # --- the adapter ---------------------------------------------------------------------------------------------

    def arithmetic_settings(self) -> dict[str, str]:
        return {
            "threads": str(tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count()),
            "oneDNN": "off" if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0" else "on",
            "TF32": "on" if tf.config.experimental.tensor_float_32_execution_enabled() else "off",
        }

    def refuse(self, op: str, options: dict[str, Any]) -> None:
        if options.get("ceil_mode"):
            raise Unsupported("TensorFlow's pools have no ceil mode")
        if op == "separable_conv2d" and pair(options.get("dilation", 1)) != (1, 1) != pair(options.get("stride", 1)):
            # For depthwise_conv2d that is a warning; separable_conv2d only documents it, and gives another result.
            raise Unsupported("When dilation rate is greater than 1, then all values of strides must be 1.")
        if op == "avg_pool2d" and not options.get("count_include_pad") and options.get("padding") != "same":
            padding = options.get("padding", 0)
            if padding == "same_lower" or any(map(any, sides(padding, (), ()))):
                raise Unsupported("Expected string for argument 'padding'")

    @contextlib.contextmanager
    def words(self) -> Iterator[None]:
        """One of its refusals is a warning, which a wrong result follows."""
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

    def tensor(self, array: Array) -> Tensor:
        return tf.constant(array)

    def array(self, tensor: Tensor) -> Array:
        return np.asarray(tensor.numpy())

    def gradients(self, outputs: Outputs, tensors: list[Tensor], dys: list[Tensor]) -> Iterable[Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            y = outputs(*tensors)
        return tape.gradient(y, tensors, dys)

    def gradient_lines(self, y: str, dy: str) -> list[str]:
        return [
            "with tf.GradientTape() as tape:",
            "    tape.watch(tensors)",
            f"    y = {y}",
            f"gradients = iter(tape.gradient(y, tensors, {dy}))",
        ]

    def short(self, op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> str | None:
        padding = options.get("padding", 0)
        if op not in ("conv2d", "depthwise_conv2d", "pointwise_conv2d") or padding == "same_lower":
            return None
        stride, dilations = pair(options.get("stride", 1)), pair(options.get("dilation", 1))
        function, strides, w = "conv2d", repr(stride), "tf.transpose(w, (2, 3, 1, 0))"
        if op == "depthwise_conv2d":
            function, strides = op, repr((1, *stride, 1))
            w = "tf.transpose(tf.reshape(w, (x.shape[1], -1, *w.shape[2:])), (2, 3, 0, 1))"
        x, pads = "tf.transpose(x, (0, 2, 3, 1))", self.own_padding(padding, (), ())
        y = f"tf.nn.{function}({x}, {w}, {strides}, {pads!r}, dilations={dilations})"
        return f"tf.transpose({y if (*args, None)[2] is None else f'tf.nn.bias_add({y}, b)'}, (0, 3, 1, 2))"


_REFUSALS = (
    "Current CPU implementations do not yet support dilation rates larger than 1",
    "Current implementation only supports equal length strides",
    "Gradients for grouped convolutions are not supported on CPU",
    "not supported in conjunction with `dilation_rate > 1`",  # Keras
)


def _rule(message: str) -> str:
    """What is said of all calls alike, so that they count as one: neither the node's name before it nor the values behind.

    >>> _rule("{{function_node __wrapped__X_device_/job:localhost}} No groups on CPU. [Op:X]")
    'No groups on CPU.'
    >>> _rule("All strides must be 1. Received: `strides` (1, 2, 2, 1)")
    'All strides must be 1.'
    """
    message = re.sub(r"^\s*\{\{.*?\}\}", "", message)
    return re.split(r"Received:|Computed |\[Op:", message)[0].strip()


TENSORFLOW = TensorFlow()
