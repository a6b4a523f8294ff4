"""Failures as Python programs that stand without npconv: the arrays, the call, and what is wrong with its result."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from npconv.check import arrays, bfloat16, memory
from npconv.check.adapters.definitions import definitions
from npconv.check.case import Case
from npconv.check.comparison import VALUE_KINDS, Failure, origins
from npconv.check.contract import Contract
from npconv.geometry import Array
from npconv.testing import Tree, named_arrays
from npconv.testing.problem import signature

Source: TypeAlias = Callable[[str, tuple[Tree, ...], dict[str, Any], str], str]
"""``source(op, args, options, direction)``: lines of code that make `got` of arrays named as the operator's arguments, and dy.

They find these arrays defined, with `args`, a tuple of all but dy, and `options`, if these words are in them."""

LONGEST_LIST = 256  # numbers: arrays of more are compressed
SHORT_LIST = 24  # numbers that are not 0, in an array of more


def imported(forward: object, backward: object) -> Source:
    """The source of functions that are imported by their names."""

    def source(op: str, args: tuple[Tree, ...], options: dict[str, Any], direction: str) -> str:
        function = forward if direction == "forward" else backward
        module = getattr(function, "__module__", "__main__")
        name = getattr(function, "__qualname__", type(function).__qualname__)
        given = ["dy"] if direction == "backward" else []
        given += [
            parameter.name
            for parameter in signature(op).parameters.values()
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.name not in options
        ]
        contract = Contract.of(function, op, direction) if callable(function) else Contract()
        if contract.arrays is not None:
            given = given[: contract.arrays + (direction == "backward")]
        helpers: list[str] = []
        form = "{}"
        if contract.library is not None:
            helpers, form = arrays.source_lines(contract.library, contract.device, _dtype_of(args)), "given({})"
            given = [form.format(name) for name in given]
        for key, value in options.items():
            text = written(key, value)
            given.append(f"{key}={form.format(text) if isinstance(value, np.ndarray) else text}")
        line = f"from {module} import {name.partition('.')[0]}\n"
        if not all(part.isidentifier() for part in name.split(".")):  # it can be reached by nobody else
            line, name = f"# checked_function is {module}.{name}", "checked_function"
        call = f"{name}({', '.join(given)})"
        return "\n".join([*helpers, line, f"got = taken({call})" if helpers else f"got = {call}"])

    return source


def reproduction(failure: Failure, source: Source) -> str:
    """The program that shows `failure`: the last line prints what is wrong beside what is right."""
    case, direction = failure.case, failure.direction
    adjoint = failure.mode == "adjoint" and failure.kind == "value"
    directions = ("forward", "backward") if adjoint else (direction,)
    written = case.written()
    args = tuple(written[name] for name in case.problem.names)
    calls = [source(case.op, args, case.options, each).strip() for each in directions]
    lines = [
        "import numpy as np",
        "",
        *_array_lines(case, with_dy=direction == "backward"),
        *_option_lines(case, calls),
    ]
    body = _adjoint_lines(failure, *calls) if adjoint else [*_before(failure), calls[0], "", *_verdict(failure)]
    if any("b85decode" in line for line in lines):
        lines.insert(0, "import base64, zlib")
    if case.stored is not None:
        lines.insert(lines.index("import numpy as np") + 1, f"from ml_dtypes import {case.stored}")
    return "\n".join([*lines, "", *body]) + "\n"


# --- what is wrong -----------------------------------------------------------------------------------------------


def _verdict(failure: Failure) -> list[str]:
    said = f"# {failure.message}"
    case, backward = failure.case, failure.direction == "backward"
    as_tuple = ["got = got if isinstance(got, tuple) else (got,)"] if backward and len(case.args) == 1 else []
    expression, like = _results(case, failure.direction).get(failure.argument, ("got", None))
    if failure.kind in VALUE_KINDS:
        place = f"[{', '.join(map(str, failure.index))}]" if failure.index else ""
        return [said, *as_tuple, f'print({expression}{place}, "must be", {number_code(failure.expected)})']
    if failure.kind in ("shape", "dtype") and like is not None:
        right = repr(like.shape) if failure.kind == "shape" else repr(case.given_dtype.name)
        return [said, *as_tuple, f'print({expression}.{failure.kind}, "must be", {right})']
    if failure.kind == "mutation":
        return [said, f'print({_argument(failure)}, "must be", before)']
    return [said]


def _before(failure: Failure) -> list[str]:
    return [f"before = {_argument(failure)}.copy()"] if failure.kind == "mutation" else []


def _argument(failure: Failure) -> str:
    """Where the changed argument is."""
    return next(
        expression
        for name, tree in failure.case.arrays.items()
        for (part, _), expression in zip(named_arrays(tree, name), _expressions(tree, name), strict=True)
        if part == failure.argument
    )


_INNER = """
def inner(a, b):
    if isinstance(a, tuple):
        return sum(inner(*pair) for pair in zip(a, b))
    return 0.0 if a is None else float((a.astype(float) * b).sum())
