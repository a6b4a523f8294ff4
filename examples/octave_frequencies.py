"""
Octave convolution: a photograph in two frequencies
===================================================

Octave convolution in one picture: a photograph in two frequencies, the four paths between them, and what it costs.

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

BORDER = 4  # low pixels on each side that are not shown: the padding's zeros make edges there


def split(photograph: np.ndarray) -> OctaveMap:
    """The photograph (1, 1, H, W) as an octave map of one high and one low channel."""
    binomial = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    blurred = npconv.conv2d(photograph, np.outer(binomial, binomial)[None, None], padding="same")
    low = npconv.avg_pool2d(blurred, 2)
    return OctaveMap(high=photograph - npconv.upsample_nearest2d(low, 2), low=low)


def draw_map(axes: Axes, text: str, image: np.ndarray, *, low: bool = False) -> None:
    """One map (1, 1, H, W), its name above it, or beside it if it is a low one."""
    cut = BORDER if low else 2 * BORDER
    darkest, brightest = (-0.3, 0.3) if image.min() < 0 else (0, 1)  # differences, or a photograph
    axes.imshow(image[0, 0, cut:-cut, cut:-cut], cmap="gray", vmin=darkest, vmax=brightest, interpolation="nearest")
    axes.set_axis_off()
    axes.set_anchor("W")
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
    axes.text(0.5, 0.67, "feature maps", color="#cc5533")
    axes.text(0.05, 0.04, "multiply-accumulates", color="#4477aa")
    axes.set(title="cost relative to alpha = 0", xlabel="alpha, the share of low channels")
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[0, *counted, 1], yticks=[0, *counted, 1])
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.grid(alpha=0.3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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

    figure = Figure(figsize=(13.6, 3.1))
    figure.subplots_adjust(left=0.01, right=0.985, bottom=0.19, top=0.84, wspace=0.06)
    # The low maps get half the height, which limits all sizes: so a pixel has one size in all maps.
    grid = figure.add_gridspec(2, 7, height_ratios=[2, 1], width_ratios=[1, 1, 1, 1, 1, 0.2, 1])
    high = [photograph, x.high, hh, lh, y.high]
    high_names = ["photograph", "x.high", "hh: high to high", "lh: low to high", "y.high = hh + lh"]
    for column, (name, image) in enumerate(zip(high_names, high, strict=True)):
        draw_map(figure.add_subplot(grid[0, column]), name, image)
    low = [x.low, hl, ll, y.low]
    low_names = ["x.low", "hl:\nhigh to low", "ll:\nlow to low", "y.low\n= hl + ll"]
    for column, (name, image) in enumerate(zip(low_names, low, strict=True), start=1):
        draw_map(figure.add_subplot(grid[1, column]), name, image, low=True)
    draw_costs(figure.add_subplot(grid[:, 6]))
    figure.savefig(out, dpi=120)

    restored = np.abs(x.high + npconv.upsample_nearest2d(x.low, 2) - photograph).max()
    added = max(np.abs(hh + lh - y.high).max(), np.abs(hl + ll - y.low).max())
    print(f"x.high + up(x.low) is the photograph (largest error {restored:.1g}); x.low has a quarter of its pixels.")
    print(f"Two paths add up to each output (largest error {added:.1g}): hh + lh = y.high, hl + ll = y.low.")
    print("lh is blocky: like hl and ll it is computed on a quarter of the pixels, then up-sampled. That saves work.")
    print(f"The picture is {out}")


if __name__ == "__main__":
    with npconv.backend("numpy"):  # too little work to compile kernels for
        main()
