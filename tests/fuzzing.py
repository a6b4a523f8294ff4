"""Hostile calls: a call that is right, with one or two of its arguments made wrong, of every public function there is.

    python tests/fuzzing.py --calls 100000 --seed 1

Whatever comes, a call succeeds or raises an error of npconv's own: ValueError, TypeError or another of `OWN`, raised by a `raise`
of npconv's. NumPy's, Numba's and Python's errors are defects, and so is a call that takes too long.

A call may take `BYTES` of memory and `SECONDS` of a processor, however much the machine has and whoever is busy beside it.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import random
import resource
import signal
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import right_calls
from right_calls import Call, calls
from spoiling import spoiled

import npconv
from npconv import models

OWN = ValueError, TypeError, RuntimeError, MemoryError, FloatingPointError, ImportError, AssertionError
PACKAGE = str(Path(npconv.__file__).parent)
CALLERS = {__file__, right_calls.__file__}
SECONDS = 20  # of processor time that a call may take
BYTES = 1 << 30  # that a call may take
LARGE = {
    f"models.{name}" for name in models.NETWORKS if name not in {f"tiny_{tiny}" for tiny in models.MODELS}
}  # take seconds


def case(call: Call, seed: int) -> dict[str, Any]:
    """The arguments of `call`, one or two of them wrong: always the same for a seed."""
    draw = random.Random(f"{call.name} {seed}")
    arguments = dict(call.arguments)
    names = [*arguments, *({"rng"} & call.made.keys())]
    for name in draw.sample(names, min(len(names), 1 if draw.random() < 0.8 else 2)):
        value = spoiled(arguments.get(name), draw)
        if name in ("lr", "no_decay", "forward", "backward") and callable(value):  # what it raises is its own
            value = None
        arguments[name] = value
    return arguments


@functools.cache
def _raises(filename: str) -> list[tuple[int, int]]:
    """The lines of each `raise` in a file."""
    tree = ast.parse(Path(filename).read_text(encoding="utf-8"))
    return [(node.lineno, node.end_lineno or node.lineno) for node in ast.walk(tree) if isinstance(node, ast.Raise)]


def is_own(error: BaseException) -> bool:
    """Whether the error is one of ours: of a kind that is documented, and raised by a `raise` of npconv's own."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.filename is not None:
        return True  # the system's, of a file that cannot be there
    if type(error) not in OWN:
        return False
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    if last.filename == __file__ or not last.filename.startswith(PACKAGE):
        # Python's own, for arguments by unknown names or missing ones.
        return isinstance(error, TypeError) and "argument" in str(error) and last.filename in CALLERS
    return any(first <= (last.lineno or 0) <= end for first, end in _raises(last.filename))


class Slow(BaseException):
    """The call took too long."""


@contextlib.contextmanager
def limits(seconds: float) -> Iterator[None]:
    """Raise Slow inside after so much processor time, of all threads, and let no more than BYTES be taken."""

    def stop(*_: object) -> None:
        raise Slow

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, hard))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGPROF, handler)


def judge(call: Call, arguments: dict[str, Any], seconds: float = SECONDS) -> str | None:
    """What is wrong with how the call ended, or None; the error's kind and place, alike for alike defects."""
    try:
        with limits(seconds), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            call(arguments)
    except Slow as error:
        last = traceback.extract_tb(error.__traceback__)[-2]
        return f"slow: {call.name} at {Path(last.filename).name}:{last.lineno}"
    except Exception as error:
        if is_own(error) and "\n" not in str(error):
            return None
        if isinstance(error, ZeroDivisionError) and "asked for" in str(error):
            return None  # the argument's own
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(PACKAGE)]
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "outside"
        return f"{type(error).__name__} at {place}: {str(error)[:100]!r}"
    return None


def described(arguments: dict[str, Any]) -> str:
    def one(value: Any) -> str:
        if isinstance(value, np.ndarray):
            return f"{type(value).__name__}({value.dtype}, {value.shape})"
        if isinstance(value, tuple) and any(isinstance(leaf, np.ndarray) for leaf in value):
            return "(" + ", ".join(map(one, value)) + ")"
        with contextlib.suppress(Exception):
            return repr(value)[:80]
        return type(value).__name__

    return ", ".join(f"{name}={one(value)}" for name, value in arguments.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    every = [call for call in calls() if options.only in call.name]
    found: dict[str, tuple[str, int, str]] = {}
    ends: Counter[str] = Counter()
    with npconv.backend(options.backend):
        for number in range(options.calls):
            seed = options.seed + number // len(every)
            call = every[number % len(every)]
            if call.name in LARGE and seed % 50:
                continue
            arguments = case(call, seed)
            verdict = judge(call, arguments)
            ends["defect" if verdict else "right"] += 1
            if verdict and verdict not in found:
                found[verdict] = (
                    call.name,
                    seed,
                    described({n: v for n, v in arguments.items() if v is not call.arguments.get(n)}),
                )
                print(f"{verdict}\n    {call.name} {seed}: {found[verdict][2]}", flush=True)
    print(f"{sum(ends.values())} calls of {len(every)} functions, {ends['defect']} defects of {len(found)} kinds")


if __name__ == "__main__":
    main()
