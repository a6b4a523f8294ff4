"""The average of a network over its training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from npconv.geometry import Array, fraction
from npconv.nn import Layer


class Average:
    """The exponential moving average of a model's parameters and running statistics: steadier than its last step.

    With d = decay, or (1 + t) / (10 + t) where that is less, after step t: ``average = d * average + (1 - d) * model``

    Parameters
    ----------
    model : layer
    decay : float in [0, 1)

    Raises
    ------
    TypeError, ValueError
        A decay that is none.

    Notes
    -----
    Polyak and Juditsky, SIAM J. Control Optim. 30 (1992); the rule for early steps is TensorFlow's.

    Examples
    --------
    >>> import numpy as np
    >>> from npconv import nn
    >>> model = nn.Linear(1, 1, bias=False, rng=np.random.default_rng(0))
    >>> model.params["w"][...] = 0.0
    >>> average = Average(model, 0.9)
    >>> model.params["w"][...] = 11.0
    >>> average.update(model)
    >>> with average.in_place_of(model):
    ...     model.params["w"]  # d is 2 / 11 after the first step
    array([[9.]], dtype=float32)
    """

    def __init__(self, model: Layer, decay: float) -> None:
        self.decay = fraction("decay", decay, below_one=True)
        self.steps = 0
        self.arrays = {name: array.astype(_wide(array)) for name, array in model.state().items()}

    def update(self, model: Layer) -> None:
        """Take the model as it is after another step into the average."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, array in model.state().items():
            average = self.arrays[name]
            average += (1 - decay) * (array - average)

    @contextlib.contextmanager
    def in_place_of(self, model: Layer) -> Iterator[None]:
        """Inside the block the model is the average; afterwards it is as it was before."""
        own = {name: array.copy() for name, array in model.state().items()}
        try:
            model.load_state({name: array.astype(own[name].dtype) for name, array in self.arrays.items()})
            yield
        finally:
            model.load_state(own)


def _wide(array: Array) -> Any:
    return np.float32 if array.dtype == np.float16 else array.dtype
