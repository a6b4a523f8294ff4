"""The fully connected layer, and the flattening before it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import Array, check_dtypes, check_shape, flag, integer
from npconv.nn.initialization import uniform
from npconv.nn.layer import Layer, OperatorLayer
from npconv.ops import linear, linear_backward


class Linear(OperatorLayer):
    """A linear map with its matrix: `npconv.linear`, x (N, in_features) to y (N, out_features).

    Matrix and bias begin uniform between plus and minus 1 / sqrt(in_features), as in PyTorch.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    rng, dtype
        As in `Conv2d`.

    Attributes
    ----------
    params : ``w`` (out_features, in_features), and ``b`` (out_features,) where `bias`

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or below 1.

    Examples
    --------
    >>> import numpy as np
    >>> Linear(4, 2, rng=np.random.default_rng(0)).parameter_count()
    10
    """

    operator = staticmethod(linear)
    operator_backward = staticmethod(linear_backward)

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        rng: np.random.Generator,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.in_features = integer("in_features", in_features, minimum=1)
        self.out_features = integer("out_features", out_features, minimum=1)
        self.bias = flag("bias", bias)
        self.params["w"] = uniform((self.out_features, self.in_features), self.in_features, rng, dtype)
        if self.bias:
            self.params["b"] = uniform((self.out_features,), self.in_features, rng, dtype)


class Flatten(Layer):
    """All axes but the batch as one, in C order: x (N, C, H, W) to y (N, C * H * W).

    Notes
    -----
    The layer of Keras and PyTorch that has this name.

    Examples
    --------
    >>> import numpy as np
    >>> Flatten()(np.zeros((2, 3, 4, 5))).shape
    (2, 60)
    """

    def forward(self, x: Array) -> Array:
        check_dtypes([("x", x)])
        if x.ndim == 0:
            raise ValueError("x must have at least the axis of the batch, got an array without axes")
        y = x.reshape(len(x), math.prod(x.shape[1:]))
        self._keep(x.shape, y.shape)
        return y

    def backward(self, dy: Array) -> Array:
        x_shape, y_shape = self._recall()
        check_shape("dy", dy, y_shape, "that of the output")
        return dy.reshape(x_shape)
