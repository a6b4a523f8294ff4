"""Formats of numbers, by how float64 numbers are rounded to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from npconv.geometry import Array


def round_significand(x: Array, bits: int, *, nearest: bool = True) -> Array:
    """float64 `x` with `bits` bits kept after the leading one: to nearest, ties to even, or towards zero.

    >>> round_significand(np.array([1.0, 1.5, 2.5, 3.5]), 0)
    array([1., 2., 2., 4.])
    """
    dropped = 52 - bits
    pattern = np.ascontiguousarray(x, np.float64).view(np.uint64)
    if nearest:
        last_kept = (pattern >> np.uint64(dropped)) & np.uint64(1)
        pattern = pattern + np.uint64((1 << (dropped - 1)) - 1) + last_kept  # a carry moves on to the exponent, rightly
    rounded = (pattern >> np.uint64(dropped) << np.uint64(dropped)).view(np.float64)
    return np.where(np.isfinite(x), rounded, x)


def _through(dtype: type[np.floating[Any]], x: Array) -> Array:
    return x.astype(dtype).astype(np.float64)


def _float8(x: Array, bits: int, least: int, largest: float, beyond: float) -> Array:
    """Denormal below 2^least; larger numbers become `beyond`. Micikevicius et al., FP8 Formats for Deep Learning (arXiv 2209.05433)."""
    spacing = np.ldexp(1.0, least - bits)
    rounded = np.where(np.abs(x) < np.ldexp(1.0, least), np.rint(x / spacing) * spacing, round_significand(x, bits))
    return np.where(np.abs(rounded) > largest, np.copysign(beyond, x), rounded)


FORMATS: dict[str, Callable[[Array], Array]] = {
    "float64": partial(_through, np.float64),
    "float32": partial(_through, np.float32),
    "float16": partial(_through, np.float16),
    "TF32": partial(round_significand, bits=10),
    "bfloat16": partial(round_significand, bits=7),
    "17 bits": partial(round_significand, bits=17),
    "truncated TF32": partial(round_significand, bits=10, nearest=False),
    "truncated bfloat16": partial(round_significand, bits=7, nearest=False),
    "float8 e4m3": partial(_float8, bits=3, least=-6, largest=448.0, beyond=448.0),
    "float8 e5m2": partial(_float8, bits=2, least=-14, largest=57344.0, beyond=np.inf),
}
"""Rounding of float64 numbers to a format, by its name; TF32 and bfloat16 have float32's range, which is not enforced."""
