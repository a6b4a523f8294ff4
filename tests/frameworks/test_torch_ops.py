"""Every operator against PyTorch, forward and backward, in float64: equal on whole numbers, to 1e-12 on real ones.

Both sides compute the same sums in different orders. On whole numbers that changes nothing, so they must be equal; where
an operator divides, its numbers are first made multiples of the divisors. On real numbers each element's difference is
judged against the sum of the absolute values of its terms: for a convolution, the same convolution of absolute values.
That sum is what rounding errors scale with, also where the terms cancel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from required import framework

import npconv
from npconv.testing.gradients import Tree, map_arrays, named_arrays
from npconv.testing.strategies import OPERATORS, Problem, problems_with_dy

torch = framework("torch")
# It needs torch, so it comes after the line that skips without it.
from npconv.check.adapters import load  # noqa: E402
from npconv.check.adapters.padding import pair, sides  # noqa: E402

functional = torch.nn.functional
torch_ops = load("torch")

pytestmark = pytest.mark.usefixtures("one_thread")

Array = np.ndarray[Any, Any]
Tensor = Any

NEVER_EXACT = ("batch_norm2d", "softmax_cross_entropy")  # they take square roots, exponentials and logarithms
TOLERANCE = 1e-12


@pytest.mark.parametrize("op", OPERATORS)
def test_whole_numbers(op: str) -> None:
    _run(_compare_whole, op, whole=True, examples=500)


@pytest.mark.parametrize("op", OPERATORS)
def test_real_numbers(op: str) -> None:
    _run(_compare_real, op, whole=False, examples=500)


@pytest.mark.parametrize("op", OPERATORS)
def test_the_other_backend(op: str) -> None:
    with npconv.backend("numpy" if npconv.current_backend() == "numba" else "numba"):
        _run(_compare_whole, op, whole=True, examples=60)
        _run(_compare_real, op, whole=False, examples=60)


def test_halves_of_the_conv2d_backward() -> None:
    """The input gradient is PyTorch's transposed convolution, the weight gradient its `conv2d_weight`."""

    def compare(problem: Problem, dy: Array) -> None:
        (x, w), options = problem.args[:2], problem.options
        stride, dilation = pair(options["stride"]), pair(options["dilation"])
        rows, columns = sides(options["padding"], x.shape[2:], w.shape[2:], stride, dilation)
        shared = {"stride": stride, "dilation": dilation, "groups": options["groups"]}

        reached = functional.conv_transpose2d(_tensor(dy), _tensor(w), **shared)
        # That is the gradient of the padded input as far as the windows reach; beyond, it is 0.
        beyond = (rows[0] + x.shape[2] - reached.shape[2], columns[0] + x.shape[3] - reached.shape[3])
        dx = functional.pad(reached, (-columns[0], beyond[1], -rows[0], beyond[0]))
        _assert_equal("dx", npconv.conv2d_input_grad(dy, w, x.shape, **options), dx.numpy())

        padded = functional.pad(_tensor(x), (*columns, *rows))
        dw = torch.nn.grad.conv2d_weight(padded, w.shape, _tensor(dy), **shared)
        _assert_equal("dw", npconv.conv2d_weight_grad(dy, x, w.shape, **options), dw.numpy())

    _run(compare, "conv2d", whole=True, examples=500)


@pytest.mark.parametrize(
    ("kernel", "dilation"), [((1, 1), (1, 1)), ((3, 5), (1, 1)), ((3, 3), (2, 3)), ((2, 4), (2, 2))]
)
def test_same_padding_is_pytorchs_where_it_has_one(kernel: tuple[int, int], dilation: tuple[int, int]) -> None:
    """PyTorch's padding="same" knows stride 1 only; kernels that need an odd number of zeros make it warn."""
    rng = np.random.default_rng(0)
    x, w = rng.integers(-4, 5, (2, 3, 7, 9)).astype(float), rng.integers(-4, 5, (5, 3, *kernel)).astype(float)
    expected = functional.conv2d(_tensor(x), _tensor(w), padding="same", dilation=dilation)
    _assert_equal("y", npconv.conv2d(x, w, padding="same", dilation=dilation), expected.numpy())


@pytest.mark.parametrize("op", ["relu", "relu6", "hard_sigmoid", "hard_swish"])
def test_kinks(op: str) -> None:
    """At a kink both sides take the flat side's gradient: whole numbers need not avoid them, and random ones never do."""
    x = np.array([-3.0, -0.0, 0.0, 3.0, 6.0])
    _compare(Problem(op, (x,), {}), np.full(5, 6.0), exact=True)


