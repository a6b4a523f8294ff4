"""Which arithmetic does a convolution use? Told from what it makes of designed inputs, without looking into it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npconv import ops
from npconv.check import behaviour, probes, short_formats
from npconv.check.behaviour import NOT_ASKED, Finding, ask
from npconv.check.probes import Formats, Transform
from npconv.check.subject import Forward, NoAnswerError, Subject
from npconv.geometry import integer
from npconv.testing.bounds import gamma

NO_ANSWER = "not told"
NONE_KNOWN = "none of the arithmetics known here"


@dataclass(frozen=True)
class Arithmetic:
    """What `fingerprint` found; `str` says it in a paragraph and a line for each answer.

    Attributes
    ----------
    name : str
        As "float32, direct sums", "float32, Winograd F(2x2,3x3)", "float32, FFT", "float32, FFT in tiles of 4x4", "float32,
        Strassen", "TF32 products, float32 sums", "float16 sums", "float32 products, float64 sums", "float32, compensated
        sums", "float8 e4m3 products, float32 sums", "int8 products", "2 TF32 parts of each factor, float32 sums", `NO_ANSWER` where it gave no results to tell
        by, or `NONE_KNOWN` where what it gave is explained by no arithmetic that is known here.
    evidence : tuple of str
        What was measured, one observation each.
    effective_bits : float, optional
        How many bits random problems are right to: -log2 of the largest error, relative to the sum of the absolute
        values of its terms.
    order : str, optional
        In which order terms are added, where direct sums let it be told.
    fused : Finding
        Are products added without being rounded?
    padding_multiplied : Finding
        Are the zeros of the padding multiplied, so that an infinite weight makes NaN of them?
    repeatable, same_alone, same_on_threads : Finding
        Are the bits the same in another run, without the rest of the batch, on other numbers of threads?
    denormal_inputs_flushed, denormal_results_flushed : Finding
        Are numbers below the smallest normal one taken for 0?
    nan_exact, infinity_exact : Finding
        Are NaN and infinity in the outputs that use them, and in no others?
    negative_zero_kept : Finding
        Is a sum of negative zeros -0?
    """

    name: str
    evidence: tuple[str, ...]
    effective_bits: float | None = None
    order: str | None = None
    fused: Finding = NOT_ASKED
    padding_multiplied: Finding = NOT_ASKED
    repeatable: Finding = NOT_ASKED
    same_alone: Finding = NOT_ASKED
    same_on_threads: Finding = NOT_ASKED
    denormal_inputs_flushed: Finding = NOT_ASKED
    denormal_results_flushed: Finding = NOT_ASKED
    nan_exact: Finding = NOT_ASKED
    infinity_exact: Finding = NOT_ASKED
    negative_zero_kept: Finding = NOT_ASKED

    def findings(self) -> dict[str, Finding]:
        """The questions with an answer of yes or no, or none, by their names."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Finding)}

    def to_dict(self) -> dict[str, Any]:
        """All of it in dictionaries, lists and scalars, for JSON."""
        return {**asdict(self), "evidence": list(self.evidence)}

    def observations(self) -> list[str]:
        """What was measured, in sentences."""
        sentences = [*self.evidence, *([] if self.order is None else [f"terms are added {self.order}"])]
        return [f"{sentence[:1].upper()}{sentence[1:]}." for sentence in sentences]

    def answers(self) -> list[tuple[str, str, str]]:
        """The questions that were asked, with the answer to each and what was seen."""
        words = {True: "yes", False: "no", None: "cannot be told"}
        return [
            (name.replace("_", " "), words[finding.value], finding.evidence)
            for name, finding in self.findings().items()
            if finding != NOT_ASKED
        ]

    def __str__(self) -> str:
        rows = [f"  {question}: {answer} ({evidence})" for question, answer, evidence in self.answers()]
        return "\n".join([" ".join([f"{self.name}.", *self.observations()]), *rows])


