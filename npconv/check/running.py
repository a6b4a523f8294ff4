"""The cross-check of one operator: every case in every mode, then the smallest case for each way of failing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npconv.check import bfloat16, corpus
from npconv.check.arithmetic import Arithmetic, fingerprint
from npconv.check.case import Case
from npconv.check.comparison import MODES, Mode
from npconv.check.contract import Contract
from npconv.check.examination import Checked, Function
from npconv.check.hard import OPERATORS
from npconv.check.parallel import examined
from npconv.check.report import Recorder, Report
from npconv.check.reproduction import Source, imported, reproduction
from npconv.check.shrinking import Shrinker
from npconv.check.subject import OPERATORS as FINGERPRINTED
from npconv.geometry import flag, integer, is_word, shown
from npconv.testing.precision import PRECISIONS, precision


def run(
    op: str,
    *,
    forward: Function | None = None,
    backward: Function | None = None,
    cases: int = 300,
    seed: int = 0,
    modes: Sequence[Mode] = MODES,
    dtype: DTypeLike = np.float32,
    subject: str | None = None,
    source: Source | None = None,
    progress: Callable[[int, int], object] | None = None,
    jobs: int = 1,
    shrinking: int = 2000,
    arithmetic: bool = False,
    declared: str | None = None,
    networks: bool = False,
) -> Report:
    """Check another implementation of an operator against npconv's, case by case.

    Parameters
    ----------
    op : str
        One of `npconv.testing.strategies.OPERATORS`.
    forward : callable, optional
        ``forward(*args, **options)`` with the signature of ``npconv.<op>``, from NumPy arrays to NumPy arrays. It is asked
        only for what it has parameters for: see `npconv.check.contract`.
    backward : callable, optional
        ``backward(dy, *args, **options)``, as ``npconv.<op>_backward``: one gradient per array argument, None for None.
        Either may be missing, not both.
    cases : int
        How many: hand-picked hard ones, layers of the papers' networks, and random ones.
    seed : int
        Of the random ones.
    modes : sequence of "exact", "bound" and "adjoint"
        exact: whole numbers, for which every order of summation gives the same, compared with ``==``. bound: real numbers
        against float64, within the rounding bound of each element's own sum. adjoint: ``<dy, y> == <da, a>`` for the
        functions' own y and gradients, so that npconv's gradients need not be trusted; both functions are needed.
    dtype : float16, bfloat16, float32 or float64
        Of all arrays; bfloat16 is that of the package ml_dtypes, or its name.
    subject : str, optional
        What the report calls the implementation; by default the function's name.
    source : callable, optional
        ``source(op, args, options, direction)`` gives the lines of code that make the same call, for reproductions. By default
        they import the functions by their names.
    progress : callable, optional
        ``progress(done, total)`` is called after each case.
    jobs : int
        On how many processes the cases are examined, by joblib, which takes other machines where it is told to:
        ``with joblib.parallel_config(backend="dask"): ...``. The report is the same. Functions in this process are copied to
        the others; those of `npconv.check.isolation.Isolated` have one of their own there.
    shrinking : int
        How many cases may be tried to make the failing ones smaller: a number, and no time, so that a report is the same on
        a busy machine.
    arithmetic : bool
        Whether to take the `npconv.check.fingerprint` of the forward, too, where `op` is a convolution that has one.
    declared : "float16", "bfloat16", "tf32", "float32" or "float64", optional
        The arithmetic that the functions say they use, by whose rounding they are judged: see `npconv.testing.precision`. Or
        "winograd-2x2", "winograd-4x4" or "fft", the algorithm of their convolutions, in float32 or in an arithmetic named
        before it: "tf32+winograd-2x2". By default all roundings are to `dtype`, but for bfloat16: sums of it are made in float32.
    networks : bool
        Whether to check every kind of layer of the papers' networks at its real size, too, for an image of 224 x 224: 391
        cases of all operators, which take about a minute.

    Returns
    -------
    Report
        Whatever the functions do is in it: exceptions, wrong shapes, NaN, changed arguments, a process that dies. Ctrl-C
        ends the run early, and the report says so.

    Raises
    ------
    ValueError, TypeError
        `op`, `modes`, `dtype` or `declared` is none of the above, `cases` or `jobs` is below 1, `shrinking` below 0, both functions are missing.
    ImportError
        `dtype` is bfloat16, and ml_dtypes is not installed.

    Examples
    --------
    >>> import npconv
    >>> run("relu", forward=npconv.relu, backward=npconv.relu_backward, cases=20).ok
    True
    >>> report = run("relu", forward=np.abs, cases=20)
    >>> report.verdict, report.failures[0].kind
    ('different', 'value')
    """
    started = time.monotonic()
    if not is_word(op, OPERATORS):
        raise ValueError(f"op must be one of {', '.join(OPERATORS)}, got {shown(op)}")
    cases = integer("cases", cases, minimum=1)
    jobs = integer("jobs", jobs, minimum=1)
    shrinking = integer("shrinking", shrinking, minimum=0)
    modes = _checked_modes(modes)
    if forward is None and backward is None:
        raise ValueError("forward or backward must be given, got None for both")
    stored, seed = bfloat16.dtype_named(dtype), integer("seed", seed, minimum=0)
    arithmetic, networks = flag("arithmetic", arithmetic), flag("networks", networks)
    contract = _contract(op, forward, backward)
    judged = precision(declared, op)
    if stored.name == bfloat16.NAME:
        judged = precision(declared or bfloat16.NAME, op)
        assert judged is not None
        judged = judged._replace(result=max(judged.result, PRECISIONS[bfloat16.NAME].result))
    checked = Checked(forward, backward, contract, judged)
    questions = checked.questions(modes)
    recorder, shrinker, done, interrupted = Recorder(op), Shrinker(checked, questions), 0, False
    try:
        chosen = _cases(op, cases, seed, stored, contract, networks)
        every = [contract.adapted(case) for case in chosen]
        for case, findings in zip(every, examined(checked, every, questions, jobs), strict=True):
            recorder.add_case(case, findings)
            shrinker.add(case, findings)
            done += 1
            if progress is not None:
                progress(done, len(every))
        if shrinking:
            shrinker.shrink(shrinking)
    except KeyboardInterrupt:
        interrupted = True
    lines = source or imported(forward, backward)
    return Report(
        subject=subject or _name(forward or backward),
        op=op,
        dtype=stored.name,
        seed=seed,
        modes=modes,
        cases=done,
        results=recorder.results(questions),
        failures=tuple(failure._replace(reproduction=reproduction(failure, lines)) for failure in shrinker.failures),
        unsupported=recorder.unsupported,
        choices=recorder.choices,
        histogram=recorder.histogram,
        maps=recorder.maps,
        coverage=recorder.coverage,
        arithmetic=_arithmetic(op, forward, contract, stored) if arithmetic and not interrupted else None,
        seconds=time.monotonic() - started,
        interrupted=interrupted,
        declared=declared,
    )


def _cases(op: str, count: int, seed: int, dtype: np.dtype[Any], contract: Contract, networks: bool) -> list[Case]:
    """Those of an operator, in the dtype in which they are given."""
    short, fixed = dtype.name == bfloat16.NAME, contract.lacks(op)
    kept = np.dtype(np.float32) if short else dtype
    found = corpus.cases(op, count, seed=seed, dtype=kept, fixed=fixed)
    if networks:
        found += corpus.network_cases(op, kept, fixed=fixed)
    return [case.in_bfloat16() for case in found] if short else found


def _contract(op: str, forward: Function | None, backward: Function | None) -> Contract:
    """What both functions take."""
    contracts = [
        Contract.of(function, op, direction)
        for function, direction in ((forward, "forward"), (backward, "backward"))
        if function is not None
    ]
    return contracts[0].both(contracts[1] if len(contracts) > 1 else None)


def _arithmetic(op: str, forward: Function | None, contract: Contract, dtype: DTypeLike) -> Arithmetic | None:
    if forward is None or op not in FINGERPRINTED:
        return None
    return fingerprint(contract.called(forward), op=op, dtype=dtype)


def _checked_modes(modes: Sequence[Mode]) -> tuple[Mode, ...]:
    """`modes` in their own order."""
    for mode in modes:
        if mode not in MODES:
            raise ValueError(f"modes must be some of {', '.join(MODES)}, got {mode!r}")
    return tuple(mode for mode in MODES if mode in modes)


def _name(function: object) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))
