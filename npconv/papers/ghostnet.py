"""GhostNet (Han et al., arXiv 1911.11907): its tables, and those of the authors' and others' code."""

from __future__ import annotations

from collections.abc import Iterator

from npconv.papers.published import Accuracy, Paper, Row, costs_of
from npconv.papers.walks import Walk

MACS, CONV_MACS, WEIGHTS, ALL, FOLDED = (
    "MACs, conv + FC", "MACs, conv", "weights", "all parameters", "parameters, BN folded",
)  # fmt: skip

# Ghost-VGG-16 on CIFAR-10: (s, d, million parameters, million multiply-adds)
VGG_16 = [
    (2, 1, "7.6", "157"), (2, 3, "7.7", "158"), (2, 5, "7.7", "160"), (2, 7, "7.7", "163"),
    (3, 3, "5.2", "107"), (4, 3, "4.0", "80"), (5, 3, "3.3", "65"),
]  # fmt: skip

# On ImageNet: (network, options, million parameters, why they are wrong, billion multiply-adds, top-1 accuracy in %)
NOT_OURS = "not of this network: others, too, count {} million; the multiply-adds are"
RESNET_50 = [
    ("ResNet-50", Walk.of("resnet", depth=50), "25.6", "", "4.1", 75.3),
    ("Ghost-ResNet-50, s = 2", Walk.of("ghost_resnet50", ratio=2), "13.0", NOT_OURS.format(13.95), "2.2", 75.0),
    ("Ghost-ResNet-50, s = 4", Walk.of("ghost_resnet50", ratio=4), "6.5", NOT_OURS.format(8.15), "1.2", 74.1),
]
ISSUE_146 = [(2, "13.95", "2.15"), (4, "8.15", "1.18")]  # Ghost-ResNet-50: s, million parameters, billion multiply-adds

# (width, million parameters, million multiply-adds, top-1 accuracy in %)
GHOSTNET = [(0.5, "2.6", "42", 66.2), (1.0, "5.2", "141", 73.9), (1.3, "7.3", "226", 75.7)]
TIMM = [(0.5, "2.59"), (1.0, "5.18"), (1.3, "7.36")]

ROUNDED_UP = "rounded up, where the nearest last digit is below"


def _ghostnet(width: float, variant: str) -> Walk:
    return Walk.of("ghostnet", width=width, variant=variant)


def _rows() -> Iterator[Row]:
    vgg = Walk.of("vgg16_cifar")
    yield from costs_of("CIFAR-10", "VGG-16", "GH", vgg, (ALL, "15", "M"), (CONV_MACS, "313", "M"))
    for s, d, parameters, macs in VGG_16:
        walk = Walk.of("ghost_vgg16", ratio=s, cheap_kernel=d)
        yield from costs_of(
            "CIFAR-10", f"Ghost-VGG-16, s = {s}, d = {d}", "GH", walk, (ALL, parameters, "M"), (CONV_MACS, macs, "M")
        )
    plain = Walk.of("resnet_cifar", depth=56)
    yield from costs_of("CIFAR-10", "ResNet-56", "GH", plain, (WEIGHTS, "0.85", "M"), (MACS, "125", "M"))
    reason = "the count without the cheap operations, which are 2.3 million"
    ghost = Walk.of("ghost_resnet56")
    yield from costs_of(
        "CIFAR-10", "Ghost-ResNet-56, s = 2", "GH", ghost, (WEIGHTS, "0.43", "M"), (MACS, "63", "M", reason)
    )

    for what, walk, parameters, reason, macs, _ in RESNET_50:
        yield from costs_of("ImageNet, large", what, "GH", walk, (ALL, parameters, "M", reason), (MACS, macs, "G"))
    for s, parameters, macs in ISSUE_146:
        walk = Walk.of("ghost_resnet50", ratio=s)
        yield from costs_of(
            "issue 146", f"Ghost-ResNet-50, s = {s}", "GHi", walk, (ALL, parameters, "M"), (MACS, macs, "G")
        )

    for width, parameters, macs, _ in GHOSTNET:  # of the two published variants, that which has the figure for 1.1x too
        walk = _ghostnet(width, "tensorflow")
        yield from costs_of(
            "ImageNet, small", f"GhostNet {width:g}x", "GH", walk, (FOLDED, parameters, "M"), (MACS, macs, "M")
        )
    yield from costs_of("COCO", "GhostNet 1.1x", "GH", _ghostnet(1.1, "tensorflow"), (MACS, "164", "M"))
    mobilenet, half, whole = (
        Walk.of("mobilenet_v1", width=0.5),
        Walk.of("shufflenet_v1", groups=8, scale=0.5),
        Walk.of("shufflenet_v1", groups=3),
    )
    table = "ImageNet, small"
    yield from costs_of(
        table, "MobileNetV1 0.5x", "GH", mobilenet, (WEIGHTS, "1.3", "M"), (MACS, "150", "M", ROUNDED_UP)
    )
    yield from costs_of(table, "ShuffleNetV1 0.5x, g = 8", "GH", half, (ALL, "1.0", "M"), (MACS, "40", "M"))
    yield from costs_of(
        table, "ShuffleNetV1 1.0x, g = 3", "GH", whole, (ALL, "1.9", "M"), (MACS, "138", "M", ROUNDED_UP)
    )

    torch, tensorflow = _ghostnet(1.0, "torch"), _ghostnet(1.0, "tensorflow")
    yield from costs_of("readme", "GhostNet 1x, PyTorch", "GHn", torch, (MACS, "142", "M", ROUNDED_UP))
    yield from costs_of("readme", "GhostNet 1x, TensorFlow", "GHn", tensorflow, (MACS, "141", "M"))
    yield from costs_of("issue 62", "GhostNet 1x", "GHi", torch, (FOLDED, "5171524", ""), (CONV_MACS, "139870512", ""))
    for width, parameters in TIMM:
        yield from costs_of(
            "ghostnet", f"GhostNet {width:g}x", "timm", _ghostnet(width, "torch"), (ALL, parameters, "M")
        )
    reason = "its shortcuts have 3x3 depthwise convolutions where the authors' code has 5x5"
    yield from costs_of("tests", "GhostNet 1x", "osmr", torch, (ALL, "5180840", "", reason))


PAPER = Paper(
    "GhostNet (arXiv 1911.11907)",
    tuple(_rows()),
    tuple(
        [
            Accuracy("GhostNet", f"{width:g}x", _ghostnet(width, "tensorflow"), top1, "GH")
            for width, _, _, top1 in GHOSTNET
        ]
        + [Accuracy("Ghost-ResNet-50", what, walk, top1, "GH") for what, walk, _, _, _, top1 in RESNET_50]
    ),
    (
        "The errors of table 2, with which a depthwise filter makes one map of another: they are of one image and its "
        "trained network.",
        "All networks but those of GhostNet, ResNet and VGG, MobileNet V1 and ShuffleNet V1: they are other papers'.",
    ),
)
