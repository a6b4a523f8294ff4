"""
Layer costs: one layer, six ways
================================

What the efficient convolutions save, in one picture: a 3 x 3 layer of 128 channels on 28 x 28 pixels, six ways.

All are counted by `npconv.costs`. Multiply-accumulates and parameters are what the papers count, and the counts are held
against the papers' ratios. Memory is told in two parts: the output, which later layers keep, and the maps that the layer
writes on the way to it, when each of its steps is an operator of its own.
"""

from __future__ import annotations

import argparse
from math import isclose, prod
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from npconv import costs

CHANNELS, GROUPS = 128, 4
X, W = (1, CHANNELS, 28, 28), (CHANNELS, CHANNELS, 3, 3)
COLOURS = ["#777777", "#4477aa", "#228833", "#ddaa33", "#ddaa33", "#aa3377"]


def draw_bars(axes: Axes, title: str, names: list[str], values: np.ndarray, more: np.ndarray | None = None) -> None:
    """One bar per layer, labelled with its value and its share of the first's; `more` goes on top, in a lighter colour."""
    axes.barh(names, values, color=COLOURS, height=0.7)
    for row, value in enumerate(values):
        share = "" if row == 0 else f"  ({value / values[0]:.0%})"
        axes.text(value, row, f" {value:.4g}{share}", va="center_baseline")
    if more is not None:
        axes.barh(names, more, left=values, color=COLOURS, height=0.7, alpha=0.35)
        for row in np.flatnonzero(more):
            axes.text(values[row] + more[row], row, f" + {more[row]:.4g}", va="center_baseline", color="0.4")
    axes.set_title(title, loc="left", fontsize=11)
    axes.margins(x=0.32)
    axes.set_xticks([])
    axes.tick_params(left=False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("layer_costs.png"), help="default: %(default)s")
    out = parser.parse_args().out

    layers = {
        "standard": costs.conv2d(X, W, padding=1),
        f"group, g = {GROUPS}": costs.conv2d(X, (CHANNELS, CHANNELS // GROUPS, 3, 3), padding=1, groups=GROUPS),
        "depthwise separable": costs.separable_conv2d(X, W, padding=1),
        "octave, alpha = 0.25": costs.octave_conv2d(X, W, padding=1, alpha_in=0.25, alpha_out=0.25),
        "octave, alpha = 0.5": costs.octave_conv2d(X, W, padding=1, alpha_in=0.5, alpha_out=0.5),
        "ghost, s = 2": costs.ghost_conv2d(X, W, padding=1, ratio=2, cheap_kernel=3),
    }
    names, counts = list(layers), list(layers.values())
    macs = np.array([cost.macs for cost in counts])
    parameters = np.array([cost.parameters for cost in counts])
    written = np.array([cost.elements_out for cost in counts])
    alphas = [0, 0, 0, 0.25, 0.5, 0]
    kept = prod(X) * np.array([costs.octave_memory_ratio(alpha) for alpha in alphas])  # all outputs have x's size

    figure = Figure(figsize=(13, 3.9), layout="constrained")
    figure.suptitle("A 3 x 3 convolution of 128 to 128 channels on 28 x 28 pixels, in float32", fontsize=14)
    left, middle, right = figure.subplots(1, 3, sharey=True)
    draw_bars(left, "million multiply-accumulates", names, macs / 1e6)
    draw_bars(middle, "thousand parameters", names, parameters / 1e3)
    draw_bars(right, "KiB of activations: output + on the way", names, kept / 256, (written - kept) / 256)
    left.invert_yaxis()
    figure.savefig(out, dpi=110)

    print("Multiply-accumulates relative to the standard layer, counted, and by the paper's formula:")
    for name, formula, ratio in [
        ("depthwise separable", "1/N + 1/Dk^2", costs.separable_ratio(CHANNELS, 3)),
        ("octave, alpha = 0.25", "1 - 3/4 (2 alpha - alpha^2)", costs.octave_cost_ratio(0.25, 0.25)),
        ("octave, alpha = 0.5", "1 - 3/4 (2 alpha - alpha^2)", costs.octave_cost_ratio(0.5, 0.5)),
        ("ghost, s = 2", "(s + c - 1) / (s c)", 1 / costs.ghost_speedup(CHANNELS, 3, ratio=2, cheap_kernel=3)),
    ]:
        counted = layers[name].macs / layers["standard"].macs
        assert isclose(counted, ratio), f"{name}: counted {counted}, by the formula {ratio}"
        print(f"  {name:20} {counted:.4f} = {ratio:.4f} = {formula}")
    print(f"The picture is {out}")


if __name__ == "__main__":
    main()
