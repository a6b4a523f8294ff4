"""Optimisers: the update formulas of PyTorch, in place, on a layer's parameters."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np

from npconv.backends import primitives
from npconv.geometry import Array, check_dtypes, check_shape, flag, fraction, integer, is_sequence, positive, shown
from npconv.nn import Layer, is_frozen
from npconv.optim.schedules import Schedule, constant

NoDecay: TypeAlias = "Sequence[str] | Callable[[str, Array], bool]"
MASTER = "master"  # what a parameter's own float32 value is kept as


class Optimizer(abc.ABC):
    """Updates the parameters of one model from its gradients, and remembers by name what its formula needs from step to step.

    Frozen layers (`npconv.nn.is_frozen`) are left as they are. What is remembered of a float16 parameter is float32, and so is
    each update, which is rounded once; with master weights the parameter itself is remembered in float32 too, so that updates
    smaller than its rounding add up.

    Parameters
    ----------
    lr : float of at least 0, or schedule
        A schedule is asked with the number of steps already made.
    weight_decay : float of at least 0
    no_decay : sequence of names, or function
        Which parameters `weight_decay` leaves alone: those whose dotted name is, or ends in a dot and, one of these
        names ("b", "gamma", "bn1.beta"), or those for which ``function(dotted name, array)`` is true. By default none.
    clip : float above 0, optional
        Gradients whose norm, over all parameters, is larger are scaled down to it.
    master_weights : bool
        Of float16 parameters.

    Attributes
    ----------
    steps : int
        How many were made.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from npconv import nn, optim
    >>> model = nn.Linear(1, 1, rng=np.random.default_rng(0))
    >>> sgd = optim.SGD(0.1)
    >>> sgd.steps, isinstance(sgd, Optimizer)
    (0, True)
    """

    def __init__(
        self,
        lr: float | Schedule,
        weight_decay: float,
        no_decay: NoDecay,
        clip: float | None,
        master_weights: bool,
    ) -> None:
        self.lr = lr if callable(lr) else constant(lr)
        self.weight_decay = positive("weight_decay", weight_decay, zero=True)
        named = is_sequence(no_decay)
        if not callable(no_decay) and not (named and all(isinstance(name, str) for name in no_decay)):
            raise TypeError(f"no_decay must be a sequence of names or a function, got {shown(no_decay)}")
        self.no_decay = no_decay
        self.clip = None if clip is None else positive("clip", clip)
        self.master_weights = flag("master_weights", master_weights)
        self.steps = 0
        self._kept: dict[str, dict[str, Array]] = {}  # by parameter, then by what it is

    def step(self, model: Layer) -> None:
        """Update all parameters of `model` in place, from the gradients that its last backward left.

        Raises RuntimeError, before any update, where a parameter has no gradient, and ValueError or TypeError where one is not of
        the parameter's shape and dtype.
        """
        updates = []
        for path, layer in model.named_layers():
            if is_frozen(layer):
                continue
            for name, param in layer.params.items():
                dotted, grad = f"{path}.{name}" if path else name, layer.grads.get(name)
                if grad is None:
                    raise RuntimeError(f"step must come after a backward, got no gradient for {dotted}")
                if not (type(grad) is np.ndarray and grad.shape == param.shape and grad.dtype is param.dtype):
                    check_shape(f"the gradient of {dotted}", grad, param.shape, "that of the parameter")
                    check_dtypes([(dotted, param), (f"the gradient of {dotted}", grad)])
                updates.append((dotted, param, grad))
        lr = positive("lr", self.lr(self.steps), zero=True)
        factor = self._clipped([grad for _, _, grad in updates])
        self.steps += 1
        for name, param, grad in updates:
            decay = 0.0 if self._spared(name, param) else self.weight_decay
            if factor < 1:
                grad = grad * grad.dtype.type(factor)
            if param.dtype == np.float16:
                self._update_half(name, param, grad, lr, decay)
            else:
                self._update(self._kept.setdefault(name, {}), param, grad, lr, decay)

    def _update_half(self, name: str, param: Array, grad: Array, lr: float, weight_decay: float) -> None:
        """Update a float16 parameter by the formula in float32."""
        kept = self._kept.setdefault(name, {})
        exact = param.astype(np.float32)
        if self.master_weights:
            exact = kept.setdefault(MASTER, exact)
        self._update(kept, exact, grad.astype(np.float32), lr, weight_decay)
        with np.errstate(over="ignore"):  # to infinity, as a narrower float does
            param[...] = exact

    @abc.abstractmethod
    def _update(self, kept: dict[str, Array], param: Array, grad: Array, lr: float, weight_decay: float) -> None:
        """Update one parameter in place, and what is `kept` of it."""

    def _clipped(self, grads: list[Array]) -> float:
        """What the gradients are to be multiplied by."""
        if self.clip is None:
            return 1.0
        norm = math.sqrt(sum(float(np.square(grad, dtype=np.float64).sum()) for grad in grads))
        return self.clip / norm if norm > self.clip else 1.0

    def _spared(self, name: str, param: Array) -> bool:
        if callable(self.no_decay):
            return self.no_decay(name, param)
        return any(f".{name}".endswith(f".{suffix}") for suffix in self.no_decay)

    def state(self) -> dict[str, Array]:
        """What is remembered, as "name of the parameter:what it is"; the live arrays. `steps` is not among it."""
        return {f"{name}:{what}": array for name, kept in self._kept.items() for what, array in kept.items()}

    def load_state(self, state: Mapping[str, Array], steps: int) -> None:
        """Go on from where another optimiser of the same kind was, of whose `state` this is a copy, after as many `steps`."""
        self.steps = integer("steps", steps, minimum=0)
        self._kept = {}
        for key, array in state.items():
            name, _, what = key.rpartition(":")
            self._kept.setdefault(name, {})[what] = array.copy()


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum, Nesterov's momentum and weight decay where asked for.

    With g the gradient, p the parameter, v its velocity, at first 0, all in PyTorch's convention::

        g = g + weight_decay * p
        v = momentum * v + g
        p = p - lr * (g + momentum * v if nesterov else v)

    Parameters
    ----------
    lr, weight_decay, no_decay, clip, master_weights
        As in `Optimizer`.
    momentum : float in [0, 1]
    nesterov : bool
        Needs a momentum above 0.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Notes
    -----
    Sutskever et al., On the importance of initialization and momentum (ICML 2013), in PyTorch's form.

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
        clip: float | None = None,
        master_weights: bool = False,
    ) -> None:
        super().__init__(lr, weight_decay, no_decay, clip, master_weights)
        self.momentum = fraction("momentum", momentum)
        self.nesterov = flag("nesterov", nesterov)
        if self.nesterov and not self.momentum:
            raise ValueError(f"momentum must be above 0 where nesterov is true, got momentum={momentum}")

    def _update(self, kept: dict[str, Array], param: Array, grad: Array, lr: float, weight_decay: float) -> None:
        if self.momentum and "velocity" not in kept:
            kept["velocity"] = np.zeros_like(param)
        primitives.sgd_update(param, grad, kept.get("velocity"), lr, self.momentum, self.nesterov, weight_decay)


class Adam(Optimizer):
    """Adam, its weight decay added to the gradient (Kingma and Ba, arXiv 1412.6980, algorithm 1).

    With g the gradient, p the parameter, t the step counted from 1, m and v at first 0::

        g = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        p = p - lr / (1 - beta1**t) * m / (sqrt(v / (1 - beta2**t)) + eps)

    Parameters
    ----------
    lr, weight_decay, no_decay, clip, master_weights
        As in `Optimizer`.
    betas : pair of floats in [0, 1)
    eps : float above 0

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
    >>> Adam(0.1).step(model)  # the first step is lr long, whatever the gradient
    >>> model.params["w"].round(6)
    array([[2.9]])
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
        clip: float | None = None,
        master_weights: bool = False,
    ) -> None:
        super().__init__(lr, weight_decay, no_decay, clip, master_weights)
        if not is_sequence(betas) or len(betas) != 2:
            raise TypeError(f"betas must be two numbers, got {shown(betas)}")
        self.betas = (
            fraction("betas[0]", betas[0], below_one=True),
            fraction("betas[1]", betas[1], below_one=True),
        )
        self.eps = positive("eps", eps)

    def _update(self, kept: dict[str, Array], param: Array, grad: Array, lr: float, weight_decay: float) -> None:
        if "m" not in kept:
            kept |= {"m": np.zeros_like(param), "v": np.zeros_like(param)}
        options = self.betas, self.eps, weight_decay, self.decoupled
        primitives.adam_update(param, grad, kept["m"], kept["v"], self.steps, lr, *options)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2, in PyTorch's form).

    Each step first shrinks the parameter, ``p = p - lr * weight_decay * p``, and then makes Adam's step without decay.

    Parameters
    ----------
    lr, betas, eps, weight_decay, no_decay, clip, master_weights
        As in `Adam`; weight_decay is 0.01 by default, as in PyTorch.

    Raises
    ------
    TypeError, ValueError
        As by `Adam`.

    Examples
    --------
    >>> import numpy as np
    >>> from npconv import nn
    >>> model = nn.Linear(1, 1, bias=False, rng=np.random.default_rng(0), dtype=np.float64)
    >>> model.params["w"][...] = 3.0
    >>> _ = model(np.ones((1, 1))), model.backward(np.full((1, 1), 10.0))
    >>> AdamW(0.1, weight_decay=0.5).step(model)  # 3 - 0.1 * 0.5 * 3 - 0.1
    >>> model.params["w"].round(6)
    array([[2.75]])
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
        clip: float | None = None,
        master_weights: bool = False,
    ) -> None:
        shared: dict[str, Any] = {"no_decay": no_decay, "clip": clip, "master_weights": master_weights}
        super().__init__(lr, betas=betas, eps=eps, weight_decay=weight_decay, **shared)
