"""Probes of an arithmetic: designed inputs whose exact result is known, and which each format and algorithm changes in its own way.

Numbers are powers of two and sums of two of them wherever they can be, so that no probe depends on chance; the
generator only chooses which channels, pixels and terms are used.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from npconv.check.subject import Subject
from npconv.geometry import Array

# --- formats -----------------------------------------------------------------------------------------------------


class Formats(NamedTuple):
    """What the probes find of the formats of a convolution; bits are those kept after the leading one."""

    x_bits: int
    w_bits: int
    wide_products: bool  # whether factors have float32's exponents (or float64's) and not float16's
    sum_bits: int
    more_sum_bits: bool  # whether nothing was lost up to `sum_bits`, so that there may be more
    result_bits: int
    wide_results: bool

    @property
    def wide(self) -> bool:
        """Whether exponents may go beyond float16's everywhere."""
        return self.wide_products and self.wide_results


def formats(subject: Subject, rng: np.random.Generator) -> Formats:
    """Measure them all. Raises NoAnswerError."""
    wide_products, wide_results = exponent_range(subject, rng)
    x_bits, w_bits = factor_bits(subject, rng)
    sum_bits, more = sum_bits_kept(subject, rng, wide_products and wide_results)
    return Formats(x_bits, w_bits, wide_products, sum_bits, more, result_bits_kept(subject, rng), wide_results)


def exponent_range(subject: Subject, rng: np.random.Generator) -> tuple[bool, bool]:
    """Whether factors, and results, have exponents beyond float16's."""
    if subject.dtype == np.float16:
        return False, False
    position = subject.some(rng)

    def product(x: float, w: float) -> bool:
        got = subject.sums(position * x, position * w)[0, 0]
        return bool(abs(got / (x * w) - 1) < 2.0**-4)

    return product(2.0**20, 2.0**-10) and product(2.0**-30, 2.0**15), product(2.0**10, 2.0**10)


def factor_bits(subject: Subject, rng: np.random.Generator) -> tuple[int, int]:
    """The bits that x and w keep: the largest k up to which 1 + 2^-k, minus 1, is 2^-k.

    The 1 is taken away by a second term, so that a result in a shorter format cannot hide what the factors keep.
    """
    first, second = subject.some(rng, 2)
    powers = 0.5 ** np.arange(1, subject.stored_bits + 1)
    values = first * (1 + powers[:, None])
    y = subject.sums(np.vstack([values - second, first - second]), np.vstack([first + second, values + second]))
    return _kept(y[:-1, 0], powers), _kept(y[-1, 1:], powers)


def rounding(subject: Subject, rng: np.random.Generator, bits: int) -> str:
    """How x is rounded to `bits` bits, from what becomes of numbers between two neighbours of the format."""
    first, second = subject.some(rng, 2)
    fractions = np.array([0.75, 0.5, 1.5])  # of the spacing, above 1: nearer to the upper neighbour, and two ties
    windows = first * (1 + 2.0**-bits * fractions[:, None]) - second
    became = tuple((subject.sums(windows, (first + second)[None])[:, 0] * 2.0**bits).tolist())
    known = {
        (1.0, 0.0, 2.0): "to nearest, ties to even",
        (1.0, 1.0, 2.0): "to nearest, ties away from zero",
        (0.0, 0.0, 1.0): "towards zero",
    }
    return known.get(became, f"in its own way: 1 + (0.75, 0.5, 1.5) * 2^-{bits} becomes 1 + {became} * 2^-{bits}")


def product_error(subject: Subject, rng: np.random.Generator) -> float:
    """The largest error of single products of full-length numbers, in units of the last place of the dtype.

    A correctly rounded product is within 0.5 of it; one that is put together from shorter parts may not be.
    """
    position = subject.some(rng)
    x, w = (rng.uniform(1, 2, count).astype(subject.dtype).astype(np.longdouble) for count in (8, subject.out_channels))
    exact = x[:, None] * w
    y = subject.sums(position * x[:, None].astype(np.float64), position * w[:, None].astype(np.float64))
    ulp = np.exp2(np.floor(np.log2(exact)) - subject.stored_bits)
    return float((np.abs(y - exact) / ulp).max())


