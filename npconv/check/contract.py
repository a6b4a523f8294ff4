"""What a checked function is called with: only what it has parameters for, and padding in the form that it takes.

A forward is called as ``forward(*arrays, **options)`` and a backward as ``backward(dy, *arrays, **options)``, with the arrays
in the order of ``npconv.<op>`` and its options by name. A function that lacks the parameter of an option, or the last arrays,
is asked for nothing that needs them. Padding comes as ((top, bottom), (left, right)), unless the function says that it takes
words such as "same": by an attribute ``takes_padding_words = True``, or by a word as the default of its parameter `padding`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from npconv.check.adapters.definitions import arguments
from npconv.check.arrays import device_of, library_of
from npconv.check.case import Case
from npconv.geometry import explicit_padding, pair
from npconv.testing.problem import signature

PARAMETERS = {"memory of b": "b", "memory of w_cheap": "w_cheap", "cut": "out_channels", "crop": "size"}
"""The parameters of features that go by another name."""

FIXED = ("stride", "padding", "dilation", "groups", "ceil_mode", "count_include_pad", "label_smoothing", *PARAMETERS)
"""The features that have a value without a parameter: the smallest."""


class Contract(NamedTuple):
    """What a function has parameters for.

    Attributes
    ----------
    arrays : int or None
        How many of the operator's arrays it takes; None for all.
    options : tuple of str or None
        The names of its other parameters; None for any.
    words : bool
        Whether padding may be a word.
    required : tuple of str
        Those of its parameters that have a default in the operator alone.
    library, device : str or None
        Whose arrays it asks for, and where; None for NumPy's. See `npconv.check.arrays`.
    orders : bool
        Whether arrays come in other orders of memory than C order: not those in files.
    """

    arrays: int | None = None
    options: tuple[str, ...] | None = None
    words: bool = True
    required: tuple[str, ...] = ()
    library: str | None = None
    device: str | None = None
    orders: bool = True

    @classmethod
    def of(cls, function: Callable[..., Any], op: str, direction: str) -> Contract:
        """The contract of a function as its signature tells it; of one that has none, everything."""
        known = getattr(function, "contract", None)
        if isinstance(known, Contract):
            return known
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):
            return cls(words=_takes_words(function, None))
        if direction == "backward" and parameters and parameters[0].kind is not parameters[0].VAR_POSITIONAL:
            parameters = parameters[1:]  # dy
        kinds = {parameter.kind for parameter in parameters}
        padding = next((one.default for one in parameters if one.name == "padding"), None)
        words = _takes_words(function, padding)
        named = [one.name for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
        positional = [one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
        options = _options(op)
        arrays = None if inspect.Parameter.VAR_POSITIONAL in kinds else sum(name not in options for name in positional)
        known_options = None if inspect.Parameter.VAR_KEYWORD in kinds else tuple(named)
        library = library_of(function)
        defaults = {one.name: one.default for one in parameters}
        required = tuple(name for name in options if defaults.get(name) is inspect.Parameter.empty)
        return cls(arrays, known_options, words, required, library, device_of(library))

    def lacks(self, op: str) -> frozenset[str]:
        """The features of `op` that it has no parameter for: not asked."""
        names = arguments(op)
        here = set(names if self.arrays is None else names[: self.arrays])
        options = set(_options(op)) if self.options is None else set(self.options)
        return frozenset(name for name in FIXED if PARAMETERS.get(name, name) not in here | options)

    def both(self, other: Contract | None) -> Contract:
        """What both of two functions take."""
        if other is None:
            return self
        arrays = [count for count in (self.arrays, other.arrays) if count is not None]
        options = self.options if other.options is None else other.options
        if self.options is not None and other.options is not None:
            options = tuple(name for name in self.options if name in other.options)
        required = tuple(dict.fromkeys((*self.required, *other.required)))
        words, orders = self.words and other.words, self.orders and other.orders
        return Contract(min(arrays, default=None), options, words, required, orders=orders)

    def called(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function as one that may be called with one number for its padding, too."""
        if self.words:
            return function

        @functools.wraps(function)
        def run(*arrays: Any, **options: Any) -> Any:
            if isinstance(padding := options.get("padding"), int):
                options["padding"] = ((padding, padding), (padding, padding))
            return function(*arrays, **options)

        return run

    def adapted(self, case: Case) -> Case:
        """The case as the function is asked for it: without options that it lacks, which have their default here."""
        parameters = signature(case.op).parameters
        defaults = {name: parameters[name].default for name in self.required}
        options = {
            name: value for name, value in defaults.items() if value is not inspect.Parameter.empty
        } | case.options
        if self.options is not None:
            options = {name: value for name, value in options.items() if name in self.options}
        if not self.words and "padding" in options and not case.op.startswith("octave"):
            options["padding"] = _four_numbers(case, options)
        return case._replace(options=options, orders=case.orders if self.orders else {})


def _takes_words(function: Any, default: Any) -> bool:
    if isinstance(default, str) or getattr(function, "takes_padding_words", False) is True:
        return True
    return str(getattr(inspect.unwrap(function), "__module__", "")).partition(".")[0] == "npconv"


def _options(op: str) -> tuple[str, ...]:
    """The names of the operator's parameters that are no arrays."""
    names = arguments(op)
    return tuple(name for name in signature(op).parameters if name not in names)


def _four_numbers(case: Case, options: dict[str, Any]) -> Any:
    """The padding of a convolution or pool as ((top, bottom), (left, right))."""
    x, *others = case.args
    kernel = pair("kernel", options["kernel"], minimum=1) if "kernel" in options else others[0].shape[2:]
    stride, dilation = options.get("stride", 1), options.get("dilation", 1)
    steps = pair("stride", kernel if stride is None else stride, minimum=1)
    return explicit_padding(options["padding"], x.shape[2:], kernel, steps, pair("dilation", dilation, minimum=1))
