"""
Channel shuffle: which channels reach which
===========================================

Channel shuffle in one picture: which input channels reach which output channel through two grouped convolutions.

Grouped convolutions in a row never mix their groups: output group 0 sees input group 0, whatever the weights are. A
channel shuffle between them deals each group out to all groups. The matrices are true gradients, taken with all weights
at 1: the derivative of output channel o by input channel c is then the number of paths from c to o.
ShuffleNet (arXiv 1707.01083), figure 1.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import npconv

CHANNELS, GROUPS = 12, 3
PER_GROUP = CHANNELS // GROUPS
EDGES = np.arange(PER_GROUP, CHANNELS, PER_GROUP) - 0.5  # between the groups, in the pictures
COLOURS = np.array([to_rgb(colour) for colour in ("#4477aa", "#ee8866", "#44aa99")])  # one per input group


def paths(*, shuffle: bool) -> np.ndarray:
    """The number of paths to each output channel (row) from each input channel (column)."""
    x = np.ones((CHANNELS, CHANNELS, 1, 1))  # one image per output channel ...
    dy = np.eye(CHANNELS).reshape(x.shape)  # ... whose gradient is asked for
    w = np.ones((CHANNELS, PER_GROUP, 1, 1))
    middle = npconv.pointwise_conv2d(x, w, groups=GROUPS)
    read = npconv.channel_shuffle(middle, GROUPS) if shuffle else middle
    dread, _, _ = npconv.pointwise_conv2d_backward(dy, read, w, groups=GROUPS)
    dmiddle = npconv.channel_shuffle_backward(dread, middle, GROUPS) if shuffle else dread
    dx, _, _ = npconv.pointwise_conv2d_backward(dmiddle, x, w, groups=GROUPS)
    return dx[:, :, 0, 0]


def draw_paths(axes: Axes, counts: np.ndarray, title: str) -> None:
    """The matrix of `counts`: a column has its input group's colour, the stronger the more paths there are."""
    columns = COLOURS[np.arange(CHANNELS) // PER_GROUP]
    strength = np.where(counts > 0, 0.2 + 0.6 * counts / PER_GROUP, 0)[..., None]
    axes.imshow(1 - strength * (1 - columns))
    for (row, column), count in np.ndenumerate(counts):
        if count:
            axes.text(column, row, f"{count:.0f}", ha="center", va="center_baseline", fontsize=9)
    axes.set(title=title, xlabel="input channel (one colour per group)", ylabel="output channel")
    axes.set(xticks=range(CHANNELS), yticks=range(CHANNELS))
    axes.set_xticks(np.arange(CHANNELS) - 0.5, minor=True)  # the cells' edges
    axes.set_yticks(np.arange(CHANNELS) - 0.5, minor=True)
    axes.grid(which="minor", color="white")
    axes.vlines(EDGES, -0.5, CHANNELS - 0.5, color="0.5", linewidth=0.8)
    axes.hlines(EDGES, -0.5, CHANNELS - 0.5, color="0.5", linewidth=0.8)
    axes.tick_params(which="both", length=0)


def draw_permutation(axes: Axes, order: np.ndarray) -> None:
    """A line from each channel on the left to its place on the right; `order[place]` is the channel that comes there."""
    for place, channel in enumerate(order):
        axes.plot([0, 1], [channel, place], "o-", color=COLOURS[channel // PER_GROUP], linewidth=2, markersize=9)
        axes.text(-0.12, channel, channel, ha="right", va="center_baseline")
        axes.text(1.12, place, channel, ha="left", va="center_baseline")
    axes.hlines(EDGES, -0.4, 1.4, color="0.5", linewidth=0.8)
    axes.set(title="channel_shuffle", xlim=(-0.4, 1.4), ylim=(CHANNELS - 0.5, -0.5), yticks=[])
    axes.set_xticks([0, 1], ["first convolution\nwrites", "second convolution\nreads"])
    axes.tick_params(length=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("channel_shuffle.png"), help="default: %(default)s")
    out = parser.parse_args().out

    without, shuffled = paths(shuffle=False), paths(shuffle=True)
    order = npconv.channel_shuffle(np.arange(float(CHANNELS)).reshape(1, -1, 1, 1), GROUPS).ravel().astype(int)

    figure = Figure(figsize=(11.5, 4.8), layout="constrained")
    layers = f"two 1 x 1 convolutions, {CHANNELS} channels in {GROUPS} groups"
    figure.suptitle(f"How many paths lead from an input to an output channel: {layers}", fontsize=14)
    left, middle, right = figure.subplots(1, 3, width_ratios=[5, 3, 5])
    draw_paths(left, without, "without a shuffle: three networks side by side")
    draw_permutation(middle, order)
    draw_paths(right, shuffled, "with a shuffle between: one network")
    figure.savefig(out, dpi=110)

    reached = [np.count_nonzero(matrix[0]) for matrix in (without, shuffled)]
    print(f"Without a shuffle each output reads {reached[0]} of the {CHANNELS} inputs, those of its own group.")
    print(f"With one between it reads {reached[1]}, on {shuffled.min():.0f} or {shuffled.max():.0f} paths each.")
    print(f"The shuffle's order: {' '.join(map(str, order))}. The picture is {out}")


if __name__ == "__main__":
    with npconv.backend("numpy"):  # too little work to compile kernels for
        main()
