"""What an operator's results are exactly, and how far rounding errors may carry them, element by element.

Beside its exact value every element has a *magnitude*, the sum of the absolute values of its terms, and a number of
*terms*, the roundings that any one of them may go through. Both together bound the error of a sum of products in any order:
see `npconv.testing.bounds`. One sum after another has the terms of both. Where an operator divides, takes roots or
exponentials, its formula's first-order error is written as such a pair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import Array, check_fits, octave_paths, pair
from npconv.testing.bounds import gamma, probable_gamma, unit_roundoff
from npconv.testing.formulas import FORMULAS, beside_kinks
from npconv.testing.gradients import Tree, map_arrays, named_arrays
from npconv.testing.precision import Precision
from npconv.testing.problem import Problem
from npconv.testing.transforms import Reach, backward_reach, forward_reach

INEXACT = frozenset({"batch_norm2d", "hard_sigmoid", "hard_swish", "softmax_cross_entropy"})
"""Operators whose division, root or logarithm leaves whole numbers no exact result."""

LINEAR_IN: dict[str, tuple[int, ...]] = {
    "conv2d": (0, 1, 2),
    "depthwise_conv2d": (0, 1, 2),
    "pointwise_conv2d": (0, 1, 2),
    "separable_conv2d": (0, 1, 2, 3),
    "octave_conv2d": (0, 1, 2),
    "octave_depthwise_conv2d": (0, 1, 2),
    "ghost_conv2d": (0, 1, 2),
    "channel_shuffle": (0,),
    "channel_unshuffle": (0,),
    "avg_pool2d": (0,),
    "max_pool2d": (0,),
    "global_avg_pool2d": (0,),
    "upsample_nearest2d": (0,),
    "batch_norm2d": (1, 2),
    "relu": (0,),
    "linear": (0, 1, 2),
}
"""The arguments in which a result is linear while the others stay; in a piecewise linear one without constants, as good."""


class Exact(NamedTuple):
    """One array of a result, as exactly as float64 has it.

    It has rounding errors of its own, which the bounds allow for.

    Attributes
    ----------
    name : str
    value, magnitude : arrays of one shape
        float64: the result, and the same sums made of the absolute values of their terms.
    terms : int or array
        How many roundings a term goes through; one number, or one for each element: a product with 0 rounds nothing.
    other : array, optional
        Where it is given, its elements are as right as those of `value`.
    precision : Precision, optional
        The arithmetic that is declared; without one, all roundings are to the dtype of the result.
    reach : array, optional
        What the rounding errors of a declared fast algorithm are bounded by, in the place of `magnitude`: see
        `npconv.testing.transforms`. None where it is not used.
    """

    name: str
    value: Array
    magnitude: Array
    terms: int | Array
    other: Array | None = None
    precision: Precision | None = None
    reach: Array | None = None

    @property
    def sums(self) -> Array:
        """The largest that partial sums may become: `reach`, or `magnitude` without one."""
        return self.magnitude if self.reach is None else self.reach

    def bound(self, dtype: DTypeLike) -> Array:
        """How far a result in `dtype` may be from `value`: infinitely far where there are 1/u terms or more."""
        return self._bound(dtype, gamma)

    def probable_bound(self, dtype: DTypeLike) -> Array:
        """How far it is in all likelihood, rounding errors of both signs cancelling; at most `bound`."""
        return np.minimum(self.bound(dtype), self._bound(dtype, probable_gamma))

    def _bound(self, dtype: DTypeLike, factor: Callable[[int, float], float]) -> Array:
        roundoff = unit_roundoff(dtype)

        def relative(terms: int) -> float:
            if self.precision is not None:
                return self.precision.relative(terms, dtype, factor)
            return (
                factor(terms, roundoff) + factor(terms, unit_roundoff(np.float64)) if terms * roundoff < 1 else np.inf
            )

        counts, place = np.unique(self.terms, return_inverse=True)
        of_each = np.array([relative(int(terms)) for terms in counts])[place].reshape(np.shape(self.terms))
        underflow = self.terms * float(np.finfo(np.dtype(dtype)).smallest_subnormal)
        if self.precision is not None:
            underflow = underflow + self.precision.smallest * self.precision.stages
        with np.errstate(invalid="ignore"):  # 0 of infinitely many
            bound = of_each * self.sums
        return np.broadcast_to(np.where(np.isinf(of_each), np.inf, bound) + underflow, self.value.shape)


def exact_forward(problem: Problem, precision: Precision | None = None) -> list[Exact]:
    """The arrays of y, computed in float64 on the current backend.

    Parameters
    ----------
    problem : Problem
    precision : Precision, optional
        The arithmetic by which the bounds are.

    Returns
    -------
    list of Exact

    Raises
    ------
    ValueError
        The problem's operator is not known here.

    Examples
    --------
    >>> from npconv.testing import Problem
    >>> w = np.array([[1.0, -2.0]])
    >>> (y,) = exact_forward(Problem("linear", (np.ones((1, 2)), w, None), {}))
    >>> y.value, y.magnitude
    (array([[-1.]]), array([[3.]]))
    """
    wide = problem.map(_widened)
    values = list(named_arrays(wide.forward(), "y"))
    if problem.op in FORMULAS:
        magnitudes, terms = FORMULAS[problem.op][0](wide)
    else:
        magnitudes = wide.map(_absolute).forward()
        terms = _TERMS[problem.op](wide, [y.shape for _, y in values])[0]
        if precision is not None and precision.algorithm:
            reach = forward_reach(wide.map(_absolute), precision.algorithm)
            if reach is not None:
                return _rows(values, magnitudes, terms, precision, reach)
        if _is_sparse(wide):
            return _rows(values, magnitudes, _at_most(terms, wide.map(_present).forward()), precision)
    return _rows(values, magnitudes, terms, precision)


def exact_backward(problem: Problem, dy: Tree, precision: Precision | None = None) -> list[Exact]:
    """The arrays of all gradients, in their order, computed in float64 on the current backend; absent ones are left out.

    Parameters
    ----------
    problem : Problem
    dy : array or tuple of arrays
        As the result is; of any dtype of floats.
    precision : Precision, optional
        The arithmetic by which the bounds are.

    Returns
    -------
    list of Exact

    Raises
    ------
    ValueError
        The problem's operator is not known here.

    Examples
    --------
    >>> from npconv.testing import Problem
    >>> [part.name for part in exact_backward(Problem("relu", (np.ones(2),), {}), np.ones(2))]
    ['dx']
    """
    wide, dy = problem.map(_widened), map_arrays(_widened, dy)
    gradients = wide.backward(dy) if len(wide.args) > 1 else (wide.backward(dy),)
    values = [
        row for name, tree in zip(problem.names, gradients, strict=True) for row in named_arrays(tree, f"d{name}")
    ]
    if problem.op in FORMULAS:
        magnitudes, terms = FORMULAS[problem.op][1](wide, dy)
        other = beside_kinks(wide, dy, values[0][1], _roundoff(problem, precision))
        if other is not None:
            return [row._replace(other=other) for row in _rows(values, magnitudes, terms, precision)]
    else:
        chooses = problem.op in ("max_pool2d", "relu", "relu6")  # whose gradient follows the signs of x
        magnitudes = (wide if chooses else wide.map(_absolute)).backward(map_arrays(_absolute, dy))
        terms = _TERMS[problem.op](wide, [array.shape for _, array in named_arrays(dy)])[1]
        if precision is not None and precision.algorithm:
            reach = backward_reach(wide.map(_absolute), map_arrays(_absolute, dy), precision.algorithm)
            if reach is not None:
                return _rows(values, magnitudes, terms, precision, reach)
        if _is_sparse(wide, dy):
            counts = wide.map(_present).backward(map_arrays(_present, dy))
            return _rows(values, magnitudes, _at_most(terms, counts), precision)
    return _rows(values, magnitudes, terms, precision)


def _roundoff(problem: Problem, precision: Precision | None) -> float:
    """The largest there is."""
    own = max(unit_roundoff(array.dtype) for _, array in named_arrays(problem.args))
    return own if precision is None else max(own, precision.factors, precision.result)


SPARSE = 0.25  # of the numbers of an array are not 0, or fewer: then it pays to count products element by element
_COUNTED = ("conv2d", "depthwise_conv2d", "pointwise_conv2d", "linear")


def _is_sparse(problem: Problem, dy: Tree = None) -> bool:
    arrays = [array for array in (*problem.args, dy) if array is not None]
    return problem.op in _COUNTED and any(
        array.size and np.count_nonzero(array) <= SPARSE * array.size for array in arrays
    )


def _at_most(terms: Sequence[int], counts: Tree) -> list[Array]:
    """The terms of each element: those that are not 0, of which there are `counts`."""
    arrays = (count for _, count in named_arrays(counts))
    return [np.minimum(most, count).astype(np.int64) for most, count in zip(terms, arrays, strict=True)]


def _present(array: Array) -> Array:
    return (array != 0).astype(np.float64)


def _rows(
    values: list[tuple[str, Array]],
    magnitudes: Tree,
    terms: Sequence[int | Array],
    precision: Precision | None = None,
    reach: Reach | None = None,
) -> list[Exact]:
    found = [
        Exact(name, value, magnitude, count, None, precision)
        for (name, value), (_, magnitude), count in zip(values, named_arrays(magnitudes), terms, strict=True)
    ]
    if reach is None:
        return found
    return [
        row._replace(
            terms=-(-row.terms // (reach.taps if row.name in ("y", "dx") else 1)) + 1 + reach.roundings,
            reach=np.maximum(array, row.magnitude),
        )
        for row, array in zip(found, reach.arrays, strict=True)
    ]


def _widened(array: Array) -> Array:
    check_fits("an array in float64", array.size, 8)  # it may have no numbers of its own yet
    return array.astype(np.float64)


def _absolute(array: Array) -> Array:
    return np.asarray(np.abs(array))


# --- the roundings that a term goes through ----------------------------------------------------------------------
#
# Each function takes the problem and the shapes of the forward's results. It returns one count for each of these, and one
# for each gradient that there is.

_Shape: TypeAlias = tuple[int, ...]
_Counts: TypeAlias = tuple[list[int], list[int]]


def _pixels(shape: _Shape) -> int:
    """How many products a weight is in: all that are summed over in the gradient of a kernel or a bias."""
    return shape[0] * prod(shape[2:])


def _taps(w: Array) -> int:
    return prod(w.shape[2:])


def _convolution(problem: Problem, y_shapes: list[_Shape]) -> _Counts:
    x, w, b = problem.args
    groups = x.shape[1] if problem.op == "depthwise_conv2d" else problem.options.get("groups", 1)
    pixels = _pixels(y_shapes[0])
    biased = b is not None
    return [w[0].size + biased], [len(w) // groups * _taps(w), pixels, *([pixels] if biased else [])]


def _linear(problem: Problem, y_shapes: list[_Shape]) -> _Counts:
    x, w, b = problem.args
    biased = b is not None
    return [w.shape[1] + biased], [len(w), len(x), *([len(x)] if biased else [])]


def _separable(problem: Problem, y_shapes: list[_Shape]) -> _Counts:
    x, depthwise, pointwise, b = problem.args
    taps, (outs, middles), pixels = _taps(depthwise), pointwise.shape[:2], _pixels(y_shapes[0])
    biased = b is not None
    dx, dw_depthwise, dw_pointwise = outs + middles // x.shape[1] * taps, outs + pixels, taps + pixels
    return [taps + middles + biased], [dx, dw_depthwise, dw_pointwise, *([pixels] if biased else [])]


def _ghost(problem: Problem, y_shapes: list[_Shape]) -> _Counts:
    _, primary, cheap = problem.args
    primary_terms, pixels = primary[0].size, _pixels(y_shapes[0])
    cheap_taps, ratio = (0, 1) if cheap is None else (_taps(cheap), 1 + len(cheap) // len(primary))
    dprimary = 1 + (ratio - 1) * cheap_taps
    dx = dprimary + len(primary) // problem.options.get("groups", 1) * _taps(primary)
    gradients = [dx, dprimary + pixels, *([] if cheap is None else [primary_terms + pixels])]
    return [primary_terms + cheap_taps], gradients


def _octave(problem: Problem, y_shapes: list[_Shape]) -> _Counts:
    """A path pools (as many roundings as pixels, and the division), convolves, and is added to the others."""
    x, w, b = problem.args
    paths = octave_paths(problem.options.get("stride", 1), problem.options.get("stride_mode", "pool"))[0]
    there = [path for path in paths if getattr(w, path.name) is not None]
    shapes = dict(zip(sorted({path.target for path in there}), y_shapes, strict=True))
    forward, dx, dw = dict.fromkeys(shapes, 0), {path.source: 0 for path in there}, {}
    for path in there:
        kernel = getattr(w, path.name)
        groups = x[path.source].shape[1] // kernel.shape[1]
        pooling = path.pool**2 + 1 if path.pool > 1 else 0
        repeated = path.repeat**2 if path.repeat > 1 else 0
        forward[path.target] += pooling + kernel[0].size + 1
        dx[path.source] += repeated + len(kernel) // groups * _taps(kernel) + min(pooling, 2) + 1
        dw[path.name] = repeated + _pixels(shapes[path.target]) // path.repeat**2 + pooling + 1
    biases = [] if b is None else [_pixels(shapes[index]) for index, bias in enumerate(b) if bias is not None]
    biased = int(bool(biases))
    in_order = [dw[name] for name in w._fields if name in dw]
    return [terms + biased for terms in forward.values()], [*(dx[index] for index in sorted(dx)), *in_order, *biases]


def _pooling(problem: Problem, y_shapes: list[_Shape]) -> _Counts:
    window = prod(pair("kernel", problem.options["kernel"], minimum=1))
    return [window + 1], [window + 1]


def _constant(forward: int, backward: int) -> Callable[[Problem, list[_Shape]], _Counts]:
    return lambda problem, y_shapes: ([forward], [backward])


_TERMS: dict[str, Callable[[Problem, list[_Shape]], _Counts]] = {
    "conv2d": _convolution,
    "depthwise_conv2d": _convolution,
    "pointwise_conv2d": _convolution,
    "separable_conv2d": _separable,
    "octave_conv2d": _octave,
    "octave_depthwise_conv2d": _octave,
    "ghost_conv2d": _ghost,
    "channel_shuffle": _constant(0, 0),
    "channel_unshuffle": _constant(0, 0),
    "avg_pool2d": _pooling,
    "max_pool2d": lambda problem, y_shapes: ([0], [_pooling(problem, y_shapes)[0][0]]),
    "global_avg_pool2d": lambda problem, y_shapes: ([prod(problem.args[0].shape[2:]) + 1], [2]),
    "upsample_nearest2d": lambda problem, y_shapes: (
        [0],
        [prod(pair("scale", problem.options.get("scale", 2), minimum=1))],
    ),
    "relu": _constant(0, 0),
    "relu6": _constant(0, 0),
    "linear": _linear,
}

OPERATORS = (*_TERMS, *FORMULAS)
"""Those whose results are known here."""
