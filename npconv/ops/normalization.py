"""Batch normalisation, with the batch's own statistics or with fixed ones."""

from __future__ import annotations

from npconv.backends import primitives
from npconv.geometry import Array, check_array, check_shape, positive
from npconv.ops.epilogue import Epilogue, check_epilogue
from npconv.ops.operator import operator


@operator("x")
def batch_statistics2d(x: Array) -> tuple[Array, Array]:
    """The mean and biased variance of each channel, over batch, rows and columns, of x (N, C, H, W).

    ``mean[c] = mean over n, h, w of x[n,c,h,w]``, ``var[c] = mean over n, h, w of (x[n,c,h,w] - mean[c])**2``

    Raises ValueError for an empty batch, which has no mean.

    Parameters
    ----------
    x : array (N, C, H, W)
        float16, float32 or float64, all of one dtype; never modified.

    Returns
    -------
    mean, var : arrays (C,)

    Raises
    ------
    TypeError, ValueError
        x is no float array of 4 axes, or an empty one.

    Notes
    -----
    Ioffe and Szegedy (arXiv 1502.03167), algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> mean, var = batch_statistics2d(np.array([1.0, 3.0]).reshape(2, 1, 1, 1))
    >>> mean, var
    (array([2.]), array([1.]))
    """
    _check_not_empty(check_array("x", x, "NCHW"))
    mean, var = primitives.batch_statistics2d(x)
    return mean, var


@operator("x", "gamma", "beta", "mean", "var")
def batch_norm2d(
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array | None = None,
    var: Array | None = None,
    *,
    eps: float = 1e-5,
    activation: Epilogue | None = None,
) -> Array:
    """Batch normalisation: ``y[n,c,h,w] = gamma[c] * (x[n,c,h,w] - mean[c]) / sqrt(var[c] + eps) + beta[c]``.

    With an activation, y is that of these numbers: ``batch_norm2d(..., activation="relu")`` is ``relu(batch_norm2d(...))``
    in one go over memory.

    Parameters
    ----------
    x : array (N, C, H, W)
        float16, float32 or float64; never modified.
    gamma, beta : array (C,)
    mean, var : array (C,), optional
        Fixed statistics, as in evaluation. Without them the batch's own are used, as in training: the mean and the
        *biased* variance of `batch_statistics2d`.
    eps : float
        Above 0. PyTorch's default; TensorFlow's is 1e-3.
    activation : "relu" or "relu6", optional

    Returns
    -------
    array (N, C, H, W)

    Raises
    ------
    TypeError, ValueError
        Dtypes or shapes that do not fit together, one of mean and var without the other, eps not above 0, an empty
        batch without fixed statistics, another activation.

    Notes
    -----
    Ioffe and Szegedy (arXiv 1502.03167), algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.ones(1)
    >>> batch_norm2d(np.array([1.0, 3.0]).reshape(2, 1, 1, 1), one, 0 * one, eps=1e-12).ravel()
    array([-1.,  1.])
    >>> batch_norm2d(np.array([1.0, 3.0]).reshape(2, 1, 1, 1), one, 0 * one, one, 4 * one, eps=1e-12).ravel()
    array([0., 1.])
    >>> batch_norm2d(np.array([1.0, 3.0]).reshape(2, 1, 1, 1), one, 0 * one, eps=1e-12, activation="relu").ravel()
    array([0., 1.])
    """
    eps = _check(x, gamma, beta, mean, var, eps, activation)
    if mean is None or var is None:
        return primitives.batch_norm2d_batch(x, gamma, beta, eps, activation)[0]
    return primitives.batch_norm2d(x, gamma, beta, mean, var, eps, activation)


@operator("x", "gamma", "beta")
def batch_norm2d_batch(
    x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5, activation: Epilogue | None = None
) -> tuple[Array, Array, Array]:
    """`batch_norm2d` with the batch's own statistics, and these: (y, mean, var), as training wants them.

    >>> import numpy as np
    >>> one = np.ones(1)
    >>> y, mean, var = batch_norm2d_batch(np.array([1.0, 3.0]).reshape(2, 1, 1, 1), one, 0 * one, eps=1e-12)
    >>> y.ravel(), mean, var
    (array([-1.,  1.]), array([2.]), array([1.]))
    """
    eps = _check(x, gamma, beta, None, None, eps, activation)
    y, mean, var = primitives.batch_norm2d_batch(x, gamma, beta, eps, activation)
    return y, mean, var


