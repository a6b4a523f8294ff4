"""Every operator in ONNX Runtime, on its CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from npconv.check.adapters import Unsupported
from npconv.check.adapters.onnx import Onnx
from npconv.geometry import Array


class OnnxRuntime(Onnx):
    NAME = "ONNX Runtime"
    VERSION = str(onnxruntime.__version__)
    IMPORTS = ("import onnxruntime",)
    RUN = "results = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)"
    threads = 0  # as many as ONNX Runtime likes

    def arithmetic_settings(self) -> dict[str, str]:
        return {"providers": "CPUExecutionProvider", "build": str(onnxruntime.get_device())}

    @contextlib.contextmanager
    def on_threads(self, count: int) -> Iterator[None]:
        self.threads = count
        try:
            yield
        finally:
            self.threads = 0

    def run(self, model: Any, feeds: dict[str, Array]) -> list[Array]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 4  # what goes wrong is also the exception's message
        options.add_session_config_entry(
            "session.intra_op.allow_spinning", "0"
        )  # idle threads leave the cores to others
        try:
            session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
            return list(session.run(None, feeds))
        except (errors.NotImplemented, errors.InvalidArgument) as error:
            if isinstance(error, errors.InvalidArgument) and "not supported" not in str(error):
                raise
            raise Unsupported(str(error)) from error


RUNTIME = OnnxRuntime()
