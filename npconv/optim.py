"""Optimisers and learning-rate schedules: the update formulas of PyTorch, in place, on a layer's parameters.

A schedule is a function of the step number, counted from 0, to the learning rate.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Sequence
from typing import ClassVar, TypeAlias

import numpy as np

from npconv.backends import primitives
from npconv.geometry import Array, check_dtypes, check_shape, flag, fraction, integer, is_sequence, positive, shown
from npconv.nn import Layer

Schedule: TypeAlias = Callable[[int], float]
NoDecay: TypeAlias = "Sequence[str] | Callable[[str, Array], bool]"


# --- schedules ---------------------------------------------------------------------------------------------------


def constant(lr: float, *, warmup: int = 0) -> Schedule:
    """`lr` at every step, after `warmup` steps that rise to it evenly: lr / warmup, 2 lr / warmup, ..., lr.

    Raises TypeError or ValueError where lr is not at least 0 or warmup is not an integer of at least 0; so do the others.

    >>> [constant(1.0, warmup=4)(t) for t in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """
    lr = _rate(lr)
    return _warmed_up(lr, warmup, lambda t: lr)


def step(lr: float, every: int, factor: float, *, warmup: int = 0) -> Schedule:
    """`lr`, times `factor` after each `every` steps; warm-up as in `constant`, and counting begins after it.

    Raises ValueError where every is below 1 or factor is not above 0.

    >>> [step(1.0, 2, 0.5)(t) for t in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """
    lr = _rate(lr)
    every = integer("every", every, minimum=1)
    factor = positive("factor", factor)
    return _warmed_up(lr, warmup, lambda t: lr * factor ** (t // every))


def linear(lr: float, total: int, *, warmup: int = 0) -> Schedule:
    """From `lr` down to 0 in a straight line over `total` steps, the `warmup` ones among them; 0 from then on.

    Raises ValueError where total is not above warmup.

    >>> [linear(1.0, 4)(t) for t in range(6)]
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """
    lr = _rate(lr)
    length = _length(total, warmup)
    return _warmed_up(lr, warmup, lambda t: lr * (1 - min(t / length, 1.0)))


def cosine(lr: float, total: int, final: float = 0.0, *, warmup: int = 0) -> Schedule:
    """From `lr` down to `final` along half a cosine over `total` steps, the `warmup` ones among them; `final` from then on.

    Raises ValueError where total is not above warmup. Source: SGDR (arXiv 1608.03983), equation 5, without restarts.

    >>> [round(cosine(1.0, 4)(t), 3) for t in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """
    lr = _rate(lr)
    length = _length(total, warmup)
    final = positive("final", final, zero=True)
    return _warmed_up(lr, warmup, lambda t: final + (lr - final) * (1 + math.cos(math.pi * min(t / length, 1.0))) / 2)


def _warmed_up(lr: float, warmup: int, after: Schedule) -> Schedule:
    warmup = integer("warmup", warmup, minimum=0)
    return lambda t: lr * (t + 1) / warmup if t < warmup else after(t - warmup)


def _rate(lr: float) -> float:
    return positive("lr", lr, zero=True)


def _length(total: int, warmup: int) -> int:
    """Steps after the warm-up."""
    length = integer("total", total, minimum=1) - integer("warmup", warmup, minimum=0)
    if length < 1:
        raise ValueError(f"total must be above warmup, got total={total}, warmup={warmup}")
    return length


# --- optimisers --------------------------------------------------------------------------------------------------


class Optimizer(abc.ABC):
    """Updates the parameters of one model from its gradients, and remembers by name what its formula needs from step to step.

    Parameters
    ----------
    lr : float of at least 0, or schedule
        A schedule is asked with the number of steps already made.
    weight_decay : float of at least 0
    no_decay : sequence of names, or function
        Which parameters `weight_decay` leaves alone: those whose dotted name is, or ends in a dot and, one of these
        names ("b", "gamma", "bn1.beta"), or those for which ``function(dotted name, array)`` is true. By default none.

    Attributes
    ----------
    steps : int
        How many were made.
    """

    def __init__(self, lr: float | Schedule, weight_decay: float, no_decay: NoDecay) -> None:
        self.lr = lr if callable(lr) else constant(lr)
        self.weight_decay = positive("weight_decay", weight_decay, zero=True)
        named = is_sequence(no_decay)
        if not callable(no_decay) and not (named and all(isinstance(name, str) for name in no_decay)):
            raise TypeError(f"no_decay must be a sequence of names or a function, got {shown(no_decay)}")
        self.no_decay = no_decay
        self.steps = 0

    def step(self, model: Layer) -> None:
        """Update all parameters of `model` in place, from the gradients that its last backward left.

        Raises RuntimeError, before any update, where a parameter has no gradient, and ValueError or TypeError where one is not of
        the parameter's shape and dtype.
        """
        updates = []
        for path, layer in model.named_layers():
            for name, param in layer.params.items():
                dotted, grad = f"{path}.{name}" if path else name, layer.grads.get(name)
                if grad is None:
                    raise RuntimeError(f"step must come after a backward, got no gradient for {dotted}")
                check_shape(f"the gradient of {dotted}", grad, param.shape, "that of the parameter")
                check_dtypes([(dotted, param), (f"the gradient of {dotted}", grad)])
                updates.append((dotted, param, grad))
        lr = positive("lr", self.lr(self.steps), zero=True)
        self.steps += 1
        for name, param, grad in updates:
            self._update(name, param, grad, lr, 0.0 if self._spared(name, param) else self.weight_decay)

    @abc.abstractmethod
    def _update(self, name: str, param: Array, grad: Array, lr: float, weight_decay: float) -> None:
        """Update one parameter in place."""

    def _spared(self, name: str, param: Array) -> bool:
        if callable(self.no_decay):
            return self.no_decay(name, param)
        return any(f".{name}".endswith(f".{suffix}") for suffix in self.no_decay)


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum, Nesterov's momentum and weight decay where asked for.

    With g the gradient, p the parameter, v its velocity, at first 0, all in PyTorch's convention::

        g = g + weight_decay * p
        v = momentum * v + g
        p = p - lr * (g + momentum * v if nesterov else v)

    Parameters
    ----------
    lr, weight_decay, no_decay
        As in `Optimizer`.
    momentum : float in [0, 1]
    nesterov : bool
        Needs a momentum above 0.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from npconv import nn
    >>> model = nn.Linear(1, 1, bias=False, rng=np.random.default_rng(0), dtype=np.float64)
    >>> model.params["w"][...] = 3.0
    >>> _ = model(np.ones((1, 1))), model.backward(np.full((1, 1), 10.0))
    >>> SGD(0.1).step(model)
    >>> model.params["w"]
    array([[2.]])
    """

    def __init__(
        self,
        lr: float | Schedule,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        no_decay: NoDecay = (),
    ) -> None:
        super().__init__(lr, weight_decay, no_decay)
        self.momentum = fraction("momentum", momentum)
        self.nesterov = flag("nesterov", nesterov)
        if self.nesterov and not self.momentum:
            raise ValueError(f"momentum must be above 0 where nesterov is true, got momentum={momentum}")
        self._velocities: dict[str, Array] = {}

    def _update(self, name: str, param: Array, grad: Array, lr: float, weight_decay: float) -> None:
        velocity = None
        if self.momentum:
            if name not in self._velocities:
                self._velocities[name] = np.zeros_like(param)
            velocity = self._velocities[name]
        primitives.sgd_update(param, grad, velocity, lr, self.momentum, self.nesterov, weight_decay)


class Adam(Optimizer):
    """Adam, its weight decay added to the gradient (Kingma and Ba, arXiv 1412.6980, algorithm 1).

    With g the gradient, p the parameter, t the step counted from 1, m and v at first 0::

        g = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        p = p - lr / (1 - beta1**t) * m / (sqrt(v / (1 - beta2**t)) + eps)

    Parameters
    ----------
    lr, weight_decay, no_decay
        As in `Optimizer`.
    betas : pair of floats in [0, 1)
    eps : float above 0

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.
    """

    decoupled: ClassVar[bool] = False  # whether the weight decay is a step of its own

    def __init__(
        self,
        lr: float | Schedule = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        no_decay: NoDecay = (),
    ) -> None:
        super().__init__(lr, weight_decay, no_decay)
        if not is_sequence(betas) or len(betas) != 2:
            raise TypeError(f"betas must be two numbers, got {shown(betas)}")
        self.betas = (
            fraction("betas[0]", betas[0], below_one=True),
            fraction("betas[1]", betas[1], below_one=True),
        )
        self.eps = positive("eps", eps)
        self._moments: dict[str, tuple[Array, Array]] = {}

    def _update(self, name: str, param: Array, grad: Array, lr: float, weight_decay: float) -> None:
        if name not in self._moments:
            self._moments[name] = np.zeros_like(param), np.zeros_like(param)
        m, v = self._moments[name]
        primitives.adam_update(param, grad, m, v, self.steps, lr, self.betas, self.eps, weight_decay, self.decoupled)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2, in PyTorch's form).

    Each step first shrinks the parameter, ``p = p - lr * weight_decay * p``, and then makes Adam's step without decay.
    Parameters and errors are those of `Adam`; weight_decay is 0.01 by default, as in PyTorch.
    """

    decoupled = True

    def __init__(
        self,
        lr: float | Schedule = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        no_decay: NoDecay = (),
    ) -> None:
        super().__init__(lr, betas=betas, eps=eps, weight_decay=weight_decay, no_decay=no_decay)