"""


def _adjoint_lines(failure: Failure, forward: str, backward: str) -> list[str]:
    """Both inner products; the calls are functions, since they may give the arrays' names to something else."""
    case, names = failure.case, list(failure.case.problem.names)
    gradient = failure.argument
    name = gradient.removeprefix("d")
    given = ", ".join(names)
    zeroed = next((each for each in (name, names[0]) if each in origins(case)), None)
    product = "inner(dy, y)"
    args = f"    args = ({given},)"  # of the function, not of the program
    lines = [
        f"def forward({given}):",
        *([args] if "*args" in forward else []),
        *(f"    {line}" for line in forward.splitlines()),
        "    return got",
        "",
        f"def backward(dy, {given}):",
        *([args] if "*args" in backward else []),
        *(f"    {line}" for line in backward.splitlines()),
        f"    return {'got' if len(names) > 1 else 'got if isinstance(got, tuple) else (got,)'}",
        *_INNER.splitlines(),
        "",
        f"# {failure.message}",
        f"y = forward({given})",
    ]
    if zeroed is not None:
        is_tuple = isinstance(case.args[names.index(zeroed)], tuple)
        zero = f"tuple(None if a is None else 0 * a for a in {zeroed})" if is_tuple else f"0 * {zeroed}"
        lines.append(f"y0 = forward({', '.join(zero if each == zeroed else each for each in names)})")
        product = "inner(dy, y0)" if name == "b" else "inner(dy, y) - inner(dy, y0)"
    return [
        *lines,
        f"{gradient} = backward(dy, {given})[{names.index(name)}]",
        f'print({product}, "must equal", inner({gradient}, {name}))',
    ]


def _results(case: Case, direction: str) -> dict[str, tuple[str, Array]]:
    """Of every array of a result, by its name: where it is in `got`, and an array like it."""
    if direction == "forward":
        trees = [("y", case.dy, "got")]
    else:
        rows = enumerate(zip(case.problem.names, case.args, strict=True))
        trees = [(f"d{name}", tree, f"got[{number}]") for number, (name, tree) in rows]
    return {
        name: (expression, array)
        for root, tree, got in trees
        for (name, array), expression in zip(named_arrays(tree, root), _expressions(tree, got), strict=True)
    }


def _expressions(tree: Tree, root: str) -> list[str]:
    """Where each array of `tree` is, if that is called `root`; the parts of a named tuple go by their numbers."""
    if isinstance(tree, tuple):
        return [found for number, leaf in enumerate(tree) for found in _expressions(leaf, f"{root}[{number}]")]
    return [] if tree is None else [root]


# --- what it is given --------------------------------------------------------------------------------------------


def _option_lines(case: Case, calls: list[str]) -> list[str]:
    """The options that are arrays, and the names that the calls use besides."""
    lines = [f"{name} = {_literal(value)}" for name, value in case.options.items() if isinstance(value, np.ndarray)]
    if any("*args" in call for call in calls):
        lines.append(f"args = ({', '.join(case.problem.names)},)")
    if any("**options" in call for call in calls):
        pairs = [f"{name!r}: {written(name, value)}" for name, value in case.options.items()]
        lines.append(f"options = {{{', '.join(pairs)}}}")
    return lines


