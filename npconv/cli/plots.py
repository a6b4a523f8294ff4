"""The papers' costs in pictures: computed over each method's knob, and beside the accuracies that the papers publish."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from npconv import costs
from npconv.figures import COLOURS, MARKERS, write_figure
from npconv.papers import Paper, ghostnet, octconv, shufflenet
from npconv.papers.walks import Walk

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(path: Path, papers: Mapping[str, Paper]) -> None:
    """Write the PNG: one picture for each of the papers, and one of all their accuracies."""
    from matplotlib.figure import Figure  # here, since it takes a second; without pyplot there is no global state

    panels = [PANELS[name] for name in papers]
    columns = 2 if len(panels) < 3 else 3
    rows = -(-(len(panels) + 1) // columns)
    figure = Figure(figsize=(6.2 * columns, 4.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, place in zip(panels, axes, strict=False):
        panel(place)
    _accuracies(axes[len(panels)], papers)
    for place in axes[len(panels) + 1 :]:
        place.set_axis_off()
    for place in axes[: len(panels) + 1]:
        place.grid(alpha=0.3)
        place.legend(fontsize="small")
    write_figure(path, figure)


def _width(axes: Axes) -> None:
    """MobileNet over its two multipliers."""
    whole = Walk.of("mobilenet_v1").cost().macs
    widths = np.linspace(0.25, 1, 7)
    macs = [Walk.of("mobilenet_v1", width=float(width)).cost().macs / whole for width in widths]
    axes.plot(widths, macs, "o-", color=COLOURS[0], label="over the width alpha, at 224 x 224")
    axes.plot(widths, widths**2, "--", color=COLOURS[0], label="alpha squared")
    sizes = [128, 160, 192, 224]
    rho = np.array(sizes) / 224
    macs = [Walk.of("mobilenet_v1", size).cost().macs / whole for size in sizes]
    axes.plot(rho, macs, "s-", color=COLOURS[1], label="over the resolution rho, at width 1")
    axes.plot(rho, rho**2, ":", color=COLOURS[1], label="rho squared")
    axes.set(title="MobileNet", xlabel="alpha or rho", ylabel="MACs, share of the whole network's", ylim=(0, None))


def _groups(axes: Axes) -> None:
    """ShuffleNet over its groups, whose channels the paper chose so that the cost stays about the same."""
    groups = list(shufflenet.TABLE_1)
    computed = [Walk.of("shufflenet_v1", groups=g).cost().conv_macs / 1e6 for g in groups]
    axes.plot(groups, computed, "o-", color=COLOURS[0], label="computed, convolutions")
    axes.plot(groups, [float(macs) for macs in shufflenet.TABLE_1.values()], "x", color="black", label="published")
    fixed = [costs.shufflenet_unit_macs(240, 48, 28, 28, groups=g) / 1e6 for g in (1, 2, 3, 4, 8)]
    twin = axes.twinx()
    twin.plot(groups, fixed, "--", color=COLOURS[1])
    twin.set_ylabel("dashed: million MACs of one unit, 240 channels", color=COLOURS[1])
    twin.set_ylim(0, None)
    axes.set(title="ShuffleNet 1x", xlabel="groups", ylabel="million MACs", ylim=(0, 160), xticks=groups)


def _alpha(axes: Axes) -> None:
    """Octave networks over the share of low frequency."""
    alphas = [0.0, 0.125, 0.25, 0.5, 0.75]
    for colour, network, label in (
        (COLOURS[0], "oct_resnet", "Oct-ResNet-50"),
        (COLOURS[1], "oct_mobilenet_v1", "Oct-MobileNet V1"),
    ):
        whole, *macs = (Walk.of(network, alpha=alpha).cost().macs for alpha in alphas)
        axes.plot(alphas, [1, *(part / whole for part in macs)], "o-", color=colour, label=label)
    fine = np.linspace(0, 1, 101)
    axes.plot(fine, [costs.octave_cost_ratio(a, a) for a in fine], "--", color="black", label="one layer")
    axes.plot(fine, [costs.octave_memory_ratio(a) for a in fine], ":", color="black", label="one map's memory")
    published = [float(macs) for _, macs, _ in octconv.TABLE_2]
    axes.plot(alphas, [macs / published[0] for macs in published], "x", color="black", label="Oct-ResNet-50, published")
    axes.set(title="Octave convolution", xlabel="alpha", ylabel="MACs, share of the plain network's", ylim=(0, None))


def _ratio(axes: Axes) -> None:
    """Ghost-VGG-16 over the ratio s and the cheap kernel d."""
    s_values, d_values = [1, 2, 3, 4, 5], [1, 3, 5, 7]
    over_s = [Walk.of("ghost_vgg16", ratio=s).cost().conv_macs / 1e6 for s in s_values]
    over_d = [Walk.of("ghost_vgg16", ratio=2, cheap_kernel=d).cost().conv_macs / 1e6 for d in d_values]
    axes.plot(s_values, over_s, "o-", color=COLOURS[0], label="over s, at d = 3")
    axes.plot(d_values, over_d, "s-", color=COLOURS[1], label="over d, at s = 2")
    published = {(s, d): float(macs) for s, d, _, macs in ghostnet.VGG_16}
    axes.plot(s_values[1:], [published[s, 3] for s in s_values[1:]], "x", color="black", label="published")
    axes.plot(d_values, [published[2, d] for d in d_values], "x", color="black")
    axes.set(title="Ghost-VGG-16 on CIFAR-10", xlabel="s or d", ylabel="million MACs, convolutions", ylim=(0, None))


def _accuracies(axes: Axes, papers: Mapping[str, Paper]) -> None:
    """What the papers publish, over what the networks cost."""
    families: dict[str, list[tuple[float, float]]] = {}
    for paper in papers.values():
        for one in paper.accuracies:
            families.setdefault(one.family, []).append((one.walk.cost().macs / 1e6, one.top1))
    for place, (family, points) in enumerate(families.items()):
        macs, top1 = zip(*sorted(points), strict=True)
        axes.plot(macs, top1, MARKERS[place % len(MARKERS)], color=COLOURS[place % len(COLOURS)], label=family)
    axes.set_xscale("log")
    axes.set(title="accuracy as published", xlabel="million MACs, computed", ylabel="top-1 accuracy on ImageNet, %")


PANELS: dict[str, Callable[[Axes], None]] = {
    "mobilenet": _width,
    "shufflenet": _groups,
    "octconv": _alpha,
    "ghostnet": _ratio,
}
