"""MobileNet V1 and its comparisons against the paper's tables: arXiv 1704.04861 and the authors' per-layer listing."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from networks import batch_norm_parameters, biases, check_modes, check_slopes, images, layer_table, seeded

from npconv import costs, models, nn

# --- costs -------------------------------------------------------------------------------------------------------

# Table 1 at 224: height and width of the output, weights, MACs.
TABLE_1 = [
    ("stem.conv", 112, 112, 864, 10_838_016),
    ("block1.depthwise", 112, 112, 288, 3_612_672),
    ("block1.pointwise", 112, 112, 2_048, 25_690_112),
    ("block2.depthwise", 56, 56, 576, 1_806_336),
    ("block2.pointwise", 56, 56, 8_192, 25_690_112),
    ("block3.depthwise", 56, 56, 1_152, 3_612_672),
    ("block3.pointwise", 56, 56, 16_384, 51_380_224),
    ("block4.depthwise", 28, 28, 1_152, 903_168),
    ("block4.pointwise", 28, 28, 32_768, 25_690_112),
    ("block5.depthwise", 28, 28, 2_304, 1_806_336),
    ("block5.pointwise", 28, 28, 65_536, 51_380_224),
    ("block6.depthwise", 14, 14, 2_304, 451_584),
    ("block6.pointwise", 14, 14, 131_072, 25_690_112),
    ("block7.depthwise", 14, 14, 4_608, 903_168),
    ("block7.pointwise", 14, 14, 262_144, 51_380_224),
    ("block8.depthwise", 14, 14, 4_608, 903_168),
    ("block8.pointwise", 14, 14, 262_144, 51_380_224),
    ("block9.depthwise", 14, 14, 4_608, 903_168),
    ("block9.pointwise", 14, 14, 262_144, 51_380_224),
    ("block10.depthwise", 14, 14, 4_608, 903_168),
    ("block10.pointwise", 14, 14, 262_144, 51_380_224),
    ("block11.depthwise", 14, 14, 4_608, 903_168),
    ("block11.pointwise", 14, 14, 262_144, 51_380_224),
    ("block12.depthwise", 7, 7, 4_608, 225_792),
    ("block12.pointwise", 7, 7, 524_288, 25_690_112),
    ("block13.depthwise", 7, 7, 9_216, 451_584),
    ("block13.pointwise", 7, 7, 1_048_576, 51_380_224),
    ("head.linear", 1_024_000, 1_024_000),
]

CONV_MOBILENET = [
    ("stem.conv", 112, 112, 864, 10_838_016),
    ("block1.conv", 112, 112, 18_432, 231_211_008),
    ("block2.conv", 56, 56, 73_728, 231_211_008),
    ("block3.conv", 56, 56, 147_456, 462_422_016),
    ("block4.conv", 28, 28, 294_912, 231_211_008),
    ("block5.conv", 28, 28, 589_824, 462_422_016),
    ("block6.conv", 14, 14, 1_179_648, 231_211_008),
    ("block7.conv", 14, 14, 2_359_296, 462_422_016),
    ("block8.conv", 14, 14, 2_359_296, 462_422_016),
    ("block9.conv", 14, 14, 2_359_296, 462_422_016),
    ("block10.conv", 14, 14, 2_359_296, 462_422_016),
    ("block11.conv", 14, 14, 2_359_296, 462_422_016),
    ("block12.conv", 7, 7, 4_718_592, 231_211_008),
    ("block13.conv", 7, 7, 9_437_184, 462_422_016),
    ("head.linear", 1_024_000, 1_024_000),
]


@pytest.mark.parametrize("padding", ["same", 1])
def test_table_1_layer_by_layer(padding):
    net = models.mobilenet_v1(padding=padding, **seeded())
    assert layer_table(net, (1, 3, 224, 224)) == TABLE_1
    assert (batch_norm_parameters(net), biases(net)) == (21_888, 1_000)


def test_table_1_has_28_layers():
    assert len(TABLE_1) == 28


def test_table_2_by_type_of_layer():
    net = models.mobilenet_v1(**seeded())
    macs = {"pointwise": 539_492_352, "depthwise": 17_385_984, "standard": 10_838_016, "linear": 1_024_000}
    weights = {"pointwise": 3_139_584, "depthwise": 44_640, "conv": 864, "linear": 1_024_000}
    assert costs.count(net, (1, 3, 224, 224)).macs_by_kind == macs
    counted = dict.fromkeys(weights, 0)
    for name, array in net.named_params():
        if array.ndim > 1:
            counted[name.split(".")[1]] += array.size
    assert counted == weights


@pytest.mark.parametrize(
    ("make", "channels", "size", "macs", "weights"),
    [
        (nn.Conv2d, 512, 14, 462_422_016, 2_359_296),
        (models.separable_block, 512, 14, 52_283_392, 266_752),
        (models.separable_block, 384, 14, 29_578_752, 150_912),
        (models.separable_block, 384, 10, 15_091_200, 150_912),
    ],
)
def test_table_3_one_layer(make, channels, size, macs, weights):
    options = {"kernel": 3, "padding": 1} | seeded()
    cost = costs.count(make(channels, channels, **options), (1, channels, size, size))
    assert (cost.macs, cost.weights) == (macs, weights)


# conv MACs, all MACs, weights, all parameters
@pytest.mark.parametrize(
    ("make", "width", "counts"),
    [
        (models.conv_mobilenet, 1, (4_866_269_184, 4_867_293_184, 29_281_120, 29_294_088)),
        (models.mobilenet_v1, 1, (567_716_352, 568_740_352, 4_209_088, 4_231_976)),
        (models.mobilenet_v1, 0.75, (324_632_448, 325_400_448, 2_568_144, 2_585_560)),
        (models.shallow_mobilenet, 1, (306_299_392, 307_323_392, 2_875_328, 2_887_976)),
    ],
)
def test_tables_4_and_5(make, width, counts):
    cost = costs.count(make(width, **seeded()), (1, 3, 224, 224))
    assert (cost.conv_macs, cost.macs, cost.weights, cost.parameters) == counts


def test_the_full_convolutions_layer_by_layer():
    assert layer_table(models.conv_mobilenet(**seeded()), (1, 3, 224, 224)) == CONV_MOBILENET


def test_the_shallow_network_is_table_1_without_the_five():
    left = [row for row in TABLE_1 if row[0].split(".")[0] not in {f"block{place}" for place in range(7, 12)}]
    table = layer_table(models.shallow_mobilenet(**seeded()), (1, 3, 224, 224))
    assert [row[1:] for row in table] == [row[1:] for row in left]


# width: weights, all parameters, and by resolution all MACs and those of convolutions
GRID = {
    1: (4_209_088, 4_231_976, {
        224: (568_740_352, 567_716_352), 192: (418_121_728, 417_097_728),
        160: (290_675_200, 289_651_200), 128: (186_400_768, 185_376_768)}),
    0.75: (2_568_144, 2_585_560, {
        224: (325_400_448, 324_632_448), 192: (239_273_472, 238_505_472),
        160: (166_396_800, 165_628_800), 128: (106_770_432, 106_002_432)}),
    0.5: (1_319_648, 1_331_592, {
        224: (149_497_088, 148_985_088), 192: (109_970_432, 109_458_432),
        160: (76_524_800, 76_012_800), 128: (49_160_192, 48_648_192)}),
    0.25: (463_600, 470_072, {
        224: (41_030_272, 40_774_272), 192: (30_212_608, 29_956_608),
        160: (21_059_200, 20_803_200), 128: (13_570_048, 13_314_048)}),
}  # fmt: skip


@pytest.mark.parametrize("width", GRID)
def test_tables_6_and_7_and_all_sixteen_models(width):
    net = models.mobilenet_v1(width, **seeded())
    weights, parameters, by_resolution = GRID[width]
    for resolution, macs in by_resolution.items():
        cost = costs.count(net, (1, 3, resolution, resolution))
        assert (cost.macs, cost.conv_macs) == macs, resolution
        assert (cost.weights, cost.parameters) == (weights, parameters)


def test_the_body_of_the_authors_listing():
    """Their listing of 0.75 at 128 leaves out the classifier."""
    net = models.mobilenet_v1(0.75, **seeded())
    table = layer_table(net, (1, 3, 128, 128))[:-1]
    assert (sum(row[-2] for row in table), sum(row[-1] for row in table)) == (1_800_144, 106_002_432)


def test_the_body_without_its_classifier_does_not_depend_on_the_classes():
    one, other = (costs.count(models.mobilenet_v1(0.25, n, **seeded()), (1, 3, 96, 96)) for n in (2, 1000))
    assert one.conv_macs == other.conv_macs
    assert other.parameters - one.parameters == 998 * (256 + 1)


def test_ds_cnn_by_hand():
    net = models.ds_cnn(**seeded())
    pixels = 25 * 5
    assert layer_table(net, (1, 1, 49, 10)) == [
        ("stem.conv", 25, 5, 64 * 10 * 4, pixels * 64 * 10 * 4),
        *(
            row
            for block in ("block1", "block2", "block3", "block4")
            for row in (
                (f"{block}.depthwise", 25, 5, 64 * 9, pixels * 64 * 9),
                (f"{block}.pointwise", 25, 5, 64 * 64, pixels * 64 * 64),
            )
        ),
        ("head.linear", 64 * 12, 64 * 12),
    ]
    assert (batch_norm_parameters(net), biases(net)) == (2 * 64 * 9, 12)


# --- behaviour ---------------------------------------------------------------------------------------------------

NETWORKS = [models.mobilenet_v1, models.conv_mobilenet, models.shallow_mobilenet]
every_network = pytest.mark.parametrize("make", NETWORKS)


@every_network
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 40)])
@pytest.mark.parametrize("padding", ["same", 1])
def test_shapes(make, size, padding):
    net = make(0.1, 7, 2, padding=padding, **seeded())
    x = images(2, 2, *size)
    y = net(x)
    assert (y.shape, y.dtype) == ((2, 7), np.float32)
    assert np.isfinite(y).all()
    dx = net.backward(y)
    assert (dx.shape, dx.dtype) == (x.shape, np.float32)


def test_mlperf_tiny_shapes():
    assert models.mobilenet_v1(0.25, 2, activation="relu", **seeded())(images(2, 3, 96, 96)).shape == (2, 2)
    net = models.ds_cnn(**seeded())
    y = net(images(2, 1, 49, 10))
    assert y.shape == (2, 12)
    assert net.backward(y).shape == (2, 1, 49, 10)


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("make", "options"),
    [
        *((make, {"activation": "relu6", "padding": "same"}) for make in NETWORKS),
        (models.mobilenet_v1, {"activation": "relu", "padding": 1}),
    ],
)
def test_gradients_along_random_directions(make, options, training):
    net = make(0.1, 5, 2, dropout=0, dtype=np.float64, **options, **seeded())
    check_slopes(net, images(6, 2, 40, 36, dtype=np.float64), np.array([0, 4, 2, 2, 1, 3]), training)


@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_ds_cnn(training):
    net = models.ds_cnn(5, stem_dropout=0, dropout=0, dtype=np.float64, **seeded())
    check_slopes(net, images(3, 1, 17, 10, dtype=np.float64), np.array([0, 4, 2]), training)


@every_network
def test_modes(make):
    check_modes(make(0.1, 7, dropout=0.2, **seeded()), images(8, 3, 32, 32))
    check_modes(make(0.1, 7, dropout=0, **seeded()), images(8, 3, 32, 32))


def test_modes_of_ds_cnn():
    net = models.ds_cnn(**seeded())
    rates = [(path, layer.rate) for path, layer in net.named_layers() if isinstance(layer, nn.Dropout)]
    assert rates == [("stem.dropout", 0.2), ("head.dropout", 0.4)]
    check_modes(net, images(4, 1, 49, 10))


@every_network
def test_options_reach_every_layer(make):
    net = make(0.1, activation="relu", padding=1, eps=0.25, momentum=0.5, dropout=0.125, dtype=np.float64, **seeded())
    layers = [layer for _, layer in net.named_layers()]
    norms = [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(0.25, 0.5)}
    assert {layer.padding for layer in layers if isinstance(layer, nn.Conv2d | nn.DepthwiseConv2d)} == {1}
    assert len([layer for layer in layers if type(layer) is nn.ReLU]) == len(norms)
    assert [layer.rate for layer in layers if isinstance(layer, nn.Dropout)] == [0.125]
    assert {array.dtype for array in net.state().values()} == {np.dtype(np.float64)}


@every_network
def test_defaults_are_the_authors(make):
    layers = [layer for _, layer in make(0.1, **seeded()).named_layers()]
    assert {layer.eps for layer in layers if isinstance(layer, nn.BatchNorm2d)} == {1e-3}
    assert {layer.padding for layer in layers if isinstance(layer, nn.Conv2d | nn.DepthwiseConv2d)} == {"same"}
    assert [layer.rate for layer in layers if isinstance(layer, nn.Dropout)] == [1e-3]
    assert not [layer for layer in layers if type(layer) is nn.ReLU]


def test_same_padding_reads_other_pixels():
    same, centred = (models.mobilenet_v1(0.1, dropout=0, padding=p, **seeded()).eval() for p in ("same", 1))
    even, odd = images(1, 3, 32, 32), images(1, 3, 33, 33)
    assert np.abs(same(even) - centred(even)).max() > 1e-3
    np.testing.assert_array_equal(same(odd), centred(odd))  # 33, 17, 9, 5, 3: all five strides meet odd sizes


def test_no_fewer_than_8_channels():
    net = models.mobilenet_v1(0.005, **seeded())
    assert {array.shape[0] for name, array in net.named_params() if name.endswith("pointwise.w")} == {8}


@pytest.mark.parametrize("make", [*NETWORKS, models.ds_cnn])
def test_the_docstring_names_the_parts(make):
    lines = inspect.getdoc(make).splitlines()
    for part in make(**seeded()).children():
        assert any(line.startswith(f"{part} ") for line in lines), part


@every_network
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"width": 0}, ValueError, "width must be finite and above 0, got width=0"),
        ({"width": "1"}, TypeError, "width must be a number, got '1'"),
        ({"num_classes": 0}, ValueError, "num_classes must be at least 1, got num_classes=0"),
        ({"in_channels": 0}, ValueError, "in_channels must be at least 1, got in_channels=0"),
        ({"activation": "gelu"}, ValueError, "activation must be 'relu6' or 'relu', got 'gelu'"),
        ({"padding": "full"}, ValueError, "padding must be 'valid', 'same' or 'same_lower' where it is a string"),
        ({"eps": 0}, ValueError, "eps must be finite and above 0, got eps=0"),
        ({"momentum": 2}, ValueError, r"momentum must be in \[0, 1\], got momentum=2"),
        ({"dropout": 1}, ValueError, r"dropout must be in \[0, 1\), got dropout=1"),
        ({"rng": 0}, TypeError, "rng must be a numpy.random.Generator, got int"),
    ],
)
def test_bad_arguments(make, arguments, error, message):
    with pytest.raises(error, match=message):
        make(**{"width": 0.1} | seeded() | arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes must be at least 1"),
        ({"stem_dropout": 1}, r"stem_dropout must be in \[0, 1\), got stem_dropout=1"),
        ({"dropout": -0.5}, r"dropout must be in \[0, 1\), got dropout=-0.5"),
    ],
)
def test_bad_arguments_of_ds_cnn(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.ds_cnn(**seeded() | arguments)
