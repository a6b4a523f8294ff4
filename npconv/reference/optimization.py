"""The optimisers' updates of one parameter, in place."""

from __future__ import annotations

import math

import numpy as np

from npconv.geometry import Array


def sgd_update(
    param: Array, grad: Array, velocity: Array | None, lr: float, momentum: float, nesterov: bool, weight_decay: float
) -> None:
    """g = grad + weight_decay * param; v = momentum * v + g; param -= lr * (g + momentum * v if nesterov else v)."""
    if weight_decay:
        grad = grad + weight_decay * param
    if velocity is not None:
        velocity *= momentum
        velocity += grad
        grad = grad + momentum * velocity if nesterov else velocity
    param -= lr * grad


def adam_update(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    step: int,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> None:
    """m and v run after the gradient and its square; param -= lr / (1 - beta1**step) * m / (sqrt(v / (1 - beta2**step)) + eps).

    The weight decay shrinks param beforehand where it is decoupled, and else is part of the gradient.
    """
    if decoupled:
        param *= 1 - lr * weight_decay
    elif weight_decay:
        grad = grad + weight_decay * param
    m += (1 - betas[0]) * (grad - m)
    v += (1 - betas[1]) * (grad * grad - v)
    scale = np.sqrt(v) / math.sqrt(1 - betas[1] ** step) + eps
    param -= lr / (1 - betas[0] ** step) * m / scale
