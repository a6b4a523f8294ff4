"""The numbers of a case: small whole ones, and in one array another kind of them.

Sums of small whole numbers are exact in any order; most other kinds are made so that theirs are, too: multiplied by a power of
two, or so few that they fit. A kind that is only multiplied is kept as an exponent beside the whole numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from math import floor, log2, prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from npconv.check.features import BIASES, NONFINITE, SCALED, SPARSE
from npconv.geometry import Array, effective_kernel, explicit_padding
from npconv.testing import Problem, Tree, map_arrays, named_arrays
from npconv.testing.rounding import INEXACT

_STATISTICS = ("gamma", "beta", "mean", "var")
_MOVES = ("relu", "relu6", "hard_sigmoid", "hard_swish", "channel_shuffle", "channel_unshuffle")
"""Operators whose results are made of single numbers, so that all of them may have many digits."""

MOST_TERMS = 1200  # of a sum whose numbers are special: it has to stay exact, and no fast algorithm must be chosen
FEW_CHANNELS = 16
FEW_PIXELS = 64  # of a mean of numbers with 12 bits


def fits(op: str, values: Mapping[str, Any]) -> bool:
    """Whether a problem with these values can have these numbers, and says something with them."""
    label = values.get("numbers")
    if label is None:
        return True
    name, _, kind = label.partition(": ")
    if name == "b" and values["memory of b"] == "absent":
        return False
    if name == "w_cheap" and values.get("ratio", 2) == 1:
        return False
    if op == "batch_norm2d" and name in ("mean", "var") and not values.get("statistics", True):
        return False
    if kind in (*SPARSE, "NaN", "infinity", "-infinity") and values.get(f"memory of {name}") == "zero strides":
        return False
    if kind and name not in BIASES and not _reads_pixels(op, values):
        return False  # no result is made of these numbers
    if op == "global_avg_pool2d" and kind == "12 bits" and values["height"] * values["width"] > FEW_PIXELS:
        return False  # a mean of more may be off by what the lost bits make
    if kind in SPARSE:
        return True
    channels = values.get("channels", 1)
    if channels * prod(values.get("kernel", (1, 1))) > MOST_TERMS or values.get("features", 1) > MOST_TERMS:
        return False
    if kind in NONFINITE and (channels > FEW_CHANNELS and values.get("filters", 1) > FEW_CHANNELS):
        return False
    return kind != "NaN unread" or _leaves_pixels(op, values)


def is_small(values: Mapping[str, Any]) -> bool:
    """Whether these numbers are for small cases alone: what is right for NaN and infinity takes more work than others."""
    return (values.get("numbers") or "").partition(": ")[2] in ("NaN", "infinity", "-infinity")


def _reads_pixels(op: str, values: Mapping[str, Any]) -> bool:
    """Whether some window has a pixel: with a stride, all of them may be on padding."""
    if "kernel" not in values or op.startswith("octave"):
        return True
    kernel, size = values["kernel"], (values["height"], values["width"])
    stride = kernel if values["stride"] is None else values["stride"]
    steps, dilations = ((one, one) if isinstance(one, int) else one for one in (stride, values.get("dilation", 1)))
    pads = explicit_padding(values["padding"], size, kernel, steps, dilations)
    return all(map(_has_a_pixel, kernel, steps, dilations, size, pads))


@functools.cache
def _has_a_pixel(kernel: int, step: int, dilation: int, length: int, pads: tuple[int, int]) -> bool:
    starts = range(-pads[0], length + pads[1] - effective_kernel(kernel, dilation) + 1, step)
    return any(0 <= start + tap * dilation < length for start in starts for tap in range(kernel))


def _leaves_pixels(op: str, values: Mapping[str, Any]) -> bool:
    """Whether the last rows are read by no window."""
    if values.get("memory of x") == "zero strides":
        return False
    kernel, stride = values.get("kernel", (1, 1)), values.get("stride", 1)
    steps, dilations = ((one, one) if isinstance(one, int) else one for one in (stride, values.get("dilation", 1)))
    step = kernel[0] if steps is None else steps[0]
    reach, padding = effective_kernel(kernel[0], dilations[0]), values.get("padding", 0)
    if padding in ("same", "same_lower") or values.get("ceil_mode"):
        return False
    (above, below), _ = explicit_padding(padding, (1, 1), (1, 1), (1, 1), (1, 1))
    return (values["height"] + above + below - reach) % step > below


_Make: TypeAlias = Callable[[tuple[int, ...], np.random.Generator, Array], Any]
"""``make(shape, rng, read)``: numbers; `read` marks those that any result is made of."""


def _each(make: _Make, rng: np.random.Generator, dtype: Any, masks: Tree) -> Callable[[Array], Array]:
    each = iter([mask for _, mask in named_arrays(masks)])
    return lambda array: np.asarray(make(array.shape, rng, next(each, np.ones(array.shape, bool))), dtype)


def _read(problem: Problem, dy: Tree) -> dict[str, Tree]:
    """Which numbers of each argument any result is made of: not a tap that is on padding everywhere, nor a pixel stepped over."""
    if problem.op in INEXACT:
        return {}
    gradients = problem.map(np.ones_like).backward(map_arrays(np.ones_like, dy))
    trees = gradients if len(problem.args) > 1 else (gradients,)
    return {name: map_arrays(lambda a: a != 0, tree) for name, tree in zip(problem.names, trees, strict=True)}


class Filled(NamedTuple):
    """The arrays of a case, and the powers of two that some of them are multiplied by."""

    args: tuple[Tree, ...]
    dy: Tree
    exponents: dict[str, int]


def fill(problem: Problem, dy: Tree, label: str | None, rng: np.random.Generator, dtype: Any) -> Filled:
    """Numbers for the arrays of `problem` and `dy`, whose own are not read: those that `label`, "x: NaN", names, else whole."""
    target, _, kind = (label or "").partition(": ")
    dtype = np.dtype(dtype)
    made: dict[str, Tree] = {}
    masks = _read(problem, dy) if kind in ("NaN", "infinity", "-infinity", *SPARSE) else {}
    for name, tree in zip((*problem.names, "dy"), (*problem.args, dy), strict=True):
        wanted = kind if name == target else ""
        make = _maker(problem, name, wanted, target, kind, dtype)
        made[name] = map_arrays(_each(make, rng, dtype, masks.get(name)), tree)
    if problem.op == "batch_norm2d" and made["var"] is not None and kind not in NONFINITE:
        made["var"] = np.abs(made["var"]) + dtype.type(target != "var" or kind not in SCALED)  # a variance is above 0
    elif problem.op == "batch_norm2d" and made["var"] is not None:
        made["var"] = np.abs(made["var"]) + dtype.type(1)
    if target == "b" and kind in SCALED:  # beside products they would be lost, or these beside them
        made |= {name: map_arrays(np.zeros_like, tree) for name, tree in made.items() if name.startswith("w")}
    if kind == "NaN unread":
        made["x"] = _unread(problem, made["x"], dy)
    exponents = _exponents(problem, made, target, kind, dtype)
    return Filled(tuple(made[name] for name in problem.names), made["dy"], exponents)


def _maker(problem: Problem, name: str, wanted: str, target: str, kind: str, dtype: np.dtype[Any]) -> _Make:
    unit = problem.unit

    def whole(shape: tuple[int, ...], rng: np.random.Generator, read: Array) -> Any:
        least = -4 if shape else 1  # a single 0 would say nothing
        return rng.integers(least, 4, shape, endpoint=True) * unit

    def special(shape: tuple[int, ...], rng: np.random.Generator, read: Array) -> Any:
        numbers = whole(shape, rng, read)
        if wanted in _VALUES:
            return _some(numbers, rng, _VALUES[wanted], name, read)
        return _KINDS[wanted](numbers, rng, unit, problem.op)

    digits = int(np.finfo(dtype).nmant) + 1
    if kind in SPARSE and problem.op not in _MOVES and not (target in BIASES or name in BIASES):
        bits = digits if kind == "24 bits" else min(12, digits // 2)
        factors = [other for other in problem.names if other not in BIASES]
        if name != target:
            bits = 1 if kind == "24 bits" else max(1, (digits - 2 - bits) // max(1, len(factors) - 1))
        few = {"dy": None if kind == "24 bits" else 3, "x": 0}.get(name, 1 if kind == "24 bits" else 3)
        return lambda shape, rng, read: _sparse(shape, rng, bits, few, read) * unit
    if kind == "24 bits":
        if name == target:
            return lambda shape, rng, read: _odd(shape, rng, digits) * unit
        if name in BIASES or target in BIASES:
            return lambda shape, rng, read: np.zeros(shape)
    if kind == "12 bits" and name == target:
        return lambda shape, rng, read: _odd(shape, rng, min(12, digits // 2)) * unit
    return special if wanted in _KINDS or wanted in _VALUES else whole


def _odd(shape: tuple[int, ...], rng: np.random.Generator, bits: int) -> Any:
    """Odd numbers of so many bits, of both signs."""
    low = 2 ** (bits - 1) if bits > 1 else 1
    return (rng.integers(low, 2**bits, shape) | 1) * rng.choice([-1, 1], shape)


def _sparse(shape: tuple[int, ...], rng: np.random.Generator, bits: int, few: int | None, read: Array) -> Any:
    """Odd numbers, `few` of them for each entry of axis 0 (axis 1 of maps), all where that is 0, one in all where None."""
    numbers = _odd(shape, rng, bits)
    if few == 0 or not numbers.size:
        return numbers
    kept = np.zeros(shape, bool)
    if few is None:
        kept.ravel()[rng.integers(numbers.size)] = True
        return numbers * kept
    rows, places = kept.reshape(shape[0] if shape else 1, -1), read.reshape(shape[0] if shape else 1, -1)
    for row, used in zip(rows, places, strict=True):
        chosen = np.flatnonzero(used) if used.any() else np.arange(len(row))
        row[rng.choice(chosen, min(few, len(chosen)), replace=False)] = True
    return numbers * kept


_VALUES = {"NaN": np.nan, "infinity": np.inf, "-infinity": -np.inf}


def _some(array: Array, rng: np.random.Generator, value: float, name: str, read: Array) -> Array:
    """A few of the numbers that are read are `value`: few enough that not every result is; of a filter one at most."""
    found = np.array(array, np.float64)
    if not found.size:
        return found
    if name.startswith("w"):  # a second one of the same filter may meet padding
        rows, places = found.reshape(len(found), -1), read.reshape(len(found), -1)
        for row in rng.choice(len(rows), min(3, len(rows)), replace=False):
            used = np.flatnonzero(places[row])
            rows[row, rng.choice(used) if len(used) else 0] = value
        return rows.reshape(found.shape)
    used = np.flatnonzero(read) if read.any() else np.arange(found.size)
    most = 3 if np.isnan(value) else 2  # infinities of both signs make NaN of what both are in
    found.ravel()[rng.choice(used, min(most, len(used), max(1, found.size // 8)), replace=False)] = value
    return found


def _signed_zeros(array: Array, rng: np.random.Generator) -> Array:
    zeros = rng.choice([0.0, -0.0], array.shape)
    found = np.asarray(np.where(rng.integers(0, 2, array.shape) == 1, zeros, array))
    if found.size:
        found.ravel()[0] = -0.0
    return found


_KINKS = [0.0, -0.0, 3.0, -3.0, 6.0, 1.0, -1.0]


def _ties(array: Array, rng: np.random.Generator, unit: int, op: str) -> Any:
    if op not in ("relu", "relu6", "hard_sigmoid", "hard_swish"):
        return rng.integers(0, 2, array.shape) * unit
    kinks = np.asarray(_KINKS, np.float32)
    near = np.concatenate([kinks, np.nextafter(kinks, np.float32(9)), np.nextafter(kinks, np.float32(-9))])
    return rng.choice([*near[np.abs(near) > 1e-30].tolist(), 0.0, -0.0], array.shape)


_KINDS: dict[str, Callable[[Array, np.random.Generator, int, str], Any]] = {
    "far from 0": lambda array, rng, unit, op: array + 3000 * unit,
    "below -128": lambda array, rng, unit, op: rng.integers(-1000, -128, array.shape) * unit,
    "zeros of both signs": lambda array, rng, unit, op: _signed_zeros(array, rng),
    "all equal": lambda array, rng, unit, op: np.full(array.shape, rng.choice([-3, 2, 3]) * unit),
    "ties": _ties,
}


def _unread(problem: Problem, x: Array, dy: Tree) -> Array:
    """x with NaN in every pixel that no window reads."""
    ones = problem.map(np.ones_like)
    gradients = ones.backward(map_arrays(np.ones_like, dy))
    counts = gradients[0] if len(problem.args) > 1 else gradients
    if problem.op == "max_pool2d":
        options = problem.options
        from npconv import ops

        counts = ops.avg_pool2d_backward(np.ones_like(dy), ones.args[0], options["kernel"], **_without_kernel(options))
    return np.where(counts == 0, np.asarray(np.nan, x.dtype), x)


def _without_kernel(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "kernel"}


# --- powers of two -----------------------------------------------------------------------------------------------


def _exponents(problem: Problem, made: dict[str, Tree], target: str, kind: str, dtype: Any) -> dict[str, int]:
    if kind == "24 bits":
        exponent = min(6, int(np.finfo(dtype).maxexp) - int(np.finfo(dtype).nmant) - 4)
    elif kind == "denormal":
        exponent = int(np.finfo(dtype).minexp) - int(np.finfo(dtype).nmant)
        if problem.op in ("avg_pool2d", "global_avg_pool2d", "octave_conv2d", "octave_depthwise_conv2d"):
            exponent += min(8, int(np.finfo(dtype).nmant) // 3)  # still denormal when divided
        elif problem.op in INEXACT:  # well above the underflow that their bounds allow for
            digits = int(np.finfo(dtype).nmant)
            exponent += digits - 3 if problem.op == "softmax_cross_entropy" else min(12, digits // 3)
    elif kind == "tiny":
        exponent = {16: -6, 32: -100, 64: -900}[np.finfo(dtype).bits]
    elif kind == "large":
        exponent = _largest(problem, made, target, dtype)
    else:
        return {}
    shifted = [target]
    if target not in ("dy", *_STATISTICS) and made.get("b") is not None and target != "b":
        shifted.append("b")  # or it would be lost beside the products, or they beside it
    return dict.fromkeys(shifted, exponent)


HEADROOM = 16
"""Times that a large number still fits: sums before a division, the transforms of fast algorithms."""


def _largest(problem: Problem, made: dict[str, Tree], target: str, dtype: Any) -> int:
    """The power of two that makes the largest result almost as large as the dtype allows."""
    from npconv.testing import exact_backward, exact_forward

    whole = problem._replace(args=tuple(made[name] for name in problem.names))
    rows = [*exact_forward(whole), *exact_backward(whole, made["dy"])]
    sums = 1 if problem.op not in ("avg_pool2d", "global_avg_pool2d") else prod(whole.args[0].shape[2:])
    largest = max([1.0, *(float(row.magnitude.max(initial=0.0)) for row in rows)]) * sums * HEADROOM
    largest = max(largest, *(float(np.abs(a).max(initial=1.0)) for _, a in named_arrays(made[target])))
    exponent = int(np.finfo(dtype).maxexp) - 1 - floor(log2(largest) + 1)
    if problem.op == "batch_norm2d" and target in ("x", "mean", "var", "gamma"):
        exponent = (exponent - 12) // 4  # its squares, and what is divided by them, have to fit as well
    return max(exponent, 0)


def scaled(tree: Tree, exponent: int) -> Tree:
    """`tree` times 2^exponent, in its dtype."""
    return map_arrays(lambda array: np.asarray(np.ldexp(array, exponent), array.dtype), tree) if exponent else tree
