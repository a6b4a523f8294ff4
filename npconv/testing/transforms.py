"""How far fast algorithms may be off: Winograd's transforms, and the Fourier transform.

They compute outputs together, so the error of one is bounded by numbers that it does not depend on: its *reach* takes the place of
the sum of its own terms' absolute values.

Winograd's F(m, r) is ``A'[(G g) * (B' d)]``. Each of its sums is bounded by the same sum of absolute values, so output i of a tile is
off by at most gamma_K times the sum over s and j of ``|g[s]| |d[j]| sum over k of |A[k, i]| |G[k, s]| |B[j, k]|``. In which place of its
tile an output is, nobody says: the largest of all places is taken. That leaves weights W[s, j - i], and the sum is one over a kernel
of 2m + r - 2 taps, sum over s of W[s, d] |g[s]|. So the reach of any operator is the operator itself, of absolute values, with
a wider kernel and wider padding, and that of its gradients the gradients. Both ways to compute a gradient, with the transposed matrices
and as a convolution of its own, have the same weights, but for their direction: the larger one is taken.

Rounding in a Fourier transform spreads evenly over all n outputs, so that each is off by at most a multiple of
``u log2(n) |x| |w|``, with Euclidean norms of a whole channel and of its kernel.

Sources: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (arXiv 1509.09308); Barabasz et al., Error Analysis and
Improving the Accuracy of Winograd Convolution (arXiv 1803.10986), theorem 1; Higham, Accuracy and Stability of Numerical Algorithms,
2nd edition (2002), theorem 24.2.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from fractions import Fraction
from math import ceil, log2, prod
from typing import Any, NamedTuple

import numpy as np

from npconv.geometry import Array, effective_kernel, pair
from npconv.testing.gradients import Tree, map_arrays, named_arrays
from npconv.testing.problem import Problem

POINTS = (0, 1, -1, 2, -2, Fraction(1, 2), Fraction(-1, 2), 4)
"""The finite points of F(m, r), as many as are needed, in the order in which they are usually added."""

OTHER_POINTS = (0, 1, -1, Fraction(1, 2), Fraction(-1, 2))
"""Those of F(4, 3) where halves are preferred to twos."""

TILES = {"winograd-2x2": 2, "winograd-4x4": 4}
"""Outputs of a tile along each axis, by the name of the algorithm, which may also use the smaller ones."""

ALGORITHMS = (*TILES, "fft")

TAPS = 3  # of kernels that Winograd's algorithm is used for, at stride and dilation 1

KERNELS: dict[str, tuple[int, ...]] = {
    "conv2d": (1,),
    "depthwise_conv2d": (1,),
    "separable_conv2d": (1,),
    "octave_conv2d": (1,),
    "octave_depthwise_conv2d": (1,),
    "ghost_conv2d": (1, 2),
}
"""The arguments that are kernels of more than one tap, by operator."""

TRANSFORMED = ("conv2d", "depthwise_conv2d")
"""Operators whose sums a Fourier transform may make. Those that are made of several are judged by their own sums."""

BUTTERFLY = 7  # roundings, in units of u, of each of the log2(n) stages: u + gamma_4 (sqrt(2) + u)


class Reach(NamedTuple):
    """What bounds each element of a result beside its own terms, and how many roundings there are.

    Attributes
    ----------
    arrays : list of array
    roundings : int
        Of the transforms, besides those of the sums of transformed numbers.
    taps : int
        Of a kernel that is transformed as one: y and dx are sums over so many times fewer terms.
    """

    arrays: list[Array]
    roundings: int
    taps: int = 1


def winograd_matrices(outputs: int, taps: int, points: Sequence[Fraction | int] = POINTS) -> tuple[Array, Array, Array]:
    """(A', G, B') of F(m, r), m = `outputs`, r = `taps`: ``A' @ ((G @ g) * (B' @ d))`` correlates d with g.

    The Cook-Toom algorithm multiplies two polynomials by their values at m + r - 1 points, the last one infinity, and
    interpolates. Its transpose is the correlation: A' and G take values at the points, and the rows of B' are the
    interpolating polynomials. Their denominators are moved from B' into G.

    Parameters
    ----------
    outputs, taps : int
    points : sequence
        The finite ones, at least m + r - 2 of them.

    Returns
    -------
    arrays (m, m + r - 1), (m + r - 1, r), (m + r - 1, m + r - 1)
        float64.

    Raises
    ------
    ValueError
        There are too few points.

    Notes
    -----
    Barabasz et al. (arXiv 1803.10986), section 3.

    Examples
    --------
    >>> a, g, b = winograd_matrices(2, 3)
    >>> a @ ((g @ [1, 2, 3]) * (b @ [1, 10, 100, 1000]))  # 1 + 20 + 300, and 10 + 200 + 3000
    array([ 321., 3210.])
    """
    if len(points) < outputs + taps - 2:
        raise ValueError(f"outputs + taps must be at most {len(points) + 2}, got F({outputs}, {taps})")
    chosen = [Fraction(point) for point in points[: outputs + taps - 2]]

    def values(length: int) -> list[list[Fraction]]:
        at_infinity = [Fraction(power == length - 1) for power in range(length)]
        return [*([point**power for power in range(length)] for point in chosen), at_infinity]

    a, g, b = values(outputs), values(taps), []
    for k, point in enumerate(chosen):
        others = chosen[:k] + chosen[k + 1 :]
        denominator = prod((point - other for other in others), start=Fraction(1))
        g[k] = [value / denominator for value in g[k]]
        b.append([*_polynomial(others), Fraction(0)])
    b.append(_polynomial(chosen))
    return np.array(a, np.float64).T, np.array(g, np.float64), np.array(b, np.float64)


def _polynomial(roots: list[Fraction]) -> list[Fraction]:
    """The coefficients, constant first, of the product of (z - root)."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *coefficients], [root * c for c in coefficients] + [Fraction(0)]
        coefficients = [up - down for up, down in zip(shifted, scaled, strict=True)]
    return coefficients


