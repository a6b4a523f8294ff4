"""tinygrad: its own operators on tensors, gradients by `Tensor.gradient`.

tinygrad compiles what it runs, for which it calls clang, or what CC names. Where it finds no device that it can compile
for, it is left with its device PYTHON, which interprets the same programs, slowly, on Python's numbers.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from tinygrad import Device, Tensor
from tinygrad.helpers import DEV, PARALLEL

from npconv.check.adapters.definitions import call
from npconv.check.adapters.framework import Framework, Outputs
from npconv.check.adapters.padding import Pair, pair, sides
from npconv.testing.gradients import Array, Tree

try:
    Device.DEFAULT  # noqa: B018 - the first look at it searches for a device that works
except RuntimeError:  # none does: set here, for the variable of the environment was read when tinygrad was imported
    DEV.value = "PYTHON"
PARALLEL.value = 0  # its pool of compiling processes is slower for one operator, and hangs where one of them fails


class Tinygrad(Framework):
    NAME = "tinygrad"
    VERSION = importlib.metadata.version("tinygrad")
    ERRORS, REFUSALS = (AssertionError,), ("kernel size cannot be greater than actual input size",)
    IMPORTS = (
        "from tinygrad import Device, Tensor",
        "def array(tensor): return np.asarray(tensor.clone(Device.DEFAULT).numpy())  # a constant has no device",
    )
    TENSOR, ARRAY = "Tensor({})", "array({})"

    def convolution(
        self, x: Tensor, w: Tensor, b: Tensor | None, stride: Pair, padding: Any, dilation: Pair, groups: int
    ) -> Tensor:
        rows, columns = sides(padding, x.shape[2:], w.shape[2:], stride, dilation)
        return x.conv2d(w, b, groups, stride, dilation, (*columns, *rows))

    def concatenate(self, maps: list[Tensor]) -> Tensor:
        return maps[0].cat(*maps[1:], dim=1)

    def transpose(self, x: Tensor, axes: tuple[int, ...]) -> Tensor:
        return x.permute(axes)

    def average_pool(
        self, x: Tensor, kernel: Pair, stride: Pair, padding: Any, ceil_mode: bool, count_include_pad: bool
    ) -> Tensor:
        rows, columns = sides(padding, x.shape[2:], kernel, stride)
        return x.avg_pool2d(kernel, stride, 1, (*columns, *rows), ceil_mode, count_include_pad)

    def max_pool(self, x: Tensor, kernel: Pair, stride: Pair, padding: Any, ceil_mode: bool) -> Tensor:
        rows, columns = sides(padding, x.shape[2:], kernel, stride)
        return x.max_pool2d(kernel, stride, 1, (*columns, *rows), ceil_mode)

    def global_avg_pool2d(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)

    def repeat(self, x: Tensor, scale: Pair) -> Tensor:
        return x.interpolate((x.shape[2] * scale[0], x.shape[3] * scale[1]), mode="nearest")

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = x.mean((0, 2, 3))
        return mean, (x - mean.reshape(1, -1, 1, 1)).square().mean((0, 2, 3))

    def normalise(self, x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
        return x.batchnorm(gamma, beta, mean, (var + eps).rsqrt())

    def relu(self, x: Tensor) -> Tensor:
        return x.relu()

    def relu6(self, x: Tensor) -> Tensor:
        return x.relu6()

    def hard_sigmoid(self, x: Tensor) -> Tensor:
        return x.hardsigmoid()

    def hard_swish(self, x: Tensor) -> Tensor:
        return x.hardswish()

    def linear(self, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        return x.linear(w.T, b)

    def softmax_cross_entropy(self, logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        return logits.sparse_categorical_crossentropy(labels, label_smoothing=label_smoothing)

    # --- the adapter ---------------------------------------------------------------------------------------------

    def arithmetic_settings(self) -> dict[str, str]:
        return {"device": str(Device.DEFAULT), "Winograd": "on" if os.environ.get("WINO", "0") != "0" else "off"}

    def tensor(self, array: Array) -> Tensor:
        return Tensor(np.ascontiguousarray(array).reshape(array.shape))  # the first makes an axis where there is none

    def array(self, tensor: Tensor) -> Array:
        """A constant has no device yet, and tinygrad would take the CPU, with a compiler or not."""
        return np.asarray(tensor.clone(Device.DEFAULT).numpy())

    def gradients(self, outputs: Outputs, tensors: list[Tensor], dys: list[Tensor]) -> Iterable[Tensor]:
        y = outputs(*tensors)
        if len(y) == 1:
            found = y[0].gradient(*tensors, gradient=dys[0])
        else:
            found = sum((a * d).sum() for a, d in zip(y, dys, strict=True)).gradient(*tensors)
        Tensor.realize(*found)
        return found

    def gradient_lines(self, y: str, dy: str) -> list[str]:
        if dy.startswith("["):
            return [f"gradients = iter(sum((a * d).sum() for a, d in zip({y}, {dy})).gradient(*tensors))"]
        return [f"gradients = iter({y}.gradient(*tensors, gradient={dy}))"]

    def short(self, op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> str | None:
        padding = options.get("padding", 0)
        if op not in ("conv2d", "depthwise_conv2d", "pointwise_conv2d") or padding in ("same", "same_lower"):
            return None
        rows, columns = sides(padding, (), ())
        keywords = {
            "stride": pair(options.get("stride", 1)),
            "dilation": pair(options.get("dilation", 1)),
            "padding": (*columns, *rows),
        }
        groups = "x.shape[1]" if op == "depthwise_conv2d" else options.get("groups", 1)
        defaults = {"stride": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0)}
        return call("x.conv2d", ("w", "b", f"groups={groups}"), keywords, defaults)


TINYGRAD = Tinygrad()
