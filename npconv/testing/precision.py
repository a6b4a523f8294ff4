"""Declared arithmetics: how far a result may be off whose factors are rounded before they are multiplied, or whose sums are not
in the dtype of the arrays.

`ALGORITHMS` are declared by their names, alone or after an arithmetic and a plus sign: "fft", "tf32+winograd-4x4".

Matrix units round the two factors of every product, add up the products in more bits, and round the result. A result of one
convolution then has two roundings of factors, as many of sums as it has terms, and one of the result; of two convolutions one
after the other, twice as many.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import is_word, shown
from npconv.testing.bounds import gamma, unit_roundoff
from npconv.testing.transforms import ALGORITHMS


class Precision(NamedTuple):
    """A declared arithmetic.

    Attributes
    ----------
    factors, sums, result : float
        The unit roundoffs: of the factors of a product (0 where they are taken as they are), of the sums, and of the result,
        which is never more precise than its dtype.
    bits : int
        The significant bits of a factor.
    largest : float
        The largest number of the factors' format.
    stages : int
        So many products are made one after another.
    smallest : float
        The smallest number above 0 of the results' format.
    algorithm : str
        That of `npconv.testing.transforms.ALGORITHMS` which sums are made by, or "".
    """

    factors: float
    sums: float
    result: float
    bits: int
    largest: float = float(np.finfo(np.float32).max)
    stages: int = 1
    smallest: float = 0.0
    algorithm: str = ""

    def relative(self, terms: int, dtype: DTypeLike, sums: Callable[[int, float], float]) -> float:
        """The relative error of sums of `terms` products; infinite where it says nothing.

        ``sums(terms, roundoff)`` is `npconv.testing.gamma`, or what it is in all likelihood.
        """
        result = max(self.result, unit_roundoff(dtype))
        if terms * self.sums >= 1:
            return float("inf")
        factors = (1 + gamma(2 * self.stages, self.factors)) * (1 + gamma(self.stages, result))
        return (1 + sums(terms, self.sums)) * factors - 1

    def holds(self, array: np.ndarray) -> bool:
        """Whether the factors' format has every number of `array`."""
        numbers = array[np.isfinite(array)]
        scaled = np.ldexp(np.frexp(numbers)[0].astype(np.float64), self.bits)
        return bool((scaled == np.rint(scaled)).all() and np.abs(numbers).max(initial=0.0) <= self.largest)


PRECISIONS: dict[str, Precision] = {
    "float16": Precision(2.0**-11, 2.0**-24, 2.0**-11, 11, 65504.0, smallest=2.0**-24),
    "bfloat16": Precision(2.0**-8, 2.0**-24, 2.0**-8, 8, smallest=2.0**-133),
    "tf32": Precision(2.0**-10, 2.0**-24, 2.0**-24, 11),  # units that cut factors instead of rounding them included
    "float32": Precision(0.0, 2.0**-24, 2.0**-24, 24),
    "float64": Precision(0.0, 2.0**-53, 2.0**-53, 53, float(np.finfo(np.float64).max)),
}
"""The arithmetics that can be declared: factors and result in the format that they are named after, sums in at least float32."""

STAGES = {
    "separable_conv2d": 2,
    "ghost_conv2d": 2,
    "octave_conv2d": 3,
    "octave_depthwise_conv2d": 2,
    "batch_norm2d": 12,
    "hard_sigmoid": 6,
    "hard_swish": 6,
    "softmax_cross_entropy": 12,
}
"""Roundings to the factors' format one after another, where they are more than those of one product: formulas have many."""


def names() -> list[str]:
    """All that can be declared: an arithmetic, an algorithm in float32, or both.

    >>> names()[:2], names()[-1]
    (['float16', 'bfloat16'], 'float64+fft')
    """
    return [*PRECISIONS, *ALGORITHMS, *(f"{one}+{other}" for one in PRECISIONS for other in ALGORITHMS)]


def precision(name: str | None, op: str) -> Precision | None:
    """The arithmetic that is declared for an operator by its name; None for none.

    Raises ValueError where there is none of that name.

    >>> precision("tf32", "conv2d").bits
    11
    >>> precision("winograd-2x2", "conv2d") == precision("float32+winograd-2x2", "conv2d")
    True
    """
    if name is None:
        return None
    if not is_word(name, names()):
        raise ValueError(
            f"the arithmetic must be one of {', '.join(PRECISIONS)}, one of {', '.join(ALGORITHMS)}, "
            f"or both with a plus sign between them, got {shown(name)}"
        )
    arithmetic, _, algorithm = name.rpartition("+")
    if algorithm in PRECISIONS:
        arithmetic, algorithm = algorithm, ""
    return PRECISIONS[arithmetic or "float32"]._replace(stages=STAGES.get(op, 1), algorithm=algorithm)
