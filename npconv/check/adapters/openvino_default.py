"""OpenVINO as it is configured by itself: in bfloat16 on processors that multiply it faster, whatever the arrays are."""

from __future__ import annotations

from typing import Any

from npconv.check.adapters import onnx_models
from npconv.check.adapters.onnx_graphs import Feeds
from npconv.check.adapters.onnx_models import DIRECTIONS, OPERATORS
from npconv.check.adapters.openvino import run, runner, settings, version
from npconv.geometry import Array
from npconv.testing.gradients import Tree

__all__ = ["DIRECTIONS", "NAME", "OPERATORS", "arithmetic_settings", "backward", "forward", "source", "version"]

NAME = "OpenVINO, default precision"


def arithmetic_settings() -> dict[str, str]:
    return settings({})


def forward(op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> Tree:
    return onnx_models.forward(_run, op, args, options)


def backward(op: str, dy: Tree, args: tuple[Tree, ...], options: dict[str, Any]) -> tuple[Tree, ...]:
    return onnx_models.backward(_run, op, dy, args, options)


def source(op: str, options: dict[str, Any], direction: str) -> str:
    return onnx_models.source(runner({}), op, options, direction)


def _run(model: Any, feeds: Feeds) -> list[Array]:
    return run(model, feeds, {})
