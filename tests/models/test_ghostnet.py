"""GhostNet against the paper's tables: arXiv 1911.11907 and the authors' code."""

from __future__ import annotations

import inspect
from collections import Counter

import numpy as np
import pytest
from networks import batch_norm_parameters, biases, check_modes, check_slopes, images, layer_table, seeded

from npconv import costs, models, nn
from npconv.models import ghostnet_channels
from npconv.testing import check_gradients

# --- costs -------------------------------------------------------------------------------------------------------

# Every convolution of GhostNet 1.0 at 224, in order: in and out channels, kernel, stride, output size, weights, MACs.
# b1 to b16 are the bottlenecks, g1 and g2 their ghost modules, se the squeeze and excite, sc the shortcut.
OPERATIONS = """
stem 3 16 3 2 112 432 5_419_008
b1.g1.primary 16 8 1 1 112 128 1_605_632
b1.g1.cheap 8 8 3 1 112 72 903_168
b1.g2.primary 16 8 1 1 112 128 1_605_632
b1.g2.cheap 8 8 3 1 112 72 903_168
b2.g1.primary 16 24 1 1 112 384 4_816_896
b2.g1.cheap 24 24 3 1 112 216 2_709_504
b2.dw 48 48 3 2 56 432 1_354_752
b2.g2.primary 48 12 1 1 56 576 1_806_336
b2.g2.cheap 12 12 3 1 56 108 338_688
b2.sc_dw 16 16 3 2 56 144 451_584
b2.sc_pw 16 24 1 1 56 384 1_204_224
b3.g1.primary 24 36 1 1 56 864 2_709_504
b3.g1.cheap 36 36 3 1 56 324 1_016_064
b3.g2.primary 72 12 1 1 56 864 2_709_504
b3.g2.cheap 12 12 3 1 56 108 338_688
b4.g1.primary 24 36 1 1 56 864 2_709_504
b4.g1.cheap 36 36 3 1 56 324 1_016_064
b4.dw 72 72 5 2 28 1_800 1_411_200
b4.se1 72 20 1 1 1 1_440 1_440
b4.se2 20 72 1 1 1 1_440 1_440
b4.g2.primary 72 20 1 1 28 1_440 1_128_960
b4.g2.cheap 20 20 3 1 28 180 141_120
b4.sc_dw 24 24 5 2 28 600 470_400
b4.sc_pw 24 40 1 1 28 960 752_640
b5.g1.primary 40 60 1 1 28 2_400 1_881_600
b5.g1.cheap 60 60 3 1 28 540 423_360
b5.se1 120 32 1 1 1 3_840 3_840
b5.se2 32 120 1 1 1 3_840 3_840
b5.g2.primary 120 20 1 1 28 2_400 1_881_600
b5.g2.cheap 20 20 3 1 28 180 141_120
b6.g1.primary 40 120 1 1 28 4_800 3_763_200
b6.g1.cheap 120 120 3 1 28 1_080 846_720
b6.dw 240 240 3 2 14 2_160 423_360
b6.g2.primary 240 40 1 1 14 9_600 1_881_600
b6.g2.cheap 40 40 3 1 14 360 70_560
b6.sc_dw 40 40 3 2 14 360 70_560
b6.sc_pw 40 80 1 1 14 3_200 627_200
b7.g1.primary 80 100 1 1 14 8_000 1_568_000
b7.g1.cheap 100 100 3 1 14 900 176_400
b7.g2.primary 200 40 1 1 14 8_000 1_568_000
b7.g2.cheap 40 40 3 1 14 360 70_560
b8.g1.primary 80 92 1 1 14 7_360 1_442_560
b8.g1.cheap 92 92 3 1 14 828 162_288
b8.g2.primary 184 40 1 1 14 7_360 1_442_560
b8.g2.cheap 40 40 3 1 14 360 70_560
b9.g1.primary 80 92 1 1 14 7_360 1_442_560
b9.g1.cheap 92 92 3 1 14 828 162_288
b9.g2.primary 184 40 1 1 14 7_360 1_442_560
b9.g2.cheap 40 40 3 1 14 360 70_560
b10.g1.primary 80 240 1 1 14 19_200 3_763_200
b10.g1.cheap 240 240 3 1 14 2_160 423_360
b10.se1 480 120 1 1 1 57_600 57_600
b10.se2 120 480 1 1 1 57_600 57_600
b10.g2.primary 480 56 1 1 14 26_880 5_268_480
b10.g2.cheap 56 56 3 1 14 504 98_784
b10.sc_dw 80 80 3 1 14 720 141_120
b10.sc_pw 80 112 1 1 14 8_960 1_756_160
b11.g1.primary 112 336 1 1 14 37_632 7_375_872
b11.g1.cheap 336 336 3 1 14 3_024 592_704
b11.se1 672 168 1 1 1 112_896 112_896
b11.se2 168 672 1 1 1 112_896 112_896
b11.g2.primary 672 56 1 1 14 37_632 7_375_872
b11.g2.cheap 56 56 3 1 14 504 98_784
b12.g1.primary 112 336 1 1 14 37_632 7_375_872
b12.g1.cheap 336 336 3 1 14 3_024 592_704
b12.dw 672 672 5 2 7 16_800 823_200
b12.se1 672 168 1 1 1 112_896 112_896
b12.se2 168 672 1 1 1 112_896 112_896
b12.g2.primary 672 80 1 1 7 53_760 2_634_240
b12.g2.cheap 80 80 3 1 7 720 35_280
b12.sc_dw 112 112 5 2 7 2_800 137_200
b12.sc_pw 112 160 1 1 7 17_920 878_080
b13.g1.primary 160 480 1 1 7 76_800 3_763_200
b13.g1.cheap 480 480 3 1 7 4_320 211_680
b13.g2.primary 960 80 1 1 7 76_800 3_763_200
b13.g2.cheap 80 80 3 1 7 720 35_280
b14.g1.primary 160 480 1 1 7 76_800 3_763_200
b14.g1.cheap 480 480 3 1 7 4_320 211_680
b14.se1 960 240 1 1 1 230_400 230_400
b14.se2 240 960 1 1 1 230_400 230_400
b14.g2.primary 960 80 1 1 7 76_800 3_763_200
b14.g2.cheap 80 80 3 1 7 720 35_280
b15.g1.primary 160 480 1 1 7 76_800 3_763_200
b15.g1.cheap 480 480 3 1 7 4_320 211_680
b15.g2.primary 960 80 1 1 7 76_800 3_763_200
b15.g2.cheap 80 80 3 1 7 720 35_280
b16.g1.primary 160 480 1 1 7 76_800 3_763_200
b16.g1.cheap 480 480 3 1 7 4_320 211_680
b16.se1 960 240 1 1 1 230_400 230_400
b16.se2 240 960 1 1 1 230_400 230_400
b16.g2.primary 960 80 1 1 7 76_800 3_763_200
b16.g2.cheap 80 80 3 1 7 720 35_280
convlast 160 960 1 1 7 153_600 7_526_400
head 960 1280 1 1 1 1_228_800 1_228_800
fc 1280 1000 1 1 1 1_280_000 1_280_000
"""

