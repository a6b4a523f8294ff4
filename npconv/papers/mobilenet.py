"""MobileNets (Howard et al., arXiv 1704.04861): its tables, and those of the authors' and others' code."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import partial

import numpy as np

from npconv import costs, nn
from npconv.costs import LayerCost, ModelCost
from npconv.models import separable_block
from npconv.papers.published import Accuracy, Paper, Row, costs_of
from npconv.papers.walks import Walk

MACS, CONV_MACS, WEIGHTS, CONV_WEIGHTS, ALL = (
    "MACs, conv + FC",
    "MACs, conv",
    "weights",
    "weights, conv",
    "all parameters",
)
FULL = Walk.of("mobilenet_v1")

# The authors' listing of every layer at width 1 on 224 x 224 pixels, without the classifier.
LAYERS = [
    ("conv 3x3", 10838016),
    ("depthwise 1", 3612672), ("pointwise 1", 25690112),
    ("depthwise 2", 1806336), ("pointwise 2", 25690112),
    ("depthwise 3", 3612672), ("pointwise 3", 51380224),
    ("depthwise 4", 903168), ("pointwise 4", 25690112),
    ("depthwise 5", 1806336), ("pointwise 5", 51380224),
    ("depthwise 6", 451584), ("pointwise 6", 25690112),
    ("depthwise 7", 903168), ("pointwise 7", 51380224),
    ("depthwise 8", 903168), ("pointwise 8", 51380224),
    ("depthwise 9", 903168), ("pointwise 9", 51380224),
    ("depthwise 10", 903168), ("pointwise 10", 51380224),
    ("depthwise 11", 903168), ("pointwise 11", 51380224),
    ("depthwise 12", 225792), ("pointwise 12", 25690112),
    ("depthwise 13", 451584), ("pointwise 13", 51380224),
]  # fmt: skip

# (kind, mult-adds in %, parameters in %)
TABLE_2 = [
    ("pointwise", "94.86", "74.59"),
    ("depthwise", "3.06", "1.06"),
    ("standard", "1.19", "0.02"),
    ("linear", "0.18", "24.33"),
]

# (network, width, mult-adds in M and what they count, parameters in M)
TABLES_4_AND_5 = [
    ("4", "Conv MobileNet", Walk.of("conv_mobilenet"), "4866", CONV_MACS, "29.3"),
    ("4", "MobileNet", FULL, "569", MACS, "4.2"),
    ("5", "0.75 MobileNet", Walk.of("mobilenet_v1", width=0.75), "325", MACS, "2.6"),
    ("5", "Shallow MobileNet", Walk.of("shallow_mobilenet"), "307", MACS, "2.9"),
]

# (width, top-1 accuracy in %, mult-adds in M, parameters in M)
TABLE_6 = [(1.0, 70.6, "569", "4.2"), (0.75, 68.4, "325", "2.6"), (0.5, 63.7, "149", "1.3"), (0.25, 50.6, "41", "0.5")]

# (resolution, top-1 accuracy in %, mult-adds in M, parameters in M)
TABLE_7 = [(224, 70.6, "569", "4.2"), (192, 69.1, "418", "4.2"), (160, 67.2, "290", "4.2"), (128, 64.4, "186", "4.2")]

# (width, resolution, mult-adds in M, parameters in M, or None where none are printed again)
TABLE_10 = [(1.0, 224, "569", "3.3"), (0.75, 224, "325", "1.9"), (1.0, 192, "418", "3.3"), (0.75, 192, "239", "1.9")]
TABLE_12 = [
    (1.0, 224, "568", "3.2"), (0.5, 224, "149", "0.8"), (0.25, 224, "45", "0.2"),
    (1.0, 128, "185", "3.2"), (0.5, 128, "48", "0.8"), (0.25, 128, "15", "0.2"),
]  # fmt: skip

# mobilenet_v1.md: (width, million parameters, {resolution: (million MACs, top-1 accuracy in %)})
TF_SLIM = [
    (1.0, "4.24", {224: ("569", 70.9), 192: ("418", 70.0), 160: ("291", 68.0), 128: ("186", 65.2)}),
    (0.75, "2.59", {224: ("317", 68.4), 192: ("233", 67.2), 160: ("162", 65.3), 128: ("104", 62.1)}),
    (0.5, "1.34", {224: ("150", 63.3), 192: ("110", 61.7), 160: ("77", 59.1), 128: ("49", 56.3)}),
    (0.25, "0.47", {224: ("41", 49.8), 192: ("34", 47.7), 160: ("21", 45.5), 128: ("14", 41.5)}),
]
NOT_THE_ARCHITECTURE = "does not follow from the architecture; the paper's own figures for these widths do"
ROUNDED_UP = "rounded up, where the nearest last digit is below"

OSMR = [(1.0, "4231976"), (0.75, "2585560"), (0.5, "1331592"), (0.25, "470072")]
KERAS = [(224, "529"), (192, "529"), (160, "529"), (128, "529")]


def _rows() -> Iterator[Row]:
    yield from _table_1()
    yield from _table_2()
    yield from _table_3()
    for number, what, walk, macs, count, parameters in TABLES_4_AND_5:
        yield from costs_of(f"table {number}", what, "MB", walk, (count, macs, "M"), (WEIGHTS, parameters, "M"))
    for width, _, macs, parameters in TABLE_6:
        walk = Walk.of("mobilenet_v1", width=width)
        yield from costs_of(
            "table 6", f"{width:g} MobileNet-224", "MB", walk, (MACS, macs, "M"), (WEIGHTS, parameters, "M")
        )
    for size, _, macs, parameters in TABLE_7:
        walk = Walk.of("mobilenet_v1", size)
        yield from costs_of(
            "table 7", f"1.0 MobileNet-{size}", "MB", walk, (MACS, macs, "M"), (WEIGHTS, parameters, "M")
        )
    yield from costs_of(
        "table 9",
        "0.5 MobileNet-160",
        "MB",
        Walk.of("mobilenet_v1", 160, width=0.5),
        (MACS, "76", "M"),
        (WEIGHTS, "1.32", "M"),
    )
    for width, size, macs, parameters in TABLE_10:  # the mult-adds are still those with ImageNet's 1000 classes
        what = f"{width:g} MobileNet-{size}"
        yield from costs_of(
            "table 10", f"{what}, 1000 classes", "MB", Walk.of("mobilenet_v1", size, width=width), (MACS, macs, "M")
        )
        dogs = Walk.of("mobilenet_v1", size, width=width, num_classes=120)
        yield from costs_of("table 10", f"{what}, 120 classes", "MB", dogs, (WEIGHTS, parameters, "M"))
    for width, size, macs, parameters in TABLE_12:
        walk = Walk.of("mobilenet_v1", size, width=width)
        reason = "does not follow from the architecture; the other four rows do" if width == 0.25 else ""
        yield from costs_of(
            "table 12",
            f"{width:g} MobileNet-{size}",
            "MB",
            walk,
            (CONV_MACS, macs, "M", reason),
            (CONV_WEIGHTS, parameters, "M"),
        )
    yield from _code()


def _table_1() -> Iterator[Row]:
    for place, (what, macs) in enumerate(LAYERS):
        yield Row(
            "table 1",
            what,
            CONV_MACS,
            str(macs),
            "",
            "MBtf",
            partial(_convolution_macs, place),
        )
    yield from costs_of(
        "table 1", "all but the classifier", "MBtf", FULL, (CONV_MACS, "567716352", ""), (CONV_WEIGHTS, "3185088", "")
    )
    yield Row(
        "table 1",
        "depthwise 13",
        "stride",
        "2",
        "",
        "MB",
        _last_stride,
        "its output is given the size of its input, 7x7: stride 1",
    )


def _table_2() -> Iterator[Row]:
    misprint = "a misprint of 1.91: as printed, the column adds up to 99.29 %"
    for kind, macs, parameters in TABLE_2:
        reason = misprint if kind == "standard" else ""
        what = {
            "pointwise": "conv 1x1",
            "depthwise": "conv dw 3x3",
            "standard": "conv 3x3",
            "linear": "fully connected",
        }[kind]
        yield Row("table 2", what, MACS, macs, "%", "MB", partial(_share, kind, macs=True), reason)
        yield Row("table 2", what, WEIGHTS, parameters, "%", "MB", partial(_share, kind, macs=False))


def _table_3() -> Iterator[Row]:
    """One layer, changed step by step."""
    rng = np.random.default_rng(0)
    steps = [
        ("convolution", "462", "2.36", nn.Conv2d(512, 512, 3, padding=1, bias=False, rng=rng), (512, 14)),
        ("depthwise separable", "52.3", "0.27", separable_block(512, 512, rng=rng), (512, 14)),
        ("alpha = 0.75", "29.6", "0.15", separable_block(384, 384, rng=rng), (384, 14)),
        ("rho = 0.714", "15.1", "0.15", separable_block(384, 384, rng=rng), (384, 10)),
    ]
    for what, macs, weights, layer, (channels, size) in steps:
        cost = costs.count(layer, (1, channels, size, size))
        yield Row("table 3", what, CONV_MACS, macs, "M", "MB", partial(int, cost.macs))
        yield Row("table 3", what, CONV_WEIGHTS, weights, "M", "MB", partial(int, cost.weights))


def _code() -> Iterator[Row]:
    for width, parameters, sizes in TF_SLIM:
        for size, (macs, _) in sizes.items():
            if width == 0.75 or (width, size) == (0.25, 192):
                reason = NOT_THE_ARCHITECTURE
            else:
                reason = ROUNDED_UP if (width, size) == (0.5, 224) else ""
            walk = Walk.of("mobilenet_v1", size, width=width)
            yield from costs_of(
                "mobilenet_v1.md", f"{width:g} MobileNet-{size}", "MBtf", walk, (MACS, macs, "M", reason)
            )
        reason = ROUNDED_UP if width in (1.0, 0.5) else ""
        yield from costs_of(
            "mobilenet_v1.md",
            f"{width:g} MobileNet",
            "MBtf",
            Walk.of("mobilenet_v1", width=width),
            (ALL, parameters, "M", reason),
        )
    yield from costs_of(
        "mobilenet_v1.py",
        "0.75 MobileNet-128",
        "MBtf",
        Walk.of("mobilenet_v1", 128, width=0.75),
        (CONV_MACS, "106002432", ""),
        (CONV_WEIGHTS, "1800144", ""),
    )
    for size, macs in KERAS:
        walk = Walk.of("mobilenet_v1", size)
        reason = "one figure stands for every resolution, and it is none of theirs"
        yield from costs_of("docstring", f"1 MobileNet-{size}", "MBk", walk, (MACS, macs, "M", reason))
    yield from costs_of("mobilenetv1_100", "1 MobileNet", "timm", FULL, (ALL, "4.23", "M"))
    for width, parameters in OSMR:
        yield from costs_of(
            "tests", f"{width:g} MobileNet", "osmr", Walk.of("mobilenet_v1", width=width), (ALL, parameters, "")
        )


def _convolutions(cost: ModelCost) -> list[LayerCost]:
    return [layer for layer in cost.layers if layer.cost.macs and layer.kind != "linear"]


def _convolution_macs(place: int) -> int:
    return _convolutions(FULL.cost())[place].cost.macs


def _last_stride() -> int:
    (call,) = _convolutions(FULL.cost())[-2].calls
    return call.in_shape[2] // call.out_shape[2]


def _share(kind: str, *, macs: bool) -> Fraction:
    cost = FULL.cost()
    if macs:
        return Fraction(cost.macs_by_kind[kind], cost.macs)
    classifier_bias = 1000  # convolutions have none
    parameters = sum(call.cost.parameters for call in cost.calls if call.kind == kind)
    return Fraction(parameters - (classifier_bias if kind == "linear" else 0), cost.weights)


PAPER = Paper(
    "MobileNets (arXiv 1704.04861)",
    tuple(_rows()),
    tuple(
        [
            Accuracy("MobileNet", f"{width:g}", Walk.of("mobilenet_v1", width=width), top1, "MB")
            for width, top1, _, _ in TABLE_6
        ]
        + [
            Accuracy("MobileNet", f"1-{size}", Walk.of("mobilenet_v1", size), top1, "MB")
            for size, top1, _, _ in TABLE_7[1:]
        ]
    ),
    ("Table 8, and in tables 9 to 13 all networks but MobileNet: they are other papers'.",),
)