def test_hard_sigmoid_is_pytorchs() -> None:
    """F.hardsigmoid itself. Its gradient is held to float32's precision: PyTorch rounds its 1/6 to that in float64 too."""
    x = np.linspace(-4.0, 4.0, 41)
    x_tensor = _tensor(x, requires_grad=True)
    y = functional.hardsigmoid(x_tensor)
    (dx,) = torch.autograd.grad(y, x_tensor, torch.ones_like(y))
    _assert_close("y", npconv.hard_sigmoid(x), y.detach().numpy(), np.ones_like(x))
    np.testing.assert_allclose(npconv.hard_sigmoid_backward(np.ones_like(x), x), dx.numpy(), rtol=1e-7)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_max_pool_ties(stride: int, padding: int) -> None:
    """Among equal pixels both sides give the gradient to the window's first in row order."""
    problem = Problem("max_pool2d", (np.zeros((1, 2, 6, 7)),), {"kernel": 3, "stride": stride, "padding": padding})
    y = problem.forward()
    _compare(problem, 1.0 + np.arange(y.size).reshape(y.shape), exact=True)


def test_batch_norm_with_fixed_statistics_is_pytorchs() -> None:
    """F.batch_norm, which gives the statistics no gradient, and so is not what the adapter differentiates."""
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, 4, 3, 5, 6))
    gamma, beta, mean, var = rng.uniform(0.5, 2.0, (4, 3))
    x_tensor, *parameters = (_tensor(a, requires_grad=True) for a in (x, gamma, beta))
    y = functional.batch_norm(x_tensor, _tensor(mean), _tensor(var), *parameters)
    expected = [y.detach(), *torch.autograd.grad(y, (x_tensor, *parameters), _tensor(dy))]
    got = [
        npconv.batch_norm2d(x, gamma, beta, mean, var),
        *npconv.batch_norm2d_backward(dy, x, gamma, beta, mean, var)[:3],
    ]
    for name, a, b in zip(("y", "dx", "dgamma", "dbeta"), got, expected, strict=True):
        _assert_close(name, a, b.numpy(), np.full_like(a, np.abs(a).max()))


def test_batch_statistics() -> None:
    x = np.random.default_rng(0).normal(2.0, 3.0, (4, 3, 5, 6))
    var, mean = torch.var_mean(_tensor(x), dim=(0, 2, 3), correction=0)
    for name, a, b in zip(("mean", "var"), npconv.batch_statistics2d(x), (mean, var), strict=True):
        _assert_close(name, a, b.numpy(), np.full_like(a, np.abs(a).max()))


# --- one comparison ----------------------------------------------------------------------------------------------


def _run(check: Callable[[Problem, Tree], None], op: str, *, whole: bool, examples: int) -> None:
    """Run `check` on that many problems of `op`, each with a dy: the same problems every time."""
    profile = settings(max_examples=examples, derandomize=True, deadline=None, database=None)
    drawn = problems_with_dy(op, np.float64, whole=whole)
    profile(given(drawn)(lambda problem_and_dy: check(*problem_and_dy)))()


def _compare_whole(problem: Problem, dy: Tree) -> None:
    if problem.op in ("hard_sigmoid", "hard_swish"):  # so that (x + 3) / 6 and dy / 6 are multiples of 1/2
        problem, dy = problem.map(_tripled), map_arrays(_tripled, dy)
    _compare(problem, dy, exact=problem.op not in NEVER_EXACT)


def _compare_real(problem: Problem, dy: Tree) -> None:
    _compare(problem, dy, exact=False)


def _compare(problem: Problem, dy: Tree, *, exact: bool) -> None:
    """Raise AssertionError unless y and all gradients of npconv are PyTorch's, in number, shape, dtype and value."""
    got = [*named_arrays(problem.forward(), "y"), *named_arrays(problem.backward(dy), "gradient")]
    expected = _pytorch(problem, dy)
    scales = [np.zeros(b.shape) for b in expected] if exact else _magnitudes(problem, dy)
    for (name, a), b, scale in zip(got, expected, scales, strict=True):
        _assert_close(name, a, b, scale)


