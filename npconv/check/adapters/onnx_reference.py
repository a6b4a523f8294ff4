"""Every operator in ONNX's reference evaluator, which is NumPy, as the models of `onnx_models`."""

from __future__ import annotations

from typing import Any

import onnx
from onnx.reference import ReferenceEvaluator

from npconv.check.adapters import onnx_models
from npconv.check.adapters.onnx_graphs import Feeds
from npconv.check.adapters.onnx_models import DIRECTIONS, OPERATORS
from npconv.geometry import Array
from npconv.testing.gradients import Tree

__all__ = ["DIRECTIONS", "NAME", "OPERATORS", "backward", "forward", "source", "version"]

NAME = "ONNX reference"


def version() -> str:
    return str(onnx.__version__)


def forward(op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> Tree:
    return onnx_models.forward(_run, op, args, options)


def backward(op: str, dy: Tree, args: tuple[Tree, ...], options: dict[str, Any]) -> tuple[Tree, ...]:
    return onnx_models.backward(_run, op, dy, args, options)


def source(op: str, options: dict[str, Any], direction: str) -> str:
    lines = ["from onnx.reference import ReferenceEvaluator", "results = ReferenceEvaluator(model).run(None, feeds)"]
    return onnx_models.source(lines, op, options, direction)


def _run(model: Any, feeds: Feeds) -> list[Array]:
    return list(ReferenceEvaluator(model).run(None, feeds))
