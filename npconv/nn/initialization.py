"""How parameters begin. Whatever is random comes from the caller's generator, drawn in float64 for every dtype."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import Array, check_dtype, check_fits, check_rng

_allowed: ContextVar[list[int] | None] = ContextVar("npconv_parameters", default=None)  # left, and at first


def he_normal(shape: tuple[int, ...], fan_in: int, rng: np.random.Generator, dtype: DTypeLike) -> Array:
    """Normal numbers of mean 0 and variance 2 / fan_in, for fan_in products in each sum.

    He et al. (arXiv 1502.01852), equation 10: through such a convolution and a ReLU the forward signal keeps its size.
    """
    rng, dtype = check_rng(rng), check_dtype(dtype)
    _check_fits(shape, dtype)
    return (rng.standard_normal(shape) * math.sqrt(2 / fan_in)).astype(dtype)


def uniform(shape: tuple[int, ...], fan_in: int, rng: np.random.Generator, dtype: DTypeLike) -> Array:
    """Uniform numbers between plus and minus 1 / sqrt(fan_in): PyTorch's choice for the linear layer."""
    rng, dtype = check_rng(rng), check_dtype(dtype)
    _check_fits(shape, dtype)
    bound = 1 / math.sqrt(fan_in)
    return rng.uniform(-bound, bound, shape).astype(dtype)


def constant(shape: tuple[int, ...], value: float, dtype: DTypeLike) -> Array:
    """An array of one number."""
    dtype = check_dtype(dtype)
    _check_fits(shape, dtype)
    return np.full(shape, value, dtype)


@contextlib.contextmanager
def at_most(numbers: int) -> Iterator[None]:
    """Let the layers that this thread makes in this block have no more parameters than so many numbers; ValueError where they would.

    For whoever makes a network by what a file says of it.
    """
    token = _allowed.set([numbers, numbers])
    try:
        yield
    finally:
        _allowed.reset(token)


def _check_fits(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise where a parameter would be more than is allowed, or would not fit, of which there are two while it is drawn."""
    if (allowed := _allowed.get()) is not None:
        allowed[0] -= math.prod(shape)
        if allowed[0] < 0:
            raise ValueError(f"the network must have at most {allowed[1]:,} numbers as parameters, got more")
    check_fits(f"a parameter of the shape {shape}", math.prod(shape), np.dtype(np.float64).itemsize + dtype.itemsize)