LAYER = {  # what the listing calls the layers of a bottleneck, bN, and the others
    "g1.primary": "main.expand.primary.conv",
    "g1.cheap": "main.expand.cheap.conv",
    "dw": "main.depthwise",
    "se1": "main.squeeze_excite.gate.reduce",
    "se2": "main.squeeze_excite.gate.expand",
    "g2.primary": "main.project.primary.conv",
    "g2.cheap": "main.project.cheap.conv",
    "sc_dw": "shortcut.depthwise",
    "sc_pw": "shortcut.pointwise",
    "stem": "stem.conv",
    "convlast": "conv.pointwise",
    "head": "head.pointwise",
    "fc": "head.linear",
}


def test_table_1_layer_by_layer():
    net = models.ghostnet(**seeded())
    layers = dict(net.named_layers())
    expected, sizes = [], {}
    for line in OPERATIONS.split("\n")[1:-1]:
        operation, *numbers = line.split()
        block, _, rest = operation.partition(".")
        path = f"block{block[1:]}.{LAYER[rest]}" if rest else LAYER[operation]
        in_channels, out_channels, kernel, stride, size, weights, macs = map(int, numbers)
        expected.append((path, *([] if path == "head.linear" else [size, size]), weights, macs))
        sizes[path] = in_channels, out_channels, kernel, stride
    assert layer_table(net, (1, 3, 224, 224)) == expected
    for path, (in_channels, out_channels, kernel, stride) in sizes.items():
        layer, out = layers[path], layers[path].params["w"].shape[0]
        channels = getattr(layer, "channels", getattr(layer, "in_channels", getattr(layer, "in_features", None)))
        found = channels, out, getattr(layer, "kernel", 1), getattr(layer, "stride", 1)
        assert found == (in_channels, out_channels, kernel, stride), path


