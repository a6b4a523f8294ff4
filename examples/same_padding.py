"""Where the zeros go, in one picture: which pixels each output of a convolution reads, for four kinds of padding.

A row of 6 or 7 pixels, a kernel of 3, stride 2. The windows are read off the gradient: for dy of one output alone, dx is
the kernel, laid where that output reads it. With the taps 1, 2, 3 each pixel of dx tells which tap it met.

PyTorch's ``padding=1`` puts a zero on both sides; TensorFlow's "same" puts what is needed, and an odd zero at the end. On
7 pixels both need two zeros and agree. On 6 only one is needed: PyTorch reads the zero on the left, and its last zero
never, TensorFlow that on the right. So both give 3 outputs, but every window lies one pixel apart, and every value
differs: weights trained in one framework need that framework's padding.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import npconv
from npconv.geometry import Padding

KERNEL, STRIDE = 3, 2
PADDINGS: dict[str, Padding] = {
    "padding=1  (PyTorch's way)": (0, 1),  # of columns: the image has one row
    'padding="same"  (TensorFlow, ONNX SAME_UPPER)': "same",
    'padding="same_lower"  (ONNX SAME_LOWER)': "same_lower",
    'padding="valid"': "valid",
}
COLOURS = ("#4477aa", "#ee8866", "#44aa99", "#aa4499")  # one per output


def windows(pixels: int, padding: Padding) -> list[int]:
    """The position of the first tap of each output; before 0, and from `pixels` on, taps read zeros."""
    x, w = np.zeros((1, 1, 1, pixels)), np.array([1.0, 2.0, 3.0]).reshape(1, 1, 1, KERNEL)
    y = npconv.conv2d(x, w, stride=(1, STRIDE), padding=padding)
    starts = []
    for output in range(y.shape[3]):
        dy = np.zeros_like(y)
        dy[..., output] = 1.0
        dx, _, _ = npconv.conv2d_backward(dy, x, w, stride=(1, STRIDE), padding=padding)
        pixel = np.flatnonzero(dx)[0]
        starts.append(int(pixel - (dx[0, 0, 0, pixel] - 1)))
    return starts


def cell(axes: Axes, column: int, row: int, text: str, **style: object) -> None:
    axes.add_patch(Rectangle((column - 0.46, row - 0.4), 0.92, 0.8, **style))
    axes.text(column, row, text, ha="center", va="center_baseline", fontsize=10)


def draw(axes: Axes, pixels: int, padding: Padding) -> None:
    """The pixels on top, below them one row per output: coloured where it reads a pixel, hatched where a zero."""
    for pixel in range(pixels):
        cell(axes, pixel, 0, str(pixel + 1), facecolor="0.88")
    starts = windows(pixels, padding)
    for output, start in enumerate(starts):
        for column in range(start, start + KERNEL):
            if 0 <= column < pixels:
                cell(axes, column, output + 1, str(column + 1), facecolor=COLOURS[output], alpha=0.75)
            else:
                cell(axes, column, output + 1, "0", facecolor="white", edgecolor=COLOURS[output], hatch="////")
    axes.set(xlim=(-1.6, 8.6), ylim=(4.5, -0.5))
    axes.set_axis_off()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("same_padding.png"), help="default: %(default)s")
    out = parser.parse_args().out

    figure = Figure(figsize=(10, 8), layout="constrained")
    grid = figure.subplots(4, 2)
    for row, (name, padding) in enumerate(PADDINGS.items()):
        for column, pixels in enumerate((6, 7)):
            draw(grid[row, column], pixels, padding)
            grid[row, column].set_title(name, fontsize=11, loc="left")
    figure.savefig(out, dpi=100)


if __name__ == "__main__":
    main()
