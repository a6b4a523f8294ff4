"""The networks' activations, on arrays of any shape."""

from __future__ import annotations

from npconv.backends import primitives
from npconv.geometry import Array, check_shape
from npconv.ops.operator import operator


@operator("x", either_order=True)
def relu(x: Array) -> Array:
    """``max(x, 0)`` element by element, for x of any shape, float16, float32 or float64; NaN stays NaN.

    Raises TypeError where x is no float array.

    Parameters
    ----------
    x : array of any shape
        float16, float32 or float64, all of one dtype; never modified.

    Returns
    -------
    array
        Of the shape and the dtype of x.

    Raises
    ------
    TypeError, ValueError
        x is no float array.

    Notes
    -----
    Nair and Hinton, 2010.

    Examples
    --------
    >>> import numpy as np
    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return primitives.relu(x)


@operator("dy", "x", either_order=True)
def relu_backward(dy: Array, x: Array) -> Array:
    """The gradient dx of `relu`: dy where x > 0, else 0. Raises ValueError where dy is not of the shape of x.

    Parameters
    ----------
    dy : array of any shape
        The gradient of the result, of its shape and dtype.
    x : array of any shape
        float16, float32 or float64, all of one dtype; never modified.

    Returns
    -------
    dx : array
        Of the shape and the dtype of x.

    Raises
    ------
    TypeError, ValueError
        As in `relu`; also where dy has another shape or dtype than the result.

    Notes
    -----
    Nair and Hinton, 2010.
    ``npconv explain relu`` derives it.

    Examples
    --------
    >>> import numpy as np
    >>> relu_backward(np.array([5.0, 5.0]), np.array([0.0, 2.0]))
    array([0., 5.])
    """
    return _input_grad("relu_input_grad", dy, x)


@operator("x", either_order=True)
def relu6(x: Array) -> Array:
    """``min(max(x, 0), 6)`` element by element, for x of any shape, float16, float32 or float64; NaN stays NaN.

    Raises TypeError where x is no float array. Source: MobileNet's published code.

    Parameters
    ----------
    x : array of any shape
        float16, float32 or float64, all of one dtype; never modified.

    Returns
    -------
    array
        Of the shape and the dtype of x.

    Raises
    ------
    TypeError, ValueError
        x is no float array.

    Notes
    -----
    The published MobileNet code.

    Examples
    --------
    >>> import numpy as np
    >>> relu6(np.array([-1.0, 2.0, 7.0]))
    array([0., 2., 6.])
    """
    return primitives.relu6(x)


@operator("dy", "x", either_order=True)
def relu6_backward(dy: Array, x: Array) -> Array:
    """The gradient dx of `relu6`: dy where 0 < x < 6, else 0. Raises ValueError where dy is not of the shape of x.

    Parameters
    ----------
    dy : array of any shape
        The gradient of the result, of its shape and dtype.
    x : array of any shape
        float16, float32 or float64, all of one dtype; never modified.

    Returns
    -------
    dx : array
        Of the shape and the dtype of x.

    Raises
    ------
    TypeError, ValueError
        As in `relu6`; also where dy has another shape or dtype than the result.

    Notes
    -----
    The published MobileNet code.
    ``npconv explain relu6`` derives it.

    Examples
    --------
    >>> import numpy as np
    >>> relu6_backward(np.array([5.0, 5.0, 5.0]), np.array([-1.0, 2.0, 6.0]))
    array([0., 5., 0.])
    """
    return _input_grad("relu6_input_grad", dy, x)


@operator("x", either_order=True)
def hard_sigmoid(x: Array) -> Array:
    """``relu6(x + 3) / 6`` element by element, for x of any shape, float16, float32 or float64; NaN stays NaN.

    Raises TypeError where x is no float array. Source: MobileNetV3 (arXiv 1905.02244), section 5.2; GhostNet's gate.

    Parameters
    ----------
    x : array of any shape
        float16, float32 or float64, all of one dtype; never modified.

    Returns
    -------
    array
        Of the shape and the dtype of x.

    Raises
    ------
    TypeError, ValueError
        x is no float array.

    Notes
    -----
    MobileNetV3 (arXiv 1905.02244), section 5.2.

    Examples
    --------
    >>> import numpy as np
    >>> hard_sigmoid(np.array([-4.0, 0.0, 3.0]))
    array([0. , 0.5, 1. ])
    """
    return primitives.hard_sigmoid(x)


@operator("dy", "x", either_order=True)
def hard_sigmoid_backward(dy: Array, x: Array) -> Array:
    """The gradient dx of `hard_sigmoid`: dy / 6 where -3 < x < 3, else 0. Raises ValueError where dy is not of the shape of x.

    Parameters
    ----------
    dy : array of any shape
        The gradient of the result, of its shape and dtype.
    x : array of any shape
        float16, float32 or float64, all of one dtype; never modified.

    Returns
    -------
    dx : array
        Of the shape and the dtype of x.

    Raises
    ------
    TypeError, ValueError
        As in `hard_sigmoid`; also where dy has another shape or dtype than the result.

    Notes
    -----
    MobileNetV3 (arXiv 1905.02244), section 5.2.
    ``npconv explain hard_sigmoid`` derives it.

    Examples
    --------
    >>> import numpy as np
    >>> hard_sigmoid_backward(np.array([6.0, 6.0]), np.array([0.0, 3.0]))
    array([1., 0.])
    """
    return _input_grad("hard_sigmoid_input_grad", dy, x)


@operator("x", either_order=True)
def hard_swish(x: Array) -> Array:
    """``x * relu6(x + 3) / 6`` element by element, for x of any shape, float16, float32 or float64; NaN stays NaN.

    Raises TypeError where x is no float array. Source: MobileNetV3 (arXiv 1905.02244), section 5.2.

    Parameters
    ----------
    x : array of any shape
        float16, float32 or float64, all of one dtype; never modified.

    Returns
    -------
    array
        Of the shape and the dtype of x.

    Raises
    ------
    TypeError, ValueError
        x is no float array.

    Notes
    -----
    MobileNetV3 (arXiv 1905.02244), section 5.2.

    Examples
    --------
    >>> import numpy as np
    >>> hard_swish(np.array([-4.0, 1.5, 3.0]))
    array([-0.   ,  1.125,  3.   ])
    """
    return primitives.hard_swish(x)


@operator("dy", "x", either_order=True)
def hard_swish_backward(dy: Array, x: Array) -> Array:
    """The gradient dx of `hard_swish`: dy times 0 up to -3, 1 from 3 on, (2x + 3) / 6 between.

    Raises ValueError where dy is not of the shape of x.

    Parameters
    ----------
    dy : array of any shape
        The gradient of the result, of its shape and dtype.
    x : array of any shape
        float16, float32 or float64, all of one dtype; never modified.

    Returns
    -------
    dx : array
        Of the shape and the dtype of x.

    Raises
    ------
    TypeError, ValueError
        As in `hard_swish`; also where dy has another shape or dtype than the result.

    Notes
    -----
    MobileNetV3 (arXiv 1905.02244), section 5.2.
    ``npconv explain hard_swish`` derives it.

    Examples
    --------
    >>> import numpy as np
    >>> hard_swish_backward(np.array([2.0, 2.0, 2.0]), np.array([-3.0, 0.0, 3.0]))
    array([0., 1., 2.])
    """
    return _input_grad("hard_swish_input_grad", dy, x)


def _input_grad(primitive: str, dy: Array, x: Array) -> Array:
    check_shape("dy", dy, x.shape, "that of x")
    dx: Array = getattr(primitives, primitive)(dy, x)
    return dx