def _pytorch(problem: Problem, dy: Tree) -> list[Array]:
    """PyTorch's y and its gradient with respect to every array among the arguments, one after the other."""
    args = map_arrays(lambda array: _tensor(array, requires_grad=True), problem.args)
    options = {name: map_arrays(_tensor, value) for name, value in problem.options.items()}
    function = _hard_sigmoid if problem.op == "hard_sigmoid" else getattr(torch_ops, problem.op)
    y = _tensors(function(*args, **options))
    dys = _tensors(map_arrays(_tensor, dy))
    gradients = torch.autograd.grad(y, _tensors(args), dys, allow_unused=True, materialize_grads=True)
    return [tensor.detach().numpy() for tensor in (*y, *gradients)]


def _hard_sigmoid(x: Tensor) -> Tensor:
    """Not F.hardsigmoid, whose gradient is too coarse for this comparison: see `test_hard_sigmoid_is_pytorchs`."""
    return functional.relu6(x + 3) / 6


def _magnitudes(problem: Problem, dy: Tree) -> list[Array]:
    """For every element of `_pytorch(problem, dy)`, the sum of the absolute values of its terms."""
    dy = map_arrays(_absolute, dy)
    if problem.op == "batch_norm2d":
        return _batch_norm_magnitudes(dy, *problem.args, **problem.options)
    if problem.op == "softmax_cross_entropy":
        return _cross_entropy_magnitudes(dy, *problem.args)
    if problem.op != "max_pool2d":  # its y is no sum, and without signs other pixels would win
        problem = problem.map(_absolute)
    return [np.abs(result) for result in _pytorch(problem, dy)]


def _batch_norm_magnitudes(
    dy: Array, x: Array, gamma: Array, beta: Array, mean: Array | None, var: Array | None, *, eps: float
) -> list[Array]:
    """The statistics count as constants, but for the terms of dx that go through them."""
    axes, fixed = (0, 2, 3), mean is not None
    if not fixed:
        mean, var = x.mean(axes), x.var(axes)
    mean, std, gamma, beta = (np.abs(a)[:, None, None] for a in (mean, np.sqrt(var + eps), gamma, beta))
    xhat = (np.abs(x) + mean) / std
    y, dx = gamma * xhat + beta, gamma / std * dy
    dgamma, dbeta = (dy * xhat).sum(axes), dy.sum(axes)
    if fixed:
        return [y, dx, dgamma, dbeta, dx.sum(axes), (dx * xhat / (2 * std)).sum(axes)]
    through_statistics = dy.mean(axes, keepdims=True) + xhat * (dy * xhat).mean(axes, keepdims=True)
    return [y, dx + gamma / std * through_statistics, dgamma, dbeta]


def _cross_entropy_magnitudes(dy: Array, logits: Array) -> list[Array]:
    """The loss is a mean of logits and their log-sum-exp; a gradient is a probability less a target, over N."""
    batch, classes = logits.shape
    largest = np.abs(logits).max()
    return [np.asarray(2 * largest + np.log(classes)), np.full(logits.shape, dy / batch)]


def _assert_close(name: str, got: Array, expected: Array, scale: Array) -> None:
    """Raise unless each element is within TOLERANCE times its scale; where that is 0, equal."""
    assert got.dtype == expected.dtype, f"{name} has the dtype {got.dtype}, PyTorch's {expected.dtype}"
    assert got.shape == expected.shape == scale.shape, f"{name} has the shape {got.shape}, PyTorch's {expected.shape}"
    wrong = ~(np.abs(got - expected) <= TOLERANCE * scale)  # NaN is wrong
    if wrong.any():
        index = tuple(map(int, np.argwhere(wrong)[0]))
        raise AssertionError(
            f"{name}{list(index)} is {got[index]}, PyTorch's {expected[index]}, judged by {TOLERANCE} of {scale[index]}; "
            f"{wrong.sum()} of {wrong.size} elements differ"
        )


def _assert_equal(name: str, got: Array, expected: Array) -> None:
    _assert_close(name, got, expected, np.zeros(expected.shape))


def _tripled(array: Array) -> Array:
    return np.asarray(3 * array)  # asarray, as NumPy makes a number of a 0-d array


def _absolute(array: Array) -> Array:
    return np.asarray(np.abs(array))


def _tensor(array: Array, *, requires_grad: bool = False) -> Tensor:
    return torch.from_numpy(array.copy()).requires_grad_(requires_grad)


def _tensors(tree: Any) -> list[Tensor]:
    """The tensors of a tree, in the order of `named_arrays`."""
    if isinstance(tree, tuple):
        return [tensor for leaf in tree for tensor in _tensors(leaf)]
    return [] if tree is None else [tree]
