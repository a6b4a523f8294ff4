"""TensorFlow as a `tf.function`, in NHWC, the only layout that its CPU kernels have.

The arrays are brought into that layout before the clock starts. A backward is a function of x, w and dy that holds the
forward and its gradients; what of the forward no gradient needs is pruned from the graph.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from npconv.bench.cases import Arrays, Case, Direction
from npconv.bench.peers import Peer, Work
from npconv.geometry import Array


class TensorFlow(Peer):
    """Maps NHWC, kernels HWIO, or HWCM where a convolution is depthwise."""

    def __init__(self, threads: int) -> None:
        import tensorflow as tf

        self.tf: Any = tf
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)

    def work(self, case: Case, direction: Direction, arrays: Arrays) -> Work:
        tf = self.tf
        x, w, dy = (
            tuple(tf.constant(np.ascontiguousarray(array.transpose(axes))) for array in group)
            for group, axes in zip(arrays, ((0, 2, 3, 1), (2, 3, 1, 0), (0, 2, 3, 1)), strict=True)
        )

        def forward(x: Any, w: Any) -> Any:
            return self.forward(case, x, w)

        def gradients(x: Any, w: Any, dy: Any) -> Any:
            wanted = (x if direction != "weight_grad" else ()) + (w if direction != "input_grad" else ())
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(wanted)
                y = self.forward(case, x, w)
            return tape.gradient(y, wanted, output_gradients=dy)

        maps = 0 if direction == "weight_grad" else len(x)

        def to_numpy(values: Any) -> list[Array]:
            made = [value.numpy() for value in values]
            count = len(made) if direction == "forward" else maps
            return [a.transpose(0, 3, 1, 2) for a in made[:count]] + [a.transpose(3, 2, 0, 1) for a in made[count:]]

        compiled = tf.function(forward if direction == "forward" else gradients, jit_compile=False)
        inputs = (x, w) if direction == "forward" else (x, w, dy)
        try:
            compiled(*inputs)
        except tf.errors.OpError as error:  # its reason stands between the place in the code and that in the graph
            *_, reason = (line for line in error.message.splitlines() if line and "[[" not in line)
            raise NotImplementedError(reason.partition(". ")[0]) from error
        return Work(lambda: compiled(*inputs), to_numpy)

    def convolution(self, x: Any, w: Any, *, kernel: int, stride: int, padding: int, groups: int) -> Any:
        pads = [[0, 0], [padding, padding], [padding, padding], [0, 0]]
        if groups > 1 and w.shape[2] == 1:  # OIHW became HWIO: a depthwise kernel is (kh, kw, 1, C)
            w = self.tf.transpose(w, (0, 1, 3, 2))
            return self.tf.nn.depthwise_conv2d(x, w, [1, stride, stride, 1], pads)
        return self.tf.nn.conv2d(x, w, stride, pads)  # the kernel's channels say how many groups there are

    def pool(self, x: Any) -> Any:
        return self.tf.nn.avg_pool2d(x, 2, 2, "VALID")

    def upsample(self, x: Any) -> Any:
        return self.tf.repeat(self.tf.repeat(x, 2, axis=1), 2, axis=2)

    def add(self, a: Any, b: Any) -> Any:
        return a + b

    def concatenate(self, a: Any, b: Any) -> Any:
        return self.tf.concat([a, b], axis=3)

    def shuffle(self, x: Any, groups: int, channels: int) -> Any:
        batch, height, width, _ = x.shape
        split = self.tf.reshape(x, (batch, height, width, groups, channels // groups))
        dealt = self.tf.transpose(split, (0, 1, 2, 4, 3))
        return self.tf.reshape(dealt, x.shape)