# Weights, biases, batch norm parameters and MACs of each row, the bottlenecks being rows 1 to 16.
TABLE_1 = [
    ("stem", 432, 0, 32, 5_419_008),
    ("block1", 400, 0, 64, 5_017_600),
    ("block2", 2_244, 0, 320, 12_681_984),
    ("block3", 2_160, 0, 192, 6_773_760),
    ("block4", 9_048, 92, 496, 7_632_768),
    ("block5", 13_200, 152, 320, 4_335_360),
    ("block6", 21_560, 0, 1_360, 7_683_200),
    ("block7", 17_260, 0, 560, 3_382_960),
    ("block8", 15_908, 0, 528, 3_117_968),
    ("block9", 15_908, 0, 528, 3_117_968),
    ("block10", 173_624, 600, 1_568, 11_566_304),
    ("block11", 304_584, 840, 1_568, 15_669_024),
    ("block12", 358_448, 840, 3_552, 12_702_368),
    ("block13", 158_640, 0, 2_240, 7_773_360),
    ("block14", 619_440, 1_200, 2_240, 8_234_160),
    ("block15", 158_640, 0, 2_240, 7_773_360),
    ("block16", 619_440, 1_200, 2_240, 8_234_160),
    ("conv", 153_600, 0, 1_920, 7_526_400),
    ("head", 1_228_800 + 1_280_000, 1_280 + 1_000, 0, 1_228_800 + 1_280_000),
]


def test_table_1_row_by_row():
    net = models.ghostnet(**seeded())
    macs = Counter()
    for layer in costs.count(net, (1, 3, 224, 224)).layers:
        macs[layer.layer.split(".")[0]] += layer.cost.macs
    rows = []
    for name, layer in net.children().items():
        weights = sum(array.size for _, array in layer.named_params() if array.ndim > 1)
        rows.append((name, weights, biases(layer), batch_norm_parameters(layer), macs[name]))
    assert rows == TABLE_1


def test_macs_by_type_of_operation():
    kinds = {
        "stem": 5_419_008, "primary": 101_305_344, "cheap": 12_390_336, "depthwise": 4_012_512, "squeeze": 1_498_944,
        "shortcut": 6_489_168, "conv": 7_526_400, "pointwise": 1_228_800, "linear": 1_280_000,
    }  # fmt: skip
    found = Counter()
    for layer in costs.count(models.ghostnet(**seeded()), (1, 3, 224, 224)).layers:
        path = layer.layer
        words = ["shortcut", "squeeze", "primary", "cheap"]
        other = path.split(".")[0 if path.startswith(("stem", "conv")) else -1]
        found[next((word for word in words if word in path), other)] += layer.cost.macs
    assert {kind: macs for kind, macs in found.items() if macs} == kinds


