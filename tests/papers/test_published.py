"""What each published figure is beside the computed one, and the whole numbers that others counted too."""

from __future__ import annotations

from fractions import Fraction

import pytest

from npconv import models
from npconv.papers import COUNTS, PAPERS, SOURCES, UNITS, Mark, Row, judge
from npconv.papers.walks import Walk

MACS, POOLED_MACS, CONV_MACS, WEIGHTS, ALL, FOLDED = (
    "MACs, conv + FC",
    "MACs, conv + FC + pooling",
    "MACs, conv",
    "weights",
    "all parameters",
    "parameters, BN folded",
)


# --- marks ---


@pytest.mark.parametrize(
    ("published", "unit", "computed", "mark", "cut"),
    [
        ("4231976", "", 4231976, Mark.EQUAL, False),
        ("4231976", "", 4231975, Mark.ERROR, False),
        ("25", "%", Fraction(1, 4), Mark.EQUAL, False),
        ("25", "%", 0.25, Mark.EQUAL, False),
        ("569", "M", 568_740_352, Mark.ROUNDING, False),
        ("569", "M", 568_500_000, Mark.ROUNDING, False),
        ("569", "M", 569_500_000, Mark.ROUNDING, False),
        ("569", "M", 569_500_001, Mark.ROUNDING, True),
        ("569", "M", 569_999_999, Mark.ROUNDING, True),
        ("569", "M", 570_000_000, Mark.ERROR, False),
        ("569", "M", 568_499_999, Mark.ERROR, False),
        ("2.0", "G", 2_049_000_000, Mark.ROUNDING, False),
        ("2", "G", 2_400_000_000, Mark.ROUNDING, False),
        ("2.0", "G", 2_400_000_000, Mark.ERROR, False),
    ],
)
def test_a_mark_is_by_the_last_printed_digit(published, unit, computed, mark, cut):
    judged = judge(Row("table", "what", "counted", published, unit, "MB", lambda: computed, "reason"))
    assert judged.mark is mark
    assert judged.note == ("reason" if mark is Mark.ERROR else "cut off, not rounded to the nearest" if cut else "")


JUDGED = [
    pytest.param(name, row, id=f"{name}-{row.table}-{row.what}-{row.counted}")
    for name in PAPERS
    for row in PAPERS[name].rows
]

# Every figure that is no rounding of the computed one: (paper, table, source, what, what is counted).
ERRORS = {
    ("mobilenet", "table 1", "MB", "depthwise 13", "stride"),
    ("mobilenet", "table 2", "MB", "conv 3x3", MACS),
    ("mobilenet", "table 12", "MB", "0.25 MobileNet-224", CONV_MACS),
    ("mobilenet", "table 12", "MB", "0.25 MobileNet-128", CONV_MACS),
    *(("mobilenet", "mobilenet_v1.md", "MBtf", f"0.75 MobileNet-{size}", MACS) for size in (224, 192, 160, 128)),
    ("mobilenet", "mobilenet_v1.md", "MBtf", "0.25 MobileNet-192", MACS),
    ("mobilenet", "mobilenet_v1.md", "MBtf", "0.5 MobileNet-224", MACS),  # 150, of 149.497
    ("mobilenet", "mobilenet_v1.md", "MBtf", "1 MobileNet", ALL),  # 4.24, of 4.232
    ("mobilenet", "mobilenet_v1.md", "MBtf", "0.5 MobileNet", ALL),  # 1.34, of 1.332
    *(("mobilenet", "docstring", "MBk", f"1 MobileNet-{size}", MACS) for size in (224, 192, 160, 128)),
    *(("shufflenet", "table 2", "SH", f"1x, g = {groups}", CONV_MACS) for groups in (1, 3, 4, 8)),
    ("shufflenet", "table 2", "SH", "0.5x, g = 8", CONV_MACS),
    ("shufflenet", "table 2", "SH", "0.25x, g = 8", CONV_MACS),
    ("shufflenet", "table 5", "SH", "1x, g = 8", MACS),
    ("shufflenet", "table 5", "SH", "0.5x, g = 3 shallow", MACS),
    ("shufflenet", "readme", "SHm", "1x, g = 3", MACS),  # 138, of 137.46
    ("octconv", "table 1", "OC", "alpha = 0.875", "numbers in a map"),
    ("octconv", "table 5", "OC", "1 MobileNet V1, alpha = 0.5", POOLED_MACS),
    ("octconv", "readme", "OCf", "ResNet-152, alpha = 0.125", MACS),
    ("octconv", "readme", "OCf", "SE-ResNet-152, alpha = 0.125", MACS),
    ("ghostnet", "CIFAR-10", "GH", "Ghost-ResNet-56, s = 2", MACS),
    ("ghostnet", "ImageNet, large", "GH", "Ghost-ResNet-50, s = 2", ALL),
    ("ghostnet", "ImageNet, large", "GH", "Ghost-ResNet-50, s = 4", ALL),
    ("ghostnet", "ImageNet, small", "GH", "MobileNetV1 0.5x", MACS),  # 150 again
    ("ghostnet", "ImageNet, small", "GH", "ShuffleNetV1 1.0x, g = 3", MACS),  # 138 again
    ("ghostnet", "readme", "GHn", "GhostNet 1x, PyTorch", MACS),  # 142, of 141.15
    ("ghostnet", "tests", "osmr", "GhostNet 1x", ALL),
}

