"""How far the operators that are no sums of products may be off: batch norm, activations in pieces, and cross entropy.

Each function returns the magnitudes and the roundings, as `npconv.testing.rounding` has them. An exponential or a logarithm counts
as ELEMENTARY roundings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from npconv.geometry import Array
from npconv.testing.gradients import Tree
from npconv.testing.problem import Problem

ELEMENTARY = 4


def _hard_sigmoid(problem: Problem) -> tuple[Tree, list[int]]:
    """(x + 3) / 6: a sum, a constant that may be rounded, a product; on both flat sides the sum is still made."""
    (x,) = problem.args
    return (np.abs(x) + 3) / 6, [4]


def _hard_sigmoid_backward(problem: Problem, dy: Array) -> tuple[Tree, list[int]]:
    return np.abs(dy) / 6, [2]


def beside_kinks(problem: Problem, dy: Array, value: Array, roundoff: float) -> Array | None:
    """The gradient with the slope of the other side beside a kink, where x + 3, once rounded, may be there; None if nowhere.

    At the kink itself x + 3 is exact.
    """
    if problem.op not in SLOPES:
        return None
    (x,) = problem.args
    distance = np.abs(np.abs(x) - 3)
    near = (distance <= 9 * roundoff) & (distance > 0)
    if not near.any():
        return None
    outside, inside = SLOPES[problem.op](x)
    return np.where(near, dy * np.where(np.abs(x) < 3, outside, inside), value)


SLOPES: dict[str, Callable[[Array], tuple[Array, Array]]] = {
    "hard_sigmoid": lambda x: (np.zeros_like(x), np.full_like(x, 1 / 6)),
    "hard_swish": lambda x: ((x > 0).astype(x.dtype), (2 * x + 3) / 6),
}
"""The slopes of the pieces with |x| > 3, and between them."""


def _hard_swish(problem: Problem) -> tuple[Tree, list[int]]:
    """x * hard_sigmoid(x)."""
    (x,) = problem.args
    return np.abs(x) * (np.abs(x) + 3) / 6, [5]


def _hard_swish_backward(problem: Problem, dy: Array) -> tuple[Tree, list[int]]:
    """dy * (2x + 3) / 6, or by the product rule dy * (hard_sigmoid(x) + x / 6)."""
    (x,) = problem.args
    return np.abs(dy) * (2 * np.abs(x) + 3) / 6, [8]


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

FORMULAS: dict[str, _Formula] = {
    "hard_sigmoid": (_hard_sigmoid, _hard_sigmoid_backward),
    "hard_swish": (_hard_swish, _hard_swish_backward),
    "batch_norm2d": (_batch_norm, _batch_norm_backward),
    "softmax_cross_entropy": (_cross_entropy, _cross_entropy_backward),
}
