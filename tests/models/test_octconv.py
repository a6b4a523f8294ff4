"""Octave networks against the paper's tables, arXiv 1904.05049, counted with the rules of the authors' code."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from networks import batch_norm_parameters, biases, blank, check_modes, check_slopes, images, seeded

import npconv
from npconv import costs, models, nn
from npconv.models.resnet import BLOCKS

IMAGE = (1, 3, 224, 224)


# --- costs -------------------------------------------------------------------------------------------------------

# depth: weights, and by alpha the MACs of convolutions and the linear layer
OCT_RESNET = {
    26: (15_963_328, {
        0: 2_342_256_640, 0.125: 2_086_961_152, 0.25: 1_858_158_592, 0.5: 1_480_032_256, 0.75: 1_207_877_632,
    }),
    50: (25_502_912, {
        0: 4_089_184_256, 0.125: 3_565_196_288, 0.25: 3_103_526_912, 0.5: 2_367_143_936, 0.75: 1_880_035_328,
    }),
    101: (44_442_816, {
        0: 7_801_405_440, 0.125: 6_624_878_592, 0.25: 5_597_675_520, 0.5: 3_991_240_704, 0.75: 2_982_100_992,
    }),
    152: (60_040_384, {
        0: 11_513_626_624, 0.125: 9_684_560_896, 0.25: 8_091_824_128, 0.5: 5_615_337_472, 0.75: 4_084_166_656,
    }),
    200: (64_496_832, {
        0: 15_007_481_856, 0.125: 12_564_261_888, 0.25: 10_439_258_112, 0.5: 7_143_899_136, 0.75: 5_121_404_928,
    }),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "alpha", "macs"), [(d, alpha, macs) for d, (_, row) in OCT_RESNET.items() for alpha, macs in row.items()]
)
def test_oct_resnet(depth, alpha, macs):
    cost = costs.count(models.oct_resnet(depth, alpha, **blank()), IMAGE)
    assert (cost.macs, cost.weights) == (macs, OCT_RESNET[depth][0])


@pytest.mark.parametrize(
    ("depth", "alpha", "macs", "weights"),
    [
        (50, 0, 4_230_479_872, 24_959_680),
        (50, 0.25, 3_170_988_544, 24_959_680),
        (50, 0.5, 2_386_511_872, 24_959_680),
        (50, 0.75, 1_877_049_856, 24_959_680),
        (101, 0, 7_969_996_800, 44_038_848),
        (101, 0.25, 5_683_476_480, 44_038_848),
        (101, 0.5, 4_022_550_528, 44_038_848),
        (101, 0.75, 2_987_218_944, 44_038_848),
    ],
)
def test_oct_resnext(depth, alpha, macs, weights):
    cost = costs.count(models.oct_resnext(depth, alpha, **blank()), IMAGE)
    assert (cost.macs, cost.weights) == (macs, weights)


@pytest.mark.parametrize("alpha", [0, 0.125, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_no_alpha_changes_the_parameters(alpha, version):
    net = models.oct_resnet(50, alpha, version=version, **blank())
    counts = net.parameter_count() - batch_norm_parameters(net), biases(net)
    assert counts == (25_503_912, 1_000)
    if version == "v1":
        assert (batch_norm_parameters(net), net.parameter_count()) == (53_120, 25_557_032)


# ResNet-50, stage by stage, for alpha 0, 0.125, 0.25, 0.5 and 0.75
STAGES = {
    "stem": (118_013_952,) * 5,
    "stage1": (667_942_912, 555_799_552, 457_805_824, 304_267_264, 207_327_232),
    "stage2": (1_027_604_480, 864_883_712, 721_129_472, 490_520_576, 335_777_792),
    "stage3": (1_464_336_384, 1_224_846_336, 1_014_558_720, 681_590_784, 465_432_576),
    "stage4": (809_238_528, 799_604_736, 789_970_944, 770_703_360, 751_435_776),
    "head": (2_048_000,) * 5,
}


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_oct_resnet_50_by_stage(version):
    for place, alpha in enumerate((0, 0.125, 0.25, 0.5, 0.75)):
        net = models.oct_resnet(50, alpha, version=version, **blank())
        macs = dict.fromkeys(net.children(), 0)
        for layer in costs.count(net, IMAGE).layers:
            macs[layer.layer.split(".")[0]] += layer.cost.macs
        macs.pop("last", None)  # a batch norm
        assert macs == {stage: row[place] for stage, row in STAGES.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("squeeze_excite", "macs", "weights"), [(False, 10_819_341_312, 60_069_336), (True, None, 66_647_512)]
)
def test_the_large_network(squeeze_excite, macs, weights):
    cost = costs.count(models.oct_resnet152_v1f(squeeze_excite=squeeze_excite, **blank()), IMAGE)
    assert cost.weights == weights
    assert macs is None or cost.macs == macs


# width, alpha: MACs, taps of average pools, weights
OCT_MOBILENET = {
    (0.75, 0): (325_400_448, 0, 2_568_144),
    (0.75, 0.375): (211_379_016, 1_768_704, 2_568_144),
    (1, 0): (568_740_352, 0, 4_209_088),
    (1, 0.125): (492_549_664, 2_960_384, 4_209_088),
    (1, 0.25): (425_390_656, 2_659_328, 4_209_088),
    (1, 0.5): (318_167_680, 2_057_216, 4_209_088),
    (1, 0.75): (247_071_424, 1_455_104, 4_209_088),
}


@pytest.mark.parametrize(("width", "alpha"), OCT_MOBILENET)
def test_oct_mobilenet(width, alpha):
    """The taps are those of the pools before convolutions: so they say that block12, of plain maps, is pooled first too."""
    cost = costs.count(models.oct_mobilenet_v1(width, alpha, **blank()), IMAGE)
    taps = sum(prod(call.in_shape) for call in cost.calls if call.primitive == "avg_pool2d")
    assert (cost.macs, taps, cost.weights) == OCT_MOBILENET[width, alpha]
    if width == 1:
        assert cost.parameters == 4_231_976


def low_paths(in_channels, out_channels, size, macs):
    """Those of one layer at the low resolution: what is added to the high map, and both that make the low one."""
    return [(in_channels, out_channels, size, macs)] * 3


# 1.0 Oct-MobileNet V1 at alpha 0.5: input channels, output channels, output's size and MACs of each path
PATHS = {
    "stem.conv": [(3, 32, 112, 10_838_016)],
    "block1.depthwise": [(32, 32, 112, 3_612_672)],
    "block1.pointwise": [(32, 32, 112, 12_845_056), (32, 32, 56, 3_211_264)],
    "block2.depthwise": [(32, 32, 56, 903_168), (32, 32, 28, 225_792)],
    "block2.pointwise": [(32, 64, 56, 6_422_528), *low_paths(32, 64, 28, 1_605_632)],
    "block3.depthwise": [(64, 64, 56, 1_806_336), (64, 64, 28, 451_584)],
    "block3.pointwise": [(64, 64, 56, 12_845_056), *low_paths(64, 64, 28, 3_211_264)],
    "block4.depthwise": [(64, 64, 28, 451_584), (64, 64, 14, 112_896)],
    "block4.pointwise": [(64, 128, 28, 6_422_528), *low_paths(64, 128, 14, 1_605_632)],
    "block5.depthwise": [(128, 128, 28, 903_168), (128, 128, 14, 225_792)],
    "block5.pointwise": [(128, 128, 28, 12_845_056), *low_paths(128, 128, 14, 3_211_264)],
    "block6.depthwise": [(128, 128, 14, 225_792), (128, 128, 7, 56_448)],
    "block6.pointwise": [(128, 256, 14, 6_422_528), *low_paths(128, 256, 7, 1_605_632)],
    **{
        f"block{place}.{part}": rows
        for place in (7, 8, 9, 10)
        for part, rows in {
            "depthwise": [(256, 256, 14, 451_584), (256, 256, 7, 112_896)],
            "pointwise": [(256, 256, 14, 12_845_056), *low_paths(256, 256, 7, 3_211_264)],
        }.items()
    },
    "block11.depthwise": [(256, 256, 14, 451_584), (256, 256, 7, 112_896)],
    "block11.pointwise": [(256, 512, 14, 25_690_112), (256, 512, 7, 6_422_528)],
    "block12.depthwise": [(512, 512, 7, 225_792)],
    "block12.pointwise": [(512, 1024, 7, 25_690_112)],
    "block13.depthwise": [(1024, 1024, 7, 451_584)],
    "block13.pointwise": [(1024, 1024, 7, 51_380_224)],
}


def test_oct_mobilenet_path_by_path():
    counted = {}
    for layer in costs.count(models.oct_mobilenet_v1(**blank()), IMAGE).layers:
        rows = [
            (call.in_shape[1], call.out_shape[1], call.out_shape[2], call.cost.macs)
            for call in layer.calls
            if "conv2d" in call.primitive
        ]
        if rows:
            counted[layer.layer] = sorted(rows)
    assert counted == {layer: sorted(paths) for layer, paths in PATHS.items()}


@pytest.mark.slow
def test_squeeze_excite_of_an_octave_map_costs_that_of_a_plain_one():
    """The two means are read by one gate: the extra MACs and parameters are those of SE-ResNet."""
    octave = [
        costs.count(models.oct_resnet(50, 0.5, squeeze_excite=squeeze_excite, **blank()), IMAGE)
        for squeeze_excite in (False, True)
    ]
    plain = [
        costs.count(models.resnet(50, version="v2", squeeze_excite=squeeze_excite, **blank()), IMAGE)
        for squeeze_excite in (False, True)
    ]
    for count in ("macs", "weights", "parameters"):
        without, with_it = (getattr(cost, count) for cost in octave)
        plain_without, plain_with_it = (getattr(cost, count) for cost in plain)
        assert with_it - without == plain_with_it - plain_without > 0


# --- behaviour ---------------------------------------------------------------------------------------------------

NARROW = {
    "v2": lambda **k: models.oct_resnet(26, 0.5, 5, channels=8, **k),
    "v1": lambda **k: models.oct_resnet(26, 0.25, 5, channels=8, version="v1", **k),
    "groups": lambda **k: models.oct_resnet(26, 0.5, 5, channels=16, groups=4, group_width=16, **k),
    "squeeze and excite": lambda **k: models.oct_resnet(26, 0.5, 5, channels=8, squeeze_excite=True, **k),
    "strided": lambda **k: models.oct_resnet(26, 0.5, 5, channels=8, stride_mode="conv", **k),
    "mobilenet": lambda **k: models.oct_mobilenet_v1(0.1, 0.5, 5, **k),
}
every_network = pytest.mark.parametrize("name", NARROW)


@pytest.mark.slow
@every_network
@pytest.mark.parametrize("training", [True, False])
def test_gradients_along_random_directions(name, training):
    net = NARROW[name](dtype=np.float64, **seeded())
    check_slopes(net, images(4, 3, 45, 38, dtype=np.float64), np.array([0, 4, 2, 2]), training)


@every_network
@pytest.mark.parametrize("size", [(32, 32), (45, 38)])
def test_shapes(name, size):
    net = NARROW[name](**seeded())
    x = images(2, 3, *size)
    y = net(x)
    assert (y.shape, y.dtype) == ((2, 5), np.float32)
    dx = net.backward(y)
    assert (dx.shape, dx.dtype) == (x.shape, np.float32)


@pytest.mark.slow
@every_network
def test_modes(name):
    check_modes(NARROW[name](**seeded()), images(4, 3, 32, 32))


@pytest.mark.slow
def test_the_large_network_runs():
    net = models.oct_resnet152_v1f(0.125, 5, squeeze_excite=True, **blank()).eval()
    x = images(1, 3, 32, 32)
    y = net(x)
    assert y.shape == (1, 5)
    assert net.backward(y).shape == x.shape


@pytest.mark.slow
@pytest.mark.parametrize("squeeze_excite", [False, True])
@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_the_large_network(monkeypatch, squeeze_excite, training):
    """With few of its blocks, but each kind: stem, first block, strided blocks and plain ones, and the door of stage 4."""
    monkeypatch.setitem(BLOCKS, 152, (1, 2, 2, 1))
    net = models.oct_resnet152_v1f(0.125, 5, squeeze_excite=squeeze_excite, dtype=np.float64, **seeded())
    check_slopes(net, images(4, 3, 32, 32, dtype=np.float64), np.array([0, 4, 2, 2]), training)


def test_alpha_0_is_the_plain_network():
    x = images(2, 3, 40, 40, dtype=np.float64)
    options = {"version": "v2", "channels": 8, "dtype": np.float64}
    octave = models.oct_resnet(26, 0, 5, **options, **seeded())
    plain = models.resnet(26, 5, **options, **seeded())
    np.testing.assert_array_equal(octave(x), plain(x))


def test_where_the_low_frequency_lives():
    net = models.oct_resnet(26, 0.25, 5, channels=8, **seeded())
    x = images(1, 3, 64, 64)
    shapes = {}
    for part, layer in net.children().items():
        x = layer(x)
        shapes[part] = tuple(np.shape(frequency) for frequency in x) if isinstance(x, npconv.OctaveMap) else x.shape
    assert shapes == {
        "stem": (1, 8, 16, 16),
        "stage1": ((1, 24, 16, 16), (1, 8, 8, 8)),
        "stage2": ((1, 48, 8, 8), (1, 16, 4, 4)),
        "stage3": ((1, 96, 4, 4), (1, 32, 2, 2)),
        "stage4": (1, 256, 2, 2),
        "last": (1, 256, 2, 2),
        "head": (1, 5),
    }


def test_the_last_stage_has_octave_layers_only_at_its_door():
    net = models.oct_resnet(26, 0.25, 5, channels=8, **seeded())
    octave = {
        path: (layer.alpha_in, layer.alpha_out, layer.stride)
        for path, layer in net.named_layers()
        if path.startswith("stage4.") and isinstance(layer, nn.OctaveConv2d)
    }
    assert octave == {
        "stage4.0.sum.main.conv1": (0.25, 0, 1),
        "stage4.0.sum.main.conv2": (0, 0, 2),  # pools first, as the octave convolutions of stride 2 do
        "stage4.0.sum.shortcut.conv": (0.25, 0, 2),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": 1.5}, r"alpha must be in \[0, 1\], got alpha=1.5"),
        ({"depth": 18}, "depth must be one of 26, 50, 101, 152, 200, got 18"),
        ({"version": "v3"}, "version must be 'v1' or 'v2', got 'v3'"),
        ({"num_classes": 0}, "num_classes must be at least 1, got num_classes=0"),
        ({"in_channels": 0}, "in_channels must be at least 1, got in_channels=0"),
        ({"stride_mode": "max"}, "stride_mode must be 'pool' or 'conv', got 'max'"),
        ({"groups": 32, "group_width": 4, "channels": 64, "alpha": 0.125}, "stage1.0.sum.main.conv2: path h"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.oct_resnet(**{"depth": 26, "channels": 8} | blank() | arguments)