def result_bits_kept(subject: Subject, rng: np.random.Generator) -> int:
    """The bits that a result keeps: the largest k up to which the sum 1*1 + 2^-k is exact."""
    first, second = subject.some(rng, 2)
    powers = 0.5 ** np.arange(1, subject.stored_bits + 1)
    windows = first + second * (powers[:, None] * 2.0**12)  # no factor smaller than a normal float16
    y = subject.sums(windows, (first + second * 2.0**-12)[None])[:, 0]
    return _kept(y - 1, powers)


SUM_BITS = np.array([3, 5, 7, 8, 10, 11, 14, 17, 20, 22, 23, 24, 25, 28, 32, 40, 48, 52, 53, 60])


def sum_bits_kept(subject: Subject, rng: np.random.Generator, wide: bool) -> tuple[int, bool]:
    """The bits that partial sums keep, of those in `SUM_BITS`, and whether there may be more.

    Three terms M, 1 and -M have the sum 1, unless 1 was added to M or to -M first and lost. However the terms are added
    two by two, just one of the three pairs comes first; so of the three assignments of the numbers to the terms, two lose
    the 1. All are tried, on several triples.
    """
    tested = SUM_BITS if wide else SUM_BITS[SUM_BITS < 29]
    large, small = 2.0 ** -(-tested // 2), 2.0 ** -(tested // 2)
    windows = [
        plus * large[:, None] + one * small[:, None] - minus * large[:, None]
        for triple in (subject.some(rng, 3), subject.at([0, subject.terms // 2, subject.terms - 1]))
        for plus, one, minus in (triple, triple[[1, 2, 0]], triple[[2, 0, 1]])
    ]
    y = subject.sums(np.vstack(windows), np.ones((1, subject.terms))).reshape(len(windows), -1)
    survives = (y == small).all(axis=0)
    kept = int(np.argmin(survives)) if not survives.all() else len(tested)
    return int(tested[kept - 1]) if kept else 0, kept == len(tested)


def fused(subject: Subject, rng: np.random.Generator, bits: int) -> bool:
    """Whether some product is added without being rounded to the `bits` bits of the sums.

    The square of a = 1 + e is 1 + 2e + e^2, which is too long; minus (1 + 2e) it is e^2, or 0 once rounded. The
    square has to come second, so neighbouring terms are tried in both orders.
    """
    e = 2.0 ** -(bits // 2 + 1)
    a, subtracted = 1 + e, -(1 + 2 * e)
    last = subject.terms - 1
    pairs = [(0, 1), (1, 0), (0, subject.kernel**2 % subject.terms), (last - 1, last), (last, last - 1)]
    pairs += [tuple(rng.choice(subject.terms, 2, replace=False)) for _ in range(6)]
    squares, others = (subject.at([pair[side] for pair in pairs if pair[0] != pair[1]]) for side in (0, 1))
    y = subject.sums(squares * a + others * subtracted, squares * a + others)
    return bool(np.diagonal(y).any())


# --- order of the sums -------------------------------------------------------------------------------------------


ONE_AFTER_ANOTHER = "one after another"


def small_terms_kept(subject: Subject, bits: int) -> float:
    """Of many small terms that are added to 1 one after another, and each lost beside it, the part that the sum has after all.

    Kahan's sum keeps what rounding takes from it, and adds it again: nearly 1. Without such a correction 0. The 1 is the first
    term, or the last, whichever the sum begins with.
    Source: Kahan, Further Remarks on Reducing Truncation Errors, Communications of the ACM 8 (1965).
    """
    small = 2.0 ** -(bits + 2)
    windows = np.full((2, subject.terms), small)
    windows[0, 0] = windows[1, -1] = 1
    y = subject.sums(windows, np.ones((1, subject.terms)))[:, 0]
    kept = (y - 1) / (small * (subject.terms - 1))
    return float(kept.min()) if kept.min() > 0.5 else 0.0


def order(subject: Subject, rng: np.random.Generator, bits: int) -> str:
    """In which order the terms are added, as far as it is a simple one.

    With M and -M for two terms and 1 for all others, each 1 that is added before the two cancel is lost. So the result
    tells how many terms the smallest partial sum holds that has both.
    Source: Xie et al., Revealing Floating-Point Accumulation Orders (arXiv 2411.00442).
    """
    terms = subject.terms
    big = 2.0 ** (bits + 2 + int(terms).bit_length())
    powers = 2 ** np.arange(int(terms - 1).bit_length())
    partners = np.unique(np.concatenate([powers, powers[2:] - 1, [terms - 1], rng.integers(1, terms, 4)]))
    pairs = np.array([(0, j) for j in partners] + [(terms - 1, j - 1) for j in partners if j > 1])
    windows = np.ones((len(pairs), terms))
    np.put_along_axis(windows, pairs, np.array([[big, -big]]), axis=1)
    together = terms - subject.sums(windows, np.ones((1, terms)))[:, 0]
    ranks = _orders(subject, (together[0] - 1, together[0] / 2))
    for axes, rank in ranks.items():
        for suffix, ranked in (("", rank), (" from the last to the first", terms - 1 - rank)):
            later = ranked[pairs].max(axis=1)
            if np.array_equal(together, later + 1):
                return f"{ONE_AFTER_ANOTHER} in the order ({axes}){suffix}"
    for within, longest in ((", one after another in each", terms - 1), ("", terms // 4)):
        blocks = [(_block(together, rank[pairs], terms, longest, bool(within)), axes) for axes, rank in ranks.items()]
        block, axes = min(blocks)
        if block <= longest:
            return f"in blocks of {block} terms in the order ({axes}){within}, and then block after block"
    meetings = ", ".join(f"{n:g} of {i} and {j}" for (i, j), n in list(zip(pairs.tolist(), together, strict=True))[:5])
    return f"not one after another; the smallest partial sums with both of two terms hold {meetings}"


def _orders(subject: Subject, widths: Collection[float]) -> dict[str, Array]:
    """The rank of each term in the orders of the usual loops, some of which take so many channels at a time."""
    channel, tap = np.divmod(np.arange(subject.terms), subject.kernel**2)
    orders = {"channel, row, column": np.arange(subject.terms)}
    if subject.kernel == 1 or subject.channels == 1:
        return orders
    orders["row, column, channel"] = tap * subject.channels + channel
    for width in widths:
        if 1 < width < subject.channels and width == int(width):
            first = channel - channel % int(width)
            these = np.minimum(int(width), subject.channels - first)
            ranks = first * subject.kernel**2 + tap * these + channel - first
            orders[f"{int(width)} channels, row, column, channel of these"] = ranks
    return orders


def _block(together: Array, pairs: Array, terms: int, longest: int, sequential: bool) -> int:
    """The length, up to `longest`, of consecutive blocks that explains how many terms are `together` with each pair.

    Each block is summed on its own, one term after another if `sequential` and in any way otherwise, and added to the total.
    Where no length explains it, `terms`.
    """
    later, earlier = pairs.max(axis=1), pairs.min(axis=1)
    candidates = np.concatenate([together, together / 2])
    for block in sorted({int(n) for n in candidates if 2 <= n <= longest and n == int(n)}):
        same = later // block == earlier // block
        up_to_later = np.minimum((later // block + 1) * block, terms)
        in_same = together == later % block + 1 if sequential else together <= block
        if np.where(same, in_same, together == up_to_later).all():
            return block
    return terms


# --- transforms --------------------------------------------------------------------------------------------------


class Transform(NamedTuple):
    """What a large number does to outputs that should not depend on it."""

    outputs: int  # how many it changes at most
    rows: (
        int | None
    )  # outputs that are computed together along each axis: 1 if each alone, None if in no regular pattern
    columns: int | None
    double: bool  # whether what float32 would lose, 32 bits below the large number, survives
    overlapping: bool = False  # whether tiles have pixels in common, or outputs
    halves: bool = False  # whether outputs half of all away are changed, and no others that do not depend on it


def transform(subject: Subject, rng: np.random.Generator, wide: bool) -> Transform:
    """See whether outputs are computed together, as by Winograd's algorithm and the FFT, and how many.

    Every filter has a single 1, so each output is one pixel, exactly. One pixel is so large that no other survives being
    added to it. Where each output is summed on its own it appears at one output and has no effect on any other.
    Raises NoAnswerError.
    """
    if subject.kernel == 1:
        return Transform(0, 1, 1, False)
    big, unit = (2.0**40, 2.0**-40) if wide else (2.0**15, 2.0**-12)
    rows = _disturbed(subject, rng, range(subject.size), big, unit)
    outputs = rows.any(axis=1).sum(axis=(1, 2)).max()
    if not outputs:
        return Transform(0, 1, 1, False)
    somewhere = [int(rng.integers(2, subject.size - 2))]
    double = wide and not _disturbed(subject, rng, somewhere, 2.0**16, 2.0**-16).any()
    halves = _in_halves(np.asarray(rows.any(axis=1)))
    columns = rows.copy()
    # Where a tap brings the large number to its own row, a transform of columns alone disturbs that row too.
    positions, taps = np.arange(subject.size)[:, None], np.arange(9)
    _clear(rows, positions + 1 - taps // 3, axis=2)
    _clear(columns, positions + 1 - taps % 3, axis=3)
    by_axis = np.asarray(rows.any(axis=(1, 3))), np.asarray(columns.any(axis=(1, 2)))
    tiles = [_tile(together) for together in by_axis]
    overlapping = [_overlapping_tile(together) for together in by_axis]
    if tiles == [None, None] and None not in overlapping:
        return Transform(int(outputs), overlapping[0], overlapping[1], double, overlapping=True)
    return Transform(int(outputs), tiles[0], tiles[1], double, halves=tiles == [None, None] and halves)


def _disturbed(subject: Subject, rng: np.random.Generator, positions: Sequence[int], big: float, unit: float) -> Array:
    """Which outputs (position, tap, row, column) are not the pixel that they should be, with `big` at [position, position].

    The other pixels are odd multiples of `unit`. A transform rounds them too, but changes them by less than a unit.
    """
    size, channel = subject.size, int(rng.integers(subject.channels))
    x = unit * (2.0 * rng.integers(0, 8, (len(positions), subject.channels, size, size)) + 1)
    x[np.arange(len(positions)), channel, list(positions), list(positions)] = big
    w = np.zeros((9, subject.channels, 3, 3))
    w[np.arange(9), channel, np.arange(9) // 3, np.arange(9) % 3] = 1
    padded = np.pad(x[:, channel], ((0, 0), (1, 1), (1, 1)))
    exact = np.stack([padded[:, r : r + size, s : s + size] for r in range(3) for s in range(3)], axis=1)
    y = subject.convolve(x, w)
    return ~(np.abs(y - exact) < unit / 4) & (exact != big)


def _clear(changed: Array, lines: Array, axis: int) -> None:
    """Set `changed` to False on the line [position, tap] of `axis` that `lines` names, where it is inside."""
    index = np.arange(changed.shape[axis])
    named = lines[:, :, None] == index
    changed &= ~(named[:, :, :, None] if axis == 2 else named[:, :, None, :])


def _tile(together: Array) -> int | None:
    """The length of the tiles in which position i disturbs output j: together[i, j] are blocks along the diagonal."""
    size = len(together)
    if not together.any():
        return 1
    if together.all():
        return size
    for length in range(2, size):
        for start in range(length):
            tile = (np.arange(size) - start) // length
            if np.array_equal(together, tile[:, None] == tile):
                return length
    return None


def _overlapping_tile(together: Array) -> int | None:
    """The length of tiles whose pixels, one more on each side, disturb all of their outputs; or the other way round.

    A tile of a single row at the border may have no output that its pixels could disturb.
    """
    size = len(together)
    places, there = np.arange(size), np.asarray(together.any(axis=1))
    if not there[1:-1].all():
        return None
    for length in range(2, size // 2 + 1):
        for start in range(length):
            first = (places - start) // length * length + start
            reached = (places[:, None] >= first - 1) & (places[:, None] <= first + length)
            if any(np.array_equal(together[there], one[there]) for one in (reached, reached.T)):
                return length
    return None


def _in_halves(disturbed: Array) -> bool:
    """Whether the outputs (position, row, column) are those that depend on the pixel [position, position], or half of all away."""
    size = disturbed.shape[1]
    half, away = -(-(size**2) // 2), 0
    for position, outputs in enumerate(disturbed):
        near = np.zeros((size, size), bool)
        near[max(0, position - 1) : position + 2, max(0, position - 1) : position + 2] = True
        own, changed = np.flatnonzero(near), np.flatnonzero(outputs)
        if not np.isin(changed, np.concatenate([own, own + half, own - half])).all():
            return False
        away += bool(np.setdiff1d(changed, own).size)
    return away > 2


def _kept(got: Array, expected: Array) -> int:
    """How many of the numbers, from the first on, are there but for a quarter of their size."""
    right = np.abs(got - expected) < expected / 4
    return len(right) if right.all() else int(np.argmin(right))