def fingerprint(
    forward: Forward,
    *,
    op: str = "conv2d",
    dtype: DTypeLike = np.float32,
    seed: int = 0,
    repeat: int = 3,
    batch: int = 2,
    channels: int = 32,
    out_channels: int = 16,
    size: int = 16,
    by_threads: Mapping[int, Forward] | None = None,
) -> Arithmetic:
    """Find out which arithmetic the convolution `forward` uses for 3x3 kernels at stride 1 (1x1 if pointwise).

    Parameters
    ----------
    forward : callable
        With the signature of the operator `op` of `npconv.ops`, from NumPy arrays to a NumPy array. It is called a few
        dozen times, always with fresh arrays of one shape (and once per image alone). Where it raises, that is the
        evidence.
    op : "conv2d", "depthwise_conv2d" or "pointwise_conv2d"
    dtype : float16, bfloat16, float32 or float64
        Of the arrays that it is given.
    seed : int
        For the choice of pixels, channels and terms, and for the random problems of some questions.
    repeat : int
        How often the same problem is computed, to see whether the bits are the same.
    batch, channels, out_channels, size : int
        The shape of the problem, x (batch, channels, size, size) and out_channels filters: implementations often choose
        their algorithm by it. Sums have 9 * channels terms, or 9 in a depthwise and `channels` in a pointwise one.
    by_threads : mapping, optional
        Number of threads -> the same function running on so many.

    Returns
    -------
    Arithmetic

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong type or value, before `forward` is called.

    Examples
    --------
    >>> import npconv
    >>> with npconv.backend("numpy"):
    ...     fingerprint(npconv.conv2d, dtype=np.float16, channels=2, out_channels=4).name
    'float16 products, float32 sums'
    """
    repeat = integer("repeat", repeat, minimum=2)
    rng = np.random.default_rng(integer("seed", seed, minimum=0))
    subject = Subject(forward, op=op, dtype=dtype, batch=batch, channels=channels, out_channels=out_channels, size=size)
    try:
        _must_be_a_convolution(subject, rng)
        formats = None
        found = _of_8_bits(subject, rng)
        if found is None:
            formats = probes.formats(subject, rng)
            transform = probes.transform(subject, rng, formats.wide)
            found = (_transformed if transform.outputs else _direct)(subject, rng, formats, transform)
    except NoAnswerError as error:
        return Arithmetic(NO_ANSWER, (str(error),))
    if formats is not None:
        found = replace(
            found,
            denormal_inputs_flushed=ask(lambda: behaviour.flushes_inputs(subject, rng, formats)),
            denormal_results_flushed=ask(lambda: behaviour.flushes_results(subject, rng, formats)),
        )
    return replace(
        found,
        padding_multiplied=ask(lambda: behaviour.multiplies_padding(subject)),
        repeatable=ask(lambda: behaviour.repeats(subject, rng, repeat)),
        same_alone=ask(lambda: behaviour.same_alone(subject, rng)),
        same_on_threads=ask(lambda: behaviour.same_on_threads(subject, rng, by_threads)) if by_threads else NOT_ASKED,
        nan_exact=ask(lambda: behaviour.spreads(subject, rng, math.nan)),
        infinity_exact=ask(lambda: behaviour.spreads(subject, rng, math.inf)),
        negative_zero_kept=ask(lambda: behaviour.keeps_negative_zero(subject)),
    )


def _must_be_a_convolution(subject: Subject, rng: np.random.Generator) -> None:
    """Raise NoAnswerError if results on small whole numbers are not even near: no probe would mean anything."""
    x, w = (np.rint(array) for array in behaviour.random_problem(subject, rng))
    exact = ops.conv2d(x, w, padding=subject.pad)
    y = subject(x, w)
    with np.errstate(invalid="ignore", over="ignore"):
        error = float(np.sqrt(np.mean((y - exact) ** 2) / np.mean(exact**2)))
    if not error <= 0.1:
        raise NoAnswerError(f"no convolution: on small whole numbers its results are off by {error:.2g} of their size")


# --- formats of 8 bits -------------------------------------------------------------------------------------------


def _of_8_bits(subject: Subject, rng: np.random.Generator) -> Arithmetic | None:
    """The arithmetic of one whose factors have 8 bits; None for any other."""
    whole = short_formats.rounds_to_int8(subject, rng)
    found = None if whole else short_formats.float8(subject, rng)
    if not whole and found is None:
        return None
    x, w = behaviour.random_problem(subject, rng)
    exact = ops.conv2d(x, w, padding=subject.pad)
    magnitude = ops.conv2d(np.abs(x), np.abs(w), padding=subject.pad)
    y = subject(x, w)
    error = float((np.abs(y - exact) / magnitude).max())
    if found is None:
        name, factors = (
            "int8 products",
            f"factors become multiples of a step, of which the largest has {short_formats.INT8}",
        )
        evidence, excess = [factors], short_formats.int8_excess(subject, x, w, y, exact)
    else:
        bits = next(key for key, value in short_formats.FLOAT8.items() if value == found.name)
        name, excess = _float8_name(found, subject), error / (2 * 2.0 ** -bits[0])
        more = "at least " if found.more_sum_bits else ""
        evidence = [
            f"factors keep {bits[0]} bits after the leading one, from 2^{bits[1]} to beyond 2^{bits[2]}",
            f"partial sums keep {more}{found.sum_bits} bits and results {found.result_bits}",
        ]
    evidence.append(
        f"random results are right to {-math.log2(error):.1f} bits" if error else "random results are exact"
    )
    if excess > 1:
        name = NONE_KNOWN
        evidence[-1] += f", off by {excess:.3g} times what these formats can explain"
    return Arithmetic(name, tuple(evidence), -math.log2(error) if error else None)


