"""
A convolution and its two gradients, in numbers
===============================================

An image of 3 x 3 pixels, a kernel of 2 x 2, and all that training needs of them. Forward, each output is a sum of
products x * w. Backward, each of these products hands dy * w back to its x, and dy * x back to its w: so dx is a
correlation of dy with the rotated kernel, and dw one of the image with dy. All can be redone by hand.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import npconv
from npconv.explain import draw_numbers, window

BLUE, RED, GREEN = "#4477aa", "#ee6677", "#228833"


def sign(axes: Axes, text: str) -> None:
    """What stands between two arrays."""
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=18)
    axes.set_axis_off()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("convolution_gradients.png"), help="default: %(default)s")
    out = parser.parse_args().out

    x = np.arange(1.0, 10).reshape(1, 1, 3, 3)
    w = np.arange(1.0, 5).reshape(1, 1, 2, 2)
    dy = np.array([[1.0, 0], [0, 2]]).reshape(1, 1, 2, 2)
    y = npconv.conv2d(x, w)
    dx, dw, _ = npconv.conv2d_backward(dy, x, w)
    turned = w[..., ::-1, ::-1].copy()

    figure = Figure(figsize=(11, 6.4), layout="constrained")
    rows = figure.subplots(3, 5, width_ratios=[4, 0.9, 3, 0.9, 3])
    for number, (left, middle, right, here, there) in enumerate(
        [
            ((x, "x, the image", 0), (w, "w, the kernel"), (y, "y = 1·1 + 2·2 + 4·3 + 5·4, ..."), (0, 0), (0, 0)),
            (
                (dy, "dy, padded by 1", 1),
                (turned, "w, rotated"),
                (dx, "dx = 1·4 + 0·3 + 0·2 + 2·1, ..."),
                (1, 1),
                (1, 1),
            ),
            ((x, "x, the image", 0), (dy, "dy"), (dw, "dw = 1·1 + 2·0 + 4·0 + 5·2, ..."), (0, 0), (0, 0)),
        ]
    ):
        colour = (BLUE, RED, GREEN)[number]
        panels = rows[number]
        array, title, border = left
        draw_numbers(
            panels[0], np.pad(array[0, 0], border), title, border=border, colours=window(*here, (2, 2), colour)
        )
        sign(panels[1], "∗")
        draw_numbers(panels[2], middle[0][0, 0], middle[1], colours=window(0, 0, (2, 2), colour))
        sign(panels[3], "=")
        draw_numbers(panels[4], right[0][0, 0], right[1], frames={there: colour})
    for panels, text in zip(rows, ["forward", "gradient of\nthe input", "gradient of\nthe weights"], strict=True):
        panels[0].text(-1.05, 0.5, text, transform=panels[0].get_yaxis_transform(), ha="left", va="center", fontsize=12)
        low, high = panels[0].get_ylim()
        panels[0].texts[-1].set_y((low + high) / 2)
    figure.savefig(out, dpi=100)

    print(f"y = {y[0, 0].tolist()}")
    print(f"dx = {dx[0, 0].tolist()}, dw = {dw[0, 0].tolist()}")
    products = (dy * y).sum(), (dx * x).sum(), (dw * w).sum()
    print(
        f"<dy, y> = {products[0]:g}, <dx, x> = {products[1]:g}, <dw, w> = {products[2]:g}: equal, so both gradients fit."
    )
    print(f"The picture is {out}")


if __name__ == "__main__":
    with npconv.backend("numpy"):  # too little work to compile kernels for
        main()
