"""How a convolution behaves where arithmetic has corners: padding, NaN, infinity, denormals, signed zeros, repetition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from npconv.check.probes import Formats
from npconv.check.subject import Forward, NoAnswerError, Subject
from npconv.geometry import Array


@dataclass(frozen=True)
class Finding:
    """The answer to a question, None where there is none, and what was seen."""

    value: bool | None
    evidence: str


NOT_ASKED = Finding(None, "not asked")


def ask(question: Callable[[], Finding]) -> Finding:
    """The answer, or no answer where the convolution gave none."""
    try:
        return question()
    except NoAnswerError as error:
        return Finding(None, str(error))


def multiplies_padding(subject: Subject) -> Finding:
    """With an infinite weight, an output whose tap is on the padding is NaN if 0 * Inf was computed, and else finite."""
    if subject.pad == 0:
        return Finding(None, "a pointwise convolution has no padding")
    x, w = _ones(subject)
    w[:, :, 0, 0] = np.inf
    y = subject(x, w)
    border = np.concatenate([y[:, :, 0].ravel(), y[:, :, 1:, 0].ravel()])
    count = np.isnan(border).sum()
    if not np.isnan(y[:, :, 1:, 1:]).any():
        return Finding(bool(count), f"0 * Inf at the border: {count} of {border.size} outputs are NaN")
    return Finding(None, "an infinite weight makes NaN of outputs away from the border")


def spreads(subject: Subject, rng: np.random.Generator, value: float) -> Finding:
    """Whether `value`, NaN or infinity, at one pixel is in exactly the outputs that use it."""
    x, w = _ones(subject)
    row, column = rng.integers(2, subject.size - 2, 2)
    x[0, rng.integers(subject.channels), row, column] = value
    y = subject(x, w)
    uses = np.zeros(y.shape, bool)
    reach = slice(row - subject.pad, row + subject.pad + 1), slice(column - subject.pad, column + subject.pad + 1)
    uses[(0, slice(None), *reach)] = True
    right = np.isnan(y) if np.isnan(value) else y == value
    others = ~np.isfinite(y) & ~uses
    evidence = f"{value} at a pixel is in {(right & uses).sum()} of the {uses.sum()} outputs that use it"
    if others.any():
        rows, columns = (np.unique(np.nonzero(others | uses)[axis]) for axis in (2, 3))
        where = f"in rows {rows[0]} to {rows[-1]}, columns {columns[0]} to {columns[-1]} around ({row}, {column})"
        evidence += f", and {others.sum()} others are not finite, {where}"
    return Finding(bool((right | ~uses).all() and not others.any()), evidence)


def flushes_inputs(subject: Subject, rng: np.random.Generator, formats: Formats) -> Finding:
    """Whether a denormal factor counts as 0."""
    least = _least_exponent(formats.wide, formats.x_bits)
    tiny, large = 2.0 ** (least - 4), 2.0**12
    position = subject.some(rng)
    y = subject.sums(position * [[tiny], [large]], position * [[large], [tiny]])
    kept = np.array([y[0, 0], y[1, 1]]) / (tiny * large)
    evidence = f"2^{least - 4} * 2^12 is {y[0, 0]:.4g} with the small factor in x and {y[1, 1]:.4g} with it in w"
    return Finding(_flushed(kept), evidence)


def flushes_results(subject: Subject, rng: np.random.Generator, formats: Formats) -> Finding:
    """Whether a denormal result becomes 0."""
    if formats.wide_results and not formats.wide_products:
        return Finding(None, "float16 products are never so small")
    least = _least_exponent(formats.wide_results, formats.result_bits)
    position = subject.some(rng) * 2.0 ** ((least - 4) // 2)
    y = subject.sums(position, position)[0]
    return Finding(_flushed(y / 2.0 ** (least - 4)), f"a product of 2^{least - 4} is {y[0]:.4g}")


def keeps_negative_zero(subject: Subject) -> Finding:
    """Whether a sum of negative zeros is -0: not if sums start from +0, and rarely promised."""
    x, w = _ones(subject)
    inner = slice(subject.pad, subject.size - subject.pad)
    y = subject(x * -0.0, w)[:, :, inner, inner]
    negative = np.signbit(y).sum()
    return Finding(bool(negative == y.size), f"of {y.size} sums of negative zeros {negative} are -0")


def repeats(subject: Subject, rng: np.random.Generator, repeat: int) -> Finding:
    """Whether the same call gives the same bits."""
    x, w = random_problem(subject, rng)
    first = subject(x, w)
    return _same("again", first, (subject(x, w) for _ in range(repeat - 1)))


def same_alone(subject: Subject, rng: np.random.Generator) -> Finding:
    """Whether an image gives the same bits alone as it does in a batch."""
    x, w = random_problem(subject, rng)
    return _same("alone", subject(x, w), [np.concatenate([subject(image[None], w) for image in x])])


def same_on_threads(subject: Subject, rng: np.random.Generator, by_threads: Mapping[int, Forward]) -> Finding:
    """Whether the same problem gives the same bits on so many threads."""
    x, w = random_problem(subject, rng)
    results = [subject.replaced(forward)(x, w) for forward in by_threads.values()]
    return _same(f"on {', '.join(map(str, by_threads))} threads", results[0], results[1:])


def random_problem(subject: Subject, rng: np.random.Generator) -> tuple[Array, Array]:
    """x and w of normally distributed numbers, in float64 but exact in the subject's dtype."""
    x, w = rng.standard_normal(subject.x_shape), rng.standard_normal(subject.w_shape)
    return x.astype(subject.dtype).astype(np.float64), w.astype(subject.dtype).astype(np.float64)


def _ones(subject: Subject) -> tuple[Array, Array]:
    return np.ones(subject.x_shape), np.ones(subject.w_shape)


def _least_exponent(wide: bool, bits: int) -> int:
    """The exponent of the smallest normal number of a format with so many bits: float64's range comes with all of its bits."""
    longest: type[np.floating[Any]] = np.float64 if bits > 23 else np.float32 if wide else np.float16
    return int(np.finfo(longest).minexp)


def _flushed(kept: Array) -> bool | None:
    """From results in units of what they should be: all 1 is no, any 0 is yes."""
    return False if (kept == 1).all() else True if (kept == 0).any() else None


def _same(how: str, first: Array, others: Iterator[Array] | list[Array]) -> Finding:
    differing = [int((first != other).sum()) for other in others]
    if any(differing):
        return Finding(False, f"{how}, up to {max(differing)} of {first.size} outputs differ")
    return Finding(True, f"{how}, all {first.size} outputs are the same, bit for bit")