@operator("dy", "x", "gamma", "beta", "mean", "var", "batch_statistics", trees=("batch_statistics",))
def batch_norm2d_backward(
    dy: Array,
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array | None = None,
    var: Array | None = None,
    *,
    eps: float = 1e-5,
    activation: Epilogue | None = None,
    batch_statistics: tuple[Array, Array] | None = None,
) -> tuple[Array, Array, Array, Array | None, Array | None]:
    """The gradients (dx, dgamma, dbeta, dmean, dvar) of `batch_norm2d` for dy (N, C, H, W).

    Where mean and var are None, dx goes through the batch's statistics too, and dmean and dvar are None;
    `batch_statistics` = (mean, var) of x, if the forward made them, saves computing them again. At a kink of the activation
    the gradient is the flat side's.

    Parameters
    ----------
    dy : array (N, C, H, W)
        The gradient of the result, of its shape and dtype.
    x : array (N, C, H, W)
        float16, float32 or float64, all of one dtype; never modified.
    gamma, beta, mean, var : arrays
        As in `batch_norm2d`.
    eps, activation, batch_statistics
        As in `batch_norm2d`.

    Returns
    -------
    dx, dgamma, dbeta, dmean, dvar : arrays
        Of the shapes and the dtype of x, gamma, beta, mean, var; None where an argument is None.

    Raises
    ------
    TypeError, ValueError
        As in `batch_norm2d`; also where dy has another shape or dtype than the result.

    Notes
    -----
    Ioffe and Szegedy (arXiv 1502.03167), algorithm 1.
    ``npconv explain batch_norm2d`` derives it.

    Examples
    --------
    >>> import numpy as np
    >>> x, one = np.array([1.0, 3.0]).reshape(2, 1, 1, 1), np.ones(1)
    >>> dx, dgamma, dbeta, _, _ = batch_norm2d_backward(np.array([0.0, 1.0]).reshape(2, 1, 1, 1), x, one, 0 * one, eps=1e-12)
    >>> dx.ravel().round(9) + 0, dgamma, dbeta  # of two numbers, xhat is -1 and 1 whatever they are
    (array([0., 0.]), array([1.]), array([1.]))
    """
    eps = _check(x, gamma, beta, mean, var, eps, activation)
    check_shape("dy", dy, x.shape, "that of x")
    if mean is not None and var is not None:
        if batch_statistics is not None:
            raise ValueError("batch_statistics must be None where mean and var are given, got both")
        dx, dgamma, dbeta, dmean, dvar = primitives.batch_norm2d_fixed_grad(
            dy, x, gamma, beta, mean, var, eps, activation
        )
        return dx, dgamma, dbeta, dmean, dvar
    if batch_statistics is None:
        batch_statistics = primitives.batch_statistics2d(x)
    else:
        for name, array in zip(("batch_statistics[0]", "batch_statistics[1]"), batch_statistics, strict=True):
            check_shape(name, array, (x.shape[1],), "one number per channel")
    dx, dgamma, dbeta = primitives.batch_norm2d_batch_grad(dy, x, gamma, beta, *batch_statistics, eps, activation)
    return dx, dgamma, dbeta, None, None


def _check(
    x: Array, gamma: Array, beta: Array, mean: Array | None, var: Array | None, eps: float, activation: object
) -> float:
    x_shape = check_array("x", x, "NCHW")
    check_epilogue(activation)
    if (mean is None) != (var is None):
        raise ValueError(
            "mean and var must be given together or not at all, got "
            f"mean={'None' if mean is None else 'an array'}, var={'None' if var is None else 'an array'}"
        )
    if mean is None:
        _check_not_empty(x_shape)
    for name, array in (("gamma", gamma), ("beta", beta), ("mean", mean), ("var", var)):
        if array is not None:
            check_shape(name, array, (x_shape[1],), "one number per channel")
    return positive("eps", eps)


def _check_not_empty(x_shape: tuple[int, ...]) -> None:
    if x_shape[0] == 0:
        raise ValueError(f"x must have at least one image to have a mean and a variance, got shape {x_shape}")