def _float8_name(found: short_formats.Float8, subject: Subject) -> str:
    sums = f"wider than {found.sum_bits}-bit" if found.more_sum_bits else _FORMATS.get((found.sum_bits, True))
    results = _FORMATS.get((found.result_bits, not found.float16_results))
    if sums is None or (results is None and not found.more_result_bits):
        return NONE_KNOWN
    name = f"{found.name} products, {sums} sums"
    return name if found.more_result_bits or found.result_bits == subject.stored_bits else f"{name}, {results} results"


# --- direct sums -------------------------------------------------------------------------------------------------

_FORMATS = {
    (7, True): "bfloat16",
    (10, True): "TF32",
    (10, False): "float16",
    (23, True): "float32",
    (52, True): "float64",
}
"""Formats by the bits that they keep after the leading one, and whether they have exponents beyond float16's."""

_ULP = 0.51  # of error that a rounded product may have: a half, and what the exact one is not known to


def _direct(subject: Subject, rng: np.random.Generator, formats: Formats, _: Transform) -> Arithmetic:
    """The arithmetic of a convolution that sums each output on its own."""
    order, kept = _order(subject, rng, formats), 0.0
    if order is not None and order.startswith(probes.ONE_AFTER_ANOTHER):
        kept = probes.small_terms_kept(subject, formats.sum_bits)
    if kept and formats.sum_bits == formats.result_bits + 1:  # a correction just below a power of two
        formats = formats._replace(sum_bits=formats.result_bits)
    name = _direct_name(subject, formats)
    bits, excess = _accuracy(subject, rng, formats)
    reach = "beyond float16's" if formats.wide_products else "no larger than float16's"
    sums = f"at least {formats.sum_bits}" if formats.more_sum_bits else f"{formats.sum_bits}"
    evidence = [
        f"factors keep {formats.x_bits} bits after the leading one in x and {formats.w_bits} in w, with exponents {reach}",
        f"partial sums keep {sums} bits and results {formats.result_bits}",
        "a large number has no effect on outputs that do not use it",
        f"random results are right to {bits:.1f} bits",
    ]
    if excess > 1:
        name = NONE_KNOWN
        evidence[-1] += f", off by {excess:.3g} times what these formats can explain"
    factor_bits = min(formats.x_bits, formats.w_bits)
    if factor_bits < subject.stored_bits:
        evidence.append(f"factors are rounded {probes.rounding(subject, rng, factor_bits)}")
    elif formats.result_bits == factor_bits:
        ulps = probes.product_error(subject, rng)
        evidence.append(f"products are within {ulps:.3g} ulp")
        if ulps > _ULP:
            name, in_parts = NONE_KNOWN, _in_parts(subject, rng, formats, ulps, excess)
            if in_parts:
                name = in_parts
                evidence.append("the product of 1 + e by itself, or what it is made of, lacks what is smallest")
    if kept:
        evidence.append(f"terms that are each lost beside the first are added to it together, {kept:.3g} of them")
        if name != NONE_KNOWN:
            name = f"{name.removesuffix(', direct sums').removesuffix(' sums')}, compensated sums"
    return Arithmetic(name, tuple(evidence), bits, order, _fused(subject, rng, formats))


def _in_parts(subject: Subject, rng: np.random.Generator, formats: Formats, ulps: float, excess: float) -> str | None:
    """The name where each factor is a sum of shorter numbers; None where that does not explain all errors."""
    sums = _FORMATS.get((formats.sum_bits, True))
    if formats.result_bits != 23 or not formats.wide or formats.more_sum_bits or sums is None:
        return None
    found = short_formats.parts(subject, rng, ulps)
    if found is None or excess * _bound(subject, formats) > found.error + _bound(subject, formats):
        return None
    return f"{found.name}, {sums} sums"


def _direct_name(subject: Subject, formats: Formats) -> str:
    products = _FORMATS.get((min(formats.x_bits, formats.w_bits), formats.wide_products))
    results = _FORMATS.get((formats.result_bits, formats.wide_results))
    short_sums = formats.sum_bits == formats.result_bits
    # The range of sums shows in results alone: sums as short as these have their format, longer ones are wide.
    sums = results if short_sums else _FORMATS.get((formats.sum_bits, True))
    if formats.more_sum_bits:
        sums = f"wider than {formats.sum_bits}-bit"
    if products is None or sums is None or results is None or formats.x_bits != formats.w_bits:
        return NONE_KNOWN
    if short_sums and formats.sum_bits < 23:
        name = f"{sums} sums"  # factors cannot be seen to have more bits than these
    elif products == sums:
        name = f"{products}, direct sums"
    else:
        name = f"{products} products, {sums} sums"
    return name if short_sums or formats.result_bits == subject.stored_bits else f"{name}, {results} results"


