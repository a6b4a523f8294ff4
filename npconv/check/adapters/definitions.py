"""An adapter's own functions as text, for reproductions: with all that they call, and without hints and docstrings."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "conv2d": ("x", "w", "b"),
    "depthwise_conv2d": ("x", "w", "b"),
    "pointwise_conv2d": ("x", "w", "b"),
    "separable_conv2d": ("x", "w_depthwise", "w_pointwise", "b"),
    "octave_conv2d": ("x", "w", "b"),
    "octave_depthwise_conv2d": ("x", "w", "b"),
    "ghost_conv2d": ("x", "w_primary", "w_cheap"),
    "batch_norm2d": ("x", "gamma", "beta", "mean", "var"),
    "linear": ("x", "w", "b"),
    "softmax_cross_entropy": ("logits",),
}
"""The names of an operator's array arguments, in order, where they are more than x."""


def arguments(op: str) -> tuple[str, ...]:
    """The names of the arrays that the lines of `op` find defined, those that are None included."""
    return ARGUMENTS.get(op, ("x",))


def listed(names: tuple[str, ...]) -> str:
    """The names as the left side of an assignment from a tuple: of a single one, too.

    >>> listed(("x",)), listed(("x", "w"))
    ('x,', 'x, w')
    """
    return f"{names[0]}," if len(names) == 1 else ", ".join(names)


def call(function: str, names: tuple[str, ...], options: Mapping[str, Any], defaults: Mapping[str, Any] = {}) -> str:
    """``function(*names, **options)`` as text, without the options that have their default; arrays go by their name.

    >>> call("conv2d", ("x", "w"), {"stride": 2, "groups": 1}, {"groups": 1})
    'conv2d(x, w, stride=2)'
    """
    keywords = [
        f"{name}={name if isinstance(value, np.ndarray) else repr(value)}"
        for name, value in options.items()
        if isinstance(value, np.ndarray) or name not in defaults or value != defaults[name]
    ]
    return f"{function}({', '.join([*names, *keywords])})"


def definitions(function: Callable[..., Any]) -> str:
    """The source of `function` after that of all that it calls here, without hints and docstrings.

    A method of an adapter becomes a function: its ``self`` goes, what it calls of that is a function too, and what else it
    reads of it a constant.
    """
    found: dict[str, str] = {}

    def visit(function: Callable[..., Any]) -> None:
        owner, plain = getattr(function, "__self__", None), inspect.unwrap(function)
        tree = ast.parse(textwrap.dedent(inspect.getsource(plain)))
        for node in ast.walk(tree):
            called = plain.__globals__.get(node.id) if isinstance(node, ast.Name) else _of_self(owner, node)
            here = inspect.ismethod(called) or (
                inspect.isfunction(called) and called.__module__.startswith(__package__)
            )
            if here and called.__name__ not in (*found, function.__name__):
                visit(called)
        found[function.__name__] = ast.unparse(_Bare(owner).visit(tree))

    visit(function)
    return "\n\n".join(found.values())


def _of_self(owner: object, node: ast.AST) -> Any:
    """What ``self.name`` is of `owner`; None for any other expression."""
    if owner is None or not isinstance(node, ast.Attribute) or ast.unparse(node.value) != "self":
        return None
    return getattr(owner, node.attr)


class _Bare(ast.NodeTransformer):
    """Removes annotations, docstrings and ``self``."""

    def __init__(self, owner: object) -> None:
        self._owner = owner

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        node.returns = None
        node.args.args = [arg for arg in node.args.args if arg.arg != "self"]
        if ast.get_docstring(node) is not None:
            del node.body[0]
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        own = _of_self(self._owner, node)
        if own is None:
            return node
        return ast.Name(node.attr) if callable(own) else ast.Constant(own)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt | None:
        self.generic_visit(node)
        if node.value is None:
            return None
        return ast.copy_location(ast.Assign([node.target], node.value), node)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node
