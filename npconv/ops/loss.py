"""Softmax cross-entropy."""

from __future__ import annotations

import numpy as np

from npconv.backends import primitives
from npconv.geometry import Array, check_array, check_shape, fraction
from npconv.ops.operator import operator


@operator("logits")
def softmax_cross_entropy(logits: Array, labels: Array, *, label_smoothing: float = 0.0) -> Array:
    """The mean over the batch of ``-sum over k of target[n,k] * log(softmax(logits)[n,k])``.

    The target is 1 - a at the label plus a / K everywhere, a being `label_smoothing`.

    Parameters
    ----------
    logits : array (N, K)
        float16, float32 or float64; N at least 1.
    labels : int array (N,)
        Class numbers, 0 to K - 1.
    label_smoothing : float in [0, 1]

    Returns
    -------
    array ()
        In nats, of the dtype of the logits.

    Raises
    ------
    TypeError
        Logits that are no float array, labels that are no integer array.
    ValueError
        Shapes that do not fit, an empty batch, a label out of range, a smoothing outside [0, 1].

    Notes
    -----
    Label smoothing: Szegedy et al. (arXiv 1512.00567), section 7.

    Examples
    --------
    >>> import numpy as np
    >>> softmax_cross_entropy(np.zeros((1, 2)), np.array([0])).round(6)  # log 2
    np.float64(0.693147)
    """
    labels, smoothing = _check(logits, labels, label_smoothing)
    return primitives.softmax_cross_entropy(logits, labels, smoothing)


@operator("dy", "logits")
def softmax_cross_entropy_backward(dy: Array, logits: Array, labels: Array, *, label_smoothing: float = 0.0) -> Array:
    """The gradient of `softmax_cross_entropy` with respect to the logits; labels are no numbers to differentiate by.

    dy is a 0-d array of the dtype of the logits: ``np.ones((), logits.dtype)`` for the loss itself.

    Parameters
    ----------
    dy : array ()
        The gradient of the result, of its shape and dtype.
    logits : array (N, K)
        float16, float32 or float64, all of one dtype; never modified.
    labels, label_smoothing
        As in `softmax_cross_entropy`.

    Returns
    -------
    dlogits : array
        Of the shape and the dtype of logits.

    Raises
    ------
    TypeError, ValueError
        As in `softmax_cross_entropy`; also where dy has another shape or dtype than the result.

    Notes
    -----
    A standard loss; label smoothing: Szegedy et al. (arXiv 1512.00567), section 7.
    ``npconv explain softmax_cross_entropy`` derives it.

    Examples
    --------
    >>> import numpy as np
    >>> softmax_cross_entropy_backward(np.ones(()), np.zeros((1, 2)), np.array([0]))
    array([[-0.5,  0.5]])
    """
    labels, smoothing = _check(logits, labels, label_smoothing)
    check_shape("dy", dy, (), "that of the loss")
    return primitives.softmax_cross_entropy_input_grad(dy, logits, labels, smoothing)


def _check(logits: Array, labels: Array, label_smoothing: float) -> tuple[Array, float]:
    """The labels and the smoothing, found to be right; the labels as a copy, which nobody else can change after that."""
    batch, classes = check_array("logits", logits, "NK")
    if batch == 0:
        raise ValueError("logits must have at least one row: the mean loss of an empty batch is undefined, got N=0")
    check_shape("labels", labels, (batch,), "one class number per row of logits")
    if labels.dtype.kind not in "iu":  # a duration is an integer too, to NumPy
        raise TypeError(f"labels must be integers, got dtype {labels.dtype}")
    numbers = np.array(labels, np.int64)
    wrong = (numbers < 0) | (numbers >= classes)  # so are those that were too large for it
    if wrong.any():
        raise ValueError(f"labels must be in [0, {classes - 1}] for {classes} classes, got {labels[wrong.argmax()]}")
    return numbers, fraction("label_smoothing", label_smoothing)
