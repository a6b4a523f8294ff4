"""ShuffleNet V1 against the paper's tables: arXiv 1707.01083."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from networks import batch_norm_parameters, biases, check_modes, check_slopes, images, layer_table, seeded

import npconv
from npconv import costs, models, nn


def at_224(net):
    return costs.count(net, (1, 3, 224, 224))


# --- costs -------------------------------------------------------------------------------------------------------

# Table 1. By groups: channels of stage 2; (weights, MACs) of the first unit and of each other unit of stages 2, 3 and 4;
# of the classifier; conv MACs, all MACs, weights, batch norm parameters, all parameters.
TABLE_1 = {
    1: (144, [(5_508, 6_350_400), (10_692, 8_382_528), (21_384, 10_287_648), (42_120, 8_255_520), (84_240, 10_224_144), (167_184, 8_192_016)],
        576_000, (142_502_976, 143_078_976, 1_516_248, 14_688, 1_531_936)),
    2: (200, [(6_050, 7_565_600), (10_450, 8_192_800), (20_900, 9_976_400), (40_900, 8_016_400), (81_800, 9_888_200), (161_800, 7_928_200)],
        800_000, (140_036_512, 140_836_512, 1_712_448, 20_400, 1_733_848)),
    3: (240, [(6_300, 8_326_080), (10_140, 7_949_760), (20_280, 9_619_680), (39_480, 7_738_080), (78_960, 9_513_840), (155_760, 7_632_240)],
        960_000, (136_500_672, 137_460_672, 1_840_248, 24_480, 1_865_728)),
    4: (272, [(6_460, 8_903_104), (9_860, 7_730_240), (19_720, 9_302_944), (38_216, 7_490_336), (76_432, 9_182_992), (150_416, 7_370_384)],
        1_088_000, (133_251_776, 134_339_776, 1_939_600, 27_744, 1_968_344)),
    8: (384, [(7_488, 11_289_600), (10_080, 7_902_720), (20_160, 9_370_368), (38_592, 7_564_032), (77_184, 9_201_024), (150_912, 7_394_688)],
        1_536_000, (136_829_952, 138_365_952, 2_394_600, 39_168, 2_434_768)),
}  # fmt: skip
REPEATS = (4, 8, 4)


@pytest.mark.parametrize("groups", TABLE_1)
def test_table_1_unit_by_unit(groups):
    stage2, units, classifier, totals = TABLE_1[groups]
    net = models.shufflenet_v1(groups, **seeded())
    table = layer_table(net, (1, 3, 224, 224))
    assert table[0] == ("stem.conv", 112, 112, 648, 8_128_512)
    assert table[-1] == ("head.linear", classifier, classifier)
    found = {}
    for path, height, width, weights, macs in table[1:-1]:
        stage, place, *_ = path.split(".")
        so_far = found.get((stage, place), (0, 0, 0, 0))
        found[stage, place] = (height, width, so_far[2] + weights, so_far[3] + macs)
    expected = {}
    for stage, repeat in enumerate(REPEATS):
        for place in range(repeat):
            size = 28 // 2**stage
            expected[f"stage{stage + 2}", str(place)] = (size, size, *units[2 * stage + (place > 0)])
    assert found == expected
    cost = at_224(net)
    assert (cost.conv_macs, cost.macs, cost.weights, batch_norm_parameters(net), cost.parameters) == totals
    assert biases(net) == 1_000
    assert [net.children()[f"stage{2 + i}"](images(1, c, 8, 8)).shape[1] for i, c in enumerate((24, stage2, 2 * stage2))] == [
        stage2, 2 * stage2, 4 * stage2,
    ]  # fmt: skip


def test_table_1_of_three_groups_layer_by_layer():
    """The first unit of stage 2, whose first convolution is not grouped, the first of stage 3, and one that keeps the size."""
    table = {path: tuple(rest) for path, *rest in layer_table(models.shufflenet_v1(3, **seeded()), (1, 3, 224, 224))}
    main = {"stage2.0": "concat.main", "stage2.1": "sum.main", "stage3.0": "concat.main"}
    layers = {
        f"{unit}.{part}.{layer}": table[f"{unit}.{part}.{layer}"]
        for unit, part in main.items()
        for layer in ("compress", "depthwise", "expand")
    }
    assert layers == {
        "stage2.0.concat.main.compress": (56, 56, 24 * 60, 56**2 * 24 * 60),
        "stage2.0.concat.main.depthwise": (28, 28, 9 * 60, 28**2 * 9 * 60),
        "stage2.0.concat.main.expand": (28, 28, 60 * 216 // 3, 28**2 * 60 * 216 // 3),
        "stage2.1.sum.main.compress": (28, 28, 240 * 60 // 3, 28**2 * 240 * 60 // 3),
        "stage2.1.sum.main.depthwise": (28, 28, 9 * 60, 28**2 * 9 * 60),
        "stage2.1.sum.main.expand": (28, 28, 60 * 240 // 3, 28**2 * 60 * 240 // 3),
        "stage3.0.concat.main.compress": (28, 28, 240 * 120 // 3, 28**2 * 240 * 120 // 3),
        "stage3.0.concat.main.depthwise": (14, 14, 9 * 120, 14**2 * 9 * 120),
        "stage3.0.concat.main.expand": (14, 14, 120 * 240 // 3, 14**2 * 120 * 240 // 3),
    }


@pytest.mark.parametrize("groups", TABLE_1)
def test_there_are_50_layers(groups):
    """Section 3.2: the first convolution, three in each of 16 units, and the classifier; 26 in the shallow network."""
    assert len(layer_table(models.shufflenet_v1(groups, **seeded()), (1, 3, 64, 64))) == 50
    assert len(layer_table(models.shufflenet_v1(groups, shallow=True, **seeded()), (1, 3, 64, 64))) == 26


@pytest.mark.parametrize(("groups", "macs"), [(2, 138_954_912), (3, 134_450_112), (4, 130_501_312), (8, 132_043_776)])
def test_the_published_cost_needs_a_first_convolution_that_is_not_grouped(groups, macs):
    unit = {"groups": groups, "stride": 2} | seeded()
    stage2 = TABLE_1[groups][0]
    free, grouped = (
        costs.count(models.shuffle_unit(24, stage2, group_first=first, **unit), (1, 24, 56, 56)).macs
        for first in (False, True)
    )
    assert at_224(models.shufflenet_v1(groups, **seeded())).macs - free + grouped == macs


# Scaled widths. Arguments: conv MACs, all MACs, all parameters, None where no such number is published.
SCALED = [
    ((3, 2), {}, 522_125_184, 524_045_184, 5_450_776),
    ((3, 2), {"fc_bias": False}, 522_125_184, 524_045_184, 5_449_776),
    ((8, 2), {"fc_bias": False}, 518_870_016, 521_942_016, 6_521_232),
    ((3, 2), {"squeeze_excite": True}, None, 526_925_184, None),
    ((3, 1.5), {"fc_bias": False}, 291_003_552, 292_443_552, 3_441_168),
    ((8, 1.5), {"fc_bias": False}, 287_884_800, 290_188_800, 4_268_952),
    ((3, 1), {"fc_bias": False}, 136_500_672, 137_460_672, 1_864_728),
    ((8, 1), {"fc_bias": False}, 136_829_952, 138_365_952, 2_433_768),
    ((1, 0.5), {}, 38_229_408, 38_517_408, 534_484),
    ((3, 0.5), {}, 37_109_856, 37_589_856, 718_324),
    ((3, 0.5), {"fc_bias": False}, 37_109_856, 37_589_856, 717_324),
    ((8, 0.5), {"fc_bias": False}, 39_701_760, 40_469_760, 1_010_448),
    ((1, 0.25), {}, 10_859_184, 11_003_184, 209_746),
    ((1, 0.25), {"stem_channels": 12}, 13_018_320, 13_162_320, None),
    ((3, 0.25), {}, 10_769_808, 11_009_808, 305_902),
    ((3, 0.25), {"stem_channels": 12}, 13_060_656, 13_300_656, None),
    ((8, 0.25), {}, 12_042_240, 12_426_240, 454_504),
    ((1, 0.75), {}, 82_110_672, 82_542_672, 975_214),
    ((3, 0.75), {}, 79_020_144, 79_740_144, 1_238_266),
    ((3, 0.75), {"shallow": True, "stem_channels": 12}, None, 41_634_216, None),
    ((3, 0.5), {"shallow": True}, None, 21_584_496, None),
    ((4, 144 / 272), {"stem_channels": 12}, 40_134_528, 40_710_528, 835_984),
    ((4, 144 / 272), {"stem_channels": 24}, 45_468_864, 46_044_864, 836_632),
]


@pytest.mark.parametrize(("sizes", "options", "conv_macs", "macs", "parameters"), SCALED)
def test_scaled_widths(sizes, options, conv_macs, macs, parameters):
    cost = at_224(models.shufflenet_v1(*sizes, **options, **seeded()))
    assert cost.macs == macs
    if conv_macs:
        assert cost.conv_macs == conv_macs
    if parameters:
        assert cost.parameters == parameters


def test_shuffling_costs_nothing():
    costs_of = [at_224(models.shufflenet_v1(3, shuffle=shuffle, **seeded())) for shuffle in (True, False, "inverse")]
    assert len({(cost.macs, cost.parameters) for cost in costs_of}) == 1


# --- behaviour ---------------------------------------------------------------------------------------------------

# The narrowest network of each number of groups: four channels to a bottleneck, or one to each of its groups.
NARROW = {1: 16 / 144, 2: 16 / 200, 3: 24 / 240, 4: 16 / 272, 8: 32 / 384}
every_groups = pytest.mark.parametrize("groups", NARROW)


@every_groups
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 40)])
def test_shapes(groups, size):
    net = models.shufflenet_v1(groups, NARROW[groups], 7, 2, **seeded())
    x = images(2, 2, *size)
    y = net(x)
    assert (y.shape, y.dtype) == ((2, 7), np.float32)
    assert np.isfinite(y).all()
    dx = net.backward(y)
    assert (dx.shape, dx.dtype) == (x.shape, np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("groups", "options"),
    [
        *((groups, {}) for groups in NARROW),
        (3, {"squeeze_excite": True, "reduction": 2, "fc_bias": False}),
        (2, {"shuffle": False, "shallow": True}),
        (4, {"shuffle": "inverse", "shallow": True}),
    ],
)
def test_gradients_along_random_directions(groups, options, training):
    net = models.shufflenet_v1(groups, NARROW[groups], 5, 2, dtype=np.float64, **options, **seeded())
    check_slopes(net, images(6, 2, 40, 36, dtype=np.float64), np.array([0, 4, 2, 2, 1, 3]), training)


@pytest.mark.parametrize("squeeze_excite", [False, True])
def test_modes(squeeze_excite):
    check_modes(models.shufflenet_v1(3, 0.1, 7, squeeze_excite=squeeze_excite, **seeded()), images(8, 3, 32, 32))


def test_without_shuffle_the_groups_of_a_unit_never_meet():
    x = images(1, 32, 5, 5)
    other = x.copy()
    other[:, 16:] = images(1, 16, 5, 5, seed=2)
    met = []
    for shuffle in (True, False):
        unit = models.shuffle_unit(32, 32, groups=2, shuffle=shuffle, **seeded()).eval()
        met.append(bool((unit(x)[:, :16] != unit(other)[:, :16]).any()))
    assert met == [True, False]


@pytest.mark.parametrize("groups", [1, 2, 3, 4])
def test_the_inverse_shuffle_is_that_of_the_authors_code(groups):
    """There the channels are reshaped to (n, groups) and transposed; of 12 in 3 groups 0, 3, 6, 9, 1, ... come out."""
    unit = models.shuffle_unit(48, 48, groups=groups, shuffle="inverse", **seeded())
    shuffle = dict(unit.named_layers())["sum.main.shuffle"]
    x = np.arange(12.0).reshape(1, 12, 1, 1)
    order = shuffle(x).ravel().tolist()
    assert order == np.arange(12).reshape(12 // groups, groups).T.ravel().tolist()
    np.testing.assert_array_equal(npconv.channel_shuffle(shuffle(x), groups), x)
    if groups == 3:
        assert order == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]


def layers_of(net, kind):
    return [layer for _, layer in net.named_layers() if isinstance(layer, kind)]


def test_options_reach_every_unit():
    net = models.shufflenet_v1(2, 0.16, squeeze_excite=True, reduction=8, dtype=np.float64, **seeded())
    assert [gate.reduced for gate in layers_of(net, nn.SqueezeExcite)] == [4] * 4 + [8] * 8 + [16] * 4
    assert [shuffle.groups for shuffle in layers_of(net, nn.ChannelShuffle)] == [2] * 16
    assert {array.dtype for array in net.state().values()} == {np.dtype(np.float64)}
    assert not layers_of(models.shufflenet_v1(2, 0.16, shuffle=False, **seeded()), nn.ChannelShuffle)
    inverse = layers_of(models.shufflenet_v1(2, 0.16, shuffle="inverse", **seeded()), nn.ChannelShuffle)
    assert [shuffle.groups for shuffle in inverse] == [4] * 4 + [8] * 8 + [16] * 4  # of 8, 16 and 32 channels


def test_squeeze_and_excite_scales_what_the_unit_would_give():
    x = images(2, 16, 6, 6)
    plain = models.shuffle_unit(16, 32, groups=2, stride=2, **seeded())
    unit = models.shuffle_unit(16, 32, groups=2, stride=2, squeeze_excite=True, reduction=4, **seeded())
    y, gate = plain(x), unit.children()["squeeze_excite"].gate
    np.testing.assert_array_equal(unit(x), y * gate(y))


def test_the_docstring_names_the_parts():
    lines = inspect.getdoc(models.shufflenet_v1).splitlines()
    for part in models.shufflenet_v1(**seeded()).children():
        assert any(line.startswith(f"{part} ") for line in lines), part


@pytest.mark.parametrize("groups", TABLE_1)
@pytest.mark.parametrize("scale", [0.25, 0.5, 0.75, 1, 1.5, 2])
def test_every_scale_is_built_or_refused(groups, scale):
    """Refused is what no bottleneck of a quarter of the channels can be grouped for."""
    if TABLE_1[groups][0] * scale % (4 * groups):
        with pytest.raises(
            ValueError, match=rf"scale must make the {TABLE_1[groups][0]} channels of stage 2 a multiple"
        ):
            models.shufflenet_v1(groups, scale, **seeded())
    else:
        assert at_224(models.shufflenet_v1(groups, scale, **seeded())).macs


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"groups": 5}, ValueError, "groups must be 1, 2, 3, 4 or 8, got groups=5"),
        ({"groups": 3.0}, TypeError, "groups must be an integer, got 3.0"),
        ({"scale": -1}, ValueError, "scale must be finite and above 0, got scale=-1"),
        ({"scale": 1e-9}, ValueError, "got scale=1e-09, groups=3: 0 channels"),
        ({"groups": 2, "scale": 0.5}, ValueError, r"scale must make the 200 channels of stage 2 a multiple of 4 \* groups, got scale=0.5, groups=2: 100 channels"),
        ({"groups": 8, "scale": 0.5, "stem_channels": 12}, ValueError, "stem_channels must be a multiple of groups=8 below the 192 channels of stage 2, got stem_channels=12"),
        ({"stem_channels": 24}, ValueError, "stem_channels must be a multiple of groups=3 below the 24 channels of stage 2, got stem_channels=24"),
        ({"stem_channels": 0}, ValueError, "stem_channels must be at least 1, got stem_channels=0"),
        ({"shuffle": "paper"}, ValueError, "shuffle must be True, False or 'inverse', got shuffle='paper'"),
        ({"reduction": 0}, ValueError, "reduction must be at least 1, got reduction=0"),
        ({"num_classes": 0}, ValueError, "num_classes must be at least 1, got num_classes=0"),
        ({"in_channels": 0}, ValueError, "in_channels must be at least 1, got in_channels=0"),
        ({"rng": 0}, TypeError, "rng must be a numpy.random.Generator, got int"),
    ],
)  # fmt: skip
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        models.shufflenet_v1(**{"scale": 0.1} | seeded() | arguments)
