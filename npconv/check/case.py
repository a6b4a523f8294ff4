"""One case of the cross-check: a call of an operator, forward and backward, as plain data."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np

from npconv.check import bfloat16, memory
from npconv.check.features import NONFINITE
from npconv.check.numbers import scaled
from npconv.geometry import Array, octave_paths, pair
from npconv.testing import Problem, Tree, map_arrays, named_arrays
from npconv.testing.rounding import INEXACT


class Case(NamedTuple):
    """A call ``op(*args, **options)`` and an output gradient `dy` for it.

    Attributes
    ----------
    op : str
        The operator's name in `npconv.ops`.
    args : tuple
        Its arrays, in its order: arrays, None, or tuples of those.
    options : dict
        Everything else, by name.
    dy : array or tuple of arrays
        Like the forward's result.
    label : str
        Where the case comes from: "random", "hard: floor case", "mobilenet_v1: block1.depthwise".
    unit : int
        What the numbers of a case of whole numbers are multiples of, where the operator divides.
    numbers : str or None
        "x: NaN" where an array has other numbers than small whole ones: see `npconv.check.numbers`.
    exponents : dict of str to int
        The arrays that are given multiplied by such a power of two.
    orders : dict of str to str
        How arrays lie in memory, where that is not C order: see `npconv.check.memory`.
    stored : str or None
        "bfloat16" where the arrays, which are of float32 here, are given and taken as such: see `npconv.check.bfloat16`.
    """

    op: str
    args: tuple[Tree, ...]
    options: dict[str, Any]
    dy: Tree
    label: str
    unit: int = 1
    numbers: str | None = None
    exponents: Mapping[str, int] = {}
    orders: Mapping[str, str] = {}
    stored: str | None = None

    @classmethod
    def of(cls, problem: Problem, dy: Tree, label: str) -> Case:
        """The case of a problem."""
        return cls(problem.op, problem.args, problem.options, dy, label, problem.unit)

    def with_arrays(self, arrays: Mapping[str, Tree]) -> Case:
        """The same case with other numbers: those of an array with zero strides repeat, and those of bfloat16 are rounded."""
        fitted = {
            name: map_arrays(functools.partial(memory.repeated, order=self.order(name)), tree)
            for name, tree in arrays.items()
        }
        if self.stored is not None:
            fitted = {name: map_arrays(bfloat16.rounded, tree) for name, tree in fitted.items()}
        args = tuple(fitted[name] for name in self.problem.names)
        return self._replace(args=args, dy=fitted["dy"])

    def order(self, name: str) -> str:
        """How the array of that name lies in memory."""
        return self.orders.get(name, memory.C_ORDER)

    def given(self) -> dict[str, Tree]:
        """The arguments and dy by name as a subject gets them: multiplied, and laid out in memory. New at every call."""
        return {
            name: map_arrays(functools.partial(memory.lay_out, order=self.order(name)), tree)
            for name, tree in self.written().items()
        }

    def written(self) -> dict[str, Tree]:
        """The arguments and dy by name: multiplied, in the dtype in which they are given."""
        trees, dtype = self.multiplied().arrays, self.given_dtype
        if dtype == self.dtype:
            return trees
        return {name: map_arrays(lambda array: array.astype(dtype), tree) for name, tree in trees.items()}

    def multiplied(self) -> Case:
        """The case with its powers of two in the numbers."""
        if not self.exponents:
            return self
        arrays = {name: scaled(tree, self.exponents.get(name, 0)) for name, tree in self.arrays.items()}
        return self.with_arrays(arrays)._replace(exponents={})

    def in_bfloat16(self) -> Case:
        """This case of float32 with its numbers rounded, to be given as bfloat16."""
        exponents = dict(self.exponents)
        if (self.numbers or "").partition(": ")[2] == "denormal":
            exponents = {name: exponent + bfloat16.NO_SMALLER for name, exponent in exponents.items()}
        case = self._replace(stored=bfloat16.NAME, exponents=exponents)
        return case.with_arrays(case.arrays)

    @property
    def is_bounded(self) -> bool:
        """Whether a rounding bound says anything of its real numbers: not where products are below all normal numbers."""
        return self.is_finite and (self.numbers or "").partition(": ")[2] != "denormal"

    @property
    def is_finite(self) -> bool:
        """Whether it has neither NaN nor infinity."""
        return self.numbers is None or self.numbers.partition(": ")[2] not in NONFINITE

    @property
    def problem(self) -> Problem:
        """The call alone."""
        return Problem(self.op, self.args, self.options, self.unit)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of all arrays."""
        return next(array.dtype for _, array in named_arrays((self.args, self.dy)))

    @property
    def given_dtype(self) -> np.dtype[Any]:
        """Of all arrays as a subject gets them, and of its results."""
        return self.dtype if self.stored is None else bfloat16.dtype_named(self.stored)

    @property
    def arrays(self) -> dict[str, Tree]:
        """The arguments by name, and dy."""
        return dict(zip(self.problem.names, self.args, strict=True)) | {"dy": self.dy}

    @property
    def size(self) -> int:
        """How many numbers its arrays hold: the smaller of two cases that show the same is the better one."""
        return sum(array.size for _, array in named_arrays((self.args, self.dy)))

    @property
    def divisor(self) -> int:
        """What the operator divides sums by, at most: their numerators have to be representable, too."""
        if self.op == "avg_pool2d":
            return prod(pair("kernel", self.options["kernel"], minimum=1))
        if self.op == "global_avg_pool2d":
            return prod(self.args[0].shape[2:])
        return 16 if self.op.startswith("octave") else 1

    @property
    def rounds(self) -> bool:
        """Whether it divides by what is no power of two: as a product with the reciprocal, that rounds a whole quotient, too."""
        if self.op == "avg_pool2d":  # at a border by any number up to the kernel's
            return max(pair("kernel", self.options["kernel"], minimum=1)) > 2
        return self.divisor & (self.divisor - 1) != 0

    @property
    def has_exact_result(self) -> bool:
        """Whether whole numbers can have an exact result here at all."""
        return self.op not in INEXACT

    def real(self) -> Case:
        """The same case with real numbers near the whole ones, which need all digits that the dtype has.

        Zeros stay, and so do numbers at and beside the kinks of an activation.
        """
        rng = np.random.default_rng(0)

        def near(array: Array) -> Array:
            noise = rng.uniform(-0.4, 0.4, array.shape)
            if array.size > 1 and (array == array.flat[0]).all():  # and stays all equal
                noise = np.full(array.shape, noise.flat[0])
            return np.asarray(np.where(array == 0, array, array / self.unit + noise), array.dtype)

        arrays = {name: map_arrays(near, tree) for name, tree in self.arrays.items()}
        if self.numbers == "x: ties" and not self.has_exact_result:
            arrays["x"] = self.arrays["x"]
        return self.with_arrays(arrays)

    def __str__(self) -> str:
        shapes = [f"{name} {array.shape}" for name, array in named_trees(self.arrays)]
        options = [f"{name}={describe(value)}" for name, value in self.options.items()]
        shapes += [f"{name} in {order}" for name, order in self.orders.items() if order != memory.C_ORDER]
        numbers = [] if self.numbers is None else [self.numbers]
        return f"{self.op} of {', '.join([*shapes, *options, *numbers])} [{self.label}]"


def divisible(problem: Problem) -> Problem:
    """The problem with the unit that makes the quotients of its operator exact."""
    op, options, unit = problem.op, problem.options, 1
    if op == "global_avg_pool2d":
        unit = prod(problem.args[0].shape[2:])
    elif op == "avg_pool2d":  # a window of 3 or 4 rows may hold 3 of them, and so for columns
        unit = prod(3 if side >= 3 else 1 for side in pair("kernel", options["kernel"], minimum=1))
    elif op == "octave_conv2d":  # an average over 4 x 4 pixels may have 3 x 3 at the border
        factors = {
            path.name: path.pool
            for path in octave_paths(options.get("stride", 1), options.get("stride_mode", "pool"))[0]
        }
        unit = 9 if problem.args[1].hl is not None and factors["hl"] == 4 else 1
    return problem._replace(unit=unit)


def named_trees(trees: Mapping[str, Tree]) -> list[tuple[str, Array]]:
    """The arrays of all `trees`, each with its name."""
    return [row for name, tree in trees.items() for row in named_arrays(tree, name)]


def describe(value: Any) -> str:
    """An option's value on one line."""
    return f"array({value.tolist()})" if isinstance(value, np.ndarray) else repr(value)
