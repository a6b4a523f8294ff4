"""VGG-16 for CIFAR-10 and the ablations of GhostNet's tables 3 to 6 (arXiv 1911.11907)."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from networks import blank, check_modes, check_slopes, images, layer_table, seeded

from npconv import costs, models, nn

CIFAR = (1, 3, 32, 32)


# output's height and width, weights, MACs
VGG_16 = [
    ("stage1.conv1", 32, 32, 1_728, 1_769_472),
    ("stage1.conv2", 32, 32, 36_864, 37_748_736),
    ("stage2.conv1", 16, 16, 73_728, 18_874_368),
    ("stage2.conv2", 16, 16, 147_456, 37_748_736),
    ("stage3.conv1", 8, 8, 294_912, 18_874_368),
    ("stage3.conv2", 8, 8, 589_824, 37_748_736),
    ("stage3.conv3", 8, 8, 589_824, 37_748_736),
    ("stage4.conv1", 4, 4, 1_179_648, 18_874_368),
    ("stage4.conv2", 4, 4, 2_359_296, 37_748_736),
    ("stage4.conv3", 4, 4, 2_359_296, 37_748_736),
    ("stage5.conv1", 2, 2, 2_359_296, 9_437_184),
    ("stage5.conv2", 2, 2, 2_359_296, 9_437_184),
    ("stage5.conv3", 2, 2, 2_359_296, 9_437_184),
    ("head.linear1", 262_144, 262_144),
    ("head.linear2", 5_120, 5_120),
]


def test_vgg_16_layer_by_layer():
    net = models.vgg16_cifar(**blank())
    assert layer_table(net, CIFAR) == VGG_16
    cost = costs.count(net, CIFAR)
    assert (cost.conv_macs, cost.macs) == (313_196_544, 313_463_808)
    assert (cost.weights, cost.parameters) == (14_977_728, 14_986_698)


# s, d, first convolution kept: MACs of convolutions, all MACs, all parameters
GHOST_VGG_16 = {
    (2, 1, False): (156_736_512, 157_003_776, 7_633_578),
    (2, 3, False): (157_842_432, 158_109_696, 7_650_474),
    (2, 5, False): (160_054_272, 160_321_536, 7_684_266),
    (2, 7, False): (163_372_032, 163_639_296, 7_734_954),
    (3, 3, False): (106_972_776, 107_240_040, 5_218_476),
    (4, 3, False): (80_165_376, 80_432_640, 3_982_362),
    (5, 3, False): (65_398_032, 65_665_296, 3_269_697),
    (2, 1, True): (157_588_480, 157_855_744, 7_634_410),
    (2, 3, True): (158_432_256, 158_699_520, 7_651_050),
    (2, 5, True): (160_119_808, 160_387_072, 7_684_330),
    (2, 7, True): (162_651_136, 162_918_400, 7_734_250),
    (3, 3, True): (107_728_488, 107_995_752, 5_219_210),
    (4, 3, True): (81_050_112, 81_317_376, 3_983_226),
    (5, 3, True): (66_328_848, 66_596_112, 3_270_604),
}
PUBLISHED = {(2, 1): 157, (2, 3): 158, (2, 5): 160, (2, 7): 163, (3, 3): 107, (4, 3): 80, (5, 3): 65}


@pytest.mark.parametrize(("ratio", "cheap_kernel", "keep_first"), GHOST_VGG_16)
def test_ghost_vgg_16(ratio, cheap_kernel, keep_first):
    net = models.ghost_vgg16(ratio, cheap_kernel=cheap_kernel, keep_first=keep_first, **blank())
    cost = costs.count(net, CIFAR)
    assert (cost.conv_macs, cost.macs, cost.parameters) == GHOST_VGG_16[ratio, cheap_kernel, keep_first]


@pytest.mark.parametrize(("ratio", "cheap_kernel"), PUBLISHED)
def test_the_default_has_the_published_macs(ratio, cheap_kernel):
    cost = costs.count(models.ghost_vgg16(ratio, cheap_kernel=cheap_kernel, **blank()), CIFAR)
    assert round(cost.conv_macs / 1e6) == PUBLISHED[ratio, cheap_kernel]


NETWORKS = {"vgg": models.vgg16_cifar, "ghost": lambda *sizes, **k: models.ghost_vgg16(3, *sizes, **k)}
every_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.mark.slow
@every_network
@pytest.mark.parametrize("training", [True, False])
def test_gradients_along_random_directions(name, training):
    net = NETWORKS[name](5, 2, dtype=np.float64, **seeded())
    check_slopes(net, images(3, 2, 32, 32, dtype=np.float64), np.array([0, 4, 2]), training)


@pytest.mark.slow
@every_network
def test_shapes(name):
    net = NETWORKS[name](7, 1, **seeded())
    x = images(2, 1, 37, 32)
    y = net(x)
    assert (y.shape, y.dtype) == ((2, 7), np.float32)
    assert net.backward(y).shape == x.shape


@pytest.mark.slow
@every_network
def test_modes(name):
    check_modes(NETWORKS[name](5, 1, **seeded()), images(3, 1, 32, 32))


def test_ghost_modules_have_their_relu():
    net = models.ghost_vgg16(**blank())
    modules = [layer for _, layer in net.named_layers() if isinstance(layer, nn.GhostModule)]
    assert [module.activation for module in modules] == [True] * 13


def test_the_docstring_names_the_parts():
    lines = inspect.getdoc(models.vgg16_cifar).splitlines()
    for part in models.vgg16_cifar(**blank()).children():
        assert any(line.startswith(f"{part} ") for line in lines), part


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_classes": 0}, ValueError, "num_classes must be at least 1, got num_classes=0"),
        ({"in_channels": 0}, ValueError, "in_channels must be at least 1, got in_channels=0"),
        ({"ratio": 0}, ValueError, "ratio must be at least 1, got ratio=0"),
        ({"cheap_kernel": 0}, ValueError, "kernel must be at least 1"),
        ({"rng": 0}, TypeError, "rng must be a numpy.random.Generator, got int"),
        ({"dtype": "int8"}, TypeError, "dtype must be float16, float32 or float64, got 'int8'"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        models.ghost_vgg16(**blank() | arguments)
