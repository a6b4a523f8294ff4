"""A process in which every array that a compiled loop gets lies against pages of memory that end it when touched.

    python tests/guarded.py FILE EXAMPLES [PLANTED]

runs EXAMPLES problems of each operator, forward and backward, half of them in float32 and half in float64, half of them
small and half beyond any block or vector register. Whatever happens, FILE then has the loop that ran last and what it got.
PLANTED is a bug to be found, one of `BUGS`. `run` does this and says how it ended.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
from checks import INEXACT, check_equal
from hypothesis import HealthCheck, Phase, given, settings

import npconv
from npconv import kernels
from npconv.kernels import activations, winograd
from npconv.kernels.jit import LOOPS
from npconv.testing import Problem
from npconv.testing.strategies import OPERATORS, problems_with_dy

PAGE = mmap.PAGESIZE
SIDES = ("behind", "before")
LIBC = ctypes.CDLL(None, use_errno=True)
NO_ACCESS = 0  # PROT_NONE


def guarded(array: np.ndarray, side: str) -> np.ndarray:
    """A copy of `array` that ends where an untouchable page begins ("behind" it), or begins where one ends ("before")."""
    if array.nbytes == 0:
        return array
    size = -(-array.nbytes // PAGE) * PAGE
    memory = mmap.mmap(-1, size + PAGE)  # lives as long as an array on it
    start, guard = (size - array.nbytes, size) if side == "behind" else (PAGE, 0)
    copy = np.frombuffer(memory, array.dtype, array.size, start).reshape(array.shape)
    copy[...] = array
    address = ctypes.c_void_p(copy.ctypes.data - start + guard)
    if LIBC.mprotect(address, ctypes.c_size_t(PAGE), NO_ACCESS) != 0:
        raise OSError(ctypes.get_errno(), "mprotect failed")
    return copy


class Guard:
    """Stands before each compiled loop: copies what it gets to guarded memory, and what it made back."""

    def __init__(self, diary: Path) -> None:
        self.side = SIDES[0]
        self.calls = Counter[str]()
        self.diary = os.open(diary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for loop in LOOPS:
            module, name = sys.modules[loop.py_func.__module__], loop.py_func.__name__
            setattr(module, name, self._guarding(f"{module.__name__}.{name}", getattr(module, name)))

    def _guarding(self, name: str, run: Callable[..., None]) -> Callable[..., None]:
        self.calls[name] = 0

        def guarding(*arguments: Any) -> None:
            self.calls[name] += 1
            self._write(f"{name}({', '.join(map(described, arguments))}) with the page {self.side}")
            placed = [self._placed(argument) for argument in arguments]
            run(*placed)
            for argument, copy in zip(arguments, placed, strict=True):
                if isinstance(argument, np.ndarray):
                    argument[...] = copy

        return guarding

    def _placed(self, argument: Any) -> Any:
        if isinstance(argument, np.ndarray):
            return guarded(argument, self.side)
        if hasattr(argument, "_fields"):
            return type(argument)(*map(self._placed, argument))
        return argument

    def _write(self, text: str) -> None:
        os.ftruncate(self.diary, 0)
        os.pwrite(self.diary, text.encode(), 0)


def described(argument: Any) -> str:
    return f"{argument.dtype}{argument.shape}" if isinstance(argument, np.ndarray) else repr(argument)


def run_problems(guard: Guard, op: str, dtype: type, examples: int, largest: int) -> None:
    @settings(
        max_examples=examples,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(problems_with_dy(op, dtype, largest=largest))
    def run(case: tuple[Problem, Any]) -> None:
        judge(guard, *case)

    run()


def judge(guard: Guard, problem: Problem, dy: Any) -> None:
    with npconv.backend("numpy"):
        expected = problem.forward(), problem.backward(dy)
    for guard.side in SIDES:
        with npconv.backend("numba"):
            got = problem.forward(), problem.backward(dy)
        check_equal(got, expected, 400 if problem.op in INEXACT else 0)


def picked_problems(dtype: type) -> Iterator[tuple[Problem, np.ndarray]]:
    """What random problems seldom have, and kernels do in ways of their own: many channels, square windows, wide maps."""
    rng = np.random.default_rng(0)

    def whole(*shape: int) -> np.ndarray:
        return rng.integers(-4, 5, shape).astype(dtype)

    for height, width in ((14, 14), (7, 7), (15, 33)):
        for channels, out_channels, groups in ((16, 24, 1), (70, 36, 2), (33, 25, 1)):
            x, w = whole(8, channels, height, width), whole(out_channels, channels // groups, 3, 3)
            for stride in (1, 2):
                problem = Problem(
                    "conv2d", (x, w, whole(out_channels)), {"padding": 1, "stride": stride, "groups": groups}
                )
                yield problem, whole(*problem.forward().shape)
    for channels, out_channels, groups in (
        (16, 24, 1),
        (42, 36, 3),
        (7, 40, 1),
        (210, 170, 1),
    ):  # for several parts, and more weights than a thread packs for itself
        x, w = whole(3, channels, 12, 10), whole(out_channels, channels // groups, 1, 1)
        yield Problem("conv2d", (x, w), {"groups": groups}), whole(3, out_channels, 12, 10)
    for size, (height, width) in itertools.product((2, 4), ((8, 8), (6, 34), (9, 7))):
        x = whole(2, 3, height, width) * 16
        for op, args, options in (
            ("avg_pool2d", (x,), {"kernel": size}),
            ("upsample_nearest2d", (x,), {"scale": size}),
        ):
            problem = Problem(op, args, options)
            yield problem, whole(*problem.forward().shape) * 16
    for kernel, stride, padding in itertools.product((3, 5), (1, 2), (0, 1, 2)):
        for height, width in ((5, 5), (7, 7), (9, 15), (12, 16), (6, 33), (20, 40)):
            x, w, b = whole(2, 9, height, width), whole(9, 1, kernel, kernel), whole(9)
            problem = Problem("depthwise_conv2d", (x, w, b), {"stride": stride, "padding": padding})
            yield problem, whole(*problem.forward().shape)


def run_updates(guard: Guard, dtype: type) -> None:
    """The optimisers' rules, which are no operators."""
    for size, guard.side in itertools.product((1, 33, 5000), SIDES):
        param, grad, *states = np.ones((4, size), dtype)
        kernels.sgd_update(param, grad, states[0], 0.1, 0.9, True, 0.1)
        kernels.adam_update(param, grad, *states, 1, 0.1, (0.9, 0.99), 1e-8, 0.1, False)


