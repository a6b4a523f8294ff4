"""Softmax cross-entropy with label smoothing, averaged over the batch.

loss = -(1/N) * sum over n, k of target[n,k] * log p[n,k], where p = softmax(logits) and target = (1 - a) * onehot(label) + a / K.
"""

from __future__ import annotations

import numpy as np

from npconv.geometry import Array


def softmax_cross_entropy(logits: Array, labels: Array, label_smoothing: float) -> Array:
    """The mean loss, a 0-d array. The row's largest logit is subtracted first: it changes nothing but the overflow."""
    log_p = _log_softmax(logits)
    batch, classes = logits.shape
    chosen = log_p[np.arange(batch), labels]
    a = label_smoothing
    per_image = -(1 - a) * chosen - (a / classes) * log_p.sum(axis=1)
    return np.asarray(per_image.mean(), logits.dtype)


def softmax_cross_entropy_input_grad(dy: Array, logits: Array, labels: Array, label_smoothing: float) -> Array:
    """dlogits = (p - target) / N * dy: the target sums to 1, and d(logsumexp) / dlogits is the softmax."""
    batch, classes = logits.shape
    target = np.full(logits.shape, label_smoothing / classes, logits.dtype)
    target[np.arange(batch), labels] += logits.dtype.type(1 - label_smoothing)
    return (np.exp(_log_softmax(logits)) - target) * (dy / logits.dtype.type(batch))


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
