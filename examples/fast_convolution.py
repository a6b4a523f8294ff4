"""
From loops to the kernel: one convolution, six ways
===================================================

The same 3 x 3 convolution, written six times, from the sums that define it to npconv's kernel. Each step changes one
thing, is compared with `npconv.reference`, number for number, and timed. Whole numbers are used, whose sums are the same
in any order, so "compared" means equal.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numba import njit
from numpy.lib.stride_tricks import sliding_window_view

import npconv

SIZE, CHANNELS, OUT, KERNEL = 28, 32, 32, 3
MACS = OUT * SIZE * SIZE * CHANNELS * KERNEL * KERNEL
COLOURS = ("#bbbbbb", "#ccbb44", "#ee6677", "#66ccee", "#4477aa", "#228833")

Array = np.ndarray


def loops(x: Array, w: Array) -> Array:
    """The definition: y[o,p,q] = sum over c, r, s of x[c, p + r, q + s] * w[o,c,r,s], one product at a time."""
    y = np.zeros((OUT, SIZE, SIZE), x.dtype)
    for o in range(OUT):
        for p in range(SIZE):
            for q in range(SIZE):
                total = x.dtype.type(0)
                for c in range(CHANNELS):
                    for r in range(KERNEL):
                        for s in range(KERNEL):
                            total += x[c, p + r, q + s] * w[o, c, r, s]
                y[o, p, q] = total
    return y


def windows(x: Array, w: Array) -> Array:
    """One output pixel at a time: the window under the kernel, times all kernels at once. NumPy runs the inner loops."""
    y = np.zeros((OUT, SIZE, SIZE), x.dtype)
    flat = w.reshape(OUT, -1)
    for p in range(SIZE):
        for q in range(SIZE):
            y[:, p, q] = flat @ x[:, p : p + KERNEL, q : q + KERNEL].ravel()
    return y


def contraction(x: Array, w: Array) -> Array:
    """All windows as a view, and one contraction: a single matrix product, by NumPy's library. The reference does this."""
    view = sliding_window_view(x, (KERNEL, KERNEL), axis=(1, 2))
    return np.einsum("cpqrs,ocrs->opq", view, w, optimize=True)


compiled_loops = njit(loops)  # the definition again, as machine code: nothing else has changed


@njit
def table_loops(pixels: Array, table: Array, taps: Array) -> Array:
    """Channels-last, with a table: pixel table[m, t] is read at tap t. The innermost loop runs along output channels,

    which lie side by side, so that the compiler makes vector instructions of it.
    """
    y = np.zeros((table.shape[0], taps.shape[2]), pixels.dtype)
    for m in range(table.shape[0]):
        for t in range(taps.shape[0]):
            for c in range(taps.shape[1]):
                number = pixels[table[m, t], c]
                for o in range(taps.shape[2]):
                    y[m, o] += number * taps[t, c, o]
    return y


def channels_last_loops(x: Array, w: Array) -> Array:
    """`table_loops` on maps (C, H, W), which are turned on the way in and out."""
    wide = SIZE + KERNEL - 1
    first = np.arange(SIZE)[:, None] * wide + np.arange(SIZE)
    offsets = np.arange(KERNEL)[:, None] * wide + np.arange(KERNEL)
    table = first.reshape(-1, 1) + offsets.reshape(1, -1)
    pixels = np.ascontiguousarray(x.reshape(CHANNELS, -1).T)
    y = table_loops(pixels, table, np.ascontiguousarray(w.transpose(2, 3, 1, 0)).reshape(-1, CHANNELS, OUT))
    return y.T.reshape(OUT, SIZE, SIZE)


def kernel(x: Array, w: Array) -> Array:
    """npconv's kernel: the table, sums that stay in registers while the loop runs over taps and channels, all cores."""
    with npconv.backend("numba"):
        return npconv.conv2d(x[None], w)[0]


STEPS: dict[str, Callable[[Array, Array], Array]] = {
    "loops, in Python": loops,
    "a window at a time, NumPy": windows,
    "one contraction: the reference": contraction,
    "the same loops, compiled": compiled_loops,
    "channels-last, a table, vectors": channels_last_loops,
    "register tiles, all cores: the kernel": kernel,
}


def seconds(step: Callable[[Array, Array], Array], x: Array, w: Array) -> float:
    """The least time of a call, after the one that compared, and compiled."""
    times: list[float] = []
    end = time.perf_counter() + 0.5
    while not times or time.perf_counter() < end:
        begin = time.perf_counter()
        step(x, w)
        times.append(time.perf_counter() - begin)
    return min(times)


def draw(out: Path, times: list[float]) -> None:
    """A bar for each step, on a logarithmic axis: time, how many times faster than the first, and the rate."""
    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    axes = figure.subplots()
    microseconds = np.array(times) * 1e6
    axes.barh(list(STEPS), microseconds, color=COLOURS)
    for row, spent in enumerate(microseconds):
        rate = 2 * MACS / spent / 1e3
        text = f" {spent:,.0f} µs, {rate:,.2g} GF/s" if rate < 10 else f" {spent:,.0f} µs, {rate:,.0f} GF/s"
        axes.text(spent, row, f"{text}, {microseconds[0] / spent:,.0f}x", va="center_baseline")
    axes.set_xscale("log")
    axes.set(
        xlim=(microseconds.min() / 4, microseconds.max() * 90), xlabel="microseconds, each bar the least of many calls"
    )
    axes.set_title(f"3 x 3 convolution of {CHANNELS} to {OUT} channels on {SIZE} x {SIZE} pixels, float32", loc="left")
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("fast_convolution.png"), help="default: %(default)s")
    out = parser.parse_args().out

    rng = np.random.default_rng(0)
    wide = SIZE + KERNEL - 1
    x = rng.integers(-8, 9, (CHANNELS, wide, wide)).astype(np.float32)
    w = rng.integers(-8, 9, (OUT, CHANNELS, KERNEL, KERNEL)).astype(np.float32)
    with npconv.backend("numpy"):
        expected = npconv.conv2d(x[None], w)[0]
    times = []
    for name, step in STEPS.items():
        if not np.array_equal(step(x, w), expected):
            raise SystemExit(f"{name}: not what the reference gives")
        times.append(seconds(step, x, w))
        print(f"{name:38} equal to the reference, {1e6 * times[-1]:12,.0f} us, {times[0] / times[-1]:8,.0f}x")
    draw(out, times)
    print(f"{MACS:,} multiply-accumulates each time. The picture is {out}")


if __name__ == "__main__":
    main()
