"""Softmax cross-entropy with label smoothing, averaged over the batch.

loss = -(1/N) * sum over n, k of target[n,k] * log p[n,k], where p = softmax(logits) and target = (1 - a) * onehot(label) + a / K.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from npconv.geometry import Array
from npconv.kernels.jit import compiled, contiguous
from npconv.kernels.moments import sums_about
from npconv.kernels.simd import INT, Vectors, data_of


def softmax_cross_entropy(logits: Array, labels: Array, label_smoothing: float) -> Array:
    """One thread per image, then the mean; sums are kept in float64."""
    per_image, powers = np.empty(len(logits), np.float64), np.empty_like(logits, order="C")
    _softmax_cross_entropy(contiguous(logits), contiguous(labels.astype(np.int64)), label_smoothing, powers, per_image)
    return np.asarray(per_image.mean(), logits.dtype)


@compiled
def _softmax_cross_entropy(logits, labels, label_smoothing, powers, per_image):
    batch, classes = logits.shape
    flat, flat_powers = logits.reshape(logits.size), powers.reshape(powers.size)
    for n in prange(batch):
        start = np.int64(n) * classes
        largest = largest_of(flat, start, classes)
        log_sum = np.log(powers_of_e(flat, start, classes, largest, flat_powers))
        # A class without a share of the target costs nothing, even where its log p is -inf.
        loss = (1 - label_smoothing) * (log_sum - (logits[n, labels[n]] - largest)) if label_smoothing < 1 else 0.0
        if label_smoothing > 0:
            loss += label_smoothing * (log_sum - sums_about(flat, start, classes, largest)[0] / classes)
        per_image[n] = loss


def softmax_cross_entropy_input_grad(dy: Array, logits: Array, labels: Array, label_smoothing: float) -> Array:
    """dlogits = (p - target) / N * dy. One thread per image."""
    dlogits = np.empty(logits.shape, logits.dtype)
    scale = float(dy) / len(logits)
    labels = contiguous(labels.astype(np.int64))
    _softmax_cross_entropy_input_grad(contiguous(logits), labels, label_smoothing, scale, dlogits)
    return dlogits


@compiled
def _softmax_cross_entropy_input_grad(logits, labels, label_smoothing, scale, dlogits):
    batch, classes = logits.shape
    flat, flat_dlogits = logits.reshape(logits.size), dlogits.reshape(dlogits.size)
    for n in prange(batch):
        start = np.int64(n) * classes
        total = powers_of_e(flat, start, classes, largest_of(flat, start, classes), flat_dlogits)
        label, share = labels[n], label_smoothing / classes
        at_label = (dlogits[n, label] / total - share - (1 - label_smoothing)) * scale
        number = logits.dtype.type
        _less_a_share(dlogits[n], number(1 / total), number(share), number(scale))
        dlogits[n, label] = at_label


@njit(error_model="numpy")
def _less_a_share(row, factor, share, scale):
    for k in range(row.size):
        row[k] = (row[k] * factor - share) * scale


@intrinsic
def largest_of(typing_context, x, start, count):
    """The largest of x[start + i], i < count; of NaNs it may be any other, or -inf."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, start, count = arguments
        v = Vectors(context, builder, signature.args[0].dtype)
        first = v.at(data_of(context, builder, signature.args[0], x), start)
        lowest = ir.Constant(v.type, [-math.inf] * v.lanes)
        largest = cgutils.alloca_once_value(builder, lowest)

        def see(place: Any, mask: Any) -> None:
            number, old = v.masked_load(v.at(first, place), mask, lowest), builder.load(largest)
            builder.store(builder.select(builder.fcmp_ordered(">", number, old), number, old), largest)

        _for_each_vector(v, count, see)
        return v.across(builder.load(largest), lambda a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))

    return x.dtype(x, types.intp, types.intp), generate


# What e^x needs of either float: how many bits its fraction has, how many terms of the series are below half a rounding error for
# |r| <= log(2) / 2, the leading bits of log(2) whose products with small integers are exact, and where numbers are no longer normal.
_PRECISION = {4: (23, 7, 0.693359375, -87.0), 8: (52, 13, float.fromhex("0x1.62e42feep-1"), -708.0)}


@intrinsic
def powers_of_e(typing_context, x, start, count, largest, y):
    """y[start + i] = e^(x[start + i] - largest) for i < count, and their sum in float64; what is nearly 0 is 0.

    With d = n * log(2) + r, n an integer, e^d is 2^n times the series of e^r. The rounding to n is an addition that leaves n in
    the last bits, from where a shift makes it the exponent of 2^n.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, start, count, largest, y = arguments
        v = Vectors(context, builder, signature.args[0].dtype)
        fraction, terms, log2_high, lowest = _PRECISION[v.bytes]
        integers = ir.VectorType(ir.IntType(8 * v.bytes), v.lanes)

        def constant(value: float) -> Any:
            return ir.Constant(v.type, [value] * v.lanes)

        first_x, first_y = (
            v.at(data_of(context, builder, signature.args[i], array), start) for i, array in ((0, x), (4, y))
        )
        about, rounding = v.splat(largest), constant(1.5 * 2.0**fraction)
        lanes = v.lanes * v.bytes // 8
        wide = ir.VectorType(ir.DoubleType(), lanes)
        total = cgutils.alloca_once_value(builder, ir.Constant(wide, [0.0] * lanes))

        def raise_to(place: Any, mask: Any) -> None:
            d = builder.fsub(v.masked_load(v.at(first_x, place), mask, about), about)
            shifted = v.fma(d, constant(1 / math.log(2)), rounding)
            n = builder.fsub(shifted, rounding)
            r = v.fma(n, constant(-log2_high), d)
            r = v.fma(n, constant(log2_high - math.log(2)), r)
            power = constant(1 / math.factorial(terms))
            for term in reversed(range(terms)):
                power = v.fma(power, r, constant(1 / math.factorial(term)))
            exponent = builder.shl(builder.bitcast(shifted, integers), ir.Constant(integers, [fraction] * v.lanes))
            power = builder.bitcast(builder.add(builder.bitcast(power, integers), exponent), v.type)
            power = builder.select(builder.fcmp_ordered("<", d, constant(lowest)), v.zero, power)
            power = builder.select(builder.fcmp_unordered("uno", d, d), d, power)
            v.masked_store(power, v.at(first_y, place), mask)
            power = builder.select(mask, power, v.zero)
            for half in range(v.lanes // lanes):
                numbers = v.shuffle(power, power, list(range(half * lanes, (half + 1) * lanes)))
                numbers = numbers if v.bytes == 8 else builder.fpext(numbers, wide)
                builder.store(builder.fadd(builder.load(total), numbers), total)

        _for_each_vector(v, count, raise_to)
        return v.sum(builder.load(total))

    return types.float64(x, types.intp, types.intp, x.dtype, y), generate


def _for_each_vector(v: Vectors, count: Any, see: Any) -> None:
    """``see(place, mask)`` for each vector of `count` numbers."""
    builder = v.builder
    vectors = builder.sdiv(builder.add(count, INT(v.lanes - 1)), INT(v.lanes))
    with cgutils.for_range(builder, vectors, intp=INT) as over:
        place = builder.mul(over.index, INT(v.lanes))
        see(place, v.first_lanes(builder.sub(count, place)))