def written(name: str, value: Any) -> str:
    """An option's value as code: an array goes by the option's name."""
    return name if isinstance(value, np.ndarray) else repr(value)


def _array_lines(case: Case, *, with_dy: bool) -> list[str]:
    """The arguments and dy, written out, and laid out in memory."""
    trees = {name: tree for name, tree in case.written().items() if with_dy or name != "dy"}
    tuples = {type(tree) for tree in trees.values() if hasattr(tree, "_fields")}
    named = [f"{kind.__name__} = namedtuple({kind.__name__!r}, {' '.join(kind._fields)!r})" for kind in tuples]
    imports = ["from collections import namedtuple"] if named else []
    lines = [*imports, *sorted(named)]
    for name, tree in trees.items():
        lines += _tree_lines(name, tree)
    orders = {name: order for name, order in case.orders.items() if name in trees}
    for order in dict.fromkeys(orders.values()):
        lines += ["", definitions(memory.ORDERS[order]), ""]
    return lines + [
        f"{name} = {_laid_out(trees[name], name, memory.ORDERS[order].__name__)}" for name, order in orders.items()
    ]


def _laid_out(tree: Tree, name: str, function: str) -> str:
    """A call of `function` for each array of `tree`."""
    if isinstance(tree, tuple):
        kind = type(tree).__name__ if hasattr(tree, "_fields") else ""
        parts = [_laid_out(leaf, f"{name}[{number}]", function) for number, leaf in enumerate(tree)]
        return f"{kind}({', '.join(parts)}{'' if kind or len(parts) > 1 else ','})"
    return "None" if tree is None else f"{function}({name})"


def _tree_lines(name: str, tree: Tree) -> list[str]:
    """An argument written out: of a large array that is 0 nearly everywhere, the other numbers one by one."""
    if isinstance(tree, np.ndarray) and tree.size > SHORT_LIST:
        others = np.argwhere((tree != 0) | np.isnan(tree))
        if len(others) <= SHORT_LIST:
            zeros = f"{name} = np.zeros({tree.shape}, {_dtype(tree)})"
            rows = (tuple(int(i) for i in row) for row in others)
            return [zeros, *(f"{name}[{', '.join(map(str, row))}] = {_number(tree[row])}" for row in rows)]
    return [f"{name} = {_tree_literal(tree)}"]


def _tree_literal(tree: Tree) -> str:
    if isinstance(tree, tuple):
        kind = type(tree).__name__ if hasattr(tree, "_fields") else ""
        return f"{kind}({', '.join(map(_tree_literal, tree))}{'' if kind or len(tree) > 1 else ','})"
    return "None" if tree is None else _literal(tree)


def _literal(array: Array) -> str:
    """The array as code: shortest decimals that give the same numbers."""
    dtype = _dtype(array)
    if array.size > LONGEST_LIST:
        packed = base64.b85encode(zlib.compress(array.tobytes(), 9)).decode()
        memory = f"zlib.decompress(base64.b85decode({packed!r}))"
        return f"np.frombuffer({memory}, {dtype}).reshape({array.shape}).copy()"
    if not array.size:
        return f"np.zeros({array.shape}, {dtype})"
    for value, function in ((0, "zeros"), (1, "ones")):
        if (array == value).all() and not np.signbit(array).any():
            return f"np.{function}({array.shape}, {dtype})"
    numbers = [_number(number) for number in array.ravel()]
    flat = f"np.array([{', '.join(numbers)}], {dtype})"
    return flat if array.ndim == 1 else f"{flat}.reshape({array.shape})"


def _dtype_of(args: tuple[Tree, ...]) -> np.dtype[Any]:
    return next((array.dtype for _, array in named_arrays(args)), np.dtype(np.float32))


def _dtype(array: Array) -> str:
    return array.dtype.name if array.dtype.name == bfloat16.NAME else f"np.{array.dtype.name}"


def number_code(number: Any) -> str:
    """A number as the shortest code that gives it again, what is no number of Python included."""
    return str(number) if np.isfinite(number) else f"np.{number}".replace("np.-inf", "-np.inf")


def _number(number: Any) -> str:
    return number_code(number).removesuffix(".0")
