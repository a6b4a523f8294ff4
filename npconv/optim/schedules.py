"""Learning-rate schedules: functions of the step number, counted from 0. All can be pickled."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TypeAlias

from npconv.geometry import integer, positive

Schedule: TypeAlias = Callable[[int], float]


def constant(lr: float, *, warmup: int = 0) -> Schedule:
    """`lr` at every step, after `warmup` steps that rise to it evenly: lr / warmup, 2 lr / warmup, ..., lr.

    Parameters
    ----------
    lr : float of at least 0
    warmup : int of at least 0
        In steps.

    Returns
    -------
    function of the number of steps already made

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Notes
    -----
    Goyal et al. (arXiv 1706.02677), section 2.2, for the warm-up.

    Examples
    --------
    >>> [constant(1.0, warmup=4)(t) for t in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """
    return _schedule(lr, warmup, _constant)


def step(lr: float, every: int, factor: float, *, warmup: int = 0) -> Schedule:
    """`lr`, times `factor` after each `every` steps; counting begins after the warm-up.

    Parameters
    ----------
    lr : float of at least 0
    every : int of at least 1
    factor : float above 0
    warmup : int of at least 0
        As in `constant`.

    Returns
    -------
    function of the number of steps already made

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Notes
    -----
    As ResNet was trained (arXiv 1512.03385, section 3.4).

    Examples
    --------
    >>> [step(1.0, 2, 0.5)(t) for t in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """
    return _schedule(lr, warmup, _step, every=integer("every", every, minimum=1), factor=positive("factor", factor))


def linear(lr: float, total: int, *, warmup: int = 0) -> Schedule:
    """From `lr` down to 0 in a straight line over `total` steps, the `warmup` ones among them; 0 from then on.

    Parameters
    ----------
    lr : float of at least 0
    total : int above `warmup`
    warmup : int of at least 0
        As in `constant`.

    Returns
    -------
    function of the number of steps already made

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Notes
    -----
    As ShuffleNet was trained (arXiv 1707.01083, section 4).

    Examples
    --------
    >>> [linear(1.0, 4)(t) for t in range(6)]
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """
    return _schedule(lr, warmup, _linear, length=_length(total, warmup))


def cosine(lr: float, total: int, final: float = 0.0, *, warmup: int = 0) -> Schedule:
    """From `lr` down to `final` along half a cosine over `total` steps, the `warmup` ones among them; `final` from then on.

    Parameters
    ----------
    lr, final : float of at least 0
    total : int above `warmup`
    warmup : int of at least 0
        As in `constant`.

    Returns
    -------
    function of the number of steps already made

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Notes
    -----
    SGDR (arXiv 1608.03983), equation 5, without restarts.

    Examples
    --------
    >>> [round(cosine(1.0, 4)(t), 3) for t in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """
    final = positive("final", final, zero=True)
    return _schedule(lr, warmup, _cosine, length=_length(total, warmup), final=final)


def _schedule(lr: float, warmup: int, after: Callable[..., float], **options: float) -> Schedule:
    """A schedule that can be pickled: `after` of the steps since the warm-up, and `options`."""
    lr, warmup = positive("lr", lr, zero=True), integer("warmup", warmup, minimum=0)
    return functools.partial(_rate, lr=lr, warmup=warmup, after=after, options=options)


def _rate(t: int, *, lr: float, warmup: int, after: Callable[..., float], options: dict[str, float]) -> float:
    return lr * (t + 1) / warmup if t < warmup else after(t - warmup, lr, **options)


def _constant(t: int, lr: float) -> float:
    return lr


def _step(t: int, lr: float, every: int, factor: float) -> float:
    return lr * factor ** (t // every)


def _linear(t: int, lr: float, length: int) -> float:
    return lr * (1 - min(t / length, 1.0))


def _cosine(t: int, lr: float, length: int, final: float) -> float:
    return final + (lr - final) * (1 + math.cos(math.pi * min(t / length, 1.0))) / 2


def _length(total: int, warmup: int) -> int:
    """Steps after the warm-up."""
    length = integer("total", total, minimum=1) - integer("warmup", warmup, minimum=0)
    if length < 1:
        raise ValueError(f"total must be above warmup, got total={total}, warmup={warmup}")
    return length
