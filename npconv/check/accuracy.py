"""How accurate each operator is, by each algorithm, on the same real numbers: errors in units of their bound, and bits.

for row in measure(["numpy", "kernels", "winograd", "torch"]):
    print(row.op, row.array, row.worst)
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

import npconv
from npconv.check import adapters
from npconv.geometry import Array
from npconv.ops import OctaveMap, OctaveWeight
from npconv.testing import Problem, error_in_bounds, exact_backward, exact_forward, map_arrays, named_arrays
from npconv.testing.gradients import Tree

ALGORITHMS = {
    "numpy": "NumPy",
    "kernels": "kernels",
    "winograd": "kernels with Winograd's F(2x2, 3x3)",
    "torch": "PyTorch",
}
"""What is measured, by the name that `measure` takes: the reference, the kernels' two ways, and PyTorch on the same numbers."""

WINOGRAD_OPS = ("conv2d",)  # those of which the kernels' second way is another one


class Accuracy(NamedTuple):
    """How accurate one array of one operator's result is.

    Attributes
    ----------
    op, sizes, array : str
        The operator, what its arrays are like, and which result it is: y, dx, dw, ...
    terms : int
        How many roundings a term of its sums goes through, as the bound counts them.
    worst : dict of float
        By algorithm: the largest error, in units of the bound of its element. Above 1 it is wrong.
    bits : dict of float
        By algorithm: -log2 of the largest error, relative to the sum of the absolute values of the terms; infinite for none.
    """

    op: str
    sizes: str
    array: str
    terms: int
    worst: dict[str, float]
    bits: dict[str, float]


def problems(rng: np.random.Generator) -> Iterator[tuple[str, Problem]]:
    """(sizes, problem) of each operator: layers such as the papers' networks have, and sums over a million numbers."""

    def draw(*shape: int) -> Array:
        return rng.standard_normal(shape, np.float32)

    def scaled(*shape: int) -> Array:
        return draw(*shape) / np.float32(math.sqrt(math.prod(shape[1:])))

    def octave(*maps: tuple[int, ...]) -> OctaveMap:
        return OctaveMap(*(draw(*shape) for shape in maps))

    x, pair = draw(2, 64, 28, 28), octave((2, 32, 28, 28), (2, 32, 14, 14))
    for sizes, op, args, options in (
        ("2x64x28x28, 3x3", "conv2d", (x, scaled(64, 64, 3, 3), draw(64)), {"padding": 1}),
        ("1x512x7x7, 3x3", "conv2d", (draw(1, 512, 7, 7), scaled(512, 512, 3, 3), None), {"padding": 1}),
        ("2x64x28x28, 3x3/2, 4 groups", "conv2d", (x, scaled(64, 16, 3, 3), None), {"padding": 1, "stride": 2, "groups": 4}),
        ("1x2x1024x1024, 3x3", "conv2d", (draw(1, 2, 1024, 1024), scaled(2, 2, 3, 3), draw(2)), {"padding": 1}),
        ("2x64x28x28, 3x3", "depthwise_conv2d", (x, scaled(64, 1, 3, 3), draw(64)), {"padding": 1}),
        ("1x2x1024x1024, 3x3", "depthwise_conv2d", (draw(1, 2, 1024, 1024), scaled(2, 1, 3, 3), None), {"padding": 1}),
        ("1x512x14x14", "pointwise_conv2d", (draw(1, 512, 14, 14), scaled(512, 512, 1, 1), draw(512)), {}),
        ("2x64x28x28, 3x3", "separable_conv2d", (x, scaled(64, 1, 3, 3), scaled(128, 64, 1, 1), None), {"padding": 1}),
        ("2x64x28x28, 1x1, s = 2", "ghost_conv2d", (x, scaled(32, 64, 1, 1), scaled(32, 1, 3, 3)), {}),
        ("2x64x28x28, 3x3, alpha = 1/2", "octave_conv2d", (pair, OctaveWeight(*(scaled(32, 32, 3, 3) for _ in range(4))), None), {"padding": 1}),
        ("2x64x28x28, 3x3, alpha = 1/2", "octave_depthwise_conv2d", (pair, OctaveWeight(scaled(32, 1, 3, 3), None, None, scaled(32, 1, 3, 3)), None), {"padding": 1}),
        ("64x1024, 1000 classes", "linear", (draw(64, 1024), scaled(1000, 1024), draw(1000)), {}),
        ("a million rows", "linear", (draw(1_000_000, 2), draw(3, 2), draw(3)), {}),
        ("2x64x28x28", "batch_norm2d", (x, draw(64), draw(64), None, None), {}),
        ("1x2x1024x1024", "batch_norm2d", (draw(1, 2, 1024, 1024), draw(2), draw(2), None, None), {}),
        ("2x64x28x28, 3x3/2", "avg_pool2d", (x,), {"kernel": 3, "stride": 2, "padding": 1}),
        ("1x2x1024x1024", "global_avg_pool2d", (draw(1, 2, 1024, 1024),), {}),
        ("2x64x14x14, x2", "upsample_nearest2d", (draw(2, 64, 14, 14),), {"scale": 2}),
        ("2x64x28x28", "hard_sigmoid", (x,), {}),
        ("2x64x28x28", "hard_swish", (x,), {}),
        ("64 rows, 1000 classes", "softmax_cross_entropy", (draw(64, 1000),), {"labels": rng.integers(0, 1000, 64), "label_smoothing": 0.1}),
    ):  # fmt: skip
        yield sizes, Problem(op, args, dict(options))


