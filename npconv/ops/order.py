"""The memory order of a feature map."""

from __future__ import annotations

from npconv import backends
from npconv.geometry import FLOAT_DTYPES, Array, check_array, check_dtypes, is_plain


def channels_last(x: Array) -> Array:
    """The map x with the channels of each pixel beside each other in memory: the same shape, other strides.

    Parameters
    ----------
    x : array (N, C, H, W)
        float16, float32 or float64, in any memory order; never modified.

    Returns
    -------
    array (N, C, H, W)
        x itself if ``x.transpose(0, 2, 3, 1)`` is C-contiguous, else a copy of which that is true.

    Raises
    ------
    TypeError, ValueError
        x is no float array of 4 axes.

    Notes
    -----
    PyTorch calls this memory format ``torch.channels_last``.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.zeros((2, 3, 4, 5))
    >>> y = channels_last(x)
    >>> y.shape, y.transpose(0, 2, 3, 1).flags.c_contiguous
    ((2, 3, 4, 5), True)
    >>> channels_last(y) is y
    True
    """
    check_dtypes([("x", x)])
    check_array("x", x, "NCHW")
    return backends.in_order(x, channels_last=True)


def native_order(x: Array) -> Array:
    """x in the memory order in which the current backend computes, for who goes on with it; what is no map stays as it is."""
    if not is_plain(x) or x.ndim != 4 or backends.diverts_numbers() or x.dtype not in FLOAT_DTYPES:
        return x
    return backends.in_order(x, backends.computes_channels_last())
