"""Bugs that show at one level of one feature alone: one for every level of the tables of `npconv.check.features`.

A kernel that is right up to dilation 3, reads past a row at one width, forgets the rest of 32 channels, takes every array for
contiguous, or computes in fewer bits: real ones are wrong where one of these is new to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from wrong import right

from npconv.check import MODES, corpus
from npconv.check.corpus import levels_of
from npconv.check.examination import Checked, examine
from npconv.check.features import LEAST, features
from npconv.check.measuring import measure
from npconv.geometry import Array
from npconv.testing import Problem, named_arrays
from npconv.testing.gradients import Tree, map_arrays


class LevelBug(NamedTuple):
    """A forward and a backward of `op`, wrong at `level` of `feature`."""

    op: str
    feature: str
    level: str
    forward: object
    backward: object


def bugs(op: str) -> Iterator[LevelBug]:
    """One for every level of every feature of `op`."""
    for name, feature in features(op).items():
        for level in feature.levels:
            if name == "numbers":
                if level != "whole":
                    yield _number_bug(op, level)
            elif name.startswith("memory"):
                if level != "absent":
                    yield _memory_bug(op, name.removeprefix("memory of "), level)
            else:
                yield _size_bug(op, name, level)


def shown_rarely(op: str, chosen: Iterable[LevelBug], *, seed: int) -> dict[tuple[str, str], int]:
    """(feature, level) -> cases that show the bug, where these are fewer than LEAST of the default run's.

    Only cases that have the level are run, the smallest first, until there are enough.
    """
    of_level: dict[tuple[str, str], list[Any]] = {}
    for case in sorted(corpus.cases(op, 300, seed=seed), key=lambda case: case.size):
        for place in levels_of(case):
            of_level.setdefault(place, []).append(case)
    found = {}
    for bug in chosen:
        checked = Checked(bug.forward, bug.backward)
        questions = [question for question in checked.questions(MODES) if question[1] != "adjoint"]
        count = 0
        for case in of_level.get((bug.feature, bug.level), []):
            count += any(finding.failures for finding in examine(checked, case, questions))
            if count == LEAST:
                break
        if count < LEAST:
            found[bug.feature, bug.level] = count
    return found


def _size_bug(op: str, name: str, level: str) -> LevelBug:
    """The last number of the first result is one too large at this level: a rest that is forgotten, a row too few."""

    def is_there(args: tuple[Tree, ...], options: dict[str, Any]) -> bool:
        problem = Problem(op, args, options)
        return features(op)[name].level(measure(problem).get(name)) == level

    def spoilt(tree: Tree) -> Tree:
        (_, first), *_ = named_arrays(tree)
        if first.size:
            first[(-1,) * first.ndim] += np.maximum(1, np.abs(first[(-1,) * first.ndim]))
        return tree

    return _bug(op, name, level, is_there, spoilt)


def _bug(op: str, name: str, level: str, is_there: Any, spoilt: Any) -> LevelBug:
    def forward(*args: Tree, **options: Any) -> Tree:
        y = map_arrays(np.array, right(op)(*args, **options))
        return spoilt(y) if is_there(args, options) else y

    def backward(dy: Tree, *args: Tree, **options: Any) -> Tree:
        gradients = right(f"{op}_backward")(dy, *args, **options)
        if not is_there(args, options):
            return gradients
        return spoilt(gradients if isinstance(gradients, tuple) else (gradients,))

    return LevelBug(op, name, level, forward, backward)


# --- memory ------------------------------------------------------------------------------------------------------


def _memory_bug(op: str, name: str, order: str) -> LevelBug:
    """The array is read as if it lay in C order, or, where it does, backwards."""

    def read(array: Array) -> Array:
        return misread(array) if order_of(array) == order else array

    return _on_argument(op, name, f"memory of {name}", order, read)


def order_of(array: Array) -> str:
    """How an array with several numbers lies; of two orders that are the same to it, the plainer."""
    lengths = [(length, step) for length, step in zip(array.shape, array.strides, strict=True) if length > 1]
    if not array.flags.aligned:
        return "unaligned"
    if any(step == 0 for _, step in lengths):
        return "zero strides"
    if not array.flags.writeable:
        return "read-only"
    if any(step < 0 for _, step in lengths):
        return "negative strides"
    if array.flags.c_contiguous:
        return "C order"
    if array.flags.f_contiguous:
        return "transposed"
    return "channels-last" if np.moveaxis(array, 1, -1).flags.c_contiguous else "strided"


def misread(array: Array) -> Array:
    """The numbers in another order than that of their indices, and another first one."""
    flat = array.ravel(order="K")[::-1] if array.size > 1 else array.ravel()
    return (flat.reshape(array.shape) + array.dtype.type(1)).copy()


# --- numbers -----------------------------------------------------------------------------------------------------


MEANS = "avg_pool2d", "global_avg_pool2d"
HIDING = ("relu6", "hard_sigmoid", "hard_swish", "batch_norm2d", "softmax_cross_entropy")


def _number_bug(op: str, label: str) -> LevelBug:
    name, _, kind = label.partition(": ")
    change = _NUMBERS[kind]
    if op in MEANS and kind.endswith("infinity"):  # a running mean makes NaN of it, which is a choice

        def change(array: Array) -> Array:
            return np.where(np.isinf(array), np.zeros_like(array), array)

    if name in ("x", "logits") and op in HIDING:  # whose results hide what a number is

        def change(array: Array, right: Any = change) -> Array:
            wrong = right(array)
            return np.where((wrong != array) & ~np.isnan(array), np.nan, wrong)

    return _on_argument(op, name, "numbers", label, change)


def _as_integers(array: Array) -> Array:
    """Through 8 bits that wrap, as in a quantised kernel without saturation."""
    return np.where(np.abs(array) <= 1100, (array + 128) % 256 - 128, array)


def _rounded(array: Array, bits: int) -> Array:
    """To so many bits, as factors of a matrix unit are."""
    mantissa, exponent = np.frexp(array)
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits), array.dtype)


def _one_number(array: Array) -> Array:
    """A constant array is taken to be scaled, and scaled back by 1 more."""
    constant = array.size > 1 and bool((array == array.flat[0]).all())
    return array * array.dtype.type(2) if constant else array


def _two_numbers(array: Array) -> Array:
    """Ties are broken by a little noise: what is 0 or at a kink is no longer there."""
    values = np.unique(np.round(array * 4))
    return array + array.dtype.type(0.25) * (np.abs(array) <= 6) if len(values) <= 30 and array.size > 30 else array


_NUMBERS: dict[str, Any] = {
    "far from 0": lambda a: np.where(np.abs(a) > 2900, a - a.dtype.type(0.25 * 4) * (np.abs(a) < 30_000), a),
    "below -128": _as_integers,
    "12 bits": lambda a: _rounded(a, 11) if np.abs(a).max(initial=0) < 2**24 else a,
    "24 bits": lambda a: np.where(np.abs(a) >= 2**24, _rounded(a, 22), a),
    "large": lambda a: np.where(np.abs(a) > 2e5, np.zeros_like(a), a),
    "tiny": lambda a: np.where(np.abs(a) < 1e-15, np.zeros_like(a), a),
    "denormal": lambda a: np.where(np.abs(a) < np.finfo(a.dtype).tiny, np.zeros_like(a), a),
    "NaN": lambda a: np.where(np.isnan(a), np.ones_like(a), a),
    "infinity": lambda a: np.where(a == np.inf, a - a, a),
    "-infinity": lambda a: np.where(a == -np.inf, a - a, a),
    "zeros of both signs": lambda a: np.where((a == 0) & np.signbit(a), np.ones_like(a), a),
    "all equal": _one_number,
    "ties": _two_numbers,
    "NaN unread": lambda a: np.where(np.isnan(a).any() & np.isfinite(a), a + a.dtype.type(1), a),
}


def _on_argument(op: str, name: str, feature: str, level: str, change: Any) -> LevelBug:
    """Both directions see `name` changed."""

    def changed(names: tuple[str, ...], given: tuple[Tree, ...]) -> list[Tree]:
        with np.errstate(all="ignore"):
            return [
                map_arrays(lambda a: np.asarray(change(a), a.dtype), tree) if key == name else tree
                for key, tree in zip(names, given, strict=True)
            ]

    def forward(*args: Tree, **options: Any) -> Tree:
        return right(op)(*changed(Problem(op, args, options).names, args), **options)

    def backward(dy: Tree, *args: Tree, **options: Any) -> Tree:
        return right(f"{op}_backward")(*changed(("dy", *Problem(op, args, options).names), (dy, *args)), **options)

    return LevelBug(op, feature, level, forward, backward)
