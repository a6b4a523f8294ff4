"""ONNX Runtime on its CPU provider: forward only, for it has no gradients.

The kernels are initializers, as in any exported model: the runtime may repack them once, before the clock starts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from npconv.bench.cases import Arrays, Case, Direction
from npconv.bench.peers import Peer, Work
from npconv.geometry import Array

OPSET = 18


class OnnxRuntime(Peer):
    """A graph for each case; its edges are names."""

    def __init__(self, threads: int) -> None:
        import onnx
        import onnxruntime

        self.onnx: Any = onnx
        self.runtime: Any = onnxruntime
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.inter_op_num_threads = 1
        # the pool's threads spin between runs, into the turn of the next framework; while one runs they may
        self.options.add_session_config_entry("session.force_spinning_stop", "1")
        self.x_shape: tuple[int, ...] = ()
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def work(self, case: Case, direction: Direction, arrays: Arrays) -> Work:
        if direction != "forward":
            raise NotImplementedError("ONNX Runtime has no gradients")
        self.nodes, self.constants, self.x_shape = [], [], arrays.x[0].shape
        inputs = {f"x{place}": array for place, array in enumerate(arrays.x)}
        weights = tuple(self.constant(array) for array in arrays.w)
        outputs = self.forward(case, tuple(inputs), weights)
        model = self._model(inputs, outputs)
        session = self.runtime.InferenceSession(model, self.options, providers=["CPUExecutionProvider"])
        return Work(lambda: session.run(list(outputs), inputs), list)

    def _model(self, inputs: dict[str, Array], outputs: tuple[str, ...]) -> bytes:
        helper = self.onnx.helper
        element = helper.np_dtype_to_tensor_dtype(next(iter(inputs.values())).dtype)
        graph = helper.make_graph(
            self.nodes,
            "case",
            [helper.make_tensor_value_info(name, element, array.shape) for name, array in inputs.items()],
            [helper.make_tensor_value_info(name, element, [None] * 4) for name in outputs],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
        serialized: bytes = model.SerializeToString()
        return serialized

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node to the graph; the name of its output."""
        name = f"edge{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, array: Array) -> str:
        """Add an initializer to the graph; its name."""
        name = f"constant{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def convolution(self, x: Any, w: Any, *, kernel: int, stride: int, padding: int, groups: int) -> str:
        sizes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [padding] * 4}
        return self.node("Conv", x, w, group=groups, **sizes)

    def pool(self, x: Any) -> str:
        return self.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])

    def upsample(self, x: Any) -> str:
        scales = self.constant(np.array([1, 1, 2, 2], np.float32))
        return self.node(
            "Resize", x, "", scales, mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric"
        )

    def add(self, a: Any, b: Any) -> str:
        return self.node("Add", a, b)

    def concatenate(self, a: Any, b: Any) -> str:
        return self.node("Concat", a, b, axis=1)

    def shuffle(self, x: Any, groups: int, channels: int) -> str:
        split = self.constant(np.array([0, groups, channels // groups, -1], np.int64))
        joined = self.constant(np.array(self.x_shape, np.int64))
        dealt = self.node("Transpose", self.node("Reshape", x, split), perm=[0, 2, 1, 3])
        return self.node("Reshape", dealt, joined)