def run_joins(guard: Guard, dtype: type) -> None:
    """What joins branches, no operators either: whole maps, and slices of channels of larger ones."""
    for (batch, height, width), guard.side in itertools.product([(1, 1, 1), (3, 7, 7), (2, 40, 70)], SIDES):
        whole = np.ones((batch, 5, height, width), dtype)
        for x in (whole, whole[:, 1:4], kernels.channels_last(whole)[:, 1:4]):
            kernels.add(x, x, "relu6")
            kernels.concatenate_input_grad(
                kernels.concatenate((x, x, x), "relu"),
                np.ones((batch, 3 * x.shape[1], height, width), dtype),
                1,
                4,
                "relu",
            )
            kernels.scale(x, x[:, :, :1, :1], x)
            kernels.scale(x, x[:, :, :1, :1])
            kernels.scale_gate_grad(x, x)
            kernels.batch_norm2d_batch_grad(x, x.copy(), *np.ones((4, x.shape[1]), dtype), 1e-5, "relu")


def reads_behind(x: np.ndarray, y: np.ndarray) -> None:
    ctypes.string_at(x.ctypes.data + x.nbytes, 1)


def writes_before(x: np.ndarray, y: np.ndarray) -> None:
    ctypes.memset(y.ctypes.data - 1, 0, 1)


BUGS = {"reads_behind": reads_behind, "writes_before": writes_before}


def plant(bug: Callable[..., None]) -> None:
    """Give the ReLU's loop, which goes on to be right, a bug of one byte."""
    relu = activations._relu

    def planted(x: np.ndarray, y: np.ndarray) -> None:
        relu(x, y)
        bug(x, y)

    activations._relu = planted


def run(diary: Path, examples: int, planted: str = "") -> int:
    """How often loops were called; an AssertionError with the last one's arrays where the process came to another end."""
    command = [sys.executable, __file__, str(diary), str(examples), planted]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    last = diary.read_text() if diary.exists() else "no loop at all"
    assert done.returncode == 0, f"exit status {done.returncode} in {last}\n{done.stderr}"
    return int(done.stdout)


def main(diary: str, examples: str, planted: str = "") -> None:
    winograd.FEWEST, winograd.FEWEST_TILES = 1, 4  # or no problem would be large enough for the transforms
    if planted:
        plant(BUGS[planted])
    numba.set_num_threads(1)  # so that the scratch of a thread does not lie among that of others
    guard = Guard(Path(diary))
    for op in ["relu"] if planted else OPERATORS:
        for dtype in (np.float32, np.float64):
            for largest in (4, 40):
                run_problems(guard, op, dtype, max(1, int(examples) // 4), largest)
    if planted:
        return
    for dtype in (np.float32, np.float64):
        with npconv.backend("numpy"):
            picked = list(picked_problems(dtype))
        for problem, dy in picked:
            judge(guard, problem, dy)
        run_updates(guard, dtype)
        run_joins(guard, dtype)
    never = [name for name, calls in guard.calls.items() if not calls]
    assert not never, f"no problem runs {never}"
    types = {loop.py_func.__name__: len(loop.signatures) for loop in LOOPS}
    assert set(types.values()) <= {2}, f"compiled for more than float32 and float64: {types}"
    print(sum(guard.calls.values()))


if __name__ == "__main__":
    main(*sys.argv[1:])
