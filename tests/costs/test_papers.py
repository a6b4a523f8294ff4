"""Costs against the numbers that the papers print, and their ratios against the costs that they are ratios of."""

from __future__ import annotations

import pytest
from counting import many, sizes
from hypothesis import given
from hypothesis import strategies as st

from npconv import costs


def test_mobilenet_table_3():
    """One layer, 3 x 3, 512 to 512 channels, 14 x 14: MobileNets, table 3, cumulative rows."""
    standard = costs.conv2d((1, 512, 14, 14), (512, 512, 3, 3), padding=1)
    separable = costs.separable_conv2d((1, 512, 14, 14), (512, 512, 3, 3), padding=1)
    narrow = costs.separable_conv2d((1, 384, 14, 14), (384, 384, 3, 3), padding=1)
    small = costs.separable_conv2d((1, 384, 10, 10), (384, 384, 3, 3), padding=1)
    assert standard[:2] == (462_422_016, 2_359_296)
    assert separable[:2] == (52_283_392, 266_752)
    assert narrow[:2] == (29_578_752, 150_912)
    assert small[:2] == (15_091_200, 150_912)
    assert costs.separable_macs(512, 512, 3, 14) == separable.macs
    assert costs.separable_macs(512, 512, 3, 14, alpha=0.75) == narrow.macs
    assert costs.separable_macs(512, 512, 3, 14, alpha=0.75, rho=10 / 14) == pytest.approx(small.macs, rel=1e-12)
    assert separable.macs / standard.macs == pytest.approx(costs.separable_ratio(512, 3), rel=1e-12)


def test_mobilenet_layers():
    """MobileNets, table 1: the first convolution, a depthwise with stride 2, the last pointwise, the classifier."""
    assert costs.conv2d((1, 3, 224, 224), (32, 3, 3, 3), stride=2, padding="same")[:2] == (10_838_016, 864)
    assert costs.depthwise_conv2d((1, 64, 112, 112), (64, 1, 3, 3), stride=2, padding="same")[:2] == (1_806_336, 576)
    assert costs.pointwise_conv2d((1, 1024, 7, 7), (1024, 1024, 1, 1))[:2] == (51_380_224, 1_048_576)
    assert costs.linear((1, 1024), (1000, 1024), bias=True)[:2] == (1_024_000, 1_025_000)


@pytest.mark.slow
@many
@given(sizes, sizes, st.sampled_from([1, 3, 5]), sizes, st.floats(0.1, 2), st.floats(0.1, 2))
def test_width_and_resolution_laws(in_channels, out_channels, kernel, size, alpha, rho):
    def macs(**multipliers):
        return costs.separable_macs(in_channels, out_channels, kernel, size, **multipliers)

    assert macs(rho=rho) == pytest.approx(rho**2 * macs(), rel=1e-12)
    depthwise = kernel**2 * in_channels * size**2
    pointwise = in_channels * out_channels * size**2
    assert macs(alpha=alpha) == pytest.approx(alpha * depthwise + alpha**2 * pointwise, rel=1e-12)


@pytest.mark.slow
@many
@given(sizes, sizes, st.tuples(sizes, sizes), st.sampled_from([1, 2]))
def test_separable_ratio_is_the_ratio_of_costs(channels, out_channels, kernel, stride):
    shapes = (1, channels, 6, 6), (out_channels, channels, *kernel)
    ratio = costs.separable_conv2d(*shapes, stride=stride).macs / costs.conv2d(*shapes, stride=stride).macs
    assert ratio == pytest.approx(costs.separable_ratio(out_channels, kernel), rel=1e-12)


