"""ResNet and ResNeXt, the baselines, and the Ghost-ResNets of GhostNet's tables 6 and 7 (arXiv 1911.11907)."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from networks import batch_norm_parameters, biases, blank, check_modes, check_slopes, images, layer_table, seeded

from npconv import costs, models, nn
from npconv.models.resnet import ZeroPadShortcut
from npconv.testing import check_gradients

IMAGENET, CIFAR = (1, 3, 224, 224), (1, 3, 32, 32)


# --- costs -------------------------------------------------------------------------------------------------------

RESNET = {
    "ResNet-26": (26, {}, 2_342_256_640, 15_963_328),
    "ResNet-50": (50, {}, 4_089_184_256, 25_502_912),
    "ResNet-101": (101, {}, 7_801_405_440, 44_442_816),
    "ResNet-152": (152, {}, 11_513_626_624, 60_040_384),
    "ResNet-200": (200, {}, 15_007_481_856, 64_496_832),
    "ResNeXt-50": (50, {"groups": 32, "group_width": 4}, 4_230_479_872, 24_959_680),
    "ResNeXt-101": (101, {"groups": 32, "group_width": 4}, 7_969_996_800, 44_038_848),
}


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("name", RESNET)
def test_resnet(name, version):
    depth, options, macs, weights = RESNET[name]
    cost = costs.count(models.resnet(depth, version=version, **options, **blank()), IMAGENET)
    assert (cost.macs, cost.weights) == (macs, weights)


def test_parameters_of_resnet_50():
    net = models.resnet(50, **blank())
    counts = net.parameter_count(), batch_norm_parameters(net), biases(net)
    assert counts == (25_557_032, 53_120, 1_000)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_resnet_50_by_stage(version):
    macs = {}
    for layer in costs.count(models.resnet(50, version=version, **blank()), IMAGENET).layers:
        stage = layer.layer.split(".")[0]
        macs[stage] = macs.get(stage, 0) + layer.cost.macs
    macs.pop("last", None)  # a batch norm
    assert macs == {
        "stem": 118_013_952,
        "stage1": 667_942_912,
        "stage2": 1_027_604_480,
        "stage3": 1_464_336_384,
        "stage4": 809_238_528,
        "head": 2_048_000,
    }


def test_a_bottleneck_unit_costs_what_the_formula_says():
    """The unit of ShuffleNet's section 3.2, plain and in groups."""
    for groups in (1, 4):
        block = models.bottleneck_block(64, 16, 64, groups=groups, **seeded())
        assert costs.count(block, (1, 64, 7, 9)).macs == costs.resnext_unit_macs(64, 16, 7, 9, groups=groups)


@pytest.mark.parametrize(
    ("shortcut", "macs", "weights", "parameters"),
    [("zeros", 125_485_696, 848_944, 853_018), ("projection", 125_747_840, None, 855_770)],
)
def test_resnet_56(shortcut, macs, weights, parameters):
    cost = costs.count(models.resnet_cifar(56, shortcut=shortcut, **blank()), CIFAR)
    assert (cost.macs, cost.parameters) == (macs, parameters)
    assert weights in (cost.weights, None)
    if shortcut == "zeros":
        assert cost.conv_macs == 125_485_056


@pytest.mark.parametrize(
    ("keep_first", "macs", "weights", "parameters", "without_cheap"),
    [(True, 65_286_784, 434_080, 438_154, 62_964_352), (False, 65_139_328, 433_936, 438_010, 62_743_168)],
)
def test_ghost_resnet_56(keep_first, macs, weights, parameters, without_cheap):
    """The published 63 million are the count without the cheap operations."""
    cost = costs.count(models.ghost_resnet56(keep_first=keep_first, **blank()), CIFAR)
    assert (cost.macs, cost.weights, cost.parameters) == (macs, weights, parameters)
    assert cost.macs - cost.macs_by_kind["depthwise"] == without_cheap


