"""Index formulas that can be read, shown as mathematics, and computed: one text is all three.

A formula is written as in every docstring of npconv, ``y[n,o] = sum over c of x[n,c] * w[o,c]``, which is close enough to
Python that Python's own parser reads it, once its sums have been rewritten as calls.
"""

from __future__ import annotations

import ast
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import numpy as np

from npconv.geometry import Array

FUNCTIONS = {"sqrt": math.sqrt, "exp": math.exp, "log": math.log, "abs": abs, "max": max, "min": min}
GREEK = {"alpha": "α", "beta": "β", "gamma": "γ", "dgamma": "dγ", "dbeta": "dβ", "eps": "ε", "xhat": "x̂"}
LONG = 90  # characters: what has more is set smaller
OVER = re.compile(r"\b(sum|max) over\b")


class Formula:
    """``name[indices] = expression``, where the expression may have sums and maxima over indices.

    - ``sum over c, r, s of E`` and ``max over r, s of E`` reach to the end of the text or of their parenthesis. An index has the
      size of the axis that it stands for somewhere by itself, or what ``i < 2`` says.
    - ``sum over p, r with p*stride + r = h of E`` adds up only where the condition holds; conditions are joined by ``and``.
    - An array is 0 outside of its bounds: that is padding.

    Parameters
    ----------
    text : str

    Raises
    ------
    ValueError
        The text is no formula; an index that no array and no ``<`` gives a size.

    Examples
    --------
    >>> matrix_product = Formula("y[n,o] = sum over c of x[n,c] * w[o,c]")
    >>> matrix_product.evaluate(x=np.array([[1.0, 2.0]]), w=np.array([[3.0, 4.0], [5.0, 6.0]]))
    array([[11., 17.]])
    >>> print(matrix_product)
    y[n,o] = sum over c of x[n,c] * w[o,c]
    """

    def __init__(self, text: str) -> None:
        self.text = " ".join(text.split())
        left, equals, right = self.text.partition(" = ")
        try:
            if not equals:
                raise SyntaxError
            self._left = ast.parse(left.strip(), mode="eval").body
            self._right = ast.parse(_calls(right.strip()), mode="eval").body
        except SyntaxError:
            raise ValueError(f"a formula must be like 'y[n] = sum over c of x[n,c]', got {self.text!r}") from None
        target = self._left.value if isinstance(self._left, ast.Subscript) else self._left
        if not isinstance(target, ast.Name):
            raise ValueError(f"a formula must begin with a name or an array's element, got {self.text!r}")
        self.name = target.id

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Formula({self.text!r})"

    def _repr_html_(self) -> str:
        """The formula as MathML, which browsers set without a script or a font of ours."""
        inside = f"{_markup(self._left)}<mo>=</mo>{_markup(self._right)}"
        size = "110%" if len(self.text) < LONG else "90%"
        return (
            f'<div class="npconv-formula" style="overflow-x: auto; padding: .4rem 0; font-size: {size}">'
            f'<math display="block" alttext="{escape(self.text)}"><mrow>{inside}</mrow></math></div>'
        )

    def evaluate(self, shape: Sequence[int] | None = None, **values: Any) -> Array:
        """The result, each number by itself, in float64.

        Parameters
        ----------
        shape : sequence of int, optional
            Of the result; needed where its indices do not stand by themselves on the right.
        **values : array or number
            Whatever the formula names besides its indices.

        Returns
        -------
        array of float64
            Without axes where the formula's left side is a name alone.

        Raises
        ------
        ValueError
            A name has no value, an index no size, or two that differ.
        """
        arrays = {name: _Padded(value) for name, value in values.items() if np.ndim(value)}
        numbers = {name: value for name, value in values.items() if not np.ndim(value)}
        axes = _axes(self._left)
        sizes = self._sizes(axes, shape, arrays, numbers)
        names = [axis if isinstance(axis, str) else f"_{place}" for place, axis in enumerate(axes)]
        ranges = [range(sizes[axis]) if isinstance(axis, str) else range(1) for axis in axes]
        missing = {node.id for node in ast.walk(self._right) if isinstance(node, ast.Name)}
        missing -= {*arrays, *numbers, *sizes, *FUNCTIONS, "_sum", "_max", "_over", *names}
        if missing:
            raise ValueError(f"every name in a formula must have a value, got none for {', '.join(sorted(missing))}")
        body = _Loops(sizes).visit(ast.parse(ast.unparse(self._right), mode="eval").body)
        arguments = ast.arguments(
            posonlyargs=[], args=[ast.arg(name) for name in names], kwonlyargs=[], kw_defaults=[], defaults=[]
        )
        code = compile(ast.fix_missing_locations(ast.Expression(ast.Lambda(arguments, body))), "<formula>", "eval")
        one = eval(code, {"sum": sum, "max": max, "range": range, **FUNCTIONS, **arrays, **numbers})
        results = np.array([one(*index) for index in itertools.product(*ranges)], np.float64)
        return results.reshape([len(along) for along in ranges])

    def _sizes(
        self, axes: list[str | None], shape: Sequence[int] | None, arrays: dict[str, _Padded], numbers: dict[str, Any]
    ) -> dict[str, int]:
        """{index: how many values it has}: what is said with "<" or by the result's shape goes before what arrays say."""
        found: dict[str, int] = {}
        for node in ast.walk(self._right):
            if not (isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in arrays):
                continue
            lengths = arrays[node.value.id].array.shape
            if len(_axes(node)) != len(lengths):
                raise ValueError(f"{ast.unparse(node)} must have {len(lengths)} indices, like the array it is given")
            for axis, length in zip(_axes(node), lengths, strict=True):
                if axis is not None:
                    found[axis] = max(length, found.get(axis, length))  # beyond the shorter one is padding
        said = dict(zip(axes, shape, strict=True)) if shape is not None else {}
        found |= {axis: length for axis, length in said.items() if axis is not None}
        for node in itertools.chain(ast.walk(self._left), ast.walk(self._right)):
            if isinstance(node, ast.Subscript) or (isinstance(node, ast.Call) and _called(node) == "_over"):
                places = node.slice if isinstance(node, ast.Subscript) else ast.Tuple(node.args)
                for name, limit in _limits(places):
                    found[name] = int(eval(compile(ast.Expression(limit), "<formula>", "eval"), dict(numbers)))
        unknown = [axis for axis in [*axes, *_summed(self._right)] if axis is not None and axis not in found]
        if unknown:
            raise ValueError(f"every index of a formula must have a size, got none for {unknown[0]} in {self.text!r}")
        return found