@pytest.mark.parametrize(
    ("in_channels", "kernel", "ratio", "cheap_kernel", "speedup"),
    [(64, 3, 2, 3, 1.96923077), (256, 3, 4, 3, 3.95366795), (256, 1, 2, 3, 1.93207547), (64, 3, 2, 7, 1.8432)],
)
def test_ghost_speedup_and_compression(in_channels, kernel, ratio, cheap_kernel, speedup):
    """r_s and r_c as numbers, and as what they are ratios of."""
    choices = {"ratio": ratio, "cheap_kernel": cheap_kernel}
    assert costs.ghost_speedup(in_channels, kernel, **choices) == pytest.approx(speedup, abs=5e-9)
    shapes = (1, in_channels, 14, 14), (8 * ratio, in_channels, kernel, kernel)
    standard = costs.conv2d(*shapes, padding=kernel // 2)
    ghost = costs.ghost_conv2d(*shapes, padding=kernel // 2, **choices)
    assert standard.macs / ghost.macs == pytest.approx(costs.ghost_speedup(in_channels, kernel, **choices), rel=1e-12)
    compression = costs.ghost_compression(in_channels, kernel, **choices)
    assert standard.parameters / ghost.parameters == pytest.approx(compression, rel=1e-12)


def test_ghost_approximation():
    """Exact where the cheap kernel is as large as the primary one; PAPERS: 1.99221790 for c = 256 where it is not exact."""
    assert costs.ghost_speedup_approximation(256, ratio=2) == pytest.approx(1.99221790, abs=5e-9)
    for ratio in (1, 2, 3, 5):
        exact = costs.ghost_speedup(64, 3, ratio=ratio, cheap_kernel=3)
        assert costs.ghost_speedup_approximation(64, ratio=ratio) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(
    ("alpha", "cost", "memory"),
    [
        (0, 1, 1),
        (0.125, 0.82421875, 0.90625),
        (0.25, 0.671875, 0.8125),
        (0.5, 0.4375, 0.625),
        (0.75, 0.296875, 0.4375),
        (0.875, 0.26171875, 0.34375),  # the paper prints 35 % of memory: it is 34.4 %
        (1, 0.25, 0.25),
    ],
)
def test_octave_table_1(alpha, cost, memory):
    """Drop an Octave, table 1, as formula and as the cost of a layer whose sizes and channels divide."""
    assert costs.octave_cost_ratio(alpha, alpha) == cost
    assert costs.octave_memory_ratio(alpha) == memory
    shapes = (1, 8, 4, 4), (16, 8, 3, 3)
    standard = costs.conv2d(*shapes, padding=1).macs
    octave = costs.octave_conv2d(*shapes, alpha_in=alpha, alpha_out=alpha, padding=1).macs
    assert octave == cost * standard
    first = costs.octave_conv2d(*shapes, alpha_in=0, alpha_out=alpha, padding=1).macs
    last = costs.octave_conv2d(*shapes, alpha_in=alpha, alpha_out=0, padding=1).macs
    assert first == last == memory * standard == costs.octave_cost_ratio(0, alpha) * standard
    depthwise = costs.octave_depthwise_conv2d((1, 8, 4, 4), (8, 1, 3, 3), alpha=alpha, padding=1).macs
    assert depthwise == memory * costs.depthwise_conv2d((1, 8, 4, 4), (8, 1, 3, 3), padding=1).macs
    pooled = costs.octave_conv2d(*shapes, alpha_in=alpha, alpha_out=alpha, stride=2, padding=1).macs
    assert pooled == memory * costs.conv2d(*shapes, stride=2, padding=1).macs


def test_resnext_units_are_mostly_pointwise():
    """ShuffleNet, section 3.1: 1 x 1 convolutions take 93.4 % of a ResNeXt unit (c = 256, m = 128, 32 groups)."""
    unit = costs.resnext_unit_macs(256, 128, 28, 28, groups=32)
    pointwise = 2 * costs.pointwise_conv2d((1, 256, 28, 28), (128, 256, 1, 1)).macs
    assert pointwise / unit == pytest.approx(0.934307, abs=5e-7)


@many
@given(sizes, sizes, sizes, sizes, st.integers(1, 3))
def test_units_are_the_sum_of_their_convolutions(channels, bottleneck, height, width, groups):
    channels, bottleneck = channels * groups, bottleneck * groups
    x, middle = (1, channels, height, width), (1, bottleneck, height, width)

    def unit(pointwise_groups, groups):
        return (
            costs.pointwise_conv2d(x, (bottleneck, channels // pointwise_groups, 1, 1), groups=pointwise_groups)
            + costs.conv2d(middle, (bottleneck, bottleneck // groups, 3, 3), padding=1, groups=groups)
            + costs.pointwise_conv2d(middle, (channels, bottleneck // pointwise_groups, 1, 1), groups=pointwise_groups)
        ).macs

    sizes_of_unit = (channels, bottleneck, height, width)
    assert costs.resnet_unit_macs(*sizes_of_unit) == unit(1, 1)
    assert costs.resnext_unit_macs(*sizes_of_unit, groups=groups) == unit(1, groups)
    assert costs.shufflenet_unit_macs(*sizes_of_unit, groups=groups) == unit(groups, bottleneck)


@pytest.mark.parametrize(
    ("groups", "channels", "macs"), [(1, 144, 8_382_528), (2, 200, 8_192_800), (3, 240, 7_949_760)]
)
def test_shufflenet_stage_2_units(groups, channels, macs):
    assert costs.shufflenet_unit_macs(channels, channels // 4, 28, 28, groups=groups) == macs
