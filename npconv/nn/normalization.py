"""Batch norm with its running statistics, of one process's batch or of the batch of several."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import Array, flag, fraction, integer, positive, word
from npconv.nn.initialization import constant
from npconv.nn.layer import Layer
from npconv.ops import batch_norm2d, batch_norm2d_backward, batch_statistics2d
from npconv.ops.epilogue import Epilogue
from npconv.ops.normalization import batch_norm2d_batch

MomentumConvention: TypeAlias = Literal["pytorch", "tensorflow"]

Total: TypeAlias = Callable[[Array], Array]
_total: ContextVar[Total | None] = ContextVar("npconv_batch_norm_total", default=None)


@contextlib.contextmanager
def synchronised(total: Total) -> Iterator[None]:
    """Let batch norms of the block train with the statistics of all processes' batches together.

    ``total(array)`` is the sum of the processes' arrays, float64 of one shape, the same for each of them.

    >>> import numpy as np
    >>> layer, x = BatchNorm2d(1, dtype=np.float64), np.array([1.0, 3.0]).reshape(2, 1, 1, 1)
    >>> with synchronised(lambda array: 2 * array):  # another process with the same batch
    ...     y = layer(x)
    >>> layer.buffers["running_mean"]
    array([0.2])
    """
    token = _total.set(total)
    try:
        yield
    finally:
        _total.reset(token)


class BatchNorm2d(Layer):
    """Batch normalisation of x (N, C, H, W): `npconv.batch_norm2d` with the batch's statistics in training, the running ones in evaluation.

    Training normalises with the *biased* variance and runs the *unbiased* one, as PyTorch does. The statistics of float16 maps
    are float32, where the variance of numbers above 256 is no infinity.

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
    buffers : ``running_mean`` (C,), zeros at first, and ``running_var`` (C,), ones; float32 where dtype is float16

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range; in training an empty batch, or n = 1 where `unbiased`.

    Notes
    -----
    Ioffe and Szegedy (arXiv 1502.03167), algorithms 1 and 2.

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
        wide = np.float32 if np.dtype(dtype) == np.float16 else dtype
        self.buffers = {"running_mean": constant(shape, 0, wide), "running_var": constant(shape, 1, wide)}

    def forward(self, x: Array) -> Array:
        return self.forward_activated(x, None)

    def forward_activated(self, x: Array, activation: Epilogue | None) -> Array:
        """``activation(forward(x))`` in one sweep over memory; `backward` then takes dy after the activation.

        `Sequential` trains a batch norm and the ReLU after it in this way: the map between them, which is as large as x,
        is neither written nor kept.
        """
        wide, gamma, beta = self._wide(x)
        options: dict[str, Any] = {"eps": self.eps, "activation": activation}
        if not self.training:
            fixed: dict[str, Any] = {"mean": self.buffers["running_mean"], "var": self.buffers["running_var"]}
            y = batch_norm2d(wide, gamma, beta, **fixed, **options)
            self._keep(x, options | fixed, None)
            return _as(y, x)
        total = _total.get()
        if total is None:
            y, mean, var = batch_norm2d_batch(wide, gamma, beta, **options)
            count = x.size // x.shape[1]
            self._keep(x, options | {"batch_statistics": (mean, var)}, None)
        else:
            mean, var, count = _statistics(wide, total)
            y = batch_norm2d(wide, gamma, beta, mean, var, **options)
            self._keep(x, options | {"mean": mean, "var": var}, (total, count))
        if self.unbiased and count == 1:
            raise ValueError(
                f"x must have more than one number per channel to have an unbiased variance, got shape {x.shape}"
            )
        self._run("running_mean", mean)
        self._run("running_var", var * (count / (count - 1)) if self.unbiased else var)
        return _as(y, x)

    def taken_over(self, following: Layer) -> Epilogue | None:
        """The activation that `following` is, in training."""
        activation: Epilogue | None = following.as_activation()
        return activation if self.training and type(self) is BatchNorm2d else None

    def backward(self, dy: Array) -> Array:
        """Where processes share their statistics, each moves them all: dmean and dvar are the sums of theirs.

        mean is the sum of x / n and var that of (x - mean)**2 / n, so dx gains dmean / n + dvar * 2 * (x - mean) / n.
        """
        x, options, shared = self._recall()
        wide, gamma, beta = self._wide(x)
        if wide is not x:
            dy = dy.astype(np.float32) if dy.dtype == x.dtype else dy.astype(np.float64)  # which the operator refuses
        dx, dgamma, dbeta, dmean, dvar = batch_norm2d_backward(dy, wide, gamma, beta, **options)
        if shared is not None:
            total, count = shared
            dmean, dvar = total(np.array([dmean, dvar], np.float64)) / count
            away = wide - options["mean"][:, None, None]
            dx = dx + (dmean[:, None, None] + 2 * dvar[:, None, None] * away).astype(dx.dtype)
        self.grads = {"gamma": _as(dgamma, x), "beta": _as(dbeta, x)}
        return _as(dx, x)

    def _wide(self, x: Array) -> tuple[Array, Array, Array]:
        """x, gamma and beta, in float32 where they are float16."""
        gamma, beta = self.params["gamma"], self.params["beta"]
        if isinstance(x, np.ndarray) and x.dtype == gamma.dtype == np.float16:
            return x.astype(np.float32), gamma.astype(np.float32), beta.astype(np.float32)
        return x, gamma, beta

    def _run(self, name: str, batch: Array) -> None:
        """Move the running statistic towards the batch's."""
        new = self.momentum if self.momentum_convention == "pytorch" else 1 - self.momentum
        self.buffers[name] *= 1 - new
        self.buffers[name] += new * batch


def _as(array: Array, x: Array) -> Array:
    """`array` of the dtype of x; overflow to infinity is what a narrower float does."""
    if array.dtype == x.dtype or x.dtype != np.float16:
        return array
    with np.errstate(over="ignore"):
        return array.astype(np.float16)


def _statistics(x: Array, total: Total) -> tuple[Array, Array, int]:
    """Mean, biased variance and count of the numbers of a channel in all processes, in float64 from each one's."""
    mean, var = (array.astype(np.float64) for array in batch_statistics2d(x))
    own = x.size // x.shape[1]
    count, sums, squares = total(np.stack([np.full_like(mean, own), own * mean, own * (var + mean * mean)]))
    mean = sums / count
    var = np.maximum(squares / count - mean * mean, 0)
    return mean.astype(x.dtype), var.astype(x.dtype), int(count[0])
