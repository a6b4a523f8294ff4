"""Layouts: the same numbers in the axis orders and padding lists of other frameworks, each converter beside its inverse.

npconv has maps (N, C, H, W), kernels (O, C / groups, kh, kw), linear weights (O, C) and explicit padding
((top, bottom), (left, right)), as PyTorch has. Every array that is returned is new and C-contiguous, of the argument's
dtype, whatever that is. Every converter raises TypeError for what is no NumPy array, or no integer, and ValueError for
a shape that does not fit.

=====================  ==============================================  =========================================
npconv                 there                                           where
=====================  ==============================================  =========================================
NCHW maps              NHWC                                            TensorFlow, Keras, JAX
OIHW kernels           HWIO, also where grouped: I is C / groups       TensorFlow, Keras, JAX
(C*m, 1, kh, kw)       HWCM, (kh, kw, C, m)                            TensorFlow, Keras: depthwise kernels
(C*m, 1, kh, kw)       HWIO, (kh, kw, 1, C*m): `oihw_to_hwio`          JAX: feature_group_count = C
OC linear weights      CO                                              TensorFlow, Keras, JAX
((t, b), (l, r))       (l, r, t, b): last axis first                   PyTorch: torch.nn.functional.pad
((t, b), (l, r))       (t, l, b, r): all the beginnings first          ONNX: pads
((t, b), (l, r))       the same                                        JAX, Keras: ZeroPadding2D
=====================  ==============================================  =========================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

from npconv.geometry import Array, Pair, check_array, integer, is_sequence, pair, shown

# --- maps --------------------------------------------------------------------------------------------------------


def nchw_to_nhwc(x: Array) -> Array:
    """Channels last: ``y[n,h,w,c] = x[n,c,h,w]``.

    Parameters
    ----------
    x : array (N, C, H, W)
        Of any dtype.

    Returns
    -------
    array (N, H, W, C)
        New, C-contiguous, of the dtype of x.

    Raises
    ------
    TypeError, ValueError
        x is no array, or has no four axes.

    Examples
    --------
    >>> import numpy as np
    >>> nchw_to_nhwc(np.array([[[[1, 2]], [[3, 4]]]])).tolist()
    [[[[1, 3], [2, 4]]]]
    """
    check_array("x", x, "NCHW")
    return x.transpose(0, 2, 3, 1).copy()


def nhwc_to_nchw(x: Array) -> Array:
    """Channels first: ``y[n,c,h,w] = x[n,h,w,c]``.

    Parameters
    ----------
    x : array (N, H, W, C)
        Of any dtype.

    Returns
    -------
    array (N, C, H, W)
        New, C-contiguous, of the dtype of x.

    Raises
    ------
    TypeError, ValueError
        x is no array, or has no four axes.

    Examples
    --------
    >>> import numpy as np
    >>> nhwc_to_nchw(np.array([[[[1, 3], [2, 4]]]])).tolist()
    [[[[1, 2]], [[3, 4]]]]
    """
    check_array("x", x, "NHWC")
    return x.transpose(0, 3, 1, 2).copy()


# --- weights -----------------------------------------------------------------------------------------------------


def oihw_to_hwio(w: Array) -> Array:
    """A kernel with its channels last: ``v[r,s,c,o] = w[o,c,r,s]``.

    Parameters
    ----------
    w : array (O, C / groups, kh, kw)
        Of any dtype.

    Returns
    -------
    array (kh, kw, C / groups, O)
        New, C-contiguous, of the dtype of w.

    Raises
    ------
    TypeError, ValueError
        w is no array, or has no four axes.

    Examples
    --------
    >>> import numpy as np
    >>> oihw_to_hwio(np.array([[[[1, 2]]], [[[3, 4]]]])).tolist()
    [[[[1, 3]], [[2, 4]]]]
    """
    check_array("w", w, "OIHW")
    return w.transpose(2, 3, 1, 0).copy()


def hwio_to_oihw(w: Array) -> Array:
    """A kernel with its channels first: ``v[o,c,r,s] = w[r,s,c,o]``.

    Parameters
    ----------
    w : array (kh, kw, C / groups, O)
        Of any dtype.

    Returns
    -------
    array (O, C / groups, kh, kw)
        New, C-contiguous, of the dtype of w.

    Raises
    ------
    TypeError, ValueError
        w is no array, or has no four axes.

    Examples
    --------
    >>> import numpy as np
    >>> hwio_to_oihw(np.array([[[[1, 3]], [[2, 4]]]])).tolist()
    [[[[1, 2]]], [[[3, 4]]]]
    """
    check_array("w", w, "HWIO")
    return w.transpose(3, 2, 0, 1).copy()


def depthwise_to_hwcm(w: Array, multiplier: int = 1) -> Array:
    """A depthwise kernel (C * m, 1, kh, kw) as TensorFlow's (kh, kw, C, m): ``v[r,s,c,o] = w[c*m + o, 0, r, s]``.

    Parameters
    ----------
    w : array (C * m, 1, kh, kw)
        Of any dtype.
    multiplier : int
        The channel multiplier m, which the shape of w does not tell; it must divide the first axis.

    Returns
    -------
    array (kh, kw, C, m)
        New, C-contiguous, of the dtype of w.

    Raises
    ------
    TypeError, ValueError
        w is no array of that shape, or the multiplier does not divide its first axis.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([10, 11, 20, 21]).reshape(4, 1, 1, 1)  # channels 1 and 2, two filters each
    >>> depthwise_to_hwcm(w, multiplier=2).tolist()
    [[[[10, 11], [20, 21]]]]
    """
    filters, one, kernel_height, kernel_width = check_array("w", w, "OIHW")
    if one != 1:
        raise ValueError(f"w must have the shape (C * multiplier, 1, kh, kw), got {w.shape}")
    multiplier = integer("multiplier", multiplier, minimum=1)
    if filters % multiplier:
        raise ValueError(f"multiplier must divide axis 0 of w, got multiplier={multiplier}, w of shape {w.shape}")
    by_channel = w.reshape(filters // multiplier, multiplier, kernel_height, kernel_width)
    return by_channel.transpose(2, 3, 0, 1).copy()


def hwcm_to_depthwise(w: Array) -> Array:
    """TensorFlow's depthwise kernel (kh, kw, C, m) as (C * m, 1, kh, kw): ``v[c*m + o, 0, r, s] = w[r,s,c,o]``.

    Parameters
    ----------
    w : array (kh, kw, C, m)
        Of any dtype.

    Returns
    -------
    array (C * m, 1, kh, kw)
        New, C-contiguous, of the dtype of w.

    Raises
    ------
    TypeError, ValueError
        w is no array, or has no four axes.

    Examples
    --------
    >>> import numpy as np
    >>> hwcm_to_depthwise(np.array([[[[10, 11], [20, 21]]]])).ravel().tolist()
    [10, 11, 20, 21]
    """
    kernel_height, kernel_width, channels, multiplier = check_array("w", w, "HWCM")
    by_channel = w.transpose(2, 3, 0, 1).copy()
    return by_channel.reshape(channels * multiplier, 1, kernel_height, kernel_width)


def oc_to_co(w: Array) -> Array:
    """A linear layer's weight as TensorFlow has it: ``v[c,o] = w[o,c]``.

    Parameters
    ----------
    w : array (O, C)
        Of any dtype.

    Returns
    -------
    array (C, O)
        New, C-contiguous, of the dtype of w.

    Raises
    ------
    TypeError, ValueError
        w is no array, or has no two axes.

    Examples
    --------
    >>> import numpy as np
    >>> oc_to_co(np.array([[1, 2, 3], [4, 5, 6]])).tolist()
    [[1, 4], [2, 5], [3, 6]]
    """
    check_array("w", w, "OC")
    return w.T.copy()


def co_to_oc(w: Array) -> Array:
    """A linear layer's weight as PyTorch has it: ``v[o,c] = w[c,o]``.

    Parameters
    ----------
    w : array (C, O)
        Of any dtype.

    Returns
    -------
    array (O, C)
        New, C-contiguous, of the dtype of w.

    Raises
    ------
    TypeError, ValueError
        w is no array, or has no two axes.

    Examples
    --------
    >>> import numpy as np
    >>> co_to_oc(np.array([[1, 4], [2, 5], [3, 6]])).tolist()
    [[1, 2, 3], [4, 5, 6]]
    """
    check_array("w", w, "CO")
    return w.T.copy()


# --- padding -----------------------------------------------------------------------------------------------------


def padding_to_torch(padding: Sequence[Sequence[int]]) -> tuple[int, int, int, int]:
    """((top, bottom), (left, right)) as torch.nn.functional.pad takes it: (left, right, top, bottom).

    `npconv.geometry.explicit_padding` makes ((top, bottom), (left, right)) out of every other form.

    Parameters
    ----------
    padding : ((top, bottom), (left, right))
        In pixels, each at least 0.

    Returns
    -------
    (left, right, top, bottom) : tuple of int

    Raises
    ------
    TypeError, ValueError
        No two pairs of integers, or one is below 0.

    Examples
    --------
    >>> padding_to_torch(((1, 2), (3, 4)))
    (3, 4, 1, 2)
    """
    (top, bottom), (left, right) = _sides(padding)
    return left, right, top, bottom


def torch_to_padding(pad: Sequence[int]) -> tuple[Pair, Pair]:
    """torch.nn.functional.pad's (left, right, top, bottom) as ((top, bottom), (left, right)).

    Parameters
    ----------
    pad : (left, right, top, bottom)
        In pixels, each at least 0.

    Returns
    -------
    ((top, bottom), (left, right)) : tuple of pairs of int

    Raises
    ------
    TypeError, ValueError
        No four integers, or one is below 0.

    Examples
    --------
    >>> torch_to_padding((3, 4, 1, 2))
    ((1, 2), (3, 4))
    """
    left, right, top, bottom = _four("pad", pad, "(left, right, top, bottom)")
    return (top, bottom), (left, right)


def padding_to_onnx(padding: Sequence[Sequence[int]]) -> tuple[int, int, int, int]:
    """((top, bottom), (left, right)) as the attribute pads of ONNX: (top, left, bottom, right).

    Parameters
    ----------
    padding : ((top, bottom), (left, right))
        In pixels, each at least 0.

    Returns
    -------
    (top, left, bottom, right) : tuple of int

    Raises
    ------
    TypeError, ValueError
        No two pairs of integers, or one is below 0.

    Examples
    --------
    >>> padding_to_onnx(((1, 2), (3, 4)))
    (1, 3, 2, 4)
    """
    (top, bottom), (left, right) = _sides(padding)
    return top, left, bottom, right


def onnx_to_padding(pads: Sequence[int]) -> tuple[Pair, Pair]:
    """The attribute pads of ONNX, (top, left, bottom, right), as ((top, bottom), (left, right)).

    Parameters
    ----------
    pads : (top, left, bottom, right)
        In pixels, each at least 0.

    Returns
    -------
    ((top, bottom), (left, right)) : tuple of pairs of int

    Raises
    ------
    TypeError, ValueError
        No four integers, or one is below 0.

    Examples
    --------
    >>> onnx_to_padding([1, 3, 2, 4])
    ((1, 2), (3, 4))
    """
    top, left, bottom, right = _four("pads", pads, "(top, left, bottom, right)")
    return (top, bottom), (left, right)


def _sides(padding: object) -> tuple[Pair, Pair]:
    if not _is_list(padding, 2) or not all(_is_list(side, 2) for side in padding):
        raise ValueError(f"padding must be ((top, bottom), (left, right)), got {shown(padding)}")
    rows, columns = padding
    return pair("padding", rows, minimum=0), pair("padding", columns, minimum=0)


def _four(name: str, pads: object, meaning: str) -> list[int]:
    if not _is_list(pads, 4):
        raise ValueError(f"{name} must be the four ints {meaning}, got {shown(pads)}")
    return [integer(f"{name}[{place}]", side, minimum=0) for place, side in enumerate(pads)]


def _is_list(value: object, length: int) -> TypeGuard[Sequence[Any]]:
    return is_sequence(value) and len(value) == length