# MACs, weights, biases, batch norm parameters, all parameters, parameters with batch norm folded away
TOTALS = {
    (0.5, "torch"): (42_328_152, 2_571_564, 4_744, 10_984, 2_587_292, 2_581_800),
    (0.5, "tensorflow"): (42_327_816, 2_571_228, 3_460, 13_544, 2_588_232, 2_581_460),
    (1, "torch"): (141_150_512, 5_153_336, 7_204, 21_968, 5_182_508, 5_171_524),
    (1, "tensorflow"): (141_149_744, 5_152_568, 5_920, 24_528, 5_183_016, 5_170_752),
    (1.1, "torch"): (166_986_864, 5_823_774, 7_692, 24_184, 5_855_650, 5_843_558),
    (1.1, "tensorflow"): (164_483_640, 5_825_298, 6_415, 26_696, 5_858_409, 5_845_061),
    (1.3, "torch"): (227_003_256, 7_321_608, 8_676, 28_536, 7_358_820, 7_344_552),
    (1.3, "tensorflow"): (226_995_784, 7_314_136, 7_390, 31_096, 7_352_622, 7_337_074),
}


@pytest.mark.parametrize(("width", "variant"), TOTALS)
def test_totals(width, variant):
    net = models.ghostnet(width, variant=variant, **seeded())
    cost = costs.count(net, (1, 3, 224, 224))
    found = cost.macs, cost.weights, biases(net), batch_norm_parameters(net), cost.parameters, cost.folded_parameters
    assert found == TOTALS[width, variant]


def test_convolutions_alone():
    """Half of the FLOPs that others count in GhostNet 1.0 without its classifier."""
    assert costs.count(models.ghostnet(**seeded()), (1, 3, 224, 224)).conv_macs == 139_870_512


def test_channel_rules():
    """The two rules differ at width 1.1 in table 1's 24 and 184, and nowhere at 0.5, 1 and 1.3."""
    table = {16, 48, 24, 72, 40, 120, 240, 80, 200, 184, 480, 112, 672, 160, 960}
    for width in (0.5, 1, 1.3):
        assert not [c for c in table if ghostnet_channels(c, width) != ghostnet_channels(c, width, "tensorflow")]
    assert [ghostnet_channels(c, 1.1) for c in (24, 72, 184)] == [28, 80, 204]
    assert [ghostnet_channels(c, 1.1, "tensorflow") for c in (24, 72, 184)] == [24, 80, 200]


# --- behaviour ---------------------------------------------------------------------------------------------------

every_variant = pytest.mark.parametrize("variant", ["torch", "tensorflow"])


@every_variant
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 40)])
def test_shapes(variant, size):
    net = models.ghostnet(0.1, 7, 2, variant=variant, **seeded())
    x = images(2, 2, *size)
    y = net(x)
    assert (y.shape, y.dtype) == ((2, 7), np.float32)
    assert np.isfinite(y).all()
    dx = net.backward(y)
    assert (dx.shape, dx.dtype) == (x.shape, np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("variant", "ratio"), [("torch", 2), ("tensorflow", 2), ("torch", 3)])
def test_gradients_along_random_directions(variant, ratio, training):
    net = models.ghostnet(0.2, 5, 2, variant=variant, ratio=ratio, dropout=0, dtype=np.float64, **seeded())
    for name, array in net.named_params():
        if name.endswith("gate.expand.b") and variant == "tensorflow":
            array += 0.5  # the middle of the clip, where gates have a slope
    check_slopes(net, images(6, 2, 40, 36, dtype=np.float64), np.array([0, 4, 2, 2, 1, 3]), training)


@pytest.mark.slow
@every_variant
def test_modes(variant):
    check_modes(models.ghostnet(0.2, 7, variant=variant, **seeded()), images(8, 3, 32, 32))
    check_modes(models.ghostnet(0.2, 7, variant=variant, dropout=0, **seeded()), images(8, 3, 32, 32))


def test_the_variants_differ_in_squeeze_and_excite_and_in_the_head():
    torch, tensorflow = (models.ghostnet(variant=variant, **seeded()) for variant in ("torch", "tensorflow"))
    reduced = [
        [layer.reduced for _, layer in net.named_layers() if isinstance(layer, nn.SqueezeExcite)]
        for net in (torch, tensorflow)
    ]
    assert reduced == [[20, 32, 120, 168, 168, 240, 240], [18, 30, 120, 168, 168, 240, 240]]
    heads = [
        [type(layer).__name__ for layer in net.children()["head"].children().values()] for net in (torch, tensorflow)
    ]
    assert heads[0] == ["GlobalAvgPool2d", "PointwiseConv2d", "ReLU", "Flatten", "Dropout", "Linear"]
    assert heads[1] == ["GlobalAvgPool2d", "PointwiseConv2d", "BatchNorm2d", "ReLU", "Flatten", "Dropout", "Linear"]
    assert [net.children()["head"].children()["pointwise"].bias for net in (torch, tensorflow)] == [True, False]


