"""
Ghost maps: one feature map from another
========================================

GhostNet's toy experiment in one picture: can a cheap filter make one feature map from another?

Feature maps of a photograph come from a bank of oriented filters and a ReLU. For three pairs of maps a depthwise d x d
filter learns, by gradient descent through `npconv.depthwise_conv2d_backward`, to make the second map from the first: its
ghost. Similar maps need no convolution of their own, only a filter of 3 x 3; unrelated maps do.
This is the idea of table 2 of GhostNet (arXiv 1911.11907), not its numbers: those are of trained ResNet-50 maps.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.datasets import load_sample_image

import npconv

SIZES = (1, 3, 5, 7)  # of the filters, d
STEPS = 100
TARGETS = {"coarser filter": (0, 1.6), "turned by 22.5°": (22.5, 1.0), "turned by 90°": (90, 1.0)}  # (degrees, sigma)
COLOURS = ("#228833", "#4477aa", "#cc5533")


def oriented_filter(degrees: float, sigma: float) -> np.ndarray:
    """A 7 x 7 edge filter: the derivative, in the direction of `degrees`, of a Gaussian."""
    rows, columns = np.mgrid[-3:4, -3:4]
    angle = np.deg2rad(degrees)
    slope = columns * np.cos(angle) + rows * np.sin(angle)
    return slope * np.exp(-(rows**2 + columns**2) / (2 * sigma**2))


def feature_maps(*filters: np.ndarray) -> np.ndarray:
    """One feature map per filter, (1, C, H, W), with a mean square of 1."""
    photograph = load_sample_image("flower.jpg")[:424, 80:504].mean(axis=2)[None, None] / 255
    maps = npconv.relu(npconv.conv2d(npconv.avg_pool2d(photograph, 4), np.stack(filters)[:, None]))
    return maps / np.sqrt((maps**2).mean(axis=(2, 3), keepdims=True))


def fit(maps: np.ndarray, targets: np.ndarray, w: np.ndarray) -> np.ndarray:
    """`w` (C, 1, d, d) after gradient descent on the mean square of ``depthwise_conv2d(maps, w) - targets``."""
    pixels = maps[0, 0].size
    rate = 0.5 / w[0].size  # maps of mean square 1 have a Hessian of at most 2 * d * d: this never diverges
    velocity = np.zeros_like(w)
    for _ in range(STEPS):
        dy = 2 / pixels * (npconv.depthwise_conv2d(maps, w, padding="same") - targets)
        _, dw, _ = npconv.depthwise_conv2d_backward(dy, maps, w, padding="same")
        velocity = 0.9 * velocity - rate * dw
        w = w + velocity
    return w


def draw_map(axes: Axes, title: str, image: np.ndarray, colour: str) -> None:
    """One feature map in a frame of its pair's colour; all have one scale of greys."""
    axes.imshow(image, cmap="gray", vmin=0, vmax=4, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=10, color=colour)
    axes.spines[:].set(color=colour, linewidth=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("ghost_maps.png"), help="default: %(default)s")
    out = parser.parse_args().out

    maps = np.repeat(feature_maps(oriented_filter(degrees=0, sigma=1.0)), len(TARGETS), axis=1)
    targets = feature_maps(*[oriented_filter(*parameters) for parameters in TARGETS.values()])
    w = np.zeros((len(TARGETS), 1, 1, 1))
    ghosts = {}
    for d in SIZES:
        ring = (d - w.shape[2]) // 2  # each filter starts as the smaller one in a ring of zeros
        w = fit(maps, targets, np.pad(w, [(0, 0), (0, 0), (ring, ring), (ring, ring)]))
        ghosts[d] = npconv.depthwise_conv2d(maps, w, padding="same")
    errors = np.array([((ghosts[d] - targets) ** 2).mean(axis=(0, 2, 3)) for d in SIZES])

    figure = Figure(figsize=(11.5, 4.2), layout="constrained")
    grid = figure.add_gridspec(2, 5, width_ratios=[1, 1, 1, 1, 1.6])
    draw_map(figure.add_subplot(grid[:, 0]), "a feature map", maps[0, 0], "black")
    curves = figure.add_subplot(grid[:, 4])
    for pair, (name, colour, marker) in enumerate(zip(TARGETS, COLOURS, "os^", strict=True)):
        draw_map(figure.add_subplot(grid[0, 1 + pair]), f"target: {name}", targets[0, pair], colour)
        draw_map(figure.add_subplot(grid[1, 1 + pair]), "ghost: filtered 3 x 3", ghosts[3][0, pair], colour)
        curves.plot(SIZES, errors[:, pair], f"{marker}-", color=colour, label=name)
    curves.set(xlabel="d, the size of the ghost's filter", ylabel="mean square error / mean square of the target")
    curves.set(xticks=SIZES, ylim=(0, 1))
    curves.grid(alpha=0.3)
    curves.legend(loc="center right")
    figure.savefig(out, dpi=110)

    for d, error in zip(SIZES, errors, strict=True):
        listed = (f"{e:.0%} ({name})" for name, e in zip(TARGETS, error, strict=True))
        print(f"Error of {d} x {d} ghosts: {', '.join(listed)}")
    print("Similar maps are cheap to make from each other, and beyond 3 x 3 little is gained.")
    print(f"That is the idea of GhostNet's table 2, not its numbers. The picture is {out}")


if __name__ == "__main__":
    with npconv.backend("numpy"):  # too little work to compile kernels for
        main()