# Every figure that was cut off rather than rounded.
CUT = {
    ("mobilenet", "table 7", "MB", "1.0 MobileNet-160", MACS),
    ("mobilenet", "table 9", "MB", "0.5 MobileNet-160", MACS),
    ("mobilenet", "table 12", "MB", "0.5 MobileNet-128", CONV_MACS),
    ("octconv", "readme", "OCf", "SE-ResNet-152, alpha = 0.125", ALL),
    ("ghostnet", "ImageNet, small", "GH", "GhostNet 1.3x", MACS),
}


@pytest.mark.parametrize(("paper", "row"), JUDGED)
def test_every_row_has_its_mark(paper, row):
    key = (paper, row.table, row.source, row.what, row.counted)
    judged = judge(row)
    assert (judged.mark is Mark.ERROR) == (key in ERRORS), (row.published, float(judged.computed))
    assert bool(row.reason) == (key in ERRORS)
    assert judged.note.startswith("cut off") == (key in CUT)
    if row.unit == "" and key not in ERRORS:
        assert judged.mark is Mark.EQUAL  # a whole number that is printed to the last digit
    assert row.source in SOURCES
    assert row.unit in UNITS


def test_the_lists_of_exceptions_name_rows():
    keys = {(paper, row.table, row.source, row.what, row.counted) for paper in PAPERS for row in PAPERS[paper].rows}
    assert keys >= ERRORS | CUT
    assert len(keys) == len(JUDGED)  # each row is told from all others


def test_computed_figures_are_those_of_the_networks(monkeypatch):
    """Another network under the name of the first: its figures follow, so none of them is written down."""
    rows = [row for row in PAPERS["mobilenet"].rows if row.table in ("table 6", "table 7")]
    assert all(judge(row).mark is Mark.ROUNDING for row in rows)
    monkeypatch.setitem(models.NETWORKS, "mobilenet_v1", models.shallow_mobilenet)
    Walk.cost.cache_clear()
    try:
        assert all(judge(row).mark is Mark.ERROR for row in rows if row.counted == MACS)
    finally:
        Walk.cost.cache_clear()


# --- whole numbers that were counted elsewhere, too ---


