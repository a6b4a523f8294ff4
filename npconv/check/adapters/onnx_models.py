"""ONNX models of single calls, run by whatever runs ONNX: what its adapters have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import helper

from npconv.check.adapters import Unsupported
from npconv.check.adapters.definitions import arguments, call, definitions
from npconv.check.adapters.onnx_graphs import BACKWARD, FORWARD, Feeds, Nodes, window
from npconv.check.adapters.padding import pair, sides
from npconv.geometry import Array
from npconv.testing.gradients import Tree

OPERATORS = tuple(FORWARD)
DIRECTIONS = {op: ("forward", "backward") if op in BACKWARD else ("forward",) for op in OPERATORS}


def forward(run: Callable[[Any, Feeds], list[Array]], op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> Tree:
    """y, by `run`, which runs a model on its feeds."""
    feeds = feeds_of(op, args, options)
    if options.get("ceil_mode"):
        _check_pool(args[0].shape[2:], options)
    nodes: Nodes = []
    y = FORWARD[op](nodes, feeds, **plain(options))
    results = _results(run, nodes, feeds, y if isinstance(y, tuple) else (y,))
    return results if isinstance(y, tuple) else results[0]


def backward(
    run: Callable[[Any, Feeds], list[Array]], op: str, dy: Tree, args: tuple[Tree, ...], options: dict[str, Any]
) -> tuple[Tree, ...]:
    """The gradients, by `run`."""
    if op not in BACKWARD:
        raise Unsupported(f"ONNX has no gradients, nor operators that are those of {op}")
    feeds = feeds_of(op, args, options) | {"dy": dy}
    nodes: Nodes = []
    gradients = _results(run, nodes, feeds, BACKWARD[op](nodes, feeds, **plain(options)))
    return gradients + (None,) * (len(args) - len(gradients))


def source(runner: list[str], op: str, options: dict[str, Any], direction: str) -> str:
    """`runner` are the lines that import what runs models, and the one that makes `results` of `model` and `feeds`."""
    *imports, run = runner
    functions = FORWARD if direction == "forward" else BACKWARD
    names = [*arguments(op), *(name for name, value in options.items() if isinstance(value, np.ndarray))]
    feeds = f"{{{', '.join(f'{name!r}: {name}' for name in names)}}}"
    if op.startswith("octave"):
        feeds = f"dict(zip({OCTAVE_NAMES}, (*x, *w, *(b or (None, None)))))"
    lines = [
        *imports,
        "import onnx",
        "from onnx import helper",
        f"feeds = {{name: a for name, a in {feeds}.items() if a is not None}}",
    ]
    if direction == "forward" and op in ("conv2d", "depthwise_conv2d", "pointwise_conv2d"):
        attributes = window(options.get("padding", 0), options.get("stride", 1)) | {
            "dilations": pair(options.get("dilation", 1))
        }
        groups = "x.shape[1]" if op == "depthwise_conv2d" else options.get("groups", 1)
        keywords = ", ".join(f"{name}={value!r}" for name, value in attributes.items())
        lines += [f'nodes, y = [helper.make_node("Conv", list(feeds), ["y"], {keywords}, group={groups})], ("y",)']
    else:
        function = functions[op]
        y = call(function.__name__, ("nodes", "feeds"), plain(options))
        lines += [definitions(function), "nodes = []", f"y = {y}"]
        if direction == "backward":
            lines.insert(-3, "feeds['dy'] = dy")
        elif not op.startswith("octave"):
            lines.append("y = (y,)")
    lines += [definitions(model), "model = model(nodes, feeds, [name for name in y if name is not None])"]
    if direction == "backward":
        lines.append("feeds = {value.name: feeds[value.name] for value in model.graph.input}")  # b is not read
    lines.append(run)
    if direction == "backward":
        lines.append(f"got = (*results, *(None for _ in range({len(arguments(op))} - len(results))))")
    elif op.startswith("octave"):
        lines += ["results = iter(results)", "got = tuple(None if name is None else next(results) for name in y)"]
    else:
        lines.append("got = results[0]")
    return "\n".join(lines)


OCTAVE_NAMES = ("x_high", "x_low", "hh", "hl", "lh", "ll", "b_high", "b_low")


def feeds_of(op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> Feeds:
    """The arrays of a call by their names, without those that are None."""
    if op.startswith("octave"):
        x, w, b = (*args, None)[:3]
        named = zip(OCTAVE_NAMES, (*x, *w, *(b or (None, None))), strict=True)
    else:
        named = zip(arguments(op), args, strict=False)  # trailing arguments may be left out
    arrays = {name: value for name, value in options.items() if isinstance(value, np.ndarray)}
    return {name: array for name, array in named if array is not None} | arrays


def plain(options: dict[str, Any]) -> dict[str, Any]:
    """The options without arrays, which are fed."""
    return {name: value for name, value in options.items() if not isinstance(value, np.ndarray)}


def model(nodes: Nodes, feeds: Feeds, outputs: list[str], operator_set: int = 18, ir_version: int = 8) -> Any:
    """The model of these nodes; its outputs have the dtype of the first array, and the shape that they get."""
    read = {name for node in nodes for name in node.input}
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for name, a in feeds.items()
        if name in read
    ]
    element = inputs[0].type.tensor_type.elem_type
    results = [helper.make_tensor_value_info(name, element, None) for name in outputs]
    graph = helper.make_graph(nodes, "check", inputs, results)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", operator_set)], ir_version=ir_version)


def _check_pool(size: tuple[int, ...], options: dict[str, Any]) -> None:
    """ONNX counts ceil((padded size - kernel) / stride) + 1 windows in ceil mode, which can be none."""
    padding, kernel = options.get("padding", 0), pair(options["kernel"])
    if padding in ("same", "same_lower"):
        return
    strides = kernel if options.get("stride") is None else pair(options["stride"])
    for length, k, step, (low, high) in zip(size, kernel, strides, sides(padding, (), ()), strict=True):
        if (low + length + high - k) // -step >= 1:
            raise Unsupported(f"ONNX counts no window of {k} on {low} + {length} + {high} pixels at stride {step}")


def _results(
    run: Callable[[Any, Feeds], list[Array]], nodes: Nodes, feeds: Feeds, names: tuple[str | None, ...]
) -> tuple[Array | None, ...]:
    proto = model(nodes, feeds, [name for name in names if name is not None])
    values = iter(run(proto, {value.name: feeds[value.name] for value in proto.graph.input}))
    return tuple(None if name is None else next(values) for name in names)
