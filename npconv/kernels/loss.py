"""Softmax cross-entropy with label smoothing, averaged over the batch.

loss = -(1/N) * sum over n, k of target[n,k] * log p[n,k], where p = softmax(logits) and target = (1 - a) * onehot(label) + a / K.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from npconv.geometry import Array
from npconv.kernels.compiling import compiled, contiguous


def softmax_cross_entropy(logits: Array, labels: Array, label_smoothing: float) -> Array:
    """One thread per image, then the mean; sums are kept in float64."""
    per_image = np.empty(len(logits), np.float64)
    _softmax_cross_entropy(contiguous(logits), contiguous(labels.astype(np.int64)), label_smoothing, per_image)
    return np.asarray(per_image.mean(), logits.dtype)


@compiled
def _softmax_cross_entropy(logits, labels, label_smoothing, per_image):
    batch, classes = logits.shape
    for n in prange(batch):
        log_sum, largest = _log_sum_exp(logits[n])
        total = 0.0
        for k in range(classes):
            target = _target(k, labels[n], classes, label_smoothing)
            if target > 0:  # a class without a share of the target costs nothing, even where its log p is -inf
                total += target * (logits[n, k] - largest - log_sum)
        per_image[n] = -total


def softmax_cross_entropy_input_grad(dy: Array, logits: Array, labels: Array, label_smoothing: float) -> Array:
    """dlogits = (p - target) / N * dy. One thread per image."""
    dlogits = np.empty(logits.shape, logits.dtype)
    scale = float(dy) / len(logits)
    labels = contiguous(labels.astype(np.int64))
    _softmax_cross_entropy_input_grad(contiguous(logits), labels, label_smoothing, scale, dlogits)
    return dlogits


@compiled
def _softmax_cross_entropy_input_grad(logits, labels, label_smoothing, scale, dlogits):
    batch, classes = logits.shape
    for n in prange(batch):
        log_sum, largest = _log_sum_exp(logits[n])
        for k in range(classes):
            target = _target(k, labels[n], classes, label_smoothing)
            dlogits[n, k] = (np.exp(logits[n, k] - largest - log_sum) - target) * scale


@njit
def _target(k, label, classes, label_smoothing):
    return label_smoothing / classes + (1 - label_smoothing if k == label else 0)


@njit(error_model="numpy")
def _log_sum_exp(row):
    """(log of the sum of exp(row - largest), largest): the largest logit is subtracted first, against overflow."""
    largest = row.max()
    total = 0.0
    for k in range(row.size):
        total += np.exp(np.float64(row[k] - largest))
    return np.log(total), largest
