"""Squeeze and excite: channels weighted by what all pixels say."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import Array, check_shape, integer
from npconv.nn.activations import HardSigmoid, ReLU
from npconv.nn.containers import Sequential
from npconv.nn.convolution import PointwiseConv2d
from npconv.nn.layer import Layer
from npconv.nn.pooling import GlobalAvgPool2d


class SqueezeExcite(Layer):
    """Each channel times a gate in [0, 1] made of all channels' means: ``y = x * gate(x)``.

    ``gate = hard_sigmoid(expand(relu(reduce(global_avg_pool2d(x)))))``, reduce and expand being pointwise convolutions
    with bias, from `channels` to `reduced` and back.

    Parameters
    ----------
    channels, reduced : int
    rng, dtype
        As in `Conv2d`.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or below 1.

    Notes
    -----
    Squeeze-and-Excitation (arXiv 1709.01507), section 3, with GhostNet's gate in place of the sigmoid. Child: ``gate``,
    with ``pool``, ``reduce``, ``relu``, ``expand`` and ``hard_sigmoid``.

    Examples
    --------
    >>> import numpy as np
    >>> SqueezeExcite(8, 2, rng=np.random.default_rng(0)).parameter_count()  # 8 * 2 + 2 + 2 * 8 + 8
    42
    """

    def __init__(self, channels: int, reduced: int, *, rng: np.random.Generator, dtype: DTypeLike = np.float32) -> None:
        super().__init__()
        self.channels = integer("channels", channels, minimum=1)
        self.reduced = integer("reduced", reduced, minimum=1)
        self.gate = Sequential(
            pool=GlobalAvgPool2d(),
            reduce=PointwiseConv2d(channels, reduced, rng=rng, dtype=dtype),
            relu=ReLU(),
            expand=PointwiseConv2d(reduced, channels, rng=rng, dtype=dtype),
            hard_sigmoid=HardSigmoid(),
        )

    def forward(self, x: Array) -> Array:
        gate = self.gate(x)
        self._keep(x, gate)
        return x * gate

    def backward(self, dy: Array) -> Array:
        """x is read twice, by the product and by the gate; a gate's gradient gathers all pixels of its plane."""
        x, gate = self._recall()
        check_shape("dy", dy, x.shape, "that of x")
        return dy * gate + self.gate.backward((dy * x).sum(axis=(2, 3), keepdims=True))