def _order(subject: Subject, rng: np.random.Generator, formats: Formats) -> str | None:
    """The order of the sums, where numbers that drown the count of the terms exist and the count itself is exact."""
    countable = subject.terms < 2 ** min(formats.sum_bits, formats.result_bits)
    telling = countable and formats.wide and not formats.more_sum_bits
    return probes.order(subject, rng, formats.sum_bits) if telling else None


def _fused(subject: Subject, rng: np.random.Generator, formats: Formats) -> Finding:
    if formats.sum_bits != formats.result_bits or min(formats.x_bits, formats.w_bits) < formats.sum_bits:
        return Finding(None, "products are exact in the format of the sums")
    whole = probes.fused(subject, rng, formats.sum_bits)
    return Finding(whole, f"a product too long for the format {'is' if whole else 'is never'} added whole")


def _accuracy(subject: Subject, rng: np.random.Generator, formats: Formats) -> tuple[float, float]:
    """Effective bits on random numbers, and the largest error in units of what direct sums in `formats` may have."""
    x, w = behaviour.random_problem(subject, rng)
    exact = ops.conv2d(x, w, padding=subject.pad)
    magnitude = ops.conv2d(np.abs(x), np.abs(w), padding=subject.pad)
    error = float((np.abs(subject(x, w) - exact) / magnitude).max())
    return -math.log2(error) if error > 0 else subject.stored_bits + 1.0, error / _bound(subject, formats)


def _bound(subject: Subject, formats: Formats) -> float:
    """The largest error of direct sums in `formats`, relative to the sum of the absolute values of the terms."""
    terms, roundoff = subject.terms + 1, 2.0**-formats.sum_bits  # that of truncation, twice that of rounding to nearest
    rounded = gamma(terms, roundoff) if terms * roundoff < 1 else math.inf
    return 2.0**-formats.x_bits + 2.0**-formats.w_bits + rounded + 2.0**-formats.result_bits


# --- transforms --------------------------------------------------------------------------------------------------


def _transformed(subject: Subject, rng: np.random.Generator, formats: Formats, transform: Transform) -> Arithmetic:
    """The arithmetic of a convolution that computes outputs together."""
    bits, _ = _accuracy(subject, rng, formats)
    factor_bits = min(formats.x_bits, formats.w_bits)
    # The transforms' own errors cost float32 some of its 23 bits; shorter formats have at most 10.
    precision = "float64" if transform.double else "float32" if factor_bits > 11 else f"{factor_bits}-bit"
    extent = {None: "in no regular pattern", 1: "alone", subject.size: "with all others"}
    tiles = "tiles that overlap, of" if transform.overlapping else "tiles of"
    rows, columns = (extent.get(size, f"in {tiles} {size}") for size in (transform.rows, transform.columns))
    evidence = [
        f"a large number at one pixel changes {transform.outputs} outputs that do not depend on it: "
        f"rows are computed {rows}, columns {columns}",
        f"pixels 32 bits smaller {'survive' if transform.double else 'are lost'} beside it",
        f"random results are right to {bits:.1f} bits",
    ]
    if transform.halves:
        evidence.append("what it changes is where it belongs, or half of all outputs away")
    name = _transform_name(subject, transform) if _is_precise(factor_bits, bits, transform, subject) else None
    return Arithmetic(NONE_KNOWN if name is None else f"{precision}, {name}", tuple(evidence), bits)


def _is_precise(factor_bits: int, bits: float, transform: Transform, subject: Subject) -> bool:
    """Whether random results are as right as a transform leaves them.

    A format that is scaled by the largest number of all, as 8 bits are, loses small numbers everywhere, too, as an FFT does.
    """
    if factor_bits > 11:
        return bits > 14
    return factor_bits in (7, 10) and bits > factor_bits - 4 and subject.size not in (transform.rows, transform.columns)


def _transform_name(subject: Subject, transform: Transform) -> str | None:
    rows, columns = transform.rows, transform.columns
    if rows == columns == subject.size:
        return "FFT"
    if transform.halves:  # small pixels may survive in float32, too, where blocks that hold the large one cancel
        return None if transform.double else "Strassen"
    if rows is None or columns is None or rows * columns == 1 or subject.size in (rows, columns):
        return None
    return f"FFT in tiles of {rows}x{columns}" if transform.overlapping else f"Winograd F({rows}x{columns},3x3)"
