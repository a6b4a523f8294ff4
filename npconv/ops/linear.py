"""The fully connected layer."""

from __future__ import annotations

from npconv.backends import primitives
from npconv.geometry import Array, check_array, check_shape
from npconv.ops.operator import operator


@operator("x", "w", "b")
def linear(x: Array, w: Array, b: Array | None = None) -> Array:
    """The linear map ``y[n,o] = b[o] + sum over c of x[n,c] * w[o,c]``.

    Parameters
    ----------
    x : array (N, C)
        float16, float32 or float64; never modified.
    w : array (O, C)
    b : array (O,), optional

    Returns
    -------
    array (N, O)

    Raises
    ------
    TypeError, ValueError
        Arrays of different or non-float dtypes, or of shapes that do not fit together.

    Notes
    -----
    A matrix product: the fully connected layer of every framework, with PyTorch's order of w.

    Examples
    --------
    >>> import numpy as np
    >>> linear(np.array([[1.0, 2.0]]), np.array([[1.0, 10.0]]), np.array([0.5]))
    array([[21.5]])
    """
    _check(x, w, b)
    return primitives.linear(x, w, b)


@operator("dy", "x", "w", "b")
def linear_backward(dy: Array, x: Array, w: Array, b: Array | None = None) -> tuple[Array, Array, Array | None]:
    """The gradients (dx, dw, db) of `linear` for dy (N, O); db is None where b is None.

    Parameters
    ----------
    dy : array (N, O)
        The gradient of the result, of its shape and dtype.
    x : array (N, C)
        float16, float32 or float64, all of one dtype; never modified.
    w, b : arrays
        As in `linear`.

    Returns
    -------
    dx, dw, db : arrays
        Of the shapes and the dtype of x, w, b; None where an argument is None.

    Raises
    ------
    TypeError, ValueError
        As in `linear`; also where dy has another shape or dtype than the result.

    Notes
    -----
    A matrix product.
    ``npconv explain linear`` derives it.

    Examples
    --------
    >>> import numpy as np
    >>> dx, dw, db = linear_backward(np.array([[2.0]]), np.array([[1.0, 2.0]]), np.array([[1.0, 10.0]]))
    >>> dx, dw, db
    (array([[ 2., 20.]]), array([[2., 4.]]), None)
    """
    check_shape("dy", dy, _check(x, w, b), "that of the output")
    dx = primitives.linear_input_grad(dy, w)
    dw = primitives.linear_weight_grad(dy, x)
    db = None if b is None else primitives.linear_bias_grad(dy)
    return dx, dw, db


def _check(x: Array, w: Array, b: Array | None) -> tuple[int, int]:
    """The output's shape, once all shapes are known to fit."""
    batch, in_features = check_array("x", x, "NC")
    out_features, w_features = check_array("w", w, "OC")
    if w_features != in_features:
        raise ValueError(f"w must have the {in_features} features of x on axis 1, got {w_features} in shape {w.shape}")
    if b is not None:
        check_shape("b", b, (out_features,), "one number per output feature")
    return batch, out_features
