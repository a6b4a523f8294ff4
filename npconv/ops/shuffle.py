"""Channel shuffle and its inverse."""

from __future__ import annotations

from npconv.backends import primitives
from npconv.geometry import Array, check_array, check_shape, check_shuffle_groups
from npconv.ops.operator import operator


@operator("x", either_order=True)
def channel_shuffle(x: Array, groups: int) -> Array:
    """Deal the channels of each group out to all groups: with n = C / groups, ``y[:, b*groups + a] = x[:, a*n + b]``.

    That is reshape to (groups, n), transpose, flatten, as in the paper and in PyTorch. The code that the authors
    published does the inverse, `channel_unshuffle`: both mix the groups, but weights trained with one do not fit the
    other.

    Parameters
    ----------
    x : array (N, C, H, W)
        float16, float32 or float64; never modified.
    groups : int
        Divides C.

    Returns
    -------
    array (N, C, H, W)
        Always a new array.

    Raises
    ------
    TypeError, ValueError
        x is no float array of 4 axes; groups is no int, is below 1 or does not divide C.

    Notes
    -----
    ShuffleNet (arXiv 1707.01083), section 3.1, figure 1.

    Examples
    --------
    >>> import numpy as np
    >>> channel_shuffle(np.arange(6.0).reshape(1, 6, 1, 1), groups=2).ravel()
    array([0., 3., 1., 4., 2., 5.])
    """
    return primitives.channel_shuffle(x, _groups(x, groups))


@operator("dy", "x", either_order=True)
def channel_shuffle_backward(dy: Array, x: Array, groups: int) -> Array:
    """The gradient dx of `channel_shuffle`: dy's channels put back where they came from.

    Parameters
    ----------
    dy : array (N, C, H, W)
        The gradient of the result, of its shape and dtype.
    x : array (N, C, H, W)
        float16, float32 or float64, all of one dtype; never modified.
    groups
        As in `channel_shuffle`.

    Returns
    -------
    dx : array
        Of the shape and the dtype of x.

    Raises
    ------
    TypeError, ValueError
        As in `channel_shuffle`; also where dy has another shape or dtype than the result.

    Notes
    -----
    ShuffleNet (arXiv 1707.01083), section 3.1, figure 1.
    ``npconv explain channel_shuffle`` derives it.

    Examples
    --------
    >>> import numpy as np
    >>> dy = np.array([0.0, 3.0, 1.0, 4.0, 2.0, 5.0]).reshape(1, 6, 1, 1)
    >>> channel_shuffle_backward(dy, dy, groups=2).ravel()
    array([0., 1., 2., 3., 4., 5.])
    """
    return primitives.channel_unshuffle(dy, _groups(x, groups, dy))


@operator("x", either_order=True)
def channel_unshuffle(x: Array, groups: int) -> Array:
    """The inverse of `channel_shuffle`: ``y[:, a*n + b] = x[:, b*groups + a]``, n = C / groups.

    Parameters, result, errors and source are those of `channel_shuffle`; it is also ``channel_shuffle(x, C // groups)``.

    Parameters
    ----------
    x : array (N, C, H, W)
        float16, float32 or float64, all of one dtype; never modified.
    groups
        Divides C.

    Returns
    -------
    array (N, C, H, W)

    Raises
    ------
    TypeError, ValueError
        As in `channel_shuffle`.

    Notes
    -----
    ShuffleNet (arXiv 1707.01083), section 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> channel_unshuffle(np.array([0.0, 3.0, 1.0, 4.0, 2.0, 5.0]).reshape(1, 6, 1, 1), groups=2).ravel()
    array([0., 1., 2., 3., 4., 5.])
    """
    return primitives.channel_unshuffle(x, _groups(x, groups))


@operator("dy", "x", either_order=True)
def channel_unshuffle_backward(dy: Array, x: Array, groups: int) -> Array:
    """The gradient dx of `channel_unshuffle`, which is dy shuffled.

    Parameters
    ----------
    dy : array (N, C, H, W)
        The gradient of the result, of its shape and dtype.
    x : array (N, C, H, W)
        float16, float32 or float64, all of one dtype; never modified.
    groups
        As in `channel_unshuffle`.

    Returns
    -------
    dx : array
        Of the shape and the dtype of x.

    Raises
    ------
    TypeError, ValueError
        As in `channel_unshuffle`; also where dy has another shape or dtype than the result.

    Notes
    -----
    ShuffleNet (arXiv 1707.01083), section 3.1.
    ``npconv explain channel_unshuffle`` derives it.

    Examples
    --------
    >>> import numpy as np
    >>> dy = np.arange(6.0).reshape(1, 6, 1, 1)
    >>> channel_unshuffle_backward(dy, dy, groups=2).ravel()
    array([0., 3., 1., 4., 2., 5.])
    """
    return primitives.channel_shuffle(dy, _groups(x, groups, dy))


def _groups(x: Array, groups: int, dy: Array | None = None) -> int:
    x_shape = check_array("x", x, "NCHW")
    if dy is not None:
        check_shape("dy", dy, x_shape, "that of x")
    return check_shuffle_groups(x_shape[1], groups)
