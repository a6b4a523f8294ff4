"""Batch norm with its running statistics."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import Array, flag, fraction, integer, positive, word
from npconv.nn.initialization import constant
from npconv.nn.layer import Layer
from npconv.ops import batch_norm2d, batch_norm2d_backward
from npconv.ops.normalization import NormActivation, batch_norm2d_batch

MomentumConvention: TypeAlias = Literal["pytorch", "tensorflow"]


class BatchNorm2d(Layer):
    """Batch normalisation of x (N, C, H, W): `npconv.batch_norm2d` with the batch's statistics in training, the running ones in evaluation.

    Training normalises with the *biased* variance and runs the *unbiased* one, as PyTorch does.

    Parameters
    ----------
    channels : int
    eps : float
        Added to the variance. PyTorch's default; TensorFlow's is 1e-3.
    momentum : float in [0, 1]
    momentum_convention : "pytorch" or "tensorflow"
        PyTorch's momentum is the share of the new: ``running = (1 - momentum) * running + momentum * batch``.
        TensorFlow's is that of the old: ``running = momentum * running + (1 - momentum) * batch``, 0.99 by its default.
    unbiased : bool
        Whether the running variance takes the batch's n / (n - 1), n = N * H * W, or the biased variance itself.
    dtype : float16, float32 or float64

    Attributes
    ----------
    params : ``gamma`` (C,), ones at first, and ``beta`` (C,), zeros
    buffers : ``running_mean`` (C,), zeros at first, and ``running_var`` (C,), ones

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range; in training an empty batch, or n = 1 where `unbiased`.

    Examples
    --------
    >>> import numpy as np
    >>> layer = BatchNorm2d(1, dtype=np.float64)
    >>> y = layer(np.array([1.0, 3.0]).reshape(2, 1, 1, 1))
    >>> layer.buffers  # a tenth of the way to mean 2 and unbiased variance 2
    {'running_mean': array([0.2]), 'running_var': array([1.1])}
    """

    def __init__(
        self,
        channels: int,
        *,
        eps: float = 1e-5,
        momentum: float = 0.1,
        momentum_convention: MomentumConvention = "pytorch",
        unbiased: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        word("momentum_convention", momentum_convention, "pytorch", "tensorflow")
        self.channels = integer("channels", channels, minimum=1)
        self.eps = positive("eps", eps)
        self.momentum = fraction("momentum", momentum)
        self.momentum_convention = momentum_convention
        self.unbiased = flag("unbiased", unbiased)
        shape = (self.channels,)
        self.params = {"gamma": constant(shape, 1, dtype), "beta": constant(shape, 0, dtype)}
        self.buffers = {"running_mean": constant(shape, 0, dtype), "running_var": constant(shape, 1, dtype)}

    def forward(self, x: Array) -> Array:
        return self.forward_activated(x, None)

    def forward_activated(self, x: Array, activation: NormActivation | None) -> Array:
        """``activation(forward(x))`` in one go over memory; `backward` then takes dy behind the activation.

        `Sequential` trains a batch norm and the ReLU behind it so: the map between them, which is as large as x, is
        neither written nor kept.
        """
        gamma, beta = self.params["gamma"], self.params["beta"]
        options: dict[str, Any] = {"eps": self.eps, "activation": activation}
        if not self.training:
            fixed: dict[str, Any] = {"mean": self.buffers["running_mean"], "var": self.buffers["running_var"]}
            y = batch_norm2d(x, gamma, beta, **fixed, **options)
            self._keep(x, options | fixed)
            return y
        y, mean, var = batch_norm2d_batch(x, gamma, beta, **options)
        count = x.size // x.shape[1]
        if self.unbiased and count == 1:
            raise ValueError(
                f"x must have more than one number per channel to have an unbiased variance, got shape {x.shape}"
            )
        self._keep(x, options | {"batch_statistics": (mean, var)})
        self._run("running_mean", mean)
        self._run("running_var", var * (count / (count - 1)) if self.unbiased else var)
        return y

    def taken_over(self, behind: Layer) -> NormActivation | None:
        """The activation that `behind` is, in training."""
        activation: NormActivation | None = behind.as_activation()
        return activation if self.training and type(self) is BatchNorm2d else None

    def backward(self, dy: Array) -> Array:
        x, options = self._recall()
        gamma, beta = self.params["gamma"], self.params["beta"]
        dx, dgamma, dbeta, _, _ = batch_norm2d_backward(dy, x, gamma, beta, **options)
        self.grads = {"gamma": dgamma, "beta": dbeta}
        return dx

    def _run(self, name: str, batch: Array) -> None:
        """Move the running statistic towards the batch's."""
        new = self.momentum if self.momentum_convention == "pytorch" else 1 - self.momentum
        self.buffers[name] *= 1 - new
        self.buffers[name] += new * batch
