"""Every operator in OpenVINO, on its CPU plugin, as the models of `onnx_models`, which OpenVINO reads as its own.

In float32 by choice: left alone, the plugin takes bfloat16 on processors that multiply it faster. `openvino_default` is
that.
"""

from __future__ import annotations

import re
from typing import Any

import openvino

from npconv.check.adapters import Unsupported, onnx_models
from npconv.check.adapters.onnx_graphs import Feeds
from npconv.check.adapters.onnx_models import DIRECTIONS, OPERATORS
from npconv.geometry import Array
from npconv.testing.gradients import Tree

__all__ = ["DIRECTIONS", "NAME", "OPERATORS", "arithmetic_settings", "backward", "forward", "source", "version"]

NAME = "OpenVINO"
CONFIG = {"INFERENCE_PRECISION_HINT": "f32"}


def version() -> str:
    return str(openvino.__version__)


def arithmetic_settings() -> dict[str, str]:
    return settings(CONFIG)


def forward(op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> Tree:
    return onnx_models.forward(_run, op, args, options)


def backward(op: str, dy: Tree, args: tuple[Tree, ...], options: dict[str, Any]) -> tuple[Tree, ...]:
    return onnx_models.backward(_run, op, dy, args, options)


def source(op: str, options: dict[str, Any], direction: str) -> str:
    return onnx_models.source(runner(CONFIG), op, options, direction)


def _run(model: Any, feeds: Feeds) -> list[Array]:
    return run(model, feeds, CONFIG)


def run(model: Any, feeds: Feeds, config: dict[str, str]) -> list[Array]:
    """The results of an ONNX model under a configuration of the CPU plugin."""
    try:
        compiled = openvino.compile_model(openvino.Core().read_model(model.SerializeToString()), "CPU", config)
    except RuntimeError as error:
        refusal = re.search(r"Check '.*' failed at \S+shape_inference\S+", str(error))
        if refusal is None:
            raise
        raise Unsupported(refusal[0]) from error
    results = compiled(feeds)
    return [results[output].copy() for output in compiled.outputs]


def runner(config: dict[str, str]) -> list[str]:
    """`run` as the lines of a reproduction."""
    return [
        "import openvino",
        f'compiled = openvino.compile_model(openvino.Core().read_model(model.SerializeToString()), "CPU", {config})\n'
        "results = [result.copy() for result in compiled(feeds).to_tuple()]",
    ]


def settings(config: dict[str, str]) -> dict[str, str]:
    """What the CPU plugin makes of a configuration."""
    core = openvino.Core()
    core.set_property("CPU", config)
    precision = core.get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name()
    return {"inference precision": precision, "threads": str(core.get_property("CPU", "INFERENCE_NUM_THREADS"))}
