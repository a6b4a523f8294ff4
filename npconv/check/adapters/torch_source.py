"""Calls of the PyTorch adapter's functions as text, for reproductions: without it, and as short as PyTorch allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npconv.check.adapters.definitions import arguments, call, definitions, listed
from npconv.check.adapters.padding import pair, sides

_ORDERED = """
def ordered(a):
    tensor = torch.tensor(a)
    return tensor.to(memory_format=torch.channels_last) if a.ndim == 4 else tensor
"""


def lines_of(
    function: Callable[..., Any],
    options: dict[str, Any],
    direction: str,
    *,
    device: str = "cpu",
    compiled: bool = False,
    channels_last: bool = False,
) -> str:
    """The lines that call `function` of the adapter, on tensors of arrays named as its arguments."""
    op = function.__name__
    y, functions = _expression(function, options, compiled)
    names = listed(arguments(op))
    backwards = direction == "backward"
    tensor = f"torch.tensor(a{', requires_grad=True' if backwards else ''})"
    lines = ["import torch", "from torch.nn import functional", *functions]
    if device != "cpu":
        lines += [f"torch.set_default_device({device!r})"]
    if channels_last:
        lines += _ORDERED.splitlines()
        tensor = f"ordered(a){'.requires_grad_()' if backwards else ''}"
    lines += ["", *_source_lines(op, options, y, names, tensor, backwards)]
    return "\n".join(lines if device == "cpu" else [line.replace(".numpy()", ".cpu().numpy()") for line in lines])


def _source_lines(op: str, options: dict[str, Any], y: str, names: str, tensor: str, backwards: bool) -> list[str]:
    """The call itself: `tensor` makes one of an array a."""
    lines: list[str] = []
    if op.startswith("octave"):
        lines += [
            "def each(f, a):",
            "    return tuple(each(f, leaf) for leaf in a) if isinstance(a, tuple) else None if a is None else f(a)",
            "",
            f"{names} = each(lambda a: {tensor}, ({names}))",
        ]
        if backwards:
            lines += [
                f"pairs = [(a, torch.tensor(d)) for a, d in zip({y}, dy) if a is not None]",
                "torch.autograd.backward(*zip(*pairs))",
                f"got = each(lambda a: a.grad.numpy(), ({names}))",
            ]
        else:
            lines += [f"got = each(lambda a: a.numpy(), {y})"]
        return lines
    lines += [f"{names} = (None if a is None else {tensor} for a in ({names}))"]
    lines += [f"{name} = torch.tensor({name})" for name, value in options.items() if isinstance(value, np.ndarray)]
    if backwards:
        lines += [f"{y}.backward(torch.tensor(dy))"]
        lines += [f"got = tuple(None if a is None else a.grad.numpy() for a in ({names}))"]
    else:
        lines += [f"got = {y}.numpy()"]
    return lines


def _expression(checked: Callable[..., Any], options: dict[str, Any], compiled: bool) -> tuple[str, list[str]]:
    """y as an expression, and the definitions that it needs: none where PyTorch has a function for just that."""
    op = checked.__name__
    padding = options.get("padding", 0)
    if not compiled and padding not in ("same", "same_lower"):
        rows, columns = sides(padding, (), ())
        symmetric = rows[0] == rows[1] and columns[0] == columns[1]
        if op in ("conv2d", "depthwise_conv2d"):
            x = "x" if symmetric else f"functional.pad(x, {(*columns, *rows)})"
            numbers = {"padding": (rows[0], columns[0]) if symmetric else 0}
            groups = ("groups=x.shape[1]",) if op == "depthwise_conv2d" else ()
            defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
            return call("functional.conv2d", (x, "w", "b", *groups), options | numbers, defaults), []
        kernel = pair(options.get("kernel", 1))
        by_itself = symmetric and all(2 * pads[0] <= k for pads, k in zip((rows, columns), kernel, strict=True))
        if op in ("avg_pool2d", "max_pool2d") and by_itself and not options.get("ceil_mode"):
            keywords = {"kernel_size": kernel, "stride": options.get("stride"), "padding": (rows[0], columns[0])}
            if op == "avg_pool2d":  # PyTorch's default is True
                keywords["count_include_pad"] = options.get("count_include_pad", False)
            return call(f"functional.{op}", ("x",), keywords, {"stride": None, "padding": (0, 0)}), []
    function = f"torch.compile({op}, fullgraph=True)" if compiled else op
    return call(function, arguments(op), options), ["", definitions(checked), ""]