class _Padded:
    """An array that is 0 outside of its bounds."""

    def __init__(self, array: Any) -> None:
        self.array = np.asarray(array)

    def __getitem__(self, index: Any) -> float:
        places = index if isinstance(index, tuple) else (index,)
        inside = all(0 <= place < length for place, length in zip(places, self.array.shape, strict=True))
        return self.array.item(places) if inside else 0.0


class _Loops(ast.NodeTransformer):
    """Sums and maxima as Python's own, over generators."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self._sizes = sizes

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if _called(node) not in ("_sum", "_max"):
            return self.generic_visit(node)
        over, condition, term = node.args
        names = [name for name, _ in _indices(over)]
        tests = [] if isinstance(condition, ast.Constant) else [condition]
        loops = [
            ast.comprehension(
                ast.Name(name, ast.Store()),
                ast.Call(ast.Name("range", ast.Load()), [ast.Constant(self._sizes[name])], []),
                tests if name == names[-1] else [],
                0,
            )
            for name in names
        ]
        function = ast.Name(_called(node)[1:], ast.Load())
        return ast.Call(function, [ast.GeneratorExp(self.visit(term), loops)], [])


def _calls(text: str) -> str:
    """ "sum over c with A = B of E" as ``_sum(_over(c), A == B, E)``, the innermost last."""
    match = OVER.search(text)
    if match is None:
        return text
    end = _end(text, match.end())
    names, of, term = text[match.end() : end].partition(" of ")
    if not of:
        raise SyntaxError
    names, _, condition = names.partition(" with ")
    condition = condition.replace(" = ", " == ") or "None"
    inner = f"_{match.group(1)}(_over({names}), {condition}, {_calls(term)})"
    return text[: match.start()] + inner + _calls(text[end:])


def _end(text: str, begin: int) -> int:
    """Where the parenthesis that holds `begin` closes, or the text ends."""
    depth = 0
    for place in range(begin, len(text)):
        depth += (text[place] in "([") - (text[place] in ")]")
        if depth < 0:
            return place
    return len(text)


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _indices(over: ast.expr) -> Iterator[tuple[str, ast.expr | None]]:
    """(index, its limit or None) of ``_over(c, i < 2)``."""
    for part in over.args if isinstance(over, ast.Call) else []:
        if isinstance(part, ast.Compare) and isinstance(part.left, ast.Name):
            yield part.left.id, part.comparators[0]
        elif isinstance(part, ast.Name):
            yield part.id, None


def _summed(expression: ast.expr) -> Iterator[str]:
    for node in ast.walk(expression):
        if isinstance(node, ast.Call) and _called(node) == "_over":
            yield from (name for name, _ in _indices(node))


def _limits(places: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    for part in places.elts if isinstance(places, ast.Tuple) else [places]:
        if isinstance(part, ast.Compare) and isinstance(part.left, ast.Name):
            yield part.left.id, part.comparators[0]


def _axes(node: ast.expr) -> list[str | None]:
    """For each index of an array's element: its letter, where it stands by itself."""
    if not isinstance(node, ast.Subscript):
        return []
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    letters = [part.left if isinstance(part, ast.Compare) else part for part in parts]
    return [part.id if isinstance(part, ast.Name) else None for part in letters]


