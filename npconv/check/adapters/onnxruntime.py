"""Every operator in ONNX Runtime, on its CPU, as the models of `onnx_models`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from npconv.check.adapters import Unsupported, onnx_models
from npconv.check.adapters.onnx_graphs import Feeds
from npconv.check.adapters.onnx_models import DIRECTIONS, OPERATORS
from npconv.geometry import Array
from npconv.testing.gradients import Tree

__all__ = [
    "DIRECTIONS",
    "NAME",
    "OPERATORS",
    "arithmetic_settings",
    "backward",
    "forward",
    "on_threads",
    "source",
    "version",
]

NAME = "ONNX Runtime"


def version() -> str:
    return str(onnxruntime.__version__)


def arithmetic_settings() -> dict[str, str]:
    return {"providers": "CPUExecutionProvider", "build": str(onnxruntime.get_device())}


_threads = 0  # as many as ONNX Runtime likes


@contextlib.contextmanager
def on_threads(count: int) -> Iterator[None]:
    global _threads
    _threads = count
    try:
        yield
    finally:
        _threads = 0


def forward(op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> Tree:
    return onnx_models.forward(_run, op, args, options)


def backward(op: str, dy: Tree, args: tuple[Tree, ...], options: dict[str, Any]) -> tuple[Tree, ...]:
    return onnx_models.backward(_run, op, dy, args, options)


def source(op: str, options: dict[str, Any], direction: str) -> str:
    run = "results = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)"
    return onnx_models.source(["import onnxruntime", run], op, options, direction)


def _run(model: Any, feeds: Feeds) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads
    options.log_severity_level = 4  # what goes wrong is also the exception's message
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads leave the cores to others
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        return list(session.run(None, feeds))
    except (errors.NotImplemented, errors.InvalidArgument) as error:
        if isinstance(error, errors.InvalidArgument) and "not supported" not in str(error):
            raise
        raise Unsupported(str(error)) from error