GOLDEN = [
    (Walk.of("mobilenet_v1"), {CONV_MACS: 567_716_352, MACS: 568_740_352, WEIGHTS: 4_209_088, ALL: 4_231_976}),
    (Walk.of("mobilenet_v1", width=0.75), {ALL: 2_585_560}),
    (Walk.of("mobilenet_v1", width=0.5), {ALL: 1_331_592}),
    (Walk.of("mobilenet_v1", width=0.25), {ALL: 470_072}),
    (Walk.of("mobilenet_v1", 128, width=0.75), {CONV_MACS: 106_002_432, "weights, conv": 1_800_144}),
    (Walk.of("conv_mobilenet"), {CONV_MACS: 4_866_269_184, WEIGHTS: 29_281_120}),
    (Walk.of("shufflenet_v1", groups=1), {CONV_MACS: 142_502_976, ALL: 1_531_936}),
    (Walk.of("shufflenet_v1", groups=2), {CONV_MACS: 140_036_512, ALL: 1_733_848}),
    (Walk.of("shufflenet_v1", groups=3), {CONV_MACS: 136_500_672, ALL: 1_865_728}),
    (Walk.of("shufflenet_v1", groups=4), {CONV_MACS: 133_251_776, ALL: 1_968_344}),
    (Walk.of("shufflenet_v1", groups=8), {CONV_MACS: 136_829_952, ALL: 2_434_768}),
    (Walk.of("shufflenet_v1", groups=3, scale=0.5, fc_bias=False), {MACS: 37_589_856, ALL: 717_324}),
    (Walk.of("shufflenet_v1", groups=3, scale=2.0), {MACS: 524_045_184}),
    (Walk.of("oct_resnet", depth=50, alpha=0), {MACS: 4_089_184_256}),
    (Walk.of("oct_resnet", depth=50, alpha=0.125), {MACS: 3_565_196_288}),
    (Walk.of("oct_resnet", depth=50, alpha=0.25), {MACS: 3_103_526_912}),
    (Walk.of("oct_resnet", depth=50, alpha=0.5), {MACS: 2_367_143_936}),
    (Walk.of("oct_resnet", depth=50, alpha=0.75), {MACS: 1_880_035_328}),
    (Walk.of("oct_resnet", depth=26, alpha=0.5), {MACS: 1_480_032_256}),
    (Walk.of("oct_mobilenet_v1", width=1.0, alpha=0.5), {MACS: 318_167_680, POOLED_MACS: 320_224_896}),
    (Walk.of("oct_mobilenet_v1", width=0.75, alpha=0.375), {MACS: 211_379_016, POOLED_MACS: 213_147_720}),
    (Walk.of("ghostnet", width=0.5, variant="torch"), {MACS: 42_328_152, ALL: 2_587_292}),
    (Walk.of("ghostnet", width=1.0, variant="torch"), {MACS: 141_150_512, ALL: 5_182_508, FOLDED: 5_171_524}),
    (Walk.of("ghostnet", width=1.1, variant="torch"), {MACS: 166_986_864, ALL: 5_855_650}),
    (Walk.of("ghostnet", width=1.3, variant="torch"), {MACS: 227_003_256, ALL: 7_358_820}),
    (Walk.of("ghostnet", width=0.5, variant="tensorflow"), {MACS: 42_327_816}),
    (Walk.of("ghostnet", width=1.0, variant="tensorflow"), {MACS: 141_149_744}),
    (Walk.of("ghostnet", width=1.1, variant="tensorflow"), {MACS: 164_483_640}),
    (Walk.of("ghostnet", width=1.3, variant="tensorflow"), {MACS: 226_995_784}),
    (Walk.of("vgg16_cifar"), {CONV_MACS: 313_196_544, ALL: 14_986_698}),
    (Walk.of("ghost_vgg16", ratio=2, cheap_kernel=3), {CONV_MACS: 157_842_432, ALL: 7_650_474}),
    (Walk.of("resnet_cifar", depth=56), {MACS: 125_485_696, WEIGHTS: 848_944}),
    (Walk.of("ghost_resnet56"), {MACS: 65_286_784, WEIGHTS: 434_080}),
    (Walk.of("ghost_resnet50", ratio=2), {MACS: 2_151_023_360}),
    (Walk.of("ghost_resnet50", ratio=4), {MACS: 1_181_942_912}),
]


@pytest.mark.parametrize(("walk", "figures"), GOLDEN, ids=[str(walk[:2]) for walk, _ in GOLDEN])
def test_golden_integers(walk, figures):
    assert {counted: COUNTS[counted](walk.cost()) for counted in figures} == figures
