"""ShuffleNet (Zhang et al., arXiv 1707.01083): its tables, and those of the authors' and others' code."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from npconv import costs
from npconv.papers.published import Accuracy, Paper, Row, costs_of
from npconv.papers.walks import Walk

MACS, CONV_MACS, ALL = "MACs, conv + FC", "MACs, conv", "all parameters"

TABLE_1 = {1: "143", 2: "140", 3: "137", 4: "133", 8: "137"}  # groups: million multiply-adds

# Table 2: million multiply-adds, one figure for each row of networks, and {groups: top-1 error in %}
TABLE_2 = [
    (1.0, "140", {1: 33.6, 2: 32.7, 3: 32.6, 4: 32.8, 8: 32.4}),
    (0.5, "38", {1: 45.1, 2: 44.4, 3: 43.2, 4: 41.6, 8: 42.3}),
    (0.25, "13", {1: 57.1, 2: 56.8, 3: 55.0, 4: 54.2, 8: 52.7}),
]
ONE_FIGURE = "one figure stands for the row, whatever the groups"

# Table 5: (scale, groups, more options, million multiply-adds, why they are wrong, top-1 error in %)
TABLE_5 = [
    (2.0, 3, {}, "524", "", 26.3),
    (2.0, 3, {"squeeze_excite": True}, "527", "", 24.7),
    (1.5, 3, {}, "292", "", 28.5),
    (1.0, 8, {}, "140", "table 1 has the network's own figure, 137", 32.4),
    (
        0.5,
        3,
        {"shallow": True},
        "40",
        "half of the units at scale 0.5 cost half of that; it would take a scale of about 0.75",
        42.8,
    ),
]

# The authors' readme: (scale, groups, million multiply-adds, million parameters)
README = [
    (2.0, 3, "524", "5.4"), (2.0, 8, "522", "6.5"), (1.5, 3, "292", "3.4"), (1.5, 8, "290", "4.3"),
    (1.0, 3, "138", "1.9"), (1.0, 8, "138", "2.4"), (0.5, 3, "38", "0.7"), (0.5, 8, "40", "1.0"),
]  # fmt: skip

OSMR = [
    (1, 1.0, "1531936"), (2, 1.0, "1733848"), (3, 1.0, "1865728"), (4, 1.0, "1968344"), (8, 1.0, "2434768"),
    (1, 0.75, "975214"), (3, 0.75, "1238266"),
]  # fmt: skip


def _network(groups: int, scale: float, **options: Any) -> Walk:
    """Of the networks at scale 0.25, whose first convolution the paper does not tell, those with the published costs."""
    if scale == 0.25 and groups < 8:
        options["stem_channels"] = 12
    return Walk.of("shufflenet_v1", groups=groups, scale=scale, **options)


def _buildable(groups: int, scale: float) -> bool:
    return scale == 1.0 or groups not in (2, 4)  # else a quarter of stage 2's channels is no multiple of the groups


def _rows() -> Iterator[Row]:
    for groups, macs in TABLE_1.items():
        yield from costs_of("table 1", f"g = {groups}", "SH", _network(groups, 1.0), (CONV_MACS, macs, "M"))
    yield Row("section 3.1", "ResNeXt unit", "MACs in 1x1 convolutions", "93.4", "%", "SH", _share_of_pointwise)
    for scale, macs, errors in TABLE_2:
        for groups in filter(lambda groups: _buildable(groups, scale), errors):
            walk = _network(groups, scale)
            count = MACS if (groups, scale) == (3, 0.5) else CONV_MACS
            matches = (groups, scale) in ((2, 1.0), (1, 0.5), (3, 0.5), (1, 0.25), (3, 0.25))
            yield from costs_of(
                "table 2", f"{scale:g}x, g = {groups}", "SH", walk, (count, macs, "M", "" if matches else ONE_FIGURE)
            )
    for scale, groups, options, macs, reason, _ in TABLE_5:
        what = " ".join([f"{scale:g}x, g = {groups}", *options])
        yield from costs_of("table 5", what, "SH", _network(groups, scale, **options), (MACS, macs, "M", reason))
    for scale, groups, macs, parameters in README:
        walk = Walk.of("shufflenet_v1", groups=groups, scale=scale, fc_bias=False)
        reason = "rounded up, where the nearest last digit is below" if (scale, groups) == (1.0, 3) else ""
        yield from costs_of(
            "readme", f"{scale:g}x, g = {groups}", "SHm", walk, (MACS, macs, "M", reason), (ALL, parameters, "M")
        )
    for groups, scale, parameters in OSMR:
        yield from costs_of(
            "tests", f"{scale:g}x, g = {groups}", "osmr", _network(groups, scale), (ALL, parameters, "")
        )


def _share_of_pointwise() -> Fraction:
    """In a unit of 256 channels with 128 in the bottleneck and 32 groups."""
    pointwise = 2 * costs.pointwise_conv2d((1, 256, 1, 1), (128, 256, 1, 1)).macs
    return Fraction(pointwise, costs.resnext_unit_macs(256, 128, 1, 1, groups=32))


def _accuracies() -> Iterator[Accuracy]:
    for scale, _, errors in TABLE_2:
        for groups, error in errors.items():
            if _buildable(groups, scale):
                yield Accuracy("ShuffleNet", f"{scale:g}x, g = {groups}", _network(groups, scale), 100 - error, "SH")
    for scale, groups, options, _, _, error in TABLE_5:
        if scale > 1:
            yield Accuracy(
                "ShuffleNet", f"{scale:g}x, g = {groups}", _network(groups, scale, **options), 100 - error, "SH"
            )


PAPER = Paper(
    "ShuffleNet (arXiv 1707.01083)",
    tuple(_rows()),
    tuple(_accuracies()),
    (
        "Scales 0.5 and 0.25 with 2 or 4 groups: the bottleneck's channels are no multiple of the groups, and the paper does "
        "not say what was taken instead.",
        "In tables 2 to 8 all networks but ShuffleNet: they are other papers' or not described.",
    ),
)