@pytest.mark.parametrize(
    ("ratio", "keep_projections", "macs", "weights", "parameters"),
    [
        (1, True, 4_089_184_256, 25_502_912, 25_557_032),
        (2, False, 2_151_023_360, 13_899_392, 13_953_512),
        (4, False, 1_181_942_912, 8_097_632, 8_151_752),
        (2, True, 2_324_080_384, 15_266_560, 15_320_680),
        (4, True, 1_441_528_448, 10_148_384, 10_202_504),
    ],
)
def test_ghost_resnet_50(ratio, keep_projections, macs, weights, parameters):
    cost = costs.count(models.ghost_resnet50(ratio, keep_projections=keep_projections, **blank()), IMAGENET)
    assert (cost.macs, cost.weights, cost.parameters) == (macs, weights, parameters)


def test_resnet_8_layer_by_layer():
    """Each product written out: output channels, input channels, kernel; they are done for every pixel of the output."""
    rows = [
        ("stem.conv", 32, 16 * 3 * 9),
        ("stack1.sum.main.conv1", 32, 16 * 16 * 9),
        ("stack1.sum.main.conv2", 32, 16 * 16 * 9),
        ("stack2.sum.main.conv1", 16, 32 * 16 * 9),
        ("stack2.sum.main.conv2", 16, 32 * 32 * 9),
        ("stack2.sum.shortcut", 16, 32 * 16),
        ("stack3.sum.main.conv1", 8, 64 * 32 * 9),
        ("stack3.sum.main.conv2", 8, 64 * 64 * 9),
        ("stack3.sum.shortcut", 8, 64 * 32),
    ]
    net = models.resnet8(**seeded())
    expected = [(name, size, size, weights, weights * size**2) for name, size, weights in rows]
    assert layer_table(net, CIFAR) == [*expected, ("head.linear", 640, 640)]
    assert biases(net) == 3 * 16 + 3 * 32 + 3 * 64 + 10


# --- behaviour ---------------------------------------------------------------------------------------------------

SMALL = {
    "v1": lambda **k: models.resnet(26, 5, channels=8, **k),
    "v2": lambda **k: models.resnet(26, 5, channels=8, version="v2", **k),
    "groups": lambda **k: models.resnet(26, 5, channels=16, groups=8, group_width=16, **k),
    "squeeze and excite": lambda **k: models.resnet(26, 5, channels=8, squeeze_excite=True, **k),
    "zeros": lambda **k: models.resnet_cifar(14, 5, **k),
    "projection": lambda **k: models.resnet_cifar(14, 5, shortcut="projection", **k),
    "resnet8": lambda **k: models.resnet8(5, **k),
    "ghost 56": lambda **k: models.ghost_resnet56(2, 5, **k),
}
every_network = pytest.mark.parametrize("name", SMALL)


@pytest.mark.slow
@every_network
@pytest.mark.parametrize("training", [True, False])
def test_gradients_along_random_directions(name, training):
    net = SMALL[name](dtype=np.float64, **seeded())
    check_slopes(net, images(4, 3, 21, 16, dtype=np.float64), np.array([0, 4, 2, 2]), training)


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_ghost_resnet_50(training):
    """With a large eps: the four pixels of the last stage may be all but equal, and 100 batch norms magnify that."""
    net = models.ghost_resnet50(4, 5, dtype=np.float64, **seeded())
    for _, layer in net.named_layers():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 1.0
    check_slopes(net, images(4, 3, 32, 32, dtype=np.float64), np.array([0, 4, 2, 2]), training)


@pytest.mark.slow
@every_network
@pytest.mark.parametrize("size", [(32, 32), (21, 16)])
def test_shapes(name, size):
    net = SMALL[name](**seeded())
    x = images(2, 3, *size)
    y = net(x)
    assert (y.shape, y.dtype) == ((2, 5), np.float32)
    dx = net.backward(y)
    assert (dx.shape, dx.dtype) == (x.shape, np.float32)


@pytest.mark.slow
@every_network
def test_modes(name):
    check_modes(SMALL[name](**seeded()), images(4, 3, 16, 16))


def test_ghost_resnet_50_keeps_one_convolution():
    net = models.ghost_resnet50(2, **blank())
    parts = {path for path, layer in net.named_layers() if isinstance(layer, nn.GhostModule)}
    assert len(parts) == 3 * 16 + 4
    other = {
        path
        for path, layer in net.named_layers()
        if isinstance(layer, nn.Conv2d | nn.PointwiseConv2d) and path.removesuffix(".primary.conv") not in parts
    }
    assert other == {"stem.conv"}


