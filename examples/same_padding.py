"""
Same padding: where the zeros go
================================

Where the zeros go, in one picture: which pixels each output of a convolution reads, for four kinds of padding.

A row of 6 or 7 pixels, a kernel of 3, stride 2. The windows are read off the gradient: for dy of one output alone, dx is
the kernel, laid where that output reads it. With the taps 1, 2, 3 each pixel of dx tells which tap it met.

PyTorch's ``padding=1`` puts a zero on either side; TensorFlow's "same" as many as are needed, an odd one at the end. On 7
pixels both put one zero on either side, and agree. On 6 only one is needed: PyTorch reads its first zero and never its
last, TensorFlow's only zero is the last. Both give 3 outputs, but the windows lie one pixel apart and every value
differs: weights that were trained with one padding need that padding.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import npconv

Padding = tuple[int, int] | Literal["same", "same_lower", "valid"]

KERNEL, STRIDE = 3, 2
PADDINGS: dict[str, Padding] = {
    "padding=1 (PyTorch)": (0, 1),  # rows and columns: the image has one row, which gets no zeros
    'padding="same" (TensorFlow, ONNX SAME_UPPER)': "same",
    'padding="same_lower" (ONNX SAME_LOWER)': "same_lower",
    'padding="valid"': "valid",
}
COLOURS = ("#77aadd", "#ee8866", "#44bb99", "#cc99cc")  # one per output


def window_starts(pixels: int, padding: Padding) -> list[int]:
    """The position of each output's first tap; before 0, and from `pixels` on, taps read zeros."""
    x, w = np.zeros((1, 1, 1, pixels)), np.array([1.0, 2.0, 3.0]).reshape(1, 1, 1, KERNEL)
    y = npconv.conv2d(x, w, stride=(1, STRIDE), padding=padding)
    starts = []
    for output in range(y.shape[3]):
        dy = np.zeros_like(y)
        dy[..., output] = 1
        dx, _, _ = npconv.conv2d_backward(dy, x, w, stride=(1, STRIDE), padding=padding)
        pixel = np.flatnonzero(dx)[0]
        starts.append(int(pixel - (dx[0, 0, 0, pixel] - 1)))  # it met the tap number dx, counted from 1
    return starts


def draw(axes: Axes, name: str, pixels: int, padding: Padding) -> None:
    """The pixels, grey where some output reads them; below, a row per output: pixels in its colour, zeros in white."""

    def cell(column: int, row: int, text: str, face: str, edge: str) -> None:
        axes.add_patch(Rectangle((column - 0.45, row - 0.4), 0.9, 0.8, facecolor=face, edgecolor=edge, linewidth=1.5))
        axes.text(column, row, text, ha="center", va="center_baseline")

    starts = window_starts(pixels, padding)
    read = {column for start in starts for column in range(start, start + KERNEL)}
    for pixel in range(pixels):
        cell(pixel, 0, f"{pixel + 1}", "0.85" if pixel in read else "white", "0.85")
    for row, (start, colour) in enumerate(zip(starts, COLOURS, strict=False), start=1):
        for column in range(start, start + KERNEL):
            pixel_is_there = 0 <= column < pixels
            cell(column, row, f"{column + 1}" if pixel_is_there else "0", colour if pixel_is_there else "white", colour)
    axes.set(xlim=(-1.6, 7.6), ylim=(4.6, -0.5))
    axes.set_title(f"{name}: {len(starts)} outputs", loc="left", fontsize=11)
    axes.set_axis_off()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("same_padding.png"), help="default: %(default)s")
    out = parser.parse_args().out

    figure = Figure(figsize=(10.5, 7.6), layout="constrained")
    figure.suptitle("What each output reads of 6 and of 7 pixels (grey): kernel 3, stride 2", fontsize=14)
    x = np.arange(1.0, 7.0).reshape(1, 1, 1, 6)
    print("x = 1 2 3 4 5 6, summed by three with stride 2:")
    for (name, padding), row in zip(PADDINGS.items(), figure.subplots(4, 2), strict=True):
        draw(row[0], name, 6, padding)
        draw(row[1], name, 7, padding)
        y = npconv.conv2d(x, np.ones((1, 1, 1, KERNEL)), stride=(1, STRIDE), padding=padding)
        print(f"  {name:45} {y.ravel()}")
    figure.savefig(out, dpi=100)
    print(
        "PyTorch reads a zero before the first pixel, TensorFlow one after the last: the windows lie one pixel apart."
    )
    print(f"On an odd number of pixels both read both, and agree. The picture is {out}")


if __name__ == "__main__":
    with npconv.backend("numpy"):  # too little work to compile kernels for
        main()
