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

from npconv.geometry import Array, octave_paths, pair
from npconv.testing.bounds import gamma, probable_gamma, unit_roundoff
from npconv.testing.gradients import Tree, map_arrays, named_arrays
from npconv.testing.problem import Problem

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
    """

    name: str
    value: Array
    magnitude: Array
    terms: int | Array
    other: Array | None = None

    def bound(self, dtype: DTypeLike) -> Array:
        """How far a result in `dtype` may be from `value`: infinitely far where there are 1/u terms or more."""
        return self._bound(dtype, gamma)

    def probable_bound(self, dtype: DTypeLike) -> Array:
        """How far it is in all likelihood, rounding errors of both signs cancelling; at most `bound`."""
        return np.minimum(self.bound(dtype), self._bound(dtype, probable_gamma))

    def _bound(self, dtype: DTypeLike, factor: Callable[[int, float], float]) -> Array:
        roundoff = unit_roundoff(dtype)

        def relative(terms: int) -> float:
            return (
                factor(terms, roundoff) + factor(terms, unit_roundoff(np.float64)) if terms * roundoff < 1 else np.inf
            )

        counts, place = np.unique(self.terms, return_inverse=True)
        of_each = np.array([relative(int(terms)) for terms in counts])[place].reshape(np.shape(self.terms))
        underflow = self.terms * float(np.finfo(np.dtype(dtype)).smallest_subnormal)
        with np.errstate(invalid="ignore"):  # 0 of infinitely many
            bound = of_each * self.magnitude
        return np.broadcast_to(np.where(np.isinf(of_each), np.inf, bound) + underflow, self.value.shape)


def exact_forward(problem: Problem) -> list[Exact]:
    """The arrays of y, computed in float64 on the current backend.

    Parameters
    ----------
    problem : Problem

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
    if problem.op in _FORMULAS:
        magnitudes, terms = _FORMULAS[problem.op][0](wide)
    else:
        magnitudes = wide.map(_absolute).forward()
        terms = _TERMS[problem.op](wide, [y.shape for _, y in values])[0]
        if _is_sparse(wide):
            return _rows(values, magnitudes, _at_most(terms, wide.map(_present).forward()))
    return _rows(values, magnitudes, terms)


def exact_backward(problem: Problem, dy: Tree) -> list[Exact]:
    """The arrays of all gradients, in their order, computed in float64 on the current backend; absent ones are left out.

    Parameters
    ----------
    problem : Problem
    dy : array or tuple of arrays
        As the result is; of any dtype of floats.

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
    if problem.op in _FORMULAS:
        magnitudes, terms = _FORMULAS[problem.op][1](wide, dy)
    else:
        chooses = problem.op in ("max_pool2d", "relu", "relu6")  # whose gradient follows the signs of x
        magnitudes = (wide if chooses else wide.map(_absolute)).backward(map_arrays(_absolute, dy))
        terms = _TERMS[problem.op](wide, [array.shape for _, array in named_arrays(dy)])[1]
        if _is_sparse(wide, dy):
            return _rows(values, magnitudes, _at_most(terms, wide.map(_present).backward(map_arrays(_present, dy))))
    return _rows(values, magnitudes, terms)


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


def _rows(values: list[tuple[str, Array]], magnitudes: Tree, terms: Sequence[int | Array]) -> list[Exact]:
    rows = zip(values, named_arrays(magnitudes), terms, strict=True)
    return [Exact(name, value, magnitude, count) for (name, value), (_, magnitude), count in rows]


def _widened(array: Array) -> Array:
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


# --- formulas that are no sums of products -----------------------------------------------------------------------
#
# Each function returns the magnitudes and the roundings. An exponential or a logarithm counts as ELEMENTARY roundings.

ELEMENTARY = 4


def _hard_sigmoid(problem: Problem) -> tuple[Tree, list[int]]:
    """(x + 3) / 6: a sum, a constant that may be rounded, a product; on both flat sides the sum is still made."""
    (x,) = problem.args
    return (np.abs(x) + 3) / 6, [4]


def _hard_sigmoid_backward(problem: Problem, dy: Array) -> tuple[Tree, list[int]]:
    (x,) = problem.args
    return np.abs(dy) / 6 * _at_kink(x), [2]


def _at_kink(x: Array) -> Array:
    """1, but so much that either slope is right where x + 3, rounded to float32, may be on the other side of 0 or 6."""
    roundoff = unit_roundoff(np.float32)
    return np.where(np.abs(np.abs(x) - 3) <= 6 * roundoff, 2 / roundoff, 1.0)


def _hard_swish(problem: Problem) -> tuple[Tree, list[int]]:
    """x * hard_sigmoid(x)."""
    (x,) = problem.args
    return np.abs(x) * (np.abs(x) + 3) / 6, [5]


def _hard_swish_backward(problem: Problem, dy: Array) -> tuple[Tree, list[int]]:
    """dy * (2x + 3) / 6, or by the product rule dy * (hard_sigmoid(x) + x / 6)."""
    (x,) = problem.args
    return np.abs(dy) * (2 * np.abs(x) + 3) / 6 * _at_kink(x), [8]


class _Normalized(NamedTuple):
    """What both directions of batch norm are made of; `xhat` is that of absolute values, no smaller than the exact one's."""

    xhat: Array
    scale: Array
    std: Array
    doubt: Array  # how many times larger than a rounding the relative error of the standard deviation may be
    numbers: int  # that a statistic is made of