def test_the_stride_is_in_the_3x3_convolution():
    for last in (False, True):
        block = models.bottleneck_block(8, 4, 16, stride=2, stride_last=last, **seeded())
        strides = {path: layer.stride for path, layer in block.named_layers() if hasattr(layer, "stride")}
        assert strides == {
            "sum.main.conv1": 1,
            "sum.main.conv2": 1 if last else 2,
            "sum.main.conv3": 2 if last else 1,
            "sum.shortcut.conv": 2,
        }


def test_version_1_ends_with_relu_and_version_2_carries_its_input():
    x = images(2, 16, 6, 6)
    assert (models.bottleneck_block(16, 4, 16, **seeded())(x) >= 0).all()
    block = models.bottleneck_block(16, 4, 16, version="v2", **seeded())
    for name, array in block.named_params():
        if name.endswith("conv3.w"):
            array[...] = 0
    np.testing.assert_array_equal(block(x), x)


def test_zero_pad_shortcut():
    layer = ZeroPadShortcut(2, 5, stride=2)
    x = images(2, 2, 5, 4, dtype=np.float64)
    y = layer(x)
    np.testing.assert_array_equal(y[:, :2], x[:, :, ::2, ::2])
    assert y.shape == (2, 5, 3, 2)
    assert not y[:, 2:].any()
    dy = images(*y.shape, seed=2, dtype=np.float64)
    check_gradients(layer, lambda dy, x: layer.backward(dy), (x,), dy, step=1.0, rtol=1e-12)
    with pytest.raises(ValueError, match="x must"):
        layer(images(2, 3, 5, 4))
    with pytest.raises(ValueError, match="dy must"):
        layer.backward(dy[:1])


def test_squeeze_excite_is_reduced_sixteenfold():
    net = models.resnet(26, 5, channels=8, squeeze_excite=True, **seeded())
    gates = [layer for _, layer in net.named_layers() if isinstance(layer, nn.SqueezeExcite)]
    assert [(gate.channels, gate.reduced) for gate in gates] == [
        (32, 2), (32, 2), (64, 4), (64, 4), (128, 8), (128, 8), (256, 16), (256, 16),
    ]  # fmt: skip


@pytest.mark.parametrize("make", [models.resnet, models.resnet_cifar, models.resnet8])
def test_the_docstring_names_the_parts(make):
    lines = inspect.getdoc(make).splitlines()
    options = {"version": "v2"} if make is models.resnet else {}
    for part in make(**options, **blank()).children():
        assert any(line.startswith(f"{part} ") for line in lines), part


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.resnet(18, **blank()), "depth must be one of 26, 50, 101, 152, 200, got 18"),
        (lambda: models.resnet(26, 0, **blank()), "num_classes must be at least 1, got num_classes=0"),
        (lambda: models.resnet(26, 5, 0, **blank()), "in_channels must be at least 1, got in_channels=0"),
        (lambda: models.resnet(26, groups=0, **blank()), "groups must be at least 1, got groups=0"),
        (lambda: models.resnet(26, group_width=0, **blank()), "group_width must be at least 1, got group_width=0"),
        (lambda: models.resnet(26, channels=0, **blank()), "channels must be at least 1, got channels=0"),
        (lambda: models.resnet(26, version=1, **blank()), "version must be 'v1' or 'v2', got 1"),
        (lambda: models.resnet_cifar(57, **blank()), r"depth must be 6 \* n \+ 2, got 57"),
        (lambda: models.resnet_cifar(2, **blank()), "depth must be at least 8, got depth=2"),
        (lambda: models.resnet_cifar(8, shortcut="A", **blank()), "shortcut must be 'projection' or 'zeros', got 'A'"),
        (lambda: models.resnet8(0, **blank()), "num_classes must be at least 1, got num_classes=0"),
        (lambda: models.ghost_resnet50(0, **blank()), "ratio must be at least 1, got ratio=0"),
        (lambda: ZeroPadShortcut(4, 3), "out_channels must be at least in_channels = 4, got out_channels=3"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
