"""Octave convolution in one picture: a photograph in two frequencies, the four paths between them, and what it costs.

The photograph is split as in a Laplacian pyramid: low is its blurred half-size version, high what that misses, so that
``high + up(low)`` is the photograph. One edge filter then serves as all four kernels. Each path is seen alone, by
passing its kernel only; the two paths that end in one map add up to it.
Drop an Octave (arXiv 1904.05049), sections 3.1 and 3.2, table 1.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.datasets import load_sample_image

import npconv
from npconv import OctaveMap, OctaveWeight, costs

WIDTH, HEIGHT, PANEL = 13.6, 3.1, 2.0  # of the figure, and the width of a high map in it: inches
BORDER = 4  # low pixels on each side that are not shown: the padding's zeros make edges there


def split(photograph: np.ndarray) -> OctaveMap:
    """The photograph (1, 1, H, W) as an octave map of one high and one low channel."""
    binomial = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    blurred = npconv.conv2d(photograph, np.outer(binomial, binomial)[None, None], padding="same")
    low = npconv.avg_pool2d(blurred, 2)
    return OctaveMap(high=photograph - npconv.upsample_nearest2d(low, 2), low=low)


def draw_map(figure: Figure, column: int, low: bool, text: str, image: np.ndarray, limits: tuple[float, float]) -> None:
    """One map (1, 1, H, W) at its place; a low one is half as large as a high one, so that all pixels are one size."""
    scale, cut, bottom = (0.5, BORDER, 0.5) if low else (1, 2 * BORDER, 1.4)
    shown = image[0, 0, cut:-cut, cut:-cut]
    width, height = PANEL * scale, PANEL * scale * shown.shape[0] / shown.shape[1]
    axes = figure.add_axes(((0.15 + 2.1 * column) / WIDTH, bottom / HEIGHT, width / WIDTH, height / HEIGHT))
    axes.imshow(shown, cmap="gray", vmin=limits[0], vmax=limits[1], interpolation="nearest")
    axes.set_axis_off()
    place = {"xy": (1.06, 0.5), "va": "center"} if low else {"xy": (0, 1.06), "va": "bottom"}
    axes.annotate(text, xycoords="axes fraction", **place)


def draw_costs(axes: Axes) -> None:
    """Cost of an octave convolution over alpha, relative to a standard one: the paper's formulas, and a layer counted."""
    alphas, counted = np.linspace(0, 1, 101), [0.25, 0.5, 0.75]
    x_shape, w_shape = (1, 128, 28, 28), (128, 128, 3, 3)
    standard = costs.conv2d(x_shape, w_shape, padding=1).macs
    macs = [costs.octave_conv2d(x_shape, w_shape, padding=1, alpha_in=a, alpha_out=a).macs / standard for a in counted]
    axes.plot(alphas, [costs.octave_memory_ratio(a) for a in alphas], color="#cc5533")
    axes.plot(alphas, [costs.octave_cost_ratio(a, a) for a in alphas], color="#4477aa")
    axes.plot(counted, macs, "o", color="#4477aa")
    for a, ratio in zip(counted, macs, strict=True):
        axes.annotate(f"{ratio:.0%}", (a, ratio), (-4, -4), textcoords="offset points", ha="right", va="top")
    axes.text(0.55, 0.63, "feature maps", color="#cc5533")
    axes.text(0.05, 0.04, "multiply-accumulates", color="#4477aa")
    axes.set(title="cost relative to alpha = 0", xlabel="alpha, the share of low channels")
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[0, *counted, 1], yticks=[0, *counted, 1])
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.grid(alpha=0.3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("octave_frequencies.png"), help="default: %(default)s")
    out = parser.parse_args().out

    colours = load_sample_image("china.jpg")[:420] / 255  # (420, 640, 3)
    photograph = npconv.avg_pool2d(colours.mean(axis=2)[None, None], 5)
    x = split(photograph)
    w = np.outer([1.0, 2.0, 1.0], [-1.0, 0.0, 1.0])[None, None] / 4  # Sobel's filter for vertical edges
    high_only, low_only = x._replace(low=None), x._replace(high=None)
    hh = npconv.octave_conv2d(high_only, OctaveWeight(hh=w), padding=1).high
    hl = npconv.octave_conv2d(high_only, OctaveWeight(hl=w), padding=1).low
    lh = npconv.octave_conv2d(low_only, OctaveWeight(lh=w), padding=1).high
    ll = npconv.octave_conv2d(low_only, OctaveWeight(ll=w), padding=1).low
    y = npconv.octave_conv2d(x, OctaveWeight(hh=w, hl=w, lh=w, ll=w), padding=1)

    figure = Figure(figsize=(WIDTH, HEIGHT))
    draw_map(figure, 0, False, "photograph", photograph, (0, 1))
    columns = [
        ("x.high", x.high, "x.low", x.low),
        ("hh: high to high", hh, "hl:\nhigh to low", hl),
        ("lh: low to high", lh, "ll:\nlow to low", ll),
        ("y.high = hh + lh", y.high, "y.low\n= hl + ll", y.low),
    ]
    for column, (high_text, high, low_text, low) in enumerate(columns, start=1):
        draw_map(figure, column, False, high_text, high, (-0.3, 0.3))
        draw_map(figure, column, True, low_text, low, (0, 1) if column == 1 else (-0.3, 0.3))
    draw_costs(figure.add_axes((11.2 / WIDTH, 0.55 / HEIGHT, 2.15 / WIDTH, 2.1 / HEIGHT)))
    figure.savefig(out, dpi=120)

    restored = np.abs(x.high + npconv.upsample_nearest2d(x.low, 2) - photograph).max()
    added = max(np.abs(hh + lh - y.high).max(), np.abs(hl + ll - y.low).max())
    print(f"x.high + up(x.low) is the photograph (largest error {restored:.1g}); x.low has a quarter of its pixels.")
    print(f"Two paths add up to each output (largest error {added:.1g}): hh + lh = y.high, hl + ll = y.low.")
    print(f"lh is blocky: it is computed at half the size, then up-sampled. That saves the work. The picture is {out}")


if __name__ == "__main__":
    main()
