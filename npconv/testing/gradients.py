"""Gradient checks for any pair of functions ``y = forward(*args)`` and ``grads = backward(dy, *args)``.

An argument, like a result, is an array, None, or a tuple of those (named or not). `backward` returns one gradient per
argument, in their order: a tuple of as many, or just the gradient where there is one argument. Whatever else a function
needs is bound beforehand: ``functools.partial(conv2d, stride=2)``.

Imports nothing of npconv.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Tree: TypeAlias = Any  # an array, None, or a tuple of trees


def map_arrays(function: Callable[[Array], Any], tree: Tree) -> Tree:
    """`tree` with `function` applied to each of its arrays; tuples keep their type.

    Parameters
    ----------
    function : function of an array (of any shape)
    tree : array, None, or tuple of those

    Returns
    -------
    tree of the same form

    Examples
    --------
    >>> map_arrays(np.shape, (np.zeros((2, 3)), None))
    ((2, 3), None)
    """
    if isinstance(tree, np.ndarray):
        return function(tree)
    if isinstance(tree, tuple):
        leaves = [map_arrays(function, leaf) for leaf in tree]
        return type(tree)(*leaves) if hasattr(tree, "_fields") else tuple(leaves)
    return tree


def named_arrays(tree: Tree, name: str = "") -> Iterator[tuple[str, Array]]:
    """The arrays of `tree`, each with what it is called where the tree is called `name`.

    Parameters
    ----------
    tree : array, None, or tuple of those
    name : str

    Returns
    -------
    iterator of (name, array)

    Examples
    --------
    >>> [(name, array.item()) for name, array in named_arrays((np.array(1.0), (None, np.array(2.0))), "dy")]
    [('dy[0]', 1.0), ('dy[1][1]', 2.0)]
    """
    if isinstance(tree, np.ndarray | np.generic):  # a sum over everything is often no array but a NumPy number
        yield name, np.asarray(tree)
    elif isinstance(tree, tuple):
        fields = getattr(tree, "_fields", None)
        for index, leaf in enumerate(tree):
            yield from named_arrays(leaf, f"{name}.{fields[index]}" if fields else f"{name}[{index}]")


def check_adjoint(
    forward: Callable[..., Tree],
    backward: Callable[..., Tree],
    args: Sequence[Tree],
    dy: Tree,
    *,
    linear_in: Sequence[int] | None = None,
    rtol: float = 0.0,
) -> None:
    """Check that the gradients are the adjoint of the forward: ``<dy, y> == <da, a>`` for every argument a.

    That holds for each argument in which y is linear while the others stay as they are; of y, only what a adds counts,
    ``forward(a) - forward(0)``, so a bias does not disturb the others. For small whole numbers every sum is exact and no
    tolerance is needed.

    Parameters
    ----------
    forward, backward : callable
        See the module's docstring.
    args : sequence
        What both are called with.
    dy : array or tuple of arrays
        Like y. Random, never ones: ones are blind to whatever is transposed, shifted or swapped.
    linear_in : sequence of int, optional
        The numbers of the arguments to check; by default all.
    rtol : float
        Tolerance, relative to the larger of the sums of the products' absolute values.

    Raises
    ------
    AssertionError
        Names the argument, and both inner products.
    ValueError
        dy is not like y.

    Notes
    -----
    The transposed map of linear algebra; Claerbout, Earth Soundings Analysis (1992), calls it the dot-product test.

    Examples
    --------
    >>> x, w = np.array([1.0, 2.0]), np.array([[3.0, 4.0]])
    >>> check_adjoint(lambda x, w: w @ x, lambda dy, x, w: (w.T @ dy, np.outer(dy, x)), (x, w), np.array([5.0]))
    >>> check_adjoint(lambda x, w: w @ x, lambda dy, x, w: (w.T @ dy, np.outer(x, dy)), (x, w), np.array([5.0]))
    Traceback (most recent call last):
        ...
    AssertionError: the gradient of args[1] must have the shape (1, 2), got (2, 1)
    """
    _check_arguments(forward, backward, args, rtol=rtol)
    y = forward(*args)
    _check_like(dy, y)
    gradients = _gradients(backward, args, dy)
    for index in range(len(args)) if linear_in is None else linear_in:
        if not list(named_arrays(args[index])):
            continue
        origin = forward(*args[:index], map_arrays(np.zeros_like, args[index]), *args[index + 1 :])
        from_output = _inner(dy, y) - _inner(dy, origin)
        from_argument = _inner(gradients[index], args[index])
        scale = max(_inner(dy, y, absolute=True), _inner(gradients[index], args[index], absolute=True))
        if not abs(from_output - from_argument) <= rtol * scale:
            raise AssertionError(
                f"<dy, y> must equal <da, a> for a = args[{index}], got {from_output!r} and {from_argument!r}"
            )


def check_gradients(
    forward: Callable[..., Tree],
    backward: Callable[..., Tree],
    args: Sequence[Tree],
    dy: Tree,
    *,
    step: float = 1e-5,
    rtol: float = 1e-6,
    samples: int | None = None,
    rng: np.random.Generator | None = None,
) -> None:
    """Check every element of every gradient against a central finite difference of ``<dy, forward(*args)>``, in float64.

    Parameters
    ----------
    forward, backward : callable
        See the module's docstring. They get float64 copies of all arrays.
    args : sequence
        What both are called with. For a kinked function, away from its kinks.
    dy : array or tuple of arrays
        Like y. Random, never ones.
    step : float
        How far an element is moved each way. Where y is linear in every single element, any step is exact: with
        ``step=1, rtol=0`` whole numbers need no tolerance.
    rtol : float
        Tolerance, relative to the largest element of the argument's gradient. The rounding error of the difference itself
        is allowed for on top.
    samples : int, optional
        Check so many elements of each array, chosen by `rng`, instead of all.
    rng : numpy.random.Generator
        Required with `samples`.

    Raises
    ------
    AssertionError
        Names the argument, the index, and both numbers.
    ValueError
        `samples` without `rng`; dy is not like y.

    Examples
    --------
    >>> x, dy = np.array([1.0, 2.0]), np.array([1.0, 10.0])
    >>> check_gradients(np.square, lambda dy, x: 2 * x * dy, [x], dy)
    >>> check_gradients(np.square, lambda dy, x: x * dy, [x], dy, step=1.0)
    Traceback (most recent call last):
        ...
    AssertionError: the gradient of args[0] at [0] must be 2.0 by finite differences of step 1.0, got 1.0
    """
    _check_arguments(forward, backward, args, rtol=rtol, step=step)
    if samples is not None and (type(samples) is not int or samples < 1):
        got = samples if type(samples) is int else type(samples).__name__
        raise ValueError(f"samples must be an integer of at least 1, got {got}")
    if samples is not None and rng is None:
        raise ValueError(f"rng must be given where samples is, got rng=None, samples={samples}")
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, got {type(rng).__name__}")
    args = [map_arrays(lambda array: array.astype(np.float64), tree) for tree in args]
    dy = map_arrays(lambda array: array.astype(np.float64), dy)
    y = forward(*args)
    _check_like(dy, y)
    # Both values of the difference carry some rounding errors of the size of |dy||y|; a sum of zeros carries none.
    rounding = 16 * np.finfo(np.float64).eps * _inner(dy, y, absolute=True) / step
    for index, (argument, gradient) in enumerate(zip(args, _gradients(backward, args, dy), strict=True)):
        pairs = zip(named_arrays(argument, f"args[{index}]"), named_arrays(gradient), strict=True)
        for (name, array), (_, array_gradient) in pairs:
            allowed = rtol * np.abs(array_gradient).max(initial=0.0) + rounding
            places = np.arange(array.size)
            if samples is not None and rng is not None and samples < array.size:
                places = rng.choice(array.size, samples, replace=False)
            for place in places:
                at = np.unravel_index(place, array.shape)
                here = array[at]
                array[at] = here + step
                above = _inner(dy, forward(*args))
                array[at] = here - step
                below = _inner(dy, forward(*args))
                array[at] = here
                difference = (above - below) / (2 * step)
                if not abs(difference - array_gradient[at]) <= allowed:
                    raise AssertionError(
                        f"the gradient of {name} at [{', '.join(str(i) for i in at)}] must be {difference} "
                        f"by finite differences of step {step}, got {array_gradient[at]}"
                    )


LARGEST = 1e300  # that a step or a tolerance may be


def _check_arguments(forward: object, backward: object, args: object, **numbers: Any) -> None:
    for name, function in (("forward", forward), ("backward", backward)):
        if not callable(function):
            raise TypeError(f"{name} must be a function, got {type(function).__name__}")
    if not isinstance(args, tuple | list):
        raise TypeError(f"args must be a tuple of arrays, got {type(args).__name__}")
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int | float | np.integer | np.floating):
            raise TypeError(f"{name} must be a number, got {type(number).__name__}")
        if not 0 <= number <= LARGEST or (name == "step" and not number):
            raise ValueError(f"{name} must be {'above' if name == 'step' else 'at least'} 0 and at most {LARGEST:g}")


def _check_like(dy: Tree, y: Tree) -> None:
    if _shapes(dy) != _shapes(y):
        raise ValueError(f"dy must have the shape of y, {_shapes(y)}, got {_shapes(dy)}")


def _gradients(backward: Callable[..., Tree], args: Sequence[Tree], dy: Tree) -> tuple[Tree, ...]:
    """One gradient per argument, known to be like it: arrays of the same shapes, None where it has None."""
    gradients = backward(dy, *args)
    if len(args) == 1:
        gradients = (gradients,)
    if not isinstance(gradients, tuple) or len(gradients) != len(args):
        raise AssertionError(f"backward must return {len(args)} gradients, one per argument, got {_shapes(gradients)}")
    for index, (argument, gradient) in enumerate(zip(args, gradients, strict=True)):
        if _shapes(argument) != _shapes(gradient):
            raise AssertionError(
                f"the gradient of args[{index}] must have the shape {_shapes(argument)}, got {_shapes(gradient)}"
            )
    return gradients


def _shapes(tree: Tree) -> Tree:
    """The shapes of the arrays of `tree`, in plain tuples."""
    return tuple(_shapes(leaf) for leaf in tree) if isinstance(tree, tuple) else getattr(tree, "shape", None)


def _inner(a: Tree, b: Tree, *, absolute: bool = False) -> float:
    """The inner product of two trees of the same structure, in float64; of their absolute values where `absolute`."""
    total = 0.0
    for (_, left), (_, right) in zip(named_arrays(a), named_arrays(b), strict=True):
        products = left.astype(np.float64) * right.astype(np.float64)
        total += float((np.abs(products) if absolute else products).sum())
    return total
