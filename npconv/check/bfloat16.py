"""bfloat16, of which NumPy has no dtype: numbers are kept as float32, and given in arrays of the package ml_dtypes.

A case of bfloat16 is one of float32 whose numbers are rounded to 8 bits; what is right for it is worked out as for any other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import FLOAT_DTYPES, Array

NAME = "bfloat16"
DTYPES = "float16", NAME, "float32", "float64"
"""Of the arrays of a case, by name."""

NO_SMALLER = 16
"""Binary digits by which the smallest number of bfloat16 is larger than that of float32, whose exponents it has."""


def dtype_named(dtype: DTypeLike) -> np.dtype[Any]:
    """The dtype of `DTYPES` that `dtype` is, ml_dtypes' own for bfloat16.

    Raises TypeError for any other, and ImportError where ml_dtypes is missing.

    >>> dtype_named("float16")
    dtype('float16')
    """
    if getattr(dtype, "name", getattr(dtype, "__name__", dtype)) == NAME:
        try:
            import ml_dtypes
        except ImportError:
            raise ImportError(
                "bfloat16 needs the package ml_dtypes, which is not installed: pip install ml_dtypes"
            ) from None
        return np.dtype(ml_dtypes.bfloat16)
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found not in FLOAT_DTYPES:
        raise TypeError(f"dtype must be {', '.join(DTYPES[:-1])} or {DTYPES[-1]}, got {found or dtype}")
    return found


def rounded(array: Array) -> Array:
    """The nearest numbers of bfloat16, in the dtype of `array`."""
    return np.asarray(array.astype(dtype_named(NAME)).astype(array.dtype))
