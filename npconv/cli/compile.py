"""`npconv compile`: fill the kernel cache ahead of time, on all cores."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from npconv import backends, files, ops
from npconv.cli.console import line_console
from npconv.cli.errors import one_line
from npconv.cli.output import AsJson, OutFile, write_json
from npconv.cli.words import completion
from npconv.geometry import Array

DTYPES = ("float32", "float64")
PROCESSES = 4  # at most: each holds a compiler of 0.3 GB

# An optimiser's rule, how many arrays it takes, and the numbers behind them.
UPDATES: dict[str, tuple[int, tuple[Any, ...]]] = {
    "sgd_update": (3, (0.1, 0.9, False, 0.0)),
    "adam_update": (4, (1, 0.1, (0.9, 0.999), 1e-8, 0.0, False)),
}

# What joins branches, and the arguments that it takes, made of a map.
JOINS: dict[str, Callable[[Array], tuple[Any, ...]]] = {
    "add": lambda x: (x, x, None),
    "concatenate": lambda x: ((x, x), None),
    "scale": lambda x: (x, x[:, :, :1, :1]),
    "scale_gate_grad": lambda x: (x, x),
}


def compile_kernels(
    dtype: Annotated[
        str | None,
        typer.Option(help="Only float32 or only float64.", show_default="both", autocompletion=completion(DTYPES)),
    ] = None,
    as_json: AsJson = False,
    out: OutFile = None,
) -> None:
    """Compile every kernel that this machine has not compiled yet, and keep the code for all later processes."""
    os.environ.setdefault("NPCONV_QUIET", "1")  # in the processes that compile
    console = line_console(quiet=as_json)
    with one_line(ValueError, ImportError, OSError), backends.backend("numba"):
        if dtype not in (None, *DTYPES):
            raise ValueError(f"--dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
        files.check_target("--out", out)
        from npconv.kernels.jit import cache_folder

        folder = cache_folder()
        if folder is None:
            raise OSError("the kernel cache needs a folder that can be written, got none: NUMBA_CACHE_DIR may name one")
        started = time.perf_counter()
        dtypes = DTYPES if dtype is None else (dtype,)
        console.print(f"compiling kernels for {' and '.join(dtypes)} into {folder}")
        columns = BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn()
        with (
            Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
            ProcessPoolExecutor(
                min(PROCESSES, os.cpu_count() or 1), multiprocessing.get_context("spawn"), _ignore_interrupts
            ) as pool,
        ):
            # The longest first, whatever their dtype, so that no core is left with one at the end.
            jobs = [(op, name) for op in (*examples(DTYPES[0]), *UPDATES, *JOINS) for name in dtypes]
            running = {pool.submit(run, op, name): f"{op} {name}" for op, name in jobs}
            bar = progress.add_task("starting", total=len(running))
            try:
                for done in as_completed(running):
                    done.result()
                    progress.update(bar, advance=1, description=running[done])
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        seconds = time.perf_counter() - started
        console.print(f"done in {seconds:.1f} s")
        write_json({"folder": str(folder), "dtypes": dtypes, "seconds": seconds}, as_json, out)


def run(op: str, dtype: str) -> None:
    """Call an operator and its backward on tiny arrays, which compiles their kernels or finds them compiled; or an update or a join."""
    with backends.backend("numba"):
        if op in UPDATES:
            arrays, numbers = UPDATES[op]
            getattr(backends.primitives, op)(*np.ones((arrays, 1 << 13), dtype), *numbers)
            return
        if op in JOINS:
            getattr(backends.primitives, op)(*JOINS[op](np.ones((1, 8, 4, 4), dtype)))
            return
        for args, options in examples(dtype)[op]:
            y = getattr(ops, op)(*args, **options)
            getattr(ops, f"{op}_backward")(np.ones_like(y), *args, **options)


def examples(dtype: str) -> dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]]:
    """Calls, (arguments, options), of operators that need every kernel there is, those that take longest to compile first.

    A kernel's code depends on the dtype and on nothing else of its arrays.
    """

    def ones(*shape: int) -> Array:
        return np.ones(shape, dtype)

    x, channels = ones(1, 8, 4, 4), ones(8)
    channels_last = ones(1, 4, 4, 8).transpose(0, 3, 1, 2)
    return {
        "conv2d": [
            ((x, ones(8, 8, 3, 3), channels), {"padding": 1}),
            ((ones(1, 2, 16, 16), ones(2, 2, 3, 3)), {"padding": 1}),  # whose weights' gradient is made of dot products
            ((ones(1, 32, 64, 64), ones(32, 32, 3, 3)), {"padding": 1}),  # many, by Winograd's transforms
        ],
        "depthwise_conv2d": [
            *(((x, ones(8, 1, k, k), channels), {"padding": 1}) for k in (2, 3)),
            ((x, ones(8, 1, 3, 3)), {"padding": 1, "stride": 2}),
        ],
        # With pixels for partial sums of the weights' gradient.
        "pointwise_conv2d": [((ones(2, 8, 16, 16), ones(8, 8, 1, 1)), {})],
        "channel_shuffle": [((image, 2), {}) for image in (x, channels_last)],
        "batch_norm2d": [
            ((x, channels, channels), {}),
            ((x, channels, channels, channels, channels), {}),
            # A slice of channels, which is copied.
            ((channels_last[:, :4], ones(4), ones(4)), {}),
        ],
        "upsample_nearest2d": [((x, scale), {}) for scale in (2, 3)],
        "max_pool2d": [((x, 2), {})],
        "avg_pool2d": [((x, kernel), {}) for kernel in (2, 3)],
        "softmax_cross_entropy": [((ones(2, 4), np.array([0, 1])), {})],
        "linear": [((ones(2, 8), ones(4, 8), ones(4)), {})],
        "global_avg_pool2d": [((x,), {})],
        "hard_swish": [((x,), {})],
        "hard_sigmoid": [((x,), {})],
        "relu6": [((x,), {})],
        "relu": [((x,), {})],
        # Last: all that it needs is compiled by then, but for the sum of its halves' gradients.
        "ghost_conv2d": [((x, ones(4, 8, 1, 1), ones(4, 1, 3, 3)), {})],
    }


def _ignore_interrupts() -> None:
    """In the pool's processes: Ctrl-C is for the one that waits for them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
