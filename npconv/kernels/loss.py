"""Softmax cross-entropy with label smoothing, averaged over the batch.

loss = -(1/N) * sum over n, k of target[n,k] * log p[n,k], where p = softmax(logits) and target = (1 - a) * onehot(label) + a / K.
"""

from __future__ import annotations

import functools
import math
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from npconv.geometry import Array
from npconv.kernels.jit import MANY, compiled, contiguous

LOG2 = Decimal("0.6931471805599453094172321214581765680755")  # 1,074 times what a float64 lacks of it are 100 roundings

# 1 / k! from the last term on that counts for float64 and |r| <= log(2) / 2
TERMS = tuple(1 / math.factorial(k) for k in reversed(range(14)))


class _Exponential(NamedTuple):
    """What e^x needs of a dtype."""

    powers: Array  # 2^n for n = -smallest, ..., 0
    smallest: int
    numbers: Array  # see `_exponential`


@functools.lru_cache
def _exponential(dtype: np.dtype[Any]) -> _Exponential:
    """log(2) in two parts, the products of the leading one with small integers being exact; and where numbers end, denormal ones too."""
    smallest, high = (149, 0.693359375) if dtype.itemsize == 4 else (1074, float.fromhex("0x1.62e42feep-1"))
    rounding = 1.5 * 2.0 ** (np.finfo(dtype).nmant)
    lowest = -math.floor(smallest * math.log(2))
    numbers = [1 / math.log(2), rounding, high, float(LOG2 - Decimal(high)), lowest, *TERMS]
    powers = np.ldexp(np.ones(smallest + 1, dtype), np.arange(-smallest, 1))
    return _Exponential(powers, smallest, np.array(numbers, dtype))


def softmax_cross_entropy(logits: Array, labels: Array, label_smoothing: float) -> Array:
    """One thread per image, then the mean; sums are kept in float64."""
    per_image, powers = np.empty(len(logits), np.float64), np.empty_like(logits, order="C")
    arrays = contiguous(logits), contiguous(labels.astype(np.int64))
    _softmax_cross_entropy(*arrays, label_smoothing, _exponential(logits.dtype), powers, per_image)
    return np.asarray(per_image.mean(), logits.dtype)


@compiled(terms=MANY)
def _softmax_cross_entropy(logits, labels, label_smoothing, exponential, powers, per_image):
    """per_image[n] = -sum over k of target[n, k] * log p[n, k]."""
    batch, classes = logits.shape
    powers_of_two, smallest, numbers = exponential
    for n in prange(batch):
        largest = _largest(logits[n])
        log_sum = np.log(_powers_of_e(logits[n], largest, powers_of_two, smallest, numbers, powers[n]))
        # A class without a share of the target costs nothing, even where its log p is -inf.
        loss = 0.0
        if label_smoothing < 1:
            loss = (1 - label_smoothing) * (log_sum - (logits[n, labels[n]] - largest))
        if label_smoothing > 0:
            away = 0.0
            for k in range(classes):
                away += logits[n, k] - largest
            loss += label_smoothing * (log_sum - away / classes)
        per_image[n] = loss


def softmax_cross_entropy_input_grad(dy: Array, logits: Array, labels: Array, label_smoothing: float) -> Array:
    """dlogits = (p - target) / N * dy. One thread per image."""
    dlogits = np.empty(logits.shape, logits.dtype)
    arrays = contiguous(logits), contiguous(labels.astype(np.int64))
    scale = float(dy) / len(logits) if len(logits) else 0.0
    _softmax_cross_entropy_input_grad(*arrays, label_smoothing, scale, _exponential(logits.dtype), dlogits)
    return dlogits


@compiled(terms=MANY)
def _softmax_cross_entropy_input_grad(logits, labels, label_smoothing, scale, exponential, dlogits):
    """dlogits[n, k] = (p[n, k] - target[n, k]) * scale."""
    batch, classes = logits.shape
    powers_of_two, smallest, numbers = exponential
    number = logits.dtype.type
    for n in prange(batch):
        row = dlogits[n]
        total = _powers_of_e(logits[n], _largest(logits[n]), powers_of_two, smallest, numbers, row)
        share = label_smoothing / classes
        at_label = (row[labels[n]] / total - share - (1 - label_smoothing)) * scale
        factor, less, times = number(1 / total), number(share), number(scale)
        for k in range(classes):
            row[k] = (row[k] * factor - less) * times
        row[labels[n]] = at_label


@njit(error_model="numpy")
def _largest(row):
    """The largest number of the row; of NaNs it may be any other, or -inf."""
    largest = row.dtype.type(-np.inf)
    for number in row:
        largest = number if number > largest else largest
    return largest


@njit(error_model="numpy")
def _powers_of_e(x, largest, powers_of_two, smallest, numbers, y):
    """y[k] = e^(x[k] - largest), and their sum in float64; what is less than the least number is 0.

    With d = n * log(2) + r, n an integer, e^d is 2^n times the series of e^r.
    """
    per_log2, rounding, log2_high, log2_low, lowest = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    zero, terms = x.dtype.type(0), numbers[5:]
    for k in range(x.size):
        d = x[k] - largest
        near = d if d >= lowest else lowest
        n = (near * per_log2 + rounding) - rounding
        r = (near - n * log2_high) - n * log2_low
        power = terms[0]
        for term in range(1, 14):
            power = power * r + terms[term]
        power *= powers_of_two[np.uint64(np.int64(n) + smallest)]
        y[k] = power if d >= lowest else zero if d < lowest else d
    total = 0.0
    for k in range(x.size):
        total += y[k]
    return total
