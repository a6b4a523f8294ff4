"""Drop an Octave (Chen et al., arXiv 1904.05049): its tables, and those of the authors' and others' code."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import partial

from npconv import costs
from npconv.papers.published import Accuracy, Paper, Row, costs_of
from npconv.papers.walks import Walk

MACS, POOLED_MACS, WEIGHTS, ALL = "MACs, conv + FC", "MACs, conv + FC + pooling", "weights", "all parameters"

# (alpha, multiply-adds and memory in % of the plain convolution's)
TABLE_1 = [
    (0, "100", "100"), (0.125, "82", "91"), (0.25, "67", "81"), (0.5, "44", "63"), (0.75, "30", "44"), (0.875, "26", "35"),
    (1, "25", "25"),
]  # fmt: skip

# (alpha, billion multiply-adds, top-1 accuracy in %) of ResNet-50
TABLE_2 = [(0, "4.1", 77.0), (0.125, "3.6", 78.2), (0.25, "3.1", 78.0), (0.5, "2.4", 77.3), (0.75, "1.9", 76.6)]

# (width, alpha, million multiply-adds, million parameters, top-1 accuracy in %) of MobileNet V1
TABLE_5 = [(0.75, 0, "325", "2.6", 70.3), (0.75, 0.375, "213", "2.6", 70.6), (1.0, 0.5, "321", "4.2", 72.4)]

# (network, depth, alpha, billion multiply-adds, million parameters, top-1 accuracy in %)
TABLE_6 = [
    ("oct_resnext", 50, 0.25, "3.2", "25.0", 78.7), ("oct_resnext", 50, 0.5, "2.4", "25.0", 78.3),
    ("oct_resnext", 101, 0.25, "5.7", "44.2", 79.5), ("oct_resnext", 101, 0.5, "4.0", "44.2", 78.9),
    ("oct_resnet", 50, 0.5, "2.4", "25.6", 77.3),
]  # fmt: skip

# Of the authors' readme: (squeeze and excite, billion multiply-adds, million parameters) of Oct-ResNet-152 at alpha 0.125
LARGE = [(False, "10.9", "60.2"), (True, "10.9", "66.8")]
MORE_COUNTED = (
    "10.82 or 10.83 without the pooling windows and ReLUs that the readme's tool counts, 10.86 or 10.88 with them"
)

# Of d-li14's readme: (depth, alpha, billion multiply-adds)
README = [
    (50, 0, "4.089"), (50, 0.5, "2.367"), (101, 0, "7.801"), (101, 0.5, "3.991"), (152, 0, "11.514"), (152, 0.5, "5.615"),
]  # fmt: skip


def _resnet(depth: int, alpha: float) -> Walk:
    return Walk.of("oct_resnet", depth=depth, alpha=alpha)


def _mobilenet(width: float, alpha: float) -> Walk:
    return Walk.of("oct_mobilenet_v1", width=width, alpha=alpha)


def _rows() -> Iterator[Row]:
    for alpha, macs, memory in TABLE_1:
        what = f"alpha = {alpha:g}"
        yield Row("table 1", what, "MACs of a layer", macs, "%", "OC", partial(_layer_macs, alpha))
        reason = "34.4 % is rounded to 34" if alpha == 0.875 else ""
        yield Row(
            "table 1", what, "numbers in a map", memory, "%", "OC", partial(costs.octave_memory_ratio, alpha), reason
        )
    for alpha, macs, _ in TABLE_2:
        yield from costs_of("table 2", f"ResNet-50, alpha = {alpha:g}", "OC", _resnet(50, alpha), (MACS, macs, "G"))
    for width, alpha, macs, parameters, _ in TABLE_5:
        reason = "320.2 with the pooling, 318.2 without; the table's other counts have it" if alpha == 0.5 else ""
        walk = _mobilenet(width, alpha)
        figures = (POOLED_MACS, macs, "M", reason), (WEIGHTS, parameters, "M")
        yield from costs_of("table 5", f"{width:g} MobileNet V1, alpha = {alpha:g}", "OC", walk, *figures)
    for network, depth, alpha, macs, parameters, _ in TABLE_6:
        name = "ResNet" if network == "oct_resnet" else "ResNeXt"
        walk = Walk.of(network, depth=depth, alpha=alpha)
        yield from costs_of(
            "table 6", f"{name}-{depth}, alpha = {alpha:g}", "OC", walk, (MACS, macs, "G"), (ALL, parameters, "M")
        )
    for squeeze_excite, macs, parameters in LARGE:
        walk = Walk.of("oct_resnet152_v1f", alpha=0.125, squeeze_excite=squeeze_excite)
        what = f"{'SE-' if squeeze_excite else ''}ResNet-152, alpha = 0.125"
        yield from costs_of("readme", what, "OCf", walk, (MACS, macs, "G", MORE_COUNTED), (ALL, parameters, "M"))
    walk = Walk.of("oct_resnet", depth=50, alpha=0.5, version="v1")
    yield from costs_of("readme", "ResNet-50 v1, alpha = 0.5", "OCf", walk, (ALL, "25.557", "M"))
    for depth, alpha, macs in README:
        yield from costs_of(
            "readme", f"ResNet-{depth}, alpha = {alpha:g}", "OCd", _resnet(depth, alpha), (MACS, macs, "G")
        )
    walk = _mobilenet(1.0, 0.5)
    yield from costs_of("readme", "MobileNet V1, alpha = 0.5", "OCd", walk, (MACS, "318.2", "M"), (ALL, "4.232", "M"))


def _layer_macs(alpha: float) -> Fraction:
    """Of a 3x3 layer between maps of the same alpha, over those of the plain one."""
    shapes = (1, 64, 8, 8), (64, 64, 3, 3)
    octave = costs.octave_conv2d(*shapes, alpha_in=alpha, alpha_out=alpha, padding=1)
    return Fraction(octave.macs, costs.conv2d(*shapes, padding=1).macs)


def _accuracies() -> Iterator[Accuracy]:
    for alpha, _, top1 in TABLE_2:
        yield Accuracy("Oct-ResNet-50", f"alpha = {alpha:g}", _resnet(50, alpha), top1, "OC")
    for width, alpha, _, _, top1 in TABLE_5:
        yield Accuracy("Oct-MobileNet V1", f"{width:g}, alpha = {alpha:g}", _mobilenet(width, alpha), top1, "OC")
    for network, depth, alpha, _, _, top1 in TABLE_6:
        if network == "oct_resnext":
            walk = Walk.of(network, depth=depth, alpha=alpha)
            yield Accuracy(f"Oct-ResNeXt-{depth}", f"alpha = {alpha:g}", walk, top1, "OC")


PAPER = Paper(
    "Drop an Octave (arXiv 1904.05049)",
    tuple(_rows()),
    tuple(_accuracies()),
    (
        "MobileNet V2, DenseNet, the networks for video, and those with another stem than the authors' code has in all "
        "its ablations.",
        "The ablation's figure: its points cannot be read to a digit.",
    ),
)
