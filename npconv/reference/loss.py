"""Softmax cross-entropy with label smoothing, averaged over the batch.

loss = -(1/N) * sum over n, k of target[n,k] * log p[n,k], where p = softmax(logits) and target = (1 - a) * onehot(label) + a / K.
"""

from __future__ import annotations

import numpy as np

from npconv.geometry import Array


def softmax_cross_entropy(logits: Array, labels: Array, label_smoothing: float) -> Array:
    """The mean loss, a 0-d array. A class without a share of the target costs nothing, even where its log p is -inf."""
    log_p, target = _log_softmax(logits), _target(logits, labels, label_smoothing)
    cost = np.multiply(target, log_p, out=np.zeros_like(log_p), where=target > 0)
    return np.asarray(-cost.sum(axis=1).mean(), logits.dtype)


def softmax_cross_entropy_input_grad(dy: Array, logits: Array, labels: Array, label_smoothing: float) -> Array:
    """dlogits = (p - target) / N * dy: the target sums to 1, and d(logsumexp) / dlogits is the softmax."""
    p, target = np.exp(_log_softmax(logits)), _target(logits, labels, label_smoothing)
    return (p - target) * (dy / logits.dtype.type(len(logits)))


def _target(logits: Array, labels: Array, label_smoothing: float) -> Array:
    batch, classes = logits.shape
    target = np.full(logits.shape, label_smoothing / classes, logits.dtype)
    target[np.arange(batch), labels] += logits.dtype.type(1 - label_smoothing)
    return target


def _log_softmax(logits: Array) -> Array:
    """log p. The row's largest logit is subtracted first: it changes nothing but the overflow."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