@functools.cache
def _weights(outputs: int) -> Array:
    """W (taps, 2m + taps - 2): the largest, over the places in a tile, of what bounds |g[s]| |d[j]| in output i, by s and j - i."""
    found = np.zeros((TAPS, 2 * outputs + TAPS - 2))
    for tile in range(2, outputs + 1, 2):
        for points in (POINTS, OTHER_POINTS):
            a, g, b = (np.abs(matrix) for matrix in winograd_matrices(tile, TAPS, points))
            products = np.einsum("ik,ks,kj->isj", a, g, b)
            for place in range(tile):
                at = found[:, outputs - 1 - place : outputs - 1 - place + len(b)]
                np.maximum(at, products[place], out=at)
    return np.maximum(found, found[::-1, ::-1])


# --- the reach of an operator --------------------------------------------------------------------------------------


def forward_reach(problem: Problem, algorithm: str) -> Reach | None:
    """That of the arrays of y, in whose place `problem` has absolute values; None where the algorithm is not used."""
    if algorithm == "fft":
        return _spread(problem, None) if _is_transformed(problem) else None
    wider, used = _widened(problem, TILES[algorithm])
    if not used:
        return None
    return Reach(_leaves(wider.forward()), _winograd_roundings(TILES[algorithm], used), _taps(problem))


def backward_reach(problem: Problem, dy: Tree, algorithm: str) -> Reach | None:
    """That of the arrays of all gradients, likewise."""
    if algorithm == "fft":
        return _spread(problem, dy) if _is_transformed(problem) else None
    wider, used = _widened(problem, TILES[algorithm])
    if not used:
        return None
    gradients = [
        map_arrays(functools.partial(_narrowed, outputs=TILES[algorithm]), gradient) if place in used else gradient
        for place, gradient in enumerate(wider.backward(dy))
    ]
    return Reach(_leaves(tuple(gradients)), _winograd_roundings(TILES[algorithm], used), _taps(problem))


def _taps(problem: Problem) -> int:
    """Of the one kernel of a convolution; 1 for several, one after another."""
    return prod(problem.args[1].shape[2:]) if problem.op in TRANSFORMED else 1


def _leaves(tree: Tree) -> list[Array]:
    return [array for _, array in named_arrays(tree)]


# --- Winograd ------------------------------------------------------------------------------------------------------


def _winograd_roundings(outputs: int, used: Sequence[int]) -> int:
    """Of the transforms of kernels, patches and products along both axes, their coefficients included."""
    patch = outputs + TAPS - 1
    return len(used) * 2 * ((TAPS + 1) + 2 * (patch + 1))


