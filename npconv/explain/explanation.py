"""What an explanation is: an operator's formulas, why they hold, and an example in small whole numbers, which it computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from npconv import backends, costs, ops
from npconv.explain.formula import Formula
from npconv.geometry import Array


class Explanation(NamedTuple):
    """One operator, explained.

    Attributes
    ----------
    op : str
        Its name in `npconv`.
    idea : str
        One sentence.
    formulas : sequence of Formula
        In the order in which they can be computed: the result, then what its gradients need, then these.
    derivation : sequence of str
        Where the gradients' formulas come from, in five lines.
    arguments, options : mappings
        The example: what the operator is called with. An array may be in a named tuple.
    dy : array, or named tuple of arrays
        The gradient that the example starts from.
    letters : mapping of str to number
        What the formulas name besides arrays: the stride, the padding before the first pixel.
    cost : str
        The multiply-accumulates by the names of the sizes, as a formula; "" where there are none.
    source : str
        Where the operator was published.

    Examples
    --------
    >>> from npconv.explain import EXPLANATIONS
    >>> print(EXPLANATIONS["relu"].formulas[0])
    y[i] = x[i] if x[i] > 0 else 0
    """

    op: str
    idea: str
    formulas: Sequence[Formula]
    derivation: Sequence[str]
    arguments: Mapping[str, Any]
    options: Mapping[str, Any]
    dy: Any
    letters: Mapping[str, float]
    cost: str
    source: str

    def results(self) -> dict[str, Array]:
        """What npconv's operator and its backward give for the example, by the names that the formulas have for it."""
        positional = list(self.arguments.values())
        with backends.backend("numpy"):
            y = getattr(ops, self.op)(*positional, **self.options)
            gradients = getattr(ops, f"{self.op}_backward")(self.dy, *positional, **self.options)
        result = "loss" if self.op == "softmax_cross_entropy" else "y"
        arrays = [name for name, value in self.arguments.items() if _has_gradient(value)]
        gradients = gradients if type(gradients) is tuple else (gradients,)
        named = dict(_leaves(result, y))
        for name, gradient in zip(arrays, gradients, strict=False):
            named |= {f"d{leaf}": array for leaf, array in _leaves(name, gradient)}
        return named

    def values(self) -> dict[str, Any]:
        """The example's arrays and numbers, by the names that the formulas have for them."""
        arrays = [
            leaf
            for name, value in self.arguments.items()
            if not isinstance(value, int)
            for leaf in _leaves(name, value)
        ]
        return dict(arrays) | dict(_leaves("dy", self.dy)) | dict(self.letters)

    def computed(self) -> Iterator[tuple[Formula, Array]]:
        """Each formula with what it gives for the example, term by term."""
        values, results = self.values(), self.results()
        for formula in self.formulas:
            known = results.get(formula.name)
            value = formula.evaluate(None if known is None else known.shape, **values)
            yield formula, value
            values[formula.name] = value if value.ndim else float(value)

    def macs(self) -> int:
        """The multiply-accumulates that `npconv.costs` counts for the example."""
        return costs.count(_Called(self), (1, 1, 1, 1)).macs


class _Called:
    """An operator that is called with the example's arguments, as a model that `npconv.costs` can count."""

    def __init__(self, told: Explanation) -> None:
        self._told = told

    def eval(self) -> None:
        """Without modes there is nothing to switch."""

    def forward(self, x: Array) -> Any:
        """The operator on the example; there is no other input."""
        return getattr(ops, self._told.op)(*self._told.arguments.values(), **self._told.options)

    def named_params(self) -> list[tuple[str, Array]]:
        """Nothing is learned."""
        return []


def formulas(*texts: str) -> tuple[Formula, ...]:
    """The formulas of these texts."""
    return tuple(map(Formula, texts))


def grid(*numbers: Any, shape: Sequence[int] | None = None) -> Array:
    """Numbers as a float64 array, by default one image of one channel, (1, 1, H, W), whose rows they are."""
    array = np.array(numbers, np.float64)
    return array.reshape(shape) if shape is not None else array.reshape(1, 1, *array.shape)


def _has_gradient(value: Any) -> bool:
    return isinstance(value, tuple) or (isinstance(value, np.ndarray) and value.dtype.kind == "f")


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Array]]:
    """(name, array), or (name_field, array) for each array of a named tuple."""
    if isinstance(value, tuple):
        for field, part in zip(getattr(value, "_fields", ()), value, strict=False):
            if part is not None:
                yield f"{name}_{field}", part
    elif value is not None:
        yield name, value