def _normalized(problem: Problem) -> _Normalized:
    """A variance from the batch is off by roundings of the mean of x^2, whichever formula it is: that much of var + eps."""
    x, gamma_, _, mean, var = problem.args
    eps, count = problem.options.get("eps", 1e-5), x.size // max(x.shape[1], 1)
    if mean is None:
        mean, var = np.abs(x).mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
        doubt = 1 + np.square(x).mean(axis=(0, 2, 3)) / (var + eps)
    else:
        mean, doubt, count = np.abs(mean), np.ones(x.shape[1]), 1
    std = np.sqrt(var + eps)
    xhat = (np.abs(x) + mean[:, None, None]) / std[:, None, None]
    return _Normalized(xhat, np.abs(gamma_) / std, std, doubt, count)


def _batch_norm(problem: Problem) -> tuple[Tree, list[int]]:
    xhat, scale, std, doubt, count = _normalized(problem)
    beta = np.abs(problem.args[2])
    return (scale * std * doubt)[:, None, None] * xhat + beta[:, None, None], [count + 8]


def _batch_norm_backward(problem: Problem, dy: Array) -> tuple[Tree, list[int]]:
    """The sums over the batch are means where x moves the statistics: the terms of dx are dy, mean(dy), xhat * mean(dy * xhat)."""
    x, _, _, mean, _ = problem.args
    xhat, scale, std, doubt, _ = _normalized(problem)
    count = x.size // max(x.shape[1], 1)
    dy = np.abs(dy)
    dgamma, dbeta = (dy * xhat).sum(axis=(0, 2, 3)), dy.sum(axis=(0, 2, 3))
    if mean is not None:
        dx = scale[:, None, None] * dy
        gradients = (dx, dgamma, dbeta, scale * dbeta, scale * dgamma / std)
        return gradients, [8, count + 8, count, count + 8, count + 16]
    along = (dbeta / count)[:, None, None] + xhat * (dgamma / count)[:, None, None]
    dx = 3 * (scale * doubt)[:, None, None] * (dy + along)
    return (dx, doubt * dgamma, dbeta), [2 * count + 16, 2 * count + 8, count]


def _cross_entropy(problem: Problem) -> tuple[Tree, list[int]]:
    """Every log p is a difference of logits and the logarithm of a sum of as many exponentials as there are classes."""
    (logits,) = problem.args
    batch, classes = logits.shape
    return np.asarray(_log_p_magnitude(logits).mean()), [batch + 2 * classes + 4 * ELEMENTARY]


def _cross_entropy_backward(problem: Problem, dy: Array) -> tuple[Tree, list[int]]:
    """dy * (p - target) / N, and the error of a p = exp(log p) is p times that of log p."""
    (logits,) = problem.args
    batch, classes = logits.shape
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    smoothing = problem.options.get("label_smoothing", 0.0)
    target = np.full(logits.shape, smoothing / classes)
    target[np.arange(batch), problem.options["labels"]] += 1 - smoothing
    share = np.abs(dy) / batch
    return (p * (1 + _log_p_magnitude(logits)) + target) * share, [2 * classes + 4 * ELEMENTARY]


def _log_p_magnitude(logits: Array) -> Array:
    """An upper bound, per row, of all that is added to make log p."""
    return 4 * np.abs(logits).max(axis=1, keepdims=True) + np.log(logits.shape[1]) + 1


_Formula: TypeAlias = tuple[
    Callable[[Problem], tuple[Tree, list[int]]], Callable[[Problem, Array], tuple[Tree, list[int]]]
]

_FORMULAS: dict[str, _Formula] = {
    "hard_sigmoid": (_hard_sigmoid, _hard_sigmoid_backward),
    "hard_swish": (_hard_swish, _hard_swish_backward),
    "batch_norm2d": (_batch_norm, _batch_norm_backward),
    "softmax_cross_entropy": (_cross_entropy, _cross_entropy_backward),
}
