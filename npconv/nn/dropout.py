"""Dropout."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import numpy as np

from npconv.geometry import Array, check_dtypes, check_rng, check_shape, fraction
from npconv.nn.layer import Layer

_part: ContextVar[tuple[slice, int] | None] = ContextVar("npconv_dropout_part", default=None)


@contextlib.contextmanager
def part_of_batch(own: slice, whole: int) -> Iterator[None]:
    """Let dropouts of the block drop what they would of the images `own`, were they given all of a batch of `whole` images.

    So processes that share a batch, and draw from equal generators, drop what one process would.

    >>> import numpy as np
    >>> x = np.ones((1, 4))
    >>> with part_of_batch(slice(1, 2), 2):
    ...     y = Dropout(0.5, rng=np.random.default_rng(0))(x)
    >>> bool((y == Dropout(0.5, rng=np.random.default_rng(0))(np.ones((2, 4)))[1:]).all())
    True
    """
    token = _part.set((own, whole))
    try:
        yield
    finally:
        _part.reset(token)


class Dropout(Layer):
    """In training each number is 0 with probability `rate`, else divided by 1 - rate; in evaluation y is x.

    Parameters
    ----------
    rate : float in [0, 1)
    rng : numpy.random.Generator
        What the mask of each forward is drawn from, in float64 whatever the dtype of x: so all dtypes drop alike.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type, a rate out of range.

    Notes
    -----
    Srivastava et al., JMLR 15 (2014), in the "inverted" form that leaves evaluation alone.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Dropout(0.5, rng=np.random.default_rng(0))
    >>> layer(np.ones((1, 4))), layer.eval()(np.ones((1, 4)))
    (array([[2., 0., 0., 0.]]), array([[1., 1., 1., 1.]]))
    """

    def __init__(self, rate: float, *, rng: np.random.Generator) -> None:
        super().__init__()
        self.rate = fraction("rate", rate, below_one=True)
        self._rng = check_rng(rng)

    def forward(self, x: Array) -> Array:
        check_dtypes([("x", x)])
        if x.ndim == 0:
            raise ValueError("x must have an axis of images, got a single number")
        scale = np.ones_like(x)
        if self.training:
            own, whole = _part.get() or (slice(None), len(x))
            scale[self._rng.random((whole, *x.shape[1:]))[own] < self.rate] = 0
            scale /= 1 - self.rate
        self._keep(scale)
        return x * scale

    def backward(self, dy: Array) -> Array:
        (scale,) = self._recall()
        check_shape("dy", dy, scale.shape, "that of the output")
        check_dtypes([("x", scale), ("dy", dy)])
        return dy * scale