def measure(algorithms: Sequence[str], *, seed: int = 0, only: str = "") -> Iterator[Accuracy]:
    """The rows of the table, one for each array of each problem whose operator has `only` in its name.

    Parameters
    ----------
    algorithms : sequence of str
        Some of `ALGORITHMS`.
    seed : int
        Of the numbers.
    only : str

    Yields
    ------
    Accuracy

    Raises
    ------
    ImportError
        A package is missing.

    Examples
    --------
    >>> import npconv
    >>> rows = list(measure(["numpy"], only="hard_swish"))
    >>> [(row.array, row.worst["numpy"] <= 1) for row in rows]
    [('y', True), ('dx', True)]
    """
    ways = {name: _way(name) for name in algorithms}
    rng = np.random.default_rng(seed)
    for sizes, problem in problems(rng):
        with npconv.backend("numpy"):
            dy = map_arrays(lambda array: rng.standard_normal(array.shape, np.float32), problem.forward())
            if only not in problem.op:
                continue
            exact = [*exact_forward(problem), *exact_backward(problem, dy)]
        rows = [Accuracy(problem.op, sizes, row.name, int(np.max(row.terms, initial=0)), {}, {}) for row in exact]
        for name, way in ways.items():
            if name == "winograd" and problem.op not in WINOGRAD_OPS:
                continue
            for row, right, got in zip(rows, exact, way(problem, dy), strict=True):
                row.worst[name] = float(error_in_bounds(got, right.value, right.bound(np.float32)).max(initial=0))
                row.bits[name] = _bits(got, right.value, right.magnitude)
        yield from rows


def _bits(got: Array, value: Array, magnitude: Array) -> float:
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.abs(got - value) / magnitude
    worst = float(np.nanmax(relative, initial=0))
    return -math.log2(worst) if worst > 0 else math.inf


def _way(name: str) -> Callable[[Problem, Tree], list[Array]]:
    """What computes the arrays of a problem by an algorithm: y, and each gradient that there is."""
    if name == "torch":
        torch = adapters.load("torch")

        def run(problem: Problem, dy: Tree) -> list[Array]:
            gradients = torch.backward(problem.op, dy, problem.args, problem.options)
            return _arrays(torch.forward(problem.op, problem.args, problem.options), gradients)

        return run

    def own(problem: Problem, dy: Tree) -> list[Array]:
        with _chosen(name):
            return _arrays(problem.forward(), problem.backward(dy))

    return own


def _arrays(*results: Any) -> list[Array]:
    return [array for result in results for _, array in named_arrays(result, "y")]


@contextlib.contextmanager
def _chosen(name: str) -> Iterator[None]:
    with (
        npconv.backend("numpy" if name == "numpy" else "numba"),
        npconv.winograd("2x2" if name == "winograd" else "off"),
    ):
        yield
