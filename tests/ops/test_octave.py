"""Octave convolution: what the paper leaves open, and the published code or we have decided."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import npconv
from npconv import OctaveBias, OctaveMap, OctaveWeight, kernels
from npconv.geometry import OctaveGeometry

pytestmark = pytest.mark.usefixtures("backend")

rng = np.random.default_rng(0)


def numbers(*shape):
    return rng.integers(-4, 5, shape).astype(np.float64)


def pool(x, factor=2):
    return npconv.avg_pool2d(x, factor, ceil_mode=True)


HIGH, LOW = numbers(2, 2, 8, 8), numbers(2, 2, 4, 4)
W = OctaveWeight(numbers(2, 2, 3, 3), numbers(4, 2, 3, 3), numbers(2, 2, 3, 3), numbers(4, 2, 3, 3))


def test_high_to_low_pools_then_convolves():
    y = npconv.octave_conv2d((HIGH, None), OctaveWeight(hl=W.hl), padding=1)
    assert_array_equal(y.low, npconv.conv2d(pool(HIGH), W.hl, padding=1))
    assert y.high is None


def test_low_to_high_convolves_then_repeats_pixels():
    y = npconv.octave_conv2d((None, LOW), OctaveWeight(lh=W.lh), padding=1)
    assert_array_equal(y.high, npconv.upsample_nearest2d(npconv.conv2d(LOW, W.lh, padding=1), 2))
    assert y.low is None


def test_stride_2_pools_first_and_does_not_up_sample():
    y = npconv.octave_conv2d((HIGH, LOW), W, stride=2, padding=1)
    high = npconv.conv2d(pool(HIGH), W.hh, padding=1) + npconv.conv2d(LOW, W.lh, padding=1)
    low = npconv.conv2d(pool(LOW), W.ll, padding=1) + npconv.conv2d(pool(HIGH, 4), W.hl, padding=1)
    assert_array_equal(y.high, high)
    assert_array_equal(y.low, low)


@pytest.mark.parametrize(("size", "pooled"), [(8, [(2, 8), (2, 4)]), (6, [(2, 6), (4, 6)])])
def test_what_is_pooled_twice_is_pooled_again_where_windows_tile_it(size, pooled):
    """(factor, rows of what is pooled) of the high map's paths; 6 rows have a window of 4 with 2 of them."""
    high, low = numbers(2, 2, size, size), numbers(2, 2, size // 2, size // 2)
    shapes = tuple(() if kernel is None else kernel.shape for kernel in W._replace(lh=None, ll=None))
    geometry = OctaveGeometry.of((high.shape, ()), shapes, stride=2, padding=1)
    poolings = [geometry.pooling_of(step)[1] for step in geometry.steps]
    assert [(pooling.kernel_height, pooling.in_height) for pooling in poolings] == pooled
    y = npconv.octave_conv2d((high, None), W._replace(lh=None, ll=None), stride=2, padding=1)
    assert_array_equal(y.low, npconv.conv2d(pool(high, 4), W.hl, padding=1))
    dy = OctaveMap(numbers(*y.high.shape), numbers(*y.low.shape))
    dx, dw, _ = npconv.octave_conv2d_backward(dy, (high, low), W, stride=2, padding=1)
    alone = OctaveWeight(hl=W.hl)
    dx_hl, dw_hl, _ = npconv.octave_conv2d_backward((None, dy.low), (high, None), alone, stride=2, padding=1)
    dx_hh, _, _ = npconv.octave_conv2d_backward((dy.high, None), (high, None), OctaveWeight(W.hh), stride=2, padding=1)
    assert_array_equal(dx.high, dx_hl.high + dx_hh.high)
    assert_array_equal(dw.hl, dw_hl.hl)


@pytest.mark.parametrize("stride", [1.0, [1.0, 1], (1, 1.0), "1"])
def test_a_kept_plan_lets_no_wrong_option_through(stride):
    npconv.octave_conv2d((HIGH, LOW), W, stride=1, padding=1)
    npconv.octave_conv2d((HIGH, LOW), W, stride=(1, 1), padding=[1, 1])
    with pytest.raises(TypeError, match=r"stride"):
        npconv.octave_conv2d((HIGH, LOW), W, stride=stride, padding=1)


def test_paths_to_one_output_are_one_convolution_where_they_can_be():
    """Not with kernels of different sizes, and not in groups."""
    one = OctaveWeight(W.hh, W.hl, W.lh, W.ll[:, :, 1:2, 1:2])
    dy = OctaveMap(numbers(2, 2, 8, 8), numbers(2, 4, 4, 4))
    for w, options, convolutions in (
        (W, {}, 3),
        (one, {"padding": "same"}, 4),
        (OctaveWeight(*(kernel[:, :1] for kernel in W)), {"groups": 2}, 4),
    ):
        options = {"padding": 1, **options}
        shapes = tuple(kernel.shape for kernel in w)
        plan = kernels.octave._plan(OctaveGeometry.of((HIGH.shape, LOW.shape), shapes, **options))
        assert len(plan.forward) == len(plan.backward) == convolutions
        y = npconv.octave_conv2d((HIGH, LOW), w, **options)
        dx, dw, _ = npconv.octave_conv2d_backward(dy, (HIGH, LOW), w, **options)
        low = npconv.conv2d(LOW, w.ll, **options) + npconv.conv2d(pool(HIGH), w.hl, **options)
        assert_array_equal(y.low, low)
        dz = npconv.avg_pool2d(dy.high, 2) * 4
        dx_lh, dw_lh, _ = npconv.conv2d_backward(dz, LOW, w.lh, **options)
        dx_ll, dw_ll, _ = npconv.conv2d_backward(dy.low, LOW, w.ll, **options)
        assert_array_equal(dx.low, dx_lh + dx_ll)
        assert_array_equal(dw.lh, dw_lh)
        assert_array_equal(dw.ll, dw_ll)


def test_stride_2_by_convolution_strides_every_path():
    y = npconv.octave_conv2d((HIGH, LOW), W, stride=2, padding=1, stride_mode="conv")
    options = {"stride": 2, "padding": 1}
    high = npconv.conv2d(HIGH, W.hh, **options) + npconv.upsample_nearest2d(npconv.conv2d(LOW, W.lh, **options), 2)
    low = npconv.conv2d(LOW, W.ll, **options) + npconv.conv2d(pool(HIGH), W.hl, **options)
    assert_array_equal(y.high, high)
    assert_array_equal(y.low, low)


def test_without_low_frequencies_it_is_a_convolution():
    """alpha_in = alpha_out = 0, where nothing has to stay an octave apart: any padding."""
    y = npconv.octave_conv2d(
        (HIGH, None), OctaveWeight(hh=W.hh), stride=3, padding=((0, 2), (1, 0)), stride_mode="conv"
    )
    assert_array_equal(y.high, npconv.conv2d(HIGH, W.hh, stride=3, padding=((0, 2), (1, 0))))
    assert y.low is None


def test_only_low_frequencies_is_a_convolution_at_half_the_resolution():
    """alpha_in = alpha_out = 1."""
    y = npconv.octave_conv2d((None, LOW), OctaveWeight(ll=W.ll), padding=1)
    assert_array_equal(y.low, npconv.conv2d(LOW, W.ll, padding=1))
    assert y.high is None


def test_odd_sizes_average_what_is_there_and_crop_what_is_not():
    """A 3 x 3 high map has a 2 x 2 low one, whose last row and column average two pixels, or one."""
    high = np.arange(9.0).reshape(1, 1, 3, 3)
    one = np.ones((1, 1, 1, 1))
    y = npconv.octave_conv2d((high, None), OctaveWeight(hl=one))
    assert_array_equal(y.low[0, 0], [[2.0, 3.5], [6.5, 8.0]])
    y = npconv.octave_conv2d((0 * high, y.low), OctaveWeight(hh=one, lh=one))
    assert_array_equal(y.high[0, 0], [[2.0, 2.0, 3.5], [2.0, 2.0, 3.5], [6.5, 6.5, 8.0]])


def test_one_bias_per_output_not_per_path():
    zeros = OctaveWeight(*(0 * kernel for kernel in W))
    y = npconv.octave_conv2d((HIGH, LOW), zeros, OctaveBias(np.array([1.0, 2.0]), np.full(4, 5.0)), padding=1)
    assert_array_equal(y.high[0, :, 3, 3], [1.0, 2.0])
    assert_array_equal(np.unique(y.low), [5.0])


def test_bias_of_one_output_alone():
    y = npconv.octave_conv2d((HIGH, LOW), W, (None, np.ones(4)), padding=1)
    without = npconv.octave_conv2d((HIGH, LOW), W, padding=1)
    assert_array_equal(y.high, without.high)
    assert_array_equal(y.low, without.low + 1)


def test_every_path_is_grouped():
    grouped = OctaveWeight(*(kernel[:, :1] for kernel in W))
    y = npconv.octave_conv2d((HIGH, LOW), grouped, padding=1, groups=2)
    halves = [
        npconv.octave_conv2d(
            (HIGH[:, g : g + 1], LOW[:, g : g + 1]),
            OctaveWeight(*(kernel.reshape(2, -1, 1, 3, 3)[g] for kernel in grouped)),
            padding=1,
        )
        for g in range(2)
    ]
    assert_array_equal(y.high, np.concatenate([half.high for half in halves], axis=1))
    assert_array_equal(y.low, np.concatenate([half.low for half in halves], axis=1))


def test_depthwise_keeps_the_frequencies_apart():
    w = OctaveWeight(hh=numbers(4, 1, 3, 3), ll=numbers(2, 1, 3, 3))
    y = npconv.octave_depthwise_conv2d((HIGH, LOW), w, padding=1)
    assert_array_equal(y.high, npconv.depthwise_conv2d(HIGH, w.hh, padding=1))
    assert_array_equal(y.low, npconv.depthwise_conv2d(LOW, w.ll, padding=1))
    y = npconv.octave_depthwise_conv2d((HIGH, LOW), w, padding=1, stride=2)
    assert_array_equal(y.high, npconv.depthwise_conv2d(pool(HIGH), w.hh, padding=1))
    assert_array_equal(y.low, npconv.depthwise_conv2d(pool(LOW), w.ll, padding=1))


def test_results_are_named():
    y = npconv.octave_conv2d((HIGH, LOW), W, padding=1)
    dx, dw, db = npconv.octave_conv2d_backward(y, (HIGH, LOW), W, (np.ones(2), None), padding=1)
    assert isinstance(y, OctaveMap)
    assert isinstance(dx, OctaveMap)
    assert isinstance(dw, OctaveWeight)
    assert isinstance(db, OctaveBias)
    assert db.low is None