# --- as mathematics ------------------------------------------------------------------------------------------------

_OPERATORS: dict[type[ast.AST], tuple[str, int]] = {
    ast.Add: ("+", 1),
    ast.Sub: ("−", 1),
    ast.Mult: ("·", 2),
    ast.Mod: ("mod", 2),
}
_COMPARISONS = {ast.Eq: "=", ast.Lt: "<", ast.LtE: "≤", ast.Gt: ">", ast.GtE: "≥", ast.NotEq: "≠"}


def _markup(node: ast.AST, inside: int = 0) -> str:
    """MathML of an expression; `inside` is how strongly what is around it binds."""
    match node:
        case ast.Name(id=name):
            return _name(name)
        case ast.Constant(value=value):
            return f"<mn>{escape(str(value))}</mn>"
        case ast.Subscript(value=value, slice=places):
            brackets = '<mo stretchy="false">[</mo>', '<mo stretchy="false">]</mo>'
            return f"{_markup(value)}{brackets[0]}{_list(places)}{brackets[1]}"
        case ast.Tuple():
            return _list(node)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return f"<mo>−</mo>{_markup(operand, 2)}"
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return f"<mfrac><mrow>{_markup(left)}</mrow><mrow>{_markup(right)}</mrow></mfrac>"
        case ast.BinOp(left=left, op=ast.FloorDiv(), right=right):
            return "<mo>⌊</mo><mrow>" + _markup(left, 2) + "<mo>/</mo>" + _markup(right, 2) + "</mrow><mo>⌋</mo>"
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return f"<msup><mrow>{_markup(left, 4)}</mrow><mrow>{_markup(right)}</mrow></msup>"
        case ast.BinOp(left=left, op=operator, right=right):
            sign, strength = _OPERATORS[type(operator)]
            text = f"{_markup(left, strength)}<mo>{sign}</mo>{_markup(right, strength + 1)}"
            return _parentheses(text) if strength < inside else text
        case ast.Compare(left=left, ops=[comparison], comparators=[right]):
            return f"{_markup(left)}<mo>{escape(_COMPARISONS[type(comparison)])}</mo>{_markup(right)}"
        case ast.BoolOp(values=values):
            return "<mo>,</mo>".join(_markup(value) for value in values)
        case ast.IfExp(test=test, body=body, orelse=other):
            rows = f"<mtr><mtd>{_markup(body)}</mtd><mtd><mtext>if\N{NO-BREAK SPACE}</mtext>{_markup(test)}</mtd></mtr>"
            rows += f"<mtr><mtd>{_markup(other)}</mtd><mtd><mtext>otherwise</mtext></mtd></mtr>"
            return f'<mo>{{</mo><mtable columnalign="left">{rows}</mtable>'
        case ast.Call(args=[argument]) if _called(node) == "sqrt":
            return f"<msqrt>{_markup(argument)}</msqrt>"
        case ast.Call(args=[over, condition, term]) if _called(node) in ("_sum", "_max"):
            sign = '<mo largeop="true">∑</mo>' if _called(node) == "_sum" else "<mo>max</mo>"
            names = "<mo>,</mo>".join(
                _name(name) + (f"<mo>&lt;</mo>{_markup(limit)}" if limit is not None else "")
                for name, limit in _indices(over)
            )
            lines = [names, *(_markup(one) for one in _conditions(condition))]
            rows = "".join(f"<mtr><mtd>{line}</mtd></mtr>" for line in lines)
            below = f'<mtable rowspacing=".1em">{rows}</mtable>' if len(lines) > 1 else f"<mrow>{names}</mrow>"
            text = f"<munder>{sign}{below}</munder><mspace width='.2em'/>{_markup(term, 2)}"
            return _parentheses(text) if inside else text
        case ast.Call(args=arguments):
            return f"<mi>{_called(node)}</mi><mo>(</mo>{_list(ast.Tuple(arguments))}<mo>)</mo>"
    raise ValueError(f"a formula must be made of numbers, names, elements and sums, got {ast.unparse(node)!r}")


def _parentheses(text: str) -> str:
    stretchy = "true" if "<mfrac>" in text else "false"
    return f'<mo stretchy="{stretchy}">(</mo>{text}<mo stretchy="{stretchy}">)</mo>'


def _conditions(condition: ast.expr) -> list[ast.expr]:
    """What is joined by ``and``, one by one: each gets a line; nothing where there is no condition."""
    if isinstance(condition, ast.Constant):
        return []
    return condition.values if isinstance(condition, ast.BoolOp) else [condition]


def _name(name: str) -> str:
    base, below, index = name.partition("_")
    text = f"<mi>{escape(GREEK.get(base, base))}</mi>"
    return f"<msub>{text}<mi>{escape(index)}</mi></msub>" if below else text


def _list(places: ast.AST) -> str:
    parts = places.elts if isinstance(places, ast.Tuple) else [places]
    return "<mo>,</mo>".join(_markup(part) for part in parts)