def _widened(problem: Problem, outputs: int) -> tuple[Problem, list[int]]:
    """The problem whose kernels have the weights of all that a tile reads, and which of its arguments these are."""
    args, options, used = list(problem.args), dict(problem.options), []
    pooled = problem.op.startswith("octave") and options.get("stride_mode", "pool") == "pool"
    steps = [1 if pooled else options.get("stride", 1), options.get("dilation", 1)]
    alone = all(pair("stride", step, minimum=1) == (1, 1) for step in steps)
    for place in KERNELS.get(problem.op, ()):
        cheap = problem.op == "ghost_conv2d" and place == 2
        shapes = {array.shape[2:] for _, array in named_arrays(args[place])}
        if shapes == {(TAPS, TAPS)} and (alone or cheap):
            args[place] = map_arrays(functools.partial(_wide, outputs=outputs), args[place])
            used.append(place)
            if not cheap:
                options["padding"] = _wider_padding(options.get("padding", 0), outputs - 1)
    return problem._replace(args=tuple(args), options=options), used


def _wide(w: Array, outputs: int) -> Array:
    weights = _weights(outputs)
    return np.asarray(np.einsum("sd,te,ocst->ocde", weights, weights, w, optimize=True))


def _narrowed(dw: Array, outputs: int) -> Array:
    """The gradient of `_wide`."""
    weights = _weights(outputs)
    return np.asarray(np.einsum("sd,te,ocde->ocst", weights, weights, dw, optimize=True))


def _wider_padding(padding: Any, more: int) -> Any:
    """In any form: "same" is so for the wider kernel as well, at stride 1."""
    if padding in ("same", "same_lower"):
        return padding
    if padding == "valid":
        return more
    if isinstance(padding, int | np.integer):
        return int(padding) + more
    return tuple(_wider_padding(side, more) for side in padding)


# --- the Fourier transform -----------------------------------------------------------------------------------------


def _is_transformed(problem: Problem) -> bool:
    return problem.op in TRANSFORMED and prod(problem.args[1].shape[2:]) > 1


def _spread(problem: Problem, dy: Tree | None) -> Reach:
    """Products of norms, summed over what a result is summed over: the same for all elements of a plane."""
    x, w, b = problem.args
    groups = x.shape[1] if problem.op == "depthwise_conv2d" else problem.options.get("groups", 1)
    of_x = _norms(x).reshape(len(x), groups, x.shape[1] // groups)
    of_w = _norms(w).reshape(groups, len(w) // groups, w.shape[1])
    biased = np.zeros(len(w)) if b is None else b
    stages = _stages(problem)
    roundings = 3 * BUTTERFLY * stages + 3
    if dy is None:
        sums = np.einsum("ngc,goc->ngo", of_x, of_w).reshape(len(x), len(w)) + biased
        plane = problem.forward().shape[2:]
        return Reach([_planes(sums, plane)], roundings, _taps(problem))
    of_dy = _norms(dy).reshape(len(x), groups, len(w) // groups)
    dx = np.einsum("ngo,goc->ngc", of_dy, of_w).reshape(x.shape[:2])
    dw = np.einsum("ngo,ngc->goc", of_dy, of_x).reshape(w.shape[:2])
    biases = [] if b is None else [dy.sum(axis=(0, 2, 3))]
    return Reach([_planes(dx, x.shape[2:]), _planes(dw, w.shape[2:]), *biases], roundings, _taps(problem))


def _stages(problem: Problem) -> int:
    """log2 of the size of a transform that holds the padded image, each axis a power of two."""
    x, w, _ = problem.args
    dilation = pair("dilation", problem.options.get("dilation", 1), minimum=1)
    reach = [effective_kernel(k, d) for k, d in zip(w.shape[2:], dilation, strict=True)]
    padding = problem.options.get("padding", 0)
    most = max(reach) if isinstance(padding, str) else int(np.max(padding))
    return sum(ceil(log2(length + 2 * most + k)) for length, k in zip(x.shape[2:], reach, strict=True))


def _norms(array: Array) -> Array:
    return np.asarray(np.sqrt((array * array).sum(axis=(2, 3))))


def _planes(sums: Array, plane: tuple[int, ...]) -> Array:
    return np.broadcast_to(sums[:, :, None, None], (*sums.shape, *plane))
