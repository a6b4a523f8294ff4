"""Every operator in OpenVINO, on its CPU plugin, which reads ONNX models as its own."""

from __future__ import annotations

import re
from typing import Any

import openvino

from npconv.check.adapters import Unsupported
from npconv.check.adapters.onnx import Onnx
from npconv.geometry import Array

_RUN = """compiled = openvino.compile_model(openvino.Core().read_model(model.SerializeToString()), "CPU", {})
results = [result.copy() for result in compiled(feeds).to_tuple()]"""


class OpenVINO(Onnx):
    """In float32 by choice: left alone, the plugin takes bfloat16 on processors that multiply it faster."""

    NAME = "OpenVINO"
    VERSION = str(openvino.__version__)
    IMPORTS = ("import openvino",)
    CONFIG = {"INFERENCE_PRECISION_HINT": "f32"}  # noqa: RUF012 (nothing changes it)
    RUN = _RUN.format(CONFIG)

    def arithmetic_settings(self) -> dict[str, str]:
        core = openvino.Core()
        core.set_property("CPU", self.CONFIG)
        precision = core.get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name()
        return {"inference precision": precision, "threads": str(core.get_property("CPU", "INFERENCE_NUM_THREADS"))}

    def run(self, model: Any, feeds: dict[str, Array]) -> list[Array]:
        try:
            read = openvino.Core().read_model(model.SerializeToString())
            compiled = openvino.compile_model(read, "CPU", self.CONFIG)
        except RuntimeError as error:
            refusal = re.search(r"Check '.*' failed at \S+shape_inference\S+", str(error))
            if refusal is None:
                raise
            raise Unsupported(refusal[0]) from error
        results = compiled(feeds)
        return [results[output].copy() for output in compiled.outputs]


class DefaultPrecision(OpenVINO):
    """As it is configured by itself: in bfloat16 on processors that multiply it faster, whatever the arrays are."""

    NAME = "OpenVINO, default precision"
    CONFIG = {}  # noqa: RUF012
    RUN = _RUN.format(CONFIG)


FLOAT32, DEFAULT = OpenVINO(), DefaultPrecision()
