"""Probes of formats that most probes are too much for: 8 bits, of floats and of whole numbers, and factors in several parts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from npconv.check import probes
from npconv.check.subject import Subject
from npconv.geometry import Array

# --- whole numbers -----------------------------------------------------------------------------------------------

INT8 = 127  # the largest, which the largest factor becomes


def rounds_to_int8(subject: Subject, rng: np.random.Generator) -> bool:
    """Whether both factors become whole multiples of a step, of which the largest has 127.

    With 127 for the largest, whole numbers stay and all others become the nearest; a float would keep the small ones.
    """
    first, second = subject.some(rng, 2)
    values = np.array([1.0, 50, 126, 0.375, 1.25, 64.25, 126.25, 63.75])
    factors = first * INT8 + second * values[:, None]
    of_x = subject.sums(factors, second[None])[:, 0]
    of_w = subject.sums(second[None], factors)[0]
    return all(bool((np.abs(got - np.rint(values)) < 1e-3).all()) for got in (of_x, of_w))


def int8_excess(subject: Subject, x: Array, w: Array, y: Array, exact: Array) -> float:
    """The largest error in units of what the rounding of both factors to 127 steps can explain, each filter by itself or not."""
    steps = np.abs(x).max() / INT8, np.abs(w).max() / INT8
    pad = ((0, 0), (0, 0), (subject.pad, subject.pad), (subject.pad, subject.pad))
    of_windows = np.lib.stride_tricks.sliding_window_view(np.pad(np.abs(x), pad), w.shape[2:], axis=(2, 3))
    sums = of_windows.sum(axis=(1, 4, 5))[:, None] * steps[1] / 2
    sums = sums + np.abs(w).sum(axis=(1, 2, 3))[:, None, None] * steps[0] / 2
    return float((np.abs(y - exact) / (sums + subject.terms * steps[0] * steps[1])).max())


# --- floats of 8 bits --------------------------------------------------------------------------------------------

FLOAT8 = {(3, -9, 8): "float8 e4m3", (2, -16, 15): "float8 e5m2"}
"""By the bits after the leading one, and the exponents of the smallest number and of the largest power of two."""


class Float8(NamedTuple):
    """What is found of a convolution of such numbers; `result_bits` are as many as could be seen where all were kept."""

    name: str
    sum_bits: int
    more_sum_bits: bool
    result_bits: int
    more_result_bits: bool
    float16_results: bool


def float8(subject: Subject, rng: np.random.Generator) -> Float8 | None:
    """The format of both factors, if it is one of `FLOAT8`; None for any other."""
    bits = probes.factor_bits(subject, rng)
    if bits[0] != bits[1] or bits[0] > 3:
        return None
    name = FLOAT8.get((bits[0], *_exponents(subject, rng, False)))
    if name is None or name != FLOAT8.get((bits[0], *_exponents(subject, rng, True))):
        return None
    most = next(key[2] for key, value in FLOAT8.items() if value == name)
    sum_bits, more = _sum_bits(subject, rng, most)
    result_bits, more_result = _result_bits(subject, rng, most)
    position = subject.some(rng)
    largest = subject.sums(position * 2.0**most, position * 2.0 ** (17 - most))[0, 0]
    return Float8(name, sum_bits, more, result_bits, more_result, not np.isfinite(largest))


def _exponents(subject: Subject, rng: np.random.Generator, of_w: bool) -> tuple[int, int]:
    """The exponents of the smallest and the largest power of two that is kept, from 1 on."""
    position, tested = subject.some(rng), np.arange(-40, 41)
    factors = position * 2.0 ** tested[:, None]
    y = subject.sums(position, factors)[0] if of_w else subject.sums(factors, position)[:, 0]
    kept = np.abs(y / 2.0**tested - 1) < 2.0**-4
    lost = np.flatnonzero(~kept)
    below, above = lost[lost < 40], lost[lost > 40]
    return int(tested[below[-1] + 1]) if len(below) else -40, int(tested[above[0] - 1]) if len(above) else 40


def _sum_bits(subject: Subject, rng: np.random.Generator, most: int) -> tuple[int, bool]:
    """As `probes.sum_bits_kept`, with every term a product of two numbers of the same size."""
    tested = probes.SUM_BITS[4 * most >= probes.SUM_BITS]
    high, low = (tested + 1) // 2, tested // 2
    x_large, w_large = 2.0 ** ((high + 1) // 2), 2.0 ** (high // 2)
    x_small, w_small = 2.0 ** -((low + 1) // 2), 2.0 ** -(low // 2)
    triple = subject.some(rng, 3)
    windows, kernels = [], []
    for plus, one, minus in (triple, triple[[1, 2, 0]], triple[[2, 0, 1]]):
        windows.append((plus - minus) * x_large[:, None] + one * x_small[:, None])
        kernels.append((plus + minus) * w_large[:, None] + one * w_small[:, None])
    y = np.diagonal(subject.sums(np.vstack(windows), np.vstack(kernels))).reshape(3, -1)
    survives = (y == x_small * w_small).all(axis=0)
    kept = len(tested) if survives.all() else int(np.argmin(survives))
    return int(tested[kept - 1]) if kept else 0, kept == len(tested)


def _result_bits(subject: Subject, rng: np.random.Generator, most: int) -> tuple[int, bool]:
    """The bits of a sum of 1 and a power of two, which is a product of two."""
    first, second = subject.some(rng, 2)
    places = np.arange(1, 2 * most + 1)
    windows = first + second * 2.0 ** -(places[:, None] // 2)
    kernels = first + second * 2.0 ** -(places[:, None] - places[:, None] // 2)
    y = np.diagonal(subject.sums(windows, kernels))
    right = np.abs(y - 1 - 0.5**places) < 0.5**places / 4
    kept = len(right) if right.all() else int(np.argmin(right))
    return kept, kept == len(right)


# --- factors in parts --------------------------------------------------------------------------------------------


class Parts(NamedTuple):
    """Factors that are each a sum of shorter numbers, and how far a product of them may be off, relative to it."""

    name: str
    error: float


TWO_BFLOAT16 = Parts("2 bfloat16 parts of each factor", 2.0**-14)
THREE_BFLOAT16 = Parts("3 bfloat16 parts of each factor", 2.0**-21)
TWO_TF32 = Parts("2 TF32 parts of each factor", 2.0**-20)


def parts(subject: Subject, rng: np.random.Generator, ulps: float) -> Parts | None:
    """Which parts there are where products of float32 are within so many units of the last place; None for none of these.

    The product of both second parts is not made: it is the square of e in that of 1 + e by itself. Where it is there, a third
    part may be too small for the shorter format's exponents.
    """
    first, second = subject.some(rng, 2)
    places = np.arange(5, 12)
    e = 2.0 ** -places[:, None]
    y = np.diagonal(subject.sums(first * (1 + e) - second * (1 + 2 * e), first * (1 + e) + second))
    kept = np.abs(y - e[:, 0] ** 2) < e[:, 0] ** 2 / 4
    lost = int(places[np.argmin(kept)]) if not kept.all() else 0
    if lost == 8 and not kept[places >= 8].any() and 4 < ulps <= TWO_BFLOAT16.error * 2**23:
        return TWO_BFLOAT16
    if lost == 11 and ulps <= TWO_TF32.error * 2**23:
        return TWO_TF32
    if not lost and ulps <= THREE_BFLOAT16.error * 2**23 and _loses_small_parts(subject, rng):
        return THREE_BFLOAT16
    return None


def _loses_small_parts(subject: Subject, rng: np.random.Generator) -> bool:
    """Whether 2^-135, a part of a much larger number, is lost, as by bfloat16, whose smallest number is 2^-133.

    The number and another one without that part are multiplied by 2^100.
    """
    first, second = subject.some(rng, 2)
    y = subject.sums(np.array([first * (1 + 2.0**-23) * 2.0**-112]), np.array([first * 2.0**100]))[0, 0]
    near = subject.sums(np.array([second * (1 + 2.0**-20) * 2.0**-112]), np.array([second * 2.0**100]))[0, 0]
    return bool(y == 2.0**-12 and near == (1 + 2.0**-20) * 2.0**-12)