def test_the_gates():
    """A hard sigmoid in one variant, the expansion itself clipped to [0, 1] in the other."""
    x = 3 * images(2, 16, 5, 4, dtype=np.float64)
    for variant, gate in (
        ("torch", lambda v: np.clip((v + 3) / 6, 0, 1)),
        ("tensorflow", lambda v: np.clip(v, 0, 1)),
    ):
        block = models.ghost_bottleneck(8, 16, 8, squeeze_excite=True, variant=variant, dtype=np.float64, **seeded())
        layer = block.children()["main"].children()["squeeze_excite"]
        reduce, expand = layer.gate.children()["reduce"].params, layer.gate.children()["expand"].params
        hidden = np.maximum(x.mean(axis=(2, 3)) @ reduce["w"][:, :, 0, 0].T + reduce["b"], 0)
        v = hidden @ expand["w"][:, :, 0, 0].T + expand["b"]
        np.testing.assert_allclose(layer(x), x * gate(v)[:, :, None, None], rtol=1e-12, atol=1e-12)


def test_the_gradient_of_the_clipped_gate():
    rng = np.random.default_rng(3)
    layer = models.ghost_bottleneck(
        4, 8, 4, squeeze_excite=True, variant="tensorflow", dtype=np.float64, **seeded()
    ).children()["main"].children()["squeeze_excite"]  # fmt: skip
    layer.gate.children()["expand"].params["b"][...] = 0.5  # in the middle of the clip

    def backward(dy, x):
        layer(x)
        return layer.backward(dy)

    x, dy = rng.standard_normal((2, 8, 3, 3)), rng.standard_normal((2, 8, 3, 3))
    assert len(np.unique(layer.gate(x))) > 2  # not all clipped
    check_gradients(layer, backward, (x,), dy, step=1e-6, rtol=1e-6, rng=rng)


def test_options_reach_every_layer():
    net = models.ghostnet(0.2, ratio=3, dropout=0.125, dtype=np.float64, **seeded())
    layers = [layer for _, layer in net.named_layers()]
    assert [layer.ratio for layer in layers if isinstance(layer, nn.GhostModule)] == [3] * 32
    assert [layer.rate for layer in layers if isinstance(layer, nn.Dropout)] == [0.125]
    assert {array.dtype for array in net.state().values()} == {np.dtype(np.float64)}


def test_the_docstring_names_the_parts():
    lines = inspect.getdoc(models.ghostnet).splitlines()
    for part in models.ghostnet(**seeded()).children():
        assert any(line.startswith(f"{part} ") for line in lines), part


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"width": 0}, ValueError, "width must be finite and above 0, got width=0"),
        ({"variant": "jax"}, ValueError, "variant must be 'torch' or 'tensorflow', got 'jax'"),
        ({"ratio": 0}, ValueError, "ratio must be at least 1, got ratio=0"),
        ({"dropout": 1}, ValueError, r"dropout must be in \[0, 1\), got dropout=1"),
        ({"num_classes": 0}, ValueError, "num_classes must be at least 1, got num_classes=0"),
        ({"in_channels": 0}, ValueError, "in_channels must be at least 1, got in_channels=0"),
        ({"rng": 0}, TypeError, "rng must be a numpy.random.Generator, got int"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        models.ghostnet(**{"width": 0.1} | seeded() | arguments)


def test_an_unknown_variant_of_a_bottleneck():
    with pytest.raises(ValueError, match="variant must be 'torch' or 'tensorflow', got 'jax'"):
        models.ghost_bottleneck(8, 16, 8, variant="jax", **seeded())
